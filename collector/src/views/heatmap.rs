//! Latency over time as a grid: columns of time, rows of latency, a trace to look at in each cell. Made by `mod` from
//! the course of a row and the kept traces.

use super::clock::{SLOT_NANOS, Slots};
use super::figures::RowSnapshot;
use super::histogram::{Histogram, index, lower_bound};
use super::kept::KeptTrace;
use super::report::Heatmap;
use super::rfc3339;
use super::services::is_entry;
use super::traces::hex;
use super::window::seconds;
use crate::wire::SpanRef;

/// At most so many rows; a row is 1, 2, 4 … buckets of the histogram.
const MAX_ROWS: i32 = 30;
/// Rows are at least so many buckets: a quarter of a doubling.
const FINEST: i32 = 8;

/// A grid that is being made.
#[derive(Debug)]
pub(crate) struct Grid {
    slots: Slots,
    columns: Vec<Histogram>,
    /// Buckets to a row.
    width: i32,
    /// The first row, in rows from a nanosecond.
    first: i32,
    rows: usize,
    exemplars: Vec<Vec<Option<[u8; 16]>>>,
}

/// Which spans a grid or a search is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) service: &'a str,
    /// Without one, the service's entry spans.
    pub(crate) operation: Option<&'a str>,
}

impl Asked<'_> {
    pub(crate) fn is(&self, span: &SpanRef<'_>) -> bool {
        span.resource.service_name == self.service
            && self
                .operation
                .map_or_else(|| is_entry(span), |operation| operation == span.name)
    }
}

impl Grid {
    pub(crate) fn new(rows: &[RowSnapshot], slots: Slots) -> Self {
        let mut columns = vec![Histogram::default(); slots.steps()];
        for row in rows {
            for (column, more) in columns.iter_mut().zip(row.steps(slots)) {
                column.merge(&more);
            }
        }
        let buckets = columns.iter().flat_map(Histogram::buckets);
        let ends = buckets.fold(None, |ends: Option<(i32, i32)>, (index, _)| {
            let (low, high) = ends.unwrap_or((index, index));
            Some((low.min(index), high.max(index)))
        });
        let (low, high) = ends.unwrap_or_default();
        let mut width = FINEST;
        while high.div_euclid(width) - low.div_euclid(width) >= MAX_ROWS {
            width *= 2;
        }
        let first = low.div_euclid(width);
        let rows = ends.map_or(0, |_| (high.div_euclid(width) - first + 1) as usize);
        Self {
            slots,
            width,
            first,
            rows,
            exemplars: vec![vec![None; rows]; columns.len()],
            columns,
        }
    }

    /// Takes the trace as what to look at in the cells of its spans, unless they have one.
    pub(crate) fn look_at(&mut self, trace: &KeptTrace, asked: Asked<'_>) {
        if !trace.may_have(asked.service) {
            return;
        }
        let of_service = trace.arrivals_of(|service| service == asked.service);
        for (span, arrived) in of_service.filter(|(span, _)| asked.is(span)) {
            let slot = u32::try_from(arrived / SLOT_NANOS).unwrap_or(u32::MAX);
            let row = self.row(index(span.duration_nanos()));
            let column = self.exemplars.get_mut(self.slots.step_of(slot));
            if let Some(cell) = column.and_then(|column| column.get_mut(row)) {
                cell.get_or_insert(trace.trace_id);
            }
        }
    }

    pub(crate) fn report(self) -> Heatmap {
        let counts = self.columns.iter().map(|column| {
            let mut cells = vec![0; self.rows];
            for (index, count) in column.buckets() {
                if let Some(cell) = cells.get_mut(self.row(index)) {
                    *cell += count;
                }
            }
            cells
        });
        let counts: Vec<Vec<u64>> = counts.collect();
        let bound = |row: usize| lower_bound((self.first + row as i32) * self.width);
        let bounds = (0..=self.rows).filter(|_| self.rows > 0).map(bound);
        let whole = |row| (bound(row).floor() as u64 + 1, bound(row + 1).floor() as u64);
        let mut nanos: Vec<_> = (0..self.rows).map(whole).collect();
        // Zeros are in the row of a nanosecond.
        if let Some((first, _)) = nanos.first_mut().filter(|(first, _)| *first <= 2) {
            *first = 0;
        }
        let exemplars = self.exemplars.iter().zip(&counts).map(|(column, counts)| {
            let cells = column.iter().zip(counts);
            // One whose span was counted before the range's first slot was closed has nothing to stand for.
            cells
                .map(|(trace_id, &count)| trace_id.filter(|_| count > 0).map(|id| hex(&id)))
                .collect()
        });
        Heatmap {
            window: self.slots.window(),
            step_seconds: self.slots.step_seconds(),
            times: self.slots.step_starts().map(rfc3339::format).collect(),
            bounds: bounds.map(seconds).collect(),
            exemplars: exemplars.collect(),
            counts,
            nanos,
        }
    }

