//! One reader of the log on disk: how far it has come, what it still has to send, and what it lost. Moved by `state`.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::format::SEGMENT_HEADER;
use super::scan::Entry;
use super::segments::{Segment, Segments};
use crate::log::{Notice, OnFull, ReaderId, Record};
use crate::signal::{BySignal, Items, Signal};
use crate::status::ExporterStatus;

/// How many records, and what is in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) records: u64,
    pub(super) items: Items,
    /// Of payload.
    pub(super) bytes: u64,
}

/// A position in the log, in a segment's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: u64,
    /// The segment's id; 0 before there is any.
    pub(super) segment: u64,
    pub(super) offset: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) id: ReaderId,
    pub(super) status: Arc<ExporterStatus>,
    pub(super) on_full: OnFull,
    /// When its exporter was found to be configured no more, Unix nanoseconds; `None` while it is.
    pub(super) left_unix_nano: Option<u64>,
    /// Looks ahead for another reader: it is not saved, and what it loses is nobody's loss.
    pub(super) scout: bool,
    /// The first record that it may want and that is neither acknowledged nor given up.
    pub(super) place: Place,
    /// The first record of each signal that is not acknowledged: one may be ahead of the others.
    acknowledged: BySignal<u64>,
    /// The signal of those that were handed out last.
    sending: Signal,
    /// Records from `place` on that were looked at last, in order: those of `sending` were handed out.
    handed: VecDeque<Handed>,
    /// Those behind `place` that are acknowledged already, by sequence; `unsent` and `here` still have them.
    ahead: BTreeMap<u64, Handed>,
    /// Pushed out while being sent: lost, unless an acknowledgement says otherwise.
    held: VecDeque<Handed>,
    /// What of the record that goes out in parts is counted already; nothing of one in `held`.
    told: Option<Told>,
    /// What it takes of all from `place` on.
    pub(super) unsent: Totals,
    /// The part of it that is in the segment of `place`.
    pub(super) here: Totals,
    /// Arrival of the oldest unsent record that was looked at, Unix nanoseconds.
    pub(super) oldest_unix_nano: u64,
    /// Items lost since dropping began, while it goes on.
    pub(super) episode: Option<Items>,
}

#[derive(Clone, Copy, Debug)]
struct Handed {
    signal: Signal,
    /// Nothing of a signal that is not taken.
    totals: Totals,
    /// Where the record ends; its own sequence.
    end: Place,
    arrived_unix_nano: u64,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    sequence: u64,
    segment: u64,
    items: Items,
}

