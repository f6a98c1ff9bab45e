//! Requests in, reports out: what the views as a whole promise.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;

use super::testing::{CONFIG, SECOND, T0, count, failed, near, timed, views};
use super::*;
use crate::wire::test_support::{attribute, encode, resource_spans, span};
use crate::wire::walk;

const FIVE_MINUTES: Range = Range::Last(Duration::from_secs(300));

fn with(mut span: Span, attributes: &[(&str, &str)]) -> Span {
    span.attributes = attributes
        .iter()
        .map(|(key, value)| attribute(key, value))
        .collect();
    span
}

#[test]
fn a_service_is_known_by_its_entry_spans() {
    let views = views();
    let spans = vec![
        timed(1, 1, 0, Kind::Server, 10_000_000),
        failed(timed(1, 2, 99, Kind::Consumer, 30_000_000)),
        timed(1, 3, 1, Kind::Internal, 5_000_000),
        timed(2, 4, 0, Kind::Internal, 20_000_000),
    ];
    count(&views, "cart", spans, T0);
    let (window, services) = views.services_at(FIVE_MINUTES, T0);
    let [cart] = services.as_slice() else {
        panic!("{services:?}")
    };
    assert_eq!((cart.now.count, cart.now.error_ratio), (3, 1.0 / 3.0));
    assert!((cart.now.rate - 3.0 / window.seconds).abs() < 1e-9);
    near(cart.now.latency.p50, 20_000_000.0);
    assert_eq!(cart.now.latency.max, Some(0.03));
    assert_eq!(cart.spark.rate.len(), 31);
    let (_, operations) = views.operations_at("cart", FIVE_MINUTES, T0).unwrap();
    let kinds: Vec<_> = operations.iter().map(|o| (o.kind, o.now.count)).collect();
    assert_eq!(kinds, [("consumer", 1), ("internal", 2), ("server", 1)]);
    let impact: f64 = operations.iter().map(|o| o.impact).sum();
    assert!((impact - 1.0).abs() < 1e-9);
    assert!(views.operations_at("nobody", FIVE_MINUTES, T0).is_none());
}

#[test]
fn windows_tell_to_what_they_were_rounded() {
    let views = views();
    count(&views, "cart", vec![span(1, 1, 0)], T0);
    let between = |from, to| views.services_at(Range::Between(from, to), T0).0;
    let window = between(T0 - SECOND, T0);
    assert_eq!(
        (window.from.as_str(), window.to.as_str()),
        ("2027-01-15T08:00:10Z", "2027-01-15T08:00:20Z")
    );
    let old = between(T0 - 600 * SECOND, T0 - 590 * SECOND);
    assert_eq!(
        (old.from.as_str(), old.to.as_str()),
        ("2027-01-15T07:50:00Z", "2027-01-15T07:51:00Z")
    );
    let future = between(T0 + 600 * SECOND, T0 + 700 * SECOND);
    assert_eq!(
        (future.from.as_str(), future.to.as_str()),
        ("2027-01-15T08:10:10Z", "2027-01-15T08:10:20Z")
    );
    between(u64::MAX - 1, u64::MAX);
    let last = views.services_at(FIVE_MINUTES, T0).0;
    assert_eq!(
        (last.from.as_str(), last.seconds),
        ("2027-01-15T07:55:10Z", 310.0)
    );
}

#[test]
fn a_window_does_not_reach_back_before_the_start() {
    let views = Views::new(CONFIG);
    views.tick(T0);
    for second in 0..30 {
        count(&views, "cart", vec![span(1, 1, 0)], T0 + second * SECOND);
    }
    let (window, services) = views.services_at(FIVE_MINUTES, T0 + 25 * SECOND);
    assert_eq!(
        (window.from.as_str(), window.seconds),
        ("2027-01-15T08:00:10Z", 40.0)
    );
    assert_eq!((services[0].now.count, services[0].now.rate), (30, 0.75));
    assert_eq!(services[0].spark.rate.len(), 4);
    let before = Range::Between(T0 - 600 * SECOND, T0 - 590 * SECOND);
    assert!(views.services_at(before, T0 + 25 * SECOND).1.is_empty());
    let after = Range::Between(T0 + 600 * SECOND, T0 + 700 * SECOND);
    assert!(views.services_at(after, T0 + 25 * SECOND).1.is_empty());
}

