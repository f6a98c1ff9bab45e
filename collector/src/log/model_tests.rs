//! The batch log against a model that keeps everything: each reader gets every batch in order, or has it
//! counted as dropped, exactly once; the cap holds throughout.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::memory::State;
use super::{OnFull, RECORD_OVERHEAD, Read, ReaderConfig, ReaderId};
use crate::status::ExporterStatus;

const LIMIT: usize = 2_000;
const READERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Read {
        reader: usize,
        max_bytes: usize,
    },
    /// Acknowledges this share (of 4) of what was handed out last.
    Ack {
        reader: usize,
        share: usize,
    },
    Leave {
        reader: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let reader = 0..READERS;
    prop_oneof![
        4 => (0..900_usize).prop_map(Step::Append),
        3 => (reader.clone(), 0..1_500_usize)
            .prop_map(|(reader, max_bytes)| Step::Read { reader, max_bytes }),
        3 => (reader.clone(), 0..=4_usize).prop_map(|(reader, share)| Step::Ack { reader, share }),
        1 => reader.prop_map(|reader| Step::Leave { reader }),
    ]
}

/// What one reader must have seen so far.
struct Model {
    id: ReaderId,
    status: Arc<ExporterStatus>,
    present: bool,
    /// Sequences handed out last and not acknowledged, with their spans.
    handed: Vec<(u64, u64)>,
    acknowledged_spans: u64,
    /// First sequence that may still come.
    from: u64,
}

/// Spans of record `sequence`: all different in binary, so that sums tell which ones they hold.
fn spans_of(sequence: u64) -> u64 {
    1 << sequence
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
        .map(|_| {
            let status = Arc::new(ExporterStatus::default());
            Model {
                id: state.add_reader(reader(&status)),
                status,
                present: true,
                handed: Vec::new(),
                acknowledged_spans: 0,
                from: 0,
            }
        })
        .collect();
    let mut appended = 0;
    let mut left_at = [None; READERS];
    for step in steps {
        match step {
            Step::Append(len) => {
                let kept = models.iter().any(|model| model.present);
                let bytes = Bytes::from(vec![0; len]);
                state
                    .append(bytes, spans_of(appended), appended + 1)
                    .unwrap();
                appended += u64::from(kept);
            }
            Step::Read { reader, max_bytes } => {
                let model = &mut models[reader];
                match state.read(model.id, max_bytes) {
                    Read::Records(records) => {
                        let sequences: Vec<_> = records.iter().map(|r| r.sequence).collect();
                        assert!(sequences[0] >= model.from);
                        assert!(sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]));
                        let bytes: usize = records.iter().map(|record| record.bytes.len()).sum();
                        assert!(records.len() == 1 || bytes <= max_bytes);
                        model.handed = records.iter().map(|r| (r.sequence, r.spans)).collect();
                        model.from = sequences[0];
                    }
                    Read::End => assert!(!model.present),
                    Read::Nothing => {
                        model.handed.clear();
                        assert_eq!(state.unsent_spans(model.id), 0);
                    }
                }
            }
            Step::Ack { reader, share } => {
                let model = &mut models[reader];
                let count = model.handed.len() * share / 4;
                if model.present && count > 0 {
                    let done: Vec<_> = model.handed.drain(..count).collect();
                    let last = done[count - 1].0;
                    state.ack(model.id, last);
                    model.acknowledged_spans += done.iter().map(|(_, spans)| spans).sum::<u64>();
                    model.from = last + 1;
                }
            }
            Step::Leave { reader } => {
                let model = &mut models[reader];
                if model.present {
                    state.remove_reader(model.id);
                    model.present = false;
                    left_at[reader] = Some(appended);
                }
            }
        }
        assert!(state.used() <= LIMIT);
        for (model, left_at) in models.iter().zip(left_at) {
            // Every span appended while the reader was there is acknowledged, dropped or waiting: once.
            let dropped = model.status.dropped_spans.load(Ordering::Relaxed);
            let unsent = state.unsent_spans(model.id);
            let all = (1 << left_at.unwrap_or(appended)) - 1;
            assert_eq!(model.acknowledged_spans + dropped + unsent, all);
            assert_eq!(model.acknowledged_spans & dropped, 0);
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
fn the_cap_counts_small_records_in_full() {
    let mut state = State::new(LIMIT);
    state.add_reader(reader(&Arc::default()));
    for _ in 0..100 {
        state.append(Bytes::new(), 0, 1).unwrap();
    }
    assert_eq!(state.used(), LIMIT / RECORD_OVERHEAD * RECORD_OVERHEAD);
}
