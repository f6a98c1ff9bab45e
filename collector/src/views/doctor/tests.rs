//! Each situation built from spans, and a healthy one.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;

use crate::views::report::Finding;
use crate::views::{Config, Range, Views};
use crate::wire::test_support::{attribute, encode, resource_spans, span};
use crate::wire::walk;

const SECOND: u64 = 1_000_000_000;
const T0: u64 = 1_800_000_000 * SECOND;
const WINDOW: Range = Range::Last(Duration::from_secs(300));
/// Calls of each situation.
const CALLS: u64 = 20;

fn views() -> Views {
    Views::new(Config {
        retention: Duration::from_secs(3600),
        trace_bytes: 1 << 20,
        view_bytes: 8 << 20,
    })
}

fn send(views: &Views, service: &str, spans: Vec<Span>) {
    let bytes = encode(vec![resource_spans(service, spans)]);
    let mut refs = Vec::new();
    walk(&bytes, |span| refs.push(span)).unwrap();
    views.count(&refs, T0);
}

fn of_kind(kind: Kind, mut span: Span) -> Span {
    span.kind = kind.into();
    span
}

/// A client span that names `peer` as its server's address.
fn call_to(peer: &str, trace: u128, id: u64, parent: u64) -> Span {
    let mut span = of_kind(Kind::Client, span(trace, id, parent));
    span.end_time_unix_nano += 1_000_000;
    span.attributes = vec![attribute("server.address", peer)];
    span
}

/// Ten requests of `gateway`, each with one call to `peer`; then what `answer` makes of each call's trace.
fn requests(views: &Views, peer: &str, answer: impl Fn(u128) -> Vec<Span>) {
    for trace in 1..=u128::from(CALLS) {
        let request = vec![span(trace, 1, 0), call_to(peer, trace, 2, 1)];
        send(views, "gateway", request);
        send(views, "stock", answer(trace));
    }
}

/// What is told once all waits are over.
fn told(views: &Views, service: &str) -> Vec<Finding> {
    let now = T0 + 70 * SECOND;
    views.tick(now);
    let map = views.map_at(WINDOW, now);
    views.findings_at(service, &map, WINDOW, now).unwrap()
}

fn is_database(mut call: Span) -> Span {
    call.attributes
        .push(attribute("db.system.name", "postgresql"));
    call
}

#[test]
fn one_call_that_stands_for_many_may_be_chance() {
    let check = |calls: u128, want: &[(u64, u64)]| {
        let views = views();
        let sampled = |mut span: Span| {
            span.trace_state = "ot=th:f".into();
            span
        };
        for trace in 1..=calls {
            let request = vec![sampled(call_to("stock:8080", trace, 2, 1))];
            send(&views, "gateway", request);
            send(&views, "stock", vec![sampled(span(100 + trace, 1, 0))]);
        }
        let found = told(&views, "stock");
        let found = found.iter().filter_map(|finding| match finding {
            Finding::PropagationBroken { calls, roots, .. } => Some((*calls, *roots)),
            _ => None,
        });
        assert_eq!(found.collect::<Vec<_>>(), want, "{calls}");
    };
    check(4, &[]);
    check(5, &[(80, 80)]);
}

#[test]
fn all_is_well_with_a_healthy_service() {
    let views = views();
    requests(&views, "stock:8080", |trace| {
        vec![
            span(trace, 3, 2),
            is_database(call_to("db", trace, 4, 3)),
            call_to("example.com", trace, 5, 3),
        ]
    });
    for service in ["gateway", "stock"] {
        assert_eq!(told(&views, service), [], "{service}");
    }
    let map = views.map_at(WINDOW, T0);
    assert!(views.findings_at("nobody", &map, WINDOW, T0).is_none());
}

#[test]
fn calls_that_fail_are_no_riddle() {
    let views = views();
    for trace in 1..=u128::from(CALLS) {
        let mut call = call_to("stock", trace, 2, 1);
        call.status = Some(opentelemetry_proto::tonic::trace::v1::Status {
            code: 2,
            message: "connection refused".into(),
        });
        send(&views, "gateway", vec![span(trace, 1, 0), call]);
    }
    assert_eq!(told(&views, "gateway"), []);
}