#[test]
fn spans_leave_the_window_and_then_the_views() {
    let views = views();
    count(&views, "cart", vec![span(1, 1, 0)], T0);
    let counts = |range, at| -> u64 {
        views
            .services_at(range, at)
            .1
            .iter()
            .map(|s| s.now.count)
            .sum()
    };
    let hour = Range::Last(Duration::from_secs(3600));
    assert_eq!(counts(FIVE_MINUTES, T0 + 299 * SECOND), 1);
    assert_eq!(counts(FIVE_MINUTES, T0 + 320 * SECOND), 0);
    assert_eq!(counts(hour, T0 + 3500 * SECOND), 1, "by the minute");
    assert_eq!(counts(hour, T0 + 3700 * SECOND), 0);
    assert!(
        views
            .operations_at("cart", hour, T0 + 3800 * SECOND)
            .is_none()
    );
}

#[test]
fn operations_without_bound_end_in_one_row() {
    let views = views();
    for id in 1..=1_000 {
        let mut one = span(1, id, 0);
        one.name = format!("GET /users/{id}");
        count(&views, "cart", vec![one], T0);
    }
    let (_, operations) = views.operations_at("cart", FIVE_MINUTES, T0).unwrap();
    assert_eq!(operations.len(), 201);
    let other = operations
        .iter()
        .find(|o| o.operation == "(other operations)")
        .unwrap();
    assert_eq!(other.now.count, 800);
    assert_eq!(views.status().spans_in_overflow_operations, 800);
}

fn only_edge(map: &Map) -> &report::Edge {
    assert_eq!(map.edges.len(), 1, "{:?}", map.edges);
    &map.edges[0]
}

#[test]
fn a_call_is_shown_at_once_and_settled_later() {
    for client_first in [true, false] {
        let views = views();
        let client = (
            &views,
            "api",
            vec![failed(timed(1, 1, 0, Kind::Client, 9_000_000))],
        );
        let server = (&views, "add", vec![timed(1, 2, 1, Kind::Server, 4_000_000)]);
        let (first, second) = if client_first {
            (client, server)
        } else {
            (server, client)
        };
        count(first.0, first.1, first.2, T0);
        count(second.0, second.1, second.2, T0 + SECOND);
        for later in [1, 30, 70, 200] {
            let map = views.map_at(FIVE_MINUTES, T0 + later * SECOND);
            let edge = only_edge(&map);
            assert_eq!((edge.client.as_str(), edge.server.as_str()), ("api", "add"));
            assert_eq!((edge.count, edge.paired, edge.error_ratio), (1, 1, 1.0));
            near(edge.client_p50, 9_000_000.0);
            near(edge.server_p99, 4_000_000.0);
            near(edge.gap_p90, 5_000_000.0);
        }
    }
}

#[test]
fn odd_calls_are_counted_apart() {
    let check = |spans: Vec<(&str, Span)>, expected: [u64; 5]| {
        let views = views();
        for (service, span) in spans {
            count(&views, service, vec![span], T0);
        }
        let map = views.map_at(FIVE_MINUTES, T0 + 61 * SECOND);
        let edge = only_edge(&map);
        let got = [
            edge.paired,
            edge.unpaired,
            edge.negative,
            edge.retried,
            edge.asynchronous,
        ];
        assert_eq!(got, expected);
        assert_eq!(edge.gap_p50.is_some(), expected[0] > 0);
        assert_eq!(edge.count, 1);
    };
    let client = || ("api", timed(1, 1, 0, Kind::Client, 9_000_000));
    let server = |id, nanos| ("add", timed(1, id, 1, Kind::Server, nanos));
    check(vec![client(), server(2, 9_000_000)], [1, 0, 0, 0, 0]);
    check(vec![client()], [0, 1, 0, 0, 0]);
    check(vec![client(), server(2, 9_000_001)], [0, 0, 1, 0, 0]);
    check(vec![server(2, 1), client(), server(3, 2)], [0, 0, 0, 1, 0]);
    check(
        vec![server(2, 1), client(), server(2, 1), client()],
        [1, 0, 0, 0, 0],
    );
    let producer = ("api", timed(1, 1, 0, Kind::Producer, 1_000));
    let consumer = ("add", timed(1, 2, 1, Kind::Consumer, 9_000_000));
    check(vec![producer, consumer], [0, 0, 0, 0, 1]);
}