    fn row(&self, index: i32) -> usize {
        usize::try_from(index.div_euclid(self.width) - self.first).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use crate::views::rfc3339;
    use crate::views::{Config, Order, Range, TraceQuery, Views};
    use crate::wire::{test_support, walk};

    const SECOND: u64 = 1_000_000_000;
    const NOW: u64 = 1_800_000_000 * SECOND;

    /// Views with a trace of one SERVER span for each (seconds before now, nanoseconds).
    fn views(spans: &[(u64, u64)]) -> Views {
        let views = Views::new(Config {
            retention: Duration::from_secs(3600),
            trace_bytes: 16 << 20,
            view_bytes: 8 << 20,
        });
        views.tick(NOW - 3_600 * SECOND);
        let mut sorted: Vec<_> = (1..).zip(spans).collect();
        sorted.sort_by_key(|(_, (ago, _))| std::cmp::Reverse(*ago));
        for (id, &(ago, nanos)) in sorted {
            let mut span = test_support::span(id, 1, 0);
            span.end_time_unix_nano = span.start_time_unix_nano + nanos;
            let bytes =
                test_support::encode(vec![test_support::resource_spans("shop", vec![span])]);
            walk(&bytes, |span| views.count(&[span], NOW - ago * SECOND)).unwrap();
        }
        views
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// Every span is in one cell, and the search that a cell makes finds the traces of its spans and no others.
        #[test]
        fn a_cell_counts_what_its_search_finds(
            spans in vec((0..1_800_u64, prop_oneof![0..50_u64, 0..40 * SECOND]), 1..60),
            minutes in prop_oneof![Just(5_u64), Just(60)],
        ) {
            let views = views(&spans);
            let range = Range::Last(Duration::from_secs(minutes * 60));
            let map = views.heatmap_at("shop", None, range, NOW).unwrap();
            let ends = (rfc3339::parse(&map.window.from).unwrap(), rfc3339::parse(&map.window.to).unwrap());
            let inside = spans.iter().filter(|(ago, _)| (ends.0..ends.1).contains(&(NOW - ago * SECOND)));
            prop_assert_eq!(map.counts.iter().flatten().sum::<u64>(), inside.count() as u64);
            prop_assert!(map.nanos.len() <= super::MAX_ROWS as usize);
            prop_assert_eq!(map.bounds.len(), if map.nanos.is_empty() { 0 } else { map.nanos.len() + 1 });
            prop_assert_eq!(map.times.len(), map.counts.len());
            for (at, cells) in map.counts.iter().enumerate() {
                let from = rfc3339::parse(&map.times[at]).unwrap();
                let to = map.times.get(at + 1).map_or(ends.1, |time| rfc3339::parse(time).unwrap());
                for (row, &cell) in cells.iter().enumerate() {
                    let (min, max) = map.nanos[row];
                    let query = TraceQuery {
                        service: Some("shop".into()),
                        span_min: Some(Duration::from_nanos(min)),
                        span_max: Some(Duration::from_nanos(max)),
                        order: Order::Newest,
                        limit: 1_000,
                        ..TraceQuery::default()
                    };
                    let (_, found) = views.traces_at(&query, Range::Between(from, to), NOW);
                    prop_assert_eq!(found.len() as u64, cell, "column {} row {}", at, row);
                    let exemplar = &map.exemplars[at][row];
                    prop_assert_eq!(exemplar.is_some(), cell > 0);
                    if let Some(exemplar) = exemplar {
                        prop_assert!(found.iter().any(|trace| trace.trace_id == *exemplar));
                    }
                }
            }
        }
    }

    #[test]
    fn an_operation_has_its_own_and_an_unknown_one_none() {
        let views = views(&[(0, 5_000_000), (1, 7_000_000)]);
        let range = Range::Last(Duration::from_secs(300));
        let all = |operation| views.heatmap_at("shop", operation, range, NOW);
        assert_eq!(all(Some("GET /")), all(None));
        assert_eq!(all(Some("PUT /")), None);
        assert_eq!(views.heatmap_at("nobody", None, range, NOW), None);
    }
}
