//! The log on a simulated disk, driven step by step against a model that keeps every batch that was answered with
//! success: whatever the disk does and whenever it ends, each reader gets all of them, in order, and only those
//! twice that it acknowledged after its place was last saved. What a reader does not take passes it by.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::files::Files;
use super::sim::{Chance, SimDisk};
use super::state::{Limits, Next};
use super::writer::Writer;
use super::{DiskConfig, DiskCursor, Durability, Shared, Sizes, scan};
use crate::log::{Full, OnFull, Read, ReaderConfig, ReaderId};
use crate::signal::{BySignal, Items, Signal, Signals};
use crate::status::{ExporterStatus, LogStatus};

const READERS: usize = 2;

/// Small enough that a few batches fill a segment, a few segments the log, and a few batches its memory.
const SIZES: Sizes = Sizes {
    segment: 2_000,
    limits: Limits {
        capacity: 12_000,
        memory: 3_000,
        group: 1_200,
        least_charge: 0,
    },
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Append(usize),
    Write,
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
    Save,
    Kill,
    CutPower(u64),
    FailIn(u64),
    FillUp(u64),
    /// Tells of a part of the first record that a reader was handed last.
    Tell(usize),
    /// No segment can be removed until it heals.
    KeepSegments,
    /// The directory is away until it heals.
    Vanish,
    Heal,
}

/// How the collector may end.
#[derive(Clone, Copy)]
enum Ends {
    ByPowerCut,
    ByKill,
    Not,
}

fn step(ends: Ends) -> impl Strategy<Value = Step> {
    let reader = 0..READERS;
    let end = match ends {
        Ends::ByPowerCut => {
            prop_oneof![any::<u64>().prop_map(Step::CutPower), Just(Step::Kill)].boxed()
        }
        Ends::ByKill => Just(Step::Kill).boxed(),
        Ends::Not => reader.clone().prop_map(Step::Tell).boxed(),
    };
    prop_oneof![
        8 => (0..700_usize).prop_map(Step::Append),
        6 => Just(Step::Write),
        6 => (reader.clone(), 0..2_500_usize)
            .prop_map(|(reader, max_bytes)| Step::Read { reader, max_bytes }),
        4 => (reader.clone(), 1..=4_usize, 0..2_500_usize)
            .prop_map(|(reader, share, max_bytes)| Step::ReadOn { reader, share, max_bytes }),
        5 => (reader, 0..=4_usize).prop_map(|(reader, share)| Step::Ack { reader, share }),
        1 => Just(Step::Save),
        2 => end,
        1 => (0..6_u64).prop_map(Step::FailIn),
        1 => (0..800_u64).prop_map(Step::FillUp),
        1 => Just(Step::KeepSegments),
        1 => Just(Step::Vanish),
        2 => Just(Step::Heal),
    ]
}

/// What one reader has seen.
#[derive(Default)]
struct Seen {
    /// Numbers and sequences handed out and not acknowledged.
    handed: Vec<(u64, u64)>,
    delivered: BTreeSet<u64>,
    /// Numbers of which one item was told apart.
    told: BTreeSet<u64>,
    /// The greatest number of each signal acknowledged, in this run and when its place was saved.
    last: BySignal<Option<u64>>,
    saved: BySignal<Option<u64>>,
}

pub(super) struct Rig {
    pub(super) disk: SimDisk,
    durability: Durability,
    on_full: OnFull,
    /// Whether batches are of all signals in turn, some of which the second reader does not take.
    is_mixed: bool,
    /// Of one batch.
    pub(super) items: u64,
    pub(super) statuses: [Arc<ExporterStatus>; READERS],
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    pub(super) cursors: Vec<DiskCursor>,
    /// Whether files were changed behind the log's back.
    spoilt: bool,
    waiting: Vec<(u64, oneshot::Receiver<Result<(), Full>>)>,
    /// Numbers of batches answered with success.
    pub(super) accepted: BTreeSet<u64>,
    seen: [Seen; READERS],
    appended: u64,
}

