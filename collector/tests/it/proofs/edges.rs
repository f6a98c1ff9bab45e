//! Edges against all calls that happened: retried, handed on, given up, fanned out; their spans lost, in any order, late by
//! any time, on clocks that are minutes off.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use super::happened::{DATABASE, Happened, Kind, SERVICES, Shape, request};
use super::{Random, SECOND, Subject, between, cases, check_near, minutes_ago};

/// A half waits so many seconds for the other one, and a call that is whole so many for one more server span.
const WAIT: u32 = 60;
const LINGER: u32 = 5;
/// Beyond all arrivals and waits.
const END: u32 = 5 * 60;

const SHAPE: Shape = Shape {
    magnitude: 33,
    parallel: true,
    given_up: true,
    retries: true,
};

/// A trace, and when each of its spans comes, in seconds; never, when it is lost.
struct Sent {
    spans: Vec<Happened>,
    arrivals: Vec<Option<u32>>,
}

fn sent(random: &mut Random) -> Sent {
    let spans = request(random, SHAPE);
    let begun = random.random_range(0..60);
    let arrivals = spans.iter().map(|_| {
        let late = match random.random_range(0..20) {
            0..2 => return None,
            2..14 => random.random_range(0..3),
            14..18 => random.random_range(0..12),
            18 => random.random_range(0..WAIT),
            _ => random.random_range(0..2 * WAIT),
        };
        Some(begun + late)
    });
    let arrivals = arrivals.collect();
    Sent { spans, arrivals }
}

/// What an edge comes to.
#[derive(Debug, Default, PartialEq)]
struct Calls {
    /// paired, unpaired, negative, retried, async, failed.
    counts: [u64; 6],
    /// Of calls with one client and one server span.
    clients: Vec<u64>,
    servers: Vec<u64>,
    gaps: Vec<u64>,
    alone: Vec<u64>,
}

type Edges = BTreeMap<(String, String), Calls>;

/// The edges by what happened and what came, and how many calls came without their client span.
fn offline(traces: &[Sent]) -> (Edges, u64) {
    let (mut edges, mut server_only) = (Edges::new(), 0);
    for trace in traces {
        for (place, span) in trace.spans.iter().enumerate() {
            if matches!(span.kind, Kind::Client | Kind::Producer) {
                server_only += call(trace, place, span, &mut edges);
            }
        }
    }
    for calls in edges.values_mut() {
        for nanos in [
            &mut calls.clients,
            &mut calls.servers,
            &mut calls.gaps,
            &mut calls.alone,
        ] {
            nanos.sort_unstable();
        }
    }
    (edges, server_only)
}

/// Counts one call, and tells how often server spans of it were left alone.
fn call(trace: &Sent, place: usize, client: &Happened, edges: &mut Edges) -> u64 {
    let spans = trace.spans.iter().zip(&trace.arrivals);
    let answers = spans.filter(|(span, _)| span.parent == Some(place));
    let mut servers: Vec<(u32, u64, usize)> = answers
        .filter_map(|(span, arrival)| Some(((*arrival)?, span.nanos(), span.service)))
        .collect();
    servers.sort_unstable();
    let mut server_only = 0;
    let Some(client_came) = trace.arrivals[place] else {
        return groups_of(&servers);
    };
    // What came so long before the client span that nobody waited any more.
    while let Some(&(first, ..)) = servers.first()
        && first + WAIT <= client_came
    {
        server_only += 1;
        servers.retain(|&(at, ..)| at >= first + WAIT);
    }
    let first = servers
        .first()
        .map_or(client_came, |&(at, ..)| at.min(client_came));
    let in_time = servers.first().is_some_and(|&(at, ..)| at < first + WAIT);
    let closed = match servers.first() {
        Some(&(at, ..)) if in_time => (at.max(client_came) + LINGER).min(first + WAIT),
        _ => first + WAIT,
    };
    let late = servers.partition_point(|&(at, ..)| at < closed);
    server_only += groups_of(&servers[late..]);
    servers.truncate(late);

    let peer = servers.first().map(|&(.., service)| SERVICES[service]);
    let peer = peer.or(client.peer).unwrap_or("(unknown peer)");
    let ends = (SERVICES[client.service].to_owned(), peer.to_owned());
    let calls = edges.entry(ends).or_default();
    let nanos = client.nanos();
    let class = match &servers[..] {
        [] => {
            calls.alone.push(nanos);
            1
        }
        _ if client.kind == Kind::Producer => 4,
        &[(_, server, _)] => {
            calls.clients.push(nanos);
            calls.servers.push(server);
            calls.gaps.extend(nanos.checked_sub(server));
            if nanos < server { 2 } else { 0 }
        }
        _ => 3,
    };
    calls.counts[class] += 1;
    calls.counts[5] += u64::from(client.failed);
    server_only
}

/// How many groups of server spans wait together, each from its first one on.
fn groups_of(servers: &[(u32, u64, usize)]) -> u64 {
    let mut groups = 0;
    let mut until = 0;
    for &(at, ..) in servers {
        if at >= until {
            groups += 1;
            until = at + WAIT;
        }
    }
    groups
}

