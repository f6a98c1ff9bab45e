//! Samples against all requests, breakdowns against what is known of the calls.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::breakdown::OTHER_PARTS;
use super::*;
use crate::views::clock::Clock;
use crate::views::kept::Origin;
use crate::views::report::PathPart;
use crate::wire::{ResourceRef, ScopeRef, SpanKind, SpanRef, StatusCode};

const MS: u64 = 1_000_000;
const MINUTE: u64 = 60_000 * MS;
const T0: u64 = 30_000_000 * MINUTE;

fn span(
    service: &'static str,
    kind: SpanKind,
    (id, parent): (u64, u64),
    (start, end): (u64, u64),
) -> SpanRef<'static> {
    SpanRef {
        trace_id: [7; 16],
        span_id: id.to_be_bytes(),
        parent_span_id: (parent != 0).then(|| parent.to_be_bytes()),
        kind,
        start_unix_nano: start,
        end_unix_nano: end,
        status: StatusCode::Unset,
        has_trace_state: false,
        name: "call",
        raw: &[],
        resource: ResourceRef {
            raw: &[],
            service_name: service,
        },
        scope: ScopeRef::default(),
    }
}

fn trace(id: u64, arrived: u64, spans: &[SpanRef<'_>]) -> KeptTrace {
    let mut trace_id = [0; 16];
    trace_id[8..].copy_from_slice(&id.to_be_bytes());
    let mut trace = KeptTrace::new(trace_id, id, arrived);
    for span in spans {
        let origin = Arc::new(Origin::of(span));
        trace.push(span, &origin, arrived, usize::MAX);
    }
    trace
}

/// A request of `nanos`.
fn request(id: u64, arrived: u64, nanos: u64) -> KeptTrace {
    let span = span("api", SpanKind::Server, (id, 0), (T0, T0 + nanos));
    trace(id, arrived, &[span])
}

/// The last hour.
fn hour(now: u64) -> Slots {
    let mut clock = Clock::new(60);
    clock.advance(now - 60 * MINUTE);
    clock.advance(now);
    clock.round(
        crate::views::Range::Last(std::time::Duration::from_secs(3600)),
        now,
    )
}

fn reports(paths: &Paths, service: &str, now: u64) -> Vec<CriticalPathReport> {
    let snapshots = paths.snapshot(service, hour(now));
    snapshots.iter().map(PathSnapshot::report).collect()
}

fn seconds_of(
    parts: &[PathPart],
    column: fn(&PathPart) -> f64,
) -> BTreeMap<(&str, &str, &str), f64> {
    let parts = parts.iter();
    parts
        .map(|part| ((part.kind, &*part.service, &*part.operation), column(part)))
        .collect()
}

#[test]
fn a_request_is_told_in_work_calls_and_network_whatever_the_clocks_say() {
    for offset in [0, 5 * MINUTE, u64::MAX - 5 * MINUTE] {
        let far = |at: u64| T0.wrapping_add(offset) + at * MS;
        let here = |at: u64| T0 + at * MS;
        // The bank's clock is another one; below it there is one more call.
        let spans = [
            span("api", SpanKind::Server, (1, 0), (here(0), here(100))),
            span("api", SpanKind::Client, (2, 1), (here(10), here(80))),
            span("bank", SpanKind::Server, (3, 2), (far(20), far(70))),
            span("bank", SpanKind::Client, (4, 3), (far(30), far(60))),
        ];
        let mut paths = Paths::new(1 << 20);
        paths.offer(&trace(1, T0, &spans));
        let api = &reports(&paths, "api", T0)[0];
        let close = |told: f64, want: f64| (told - want).abs() < 1e-9;
        assert!(close(api.slow.seconds, 0.1));
        let told = seconds_of(&api.parts, |part| part.slow);
        let want = [
            (("work", "api", "call"), 0.030),
            (("network", "api", "bank"), 0.020),
            (("work", "bank", "call"), 0.020),
            (("call", "(unknown peer)", "call"), 0.030),
        ];
        assert_eq!(told.len(), want.len(), "{told:?}");
        for (part, seconds) in want {
            assert!(close(told[&part], seconds), "{part:?} of {told:?}");
        }
        let bank = &reports(&paths, "bank", T0)[0];
        assert!(close(bank.slow.seconds, 0.05));
    }
}

#[test]
fn a_call_that_was_tried_again_is_no_network() {
    let spans = [
        span("api", SpanKind::Client, (1, 0), (T0, T0 + 100 * MS)),
        span("bank", SpanKind::Server, (2, 1), (T0, T0 + 10 * MS)),
        span(
            "bank",
            SpanKind::Server,
            (3, 1),
            (T0 + 60 * MS, T0 + 100 * MS),
        ),
    ];
    let mut paths = Paths::new(1 << 20);
    paths.offer(&trace(1, T0, &spans));
    let told = &reports(&paths, "api", T0)[0].parts;
    let told = seconds_of(told, |part| part.typical);
    assert!(
        (told[&("call", "bank", "call")] - 0.050).abs() < 1e-9,
        "{told:?}"
    );
    assert!(
        !told.keys().any(|(kind, ..)| *kind == "network"),
        "{told:?}"
    );
}

#[test]
fn the_largest_part_of_a_trace_is_told_whatever_it_is() {
    let of = |server: (u64, u64)| {
        let spans = [
            span("web", SpanKind::Server, (1, 0), (T0, T0 + 100 * MS)),
            span(
                "web",
                SpanKind::Client,
                (2, 1),
                (T0 + 10 * MS, T0 + 90 * MS),
            ),
            span(
                "shop",
                SpanKind::Server,
                (3, 2),
                (T0 + server.0 * MS, T0 + server.1 * MS),
            ),
        ];
        let part = largest_part(&trace(1, T0, &spans)).unwrap();
        let millis = (part.seconds * 1e3).round();
        assert!((part.share - part.seconds / 0.1).abs() < 1e-9);
        (part.kind, part.service, part.operation, millis)
    };
    let told = |kind, service: &str, operation: &str, millis| {
        (kind, service.to_owned(), operation.to_owned(), millis)
    };
    assert_eq!(of((15, 85)), told("work", "shop", "call", 70.0));
    assert_eq!(of((40, 50)), told("network", "web", "shop", 70.0));
    let at_once = [span("web", SpanKind::Server, (1, 0), (T0, T0))];
    assert_eq!(largest_part(&trace(1, T0, &at_once)), None);
    assert_eq!(largest_part(&trace(1, T0, &[])), None);
}

#[test]
fn what_makes_the_slow_requests_slow_stands_first() {
    let mut paths = Paths::new(1 << 20);
    for id in 1..=100 {
        // One in ten waits for its database.
        let wait = if id % 10 == 0 { 300 } else { 5 };
        let spans = [
            span("api", SpanKind::Server, (1, 0), (T0, T0 + (20 + wait) * MS)),
            span(
                "api",
                SpanKind::Client,
                (2, 1),
                (T0 + 10 * MS, T0 + (10 + wait) * MS),
            ),
        ];
        paths.offer(&trace(id, T0 + id * MINUTE / 4, &spans));
    }
    let report = &reports(&paths, "api", T0 + 25 * MINUTE)[0];
    assert_eq!(report.requests, 100);
    let first = &report.parts[0];
    assert_eq!((first.kind, &*first.service), ("call", "(unknown peer)"));
    assert!((first.difference - 0.295).abs() < 1e-9, "{first:?}");
    assert!((report.slow.seconds - 0.320).abs() < 1e-9);
    assert_eq!(report.slow.requests, 10);
    assert_eq!(report.slow.examples.len(), EXAMPLES_TOLD);
}

const EXAMPLES_TOLD: usize = 3;

#[test]
fn the_sample_is_fair_whatever_comes_when() {
    // A busy minute with requests of 10 ms, two quiet ones of 30 ms.
    let mut paths = Paths::new(1 << 20);
    let mut id = 0;
    let mut offer = |paths: &mut Paths, minute: u64, count: u64, nanos: u64| {
        for _ in 0..count {
            id += 1;
            paths.offer(&request(id, T0 + minute * MINUTE, nanos));
        }
    };
    offer(&mut paths, 0, 4_000, 10 * MS);
    offer(&mut paths, 1, 500, 30 * MS);
    offer(&mut paths, 2, 500, 30 * MS);
    let report = &reports(&paths, "api", T0 + 2 * MINUTE)[0];
    assert_eq!(report.requests, 3 * FULL_SAMPLE);
    // By the sample alone two thirds would be slow; by the requests it stands for one in five.
    assert!((report.typical.seconds - 0.010).abs() < 1e-9);
    assert!((report.slow.seconds - 0.030).abs() < 1e-9);
    for _ in 0..2 {
        paths.roll(slot_of(T0 + 30 * MINUTE), 0);
    }
    let report = &reports(&paths, "api", T0 + 30 * MINUTE)[0];
    assert_eq!(report.requests, 3 * SMALL_SAMPLE);
    assert!((report.typical.seconds - 0.010).abs() < 1e-9);
}

fn slot_of(unix_nano: u64) -> u32 {
    u32::try_from(unix_nano / SLOT_NANOS).unwrap()
}

#[test]
fn a_request_is_sampled_once_and_one_that_came_in_part_never() {
    let mut paths = Paths::new(1 << 20);
    paths.offer(&request(1, T0, MS));
    paths.offer(&request(1, T0, MS));
    assert_eq!(reports(&paths, "api", T0)[0].requests, 1);
    let mut cut = request(2, T0, MS);
    cut.dropped = 1;
    paths.offer(&cut);
    assert_eq!(reports(&paths, "api", T0)[0].requests, 1);
}

#[test]
fn a_path_of_many_parts_keeps_the_largest() {
    let names: Vec<&'static str> = (0..200).map(|n| &*format!("step {n}").leak()).collect();
    let mut spans = vec![span("api", SpanKind::Server, (1, 0), (T0, T0 + 200 * MS))];
    for (at, name) in (0..).zip(names) {
        let nanos = if at == 100 { MS } else { MS / 2 };
        let mut step = span(
            "api",
            SpanKind::Internal,
            (at + 2, 1),
            (T0 + at * MS, T0 + at * MS + nanos),
        );
        step.name = name;
        spans.push(step);
    }
    let mut paths = Paths::new(1 << 20);
    paths.offer(&trace(1, T0, &spans));
    let report = &reports(&paths, "api", T0)[0];
    let told = seconds_of(&report.parts, |part| part.slow);
    assert_eq!(told.len(), 64);
    assert!((told.values().sum::<f64>() - 0.2).abs() < 1e-9);
    assert!(told.contains_key(&("work", "api", "step 100")));
    assert!(told.contains_key(&("work", OTHER_PARTS, "")));
}

#[test]
fn the_bytes_are_bounded_and_nothing_stays_behind() {
    let limit = 64 << 10;
    let mut paths = Paths::new(limit);
    for id in 1..=20_000 {
        let mut request = span("api", SpanKind::Server, (1, 0), (T0, T0 + MS));
        request.name = format!("GET /{id}").leak();
        paths.offer(&trace(id, T0 + id * MINUTE / 200, &[request]));
        assert!(paths.bytes() <= limit, "{id}: {}", paths.bytes());
    }
    assert!(!paths.operations.is_empty());
    paths.roll(u32::MAX, u32::MAX);
    assert_eq!((paths.bytes(), paths.parts.len()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    /// Whatever the tree and the clocks: the parts add up to the request.
    #[test]
    fn the_parts_add_up_to_the_request(
        tree in vec((0..8_u64, 0..4_usize, 0..4_usize, 0..200_u64, 0..200_u64, any::<bool>()), 1..30)
    ) {
        let services = ["api", "cart", "bank", "mail"];
        let kinds = [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Consumer];
        let spans = (1..).zip(&tree).map(|(id, &(back, service, kind, start, length, skewed))| {
            let clock = if skewed { T0 / 2 } else { T0 };
            let parent = if id == 1 { 0 } else { id - 1 - back.min(id - 2) };
            span(services[service], kinds[kind], (id, parent), (clock + start, clock + start + length))
        });
        let spans: Vec<_> = spans.collect();
        let trace = trace(1, T0, &spans);
        let breakdown = Breakdown::of(&trace);
        for span in &spans {
            let (nanos, spent) = breakdown.below(span.span_id).unwrap();
            prop_assert_eq!(nanos, span.duration_nanos());
            prop_assert_eq!(spent.iter().map(|(_, nanos)| nanos).sum::<u64>(), nanos);
            prop_assert!(spent.iter().all(|&(_, nanos)| nanos > 0));
        }
    }
}
