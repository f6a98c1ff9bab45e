//! Random calls and latencies against what is computed offline from the raw spans.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::wire::{ResourceRef, ScopeRef, SpanKind, StatusCode};

const SECOND: u64 = 1_000_000_000;
const T0: u64 = 1_800_000_000 * SECOND;
const SERVICES: [&str; 4] = ["api", "cart", "stock", "bank"];

/// Views that have been up for an hour.
fn views(view_bytes: usize) -> Views {
    let views = Views::new(Config {
        retention: Duration::from_secs(3600),
        trace_bytes: 1 << 20,
        view_bytes,
    });
    views.tick(T0 - 3_600 * SECOND);
    views
}

fn span(
    service: &'static str,
    kind: SpanKind,
    id: u64,
    parent: u64,
    nanos: u64,
) -> SpanRef<'static> {
    SpanRef {
        trace_id: [1; 16],
        span_id: id.to_be_bytes(),
        parent_span_id: (parent != 0).then(|| parent.to_be_bytes()),
        kind,
        start_unix_nano: T0 + id,
        end_unix_nano: T0 + id + nanos,
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

/// A call as it happened: who, to whom, how long on both sides, how many server spans came.
#[derive(Clone, Debug)]
struct Call {
    client: usize,
    server: usize,
    client_nanos: u64,
    server_nanos: u64,
    servers: usize,
    message: bool,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = (
        0..4_usize,
        0..4_usize,
        1..1_000_000_u64,
        1..1_000_000_u64,
        0..8_usize,
        0..8_u8,
    );
    let call = call.prop_map(
        |(client, server, client_nanos, server_nanos, servers, message)| Call {
            client,
            server,
            client_nanos,
            server_nanos,
            servers: [1, 1, 1, 1, 1, 0, 2, 3][servers],
            message: message == 0,
        },
    );
    vec(call, 1..60)
}

/// Every span of the calls; the server spans of one call have the same duration.
fn spans(calls: &[Call]) -> Vec<SpanRef<'static>> {
    let mut spans = Vec::new();
    for (id, call) in (1_u64..).zip(calls) {
        let (client, server) = if call.message {
            (SpanKind::Producer, SpanKind::Consumer)
        } else {
            (SpanKind::Client, SpanKind::Server)
        };
        spans.push(span(
            SERVICES[call.client],
            client,
            id,
            0,
            call.client_nanos,
        ));
        for again in 1..=call.servers as u64 {
            spans.push(span(
                SERVICES[call.server],
                server,
                again * 1_000 + id,
                id,
                call.server_nanos,
            ));
        }
    }
    spans
}

/// paired, unpaired, negative, retried, asynchronous; gaps.
type Figures = ([u64; 5], Vec<u64>);

fn offline(calls: &[Call]) -> BTreeMap<(String, String), Figures> {
    let mut edges: BTreeMap<_, Figures> = BTreeMap::new();
    for call in calls {
        let server = if call.servers == 0 {
            "(unknown peer)"
        } else {
            SERVICES[call.server]
        };
        let edge = edges
            .entry((SERVICES[call.client].to_owned(), server.to_owned()))
            .or_default();
        let outcome = match (call.servers, call.message) {
            (0, _) => 1,
            (_, true) => 4,
            (1, false) if call.client_nanos >= call.server_nanos => {
                edge.1.push(call.client_nanos - call.server_nanos);
                0
            }
            (1, false) => 2,
            _ => 3,
        };
        edge.0[outcome] += 1;
    }
    edges
}

fn exact(values: &[u64], permille: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * permille).div_ceil(1000).max(1) - 1] as f64
}