#[test]
fn an_unpaired_call_names_its_peer() {
    let check = |attributes: &[(&str, &str)], id: &str, kind: &str, wait: u64| {
        let views = views();
        let call = with(timed(1, 1, 0, Kind::Client, 3_000_000), attributes);
        count(&views, "api", vec![call], T0);
        let map = views.map_at(FIVE_MINUTES, T0 + wait * SECOND);
        let edge = only_edge(&map);
        assert_eq!((edge.server.as_str(), edge.unpaired), (id, 1));
        near(edge.client_p50, 3_000_000.0);
        assert_eq!((edge.server_p50, edge.gap_p50), (None, None));
        let node = map.nodes.iter().find(|node| node.id == id).unwrap();
        assert_eq!(node.kind, kind);
    };
    check(
        &[("db.system", "postgres"), ("db.name", "orders")],
        "postgres:orders",
        "database",
        0,
    );
    check(
        &[("db.system.name", "redis"), ("server.address", "cache")],
        "redis:cache",
        "database",
        0,
    );
    check(
        &[
            ("messaging.system", "kafka"),
            ("messaging.destination.name", "paid"),
        ],
        "kafka:paid",
        "queue",
        61,
    );
    check(
        &[("server.address", "example.com"), ("server.port", "443")],
        "example.com:443",
        "external",
        61,
    );
    check(
        &[("peer.service", "bank"), ("server.address", "10.0.0.1")],
        "bank",
        "external",
        61,
    );
    check(&[], "(unknown peer)", "external", 61);
}

#[test]
fn lone_services_and_server_spans_without_client_are_nodes_only() {
    let views = views();
    count(&views, "cart", vec![span(1, 2, 1)], T0);
    let map = views.map_at(FIVE_MINUTES, T0 + 61 * SECOND);
    assert_eq!((map.nodes.len(), map.edges.len()), (1, 0));
    assert_eq!(
        (map.nodes[0].id.as_str(), map.nodes[0].kind),
        ("cart", "service")
    );
    assert_eq!(views.status().server_spans_without_client, 1);
}

#[test]
fn subscribers_are_told_of_every_span_in_the_end() {
    let before = now_unix_nano() / 1_000_000;
    let views = views();
    let moved = views.subscribe();
    let start = *moved.borrow();
    // Views of before a restart have told at most one number a second since their start, so fewer than that.
    assert!(
        start >= before,
        "a number of before a restart may come again"
    );
    count(&views, "cart", vec![span(1, 1, 0)], T0);
    assert_eq!(*moved.borrow(), start + 1);
    count(&views, "cart", vec![span(1, 2, 0)], T0 + SECOND / 2);
    assert_eq!(*moved.borrow(), start + 1, "not more than once a second");
    views.tick(T0 + SECOND);
    views.tick(T0 + 2 * SECOND);
    assert_eq!(*moved.borrow(), start + 2);
}

#[test]
fn a_trace_is_shown_as_a_tree() {
    let views = views();
    let root = timed(7, 1, 0, Kind::Server, 10_000_000);
    let mut call = with(
        timed(7, 2, 1, Kind::Client, 6_000_000),
        &[("peer.service", "add")],
    );
    call.start_time_unix_nano += 1_000_000;
    call.end_time_unix_nano += 1_000_000;
    let mut answer = failed(timed(7, 3, 2, Kind::Server, 4_000_000));
    answer.start_time_unix_nano += 2_000_000;
    answer.end_time_unix_nano += 2_000_000;
    let orphan = timed(7, 5, 4, Kind::Internal, 1_000_000);
    count(&views, "add", vec![answer.clone(), orphan], T0);
    count(&views, "api", vec![call, root], T0 + SECOND);
    count(&views, "add", vec![answer], T0 + SECOND);
    let trace = views.trace(7_u128.to_be_bytes()).unwrap();
    let rows: Vec<_> = trace
        .spans
        .iter()
        .map(|s| (s.span_id.as_str(), s.depth, s.critical))
        .collect();
    let id = |n: u64| format!("{n:016x}");
    assert_eq!(
        rows,
        [
            (&*id(1), 0, true),
            (&*id(2), 1, true),
            (&*id(3), 2, true),
            (&*id(5), 0, false)
        ]
    );
    assert!((trace.spans[0].self_time - 0.004).abs() < 1e-12);
    assert_eq!(trace.spans[1].attributes["peer.service"], "add");
    assert_eq!(trace.spans[2].status_message, "no");
    assert_eq!(trace.critical_path.len(), 5);
    assert_eq!(trace.warnings.len(), 2, "{:?}", trace.warnings);
    assert!(trace.warnings[0].contains("more than once"));
    assert!(trace.warnings[1].contains("not here") && trace.warnings[1].contains(&id(4)));
    let (_, list) = views.traces_at(
        &TraceQuery {
            limit: 10,
            ..TraceQuery::default()
        },
        FIVE_MINUTES,
        T0,
    );
    let [row] = list.as_slice() else {
        panic!("{list:?}")
    };
    assert_eq!(
        (
            row.root_service.as_str(),
            row.spans,
            row.services,
            row.error
        ),
        ("api", 5, 2, true)
    );
    assert!(views.trace([9; 16]).is_none());
}