#[test]
fn propagation_is_broken() {
    let views = views();
    // The server's spans begin traces of their own.
    requests(&views, "stock.shop.svc:8080", |trace| {
        vec![span(trace + 1_000, 3, 0)]
    });
    let want = Finding::PropagationBroken {
        client: "gateway".into(),
        server: "stock".into(),
        called_as: "stock.shop.svc:8080".into(),
        calls: CALLS,
        roots: CALLS,
        strangers: 0,
    };
    assert_eq!(told(&views, "gateway"), std::slice::from_ref(&want));
    let at_the_server = told(&views, "stock");
    assert_eq!(at_the_server.first(), Some(&want), "{at_the_server:?}");
}

#[test]
fn a_proxy_puts_its_own_parent_in_between() {
    let views = views();
    requests(&views, "stock", |trace| vec![span(trace, 3, 99)]);
    let told_of = told(&views, "gateway");
    let [
        Finding::PropagationBroken {
            calls,
            roots,
            strangers,
            ..
        },
    ] = told_of.as_slice()
    else {
        panic!("{told_of:?}")
    };
    assert_eq!((*calls, *roots, *strangers), (CALLS, 0, CALLS));
}

#[test]
fn the_server_keeps_other_traces() {
    let views = views();
    // A name that only calls whose spans both came can tell.
    requests(&views, "10.0.0.7", |trace| {
        if trace.is_multiple_of(2) {
            vec![span(trace, 3, 2)]
        } else {
            Vec::new()
        }
    });
    let want = Finding::SamplingMismatch {
        client: "gateway".into(),
        server: "stock".into(),
        paired: CALLS / 2,
        unpaired: CALLS / 2,
    };
    assert_eq!(told(&views, "gateway"), [want]);
}

#[test]
fn the_callers_keep_other_traces_or_send_them_elsewhere() {
    let views = views();
    for trace in 1..=u128::from(CALLS) {
        if trace <= 4 {
            send(&views, "gateway", vec![call_to("stock", trace, 2, 0)]);
        }
        send(
            &views,
            "stock",
            vec![span(trace, 3, 2), call_to("example.com", trace, 4, 3)],
        );
    }
    let want = Finding::CallersElsewhere {
        server: "stock".into(),
        alone: CALLS - 4,
        paired: 4,
    };
    assert_eq!(told(&views, "stock"), [want]);
}

#[test]
fn a_name_is_nearly_that_of_a_service() {
    let views = views();
    requests(&views, "stokk", |_| Vec::new());
    for trace in 5_001..=5_000 + u128::from(CALLS) {
        send(&views, "stock", vec![span(trace, 3, 0)]);
    }
    let want = Finding::NameMismatch {
        client: "gateway".into(),
        called_as: "stokk".into(),
        nearest: "stock".into(),
        calls: CALLS,
    };
    assert_eq!(told(&views, "gateway"), [want]);
    // Likeness alone accuses nobody.
    let at_the_other = told(&views, "stock");
    let is_accused = |finding: &Finding| matches!(finding, Finding::PropagationBroken { .. });
    assert!(!at_the_other.iter().any(is_accused), "{at_the_other:?}");
}

#[test]
fn calls_name_nobody() {
    let views = views();
    for trace in 1..=u128::from(CALLS) {
        let call = of_kind(Kind::Client, span(trace, 2, 1));
        send(&views, "gateway", vec![span(trace, 1, 0), call]);
    }
    let want = Finding::Nameless {
        client: "gateway".into(),
        calls: CALLS,
    };
    assert_eq!(told(&views, "gateway"), [want]);
}

