//! What the mutex of the log on disk guards: which segments there are, what is still in memory, where each reader
//! is. Plain data and moves: no files, no waiting and no telling; `writer` and `disk` add them.

mod reading;
mod room;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(super) use self::reading::Next;
pub(super) use self::room::Stuck;
use super::format::{RECORD_HEADER, SegmentHeader};
use super::hot::{HotRecord, HotRecords, memory_cost};
use super::readers::{Place, Reader, Totals};
use super::segments::{Segment, Segments};
use crate::log::{Full, MAX_RECORDS, Notice, ReaderId, Record};
use crate::signal::{BySignal, Items, Signal};
use crate::status::LogStatus;

/// A batch on its way to the disk.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) signal: Signal,
    pub(super) bytes: Bytes,
    pub(super) items: u64,
    pub(super) arrived_unix_nano: u64,
    /// Told once it is written and, with `synced`, durable.
    pub(super) answer: oneshot::Sender<Result<(), Full>>,
}

/// Bounds, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// All records in segments, with their headers.
    pub(super) capacity: u64,
    /// Records in memory: those that wait for the disk and the newest behind them.
    pub(super) memory: usize,
    /// Records written together, unless the first alone has more.
    pub(super) group: usize,
    /// What a segment counts at least towards the capacity.
    pub(super) least_charge: u64,
}

#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    segments: Segments,
    next_sequence: u64,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// When the writer finished something, or had nothing to do, last.
    progress_at: Instant,
    hang_told: bool,
    hot: HotRecords,
    /// Bytes that a reader holds beyond what is reckoned for it.
    oversize_bytes: usize,
    readers: Vec<Reader>,
    stuck: Option<Stuck>,
    /// Bytes acknowledged by peers since the cursors were saved.
    unsaved_bytes: u64,
    unsaved: bool,
    closed: bool,
    stopping: bool,
    /// The writer has ended by a panic.
    broken: bool,
    status: Arc<LogStatus>,
}

/// Where the writer put a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) segment: SegmentHeader,
    /// Where its first record begins.
    pub(super) at: u64,
}

impl State {
    pub(super) fn new(
        limits: Limits,
        segments: VecDeque<Segment>,
        readers: Vec<Reader>,
        next_sequence: u64,
        status: Arc<LogStatus>,
    ) -> Self {
        let mut state = Self {
            limits,
            segments: Segments::new(segments),
            next_sequence,
            pending: VecDeque::new(),
            pending_bytes: 0,
            progress_at: Instant::now(),
            hang_told: false,
            hot: HotRecords::default(),
            oversize_bytes: 0,
            readers,
            stuck: None,
            unsaved_bytes: 0,
            unsaved: false,
            closed: false,
            stopping: false,
            broken: false,
            status,
        };
        for reader in &mut state.readers {
            advance(reader, &state.segments);
        }
        state.free();
        state.publish();
        state
    }

    /// Takes a batch in, to be written; false when nobody reads it.
    pub(super) fn offer(&mut self, batch: Pending) -> (Result<bool, Full>, Vec<Notice>) {
        let mut notices = Vec::new();
        let taken = self.make_room(&batch, &mut notices);
        if taken == Ok(true) {
            if self.pending_bytes == 0 {
                self.progress_at = Instant::now();
            }
            self.pending_bytes += memory_cost(&batch.bytes);
            self.pending.push_back(batch);
            self.cool();
        }
        (taken, notices)
    }

