//! What a scrape of Prometheus gets: the totals of `series`, each with the exemplars whose traces are still kept. Asked by
//! `metrics`.

use super::exemplars::Exemplar;
use super::series::{EdgeSeries, Scrape, SpanSeries};
use super::{Views, lock};
use crate::status::now_unix_nano;

impl Views {
    /// Everything counted since the start, for Prometheus.
    pub fn scrape(&self) -> Scrape {
        self.scrape_at(now_unix_nano())
    }

    pub(super) fn scrape_at(&self, now: u64) -> Scrape {
        let totals = lock(&self.stats).totals(now);
        let retention = u64::try_from(self.retention.as_nanos()).unwrap_or(u64::MAX);
        let mut exemplars = lock(&self.exemplars);
        exemplars.expire(now.saturating_sub(retention));
        let spans = totals.spans.into_iter();
        let spans = spans.map(|(key, latency)| SpanSeries {
            exemplars: exemplars.of_spans(&key),
            key,
            latency: latency.unpack(),
        });
        let mut spans: Vec<_> = spans.collect();
        let edges = totals.edges.into_iter();
        let edges = edges.map(|(key, totals)| EdgeSeries {
            exemplars: exemplars.of_edge(&key),
            key,
            totals: totals.unpack(),
        });
        let mut edges: Vec<_> = edges.collect();
        drop(exemplars);
        let of_spans = spans.iter_mut().map(|series| &mut series.exemplars);
        let of_edges = edges.iter_mut().flat_map(|series| &mut series.exemplars);
        self.keep_kept(of_spans.chain(of_edges));
        Scrape {
            spans,
            edges,
            overflowed_spans: totals.overflowed_spans,
            overflowed_calls: totals.overflowed_calls,
        }
    }

