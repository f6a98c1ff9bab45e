//! Searching kept traces, 60 MiB of them, while spans go on coming. Budget: 50 ms for any page and answer.
//!
//! The traces are the 20-service shop's. Each question runs with one thread counting spans in beside it, as fast as 20 k
//! spans a second come.

mod support;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use bellwether_collector::views::{Config, Order, Range, TraceQuery, Views};
use bellwether_collector::wire::walk;
use criterion::{Criterion, criterion_group, criterion_main};

const HOUR: Duration = Duration::from_secs(3_600);
/// Spans of one request; twenty requests, one of each service, hold whole traces.
const SPANS: usize = 100;

fn searches(criterion: &mut Criterion) {
    let views = Views::new(Config {
        retention: HOUR,
        trace_bytes: 64 << 20,
        view_bytes: 64 << 20,
    });
    // Slowly enough for all to be taken, up to now.
    let mut at = now() - 3_000 * 1_000_000_000;
    let mut seed = 0;
    while views.status().trace_bytes < 60 << 20 {
        send(&views, seed, at);
        seed += 1;
        at += 300_000_000;
    }
    println!("{:?}", views.status());
    let none = || TraceQuery {
        limit: 50,
        ..TraceQuery::default()
    };
    let attribute = |key: &str, value: &str| TraceQuery {
        attributes: vec![(key.to_owned(), value.to_owned())],
        ..none()
    };
    let questions = [
        ("newest", none()),
        (
            "slowest of a service",
            TraceQuery {
                service: Some("ledger".to_owned()),
                order: Order::Slowest,
                ..none()
            },
        ),
        (
            "an operation that nobody has",
            TraceQuery {
                operation: Some("GET /nowhere".to_owned()),
                ..none()
            },
        ),
        (
            "an attribute that nobody has",
            attribute("customer.id", "4711"),
        ),
        (
            "a value that nobody has",
            attribute("http.request.method", "BREW"),
        ),
        (
            "a number that nobody has",
            attribute("http.response.status_code", "418"),
        ),
    ];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seed in seed.. {
                if done.load(Relaxed) {
                    break;
                }
                send(&views, seed, now());
                std::thread::park_timeout(Duration::from_micros(
                    1_000_000 / (20_000 / SPANS as u64),
                ));
            }
        });
        let mut group = criterion.benchmark_group("60 MiB");
        for (name, query) in questions {
            group.bench_function(name, |bencher| {
                bencher.iter(|| black_box(views.traces(&query, Range::Last(HOUR))));
            });
        }
        group.finish();
        done.store(true, Relaxed);
    });
}

fn send(views: &Views, seed: u64, at: u64) {
    let request = support::request(seed, SPANS);
    let mut spans = Vec::new();
    walk(&request, |span| spans.push(span)).expect("the bench's own request");
    views.count(&spans, at);
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = searches
}
criterion_main!(benches);
