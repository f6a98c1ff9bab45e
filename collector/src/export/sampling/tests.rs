//! The sampler on a log in memory, in paused time: when traces are decided, and what becomes of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::time::{Instant, timeout};

use super::testing::{Exporter, append, batch, errors_only, exporters, failed, ids, lasting};
use super::*;
use crate::log::{BatchLog, Full, OnFull};
use crate::wire::test_support::span;

const WAIT: Duration = DEFAULT_DECISION_WAIT;

fn one(limit: usize, policy: Sampling) -> (BatchLog, Exporter) {
    let (log, mut exporters) = exporters(limit, OnFull::DropOldest, &[policy]);
    (log, exporters.pop().unwrap())
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Out by ratio, out by route, kept for errors, kept for being slow, early, forgotten.
fn counts(exporter: &Exporter) -> [u64; 6] {
    let sampling = &exporter.status.sampling;
    [
        &sampling.out_by_ratio_spans,
        &sampling.out_by_route_spans,
        &sampling.kept_errors_spans,
        &sampling.kept_slow_spans,
        &sampling.early_spans,
        &sampling.forgotten_spans,
    ]
    .map(read)
}

/// Nothing comes for so long.
async fn silent(exporter: &mut Exporter, time: Duration) {
    let next = timeout(time, exporter.next()).await;
    assert!(
        next.is_err(),
        "{:?}",
        next.map(|next| next.map(|r| ids(&r)))
    );
}

fn large(id: u64, bytes: usize) -> Span {
    Span {
        name: "x".repeat(bytes),
        ..span(u128::from(id), id, 0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_trace_is_decided_as_a_whole_once_its_time_is_over() {
    let (log, mut exporter) = one(1 << 20, errors_only());
    append(&log, &[span(1, 11, 0), span(2, 21, 0)]).unwrap();
    silent(&mut exporter, WAIT / 2).await;
    // Only a child failed, and it came later.
    append(&log, &[failed(span(1, 12, 11)), span(3, 31, 0)]).unwrap();
    let began = Instant::now();
    let first = exporter.next().await.unwrap();
    assert_eq!(ids(&first), [11]);
    assert!(began.elapsed() >= WAIT / 2 - WAIT / 20 && began.elapsed() <= WAIT / 2 + WAIT / 20);
    // Until it is settled it comes again, and is counted once.
    assert_eq!(ids(&exporter.next().await.unwrap()), [11]);
    assert_eq!(counts(&exporter), [0; 6]);
    exporter.settle(&first);
    assert_eq!(counts(&exporter), [1, 0, 1, 0, 0, 0]);
    let second = exporter.next().await.unwrap();
    assert_eq!(ids(&second), [12]);
    exporter.settle(&second);
    assert_eq!(counts(&exporter), [2, 0, 2, 0, 0, 0]);
    assert_eq!(exporter.cursor.unsent().traces, 0);
}

#[tokio::test(start_paused = true)]
async fn late_spans_follow_what_was_decided() {
    let (log, mut exporter) = one(1 << 20, errors_only());
    append(&log, &[failed(span(1, 11, 0)), span(2, 21, 0)]).unwrap();
    let records = exporter.next().await.unwrap();
    assert_eq!(ids(&records), [11]);
    exporter.settle(&records);
    append(&log, &[span(1, 12, 11), failed(span(2, 22, 21))]).unwrap();
    log.close();
    assert_eq!(exporter.rest().await, [12].into());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_fills_up_has_traces_decided_early_and_loses_nothing() {
    for on_full in [OnFull::DropOldest, OnFull::Refuse] {
        let (log, mut exporters) = exporters(100_000, on_full, &[errors_only()]);
        let mut exporter = exporters.pop().unwrap();
        append(&log, &[failed(large(1, 20_000))]).unwrap();
        append(&log, &[large(2, 20_000)]).unwrap();
        silent(&mut exporter, WAIT / 2).await;
        append(&log, &[failed(large(3, 20_000))]).unwrap();
        let began = Instant::now();
        let records = exporter.next().await.unwrap();
        assert_eq!(ids(&records)[0], 1, "the oldest first");
        assert!(began.elapsed() < WAIT / 10, "decided at once");
        exporter.settle(&records);
        assert_eq!(counts(&exporter)[4], records.len() as u64);
        // Below half of the log there is time again, and decisions stay as they are.
        append(&log, &[failed(span(2, 22, 0))]).unwrap();
        log.close();
        exporter.rest().await;
        assert_eq!(read(&exporter.status.dropped_spans), 0);
        let [out, _, kept, ..] = counts(&exporter);
        assert_eq!(out + kept, 4);
    }
}

#[tokio::test(start_paused = true)]
async fn senders_are_never_refused_for_long_because_of_the_wait() {
    let (log, mut exporters) = exporters(100_000, OnFull::Refuse, &[errors_only()]);
    let mut exporter = exporters.pop().unwrap();
    let began = Instant::now();
    let mut taken = 0;
    for id in 1..=100 {
        while let Err(full) = append(&log, &[large(id, 20_000)]) {
            assert!(matches!(full, Full::Now { .. }));
            let records = exporter.next().await.unwrap();
            exporter.settle(&records);
        }
        taken += 1;
    }
    assert!(began.elapsed() < WAIT, "{:?}", began.elapsed());
    log.close();
    exporter.rest().await;
    assert_eq!(counts(&exporter)[0], taken);
}

#[tokio::test(start_paused = true)]
async fn an_early_decision_is_not_taken_back() {
    let (log, mut exporter) = one(100_000, errors_only());
    append(&log, &[large(1, 60_000)]).unwrap();
    let records = exporter.next().await.unwrap();
    assert!(ids(&records).is_empty());
    exporter.settle(&records);
    append(&log, &[failed(span(1, 12, 0))]).unwrap();
    log.close();
    assert_eq!(exporter.rest().await, [].into());
    assert_eq!(counts(&exporter), [2, 0, 0, 0, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_log_decides_at_once() {
    let (log, mut exporter) = one(1 << 20, errors_only());
    append(&log, &[failed(span(1, 11, 0)), span(2, 21, 0)]).unwrap();
    silent(&mut exporter, WAIT / 4).await;
    append(&log, &[span(1, 12, 11)]).unwrap();
    log.close();
    let began = Instant::now();
    assert_eq!(exporter.rest().await, [11, 12].into());
    assert!(began.elapsed() < WAIT / 100, "{:?}", began.elapsed());
    assert_eq!(counts(&exporter), [1, 0, 2, 0, 3, 0]);
    assert!(exporter.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_full_index_decides_early() {
    let mut policy = errors_only();
    policy.tail.as_mut().unwrap().index_bytes = 0;
    let (log, mut exporter) = one(8 << 20, policy);
    // Room for 1,024 traces.
    for first in (1..=2_000_u64).step_by(100) {
        let spans: Vec<_> = (first..first + 100)
            .map(|id| failed(span(u128::from(id), id, 0)))
            .collect();
        append(&log, &spans).unwrap();
    }
    let began = Instant::now();
    let mut sent = 0;
    while sent < 1_200 {
        let records = exporter.next().await.unwrap();
        sent += ids(&records).len();
        exporter.settle(&records);
    }
    assert!(began.elapsed() < WAIT / 10, "{:?}", began.elapsed());
    log.close();
    assert_eq!(
        sent + exporter.rest().await.len(),
        2_000,
        "none of them was forgotten"
    );
    let [out, _, kept, _, early, forgotten] = counts(&exporter);
    assert_eq!((out, kept, forgotten), (0, 2_000, 0));
    assert!(early >= 1_200, "{early}");
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_follows_the_ratio_and_is_counted() {
    let mut policy = errors_only();
    policy.ratio = Ratio::parse("0.5").unwrap();
    policy.tail.as_mut().unwrap().index_bytes = 0;
    let (log, mut exporter) = one(8 << 20, policy);
    // More new traces in one batch than there is room for.
    let spans: Vec<_> = (1..=3_000_u64)
        .map(|id| {
            let trace_id = u128::from(id) | u128::from(id % 2) << 55;
            failed(span(trace_id, id, 0))
        })
        .collect();
    append(&log, &spans).unwrap();
    log.close();
    let sent = exporter.rest().await;
    let [out, _, kept, _, _, forgotten] = counts(&exporter);
    assert_eq!((kept, forgotten), (1_024, 3_000 - 1_024));
    assert_eq!(out, forgotten / 2);
    assert_eq!(sent.len() as u64, 3_000 - out);
}

#[tokio::test(start_paused = true)]
async fn what_the_log_drops_is_not_waited_for() {
    // The exporter's peer takes nothing while the log runs over.
    let (log, mut exporter) = one(100_000, errors_only());
    append(&log, &[failed(large(1, 20_000))]).unwrap();
    silent(&mut exporter, WAIT / 2).await;
    for id in 2..=20 {
        append(&log, &[failed(large(id, 20_000))]).unwrap();
    }
    let dropped = read(&exporter.status.dropped_spans);
    assert_eq!(dropped, 16, "the scout's place counts for nothing");
    log.close();
    assert_eq!(exporter.rest().await, (17..=20).collect());
    assert_eq!(read(&exporter.status.dropped_spans), dropped);
}

#[tokio::test(start_paused = true)]
async fn each_exporter_has_its_own_rules() {
    let by_ratio = Sampling {
        ratio: Ratio::parse("0.5").unwrap(),
        drop_health_checks: true,
        ..Sampling::default()
    };
    let mut slow = errors_only();
    slow.tail = Some(Tail {
        keep_slower_than: Some(Duration::from_millis(500)),
        ..Tail::default()
    });
    let policies = [errors_only(), slow, by_ratio];
    let (log, mut all) = exporters(1 << 20, OnFull::Refuse, &policies);
    let high = 1 << 55;
    let health = Span {
        name: "GET /healthz".into(),
        ..span(high | 4, 41, 0)
    };
    let spans = [
        failed(span(1, 11, 0)),
        lasting(span(2, 21, 0), 501),
        lasting(span(5, 51, 0), 500),
        span(high | 3, 31, 0),
        health,
        span(high | 4, 42, 41),
    ];
    append(&log, &spans).unwrap();
    log.close();
    let expected: [&[u64]; 3] = [&[11], &[21], &[31]];
    for (exporter, expected) in all.iter_mut().zip(expected) {
        let sent: Vec<_> = exporter.rest().await.into_iter().collect();
        assert_eq!(sent, expected);
    }
    assert_eq!(counts(&all[0]), [5, 0, 1, 0, 6, 0]);
    assert_eq!(counts(&all[1]), [5, 0, 0, 1, 6, 0]);
    assert_eq!(counts(&all[2]), [3, 2, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_trace_of_a_health_check_goes_as_a_whole_where_whole_traces_are_seen() {
    let mut policy = errors_only();
    policy.drop = vec!["GET /ping".to_owned()];
    let (log, mut exporter) = one(1 << 20, policy);
    // A child that failed comes in a batch of its own, before its parent.
    append(&log, &[failed(span(1, 12, 11)), failed(span(2, 22, 21))]).unwrap();
    let ping = |parent| Span {
        name: "GET /ping".into(),
        ..span(if parent == 0 { 1 } else { 2 }, 11, parent)
    };
    append(&log, &[ping(0), ping(77)]).unwrap();
    log.close();
    assert_eq!(
        exporter.rest().await,
        [22].into(),
        "only a root speaks for its trace"
    );
    assert_eq!(counts(&exporter)[1], 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_as_it_came_but_for_its_rate() {
    let mut policy = errors_only();
    policy.ratio = Ratio::parse("0.5").unwrap();
    let (log, mut exporter) = one(1 << 20, policy);
    let (kept, by_ratio) = (failed(span(1, 11, 0)), span(1 << 55, 21, 0));
    append(&log, &[kept.clone(), by_ratio.clone(), span(2, 31, 0)]).unwrap();
    append(&log, std::slice::from_ref(&kept)).unwrap();
    log.close();
    let records = exporter.next().await.unwrap();
    let told = Span {
        trace_state: "ot=th:8".into(),
        ..by_ratio
    };
    let expected = [batch(&[kept.clone(), told]), batch(&[kept])];
    let decode = |bytes: &[u8]| {
        use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
        use prost::Message;
        ExportTraceServiceRequest::decode(bytes).unwrap()
    };
    for (record, expected) in records.iter().zip(&expected) {
        assert_eq!(decode(&record.bytes), decode(expected));
    }
    assert_eq!(records[1].bytes, expected[1], "byte for byte");
}

#[tokio::test(start_paused = true)]
async fn a_request_has_no_more_bytes_than_were_asked_for() {
    let policy = Sampling {
        ratio: Ratio::parse("0.999").unwrap(),
        ..Sampling::default()
    };
    let (log, mut exporter) = one(1 << 20, policy);
    let high = u128::MAX >> 80;
    for id in 1..=100 {
        append(&log, &[span(high, id, 0)]).unwrap();
    }
    let max = 10 * batch(&[span(high, 1, 0)]).len();
    let records = exporter
        .sampler
        .next(&mut exporter.cursor, max)
        .await
        .unwrap();
    let bytes: usize = records.iter().map(|record| record.bytes.len()).sum();
    let sent = records.len();
    assert!(
        bytes <= max && (1..10).contains(&sent),
        "rates make each span larger: {bytes}"
    );
    exporter.settle(&records);
    log.close();
    assert_eq!(exporter.rest().await.len(), 100 - sent);
}

#[tokio::test(start_paused = true)]
async fn malformed_bytes_go_as_they_are() {
    let mut policy = errors_only();
    policy.drop_health_checks = true;
    let (log, mut exporter) = one(1 << 20, policy);
    let mut bytes = batch(&[span(1, 1, 0)]);
    bytes.pop();
    log.append_at(Signal::Traces, Bytes::from(bytes.clone()), 1, 1);
    let records = exporter.next().await.unwrap();
    assert_eq!((&records[0].bytes[..], records[0].items), (&bytes[..], 1));
}

#[test]
fn an_exporter_that_sends_everything_has_no_sampler() {
    let (_log, exporters) = exporters(1_000, OnFull::Refuse, &[errors_only()]);
    let [exporter] = &exporters[..] else {
        panic!("one expected");
    };
    let mut all = errors_only();
    all.ratio = Ratio::ALL;
    for policy in [Sampling::default(), all] {
        let sampler = Sampler::new(&policy, Arc::default(), &exporter.cursor);
        assert!(sampler.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn other_signals_come_whole_and_as_late_as_traces_before_them() {
    let (log, mut exporter) = one(1 << 20, errors_only());
    let other = |bytes: &'static [u8]| {
        let appended = log.append(Signal::Logs, Bytes::from_static(bytes), 7);
        futures_util::FutureExt::now_or_never(appended)
            .unwrap()
            .unwrap();
    };
    append(&log, &[failed(span(1, 11, 0)), span(2, 21, 0)]).unwrap();
    other(b"first");
    append(&log, &[failed(span(1, 12, 0))]).unwrap();
    other(b"second");
    silent(&mut exporter, WAIT / 2).await;
    let traces = exporter.next().await.unwrap();
    assert_eq!(ids(&traces), [11, 12]);
    exporter.settle(&traces);
    let logs = exporter.next().await.unwrap();
    let bytes: Vec<_> = logs.iter().map(|record| &record.bytes[..]).collect();
    assert_eq!(bytes, [&b"first"[..], b"second"]);
    assert_eq!(logs[0].items, 7);
    exporter.settle(&logs);
    assert_eq!(counts(&exporter), [1, 0, 2, 0, 0, 0]);
    append(&log, &[failed(span(3, 31, 0))]).unwrap();
    assert_eq!(ids(&exporter.next().await.unwrap()), [31]);
}
