//! One edge: gaps that were told, distributions, and examples for each sort of call.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;
use proptest::collection::vec;
use proptest::prelude::*;

use super::report::Example;
use super::testing::{SECOND, count, near};
use super::*;
use crate::wire::test_support::{attribute, span};

const T0: u64 = 1_800_000_000 * SECOND;
const WINDOW: Range = Range::Last(Duration::from_secs(300));

fn views() -> Views {
    Views::new(Config {
        retention: Duration::from_secs(3600),
        trace_bytes: 8 << 20,
        view_bytes: 8 << 20,
    })
}

fn send(views: &Views, service: &str, span: Span) {
    send_at(T0, views, service, span);
}

fn send_at(now: u64, views: &Views, service: &str, span: Span) {
    count(views, service, vec![span], now);
}

fn timed(trace: u64, id: u64, parent: u64, kind: Kind, nanos: u64) -> Span {
    testing::timed(trace.into(), id, parent, kind, nanos)
}

#[test]
fn a_gap_that_was_told_stands_for_a_server_span_that_is_not_here() {
    let views = views();
    for trace in 1..=3 {
        let mut call = timed(trace, 1, 0, Kind::Client, 9_000_000);
        call.attributes = vec![attribute("server.address", "bank")];
        if trace > 1 {
            call.attributes.push(peer::tests::told_gap(0.002));
        }
        if trace == 3 {
            call.status = Some(opentelemetry_proto::tonic::trace::v1::Status {
                code: 2,
                message: String::new(),
            });
        }
        send(&views, "api", call);
    }
    // Where the server span came, what was told is not asked for.
    let mut call = timed(4, 1, 0, Kind::Client, 9_000_000);
    call.attributes = vec![peer::tests::told_gap(0.002)];
    send(&views, "api", call);
    send(&views, "add", timed(4, 2, 1, Kind::Server, 4_000_000));

    let now = T0 + 61 * SECOND;
    let report = views.edge_at(("api", "bank"), WINDOW, now).unwrap();
    let edge = &report.edge;
    assert_eq!((edge.count, edge.unpaired, edge.told), (3, 3, 2));
    assert_eq!((edge.unpaired_failed, edge.gap_p50), (1, None));
    near(edge.told_gap_p50, 2_000_000.0);
    near(edge.told_gap_p99, 2_000_000.0);
    near(edge.client_p50, 9_000_000.0);
    assert_eq!(report.server_kind, "external");
    assert_eq!(report.distribution.unpaired.iter().sum::<u64>(), 3);
    assert_eq!(report.distribution.told_gap.iter().sum::<u64>(), 2);
    let gaps: Vec<_> = report
        .examples
        .unpaired
        .iter()
        .map(|call| call.gap)
        .collect();
    assert_eq!(gaps.iter().flatten().count(), 2, "{gaps:?}");
    let paired = views.edge_at(("api", "add"), WINDOW, now).unwrap();
    assert_eq!((paired.edge.told, paired.edge.paired), (0, 1));
    assert_eq!(paired.edge.called_as, None, "it named nobody");
    near(paired.edge.gap_p50, 5_000_000.0);
}

#[test]
fn a_call_that_is_not_settled_yet_is_in_its_window_alone() {
    let views = views();
    views.tick(T0 - 600 * SECOND);
    send(&views, "api", timed(1, 1, 0, Kind::Client, 9_000_000));
    send(&views, "add", timed(1, 2, 1, Kind::Server, 4_000_000));
    let count = |range| {
        let report = views.edge_at(("api", "add"), range, T0 + SECOND).unwrap();
        report.edge.count
    };
    assert_eq!(count(WINDOW), 1);
    let before = Range::Between(T0 - 300 * SECOND, T0 - 100 * SECOND);
    assert_eq!(count(before), 0);
}

#[test]
fn an_edge_of_known_ends_may_have_no_calls() {
    let views = views();
    send(&views, "api", span(1, 1, 0));
    send(&views, "add", span(2, 1, 0));
    let report = views.edge_at(("api", "add"), WINDOW, T0).unwrap();
    assert_eq!((report.edge.count, report.edge.client_p50), (0, None));
    assert_eq!(report.distribution, report::Distribution::default());
    assert_eq!(report.examples, report::Examples::default());
    assert!(views.edge_at(("api", "nobody"), WINDOW, T0).is_none());
    assert!(views.edge_at(("nobody", "add"), WINDOW, T0).is_none());
}

