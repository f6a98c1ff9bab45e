//! The batch log against a model that keeps everything: each reader gets every batch in order, or has it
//! counted as dropped, exactly once, if it takes the batch's signal; the cap holds throughout.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::memory::State;
use super::{OnFull, RECORD_OVERHEAD, Read, ReaderConfig, ReaderId};
use crate::signal::{BySignal, Items, Signal, Signals};
use crate::status::ExporterStatus;

const LIMIT: usize = 2_000;
const READERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Append(usize, Signal),
    Read {
        reader: usize,
        max_bytes: usize,
    },
    /// Reads behind this share (of 4) of what was handed out last.
    ReadOn {
        reader: usize,
        share: usize,
        max_bytes: usize,
    },
    /// Acknowledges this share (of 4) of what was handed out last.
    Ack {
        reader: usize,
        share: usize,
    },
    /// Tells of a part of the first record that was handed out last.
    Tell {
        reader: usize,
    },
    Leave {
        reader: usize,
    },
}

fn signal() -> impl Strategy<Value = Signal> {
    prop::sample::select(Signal::ALL.to_vec())
}

/// What each reader takes: everything, or a part of it.
fn taken_by(reader: usize) -> Signals {
    let some: &[_] = match reader {
        0 => &Signal::ALL,
        1 => &[Signal::Traces],
        _ => &[Signal::Logs, Signal::Metrics],
    };
    some.iter().copied().collect()
}

fn total(items: Items) -> u64 {
    Signal::ALL.map(|signal| *items.of(signal)).iter().sum()
}

fn step() -> impl Strategy<Value = Step> {
    let reader = 0..READERS;
    prop_oneof![
        4 => (0..900_usize, signal()).prop_map(|(length, signal)| Step::Append(length, signal)),
        3 => (reader.clone(), 0..1_500_usize)
            .prop_map(|(reader, max_bytes)| Step::Read { reader, max_bytes }),
        3 => (reader.clone(), 1..=4_usize, 0..1_500_usize)
            .prop_map(|(reader, share, max_bytes)| Step::ReadOn { reader, share, max_bytes }),
        3 => (reader.clone(), 0..=4_usize).prop_map(|(reader, share)| Step::Ack { reader, share }),
        2 => reader.clone().prop_map(|reader| Step::Tell { reader }),
        1 => reader.prop_map(|reader| Step::Leave { reader }),
    ]
}

/// What one reader must have seen so far.
struct Model {
    id: ReaderId,
    status: Arc<ExporterStatus>,
    present: bool,
    /// Sequences handed out last and not acknowledged, with their items.
    handed: Vec<(u64, u64)>,
    /// Those were of this signal.
    sending: Signal,
    acknowledged_items: u64,
    /// The record of which a part was told.
    told: Option<u64>,
    /// First sequence of each signal that may still come.
    from: BySignal<u64>,
    /// Items of all that it takes.
    appended_items: u64,
}

/// So that the items of all of them can be told apart in one number.
const MOST_RECORDS: u64 = 32;

/// Items of record `sequence`: all different in binary, so that sums tell which ones they hold.
fn items_of(sequence: u64) -> u64 {
    0b11 << (2 * sequence)
}

/// Those of them that are told apart.
fn part_of(sequence: u64) -> u64 {
    0b01 << (2 * sequence)
}

fn reader(status: &Arc<ExporterStatus>) -> ReaderConfig {
    ReaderConfig {
        status: Arc::clone(status),
        on_full: OnFull::DropOldest,
    }
}