impl Rig {
    pub(super) fn new(durability: Durability, on_full: OnFull) -> Self {
        Self::with(durability, on_full, false)
    }

    pub(super) fn mixed(durability: Durability, on_full: OnFull) -> Self {
        Self::with(durability, on_full, true)
    }

    fn with(durability: Durability, on_full: OnFull, is_mixed: bool) -> Self {
        let disk = SimDisk::default();
        let statuses = std::array::from_fn(|reader| {
            let some = [Signal::Traces, Signal::Metrics].into_iter().collect();
            Arc::new(ExporterStatus {
                signals: match is_mixed && reader == 1 {
                    true => some,
                    false => Signals::ALL,
                },
                ..ExporterStatus::named(format!("otlp+http://{reader}"))
            })
        });
        let (shared, writer, cursors, _) = open(&disk, durability, on_full, &statuses).unwrap();
        Self {
            disk,
            durability,
            on_full,
            is_mixed,
            items: 1,
            statuses,
            shared,
            writer,
            cursors,
            spoilt: false,
            waiting: Vec::new(),
            accepted: BTreeSet::new(),
            seen: Default::default(),
            appended: 0,
        }
    }

    /// Changes a byte of a file behind the log's back.
    pub(super) fn spoil(&mut self, name: &str, at: usize) {
        self.spoilt = true;
        self.disk.change(name, |bytes| bytes[at] ^= 0x55);
    }

    /// Starts again on what the disk holds; whatever was in memory is gone.
    pub(super) fn reopen(&mut self) {
        self.disk.vanish(false);
        let (shared, writer, cursors, found_damage) =
            open(&self.disk, self.durability, self.on_full, &self.statuses).unwrap();
        self.shared = shared;
        self.writer = writer;
        self.cursors = cursors;
        // A crash is no damage, and must not be told as if it were.
        let unsynced_cut = self.durability == Durability::Received;
        assert!(
            !found_damage || self.spoilt || unsynced_cut,
            "a false alarm"
        );
        self.waiting.clear();
        for seen in &mut self.seen {
            seen.handed.clear();
            // From here on it may come again; of several signals one may have been ahead of what was saved.
            seen.last = match self.is_mixed {
                true => BySignal::default(),
                false => seen.saved,
            };
        }
    }

    /// Tries to start, beside what runs, on what the disk holds.
    pub(super) fn start_fault(&self) -> Option<io::Error> {
        open(&self.disk, self.durability, self.on_full, &self.statuses).err()
    }

    /// What batch `number` is of.
    fn signal_of(&self, number: u64) -> Signal {
        match self.is_mixed {
            true => Signal::ALL[number as usize % 3],
            false => Signal::Traces,
        }
    }

    /// The accepted batches that a reader takes.
    fn taken_by(&self, reader: usize) -> BTreeSet<u64> {
        let signals = self.statuses[reader].signals;
        let accepted = self.accepted.iter().copied();
        accepted
            .filter(|&number| signals.has(self.signal_of(number)))
            .collect()
    }

    /// Appends batch number `appended`, filled up to at least `length` bytes.
    pub(super) fn append(&mut self, length: usize) {
        let number = self.appended;
        self.appended += 1;
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.resize(length.max(8), number as u8);
        match self
            .shared
            .offer(self.signal_of(number), Bytes::from(bytes), self.items)
        {
            Ok(answer) => self
                .waiting
                .push((number, answer.expect("there are readers"))),
            Err(refused) => assert!(
                matches!(
                    refused,
                    Full::Now { .. } | Full::Behind | Full::Hangs { .. } | Full::Disk(_)
                ),
                "{refused}"
            ),
        }
    }

    pub(super) fn write(&mut self) {
        self.writer.retire(&self.shared);
        self.writer.write_group(&self.shared);
        let accepted = &mut self.accepted;
        self.waiting.retain_mut(|(number, answer)| {
            use oneshot::error::TryRecvError;
            match answer.try_recv() {
                Ok(Ok(())) => {
                    accepted.insert(*number);
                    false
                }
                Ok(Err(Full::Disk(_))) => false,
                Err(TryRecvError::Empty) => true,
                other => panic!("{other:?}"),
            }
        });
    }