/// What the API tells of them when they come as said, their services' clocks off by so many seconds.
fn online(traces: &[Sent], random: &mut Random, offsets: [i64; 4]) -> (Value, u64) {
    let subject = Subject::new();
    let begun = minutes_ago(30);
    let mut arriving: BTreeMap<u32, Vec<(usize, usize)>> = BTreeMap::new();
    for (number, trace) in traces.iter().enumerate() {
        for (place, arrival) in trace.arrivals.iter().enumerate() {
            if let Some(arrival) = arrival {
                arriving.entry(*arrival).or_default().push((number, place));
            }
        }
    }
    for second in 0..END {
        let now = begun + u64::from(second) * SECOND;
        subject.views.tick(now);
        let mut come = arriving.remove(&second).unwrap_or_default();
        come.shuffle(random);
        let spans = come.into_iter().map(|(number, place)| {
            let span = &traces[number].spans[place];
            let clock = now.saturating_add_signed(offsets[span.service] * SECOND as i64);
            let sent = span.sent(number as u64 + 1, place, clock);
            (SERVICES[span.service].to_owned(), vec![sent])
        });
        let spans: Vec<_> = spans.collect();
        for batch in spans.chunks(7) {
            subject.take(&super::request(batch.to_vec()), now);
        }
    }
    let range = between(begun, begun + u64::from(END) * SECOND);
    let mut map = subject.ask(&format!("/api/v1/map?{range}"));
    // Halves of the range hold the whole of it.
    let middle = begun + 120 * SECOND;
    let parts = [(begun, middle), (middle, begun + u64::from(END) * SECOND)].map(|(from, to)| {
        let part = subject.ask(&format!("/api/v1/map?{}", between(from, to)));
        counted(&part)
    });
    assert_eq!(parts[0] + parts[1], counted(&map));
    let status = subject.ask("/api/v1/status");
    map["window"] = Value::Null;
    let server_only = &status["views"]["server_spans_without_client"];
    (map, server_only.as_u64().unwrap())
}

fn counted(map: &Value) -> u64 {
    let edges = map["edges"].as_array().unwrap();
    edges
        .iter()
        .map(|edge| edge["count"].as_u64().unwrap())
        .sum()
}

fn check(map: &Value, edges: &Edges) {
    let told = map["edges"].as_array().unwrap();
    let ends = |edge: &Value| {
        let end = |name: &str| edge[name].as_str().unwrap().to_owned();
        (end("client"), end("server"))
    };
    let seen: Vec<_> = told.iter().map(ends).collect();
    assert!(edges.keys().eq(seen.iter()), "{seen:?}");
    for (told, (ends, calls)) in told.iter().zip(edges) {
        let counts = ["paired", "unpaired", "negative", "retried", "async"];
        let counts = counts.map(|class| told[class].as_u64().unwrap());
        assert_eq!(counts[..], calls.counts[..5], "{ends:?}");
        let count: u64 = counts.iter().sum();
        assert_eq!(told["count"], count);
        let errors = told["error_ratio"].as_f64().unwrap() * count as f64;
        assert_eq!(errors.round() as u64, calls.counts[5]);
        let clients = if calls.clients.is_empty() {
            &calls.alone
        } else {
            &calls.clients
        };
        for (percentile, permille) in [("p50", 500), ("p90", 900), ("p99", 990)] {
            for (side, nanos) in [
                ("client", clients),
                ("server", &calls.servers),
                ("gap", &calls.gaps),
            ] {
                let name = format!("{side}_{percentile}");
                check_near(&told[&name], nanos, permille, &(ends, &name));
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]
    #[test]
    fn every_call_is_on_its_edge_in_its_class_whatever_the_clocks_say(seed in any::<u64>(), traces in 1..60_usize) {
        let mut random = Random::seed_from_u64(seed);
        let traces: Vec<_> = (0..traces).map(|_| sent(&mut random)).collect();
        let (edges, server_only) = offline(&traces);
        let (map, alone) = online(&traces, &mut random, [0; 4]);
        check(&map, &edges);
        prop_assert_eq!(alone, server_only);
        let offsets = [0; 4].map(|_: i32| random.random_range(-600..600));
        let (other, _) = online(&traces, &mut random, offsets);
        prop_assert_eq!(map, other);
    }
}

/// What the property is worth: the traffic has every class.
#[test]
fn the_traffic_has_every_class_of_call() {
    let mut random = Random::seed_from_u64(7);
    let traces: Vec<_> = (0..2_000).map(|_| sent(&mut random)).collect();
    let (edges, server_only) = offline(&traces);
    let mut counts = [0; 6];
    for calls in edges.values() {
        for (sum, count) in counts.iter_mut().zip(calls.counts) {
            *sum += count;
        }
    }
    assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
    assert!(server_only > 50);
    assert!(edges.keys().any(|(_, server)| server == DATABASE));
}