#[test]
fn an_edge_is_not_taken_for_another_while_their_calls_linger() {
    let views = views();
    for (trace, server) in [(1, "add"), (2, "divide"), (3, "multiply")] {
        send(
            &views,
            "api",
            timed(trace, 1, 0, Kind::Client, trace * 1_000_000),
        );
        send(&views, server, timed(trace, 2, 1, Kind::Server, 1_000));
    }
    for (trace, server) in [(1, "add"), (2, "divide"), (3, "multiply")] {
        let report = views.edge_at(("api", server), WINDOW, T0).unwrap();
        assert_eq!(
            (report.edge.server.as_str(), report.edge.count),
            (server, 1)
        );
        near(report.edge.client_p50, (trace * 1_000_000) as f64);
    }
}

#[test]
fn another_name_of_a_server_is_forgotten_with_its_calls() {
    let views = views();
    let mut call = timed(1, 1, 0, Kind::Client, 9_000_000);
    call.attributes = vec![attribute("server.address", "10.0.0.7")];
    send(&views, "api", call);
    send(&views, "add", timed(1, 2, 1, Kind::Server, 4_000_000));
    let called_as = |now| {
        let map = views.map_at(Range::Last(Duration::from_secs(3600)), now);
        map.edges.first().map(|edge| edge.called_as.clone())
    };
    let name = Some("10.0.0.7".to_owned());
    assert_eq!(called_as(T0 + 10 * SECOND), Some(name.clone()));
    // Calls go on, but nobody has to ask for a name any more.
    let later = T0 + 3_000 * SECOND;
    let server = timed(2, 2, 1, Kind::Server, 4_000_000);
    send_at(later, &views, "add", server);
    let call = timed(2, 1, 0, Kind::Client, 9_000_000);
    send_at(later, &views, "api", call);
    assert_eq!(called_as(T0 + 3_500 * SECOND), Some(name));
    // By then its number may stand for another name.
    for service in ["one", "two"] {
        send_at(T0 + 3_700 * SECOND, &views, service, span(3, 1, 0));
    }
    assert_eq!(called_as(T0 + 3_800 * SECOND), Some(None));
    assert_eq!(called_as(T0 + 7_000 * SECOND), None);
}

#[test]
fn examples_are_of_calls_that_came_in_the_window() {
    let views = views();
    let call = |trace| timed(trace, 1, 0, Kind::Client, 9_000_000);
    let server = |trace| timed(trace, 2, 1, Kind::Server, 4_000_000);
    send(&views, "api", call(1));
    send(&views, "add", server(1));
    // Another span keeps the trace of the first call in the window.
    let later = T0 + 600 * SECOND;
    send_at(later, &views, "add", timed(1, 3, 2, Kind::Internal, 1_000));
    send_at(later, &views, "api", call(2));
    send_at(later, &views, "add", server(2));
    let report = views.edge_at(("api", "add"), WINDOW, later).unwrap();
    let slowest = report.examples.slowest.iter();
    let slowest: Vec<_> = slowest.map(|call| call.trace_id.as_str()).collect();
    assert_eq!(slowest, [format!("{:032x}", 2)]);
    assert_eq!(report.edge.paired, 1);
}

/// A call as it happened, a trace of its own.
#[derive(Clone, Debug)]
struct Call {
    client_nanos: u64,
    server_nanos: u64,
    servers: u64,
    message: bool,
    failed: bool,
    server_first: bool,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let nanos = 1_000..50_000_000_u64;
    let call = (
        nanos.clone(),
        nanos,
        0..4_u64,
        0..6_u8,
        0..4_u8,
        any::<bool>(),
    )
        .prop_map(
            |(client_nanos, server_nanos, servers, message, failed, server_first)| Call {
                client_nanos,
                server_nanos,
                servers: [1, 1, 0, 2][servers as usize],
                message: message == 0,
                failed: failed == 0,
                server_first,
            },
        );
    vec(call, 1..40)
}