fn check_near(got: Option<f64>, values: &[u64], permille: usize) {
    let Some(got) = got else {
        assert!(
            values.is_empty(),
            "no {permille} permille of {} values",
            values.len()
        );
        return;
    };
    let expected = exact(values, permille);
    assert!(
        (got * 1e9 - expected).abs() <= expected * 0.011 + 1e-6,
        "{got} s, exactly {expected} ns"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn calls_in_any_order_equal_the_offline_count(
        calls in calls(),
        order in vec(any::<Index>(), 300),
        batch in 1..20_usize,
    ) {
        let mut spans = spans(&calls);
        for at in (1..spans.len()).rev() {
            spans.swap(at, order[at % order.len()].index(at + 1));
        }
        let views = views(8 << 20);
        // All within the linger, so that no retry can come too late.
        for (at, batch) in spans.chunks(batch).enumerate() {
            views.count(batch, T0 + at as u64 * 10_000_000);
        }
        let expected = offline(&calls);
        let map = views.map_at(Range::Last(Duration::from_secs(300)), T0 + 65 * SECOND);
        let mut seen = BTreeMap::new();
        for edge in map.edges {
            let counts = [edge.paired, edge.unpaired, edge.negative, edge.retried, edge.asynchronous];
            prop_assert_eq!(edge.count, counts.iter().sum::<u64>());
            let ends = (edge.client, edge.server);
            let gaps = expected.get(&ends).map_or(&[][..], |figures| &figures.1);
            check_near(edge.gap_p50, gaps, 500);
            check_near(edge.gap_p90, gaps, 900);
            check_near(edge.gap_p99, gaps, 990);
            seen.insert(ends, counts);
        }
        let expected: BTreeMap<_, _> = expected.into_iter().map(|(ends, (counts, _))| (ends, counts)).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn any_window_equals_the_offline_count(
        arrivals in vec((0..3_000_u64, 1..10_000_000_000_u64), 1..200),
        from in 0..3_000_u64,
        length in 1..3_000_u64,
    ) {
        let mut arrivals = arrivals;
        arrivals.sort_unstable();
        let views = views(8 << 20);
        for &(at, nanos) in &arrivals {
            views.count(&[span("api", SpanKind::Server, 1, 0, nanos)], T0 + at * SECOND);
        }
        let range = Range::Between(T0 + from * SECOND, T0 + (from + length) * SECOND);
        let (window, services) = views.services_at(range, T0 + 3_000 * SECOND);
        let (told_from, told_to) = (rfc3339::parse(&window.from).unwrap(), rfc3339::parse(&window.to).unwrap());
        prop_assert!(told_from <= T0 + from * SECOND, "rounded outward");
        prop_assert!((told_to - told_from) as f64 / 1e9 == window.seconds);
        let inside = arrivals.iter().filter(|(at, _)| (told_from..told_to).contains(&(T0 + at * SECOND)));
        let inside: Vec<_> = inside.map(|&(_, nanos)| nanos).collect();
        prop_assert_eq!(services.len(), usize::from(!inside.is_empty()));
        for service in services {
            prop_assert_eq!(service.now.count, inside.len() as u64);
            check_near(service.now.latency.p50, &inside, 500);
            check_near(service.now.latency.p99, &inside, 990);
            check_near(service.now.latency.max, &inside, 1000);
        }
    }
}

#[test]
fn a_full_table_settles_the_oldest_call_and_counts_it() {
    let views = views(1 << 16);
    let calls: Vec<_> = (1..=1_000)
        .map(|id| span("api", SpanKind::Client, id, 0, 5))
        .collect();
    views.count(&calls, T0);
    let status = views.status();
    assert!(status.calls_cut_short > 500, "{status:?}");
    let map = views.map_at(Range::Last(Duration::from_secs(60)), T0);
    assert_eq!(map.edges[0].unpaired, status.calls_cut_short);
    let map = views.map_at(Range::Last(Duration::from_secs(300)), T0 + 61 * SECOND);
    assert_eq!(map.edges[0].unpaired, 1_000, "nothing is lost");
}

#[test]
fn the_table_of_calls_takes_no_more_than_its_share() {
    let views = views(8 << 20);
    for id in 1..=100_000 {
        let (client, server) = (
            span("api", SpanKind::Client, 2 * id, 0, 5),
            span("cart", SpanKind::Server, 2 * id + 1, 2 * id, 4),
        );
        views.count(&[client, server], T0);
    }
    assert!(views.status().calls_cut_short > 50_000, "the table is full");
    let (bytes, share) = (lock(&views.stats).pairing.bytes(), 2 << 20);
    assert!(bytes <= share && bytes > share / 2, "{bytes} bytes");
}

/// Views of the bytes that the default memory limit leaves to them; `docs/views.md` says how many calls that is room for.
fn views_by_default() -> Views {
    views(47 << 20)
}

#[test]
fn fifty_thousand_calls_wait_by_default() {
    let views = views_by_default();
    let calls: Vec<_> = (1..=60_000)
        .map(|id| span("api", SpanKind::Client, id, 0, 5))
        .collect();
    views.count(&calls, T0);
    let waiting = 60_000 - views.calls_cut_short();
    assert!((52_000..56_000).contains(&waiting), "{waiting}");
}

/// Calls cut short, and those paired, when so many begin in each tenth of a second and their server spans come a second
/// later.
fn cut_and_paired(calls: u64, tenths: u64) -> (u64, u64) {
    let views = views_by_default();
    for tenth in 0..tenths + 10 {
        let begun = |tenth: u64| (tenth * calls + 1)..=(tenth + 1) * calls;
        let clients = begun(tenth).filter(|_| tenth < tenths);
        let clients = clients.map(|call| span("api", SpanKind::Client, 2 * call, 0, 5));
        let servers = tenth.checked_sub(10).map(begun).into_iter().flatten();
        let servers = servers.map(|call| span("cart", SpanKind::Server, 2 * call + 1, 2 * call, 4));
        let spans: Vec<_> = clients.chain(servers).collect();
        views.count(&spans, T0 + tenth * SECOND / 10);
    }
    let end = T0 + (tenths + 70) * SECOND / 10;
    views.tick(end);
    let map = views.map_at(Range::Last(Duration::from_secs(60)), end);
    (views.calls_cut_short(), map.edges[0].paired)
}

#[test]
fn seven_thousand_calls_a_second_have_room_by_default() {
    assert_eq!(cut_and_paired(700, 90), (0, 63_000));
    let (cut, paired) = cut_and_paired(2_000, 50);
    assert!(cut > 10_000, "{cut} of 20,000 calls a second");
    assert_eq!(paired, 100_000, "both spans were there in time");
}

/// An hour of 64 occupied buckets in every slot of 10 operations, for which 1,000 would stay within 64 MiB.
#[test]
fn an_hour_of_a_thousand_operations_fits() {
    let views = views(64 << 20);
    let names: Vec<String> = (0..10).map(|n| format!("operation {n}")).collect();
    for slot in 0..360_u64 {
        let samples = (0..64).flat_map(|sample| {
            let nanos = (1e6 * (f64::from(sample) / 32.0).exp2()) as u64;
            let one = span("api", SpanKind::Internal, 1, 9, nanos);
            names.iter().map(move |name| SpanRef { name, ..one })
        });
        views.count(&samples.collect::<Vec<_>>(), T0 + slot * 10 * SECOND);
    }
    let status = views.status();
    assert!(status.bytes * 100 < 64 << 20, "{status:?}");
    assert_eq!(status.minutes_forgotten, 0);
}

#[test]
fn slots_have_what_the_rest_of_the_views_leaves() {
    let filled = |view_bytes| {
        let views = views(view_bytes);
        for second in 0..3_600_u64 {
            let nanos = 1_000 + second * second * 1_000;
            let one = span("api", SpanKind::Internal, 1, 9, nanos);
            views.count(&[one], T0 + second * SECOND);
        }
        views
    };
    let held = |views: &Views| -> usize {
        let parts = lock(&views.stats).bytes_by_part();
        parts.iter().map(|(_, bytes)| bytes).sum()
    };
    let all = held(&filled(1 << 20));
    // Not if the shares of the others were kept free for them.
    let view_bytes = all * 8 / 7;
    let views = filled(view_bytes);
    assert_eq!((held(&views), views.status().minutes_forgotten), (all, 0));
    lock(&views.stats).make_room(view_bytes - all);
    assert_eq!(views.status().minutes_forgotten, 0, "it just fits");
    lock(&views.stats).make_room(view_bytes / 4);
    assert!(views.status().minutes_forgotten > 0);
    let left = held(&views);
    assert!(left <= view_bytes - view_bytes / 4, "{left}");
    assert!(left > view_bytes / 2, "{left}: no more than had to go");
}

#[test]
fn what_does_not_fit_gives_up_the_oldest_minutes_and_tells() {
    let views = views(12_000);
    for second in 0..3_600_u64 {
        let nanos = 1_000 + second * second * 1_000;
        views.count(
            &[span("api", SpanKind::Server, 1, 0, nanos)],
            T0 + second * SECOND,
        );
    }
    let status = views.status();
    assert!(
        status.bytes < 14_000 && status.minutes_forgotten > 0,
        "{status:?}"
    );
    let hour = Range::Last(Duration::from_secs(3600));
    let (window, services) = views.services_at(hour, T0 + 3_600 * SECOND);
    assert!(window.seconds < 3_600.0, "the window tells of it");
    assert!((services[0].now.count as f64 - window.seconds).abs() <= 10.0);
}
