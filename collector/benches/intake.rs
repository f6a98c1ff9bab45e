//! Admission whole: walk, append to a log that one exporter reads, count into the views. Budget: 130–160 ns a
//! span for walk and count.

#[path = "support/fresh.rs"]
mod fresh;
mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bellwether_collector::intake::Intake;
use bellwether_collector::log::{BatchLog, OnFull, ReaderConfig};
use bellwether_collector::signal::Signal;
use bellwether_collector::status::{ExporterStatus, ReceiverStatus};
use bellwether_collector::views::{Config, Views};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fresh::fresh;
use futures_util::FutureExt;

/// Requests taken in turn: two rounds of every service.
const REQUESTS: u64 = 40;

fn admission(criterion: &mut Criterion) {
    for spans in [100, 512, 4096] {
        let requests: Vec<_> = (0..REQUESTS)
            .map(|seed| support::request(seed, spans))
            .collect();
        let reader = ReaderConfig {
            status: Arc::new(ExporterStatus::named("a peer that is gone")),
            on_full: OnFull::DropOldest,
        };
        // Never acknowledges: the log stays full, and every append pushes an old batch out.
        let (log, _cursors) = BatchLog::in_memory(16 << 20, vec![reader]);
        let views = Arc::new(Views::new(Config {
            retention: Duration::from_secs(3_600),
            trace_bytes: 60 << 20,
            view_bytes: 60 << 20,
        }));
        let intake = Intake::new(log, views);
        let status = ReceiverStatus::listening("otlp-grpc", "127.0.0.1:4317".to_owned());
        let mut turn = (0_u64..).zip(requests.iter().cycle());
        let mut group = criterion.benchmark_group(format!("{spans} spans a request"));
        group.throughput(Throughput::Elements(spans as u64));
        group.bench_function("admit", |bencher| {
            bencher.iter_batched(
                || {
                    turn.next()
                        .map(|(turn, request)| fresh(request, turn / REQUESTS))
                        .unwrap_or_default()
                },
                |batch| black_box(intake.admit(Signal::Traces, batch, &status).now_or_never()),
                BatchSize::LargeInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, admission);
criterion_main!(benches);
