//! What a request waits while a scrape is under way, scrape after scrape, on a service with one worker.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use bellwether::Kit;
use prometheus_client::encoding::text;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// One a millisecond.
const REQUESTS: u32 = 5_000;
const EACH: Duration = Duration::from_millis(1);

/// Rendered by a handler, on the worker itself: what the kit avoids.
const ON_THE_WORKER: &str = "/on-the-worker";

pub(crate) fn print(kit: &Kit, runtime: Runtime) {
    let address = serve(kit, runtime);
    for (name, path) in [
        ("no scrape", None),
        ("kit's /metrics", Some("/metrics")),
        ("rendered on the worker", Some(ON_THE_WORKER)),
    ] {
        let (scrapes, mut waits) = measure(address, path);
        waits.sort_unstable();
        let at = |percent| super::milliseconds(super::percentile(&waits, percent));
        println!(
            "{name:32}p50 {:6.2} ms   p99 {:6.2} ms   max {:6.2} ms   {scrapes:4} scrapes",
            at(50),
            at(99),
            at(100),
        );
    }
}

/// The service, on the one thread of `runtime` to the end of the process.
fn serve(kit: &Kit, runtime: Runtime) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    let rendered = kit.clone();
    let on_the_worker = move || {
        let mut out = String::new();
        let written = text::encode(&mut out, &rendered.registry());
        std::future::ready(written.map(|()| out).unwrap_or_default())
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route(ON_THE_WORKER, get(on_the_worker));
    let app = kit.wrap(app);
    std::thread::spawn(move || runtime.block_on(axum::serve(listener, app).into_future()));
    address
}

#[expect(
    clippy::disallowed_methods,
    reason = "requests come at their time, on a thread of their own"
)]
/// How many scrapes there were, and what each request waited.
fn measure(address: SocketAddr, scraped: Option<&str>) -> (usize, Vec<Duration>) {
    let (over, scrapes) = (AtomicBool::new(false), AtomicUsize::new(0));
    let waits = std::thread::scope(|scope| {
        if let Some(path) = scraped {
            scope.spawn(|| {
                let mut scraper = Client::to(address);
                while !over.load(Ordering::Relaxed) {
                    scraper.get(path);
                    scrapes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut client = Client::to(address);
        let began = Instant::now();
        let waits = (1..=REQUESTS).map(|number| {
            std::thread::sleep((EACH * number).saturating_sub(began.elapsed()));
            let asked = Instant::now();
            client.get("/");
            asked.elapsed()
        });
        let waits = waits.collect();
        over.store(true, Ordering::Relaxed);
        waits
    });
    (scrapes.into_inner(), waits)
}

/// HTTP/1.1 over one connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Self(BufReader::with_capacity(1 << 20, stream))
    }

    fn get(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let sent = self.0.get_mut().write_all(request.as_bytes());
        sent.expect("a request sent");
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a head");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().expect("a length");
            }
        }
        let mut body = self.0.by_ref().take(length);
        std::io::copy(&mut body, &mut std::io::sink()).expect("a body");
    }
}
