//! One reader of the log on disk: how far it has come, what it still has to send, and what it lost. Moved by `state`.

use std::collections::VecDeque;
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::format::SEGMENT_HEADER;
use super::scan::Entry;
use super::segments::Segments;
use crate::log::{Notice, OnFull, ReaderId, Record};
use crate::status::{ExporterStatus, add};

/// How many records, and what is in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) records: u64,
    pub(super) spans: u64,
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

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) id: ReaderId,
    pub(super) status: Arc<ExporterStatus>,
    pub(super) on_full: OnFull,
    /// When its exporter was found to be configured no more, Unix nanoseconds; `None` while it is.
    pub(super) left_unix_nano: Option<u64>,
    /// The first record neither acknowledged nor given up.
    pub(super) place: Place,
    /// Records handed out and not acknowledged, in order.
    handed: VecDeque<Handed>,
    /// Pushed out while being sent: lost, unless an acknowledgement says otherwise.
    held: VecDeque<Handed>,
    /// From `place` on.
    pub(super) unsent: Totals,
    /// The part of it that is in the segment of `place`.
    pub(super) here: Totals,
    /// Arrival of the oldest unsent record that was looked at, Unix nanoseconds.
    pub(super) oldest_unix_nano: u64,
    /// Spans lost since dropping began, while it goes on.
    pub(super) episode: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Handed {
    totals: Totals,
    /// Where the record ends; its own sequence.
    end: Place,
}

impl Totals {
    /// Of one record.
    pub(super) fn of(spans: u64, bytes: usize) -> Self {
        Self {
            records: 1,
            spans,
            bytes: bytes as u64,
        }
    }

    fn at_most(self, other: Self) -> Self {
        Self {
            records: self.records.min(other.records),
            spans: self.spans.min(other.spans),
            bytes: self.bytes.min(other.bytes),
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.spans = self.spans.saturating_add(other.spans);
        self.bytes += other.bytes;
    }
}

impl SubAssign for Totals {
    fn sub_assign(&mut self, other: Self) {
        // What a damaged file says need not add up.
        self.records = self.records.saturating_sub(other.records);
        self.spans = self.spans.saturating_sub(other.spans);
        self.bytes = self.bytes.saturating_sub(other.bytes);
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
            place: Place::default(),
            handed: VecDeque::new(),
            held: VecDeque::new(),
            unsent: Totals::default(),
            here: Totals::default(),
            oldest_unix_nano: 0,
            episode: None,
        }
    }

    /// Whether it is an exporter's, and not merely a backlog that one left behind.
    pub(super) fn is_configured(&self) -> bool {
        self.left_unix_nano.is_none()
    }

    pub(super) fn unsent_spans(&self) -> u64 {
        let held: u64 = self.held.iter().map(|held| held.totals.spans).sum();
        self.unsent.spans + held
    }

    /// There is more to read, in `segment`. Not for an exporter that has left: what comes now is not meant for it.
    pub(super) fn appended(&mut self, segment: u64, totals: Totals) {
        if self.is_configured() {
            self.unsent += totals;
            if self.place.segment == segment {
                self.here += totals;
            }
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
        let lost = self.held.drain(..).map(|held| held.totals.spans).sum();
        self.lose(lost);
    }

    /// Notes a record that is handed out, which ends at byte `end` of `segment`.
    pub(super) fn hand(&mut self, record: &Record, segment: u64, end: u64) {
        if self.handed.is_empty() {
            self.oldest_unix_nano = record.arrived_unix_nano;
        }
        self.handed.push_back(Handed {
            totals: Totals::of(record.spans, record.bytes.len()),
            end: Place {
                sequence: record.sequence,
                segment,
                offset: end,
            },
        });
    }

    /// Moves past what was handed out up to `sequence`; the bytes of it.
    pub(super) fn settle(&mut self, sequence: u64, segments: &Segments) -> u64 {
        while (self.held.front()).is_some_and(|held| held.end.sequence <= sequence) {
            self.held.pop_front();
        }
        let mut bytes = 0;
        while let Some(handed) = self.handed.front().copied()
            && handed.end.sequence <= sequence
        {
            self.handed.pop_front();
            while self.place.segment != handed.end.segment {
                self.lose(self.here.spans);
                self.unsent -= self.here;
                if !self.enter_next(segments) {
                    break;
                }
            }
            // Behind damage there may be more than the start counted: no other segment's records are taken off for them.
            let counted = handed.totals.at_most(self.here);
            self.unsent -= counted;
            self.here -= counted;
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
        self.place = Place {
            sequence: self.place.sequence.max(next.first_sequence),
            segment: next.id,
            offset: SEGMENT_HEADER as u64,
        };
        self.here = next.totals;
        true
    }

    /// Gives up the rest of its segment, which cannot be read; what that loses.
    pub(super) fn leave(&mut self, segments: &Segments) -> Totals {
        let lost = std::mem::take(&mut self.here);
        self.unsent -= lost;
        self.lose(lost.spans);
        self.enter_next(segments);
        lost
    }

    /// Moves past the oldest segment, which the cap pushes out; a line when that begins to lose spans.
    pub(super) fn push_out(&mut self, segments: &Segments) -> Option<Notice> {
        let mut lost = std::mem::take(&mut self.here);
        self.unsent -= lost;
        let segment = self.place.segment;
        while let Some(handed) = self.handed.front().copied()
            && handed.end.segment == segment
        {
            self.handed.pop_front();
            lost -= handed.totals;
            self.held.push_back(handed);
        }
        self.enter_next(segments);
        if lost.records == 0 {
            return None;
        }
        let starts = self.episode.is_none();
        self.episode.get_or_insert(0);
        self.lose(lost.spans);
        // A backlog without an exporter is told of when the last of it goes.
        (starts && self.is_configured()).then(|| Notice::Dropping {
            exporter: self.status.name.clone(),
            spans: lost.spans,
        })
    }

    fn lose(&mut self, spans: u64) {
        add(&self.status.dropped_spans, spans);
        self.episode = self.episode.map(|so_far| so_far + spans);
    }

    /// The line about a backlog that nobody can send any more.
    pub(super) fn given_up(&self) -> Notice {
        Notice::GivenUp {
            exporter: self.status.name.clone(),
            spans: self.unsent.spans + self.status.dropped_spans.load(Ordering::Relaxed),
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
