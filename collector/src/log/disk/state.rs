//! What the mutex of the log on disk guards: which segments there are, what is still in memory, where each reader
//! is. Plain data and moves: no files, no waiting and no telling; `writer` and `disk` add them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::format::{RECORD_HEADER, SegmentHeader};
use super::hot::{HotRecord, HotRecords, memory_cost};
use super::readers::{Place, Reader, Totals};
use super::scan::{Ask, Damage};
use super::segments::{Segment, Segments};
use crate::log::{Full, MAX_RECORDS, Notice, OnFull, Read, ReaderId, Record};
use crate::signal::{BySignal, Items, Signal};
use crate::status::{LogStatus, add};

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
    hot: HotRecords,
    /// Bytes that a reader holds beyond what is reckoned for it.
    oversize_bytes: usize,
    readers: Vec<Reader>,
    /// Bytes acknowledged by peers since the cursors were saved.
    unsaved_bytes: u64,
    unsaved: bool,
    closed: bool,
    stopping: bool,
    status: Arc<LogStatus>,
}

/// What a reader finds.
#[derive(Debug)]
pub(super) enum Next {
    Here(Read),
    /// It must be read from this file first.
    OnDisk(Ask),
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
            hot: HotRecords::default(),
            oversize_bytes: 0,
            readers,
            unsaved_bytes: 0,
            unsaved: false,
            closed: false,
            stopping: false,
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
            self.pending_bytes += memory_cost(&batch.bytes);
            self.pending.push_back(batch);
            self.cool();
        }
        (taken, notices)
    }

    fn make_room(&mut self, batch: &Pending, notices: &mut Vec<Notice>) -> Result<bool, Full> {
        if self.closed {
            return Err(Full::Closed);
        }
        let memory = memory_cost(&batch.bytes);
        let disk = disk_cost(&batch.bytes);
        let limit = (self.limits.capacity / 4).min(self.limits.memory as u64);
        if memory as u64 > limit {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            return Err(Full::TooLarge {
                bytes: memory,
                limit,
            });
        }
        let wants = |reader: &Reader| reader.is_configured() && reader.takes(batch.signal);
        if !self.readers.iter().any(wants) {
            return Ok(false);
        }
        if self.pending_bytes + memory > self.limits.memory {
            return Err(Full::Behind);
        }
        while self.used() + self.pending_bytes as u64 + disk > self.limits.capacity {
            if !self.drop_oldest(notices) {
                add(&self.status.full_refusals, 1);
                let limit = self.limits.capacity;
                return Err(Full::Now { limit });
            }
        }
        Ok(true)
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

    /// Records of one signal: that of the first one that is wanted.
    pub(super) fn read(&mut self, id: ReaderId, max_bytes: usize) -> Next {
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) else {
            return Next::Here(Read::End);
        };
        loop {
            reader.ask_again();
            advance(reader, &self.segments);
            if reader.unsent.records == 0 {
                let end = self.closed && self.pending_bytes == 0;
                return Next::Here(if end { Read::End } else { Read::Nothing });
            }
            let place = reader.place;
            let Some(found) = self.hot.read(place.sequence, max_bytes) else {
                return Next::OnDisk(Ask {
                    id: place.segment,
                    span: self.segments.span(place, self.next_sequence),
                    max_bytes,
                    any_size: false,
                });
            };
            for hot in &found {
                reader.hand(&hot.record, hot.segment, hot.end);
            }
            reader.begin(&self.segments);
            let records = found.into_iter().map(|hot| &hot.record);
            let records: Vec<_> = records.filter(|record| reader.sends(record)).collect();
            if !records.is_empty() {
                return Next::Here(Read::Records(records.into_iter().cloned().collect()));
            }
        }
    }

    /// Hands out what was read from disk, unless the reader was moved on meanwhile or wants none of it: `None` then. Where
    /// nothing more can be read, the reader leaves the segment, and what it still wanted of it is lost.
    pub(super) fn found(
        &mut self,
        id: ReaderId,
        ask: &Ask,
        found: Vec<(Record, u64)>,
        damage: Damage,
    ) -> (Option<Vec<Record>>, Vec<Notice>) {
        let mut notices = Vec::new();
        let asked = Place {
            sequence: ask.span.expected,
            segment: ask.id,
            offset: ask.span.at,
        };
        let still_there = |reader: &&mut Reader| reader.id == id && reader.place == asked;
        if self.readers.iter_mut().find(still_there).is_none() {
            return (None, notices);
        }
        if (damage.bytes > 0 || found.is_empty()) && self.mark_damaged(ask.id) {
            notices.push(Notice::Damaged {
                segment: ask.id,
                offset: damage.at.max(ask.span.at),
                records: damage.records,
            });
        }
        let Some(reader) = self.readers.iter_mut().find(still_there) else {
            return (None, notices);
        };
        if found.is_empty() {
            let lost = reader.leave(&self.segments);
            let exporter = reader.status.name.clone();
            notices.push(Notice::Unreadable {
                exporter,
                segment: ask.id,
                records: lost.records,
                items: lost.items,
            });
            self.free();
            self.publish();
            return (None, notices);
        }
        for (record, end) in &found {
            reader.hand(record, ask.id, *end);
        }
        reader.begin(&self.segments);
        let records = found.into_iter().map(|(record, _)| record);
        let records: Vec<_> = records.filter(|record| reader.sends(record)).collect();
        // Behind the last record that it wants there is nothing to look for.
        advance(reader, &self.segments);
        (Some(records).filter(|records| !records.is_empty()), notices)
    }

    /// Notes that a part of a segment cannot be read; whether that is news.
    fn mark_damaged(&mut self, id: u64) -> bool {
        let news = self.segments.mark_damaged(id);
        add(&self.status.damaged_segments, u64::from(news));
        news
    }

    pub(super) fn ack(&mut self, id: ReaderId, sequence: u64) -> Vec<Notice> {
        let mut notices = Vec::new();
        if let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) {
            let bytes = reader.settle(sequence, &self.segments);
            advance(reader, &self.segments);
            self.unsaved_bytes += bytes;
            self.unsaved = true;
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

    pub(super) fn unsent(&self, id: ReaderId) -> Items {
        let reader = self.readers.iter().find(|reader| reader.id == id);
        reader.map_or_else(Items::default, Reader::unsent_items)
    }

    /// Reckons with a reader that holds one record beyond its share; 0 when it has let go.
    pub(super) fn hold_oversize(&mut self, bytes: usize) {
        self.oversize_bytes = bytes;
        self.cool();
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Takes nothing more, and has the writer end once everything is written.
    pub(super) fn stop(&mut self) {
        self.closed = true;
        self.stopping = true;
    }

    /// Forgets what waits for a writer that is gone.
    pub(super) fn give_up_pending(&mut self) {
        self.pending.clear();
        self.pending_bytes = 0;
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

    /// Bytes that count towards the cap. The smallest segment counts as much as a batch: many starts must not make
    /// more files than can be gone through.
    fn used(&self) -> u64 {
        self.segments.bytes(self.limits.least_charge)
    }

    /// Gives up the oldest segment, and moves on the readers that still needed it; false when one of them would
    /// rather have senders refused, or when there is but the segment being written.
    fn drop_oldest(&mut self, notices: &mut Vec<Notice>) -> bool {
        let needs = |reader: &Reader, id| reader.place.segment <= id && reader.unsent.records > 0;
        let Some(oldest) = self.segments.oldest() else {
            return false;
        };
        let id = oldest.id;
        let refuses = |reader: &Reader| reader.on_full == OnFull::Refuse && needs(reader, id);
        if self.readers.iter().any(refuses) {
            return false;
        }
        for reader in self
            .readers
            .iter_mut()
            .filter(|reader| reader.place.segment <= id)
        {
            notices.extend(reader.push_out(&self.segments));
        }
        let before = self.readers.len();
        self.readers.retain(|reader| {
            let gone = !reader.is_configured() && reader.unsent.records == 0;
            if gone {
                notices.push(reader.given_up());
            }
            !gone
        });
        self.unsaved |= self.readers.len() != before;
        self.free();
        self.publish();
        true
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
        store(&self.status.used_bytes, self.segments.bytes(0));
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
