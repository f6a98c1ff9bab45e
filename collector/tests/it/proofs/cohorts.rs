//! Where the typical and the slow requests of an operation spend their time, against all requests that happened, each taken
//! apart nanosecond by nanosecond.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use super::critical_path::{Timed, owners};
use super::happened::{Happened, Kind, SERVICES, Shape, request};
use super::{Random, SECOND, Subject, between, cases, minutes_ago};

/// Requests of an operation and a minute that are kept; of more only a sample is.
const KEPT: usize = 32;
const MINUTES: u64 = 4;
/// A trace is whole when nothing came for so long.
const QUIET: u64 = 6 * SECOND;

/// Kind, service and operation of a part of critical paths.
type Part = (&'static str, String, String);

/// A request: its nanoseconds, its trace, and what they were spent in.
type Taken = (u64, u64, BTreeMap<Part, u64>);

/// Service and operation.
type Operation = (usize, &'static str);

/// What the time of each entry span of a trace was spent in.
fn taken_apart(number: u64, spans: &[Happened]) -> Vec<(Operation, Taken)> {
    let children =
        |place: usize| (0..spans.len()).filter(move |&at| spans[at].parent == Some(place));
    let timed = spans.iter().enumerate().map(|(place, span)| Timed {
        start: span.start,
        end: span.end,
        children: children(place).collect(),
    });
    let timed: Vec<_> = timed.collect();
    let part = |place: usize| -> Part {
        let span = &spans[place];
        let service = || SERVICES[span.service].to_owned();
        if !matches!(span.kind, Kind::Client | Kind::Producer) {
            return ("work", service(), span.name.to_owned());
        }
        let servers = children(place).filter(|&at| spans[at].kind == Kind::Server);
        let servers: Vec<_> = servers
            .map(|at| SERVICES[spans[at].service].to_owned())
            .collect();
        match &servers[..] {
            [] => (
                "call",
                span.peer.unwrap_or("(unknown peer)").to_owned(),
                span.name.to_owned(),
            ),
            [server] => ("network", service(), server.clone()),
            [server, ..] => ("call", server.clone(), span.name.to_owned()),
        }
    };
    let entries = spans.iter().enumerate().filter(|(_, span)| span.is_entry());
    entries
        .map(|(place, span)| {
            let mut spent = BTreeMap::new();
            for owner in owners(&timed, place) {
                *spent.entry(part(owner)).or_default() += 1;
            }
            ((span.service, span.name), (span.nanos(), number, spent))
        })
        .collect()
}

/// Mean seconds of some requests, whole and by part.
fn mean(requests: &[&Taken]) -> (f64, BTreeMap<Part, f64>) {
    let each = 1e-9 / requests.len() as f64;
    let mut parts = BTreeMap::new();
    for (_, _, spent) in requests {
        for (part, nanos) in spent {
            *parts.entry(part.clone()).or_default() += *nanos as f64 * each;
        }
    }
    let whole = requests
        .iter()
        .map(|(nanos, ..)| *nanos as f64 * each)
        .sum();
    (whole, parts)
}

fn close(told: &Value, wanted: f64, of: &dyn std::fmt::Debug) {
    let told = told.as_f64().unwrap();
    assert!(
        (told - wanted).abs() < 1e-12,
        "{told}, {wanted} wanted: {of:?}"
    );
}

/// Holds an operation's report against all of its requests.
fn check(report: &Value, requests: &mut [Taken]) {
    requests.sort();
    assert_eq!(report["requests"], requests.len());
    let rank = |percent: usize| requests[(requests.len() * percent).div_ceil(100) - 1].0;
    let (median, p95) = (rank(50), rank(95));
    let typical: Vec<_> = requests
        .iter()
        .filter(|(nanos, ..)| *nanos <= median)
        .collect();
    let slow: Vec<_> = requests
        .iter()
        .filter(|(nanos, ..)| *nanos >= p95)
        .collect();
    let mut columns = Vec::new();
    for (name, cohort) in [("typical", &typical), ("slow", &slow)] {
        assert_eq!(report[name]["requests"], cohort.len(), "{name}");
        let (whole, parts) = mean(cohort);
        close(&report[name]["seconds"], whole, &name);
        close(
            &Value::from(parts.values().sum::<f64>()),
            whole,
            &"they add up",
        );
        columns.push(parts);
    }
    let told = report["parts"].as_array().unwrap();
    let mut named: Vec<Part> = columns
        .iter()
        .flat_map(|parts| parts.keys().cloned())
        .collect();
    named.sort();
    named.dedup();
    assert_eq!(told.len(), named.len(), "{told:?}");
    let difference = |part: &Value| part["difference"].as_f64().unwrap();
    assert!(
        told.windows(2)
            .all(|pair| difference(&pair[0]) >= difference(&pair[1]))
    );
    for part in named {
        let is = |told: &&Value| {
            told["kind"] == part.0 && told["service"] == *part.1 && told["operation"] == *part.2
        };
        let told = told.iter().find(is).unwrap();
        let [typical, slow] =
            [0, 1].map(|at: usize| columns[at].get(&part).copied().unwrap_or(0.0));
        close(&told["typical"], typical, &part);
        close(&told["slow"], slow, &part);
        close(&told["difference"], slow - typical, &part);
    }
}

/// Sends the traces, spread over some minutes, and checks the report of each operation.
fn sent_and_told(random: &mut Random, traces: usize, shape: Shape, offsets: [i64; 4]) {
    let subject = Subject::new();
    let begun = minutes_ago(MINUTES + 1);
    let mut all: BTreeMap<Operation, Vec<Taken>> = BTreeMap::new();
    let mut in_minute: BTreeMap<(Operation, u64), usize> = BTreeMap::new();
    for number in 1..=traces as u64 {
        let spans = request(random, shape);
        let arrived = begun + number * MINUTES * 60 * SECOND / (traces as u64 + 1);
        for (place, span) in spans.iter().enumerate() {
            let clock = arrived.saturating_add_signed(offsets[span.service] * SECOND as i64);
            let sent = span.sent(number, place, clock);
            let request = super::request([(SERVICES[span.service].to_owned(), vec![sent])]);
            subject.take(&request, arrived);
        }
        for (operation, taken) in taken_apart(number, &spans) {
            let minute = arrived / (60 * SECOND);
            *in_minute.entry((operation, minute)).or_default() += 1;
            all.entry(operation).or_default().push(taken);
        }
    }
    let ended = begun + MINUTES * 60 * SECOND;
    subject.views.tick(ended + QUIET);
    let sampled = |operation| {
        let minutes = in_minute
            .iter()
            .filter(|((other, _), _)| *other == operation);
        minutes.map(|(_, &count)| count).max() > Some(KEPT)
    };
    for (service, name) in SERVICES.iter().enumerate() {
        let range = between(begun, ended);
        let own = all.iter_mut().filter(|((other, _), _)| *other == service);
        let mut own = own.peekable();
        // A service that took part in nothing is not known.
        if own.peek().is_none() {
            continue;
        }
        let report = subject.ask(&format!("/api/v1/services/{name}/critical-path?{range}"));
        let reports = report["items"].as_array().unwrap();
        for ((_, name), requests) in own {
            let report = reports
                .iter()
                .find(|report| report["operation"] == *name)
                .unwrap();
            if !sampled((service, *name)) {
                check(report, requests);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(40))]
    /// On one clock, whatever runs side by side.
    #[test]
    fn cohorts_are_those_of_all_requests(seed in any::<u64>(), traces in 1..40_usize) {
        let shape = Shape { magnitude: 8, parallel: true, given_up: false, retries: true };
        sent_and_told(&mut Random::seed_from_u64(seed), traces, shape, [0; 4]);
    }

    /// One call after the other, whatever the clocks say.
    #[test]
    fn clocks_change_nothing_about_cohorts(seed in any::<u64>(), traces in 1..40_usize) {
        let shape = Shape { magnitude: 8, parallel: false, given_up: false, retries: false };
        let mut random = Random::seed_from_u64(seed);
        let offsets = [0; 4].map(|_: i32| random.random_range(-600..600));
        sent_and_told(&mut random, traces, shape, offsets);
    }
}