#[test]
fn cycles_and_clock_skew_are_told() {
    let views = views();
    let mut late = timed(7, 4, 3, Kind::Internal, 5);
    late.start_time_unix_nano += 1_000_000_000;
    late.end_time_unix_nano += 1_000_000_000;
    let spans = vec![
        timed(7, 1, 2, Kind::Internal, 10),
        timed(7, 2, 1, Kind::Internal, 10),
        timed(7, 3, 0, Kind::Internal, 10),
        late,
        timed(7, 6, 6, Kind::Internal, 10),
    ];
    count(&views, "cart", spans, T0);
    let trace = views.trace(7_u128.to_be_bytes()).unwrap();
    assert_eq!(trace.spans.len(), 5);
    let warnings = trace.warnings.join("\n");
    assert!(
        warnings.contains("spans are their own ancestors, in 2 circles: "),
        "{warnings}"
    );
    assert!(warnings.contains("ms after its parent"), "{warnings}");
}

#[test]
fn a_message_that_is_taken_after_its_sender_has_finished_is_nothing_odd() {
    let views = views();
    let child = |id, kind| timed(1, id, 1, kind, 9);
    let spans = vec![timed(1, 1, 0, Kind::Producer, 5), child(2, Kind::Consumer)];
    count(&views, "mail", spans, T0);
    let warnings = || views.trace(1_u128.to_be_bytes()).unwrap().warnings;
    assert_eq!(warnings(), Vec::<String>::new());
    count(&views, "mail", vec![child(3, Kind::Internal)], T0);
    assert!(
        warnings()[0].contains("ms after its parent"),
        "{:?}",
        warnings()
    );
}

#[test]
fn edges_beyond_the_cap_are_one_before_and_after_they_settle() {
    let views = views();
    let id = |client: u64, server: u64| 1_000 * client + server;
    for service in 1..=40 {
        let calls = (1..=40).map(|server| {
            let id = id(service, server);
            timed(u128::from(id), id, 0, Kind::Client, 10)
        });
        let answers = (1..=40).map(|client| {
            let id = id(client, service);
            timed(u128::from(id), 7, id, Kind::Server, 5)
        });
        let spans = calls.chain(answers).collect();
        count(&views, &format!("s{service}"), spans, T0);
    }
    for now in [T0, T0 + 20 * SECOND] {
        let edges = views.map_at(FIVE_MINUTES, now).edges;
        assert_eq!(edges.len(), 1_001);
        let other = edges.iter().find(|edge| edge.client == "(other edges)");
        assert_eq!(other.map(|edge| edge.count), Some(600));
        assert_eq!(edges.iter().map(|edge| edge.count).sum::<u64>(), 1_600);
    }
}

#[test]
fn a_child_that_lies_outside_by_its_clock_covers_nothing() {
    let views = views();
    let mut ahead = timed(7, 2, 1, Kind::Internal, 5);
    ahead.start_time_unix_nano += 3_600 * SECOND;
    ahead.end_time_unix_nano += 3_600 * SECOND;
    let mut behind = timed(7, 3, 1, Kind::Internal, 5);
    behind.start_time_unix_nano -= 3_600 * SECOND;
    behind.end_time_unix_nano -= 3_600 * SECOND;
    let root = timed(7, 1, 0, Kind::Server, 1_000);
    count(&views, "cart", vec![root, ahead, behind], T0);
    let trace = views.trace(7_u128.to_be_bytes()).unwrap();
    let root = &trace.spans[0];
    assert_eq!((root.self_time, root.duration), (1e-6, 1e-6));
}