    /// Lets a reader read; false when there is nothing.
    pub(super) fn read(&mut self, reader: usize, max_bytes: usize) -> bool {
        let id = ReaderId(reader as u64);
        let records = loop {
            let next = self.shared.state().read(id, max_bytes);
            match next {
                Next::Here(Read::Records(records)) => break records,
                Next::Here(_) => return false,
                Next::OnDisk(mut ask) => {
                    ask.any_size = true;
                    let (records, damage) = match scan::read(&self.disk, &ask) {
                        Ok(scan::Answer::Records { records, damage }) => (records, damage),
                        Ok(scan::Answer::Oversize(_)) => panic!("any size was asked for"),
                        Err(error) => {
                            assert_ne!(error.kind(), io::ErrorKind::NotFound, "{ask:?}");
                            // Whoever asks again has given up what it had.
                            self.seen[reader].handed.clear();
                            return false;
                        }
                    };
                    let mut state = self.shared.state();
                    if let (Some(records), _) = state.found(id, &ask, records, damage) {
                        break records;
                    }
                }
            }
        };
        let bytes: usize = records.iter().map(|record| record.bytes.len()).sum();
        assert!(records.len() == 1 || bytes <= max_bytes);
        let handed = records.iter().map(|record| {
            let number = record.bytes.first_chunk().unwrap();
            (u64::from_le_bytes(*number), record.sequence)
        });
        let signal = records[0].signal;
        assert!(self.statuses[reader].signals.has(signal));
        assert!(records.iter().all(|record| record.signal == signal));
        let seen = &mut self.seen[reader];
        seen.handed = handed.collect();
        let ordered = |pair: &[(u64, u64)]| pair[0] < pair[1] && pair[0].1 < pair[1].1;
        assert!(seen.handed.windows(2).all(ordered), "{:?}", seen.handed);
        assert!(
            *seen.last.of(signal) < Some(seen.handed[0].0),
            "{:?} again",
            seen.handed[0]
        );
        true
    }

    /// Lets a reader read more beside a share (of 4) of what it has.
    fn read_on(&mut self, reader: usize, share: usize, max_bytes: usize) {
        let id = ReaderId(reader as u64);
        let handed = &mut self.seen[reader].handed;
        handed.truncate(handed.len() * share / 4);
        let Some(&last) = handed.last() else {
            return;
        };
        let next = self.shared.state().read_on(id, last.1, max_bytes);
        let records = match next {
            Next::Here(Read::Records(records)) => records,
            Next::Here(_) => return,
            Next::OnDisk(ask) => match scan::read(&self.disk, &ask) {
                Ok(scan::Answer::Records { records, damage }) if damage.bytes == 0 => {
                    self.shared.state().found_on(id, &ask, records)
                }
                _ => return,
            },
        };
        let numbers = records.iter().map(|record| {
            let number = record.bytes.first_chunk().unwrap();
            (u64::from_le_bytes(*number), record.sequence)
        });
        let more: Vec<_> = numbers.collect();
        let signal = self.signal_of(last.0);
        assert!(records.iter().all(|record| record.signal == signal));
        let handed = &mut self.seen[reader].handed;
        handed.extend(more);
        let ordered = |pair: &[(u64, u64)]| pair[0] < pair[1] && pair[0].1 < pair[1].1;
        assert!(handed.windows(2).all(ordered), "{handed:?}");
    }

    pub(super) fn ack(&mut self, reader: usize, count: usize) {
        let done: Vec<_> = self.seen[reader].handed.drain(..count).collect();
        if let Some(&(number, sequence)) = done.last() {
            let signal = self.signal_of(number);
            let seen = &mut self.seen[reader];
            seen.delivered.extend(done.iter().map(|(number, _)| number));
            *seen.last.of_mut(signal) = Some(number);
            self.shared.ack(ReaderId(reader as u64), sequence);
        }
    }