impl Totals {
    /// Of one record.
    pub(super) fn of(items: Items, bytes: usize) -> Self {
        Self {
            records: 1,
            items,
            bytes: bytes as u64,
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.items += other.items;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Totals {
    fn sub_assign(&mut self, other: Self) {
        // What a damaged file says need not add up.
        self.records = self.records.saturating_sub(other.records);
        self.items -= other.items;
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

impl Place {
    /// The first byte of `segment`'s records, for a reader that has come as far as `sequence`.
    pub(super) fn beginning(segment: &Segment, sequence: u64) -> Self {
        Self {
            sequence: sequence.max(segment.first_sequence),
            segment: segment.id,
            offset: SEGMENT_HEADER as u64,
        }
    }
}

impl Reader {
    /// One that has nothing to read yet; `left_unix_nano` for one whose exporter is configured no more.
    pub(super) fn new(
        id: ReaderId,
        status: Arc<ExporterStatus>,
        on_full: OnFull,
        left_unix_nano: Option<u64>,
    ) -> Self {
        Self {
            id,
            status,
            on_full,
            left_unix_nano,
            scout: false,
            place: Place::default(),
            acknowledged: BySignal::default(),
            sending: Signal::default(),
            handed: VecDeque::new(),
            ahead: BTreeMap::new(),
            held: VecDeque::new(),
            told: None,
            unsent: Totals::default(),
            here: Totals::default(),
            oldest_unix_nano: 0,
            episode: None,
        }
    }

    /// One at the same place that looks ahead and counts in nobody's status.
    pub(super) fn scout(&self, id: ReaderId) -> Self {
        Self {
            id,
            status: Arc::new(ExporterStatus {
                signals: self.status.signals,
                ..ExporterStatus::default()
            }),
            on_full: OnFull::DropOldest,
            scout: true,
            handed: VecDeque::new(),
            held: VecDeque::new(),
            told: None,
            episode: None,
            ..self.clone()
        }
    }

    /// Whether it is an exporter's, and not merely a backlog that one left behind.
    pub(super) fn is_configured(&self) -> bool {
        self.left_unix_nano.is_none()
    }

    pub(super) fn takes(&self, signal: Signal) -> bool {
        self.status.signals.has(signal)
    }

    /// Whether record `sequence` is still to be sent, if it is not before `place`.
    fn wants(&self, signal: Signal, sequence: u64) -> bool {
        self.takes(signal) && sequence >= *self.acknowledged.of(signal)
    }

    /// Whether a record is of those that are handed out.
    pub(super) fn sends(&self, record: &Record) -> bool {
        let signal = record.signal;
        signal == self.sending
            && record.sequence >= self.place.sequence
            && self.wants(signal, record.sequence)
    }

    /// What it takes of a segment's records.
    fn taken_of(&self, totals: &BySignal<Totals>) -> Totals {
        let mut taken = Totals::default();
        for signal in self.status.signals.iter() {
            taken += *totals.of(signal);
        }
        taken
    }

    /// Whether there is a record that it wants.
    pub(super) fn has_more(&self) -> bool {
        // Not all of them are among what was looked at last.
        let ahead: u64 = self.ahead.values().map(|ahead| ahead.totals.records).sum();
        self.unsent.records > ahead
    }

    pub(super) fn unsent_items(&self) -> Items {
        let mut unsent = self.unsent.items;
        unsent -= self.ahead.values().map(|ahead| ahead.totals.items).sum();
        unsent -= self.told.map(|told| told.items).unwrap_or_default();
        unsent += self.held.iter().map(|held| held.totals.items).sum();
        unsent
    }

    /// There is more to read, up to `end`. Not for an exporter that has left: what comes now is not meant for it.
    pub(super) fn appended(&mut self, end: Place, totals: &BySignal<Totals>) {
        if !self.is_configured() {
            return;
        }
        let totals = self.taken_of(totals);
        self.unsent += totals;
        if self.place.segment == end.segment {
            self.here += totals;
        }
        // Nothing of it all is for this one.
        if self.unsent.records == 0 {
            self.place = end;
        }
    }

    /// Counts a record that the start found in `segment`.
    pub(super) fn met(&mut self, entry: &Entry, segment: u64, totals: Totals) {
        if self.place.segment == 0 {
            return;
        }
        if entry.header.sequence < self.place.sequence {
            self.place.offset = entry.end;
            return;
        }
        if !self.takes(entry.header.signal) {
            return;
        }
        if self.unsent.records == 0 {
            self.oldest_unix_nano = entry.header.arrived_unix_nano;
        }
        self.unsent += totals;
        if self.place.segment == segment {
            self.here += totals;
        }
    }

    /// Forgets what was handed out: it is asked for again. What was pushed out meanwhile cannot come again.
    pub(super) fn ask_again(&mut self) {
        self.handed.clear();
        let lost = self.held.drain(..).map(|held| held.totals.items).sum();
        self.lose(lost);
    }

    /// Forgets what was looked at behind record `after`, which is not being sent: what of it was pushed out meanwhile is lost.
    /// Where the record behind that one is; `None` when it was pushed out itself.
    pub(super) fn take_back(&mut self, after: u64) -> Option<Place> {
        let kept = |of: &VecDeque<Handed>| of.partition_point(|one| one.end.sequence <= after);
        self.handed.truncate(kept(&self.handed));
        let held = kept(&self.held);
        let lost = self.held.drain(held..).map(|held| held.totals.items).sum();
        self.lose(lost);
        let last = self
            .handed
            .back()
            .filter(|last| last.end.sequence == after)?;
        Some(Place {
            sequence: after + 1,
            ..last.end
        })
    }

    /// Notes a record that is looked at, which ends at byte `end` of `segment`.
    pub(super) fn hand(&mut self, record: &Record, segment: u64, end: u64) {
        let totals = match self.takes(record.signal) {
            true => Totals::of(record.counted(), record.bytes.len()),
            false => Totals::default(),
        };
        self.handed.push_back(Handed {
            signal: record.signal,
            totals,
            end: Place {
                sequence: record.sequence,
                segment,
                offset: end,
            },
            arrived_unix_nano: record.arrived_unix_nano,
        });
    }

    /// Hands out what was looked at: moves past what it does not want, and takes the signal of the first record that it
    /// wants.
    pub(super) fn begin(&mut self, segments: &Segments) {
        self.pass(segments);
        if let Some(first) = self.handed.front() {
            self.sending = first.signal;
            self.oldest_unix_nano = first.arrived_unix_nano;
        }
    }

    fn is_wanted(&self, handed: &Handed) -> bool {
        self.wants(handed.signal, handed.end.sequence)
    }

    /// Settles what was handed out up to `sequence`; the bytes that it moves past.
    pub(super) fn settle(&mut self, sequence: u64, segments: &Segments) -> u64 {
        while (self.held.front()).is_some_and(|held| held.end.sequence <= sequence) {
            self.held.pop_front();
        }
        self.told.take_if(|told| told.sequence <= sequence);
        let past = sequence.saturating_add(1);
        let acknowledged = self.acknowledged.of_mut(self.sending);
        *acknowledged = past.max(*acknowledged);
        let bytes = self.pass(segments);
        let ahead = self.handed.iter().copied();
        let ahead: Vec<_> = ahead
            .filter(|handed| self.takes(handed.signal) && !self.is_wanted(handed))
            .map(|handed| (handed.end.sequence, handed))
            .collect();
        self.ahead.extend(ahead);
        bytes
    }

    /// Moves past what it does not want of the records that it looked at, up to the first one that it wants; the bytes
    /// of those that it takes.
    fn pass(&mut self, segments: &Segments) -> u64 {
        let mut bytes = 0;
        while let Some(handed) = self.handed.front().copied()
            && !self.is_wanted(&handed)
        {
            self.handed.pop_front();
            self.ahead.remove(&handed.end.sequence);
            while self.place.segment != handed.end.segment {
                let lost = self.give_up_here();
                self.lose(lost.items);
                if !self.enter_next(segments) {
                    break;
                }
            }
            // Behind damage there may be more than the start counted: no other segment's records are taken off for them.
            let mut counted = self.here;
            self.here -= handed.totals;
            counted -= self.here;
            self.unsent -= counted;
            self.place = Place {
                sequence: handed.end.sequence + 1,
                ..handed.end
            };
            bytes += handed.totals.bytes;
        }
        bytes
    }

    /// Goes to the start of the next segment; false when there is none.
    pub(super) fn enter_next(&mut self, segments: &Segments) -> bool {
        let Some(next) = segments.after(self.place.segment) else {
            return false;
        };
        self.place = Place::beginning(next, self.place.sequence);
        self.here = self.taken_of(&next.totals);
        true
    }

    /// Gives up the rest of its segment, which cannot be read; what that loses.
    pub(super) fn leave(&mut self, segments: &Segments) -> Totals {
        let lost = self.give_up_here();
        self.lose(lost.items);
        self.enter_next(segments);
        lost
    }

    /// Forgets the rest of its segment; what of it was not acknowledged.
    fn give_up_here(&mut self) -> Totals {
        let mut lost = std::mem::take(&mut self.here);
        self.unsent -= lost;
        let segment = self.place.segment;
        if let Some(told) = self.told.take_if(|told| told.segment == segment) {
            lost.items -= told.items;
        }
        self.ahead.retain(|_, ahead| {
            let is_here = ahead.end.segment == segment;
            if is_here {
                lost -= ahead.totals;
            }
            !is_here
        });
        lost
    }

    /// Moves past the oldest segment, which the cap pushes out; a line when that begins to lose items.
    pub(super) fn push_out(&mut self, segments: &Segments) -> Option<Notice> {
        let segment = self.place.segment;
        let told = self.told;
        let mut lost = self.give_up_here();
        while let Some(mut handed) = self.handed.front().copied()
            && handed.end.segment == segment
        {
            self.handed.pop_front();
            if handed.signal == self.sending && self.is_wanted(&handed) {
                let told = told.filter(|told| told.sequence == handed.end.sequence);
                handed.totals.items -= told.map(|told| told.items).unwrap_or_default();
                lost -= handed.totals;
                self.held.push_back(handed);
            }
        }
        self.enter_next(segments);
        if lost.records == 0 || self.scout {
            return None;
        }
        let starts = self.episode.is_none();
        self.episode.get_or_insert_default();
        self.lose(lost.items);
        // A backlog without an exporter is told of when the last of it goes.
        (starts && self.is_configured()).then(|| Notice::Dropping {
            exporter: self.status.name.clone(),
            items: lost.items,
        })
    }

    /// `items` more of record `sequence`, which is being sent, are counted already.
    pub(super) fn tell(&mut self, sequence: u64, items: Items) {
        let is_it = |handed: &Handed| handed.end.sequence == sequence;
        if let Some(held) = self.held.iter_mut().find(|held| is_it(held)) {
            held.totals.items -= items;
        } else if let Some(handed) = self.handed.iter().find(|handed| is_it(handed)) {
            let nothing = Told {
                sequence,
                segment: handed.end.segment,
                items: Items::default(),
            };
            self.told.take_if(|told| told.sequence != sequence);
            self.told.get_or_insert(nothing).items += items;
        }
    }

    fn lose(&mut self, items: Items) {
        self.status.dropped().add(items);
        if let Some(so_far) = &mut self.episode {
            *so_far += items;
        }
    }

    /// The line about a backlog that nobody can send any more.
    pub(super) fn given_up(&self) -> Notice {
        let mut items = self.status.dropped().load();
        items += self.unsent.items;
        Notice::GivenUp {
            exporter: self.status.name.clone(),
            items,
        }
    }

    /// Shows how much waits, and since when, given the arrival of its next record if that is in memory.
    pub(super) fn publish(&self, next_unix_nano: Option<u64>) {
        let oldest = match self.unsent.records {
            0 => 0,
            _ => next_unix_nano.unwrap_or(self.oldest_unix_nano),
        };
        let store = |counter: &std::sync::atomic::AtomicU64, value| {
            counter.store(value, Ordering::Relaxed);
        };
        store(&self.status.queue_bytes, self.unsent.bytes);
        store(&self.status.oldest_unix_nano, oldest);
    }
}