fn run(steps: Vec<Step>) {
    let mut state = State::new(LIMIT);
    let mut models: Vec<Model> = (0..READERS)
        .map(|number| {
            let status = Arc::new(ExporterStatus {
                signals: taken_by(number),
                ..ExporterStatus::default()
            });
            Model {
                id: state.add_reader(reader(&status)),
                status,
                present: true,
                handed: Vec::new(),
                sending: Signal::Traces,
                acknowledged_items: 0,
                told: None,
                from: BySignal::default(),
                appended_items: 0,
            }
        })
        .collect();
    let mut appended = 0;
    for step in steps {
        match step {
            Step::Append(_, _) if appended == MOST_RECORDS => {}
            Step::Append(len, signal) => {
                let bytes = Bytes::from(vec![0; len]);
                let items = items_of(appended);
                state.append(signal, bytes, items, appended + 1).unwrap();
                let takes = |model: &&mut Model| model.present && model.status.signals.has(signal);
                let mut kept = false;
                for model in models.iter_mut().filter(takes) {
                    model.appended_items += items;
                    kept = true;
                }
                appended += u64::from(kept);
            }
            Step::Read { reader, max_bytes } => {
                let model = &mut models[reader];
                match state.read(model.id, max_bytes) {
                    Read::Records(records) => {
                        model.sending = records[0].signal;
                        assert!(model.status.signals.has(model.sending));
                        assert!(records.iter().all(|r| r.signal == model.sending));
                        let sequences: Vec<_> = records.iter().map(|r| r.sequence).collect();
                        let from = model.from.of_mut(model.sending);
                        assert!(sequences[0] >= *from);
                        assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]));
                        *from = sequences[0];
                        let bytes: usize = records.iter().map(|record| record.bytes.len()).sum();
                        assert!(records.len() == 1 || bytes <= max_bytes);
                        model.handed = records.iter().map(|r| (r.sequence, r.items)).collect();
                    }
                    Read::End => assert!(!model.present),
                    Read::Nothing => {
                        model.handed.clear();
                        assert!(state.unsent(model.id).is_empty());
                    }
                }
            }
            Step::ReadOn {
                reader,
                share,
                max_bytes,
            } => {
                let model = &mut models[reader];
                model.handed.truncate(model.handed.len() * share / 4);
                if let Some(&(last, _)) = model.handed.last()
                    && model.present
                {
                    let records = state.read_on(model.id, last, max_bytes);
                    assert!(records.iter().all(|r| r.signal == model.sending));
                    let bytes: usize = records.iter().map(|record| record.bytes.len()).sum();
                    assert!(records.len() <= 1 || bytes <= max_bytes);
                    model
                        .handed
                        .extend(records.iter().map(|r| (r.sequence, r.items)));
                    assert!(model.handed.windows(2).all(|pair| pair[0].0 < pair[1].0));
                }
            }
            Step::Ack { reader, share } => {
                let model = &mut models[reader];
                let count = model.handed.len() * share / 4;
                if model.present && count > 0 {
                    let done: Vec<_> = model.handed.drain(..count).collect();
                    let last = done[count - 1].0;
                    state.ack(model.id, last);
                    let items = done.iter().map(|(_, items)| items).sum::<u64>();
                    let told = model
                        .told
                        .filter(|&told| told == done[0].0)
                        .map_or(0, part_of);
                    model.acknowledged_items += items - told;
                    *model.from.of_mut(model.sending) = last + 1;
                }
            }
            Step::Tell { reader } => {
                let model = &mut models[reader];
                if let Some(&(first, _)) = model.handed.first()
                    && model.present
                    && model.told != Some(first)
                {
                    state.told(model.id, first, Items::only(model.sending, part_of(first)));
                    model.told = Some(first);
                    model.acknowledged_items += part_of(first);
                }
            }
            Step::Leave { reader } => {
                let model = &mut models[reader];
                if model.present {
                    state.remove_reader(model.id);
                    model.present = false;
                }
            }
        }
        assert!(state.used() <= LIMIT);
        for model in &models {
            // Every item that it takes is acknowledged, dropped or waiting: once.
            let dropped = total(model.status.dropped().load());
            let unsent = total(state.unsent(model.id));
            let acknowledged = model.acknowledged_items;
            assert_eq!(acknowledged + dropped + unsent, model.appended_items);
            assert_eq!(acknowledged & dropped, 0);
        }
    }
    for model in &models {
        state.remove_reader(model.id);
    }
    assert_eq!(state.used(), 0);
}

proptest! {
    #[test]
    fn nothing_is_lost_uncounted(steps in vec(step(), 0..60)) {
        run(steps);
    }
}

#[test]
fn a_scout_that_is_pushed_on_is_nobodys_loss() {
    let mut state = State::new(LIMIT);
    let status: Arc<ExporterStatus> = Arc::default();
    let sender = state.add_reader(reader(&status));
    let scout = state.add_scout(sender);
    let mut notices = Vec::new();
    for _ in 0..10 {
        let bytes = Bytes::from(vec![0; 500]);
        notices.extend(state.append(Signal::Traces, bytes, 1, 1).unwrap());
    }
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(state.unsent(scout), state.unsent(sender));
    state.remove_reader(scout);
    assert_eq!(status.dropped().load().traces, 7);
}

#[test]
fn the_cap_counts_small_records_in_full() {
    let mut state = State::new(LIMIT);
    state.add_reader(reader(&Arc::default()));
    for _ in 0..100 {
        state.append(Signal::Traces, Bytes::new(), 0, 1).unwrap();
    }
    assert_eq!(state.used(), LIMIT / RECORD_OVERHEAD * RECORD_OVERHEAD);
}
