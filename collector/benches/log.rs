//! Admission as in `intake`, into each kind of log: what a data directory costs. Many senders at once, so that batches
//! are synced together, and an exporter that keeps up. Tells wall and processor time (user and system, all threads) a
//! span; Linux only. The directory is made where `TMPDIR` says: put it on the disk that matters.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwether_collector::intake::Intake;
use bellwether_collector::log::disk::{DiskConfig, Durability};
use bellwether_collector::log::{BatchLog, Cursor, OnFull, ReaderConfig};
use bellwether_collector::signal::Signal;
use bellwether_collector::status::{ExporterStatus, LogStatus, ReceiverStatus};
use bellwether_collector::views::{Config, Views};
use bytes::Bytes;
use tempfile::TempDir;

const SENDERS: usize = 32;
/// Spans admitted in each case.
const SPANS: usize = 3_000_000;
const MEMORY: usize = 64 << 20;
/// Of `/proc/self/stat`.
const TICKS_A_SECOND: f64 = 100.0;

fn main() {
    for spans in [100, 512, 4096] {
        for durability in [None, Some(Durability::Received), Some(Durability::Synced)] {
            let directory = TempDir::new().expect("a directory");
            let name = durability.map_or("memory", Durability::name);
            let (log, cursor) = open(&directory, durability);
            let (wall, processor) = measure(&log, cursor, spans);
            println!(
                "{spans:>4} spans a request, {name:<8}  {:>6.0} ns wall, {:>6.0} ns processor a span",
                wall * 1e9 / SPANS as f64,
                processor * 1e9 / SPANS as f64,
            );
        }
    }
    for spans in [1, 512] {
        start(spans);
    }
}

/// Tells how long a start takes with 700 MB waiting, in requests of so many spans.
fn start(spans: usize) {
    let directory = TempDir::new().expect("a directory");
    let (log, cursor) = open(&directory, Some(Durability::Received));
    let request = Bytes::from(support::request(0, spans));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let requests = 700_000_000 / request.len();
    let mut left = requests;
    runtime.block_on(async {
        while left > 0 {
            // No more at once than the memory holds.
            let some = left.min(MEMORY / 4 / (request.len() + 128));
            let appends =
                (0..some).map(|_| log.append(Signal::Traces, request.clone(), spans as u64));
            let appended = futures_util::future::join_all(appends).await;
            left -= some;
            assert!(appended.iter().all(Result::is_ok), "room");
        }
    });
    drop((log, cursor));
    let began = Instant::now();
    let (_log, cursor) = open(&directory, Some(Durability::Received));
    let took = began.elapsed().as_secs_f64();
    assert_eq!(cursor.unsent().traces, (requests * spans) as u64);
    println!(
        "start with {requests} requests of {spans} spans waiting: {:.0} ms",
        took * 1e3
    );
}

fn open(directory: &TempDir, durability: Option<Durability>) -> (BatchLog, Cursor) {
    let readers = vec![ReaderConfig {
        status: Arc::new(ExporterStatus::named("one that keeps up")),
        on_full: OnFull::Refuse,
    }];
    let (log, mut cursors) = match durability {
        None => BatchLog::in_memory(MEMORY, readers),
        Some(durability) => {
            let config = DiskConfig {
                directory: directory.path().to_owned(),
                durability,
                limit: 1 << 30,
                retention: Duration::from_secs(3_600),
            };
            let status = Arc::new(LogStatus::default());
            let opened = BatchLog::on_disk(&config, MEMORY, readers, status);
            let (log, cursors, _) = opened.expect("a usable directory");
            (log, cursors)
        }
    };
    (log, cursors.pop().expect("one reader"))
}

/// Seconds of wall and processor time.
fn measure(log: &BatchLog, mut cursor: Cursor, spans: usize) -> (f64, f64) {
    let requests: Vec<_> = (0..40)
        .map(|seed| Bytes::from(support::request(seed, spans)))
        .collect();
    let views = Arc::new(Views::new(Config {
        retention: Duration::from_secs(3_600),
        trace_bytes: 16 << 20,
        view_bytes: 16 << 20,
    }));
    let intake = Intake::new(log.clone(), views);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (began, used) = (Instant::now(), processor_seconds());
    runtime.block_on(async {
        let reading = tokio::spawn(async move {
            while let Some(records) = cursor.next(4 << 20).await {
                if let Some(last) = records.last() {
                    cursor.ack(last.sequence);
                }
            }
        });
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..SENDERS {
            let (intake, requests) = (intake.clone(), requests.clone());
            senders.spawn(async move {
                let status = ReceiverStatus::listening("otlp-grpc", String::new());
                for turn in 0..SPANS / spans / SENDERS {
                    // Bytes of its own, as a body has them.
                    let request = &requests[(turn + sender) % requests.len()];
                    let batch = Bytes::from(request.to_vec());
                    intake
                        .admit(Signal::Traces, batch, &status)
                        .await
                        .expect("room");
                    // In memory it never waits: the reader has to have its turn.
                    tokio::task::yield_now().await;
                }
            });
        }
        senders.join_all().await;
        log.finish().await;
        reading.await.expect("a reader that ends");
    });
    (began.elapsed().as_secs_f64(), processor_seconds() - used)
}

fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in brackets, may hold spaces; user and system time are the 12th and 13th field behind it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / TICKS_A_SECOND
}
