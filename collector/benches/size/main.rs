//! The views at size: 200 services with 1,000 operations and 1,000 edges, an hour of data. What memory that takes, and how
//! long every page and every answer of the API takes while spans come in at half of what one processor can take. Results:
//! `docs/views.md`.
//!
//! `cargo bench -p bellwether-collector --bench size` prints the tables (`-- map`: of the addresses that hold `map` alone);
//! `cargo test` asks everything once, over less.

#![allow(clippy::unwrap_used, reason = "in a bench a fault is a failure")]

#[path = "../support/fresh.rs"]
mod fresh;
mod town;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use bellwether_collector::intake::Intake;
use bellwether_collector::log::BatchLog;
use bellwether_collector::signal::Signal;
use bellwether_collector::status::{ReceiverStatus, now_unix_nano};
use bellwether_collector::views::report::ViewsStatus;
use bellwether_collector::views::{Config, Order, Range, TraceQuery, Views};
use bellwether_collector::web::{self, Web};
use fresh::fresh;
use futures_util::FutureExt as _;
use tower::ServiceExt as _;
use town::{CALLEES_A_SERVICE, OPERATIONS_A_SERVICE, Town};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SECOND: u64 = 1_000_000_000;
const SLOT: u64 = 10 * SECOND;
const SPANS_A_BATCH: usize = 512;
const MIB: f64 = (1 << 20) as f64;

/// How much of everything.
struct Size {
    services: usize,
    /// To each callee in ten seconds.
    calls: usize,
    minutes: u64,
    /// That come in while pages are asked for: half of the 1.2 M that one processor is to take.
    spans_a_second: u64,
    /// Times that each address is asked, and how long at most.
    asks: usize,
    patience: Duration,
}

const FULL: Size = Size {
    services: 200,
    calls: 40,
    minutes: 60,
    spans_a_second: 600_000,
    asks: 100,
    patience: Duration::from_secs(1),
};

const SHORT: Size = Size {
    services: 100,
    calls: 2,
    minutes: 10,
    spans_a_second: 20_000,
    asks: 1,
    patience: Duration::ZERO,
};

fn main() {
    #[cfg(feature = "jemalloc")]
    bellwether_collector::allocator::settle();
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let size = if is_bench { FULL } else { SHORT };
    let town = Town::new(size.services, size.calls);
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    if only.is_some() {
        speed(&size, &town, only.as_deref());
        return;
    }
    let told = memory(&size, &town);
    speed(&size, &town, None);
    assert_eq!(told.minutes_forgotten, 0, "all of it fits");
    assert_eq!(told.spans_in_overflow_operations, 0);
    assert_eq!(told.calls_in_overflow_edges, 0);
}

/// Without kept traces to speak of, so that what the process grows by is the views'.
fn memory(size: &Size, town: &Town) -> ViewsStatus {
    let before = resident_bytes();
    let views = filled(size, town, 1 << 20);
    // What was freed is given back after a fifth of a second.
    std::thread::park_timeout(Duration::from_secs(1));
    let grown = resident_bytes().saturating_sub(before);
    let told = views.status();
    println!(
        "views told {:.1} MiB, the process grew by {:.1} MiB (kept traces {:.1} MiB); {told:?}",
        told.bytes as f64 / MIB,
        grown as f64 / MIB,
        told.trace_bytes as f64 / MIB,
    );
    tell_parts(&views);
    let hour = Range::Last(Duration::from_secs(3_600));
    let (_, services) = views.services(hour);
    assert_eq!(services.len(), size.services);
    let map = views.map(hour);
    assert_eq!(map.edges.len(), size.services * CALLEES_A_SERVICE);
    let (_, operations) = views.operations(town.name(0), hour).unwrap();
    assert_eq!(operations.len(), OPERATIONS_A_SERVICE);
    println!(
        "{} services, {} operations, {} edges",
        services.len(),
        size.services * operations.len(),
        map.edges.len()
    );
    told
}

fn tell_parts(views: &Views) {
    println!("| what | MiB |\n| --- | --: |");
    for (part, bytes) in views.bytes_by_part() {
        println!("| {part} | {:.1} |", bytes as f64 / MIB);
    }
}

/// Views with so many minutes of the town's traffic, up to now.
fn filled(size: &Size, town: &Town, trace_bytes: usize) -> Views {
    let views = Views::new(Config {
        retention: Duration::from_secs(3_600),
        trace_bytes,
        view_bytes: 64 << 20,
    });
    let begun = Instant::now();
    let mut arrived = now_unix_nano() - size.minutes * 60 * SECOND;
    while arrived < now_unix_nano() {
        for service in 0..town.len() {
            arrived += SLOT / town.len() as u64;
            let sketches = town.sketches(arrived / SLOT, service);
            let spans: Vec<_> = sketches
                .iter()
                .map(|sketch| town.refer(service, sketch, arrived))
                .collect();
            for batch in spans.chunks(SPANS_A_BATCH) {
                views.count(batch, arrived);
            }
        }
        // As the pipeline's clock does.
        views.tick(arrived);
    }
    let spans = views.spans_counted();
    println!("{spans} spans counted in {:.1?}", begun.elapsed());
    views
}