    /// Drops the exemplars whose traces have had to go since.
    fn keep_kept<'a>(&self, exemplars: impl Iterator<Item = &'a mut Vec<Exemplar>>) {
        let traces = lock(&self.traces);
        for exemplars in exemplars {
            exemplars.retain(|exemplar| traces.has(exemplar.trace_id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;
    use opentelemetry_proto::tonic::trace::v1::{Span, Status};
    use proptest::prelude::*;

    use super::super::series::{Connection, EdgeKey, EdgeTotals, SpanKey};
    use super::super::{Config, Range, Views};
    use super::*;
    use crate::wire::test_support::{attribute, encode, resource_spans, span};
    use crate::wire::{SpanKind, StatusCode, walk};

    const SECOND: u64 = 1_000_000_000;
    const T0: u64 = 1_800_000_013 * SECOND;
    const RETENTION: u64 = 3_600 * SECOND;

    fn views(trace_bytes: usize) -> Views {
        Views::new(Config {
            retention: Duration::from_nanos(RETENTION),
            trace_bytes,
            view_bytes: 8 << 20,
        })
    }

    fn count(views: &Views, service: &str, spans: Vec<Span>, at: u64) {
        let bytes = encode(vec![resource_spans(service, spans)]);
        let mut refs = Vec::new();
        walk(&bytes, |span| refs.push(span)).unwrap();
        views.count(&refs, at);
    }

    fn timed(ids: (u128, u64, u64), kind: Kind, status: i32, nanos: u64) -> Span {
        let (trace, id, parent) = ids;
        let mut span = span(trace, id, parent);
        span.kind = kind.into();
        span.status = Some(Status {
            code: status,
            ..Status::default()
        });
        span.end_time_unix_nano = span.start_time_unix_nano + nanos;
        span
    }

    fn edge(scrape: &Scrape, server: &str) -> (EdgeKey, EdgeTotals) {
        let edges = scrape.edges.iter();
        let mut found = edges.filter(|series| &*series.key.server == server);
        let series = found
            .next()
            .unwrap_or_else(|| panic!("{server}: {scrape:?}"));
        assert!(found.next().is_none(), "{server} twice");
        (series.key.clone(), series.totals.clone())
    }

    #[test]
    fn spans_are_told_apart_by_kind_and_status() {
        let views = views(1 << 20);
        let spans = vec![
            timed((1, 1, 0), Kind::Server, 0, 1_000),
            timed((1, 2, 1), Kind::Server, 1, 2_000),
            timed((1, 3, 1), Kind::Server, 2, 4_000),
            timed((1, 4, 1), Kind::Server, 2, 8_000),
            timed((1, 5, 1), Kind::Unspecified, 0, 16_000),
        ];
        count(&views, "shop", spans, T0);
        let scrape = views.scrape_at(T0);
        let counts = scrape.spans.iter().map(|series| {
            let SpanKey { kind, status, .. } = series.key;
            (
                (kind as u8, status as u8),
                (series.latency.count(), series.latency.sum()),
            )
        });
        let counts: HashMap<_, _> = counts.collect();
        let of = |kind, status| counts[&(kind as u8, status as u8)];
        assert_eq!(of(SpanKind::Server, StatusCode::Unset), (1, 1e-6));
        assert_eq!(of(SpanKind::Server, StatusCode::Ok), (1, 2e-6));
        assert_eq!(of(SpanKind::Server, StatusCode::Error), (2, 12e-6));
        assert_eq!(of(SpanKind::Internal, StatusCode::Unset), (1, 16e-6));
        assert_eq!(counts.len(), 4);
    }

    /// Paired, server span longer, retried, message, database, outside host.
    #[test]
    fn every_call_has_one_duration_on_either_side() {
        let views = views(1 << 20);
        let mut database = timed((5, 1, 0), Kind::Client, 2, 30 * SECOND);
        database.attributes = vec![
            attribute("db.system", "postgresql"),
            attribute("db.name", "orders"),
        ];
        let mut outside = timed((6, 1, 0), Kind::Client, 0, 2 * SECOND);
        // What was told is no gap that was measured.
        let told = super::super::peer::tests::told_gap(0.5);
        outside.attributes = vec![attribute("server.address", "pay.example"), told];
        let clients = vec![
            timed((1, 1, 0), Kind::Client, 0, 10 * SECOND),
            timed((2, 1, 0), Kind::Client, 2, 10 * SECOND),
            timed((3, 1, 0), Kind::Client, 0, 10 * SECOND),
            timed((4, 1, 0), Kind::Producer, 0, SECOND),
            database,
            outside,
        ];
        let servers = vec![
            timed((1, 2, 1), Kind::Server, 0, 7 * SECOND),
            timed((2, 2, 1), Kind::Server, 0, 11 * SECOND),
            timed((3, 2, 1), Kind::Server, 0, 4 * SECOND),
            timed((3, 3, 1), Kind::Server, 0, 5 * SECOND),
            timed((4, 2, 1), Kind::Consumer, 0, 20 * SECOND),
        ];
        count(&views, "shop", clients, T0);
        count(&views, "stock", servers, T0);
        let scrape = views.scrape_at(T0 + 70 * SECOND);
        let (key, stock) = edge(&scrape, "stock");
        assert_eq!(
            (&*key.client, key.connection),
            ("shop", Connection::Service)
        );
        assert_eq!((stock.requests, stock.failed), (4, 1));
        assert_eq!((stock.client.count(), stock.client.sum()), (4, 31.0));
        assert_eq!(
            (stock.server.count(), stock.server.sum()),
            (4, 7.0 + 11.0 + 4.0 + 20.0)
        );
        assert_eq!((stock.gap.count(), stock.gap.sum()), (1, 3.0));
        let (key, orders) = edge(&scrape, "postgresql:orders");
        assert_eq!((key.connection, orders.failed), (Connection::Database, 1));
        assert_eq!((orders.server.sum(), orders.gap.count()), (30.0, 0));
        let (key, outside) = edge(&scrape, "pay.example");
        assert_eq!(
            (key.connection, outside.requests, outside.gap.count()),
            (Connection::External, 1, 0)
        );
        for series in &scrape.edges {
            let EdgeTotals {
                requests,
                client,
                server,
                ..
            } = &series.totals;
            assert_eq!((client.count(), server.count()), (*requests, *requests));
        }
    }

    /// Paired and retried calls and a message, of a client that keeps one trace in four.
    #[test]
    fn a_call_counts_for_those_its_sender_left_out() {
        let views = views(1 << 20);
        let mut clients = vec![
            timed((1, 1, 0), Kind::Client, 0, 10 * SECOND),
            timed((2, 1, 0), Kind::Client, 0, 10 * SECOND),
            timed((3, 1, 0), Kind::Producer, 0, SECOND),
        ];
        clients
            .iter_mut()
            .for_each(|client| client.trace_state = "ot=th:c".to_owned());
        let servers = vec![
            timed((1, 2, 1), Kind::Server, 0, 7 * SECOND),
            timed((2, 2, 1), Kind::Server, 0, 4 * SECOND),
            timed((2, 3, 1), Kind::Server, 0, 4 * SECOND),
            timed((3, 2, 1), Kind::Consumer, 0, 20 * SECOND),
        ];
        count(&views, "shop", clients, T0);
        count(&views, "stock", servers, T0);
        let scrape = views.scrape_at(T0 + 70 * SECOND);
        let (_, stock) = edge(&scrape, "stock");
        assert_eq!(stock.requests, 12);
        assert_eq!((stock.client.count(), stock.client.sum()), (12, 4.0 * 21.0));
        assert_eq!((stock.server.count(), stock.server.sum()), (12, 4.0 * 31.0));
        assert_eq!((stock.gap.count(), stock.gap.sum()), (4, 4.0 * 3.0));
    }

    /// While the slot is open and once it is closed: an edge that has no room must not stand there by its name and be gone
    /// at the next scrape.
    #[test]
    fn without_room_an_edge_has_no_series_from_the_first_scrape_on() {
        let views = Views::new(Config {
            retention: Duration::from_nanos(RETENTION),
            trace_bytes: 64 << 10,
            // For the series of one edge.
            view_bytes: 64 << 10,
        });
        for (trace, name) in [(1, "orders"), (2, "stock"), (3, "users")] {
            let mut call = timed((trace, 1, 0), Kind::Client, 0, SECOND);
            call.attributes = vec![
                attribute("db.system", "postgresql"),
                attribute("db.name", name),
            ];
            count(&views, "shop", vec![call], T0);
        }
        let shown = |now: u64| {
            let edges = views.scrape_at(now).edges.into_iter();
            let mut shown: Vec<_> = edges
                .map(|series| (series.key.server.to_string(), series.totals.requests))
                .collect();
            shown.sort();
            shown
        };
        let first = shown(T0);
        assert_eq!(first.len(), 2, "{first:?}");
        assert_eq!(first[0], ("(other edges)".to_owned(), 2));
        assert_eq!(shown(T0 + 30 * SECOND), first);
    }

    #[test]
    fn exemplars_are_of_kept_traces() {
        let views = views(64 << 10);
        let call = |trace: u128| {
            let at = T0 + trace as u64 * 5 * SECOND;
            count(
                &views,
                "shop",
                vec![timed((trace, 1, 0), Kind::Client, 0, 3 * SECOND)],
                at,
            );
            count(
                &views,
                "stock",
                vec![timed((trace, 2, 1), Kind::Server, 0, SECOND)],
                at,
            );
        };
        call(1);
        let now = T0 + 15 * SECOND;
        views.tick(now);
        let scrape = views.scrape_at(now);
        let stock = scrape
            .spans
            .iter()
            .find(|series| &*series.key.service == "stock")
            .unwrap();
        let [of_span] = stock.exemplars.as_slice() else {
            panic!("{stock:?}")
        };
        assert_eq!(
            (of_span.trace_id, of_span.nanos),
            (1_u128.to_be_bytes(), SECOND)
        );
        assert_eq!(of_span.span_id, 2_u64.to_be_bytes());
        let sides = scrape.edges[0]
            .exemplars
            .clone()
            .map(|side| (side[0].span_id[7], side[0].nanos));
        assert_eq!(sides, [(1, 3 * SECOND), (2, SECOND), (1, 2 * SECOND)]);
        // Until the first one has to go, by chance or by its age; of the others nothing is offered without a tick.
        let is_kept = || views.trace(1_u128.to_be_bytes()).is_some();
        (2..5_000).take_while(|_| is_kept()).for_each(call);
        assert!(!is_kept());
        let scrape = views.scrape_at(now);
        let left = scrape.spans.iter().flat_map(|series| &series.exemplars);
        let of_calls = scrape
            .edges
            .iter()
            .flat_map(|series| series.exemplars.iter().flatten());
        assert_eq!(left.chain(of_calls).count(), 0);
    }

    #[test]
    fn a_scrape_says_what_the_views_say() {
        let views = views(1 << 20);
        for n in 0..1_000 {
            let span = timed((1, n + 1, 0), Kind::Server, 0, (n + 1) * 1_000_000);
            count(&views, "shop", vec![span], T0 + n * SECOND / 10);
        }
        let now = T0 + 100 * SECOND;
        let scrape = views.scrape_at(now);
        let [series] = scrape.spans.as_slice() else {
            panic!("{scrape:?}")
        };
        let (_, services) = views.services_at(Range::Last(Duration::from_secs(3_600)), now);
        assert_eq!(series.latency.count(), services[0].now.count);
        assert!(
            (series.latency.sum() - 500.5).abs() < 1e-9,
            "{}",
            series.latency.sum()
        );
        assert_eq!(
            series.latency.at_most(-1),
            503,
            "half a second, and 0.62 % more"
        );
    }

    /// An operation, a status, and so many seconds after the one before.
    fn steps() -> impl Strategy<Value = Vec<(usize, i32, u64)>> {
        let seconds = prop_oneof![4 => 0..30_u64, 1 => 0..9_000_u64];
        proptest::collection::vec((0..4_usize, 0..3_i32, seconds), 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever has expired in between: every series shows all spans since the start, and those that came within
        /// the retention are shown.
        #[test]
        fn counters_never_go_back(steps in steps()) {
            let views = views(1 << 20);
            let mut now = T0;
            let mut truth: HashMap<(String, u8), (u64, u64)> = HashMap::new();
            for (n, (operation, status, seconds)) in (1..).zip(steps) {
                now += seconds * SECOND;
                let mut span = timed((u128::from(n), n, 0), Kind::Server, status, 1_000);
                span.name = format!("op {operation}");
                let known = truth.entry((span.name.clone(), status as u8)).or_default();
                *known = (known.0 + 1, now);
                count(&views, "shop", vec![span], now);
                if seconds % 3 == 0 {
                    views.tick(now);
                }
                let scrape = views.scrape_at(now);
                for series in &scrape.spans {
                    let key = (series.key.name.to_string(), series.key.status as u8);
                    prop_assert_eq!(series.latency.count(), truth[&key].0, "{:?}", key);
                }
                let recent = truth.values().filter(|(_, last)| now - last < RETENTION - 10 * SECOND);
                prop_assert!(scrape.spans.len() >= recent.count());
                let ancient = truth.values().filter(|(_, last)| now - last > RETENTION + 40 * SECOND);
                prop_assert!(scrape.spans.len() <= truth.len() - ancient.count());
            }
        }
    }
}
