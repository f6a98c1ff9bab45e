//! What sampling costs an exporter: the processor time of its thread for each span in the log, sending to a peer on
//! loopback included. Linux only.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use bellwether_collector::export::{Config, Ratio, Sampling, Tail, Target, Worker};
use bellwether_collector::log::{BatchLog, OnFull, ReaderConfig};
use bellwether_collector::signal::Signal;
use bellwether_collector::status::ExporterStatus;
use bytes::Bytes;
use tokio::sync::watch;

/// Spans in the log in each case, and in each request.
const SPANS: usize = 2_000_000;
const REQUEST: usize = 512;

fn main() {
    let address = sink();
    let ratio = |text| Ratio::parse(text).expect("a ratio");
    let head = |share| Sampling {
        ratio: ratio(share),
        ..Sampling::default()
    };
    let health = Sampling {
        drop_health_checks: true,
        ..head("0.1")
    };
    let errors = Tail {
        keep_errors: true,
        index_bytes: 8 << 20,
        ..Tail::default()
    };
    let slowest = Tail {
        keep_slowest: Some(ratio("0.01")),
        ..errors
    };
    let tail = |tail| Sampling {
        tail: Some(tail),
        ..head("0.1")
    };
    for (name, sampling) in [
        ("everything", Sampling::default()),
        ("ratio 0.9", head("0.9")),
        ("ratio 0.1", head("0.1")),
        ("ratio 0.001", head("0.001")),
        ("ratio 0.1, no health checks", health),
        ("errors, ratio 0.1", tail(errors)),
        ("errors, slowest 0.01, ratio 0.1", tail(slowest)),
    ] {
        let (nanos, sent) = measure(&address, sampling);
        println!("{name:<32} {nanos:>5.0} ns a span, {sent:>7} of {SPANS} sent");
    }
}

/// Nanoseconds of the exporter's thread for each span, and how many were sent.
fn measure(address: &str, sampling: Sampling) -> (f64, u64) {
    let target = Target::parse(&format!("otlp+http://{address}")).expect("a target");
    let config = Config {
        sampling,
        ..Config::to(target)
    };
    let status = Arc::new(ExporterStatus::named("bench"));
    let reader = ReaderConfig {
        status: Arc::clone(&status),
        on_full: OnFull::Refuse,
    };
    let (log, mut cursors) = BatchLog::in_memory(usize::MAX, vec![reader]);
    let requests: Vec<_> = (0..400)
        .map(|seed| Bytes::from(support::request(seed, REQUEST)))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let cursor = cursors.pop().expect("one reader");
    let (_drain, drained) = watch::channel(None);
    let worker = Worker::new(config, Arc::clone(&status), drained);
    runtime.block_on(async {
        for turn in 0..SPANS / REQUEST {
            let request = requests[turn % requests.len()].clone();
            log.append(Signal::Traces, request, REQUEST as u64)
                .await
                .expect("room");
        }
        log.close();
        let began = thread_nanos();
        worker.run(cursor).await;
        let used = thread_nanos() - began;
        let sent = status.sent_spans.load(std::sync::atomic::Ordering::Relaxed);
        (used as f64 / SPANS as f64, sent)
    })
}

/// Time that this thread was on a processor.
fn thread_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split_whitespace().next();
    first
        .and_then(|nanos| nanos.parse().ok())
        .unwrap_or_default()
}

/// A peer that takes everything; its address.
fn sink() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut length = 0;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or_default();
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}