fn speed(size: &Size, town: &Town, only: Option<&str>) {
    let views = Arc::new(filled(size, town, 64 << 20));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_close, closing) = tokio::sync::watch::channel(false);
    let router = web::router(Web::new(Arc::clone(&views), Arc::default(), closing));
    let mut addresses = addresses(&views, town);
    addresses.retain(|address| only.is_none_or(|only| address.contains(only)));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| ingest(size, town, &views, &stop));
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                views.tick(now_unix_nano());
                std::thread::park_timeout(Duration::from_secs(1));
            }
        });
        println!("| address | KiB | asked | p50 ms | p99 ms |\n| --- | --: | --: | --: | --: |");
        for address in addresses {
            let mut took = Vec::new();
            let mut bytes = 0;
            let begun = Instant::now();
            while took.is_empty() || (took.len() < size.asks && begun.elapsed() < size.patience) {
                let asked = Instant::now();
                bytes = runtime.block_on(ask(&router, &address));
                took.push(asked.elapsed().as_secs_f64() * 1e3);
            }
            took.sort_by(f64::total_cmp);
            let at = |permille: usize| took[(took.len() * permille).div_ceil(1_000) - 1];
            println!(
                "| {address} | {} | {} | {:.1} | {:.1} |",
                bytes / 1_024,
                took.len(),
                at(500),
                at(990)
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{:?}", views.status());
    tell_parts(&views);
}

/// Every page and every answer of the API: over the last five minutes and over the hour, where that makes a difference.
fn addresses(views: &Views, town: &Town) -> Vec<String> {
    let (service, callee) = (town.name(7), town.name(8));
    let query = TraceQuery {
        order: Order::Slowest,
        limit: 1,
        ..TraceQuery::default()
    };
    let (_, traces) = views.traces(&query, Range::Last(Duration::from_secs(3_600)));
    let trace = &traces[0].trace_id;
    let windowed = [
        "/".to_owned(),
        format!("/services/{service}"),
        "/map".to_owned(),
        "/traces".to_owned(),
        "/api/v1/services".to_owned(),
        format!("/api/v1/services/{service}/operations"),
        format!("/api/v1/services/{service}/heatmap"),
        format!("/api/v1/services/{service}/critical-path"),
        "/api/v1/map".to_owned(),
        "/api/v1/traces".to_owned(),
    ];
    let windowed = windowed
        .iter()
        .flat_map(|path| ["5m", "1h"].map(|window| format!("{path}?window={window}")));
    let others = [
        format!("/map?window=1h&focus={service}"),
        format!("/edges?window=1h&client={service}&server={callee}"),
        format!("/api/v1/edges?window=1h&client={service}&server={callee}"),
        format!("/api/v1/services/{service}/heatmap?window=1h&operation=GET"),
        format!("/api/v1/traces?window=1h&service={service}&operation=GET&order=slowest"),
        format!("/api/v1/traces?window=1h&service={service}&span_min=5ms&span_max=6ms"),
        "/api/v1/traces?window=1h&error=true&limit=1000".to_owned(),
        "/api/v1/traces?window=1h&attr=http.route:/nowhere".to_owned(),
        format!("/traces/{trace}"),
        format!("/api/v1/traces/{trace}"),
        "/status".to_owned(),
        "/api/v1/status".to_owned(),
    ];
    windowed.chain(others).collect()
}

/// The bytes of an answer, which must be a good one.
async fn ask(router: &axum::Router, address: &str) -> usize {
    let request = Request::get(address).header("host", "localhost");
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap());
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200, "{address}");
    let body = axum::body::to_bytes(response.into_body(), usize::MAX);
    body.await.unwrap().len()
}

/// Takes the town's spans at the size's rate until told to stop, with new trace ids in each round.
fn ingest(size: &Size, town: &Town, views: &Arc<Views>, stop: &AtomicBool) {
    let (log, _) = BatchLog::in_memory(64 << 20, Vec::new());
    let intake = Intake::new(log, Arc::clone(views));
    let status = ReceiverStatus::listening("otlp-grpc", "127.0.0.1:4317".to_owned());
    let mut requests = Vec::new();
    for service in 0..town.len() {
        let sketches = town.sketches(0, service);
        for batch in sketches.chunks(SPANS_A_BATCH) {
            requests.push(town.request(service, batch, now_unix_nano()));
        }
    }
    let begun = Instant::now();
    let (mut spans, mut busy, mut longest) = (0_u64, Duration::ZERO, Duration::ZERO);
    'rounds: for round in 1_u64.. {
        for request in &requests {
            if stop.load(Ordering::Relaxed) {
                break 'rounds;
            }
            let batch = fresh(request, round);
            let taken = Instant::now();
            let admitted = intake.admit(Signal::Traces, batch, &status).now_or_never();
            spans += admitted.unwrap().unwrap();
            busy += taken.elapsed();
            longest = longest.max(taken.elapsed());
            let due = Duration::from_nanos(spans * SECOND / size.spans_a_second);
            std::thread::park_timeout(due.saturating_sub(begun.elapsed()));
        }
    }
    println!(
        "{:.0} spans/s came in, {:.0} ns a span, longest batch {longest:.1?}",
        spans as f64 / begun.elapsed().as_secs_f64(),
        busy.as_nanos() as f64 / spans as f64,
    );
}

/// Memory that the process holds; 0 where that cannot be read.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1_024
}