#[test]
fn a_large_resource_is_not_repeated_without_end() {
    let views = Views::new(Config {
        retention: Duration::from_secs(3600),
        trace_bytes: 64 << 20,
        view_bytes: 8 << 20,
    });
    let spans = (1..=100).map(|id| timed(7, id, 0, Kind::Server, 10));
    let mut group = resource_spans("cart", spans.collect());
    let resource = group.resource.as_mut().unwrap();
    let note = attribute("note", &"x".repeat(1 << 20));
    resource.attributes.push(note);
    let bytes = encode(vec![group]);
    let mut refs = Vec::new();
    walk(&bytes, |span| refs.push(span)).unwrap();
    views.count(&refs, T0);
    let trace = views.trace(7_u128.to_be_bytes()).unwrap();
    let with_resource = trace.spans.iter().filter(|span| !span.resource.is_empty());
    assert_eq!(with_resource.count(), 7);
    assert_eq!(trace.spans.len(), 100);
    let warnings = trace.warnings.join("\n");
    assert!(warnings.contains("of 93 spans are left out"), "{warnings}");
}

#[test]
fn lists_of_traces_are_filtered_and_ordered() {
    let views = views();
    for (trace, nanos) in [(1, 5_000_000), (2, 50_000_000), (3, 20_000_000)] {
        let mut root = with(
            timed(trace, 1, 0, Kind::Server, nanos),
            &[("user", &format!("u{trace}"))],
        );
        if trace == 3 {
            root = failed(root);
        }
        count(&views, "cart", vec![root], T0 + trace as u64);
    }
    let check = |query: TraceQuery, expected: &[u128]| {
        let query = TraceQuery {
            limit: if query.limit == 0 { 10 } else { query.limit },
            ..query
        };
        let (_, list) = views.traces_at(&query, FIVE_MINUTES, T0);
        let ids: Vec<_> = list
            .iter()
            .map(|t| u128::from_str_radix(&t.trace_id, 16).unwrap())
            .collect();
        assert_eq!(ids, expected, "{query:?}");
    };
    let none = TraceQuery::default;
    check(none(), &[3, 2, 1]);
    check(TraceQuery { limit: 2, ..none() }, &[3, 2]);
    check(
        TraceQuery {
            order: Order::Slowest,
            ..none()
        },
        &[2, 3, 1],
    );
    check(
        TraceQuery {
            error: Some(true),
            ..none()
        },
        &[3],
    );
    check(
        TraceQuery {
            error: Some(false),
            ..none()
        },
        &[2, 1],
    );
    check(
        TraceQuery {
            min: Some(Duration::from_millis(20)),
            ..none()
        },
        &[3, 2],
    );
    check(
        TraceQuery {
            max: Some(Duration::from_millis(20)),
            ..none()
        },
        &[3, 1],
    );
    check(
        TraceQuery {
            service: Some("nobody".into()),
            ..none()
        },
        &[],
    );
    check(
        TraceQuery {
            operation: Some("GET /".into()),
            ..none()
        },
        &[3, 2, 1],
    );
    check(
        TraceQuery {
            attributes: vec![("user".into(), "u2".into())],
            ..none()
        },
        &[2],
    );
}

