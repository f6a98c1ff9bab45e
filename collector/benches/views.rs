//! Counting one walked request into the views, kept traces included. Budget: 150 ns a span.
//!
//! Each request is the 20-service shop's, at 1 M spans a second of arrival, its client spans paired by the server spans
//! of the next one; the trace ids move on with every turn, as they would.

mod support;

use std::time::Duration;

use bellwether_collector::views::{Config, Views};
use bellwether_collector::wire::{SpanKind, SpanRef, walk};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Requests taken in turn, a service each.
const REQUESTS: usize = 20;

fn counts(criterion: &mut Criterion) {
    for spans in [100, 512, 4096] {
        let requests: Vec<_> = (0..REQUESTS)
            .map(|seed| support::request(seed as u64, spans))
            .collect();
        let mut batches: Vec<Vec<SpanRef<'_>>> =
            requests.iter().map(|request| spans_of(request)).collect();
        pair_up(&mut batches);
        let mut group = criterion.benchmark_group(format!("{spans} spans a request"));
        group.throughput(Throughput::Elements(spans as u64));
        for (name, nanos_a_span) in [("at 1 M spans/s", 1_000), ("at 20 k spans/s", 50_000)] {
            let views = Views::new(Config {
                retention: Duration::from_secs(3600),
                trace_bytes: 64 << 20,
                view_bytes: 64 << 20,
            });
            let mut arrived = 1_800_000_000_000_000_000;
            let mut turn = 0_u64;
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let batch = &mut batches[turn as usize % REQUESTS];
                    turn += 1;
                    arrived += nanos_a_span * batch.len() as u64;
                    for span in batch.iter_mut() {
                        span.trace_id[..8].copy_from_slice(&(turn / REQUESTS as u64).to_le_bytes());
                    }
                    views.count(batch, arrived);
                });
            });
            println!("{:?}", views.status());
        }
        group.finish();
    }
}

fn spans_of(request: &[u8]) -> Vec<SpanRef<'_>> {
    let mut spans = Vec::new();
    walk(request, |span| spans.push(span)).expect("the bench's own request");
    spans
}

/// Makes the server spans of each request answer the client spans of the one before it, four spans to a trace.
fn pair_up(batches: &mut [Vec<SpanRef<'_>>]) {
    for at in 0..batches.len() {
        for (index, span) in batches[at].iter_mut().enumerate() {
            span.trace_id[8..].copy_from_slice(&((index / 4) as u64).to_le_bytes());
        }
        if at > 0 {
            let clients: Vec<_> = kind(&batches[at - 1], SpanKind::Client).copied().collect();
            let servers = batches[at]
                .iter_mut()
                .filter(|span| span.kind == SpanKind::Server);
            for (server, client) in servers.zip(clients) {
                server.trace_id = client.trace_id;
                server.parent_span_id = Some(client.span_id);
            }
        }
    }
}

fn kind<'a, 'b>(batch: &'b [SpanRef<'a>], kind: SpanKind) -> impl Iterator<Item = &'b SpanRef<'a>> {
    batch.iter().filter(move |span| span.kind == kind)
}

criterion_group!(benches, counts);
criterion_main!(benches);
