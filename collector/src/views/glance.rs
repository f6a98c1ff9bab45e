//! Parts of reports, for pages that show no more of them: a report is worked out for what is read of it alone. Asked by
//! `web`.

use std::collections::BTreeMap;

use super::report::{Figures, ServiceReport};
use super::{Range, Views, lock};
use crate::status::now_unix_nano;

/// The edge whose calls spend most time on the network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WidestGap {
    pub(crate) client: String,
    pub(crate) server: String,
    /// 99th percentile, seconds.
    pub(crate) p99: f64,
}

impl Views {
    /// The names of all services seen in the range, in their order.
    pub(crate) fn service_names(&self, range: Range) -> Vec<String> {
        let mut stats = lock(&self.stats);
        let slots = stats.round(range, now_unix_nano());
        let seen = stats.services.seen_in(slots).into_iter();
        let names = seen.filter_map(|id| Some(stats.names.get(id)?.text.to_string()));
        let mut names: Vec<_> = names.collect();
        drop(stats);
        names.sort_unstable();
        names
    }

    /// One row of [`services`](Self::services); `None` when no span of it came in the range.
    pub(crate) fn service(&self, name: &str, range: Range) -> Option<ServiceReport> {
        let now = now_unix_nano();
        let mut stats = lock(&self.stats);
        let windows = stats.compare(range, now);
        let id = stats.names.find(name)?;
        let snapshot = stats.services.services(windows, Some(id)).pop()?;
        drop(stats);
        Some(snapshot.report(name, windows, now))
    }

    /// The figures of all services seen in the range by name: [`services`](Self::services) without what they are compared
    /// with, and without their course.
    pub(crate) fn service_figures(&self, range: Range) -> BTreeMap<String, Figures> {
        let mut stats = lock(&self.stats);
        let slots = stats.round(range, now_unix_nano());
        let entries = stats.services.entries(slots).into_iter();
        let named = entries.filter_map(|(id, entry)| {
            let name = stats.names.get(id)?.text.to_string();
            Some((name, entry))
        });
        let named: Vec<_> = named.collect();
        drop(stats);
        let figures = named
            .into_iter()
            .map(|(name, entry)| (name, Figures::of(&entry.total(), slots)));
        figures.collect()
    }

    /// The edge of the [`map`](Self::map) with the largest 99th percentile of its gap; `None` where none was measured.
    pub(crate) fn widest_gap(&self, range: Range) -> Option<WidestGap> {
        let snapshot = self.map_snapshot(range, now_unix_nano());
        let edges = snapshot.edges.iter();
        let gaps = edges.filter_map(|(names, edge)| Some((edge.gap_p99()?, names)));
        let widest = gaps.max_by(|(a, at_a), (b, at_b)| {
            // Of equal ones the same each time.
            let by_name = || {
                let (a, b) = (&at_a.client.text, &at_b.client.text);
                a.cmp(b).then(at_a.server.text.cmp(&at_b.server.text))
            };
            a.total_cmp(b).then_with(by_name)
        });
        let (p99, names) = widest?;
        Some(WidestGap {
            client: names.client.text.to_string(),
            server: names.server.text.to_string(),
            p99,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;

    use super::*;
    use crate::views::Config;
    use crate::wire::{test_support, walk};

    const SECOND: u64 = 1_000_000_000;
    const MILLISECOND: u64 = 1_000_000;
    /// In the future: so the clock that answers does not settle calls by itself.
    const T0: u64 = 2_500_000_000 * SECOND;

    /// Five minutes of calls between four services, a call a second: so some are settled and some are not.
    fn views() -> Views {
        let views = Views::new(Config {
            retention: Duration::from_secs(3_600),
            trace_bytes: 1 << 20,
            view_bytes: 8 << 20,
        });
        for call in 1..=300_u64 {
            let server = ["b", "c", "d"][(call % 3) as usize];
            let took = (10 + call % 20) * MILLISECOND;
            // The widest gap is that of a → c.
            let gap = [1, 7, 2][(call % 3) as usize] * MILLISECOND;
            let spans = [
                ("a", 1, 0, Kind::Server, took + 30 * MILLISECOND),
                ("a", 2, 1, Kind::Client, took + gap),
                (server, 3, 2, Kind::Server, took),
            ];
            for (service, id, parent, kind, nanos) in spans {
                let mut span = test_support::span(u128::from(call), id, parent);
                span.kind = kind.into();
                span.end_time_unix_nano = span.start_time_unix_nano + nanos;
                let group = test_support::resource_spans(service, vec![span]);
                let bytes = test_support::encode(vec![group]);
                walk(&bytes, |span| views.count(&[span], T0 + call * SECOND)).unwrap();
            }
        }
        views
    }

    fn ranges() -> [Range; 3] {
        [(0, 301), (0, 100), (250, 301)]
            .map(|(from, to)| Range::Between(T0 + from * SECOND, T0 + to * SECOND))
    }

    #[test]
    fn parts_of_a_report_are_those_of_the_whole() {
        let views = views();
        for range in ranges() {
            let (_, services) = views.services(range);
            let names: Vec<_> = services
                .iter()
                .map(|report| report.service.clone())
                .collect();
            assert_eq!(names, ["a", "b", "c", "d"]);
            assert_eq!(views.service_names(range), names);
            let figures = views.service_figures(range);
            assert_eq!(figures.len(), services.len());
            for whole in services {
                assert_eq!(figures[&whole.service], whole.now);
                let one = views.service(&whole.service, range).unwrap();
                assert_eq!((one.service, one.now), (whole.service, whole.now));
                assert_eq!((one.previous, one.spark), (whole.previous, whole.spark));
            }
            assert!(views.service("nobody", range).is_none());
        }
        let before = Range::Between(T0 - 600 * SECOND, T0 - 300 * SECOND);
        assert!(views.service("a", before).is_none(), "seen, but not then");
        assert!(views.service_names(before).is_empty());
    }

    #[test]
    fn the_widest_gap_is_that_of_the_map() {
        let views = views();
        for range in ranges() {
            let edges = views.map(range).edges;
            let widest = edges
                .iter()
                .max_by(|a, b| a.gap_p99.unwrap().total_cmp(&b.gap_p99.unwrap()))
                .unwrap();
            let got = views.widest_gap(range).unwrap();
            assert_eq!((got.client.as_str(), got.server.as_str()), ("a", "c"));
            assert_eq!(got.server, widest.server);
            assert_eq!(Some(got.p99), widest.gap_p99);
        }
        let before = Range::Between(T0 - 600 * SECOND, T0 - 300 * SECOND);
        assert_eq!(views.widest_gap(before), None);
    }
}