    /// Up to a group's worth of what waits for the disk.
    pub(super) fn take_group(&mut self) -> Vec<Pending> {
        let mut bytes = 0_usize;
        let fit = self.pending.iter().take(MAX_RECORDS).take_while(|batch| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(batch.bytes.len() + RECORD_HEADER);
            first || bytes <= self.limits.group
        });
        let fit = fit.count();
        self.pending.drain(..fit).collect()
    }

    /// Shows readers what was written; the answers to give.
    pub(super) fn committed(
        &mut self,
        group: Vec<Pending>,
        written: Written,
    ) -> Vec<oneshot::Sender<Result<(), Full>>> {
        let id = written.segment.id;
        self.segments.begin(id, self.next_sequence);
        for reader in &mut self.readers {
            advance(reader, &self.segments);
        }
        let mut answers = Vec::with_capacity(group.len());
        let mut end = written.at;
        let mut totals = BySignal::<Totals>::default();
        for batch in group {
            end += disk_cost(&batch.bytes);
            self.pending_bytes -= memory_cost(&batch.bytes);
            let record = Record {
                sequence: self.next_sequence,
                signal: batch.signal,
                bytes: batch.bytes,
                items: batch.items,
                arrived_unix_nano: batch.arrived_unix_nano,
            };
            *totals.of_mut(record.signal) += Totals::of(record.counted(), record.bytes.len());
            self.next_sequence += 1;
            self.hot.push(HotRecord {
                record,
                segment: id,
                end,
            });
            answers.push(batch.answer);
        }
        self.segments.extend(end, totals);
        let place = Place {
            sequence: self.next_sequence,
            segment: id,
            offset: end,
        };
        for reader in &mut self.readers {
            reader.appended(place, &totals);
        }
        self.cool();
        self.free();
        self.publish();
        answers
    }

    /// Gives up a group that could not be written; the answers to give.
    pub(super) fn not_written(
        &mut self,
        group: Vec<Pending>,
    ) -> Vec<oneshot::Sender<Result<(), Full>>> {
        let bytes: usize = group.iter().map(|batch| memory_cost(&batch.bytes)).sum();
        self.pending_bytes -= bytes;
        group.into_iter().map(|batch| batch.answer).collect()
    }

    /// Notes that the disk finished a group, well or not; whether it was told to hang.
    pub(super) fn progressed(&mut self) -> bool {
        self.progress_at = Instant::now();
        std::mem::take(&mut self.hang_told)
    }

    pub(super) fn ack(&mut self, id: ReaderId, sequence: u64) -> Vec<Notice> {
        let mut notices = Vec::new();
        if let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) {
            let bytes = reader.settle(sequence, &self.segments);
            advance(reader, &self.segments);
            if !reader.scout {
                self.unsaved_bytes += bytes;
                self.unsaved = true;
            }
            // Not only when all is sent: an exporter that keeps up with a backlog drops nothing either.
            if reader.unsent.bytes <= self.limits.capacity / 2
                && let Some(items) = reader.episode.take()
            {
                let exporter = reader.status.name.clone();
                notices.push(Notice::Recovered { exporter, items });
            }
        }
        self.cool();
        self.free();
        self.publish();
        notices
    }

    /// `items` more of record `sequence` are counted by the exporter already.
    pub(super) fn told(&mut self, id: ReaderId, sequence: u64, items: Items) {
        if let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) {
            reader.tell(sequence, items);
        }
    }

    pub(super) fn unsent(&self, id: ReaderId) -> Items {
        self.reader(id)
            .map_or_else(Items::default, Reader::unsent_items)
    }

    /// Bytes that the reader has not acknowledged.
    pub(super) fn unsent_bytes(&self, id: ReaderId) -> u64 {
        self.reader(id).map_or(0, |reader| reader.unsent.bytes)
    }

    pub(super) fn has_more(&self, id: ReaderId) -> bool {
        self.reader(id).is_some_and(Reader::has_more)
    }

    /// Whether what the reader has not acknowledged takes more than half of the capacity.
    pub(super) fn is_pressed(&self, id: ReaderId) -> bool {
        self.reader(id).is_some_and(|Reader { unsent, .. }| {
            let headers = unsent.records.saturating_mul(RECORD_HEADER as u64);
            unsent.bytes.saturating_add(headers) > self.limits.capacity / 2
        })
    }

    /// A reader at the place of reader `of` that is not saved and counts in nobody's status.
    pub(super) fn add_scout(&mut self, of: ReaderId) -> ReaderId {
        let greatest = self.readers.iter().map(|reader| reader.id.0).max();
        let id = ReaderId(greatest.map_or(0, |greatest| greatest + 1));
        let scout = self.reader(of).map(|reader| reader.scout(id));
        self.readers.extend(scout);
        id
    }

    pub(super) fn remove_scout(&mut self, id: ReaderId) {
        self.readers.retain(|reader| reader.id != id);
        self.free();
    }

    fn reader(&self, id: ReaderId) -> Option<&Reader> {
        self.readers.iter().find(|reader| reader.id == id)
    }

    /// Reckons with a reader that holds one record beyond its share; 0 when it has let go.
    pub(super) fn hold_oversize(&mut self, bytes: usize) {
        self.oversize_bytes = bytes;
        self.cool();
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether nothing more will come.
    pub(super) fn is_closed(&self) -> bool {
        self.closed && self.pending_bytes == 0
    }

    /// Takes nothing more, and has the writer end once everything is written.
    pub(super) fn stop(&mut self) {
        self.closed = true;
        self.stopping = true;
    }

    /// Takes nothing more, and forgets what waits for a writer that has ended by a panic.
    pub(super) fn break_off(&mut self) {
        self.closed = true;
        self.broken = true;
        self.pending.clear();
        self.pending_bytes = 0;
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    pub(super) fn memory_used(&self) -> usize {
        self.hot.bytes() + self.pending_bytes
    }

    pub(super) fn memory_limit(&self) -> usize {
        self.limits.memory
    }

    /// Segments that nobody needs any more.
    pub(super) fn take_retired(&mut self) -> Vec<Segment> {
        self.segments.take_retired()
    }

    pub(super) fn has_retired(&self) -> bool {
        self.segments.has_retired()
    }

    /// Bytes acknowledged since the cursors were saved; `None` when there is nothing to save.
    pub(super) fn unsaved_bytes(&self) -> Option<u64> {
        self.unsaved.then_some(self.unsaved_bytes)
    }

    /// The readers to save, which then count as saved.
    pub(super) fn save(&mut self) -> &[Reader] {
        self.unsaved = false;
        self.unsaved_bytes = 0;
        &self.readers
    }

    /// What was not saved after all.
    pub(super) fn not_saved(&mut self) {
        self.unsaved = true;
    }

    /// Gives up the backlogs of exporters that left before `since_unix_nano`.
    pub(super) fn expire(&mut self, since_unix_nano: u64) -> Vec<Notice> {
        let expired = |reader: &Reader| {
            reader
                .left_unix_nano
                .is_some_and(|left| left < since_unix_nano)
        };
        let (gone, kept): (Vec<_>, Vec<_>) = self.readers.drain(..).partition(expired);
        self.readers = kept;
        self.unsaved |= !gone.is_empty();
        self.free();
        self.publish();
        gone.iter().map(Reader::given_up).collect()
    }

    /// Retires the segments that every reader has left.
    fn free(&mut self) {
        let needed = self.readers.iter().map(|reader| reader.place.segment).min();
        self.segments.retire_before(needed.unwrap_or(u64::MAX));
    }

    /// Lets go of records in memory that are too many, or that no reader wants any more.
    fn cool(&mut self) {
        let configured = self.readers.iter().filter(|reader| reader.is_configured());
        let needed = configured.map(|reader| reader.place.sequence).min();
        let elsewhere = self.pending_bytes.saturating_add(self.oversize_bytes);
        let most = self.limits.memory.saturating_sub(elsewhere);
        self.hot.cool(most, needed.unwrap_or(u64::MAX));
    }

    fn publish(&self) {
        let store = |counter: &AtomicU64, value| counter.store(value, Ordering::Relaxed);
        for reader in self.readers.iter().filter(|reader| reader.is_configured()) {
            let oldest = self.hot.get(reader.place.sequence);
            reader.publish(oldest.map(|hot| hot.record.arrived_unix_nano));
        }
        let stuck = self.stuck.map_or(0, |stuck| stuck.bytes);
        store(&self.status.used_bytes, self.segments.bytes(0) + stuck);
        store(&self.status.segments, self.segments.count() as u64);
        let left = self.readers.iter().filter(|reader| !reader.is_configured());
        store(
            &self.status.left_bytes,
            left.map(|reader| reader.unsent.bytes).sum(),
        );
    }
}

/// Moves a reader that is done with its segment on to the next one that there is.
fn advance(reader: &mut Reader, segments: &Segments) {
    while reader.here.records == 0 && reader.enter_next(segments) {}
}

/// Bytes on disk.
fn disk_cost(bytes: &Bytes) -> u64 {
    bytes.len() as u64 + RECORD_HEADER as u64
}
