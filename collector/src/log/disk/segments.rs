//! Which segments there are, from the oldest that a reader needs to the one being written. Kept by `state`.

use std::collections::VecDeque;

use super::format::SEGMENT_HEADER;
use super::readers::{Place, Totals};
use super::scan::Span;
use crate::signal::{BySignal, Signal};

/// A segment that holds records.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) id: u64,
    pub(super) first_sequence: u64,
    /// Where its last record ends.
    pub(super) end: u64,
    pub(super) totals: BySignal<Totals>,
    /// Whether some of it could not be read: it is kept for a look.
    pub(super) damaged: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Segments {
    /// Oldest first; ids and sequences grow.
    kept: VecDeque<Segment>,
    /// No reader needs them any more; for the writer to do away with.
    retired: Vec<Segment>,
}

impl Segment {
    /// One without records yet.
    pub(super) fn new(id: u64, first_sequence: u64) -> Self {
        Self {
            id,
            first_sequence,
            end: SEGMENT_HEADER as u64,
            totals: BySignal::default(),
            damaged: false,
        }
    }
}

impl Segments {
    /// Those that a start has found, oldest first.
    pub(super) fn new(kept: VecDeque<Segment>) -> Self {
        Self {
            kept,
            retired: Vec::new(),
        }
    }

    /// Makes `id` the one being written, unless it is.
    pub(super) fn begin(&mut self, id: u64, first_sequence: u64) {
        if self.kept.back().is_none_or(|last| last.id != id) {
            self.kept.push_back(Segment::new(id, first_sequence));
        }
    }

    /// Notes records in the one being written, the last of which ends at `end`.
    pub(super) fn extend(&mut self, end: u64, totals: BySignal<Totals>) {
        if let Some(segment) = self.kept.back_mut() {
            segment.end = end;
            for signal in Signal::ALL {
                *segment.totals.of_mut(signal) += *totals.of(signal);
            }
        }
    }

    /// The oldest, unless it is the one being written.
    pub(super) fn oldest(&self) -> Option<&Segment> {
        self.kept.front().filter(|_| self.kept.len() > 1)
    }

    /// The one after `id`, whether that is still there or not.
    pub(super) fn after(&self, id: u64) -> Option<&Segment> {
        let index = self.kept.partition_point(|segment| segment.id <= id);
        self.kept.get(index)
    }

    /// What there is to read from `place` on in its segment; the log ends before `next_sequence`.
    pub(super) fn span(&self, place: Place, next_sequence: u64) -> Span {
        let index = self
            .kept
            .partition_point(|segment| segment.id < place.segment);
        let after = self.after(place.segment);
        Span {
            at: place.offset,
            end: self.kept.get(index).map_or(0, |segment| segment.end),
            expected: place.sequence,
            until: after.map_or(next_sequence, |segment| segment.first_sequence),
        }
    }

    /// Notes that a part of `id` cannot be read; whether that is news.
    pub(super) fn mark_damaged(&mut self, id: u64) -> bool {
        let segment = self.kept.iter_mut().find(|segment| segment.id == id);
        segment.is_some_and(|segment| !std::mem::replace(&mut segment.damaged, true))
    }

    /// Retires those before `needed`, except the one being written.
    pub(super) fn retire_before(&mut self, needed: u64) {
        while self.oldest().is_some_and(|oldest| oldest.id < needed) {
            self.retired.extend(self.kept.pop_front());
        }
    }

    /// Those that have been retired since this was asked last.
    pub(super) fn take_retired(&mut self) -> Vec<Segment> {
        std::mem::take(&mut self.retired)
    }

    pub(super) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.kept.len()
    }

    /// Bytes of records and headers, each segment counting at least as `least`.
    pub(super) fn bytes(&self, least: u64) -> u64 {
        self.kept.iter().map(|segment| segment.end.max(least)).sum()
    }
}