#[test]
fn attributes_are_looked_for_on_the_spans_that_are_named() {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
    let views = views();
    let number = |key: &str, value| KeyValue {
        key: key.into(),
        value: Some(AnyValue {
            value: Some(Value::IntValue(value)),
        }),
        ..KeyValue::default()
    };
    for trace in 1..=3_u128 {
        let root = with(timed(trace, 1, 0, Kind::Server, 9), &[("tier", "gold")]);
        let mut entry = timed(trace, 2, 1, Kind::Server, 5);
        entry.name = "reserve".into();
        entry.attributes = vec![number("status", 500 + trace as i64)];
        count(&views, "cart", vec![root], T0);
        count(&views, "stock", vec![entry], T0);
    }
    let check = |service: Option<&str>,
                 operation: Option<&str>,
                 attributes: &[(&str, &str)],
                 want: usize| {
        let pairs = attributes
            .iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()));
        let query = TraceQuery {
            service: service.map(str::to_owned),
            operation: operation.map(str::to_owned),
            attributes: pairs.collect(),
            limit: 10,
            ..TraceQuery::default()
        };
        let (_, list) = views.traces_at(&query, FIVE_MINUTES, T0);
        assert_eq!(list.len(), want, "{query:?}");
    };
    check(None, None, &[("tier", "gold"), ("status", "502")], 1);
    check(None, None, &[("tier", "gold"), ("status", "599")], 0);
    check(None, None, &[("tier", "gol")], 0);
    check(None, None, &[("service.name", "stock")], 3);
    check(Some("stock"), None, &[("status", "501")], 1);
    check(Some("stock"), None, &[("service.name", "stock")], 3);
    check(Some("stock"), None, &[("service.name", "cart")], 0);
    check(Some("cart"), None, &[("status", "501")], 0);
    check(None, Some("reserve"), &[("tier", "gold")], 0);
    check(Some("cart"), Some("reserve"), &[], 0);
}

/// Traces are sieved by the bytes that a value must have before their attributes are read: none may be lost by that.
#[test]
fn a_value_of_any_type_is_found_by_its_text() {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    let views = views();
    let of = |value| AnyValue { value: Some(value) };
    let entry = |key: &str, value| KeyValue {
        key: key.into(),
        value,
        ..KeyValue::default()
    };
    let text = |text: &str| of(Value::StringValue(text.into()));
    let list = ArrayValue {
        values: vec![text("a"), of(Value::IntValue(2))],
    };
    let pairs = KeyValueList {
        values: vec![entry("inner", Some(text("b")))],
    };
    let values: [(Option<Value>, &[&str]); 11] = [
        (Some(Value::StringValue("gold".into())), &["gold"]),
        (Some(Value::StringValue("7".into())), &["7"]),
        (Some(Value::StringValue("[1".into())), &["[1"]),
        (Some(Value::IntValue(42)), &["42", "+42", "042"]),
        (Some(Value::IntValue(-3)), &["-3"]),
        (Some(Value::BoolValue(true)), &["true"]),
        (Some(Value::DoubleValue(1.5)), &["1.5"]),
        (Some(Value::ArrayValue(list)), &["[\"a\",2]"]),
        (Some(Value::KvlistValue(pairs)), &["{\"inner\":\"b\"}"]),
        (Some(Value::BytesValue(vec![1, 2])), &["\"AQI=\""]),
        (None, &["null"]),
    ];
    for (trace, (value, _)) in (1..).zip(&values) {
        let mut root = timed(trace, 1, 0, Kind::Server, 9);
        root.attributes = vec![entry("tier", value.clone().map(of))];
        count(&views, "cart", vec![root], T0);
    }
    let found = |value: &str| {
        let query = TraceQuery {
            attributes: vec![("tier".to_owned(), value.to_owned())],
            limit: 20,
            ..TraceQuery::default()
        };
        let (_, list) = views.traces_at(&query, FIVE_MINUTES, T0);
        let ids = list.iter().map(|trace| trace.trace_id.clone());
        ids.collect::<Vec<_>>()
    };
    for (trace, (value, texts)) in (1_u128..).zip(&values) {
        for text in *texts {
            assert_eq!(
                found(text),
                [format!("{trace:032x}")],
                "{value:?} by {text}"
            );
        }
    }
    assert!(found("silver").is_empty() && found("43").is_empty());
}

/// A search lets go of the store again and again, and still finds all there is, each once and in order.
#[test]
fn a_search_in_many_portions_finds_all() {
    let views = Views::new(Config {
        trace_bytes: 64 << 20,
        ..CONFIG
    });
    for trace in 1..=40_u128 {
        // Each as many spans as are looked at at once in a fortieth of the search.
        let spans = (1..=500).map(|id| timed(trace, id, id - 1, Kind::Server, trace as u64));
        count(&views, "cart", spans.collect(), T0 + trace as u64 * SECOND);
    }
    let query = TraceQuery {
        service: Some("cart".into()),
        order: Order::Slowest,
        limit: 35,
        ..TraceQuery::default()
    };
    let (_, list) = views.traces_at(&query, FIVE_MINUTES, T0 + 41 * SECOND);
    let ids = list
        .iter()
        .map(|trace| u128::from_str_radix(&trace.trace_id, 16));
    assert_eq!(
        ids.collect::<Result<Vec<_>, _>>().unwrap(),
        (6..=40).rev().collect::<Vec<_>>()
    );
}

