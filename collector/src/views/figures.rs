//! Rows of spans: how one is counted into a row, and the figures made of what a row holds. `services` has a row for each
//! service and operation, `parts` for each version and instance.

use super::clock::{Compared, Slots};
use super::histogram::Histogram;
use super::report::{Figures, Latency};
use super::services::is_entry;
use super::window::{Series, Slot, Snapshot, seconds};
use crate::wire::{SpanRef, StatusCode};

/// Nanoseconds of the row's entry spans.
const ENTRY_NANOS: usize = 0;
/// How many more the row counts than spans came, by their weights; none unless a sender samples.
const ESTIMATED: usize = 1;
const COUNTERS: usize = 2;
/// Durations by span status: its number is the histogram's.
const STATUSES: usize = 3;
const FAILED: usize = StatusCode::Error as usize;

/// The slots of one row.
pub(crate) type Row = Series<COUNTERS, STATUSES>;
/// What a row holds in a range.
pub(crate) type RowSnapshot = Snapshot<COUNTERS, STATUSES>;
pub(crate) type RowSlot = Slot<COUNTERS, STATUSES>;

/// A span as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    nanos: u64,
    status: StatusCode,
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
            status: span.status,
            entry: is_entry(span),
            weight: span.weight(),
        }
    }

    /// Counts the span into a row; whether it is the first there in that slot.
    #[inline]
    pub(crate) fn into(self, row: &mut Row, slot: u32) -> bool {
        let Slot {
            counters,
            histograms,
        } = row.at(slot);
        let is_first = histograms.iter().all(|status| status.count() == 0);
        histograms[self.status as usize].record_times(self.nanos, self.weight);
        let weight = u64::from(self.weight);
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
            before: windows.before.map(|before| row.sum(before)),
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
    pub(crate) fn of(total: &RowSlot, slots: Slots) -> Self {
        let whole = total.whole();
        let count = whole.count();
        Self {
            count,
            samples: samples(total),
            rate: count as f64 / slots.seconds(),
            error_ratio: ratio(total.histograms[FAILED].count(), count),
            latency: Latency::of(&whole),
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
    let counted: u64 = total.histograms.iter().map(Histogram::count).sum();
    counted.saturating_sub(total.counters[ESTIMATED])
}

/// The durations of a slot's spans by their status, where there are any.
pub(crate) fn by_status(slot: &RowSlot) -> impl Iterator<Item = (StatusCode, &Histogram)> {
    let statuses = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error];
    let all = statuses.into_iter().zip(&slot.histograms);
    all.filter(|(_, histogram)| histogram.count() > 0)
}

/// A share; 0 of nothing.
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
