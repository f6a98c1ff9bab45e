//! Tail sampling against a naive sampler that has all of the stream before it: while nothing overflows both keep the
//! same spans, however the log is read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::collection::vec;
use proptest::prelude::*;

use super::slowest::Slowest;
use super::testing::{Exporter, batch, exporters, failed, ids, lasting, span_ref};
use super::{Ratio, Sampling, Tail};
use crate::log::OnFull;
use crate::signal::Signal;
use crate::wire::test_support::span;

const WAIT_MILLIS: u64 = 10_000;
const BEGAN_UNIX_NANO: u64 = 1_700_000_000_000_000_000;

/// One span to come.
#[derive(Clone, Debug)]
struct Given {
    trace: u64,
    is_root: bool,
    is_error: bool,
    is_health: bool,
    millis: u64,
}

/// Spans, and how long after the batch before them they came, in milliseconds.
type Batches = Vec<(u64, Vec<Given>)>;

fn given() -> impl Strategy<Value = Given> {
    let rarely = || prop::bool::weighted(0.1);
    let numbers = (0..40_u64, 1..1_000_u64);
    (numbers, any::<bool>(), rarely(), rarely()).prop_map(
        |((trace, millis), is_root, is_error, is_health)| Given {
            trace,
            is_root,
            is_error,
            is_health,
            millis,
        },
    )
}

fn batches() -> impl Strategy<Value = Batches> {
    let pause = prop_oneof![4 => 0..500_u64, 1 => 5_000..30_000_u64];
    vec((pause, vec(given(), 1..12)), 1..40)
}

fn policy() -> impl Strategy<Value = Sampling> {
    let ratio = prop_oneof![Just("0"), Just("0.3"), Just("0.9")];
    let slower = prop::option::of((1..1_000_u64).prop_map(Duration::from_millis));
    let slowest = prop::option::of(Just("0.1"));
    (ratio, any::<bool>(), slower, slowest, any::<bool>()).prop_map(
        |(ratio, keep_errors, keep_slower_than, slowest, drop_health_checks)| Sampling {
            ratio: Ratio::parse(ratio).unwrap(),
            drop_health_checks,
            drop: Vec::new(),
            tail: Some(Tail {
                keep_errors,
                keep_slower_than,
                keep_slowest: slowest.map(|share| Ratio::parse(share).unwrap()),
                decision_wait: Duration::from_millis(WAIT_MILLIS),
                ..Tail::default()
            }),
        },
    )
}

/// The id of a trace; its last 56 bits are as if drawn by lot.
fn trace_id(trace: u64) -> u128 {
    u128::from((trace + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1 << 64
}

fn made(given: &Given, id: u64) -> Span {
    let parent = if given.is_root { 0 } else { 1 << 40 };
    let mut span = lasting(span(trace_id(given.trace), id, parent), given.millis);
    if given.is_error {
        span = failed(span);
    }
    if given.is_health {
        span.name = "GET /readyz".into();
    }
    span
}

/// Span ids that are to be sent.
fn naive(stream: &[(u64, Vec<(u64, Given)>)], policy: &Sampling) -> BTreeSet<u64> {
    #[derive(Default)]
    struct Trace {
        first_millis: Option<u64>,
        kept: bool,
        unwanted: bool,
    }
    let tail = policy.tail.as_ref().unwrap();
    let mut slowest = tail.keep_slowest.map(|share| Slowest::new(share, 1 << 20));
    let mut traces: BTreeMap<u64, Trace> = BTreeMap::new();
    for (at_millis, spans) in stream {
        for (id, given) in spans {
            let is_slowest = slowest.as_mut().is_some_and(|slowest| {
                let slowest = std::cell::RefCell::new(slowest);
                span_ref(&made(given, *id), |span| slowest.borrow_mut().has(span))
            });
            let than = tail.keep_slower_than.map(|than| than.as_millis());
            let is_slow = is_slowest || than.is_some_and(|than| u128::from(given.millis) > than);
            let trace = traces.entry(given.trace).or_default();
            let first = *trace.first_millis.get_or_insert(*at_millis);
            if *at_millis < first + WAIT_MILLIS {
                trace.kept |= is_slow || (tail.keep_errors && given.is_error);
                trace.unwanted |= policy.drop_health_checks && given.is_root && given.is_health;
            }
        }
    }
    let share = policy.ratio.as_f64();
    let sent = stream.iter().flat_map(|(_, spans)| spans);
    let sent = sent.filter(|(_, given)| {
        let trace = &traces[&given.trace];
        let random = (trace_id(given.trace) & ((1 << 56) - 1)) as f64 / (1_u64 << 56) as f64;
        // Every span here is a server's, and none has another below it.
        let unwanted = trace.unwanted || (policy.drop_health_checks && given.is_health);
        !unwanted && (trace.kept || random >= 1.0 - share)
    });
    sent.map(|(id, _)| *id).collect()
}

/// Reads the log in steps of random size; some of it comes again, and is the same then.
async fn sent(exporter: &mut Exporter, steps: &[(usize, bool)]) -> BTreeSet<u64> {
    let mut sent = BTreeSet::new();
    let mut steps = steps.iter().cycle();
    loop {
        let &(max_bytes, settles) = steps.next().unwrap();
        let Exporter {
            sampler, cursor, ..
        } = exporter;
        let Some(mut records) = sampler.next(cursor, max_bytes).await else {
            return sent;
        };
        if !settles {
            let again = sampler.next(cursor, max_bytes).await.unwrap();
            assert_eq!(ids(&again), ids(&records), "decisions are not taken back");
            records.truncate(1);
        }
        for id in ids(&records) {
            assert!(sent.insert(id), "{id} came twice");
        }
        exporter.settle(&records);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn all_of_the_stream_at_once_gives_the_same(
        batches in batches(),
        policy in policy(),
        steps in vec((1..20_000_usize, any::<bool>()), 1..8),
    ) {
        let mut at_millis = 0;
        let mut next_id = 0;
        let mut stream = Vec::new();
        for (pause, spans) in batches {
            at_millis += pause;
            let spans = spans.into_iter().map(|given| {
                next_id += 1;
                (next_id, given)
            });
            stream.push((at_millis, spans.collect::<Vec<_>>()));
        }
        let (log, mut exporters) = exporters(16 << 20, OnFull::Refuse, std::slice::from_ref(&policy));
        for (at_millis, spans) in &stream {
            let made: Vec<_> = spans.iter().map(|(id, given)| made(given, *id)).collect();
            let arrived = BEGAN_UNIX_NANO + at_millis * 1_000_000;
            log.append_at(Signal::Traces, Bytes::from(batch(&made)), made.len() as u64, arrived);
        }
        log.close();
        let exporter = &mut exporters[0];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let sent = runtime.block_on(sent(exporter, &steps));
        prop_assert_eq!(&sent, &naive(&stream, &policy));
        let sampling = &exporter.status.sampling;
        let left_out = [&sampling.out_by_ratio_spans, &sampling.out_by_route_spans]
            .map(|counter| counter.load(std::sync::atomic::Ordering::Relaxed));
        prop_assert_eq!(sent.len() as u64 + left_out[0] + left_out[1], next_id);
    }
}