fn count_in(views: &Views, calls: &[Call]) {
    for (trace, call) in (1_u64..).zip(calls) {
        let (client, server) = if call.message {
            (Kind::Producer, Kind::Consumer)
        } else {
            (Kind::Client, Kind::Server)
        };
        let mut client = timed(trace, 1, 0, client, call.client_nanos);
        client.attributes = vec![attribute("peer.service", "add")];
        if call.failed {
            client.status = Some(opentelemetry_proto::tonic::trace::v1::Status {
                code: 2,
                message: String::new(),
            });
        }
        let servers = (0..call.servers).map(|n| timed(trace, 2 + n, 1, server, call.server_nanos));
        let mut spans: Vec<_> = servers.map(|span| ("add", span)).collect();
        let at = if call.server_first { spans.len() } else { 0 };
        spans.insert(at, ("api", client));
        for (service, span) in spans {
            send(views, service, span);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn examples_are_the_extreme_calls_of_their_sort(calls in calls()) {
        let views = views();
        count_in(&views, &calls);
        let report = views.edge_at(("api", "add"), WINDOW, T0 + 61 * SECOND).unwrap();
        let edge = &report.edge;

        let mut sorts: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
        for (trace, call) in (1_u64..).zip(&calls) {
            let sort = match (call.servers, call.message) {
                (0, _) => "unpaired",
                (_, true) => "async",
                (1, false) if call.client_nanos < call.server_nanos => "negative",
                (1, false) => "paired",
                _ => "retried",
            };
            let rank = match sort {
                "paired" => call.client_nanos - call.server_nanos,
                "negative" => call.server_nanos - call.client_nanos,
                // The same arrival: any of them.
                _ => 0,
            };
            sorts.entry(sort).or_default().push((rank, trace));
            sorts.entry("slowest").or_default().push((call.client_nanos, trace));
            if call.failed {
                sorts.entry("failed").or_default().push((0, trace));
            }
        }
        let count = |sort: &str| sorts.get(sort).map_or(0, |calls| calls.len() as u64);
        prop_assert_eq!(
            [edge.paired, edge.unpaired, edge.negative, edge.retried, edge.asynchronous],
            ["paired", "unpaired", "negative", "retried", "async"].map(count)
        );
        let failed_alone = calls.iter().filter(|call| call.failed && call.servers == 0).count();
        prop_assert_eq!(edge.unpaired_failed, failed_alone as u64);

        let examples = &report.examples;
        let check = |sort: &str, got: &[Example]| {
            let mut all = sorts.get(sort).cloned().unwrap_or_default();
            all.sort_unstable_by_key(|&(rank, trace)| (std::cmp::Reverse(rank), trace));
            let want: Vec<_> = all.iter().take(3).map(|(_, trace)| format!("{trace:032x}")).collect();
            let got: Vec<_> = got.iter().map(|call| call.trace_id.clone()).collect();
            assert_eq!(got, want, "{sort} of {calls:?}");
        };
        check("paired", &examples.widest_gap);
        check("slowest", &examples.slowest);
        check("failed", &examples.failed);
        check("unpaired", &examples.unpaired);
        check("negative", &examples.negative);
        check("retried", &examples.retried);
        check("async", &examples.asynchronous);
        for call in &examples.widest_gap {
            let gap = call.client - call.server.unwrap();
            prop_assert!((call.gap.unwrap() - gap).abs() < 1e-9);
        }
    }
}

#[test]
fn a_call_whose_server_span_may_still_come_is_no_example_of_one_without() {
    let views = views();
    let call = |trace, database| {
        let mut call = timed(trace, 1, 0, Kind::Client, 9_000_000);
        call.attributes = vec![attribute("peer.service", "bank")];
        if database {
            call.attributes
                .push(attribute("db.system.name", "postgresql"));
        }
        call
    };
    let unpaired = |now| {
        let report = views.edge_at(("api", "bank"), WINDOW, now).unwrap();
        (report.edge.unpaired, report.examples.unpaired.len())
    };
    send(&views, "api", call(1, false));
    assert_eq!(unpaired(T0 + 30 * SECOND), (0, 0));
    assert_eq!(unpaired(T0 + 61 * SECOND), (1, 1));
    send(&views, "api", call(2, true));
    assert_eq!(unpaired(T0 + 62 * SECOND), (2, 2));
}
