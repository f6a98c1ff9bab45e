//! Rows of spans: how one is counted into a row, and the figures made of what a row holds. `services` has a row for each
//! service and operation, `parts` for each version and instance.

use super::histogram::Histogram;
use super::report::{Figures, Latency};
use super::services::is_entry;
use super::window::{Compared, Series, Slot, Slots, Snapshot, seconds};
use crate::wire::{SpanRef, StatusCode};

const FAILED: usize = 0;
/// Nanoseconds of the row's entry spans.
const ENTRY_NANOS: usize = 1;
/// How many more the row counts than spans came, by their weights; none unless a sender samples.
const ESTIMATED: usize = 2;
const COUNTERS: usize = 3;

/// The slots of one row.
pub(crate) type Row = Series<COUNTERS, 1>;
/// What a row holds in a range.
pub(crate) type RowSnapshot = Snapshot<COUNTERS, 1>;
pub(crate) type RowSlot = Slot<COUNTERS, 1>;

/// A span as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    nanos: u64,
    failed: bool,
    pub(crate) entry: bool,
    weight: u32,
}

/// What a row holds in a range, and in the one before where there is one.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) now: RowSnapshot,
    before: Option<RowSnapshot>,
}

/// A pair, merged.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) now: Figures,
    pub(crate) before: Option<Figures>,
    pub(crate) entry_nanos: u64,
}

impl Counted {
    pub(crate) fn new(span: &SpanRef<'_>) -> Self {
        Self {
            nanos: span.duration_nanos(),
            failed: span.status == StatusCode::Error,
            entry: is_entry(span),
            weight: span.weight(),
        }
    }

    /// Counts the span into a row; whether it is the first there in that slot.
    #[inline]
    pub(crate) fn into(self, row: &mut Row, slot: u32) -> bool {
        let Slot {
            counters,
            histograms: [histogram],
        } = row.at(slot);
        let is_first = histogram.count() == 0;
        histogram.record_times(self.nanos, self.weight);
        let weight = u64::from(self.weight);
        counters[FAILED] += if self.failed { weight } else { 0 };
        if self.entry {
            let nanos = self.nanos.saturating_mul(weight);
            counters[ENTRY_NANOS] = counters[ENTRY_NANOS].saturating_add(nanos);
        }
        counters[ESTIMATED] += weight - 1;
        is_first
    }
}

impl Pair {
    pub(crate) fn of(row: &Row, windows: Compared) -> Self {
        Self {
            now: row.snapshot(windows.now),
            before: windows.before.map(|before| row.snapshot(before)),
        }
    }

    pub(crate) fn totals(&self, windows: Compared) -> Totals {
        let now = self.now.total();
        let before = self.before.as_ref().zip(windows.before);
        Totals {
            now: Figures::of(&now, windows.now),
            before: before.map(|(before, slots)| Figures::of(&before.total(), slots)),
            entry_nanos: now.counters[ENTRY_NANOS],
        }
    }
}

impl Figures {
    fn of(total: &RowSlot, slots: Slots) -> Self {
        let [histogram] = &total.histograms;
        let count = histogram.count();
        Self {
            count,
            samples: samples(total),
            rate: count as f64 / slots.seconds(),
            error_ratio: ratio(total.counters[FAILED], count),
            latency: Latency::of(histogram),
        }
    }
}

impl Latency {
    fn of(histogram: &Histogram) -> Self {
        let at = |permille| histogram.percentile(permille).map(seconds);
        Self {
            p50: at(500),
            p90: at(900),
            p95: at(950),
            p99: at(990),
            p999: at(999),
            max: histogram.max().map(|nanos| seconds(nanos as f64)),
        }
    }
}

/// How many spans of a row came.
pub(crate) fn samples(total: &RowSlot) -> u64 {
    let [histogram] = &total.histograms;
    histogram.count().saturating_sub(total.counters[ESTIMATED])
}

/// A share; 0 of nothing.
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