#[test]
fn the_slowest_and_the_failed_stay_longest() {
    let views = views();
    let flood = |from: u64, to: u64| {
        for trace in from..to {
            let padding = "x".repeat(1_000);
            let root = with(
                timed(trace.into(), 1, 0, Kind::Server, 1_000_000 + trace),
                &[("p", &padding)],
            );
            // Slowly enough for all of them to be taken.
            count(&views, "cart", vec![root], T0 + trace * SECOND / 10);
        }
    };
    flood(1, 100);
    count(
        &views,
        "cart",
        vec![timed(900_001, 1, 0, Kind::Server, 900_000_000)],
        T0,
    );
    count(
        &views,
        "cart",
        vec![failed(timed(900_002, 1, 0, Kind::Server, 1))],
        T0,
    );
    flood(100, 5_000);
    assert!(views.status().trace_bytes <= 1 << 20);
    let kept = |trace: u128| views.trace(trace.to_be_bytes()).is_some();
    assert!(kept(900_001) && kept(900_002) && kept(4_999));
    // But for a few of the sample of all.
    let old = (1..4_000).filter(|&trace| kept(trace)).count();
    assert!(old < 600, "{old} of the ordinary ones");
}

/// A trace of `cart`, whose call takes `stock` so long.
fn through_stock(trace: u128, operation: &str, stock_nanos: u64) -> [(&'static str, Span); 2] {
    let root = timed(trace, 1, 0, Kind::Server, 1_000_000_000);
    let mut entry = timed(trace, 2, 1, Kind::Server, stock_nanos);
    entry.name = operation.into();
    [("cart", root), ("stock", entry)]
}

#[test]
fn a_rare_operation_inside_of_common_traces_outlasts_a_flood_of_others() {
    let views = views();
    let send = |spans: [(&'static str, Span); 2], at| {
        let padding = ("p", "x".repeat(1_000));
        for (service, span) in spans {
            let span = with(span, &[(padding.0, &padding.1)]);
            count(&views, service, vec![span], at);
        }
    };
    let slowest = through_stock(1, "GET /common", 900_000_000);
    let [root, entry] = through_stock(3, "GET /common", 1);
    // Their roots are like all the others; of equals the ones with higher ids stay.
    for spans in [
        slowest,
        through_stock(2, "GET /rare", 5),
        [root, (entry.0, failed(entry.1))],
    ] {
        send(spans, T0);
    }
    for trace in 10..3_000_u64 {
        let spans = through_stock(trace.into(), "GET /common", 1_000 + trace);
        // Slowly enough for all of them to be taken.
        send(spans, T0 + trace * SECOND / 5);
    }
    let status = views.status();
    assert!(status.trace_bytes <= CONFIG.trace_bytes, "{status:?}");
    assert_eq!(status.spans_of_traces_not_taken, 0);
    for rare in 1..=3_u128 {
        let trace = views.trace(rare.to_be_bytes()).expect("it is kept");
        assert_eq!(trace.spans.len(), 2);
    }
}

/// What the share would most likely miss is taken beyond it, and says so.
#[test]
fn under_a_flood_failures_and_rare_operations_are_kept() {
    let views = Views::new(Config {
        trace_bytes: 4 << 20,
        ..CONFIG
    });
    let padding = "x".repeat(1_000);
    let span = |trace: u64, name: &str| {
        let mut span = timed(trace.into(), 1, 0, Kind::Server, 1);
        span.name = name.into();
        with(span, &[("p", &padding)])
    };
    const RARE: u64 = 1 << 40;
    for second in 0..60_u64 {
        let flood = (0..1_000).map(|n| span(1 + second * 1_000 + n, "GET /common"));
        let mut spans: Vec<_> = flood.collect();
        if second >= 30 {
            spans.push(failed(span(RARE + second, "GET /common")));
            spans.push(span(2 * RARE + second, "GET /rare"));
        }
        count(&views, "cart", spans, T0 + second * SECOND);
    }
    let untaken = views.status().spans_of_traces_not_taken;
    assert!(untaken > 40_000, "{untaken}");
    let kept = |trace: u64| views.trace(u128::from(trace).to_be_bytes());
    let failures: Vec<_> = (30..60).filter_map(|n| kept(RARE + n)).collect();
    assert!(failures.len() >= 25, "{}", failures.len());
    let late = |trace: &&Trace| {
        trace
            .warnings
            .iter()
            .any(|told| told.contains("were not kept"))
    };
    assert!(failures.iter().filter(late).count() >= 20);
    let rare = (30..60).filter(|n| kept(2 * RARE + n).is_some()).count();
    assert!(rare >= 3, "one in each slot of ten seconds: {rare}");
    assert!(views.status().trace_bytes <= 4 << 20);
}

#[test]
fn a_trace_says_that_its_root_is_missing_until_it_comes() {
    let views = views();
    let root_missing = || {
        let query = TraceQuery {
            limit: 10,
            ..TraceQuery::default()
        };
        views.traces_at(&query, FIVE_MINUTES, T0).1[0].root_missing
    };
    count(&views, "stock", vec![timed(1, 2, 1, Kind::Server, 5)], T0);
    assert!(root_missing());
    count(&views, "cart", vec![timed(1, 1, 0, Kind::Client, 9)], T0);
    assert!(!root_missing());
}

#[test]
fn under_a_flood_some_traces_are_kept_whole_and_the_rest_is_counted() {
    // Room for dozens of traces a second: with a handful, chance would move the share up and down.
    let views = Views::new(Config {
        trace_bytes: 8 << 20,
        ..CONFIG
    });
    let padding = "x".repeat(1_000);
    let half = |trace: u64, id| {
        with(
            timed(trace.into(), id, id - 1, Kind::Server, 1),
            &[("p", &padding)],
        )
    };
    for second in 0..90_u64 {
        let first = (0..100).map(|n| half(1 + second * 100 + n, 1));
        let late = (0..100).map(|n| half(1 + second.saturating_sub(5) * 100 + n, 2));
        count(
            &views,
            "cart",
            first.chain(late).collect(),
            T0 + second * SECOND,
        );
    }
    let untaken = views.status().spans_of_traces_not_taken;
    assert!(untaken > 4_000, "{untaken}");
    let query = TraceQuery {
        limit: 1_000,
        ..TraceQuery::default()
    };
    let range = Range::Between(T0 + 60 * SECOND, T0 + 90 * SECOND);
    let (_, list) = views.traces_at(&query, range, T0 + 90 * SECOND);
    // By the second they began in; the halves of the last ones are still to come.
    let began =
        |trace: &TraceSummary| u64::from_str_radix(&trace.trace_id, 16).map(|id| (id - 1) / 100);
    let settled: Vec<_> = list
        .iter()
        .filter(|trace| began(trace).is_ok_and(|second| (62..85).contains(&second)))
        .collect();
    let whole = settled.iter().filter(|trace| trace.spans == 2).count();
    assert!(
        whole > 20 && whole * 10 >= settled.len() * 9,
        "{whole} of {}",
        settled.len()
    );
}

#[test]
fn a_flood_of_less_than_a_second_does_not_push_out_what_it_began_with() {
    let views = Views::new(Config {
        trace_bytes: 1 << 20,
        ..CONFIG
    });
    let padding = "x".repeat(1_000);
    let span = |trace: u64| {
        with(
            timed(trace.into(), 1, 0, Kind::Server, 1),
            &[("p", &padding)],
        )
    };
    // Small ones: what comes with the batch that fills the first half is taken as well.
    for batch in 0..200_u64 {
        let spans = (0..20).map(|n| span(1 + batch * 20 + n));
        count(&views, "cart", spans.collect(), T0 + batch * SECOND / 1_000);
    }
    let kept = |trace: u128| views.trace(trace.to_be_bytes()).is_some();
    let status = views.status();
    assert!((1..=100).all(kept), "{status:?}");
    assert!(status.trace_bytes < 1 << 20, "{status:?}");
    assert!(status.spans_of_traces_not_taken > 3_000, "{status:?}");
}
