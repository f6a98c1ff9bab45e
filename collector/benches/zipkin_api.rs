//! How long each of Zipkin's questions takes of 60 MiB of kept traces, alone and while half a million spans a second are
//! counted. Budget: 50 ms, the worst of fifty.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use bellwether_collector::views::{Config, Views};
use bellwether_collector::web::{Web, zipkin_router};
use bellwether_collector::wire::{SpanRef, walk};
use tower::ServiceExt as _;

/// Twenty in a row hold whole traces, of sixty spans.
const REQUESTS: u64 = 20;
const SPANS: usize = 512;
const SPANS_A_SECOND: u64 = 500_000;
const ASKED: usize = 50;
/// When the shop's spans began, and how long after that (milliseconds).
const RANGE: &str = "endTs=1700000002000&lookback=100000";

const QUESTIONS: [(&str, &str); 14] = [
    ("services", "services"),
    ("names of spans", "spans?serviceName=gateway"),
    ("remote services", "remoteServices?serviceName=gateway"),
    ("values of a tag", "autocompleteValues?key=url.path"),
    ("dependencies", "dependencies?"),
    ("10 traces", "traces?"),
    ("1,000 traces", "traces?limit=1000"),
    ("of a service", "traces?serviceName=gateway"),
    ("that nobody called", "traces?remoteServiceName=nobody"),
    ("of that duration", "traces?minDuration=39000"),
    ("failed", "traces?annotationQuery=error"),
    (
        "a tag that is there",
        "traces?annotationQuery=http.request.method%3DPOST",
    ),
    (
        "a value that is not",
        "traces?annotationQuery=http.request.method%3DPUT",
    ),
    ("a tag that is not", "traces?annotationQuery=nothing"),
];

/// Counts the shop's spans, each turn of twenty requests with traces of its own.
struct Sender {
    requests: Vec<Vec<u8>>,
    turn: AtomicU64,
}

impl Sender {
    fn send(&self, views: &Views) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut spans: Vec<SpanRef<'_>> = Vec::with_capacity(SPANS);
        let request = &self.requests[(turn % REQUESTS) as usize];
        walk(request, |span| spans.push(span)).expect("the bench's own request");
        for span in &mut spans {
            let low: [u8; 8] = *span.trace_id.last_chunk().expect("half an id");
            let low = u64::from_be_bytes(low) ^ (turn / REQUESTS);
            span.trace_id[8..].copy_from_slice(&low.to_be_bytes());
        }
        views.count(&spans, 1_800_000_000_000_000_000 + turn * 1_000_000);
    }
}

async fn ask(router: &Router, question: &str) -> (Duration, usize) {
    let joint = if question.contains('?') { "&" } else { "?" };
    let request =
        Request::get(format!("/api/v2/{question}{joint}{RANGE}")).header("host", "localhost");
    let request = request.body(Body::empty()).expect("a question");
    let asked = Instant::now();
    let response = router.clone().oneshot(request).await.expect("an answer");
    assert!(response.status().is_success(), "{question}: {response:?}");
    let body = to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("all of it");
    (asked.elapsed(), body.len())
}

async fn table(router: &Router) {
    println!("{:>20} {:>9} {:>9} {:>9}", "ms", "median", "worst", "bytes");
    for (name, question) in QUESTIONS {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..ASKED {
            let (time, length) = ask(router, question).await;
            times.push(time.as_secs_f64() * 1e3);
            bytes = length;
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{name:>20} {:>9.1} {:>9.1} {bytes:>9}",
            times[ASKED / 2],
            times[ASKED - 1]
        );
    }
}

/// Counts at a steady rate until `stop` or for so long; what a batch takes then.
fn count_for(sender: &Sender, views: &Views, stop: &AtomicBool, most: Duration) -> String {
    let turn = Duration::from_nanos(1_000_000_000 * SPANS as u64 / SPANS_A_SECOND);
    let (mut times, begun) = (Vec::new(), Instant::now());
    while !stop.load(Ordering::Relaxed) && begun.elapsed() < most {
        let sent = Instant::now();
        sender.send(views);
        times.push(sent.elapsed());
        thread::park_timeout(turn.saturating_sub(sent.elapsed()));
    }
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 1_000];
    format!("{:?}, p99 {:?}, worst {:?}", at(500), at(990), at(1_000))
}

#[tokio::main]
async fn main() {
    let views = Arc::new(Views::new(Config {
        retention: Duration::from_secs(3600),
        trace_bytes: 60 << 20,
        view_bytes: 64 << 20,
    }));
    let sender = Arc::new(Sender {
        requests: (0..REQUESTS)
            .map(|seed| support::request(seed, SPANS))
            .collect(),
        turn: AtomicU64::new(0),
    });
    let (_close, closing) = tokio::sync::watch::channel(false);
    let router = zipkin_router(Web {
        autocomplete_keys: Arc::from(["url.path".to_owned()]),
        ..Web::new(Arc::clone(&views), Arc::default(), closing)
    });
    while views.status().traces == 0 || views.status().trace_bytes < 59 << 20 {
        sender.send(&views);
    }
    println!("{:?}", views.status());
    table(&router).await;

    let never = AtomicBool::new(false);
    let alone = count_for(&sender, &views, &never, Duration::from_secs(3));
    println!("a batch is counted in {alone}");
    let stop = Arc::new(AtomicBool::new(false));
    let (counting, counted) = (Arc::clone(&stop), Arc::clone(&views));
    let counter =
        thread::spawn(move || count_for(&sender, &counted, &counting, Duration::from_secs(60)));
    println!("while {SPANS_A_SECOND} spans a second are counted:");
    table(&router).await;
    stop.store(true, Ordering::Relaxed);
    let beside = counter.join().expect("counted");
    println!("a batch is counted in {beside}");
    println!("{:?}", views.status());
}
