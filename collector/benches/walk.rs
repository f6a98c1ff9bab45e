//! The walk over one request, beside what prost needs to decode the same bytes. Budget: 80–110 ns a span.

mod support;

use std::hint::black_box;

use bellwether_collector::wire::walk;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

/// Requests taken in turn, so that the bytes do not all sit in the first-level cache.
const REQUESTS: usize = 20;

fn walks(criterion: &mut Criterion) {
    for spans in [100, 512, 4096] {
        let requests: Vec<_> = (0..REQUESTS)
            .map(|seed| support::request(seed as u64, spans))
            .collect();
        let bytes: usize = requests.iter().map(Vec::len).sum();
        println!("{} bytes a span", bytes / (REQUESTS * spans));
        let mut group = criterion.benchmark_group(format!("{spans} spans a request"));
        group.throughput(Throughput::Elements(spans as u64));
        let mut turn = requests.iter().cycle();
        group.bench_function("walk", |bencher| {
            bencher.iter(|| {
                let request = turn.next().map_or(&[][..], Vec::as_slice);
                walk(black_box(request), |span| {
                    black_box(&span);
                })
            });
        });
        group.bench_function("prost", |bencher| {
            bencher.iter(|| {
                let request = turn.next().map_or(&[][..], Vec::as_slice);
                ExportTraceServiceRequest::decode(black_box(request))
            });
        });
        group.finish();
    }
}

criterion_group!(benches, walks);
criterion_main!(benches);