    pub(super) fn tell(&mut self, reader: usize) {
        let Some(&(number, sequence)) = self.seen[reader].handed.first() else {
            return;
        };
        if self.seen[reader].told.insert(number) {
            let items = Items::only(self.signal_of(number), 1);
            let id = ReaderId(reader as u64);
            self.shared.state().told(id, sequence, items);
        }
    }

    pub(super) fn save(&mut self) {
        self.writer.save_cursors(&self.shared);
        if self.shared.state().unsaved_bytes().is_none() {
            for seen in &mut self.seen {
                seen.saved = seen.last;
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(length) => self.append(length),
            Step::Write => self.write(),
            Step::Read { reader, max_bytes } => {
                self.read(reader, max_bytes);
            }
            Step::ReadOn {
                reader,
                share,
                max_bytes,
            } => self.read_on(reader, share, max_bytes),
            Step::Ack { reader, share } => {
                let count = self.seen[reader].handed.len() * share / 4;
                self.ack(reader, count);
            }
            Step::Tell(reader) => self.tell(reader),
            Step::Save => self.save(),
            Step::Kill => self.reopen(),
            Step::CutPower(seed) => {
                self.disk.cut_power(&mut Chance(seed));
                self.reopen();
            }
            Step::FailIn(changes) => self.disk.fail_in(Some(changes)),
            Step::FillUp(more) => self.disk.fill_up(Some(more)),
            Step::KeepSegments => self.disk.keep_segments(true),
            Step::Vanish => self.disk.vanish(true),
            Step::Heal => self.heal(),
        }
        assert!(self.shared.state().memory_used() <= SIZES.limits.memory);
    }

    fn heal(&self) {
        self.disk.fail_in(None);
        self.disk.fill_up(None);
        self.disk.keep_segments(false);
        self.disk.vanish(false);
    }

    /// Has every reader take everything that is left.
    pub(super) fn drain(&mut self) {
        for reader in 0..READERS {
            while self.read(reader, 1_500) {
                let count = self.seen[reader].handed.len();
                self.ack(reader, count);
            }
        }
    }

    pub(super) fn delivered(&self, reader: usize) -> &BTreeSet<u64> {
        &self.seen[reader].delivered
    }

    pub(super) fn dropped(&self, reader: usize) -> u64 {
        let dropped = self.statuses[reader].dropped().load();
        Signal::ALL.map(|signal| *dropped.of(signal)).iter().sum()
    }

    /// Runs the steps, ends in a crash, starts on a sound disk, and has everything sent.
    fn run(mut self, steps: Vec<Step>) -> Self {
        for step in steps {
            self.step(step);
        }
        self.heal();
        self.reopen();
        self.drain();
        self
    }

    fn check_nothing_is_lost(&self) {
        for reader in 0..READERS {
            let taken = self.taken_by(reader);
            let missing: Vec<_> = taken.difference(self.delivered(reader)).collect();
            assert!(missing.is_empty(), "reader {reader} lacks {missing:?}");
            assert_eq!(self.dropped(reader), 0);
        }
    }
}

fn open(
    disk: &SimDisk,
    durability: Durability,
    on_full: OnFull,
    statuses: &[Arc<ExporterStatus>],
) -> io::Result<(Arc<Shared>, Writer, Vec<DiskCursor>, bool)> {
    let config = DiskConfig {
        directory: "simulated".into(),
        durability,
        limit: 0,
        retention: Duration::from_secs(3_600),
    };
    let readers = statuses.iter().map(|status| ReaderConfig {
        status: Arc::clone(status),
        on_full,
    });
    let files = Arc::new(disk.clone());
    let status = Arc::new(LogStatus::default());
    let (shared, writer, cursors, recovery) =
        Shared::open(files, &config, SIZES, readers.collect(), status)?;
    Ok((shared, writer, cursors, recovery.found_damage()))
}

fn check_the_cap(mut rig: Rig, steps: Vec<Step>) {
    rig.items = 2;
    for step in steps {
        rig.step(step);
    }
    rig.heal();
    while !rig.waiting.is_empty() {
        rig.write();
    }
    rig.drain();
    for reader in 0..READERS {
        let (delivered, taken) = (rig.delivered(reader), rig.taken_by(reader));
        assert!(delivered.is_subset(&taken));
        let told = rig.seen[reader].told.difference(delivered).count() as u64;
        let all = 2 * delivered.len() as u64 + told + rig.dropped(reader);
        assert_eq!(all, 2 * taken.len() as u64);
        let unsent = rig.shared.state().unsent(ReaderId(reader as u64));
        assert!(unsent.is_empty(), "{unsent:?}");
    }
}

proptest! {
    #[test]
    fn what_was_answered_outlasts_power_cuts_and_failures(steps in vec(step(Ends::ByPowerCut), 0..120)) {
        Rig::new(Durability::Synced, OnFull::Refuse).run(steps).check_nothing_is_lost();
    }

    #[test]
    fn what_was_received_outlasts_kills_and_failures(steps in vec(step(Ends::ByKill), 0..120)) {
        Rig::new(Durability::Received, OnFull::Refuse).run(steps).check_nothing_is_lost();
    }

    /// What was written before a power cut may be lost then; what is written after it must not be.
    #[test]
    fn a_power_cut_costs_only_what_was_received_before_it(
        steps in vec(step(Ends::ByPowerCut), 0..120)
    ) {
        let mut rig = Rig::new(Durability::Received, OnFull::Refuse);
        for step in steps {
            if matches!(step, Step::CutPower(_)) {
                rig.accepted.clear();
            }
            rig.step(step);
        }
        rig.heal();
        rig.reopen();
        rig.drain();
        for reader in 0..READERS {
            let missing: Vec<_> = rig.accepted.difference(rig.delivered(reader)).collect();
            prop_assert!(missing.is_empty(), "reader {} lacks {:?}", reader, missing);
        }
    }

    #[test]
    fn what_the_cap_pushes_out_is_counted_once(steps in vec(step(Ends::Not), 0..120)) {
        check_the_cap(Rig::new(Durability::Synced, OnFull::DropOldest), steps);
    }

    #[test]
    fn of_several_signals_nothing_is_lost_either(steps in vec(step(Ends::ByPowerCut), 0..120)) {
        Rig::mixed(Durability::Synced, OnFull::Refuse).run(steps).check_nothing_is_lost();
    }

    #[test]
    fn of_several_signals_what_is_pushed_out_is_counted_once(steps in vec(step(Ends::Not), 0..120)) {
        check_the_cap(Rig::mixed(Durability::Synced, OnFull::DropOldest), steps);
    }

    #[test]
    fn no_bytes_in_the_directory_keep_it_from_starting(
        lengths in vec(0..900_usize, 1..20),
        spoilt in vec((any::<u64>(), any::<u8>()), 1..12),
        cut in proptest::option::of(any::<u64>()),
    ) {
        let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
        for length in lengths {
            rig.append(length);
            rig.write();
        }
        rig.spoilt = true;
        for name in rig.disk.list().unwrap() {
            rig.disk.change(&name, |bytes| {
                for (at, value) in spoilt.iter().filter(|_| !name.contains("json")) {
                    let at = *at as usize % bytes.len();
                    bytes[at] = *value;
                }
                if let Some(cut) = cut {
                    bytes.truncate(cut as usize % (bytes.len() + 1));
                }
            });
        }
        rig.reopen();
        rig.drain();
        // What can be delivered is what was accepted, and the log goes on.
        prop_assert!(rig.delivered(0).is_subset(&rig.accepted));
        rig.append(10);
        rig.write();
        rig.drain();
        prop_assert_eq!(rig.delivered(0).last(), rig.accepted.last());
    }
}