#[test]
fn the_other_half_is_at_another_collector() {
    let elsewhere = |peer: &str, told_gap: bool| {
        let views = views();
        for trace in 1..=u128::from(CALLS) {
            let mut call = call_to(peer, trace, 2, 1);
            if told_gap {
                call.attributes
                    .push(super::super::peer::tests::told_gap(0.0005));
            }
            send(&views, "gateway", vec![span(trace, 1, 0), call]);
        }
        told(&views, "gateway")
    };
    let want = |peer: &str, told| {
        [Finding::ServerElsewhere {
            client: "gateway".into(),
            called_as: peer.into(),
            calls: CALLS,
            told,
        }]
    };
    assert_eq!(
        elsewhere("ledger.bank.internal", false),
        want("ledger.bank.internal", 0)
    );
    assert_eq!(
        elsewhere("ledger.example.com", true),
        want("ledger.example.com", CALLS)
    );
    assert_eq!(elsewhere("ledger.example.com", false), []);
}

#[test]
fn calls_leave_without_a_client_span() {
    let views = views();
    for trace in 1..=u128::from(CALLS) {
        let request = vec![
            span(trace, 1, 0),
            of_kind(Kind::Internal, span(trace, 2, 1)),
        ];
        send(&views, "gateway", request);
        send(
            &views,
            "stock",
            vec![span(trace, 3, 2), call_to("example.com", trace, 4, 3)],
        );
    }
    let want = Finding::CallsWithoutClientSpan {
        client: "gateway".into(),
        server: "stock".into(),
        traces: CALLS,
        looked_at: CALLS,
    };
    assert_eq!(told(&views, "gateway"), std::slice::from_ref(&want));
    assert_eq!(told(&views, "stock"), [want]);
}

#[test]
fn a_service_that_makes_no_client_spans_is_told_so() {
    let views = views();
    requests(&views, "stock", |trace| vec![span(trace, 3, 2)]);
    let want = Finding::NoClientSpans {
        client: "stock".into(),
        spans: CALLS,
    };
    assert_eq!(told(&views, "stock"), [want]);
    assert_eq!(told(&views, "gateway"), []);
}

#[test]
fn calls_cut_short_stand_beside_what_they_may_explain() {
    // Room for a handful of calls only.
    let views = Views::new(Config {
        retention: Duration::from_secs(3600),
        trace_bytes: 1 << 20,
        view_bytes: 8 << 10,
    });
    requests(&views, "stock.internal", |_| Vec::new());
    let told_of = told(&views, "gateway");
    let cut = told_of
        .iter()
        .any(|finding| matches!(finding, Finding::CutShort { calls } if *calls > 0));
    assert!(cut && told_of.len() == 2, "{told_of:?}");
}

#[test]
fn a_few_calls_prove_nothing() {
    let views = views();
    for trace in 1..=4 {
        send(
            &views,
            "gateway",
            vec![span(trace, 1, 0), call_to("stock", trace, 2, 1)],
        );
        send(
            &views,
            "stock",
            vec![
                span(trace + 1_000, 3, 0),
                call_to("example.com", trace, 4, 3),
            ],
        );
    }
    assert_eq!(told(&views, "gateway"), []);
}

#[test]
fn a_small_share_of_many_calls_proves_nothing() {
    let views = views();
    for trace in 1..=400 {
        let call = call_to("10.0.0.7", trace, 2, 1);
        send(&views, "gateway", vec![span(trace, 1, 0), call]);
        if trace > 8 {
            let spans = vec![span(trace, 3, 2), call_to("example.com", trace, 4, 3)];
            send(&views, "stock", spans);
        }
    }
    assert_eq!(told(&views, "gateway"), []);
    assert_eq!(told(&views, "stock"), []);
}

#[test]
fn a_server_span_below_a_span_of_its_own_service_is_no_call() {
    let views = views();
    requests(&views, "stock", |trace| {
        let own = of_kind(Kind::Internal, span(trace, 4, 3));
        // As a filter in front of the handler writes it.
        vec![
            span(trace, 3, 2),
            own,
            span(trace, 5, 4),
            call_to("example.com", trace, 6, 5),
        ]
    });
    assert_eq!(told(&views, "stock"), []);
}
