//! Counts and percentiles against all durations that were sent.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use super::super::process::{Collector, get, post};
use super::{
    Random, SECOND, Subject, between, cases, check_near, is_full, minutes_ago, request, window,
};
use bellwether_collector::status::now_unix_nano;

const SLOT: u64 = 10 * SECOND;
const PERCENTILES: [(&str, usize); 6] = [
    ("p50", 500),
    ("p90", 900),
    ("p95", 950),
    ("p99", 990),
    ("p999", 999),
    ("max", 1_000),
];

/// How durations are spread; a service each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Spread {
    LogNormal,
    Bimodal,
    HeavyTailed,
    Constant,
}

const SPREADS: [Spread; 4] = [
    Spread::LogNormal,
    Spread::Bimodal,
    Spread::HeavyTailed,
    Spread::Constant,
];

impl Spread {
    fn service(self) -> String {
        format!("{self:?}")
    }

    fn nanos(self, random: &mut Random) -> u64 {
        let even = |random: &mut Random| 1.0 - random.random_range(0.0..1.0_f64);
        let normal = |random: &mut Random| {
            let (radius, turn) = (even(random), even(random));
            (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()
        };
        match self {
            Self::LogNormal => (20e6 * (0.8 * normal(random)).exp()) as u64,
            Self::Bimodal if random.random_range(0..10) < 7 => (1e6 + 2e4 * normal(random)) as u64,
            Self::Bimodal => (1e9 + 5e7 * normal(random)) as u64,
            // Pareto: neither its variance nor, but for the end of time, its mean is finite.
            Self::HeavyTailed => (1e3 * even(random).powf(-1.0 / 0.9)).min(1e15) as u64,
            Self::Constant => 12_345_678,
        }
    }
}

fn span(id: u64, nanos: u64) -> Span {
    const START: u64 = 1_700_000_000 * SECOND;
    Span {
        trace_id: (u128::from(id) << 64 | 1).to_be_bytes().into(),
        span_id: id.to_be_bytes().into(),
        kind: 2,
        name: "GET /".to_owned(),
        start_time_unix_nano: START,
        end_time_unix_nano: START + nanos,
        ..Span::default()
    }
}

/// Holds a row against all of its durations, in order.
fn check(row: &Value, sorted: &[u64], seconds: f64) {
    assert_eq!(row["count"], sorted.len(), "{row}");
    let rate = row["rate"].as_f64().unwrap();
    assert!((rate * seconds - sorted.len() as f64).abs() < 1e-6);
    for (name, permille) in PERCENTILES {
        check_near(&row[name], sorted, permille, &(&row["service"], name));
    }
}

/// Holds the services of an answer against all durations that came in its window.
fn check_services(answer: &Value, inside: BTreeMap<Spread, Vec<u64>>) {
    let (from, to) = window(answer);
    let rows = answer["items"].as_array().unwrap();
    assert_eq!(rows.len(), inside.len(), "{answer}");
    for (spread, mut nanos) in inside {
        nanos.sort_unstable();
        let row = rows.iter().find(|row| row["service"] == spread.service());
        check(row.unwrap(), &nanos, (to - from) as f64 / 1e9);
    }
}

/// The durations that came in a window, in order: when, of which service, how long.
fn inside(sent: &[(u64, Spread, u64)], window: Range<u64>) -> BTreeMap<Spread, Vec<u64>> {
    let mut inside: BTreeMap<Spread, Vec<u64>> = BTreeMap::new();
    for &(at, spread, nanos) in sent {
        if window.contains(&at) {
            inside.entry(spread).or_default().push(nanos);
        }
    }
    inside.values_mut().for_each(|nanos| nanos.sort_unstable());
    inside
}

proptest! {
    #![proptest_config(cases(24))]
    #[test]
    fn any_window_tells_what_came_in_it(seed in any::<u64>(), requests in 1..400_u64, most in 1..40_usize) {
        let mut random = Random::seed_from_u64(seed);
        let subject = Subject::new();
        let begun = minutes_ago(58);
        subject.views.tick(begun);
        let length = 57 * 60 * SECOND;
        let mut arrivals: Vec<u64> = (0..requests).map(|_| begun + random.random_range(0..length)).collect();
        arrivals.sort_unstable();
        let mut sent = Vec::new();
        for &at in &arrivals {
            let groups = SPREADS.map(|spread| {
                let spans = (0..random.random_range(0..most)).map(|_| {
                    let nanos = spread.nanos(&mut random);
                    sent.push((at, spread, nanos));
                    span(sent.len() as u64, nanos)
                });
                (spread.service(), spans.collect())
            });
            subject.take(&request(groups), at);
            if random.random_range(0..4) == 0 {
                subject.views.tick(at);
            }
        }
        for _ in 0..12 {
            let from = begun + random.random_range(0..length);
            let to = from + random.random_range(1..length);
            let range = between(from, to);
            let answer = subject.ask(&format!("/api/v1/services?{range}"));
            let (told_from, told_to) = window(&answer);
            prop_assert!(told_from <= from);
            prop_assert!(told_to >= to.min(arrivals.last().unwrap() + 1));
            for spread in inside(&sent, told_from..told_to).into_keys() {
                let path = format!("/api/v1/services/{}/operations?{range}", spread.service());
                let operations = subject.ask(&path);
                // By now it may be a window that is rounded to minutes.
                let (told_from, told_to) = window(&operations);
                let nanos = &inside(&sent, told_from..told_to)[&spread];
                check(&operations["items"][0], nanos, (told_to - told_from) as f64 / 1e9);
            }
            check_services(&answer, inside(&sent, told_from..told_to));
        }
    }
}

/// What one sender sent: durations by the slot in which they arrived, and the slots at whose beginning a request was under
/// way: which slot its spans are in only the collector knows.
#[derive(Default)]
struct Sent {
    by_slot: BTreeMap<u64, Vec<u64>>,
    unclear: Vec<u64>,
}

fn send(collector: &Collector, spread: Spread, spans: u64) -> Sent {
    const SPANS_A_REQUEST: u64 = 5_000;
    let mut random = Random::seed_from_u64(spread as u64 + 1);
    let mut sent = Sent::default();
    for first in (1..=spans).step_by(SPANS_A_REQUEST as usize) {
        let ids = first..(first + SPANS_A_REQUEST).min(spans + 1);
        let nanos: Vec<_> = ids.clone().map(|_| spread.nanos(&mut random)).collect();
        let of_request = ids.zip(&nanos).map(|(id, &nanos)| span(id, nanos));
        let body = request([(spread.service(), of_request.collect())]);
        let before = now_unix_nano() / SLOT;
        assert_eq!(post(&collector.traces(), &body).0, 200);
        let after = now_unix_nano() / SLOT;
        if before != after {
            sent.unclear.extend(before + 1..=after);
        }
        sent.by_slot.entry(after).or_default().extend(nanos);
    }
    sent
}

/// Over sockets: ten million of them at length.
#[test]
fn a_collector_tells_of_ten_million_spans_as_it_promises() {
    let each = if is_full() { 2_500_000 } else { 25_000 };
    let collector = Collector::start(&["--memory-limit", "1GiB"]);
    let begun = Instant::now();
    let sent = std::thread::scope(|scope| {
        let senders = SPREADS.map(|spread| {
            scope.spawn({
                let collector = &collector;
                move || (spread, send(collector, spread, each))
            })
        });
        senders.map(|sender| sender.join().unwrap())
    });
    let took = begun.elapsed();
    let slots = sent
        .iter()
        .flat_map(|(_, sent)| sent.by_slot.keys().copied());
    let (first, last) = (slots.clone().min().unwrap(), slots.max().unwrap());
    let unclear: Vec<u64> = sent
        .iter()
        .flat_map(|(_, sent)| sent.unclear.clone())
        .collect();
    let borders = (first + 1..=last).filter(|slot| !unclear.contains(slot));
    let borders: Vec<u64> = [first]
        .into_iter()
        .chain(borders)
        .chain([last + 1])
        .collect();
    let mut windows = 0;
    for (at, &from) in borders.iter().enumerate() {
        for &to in &borders[at + 1..] {
            let range = between(from * SLOT, to * SLOT);
            let (status, answer) = get(&collector.web(&format!("/api/v1/services?{range}")));
            assert_eq!(status, 200, "{answer}");
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(window(&answer), (from * SLOT, to * SLOT));
            let inside = sent.iter().map(|(spread, sent)| {
                let slots = sent.by_slot.range(from..to);
                (
                    *spread,
                    slots
                        .flat_map(|(_, nanos)| nanos)
                        .copied()
                        .collect::<Vec<_>>(),
                )
            });
            let inside = inside.filter(|(_, nanos)| !nanos.is_empty());
            check_services(&answer, inside.collect());
            windows += 1;
        }
    }
    println!("{} spans in {took:.1?}, {windows} windows", 4 * each);
    collector.stop();
}
