//! What the store promises of what it keeps.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::*;
use crate::views::clock::Clock;
use crate::views::{Range, TraceQuery};
use crate::wire::{test_support, walk};

#[test]
fn a_trace_is_shown_once_when_it_is_quiet_or_has_been_open_for_long() {
    const SECOND: u64 = 1_000_000_000;
    let start = 1_000 * SECOND;
    let mut traces = Traces::new(1 << 20, 3_600 * SECOND);
    let keep = |traces: &mut Traces, trace, at| keep(traces, test_support::span(trace, 1, 0), at);
    let shown = |traces: &mut Traces, now| {
        let mut shown = Vec::new();
        while traces.whole(now, 1, |trace| shown.push(trace.trace_id[15])) {}
        shown
    };
    keep(&mut traces, 1, start);
    keep(&mut traces, 2, start);
    for second in 1..=70 {
        let now = start + second * SECOND;
        // Spans of the second one keep coming.
        keep(&mut traces, 2, now);
        let want: &[u8] = match second {
            6 => &[1],
            60 => &[2],
            _ => &[],
        };
        assert_eq!(shown(&mut traces, now), want, "after {second} s");
    }
    // The clock is set back.
    keep(&mut traces, 3, start + 80 * SECOND);
    assert_eq!(shown(&mut traces, start - 100 * SECOND), [3]);
    assert!(traces.young.is_empty());
}

#[test]
fn traces_that_have_gone_leave_nothing_behind() {
    let mut traces = Traces::new(1 << 20, 3_600_000_000_000);
    for trace in 1..=20_000 {
        let mut span = test_support::span(trace, 1, 0);
        // The first one is favoured: the others come behind it.
        span.end_time_unix_nano += u64::from(trace == 1);
        keep(&mut traces, span, 1_000_000_000);
    }
    assert!(traces.len() > 100 && traces.bytes() <= 1 << 20);
    accounts_balance(&traces);
    // An hour later only that is left which a span has come to.
    keep(&mut traces, test_support::span(1, 2, 0), 3_602_000_000_000);
    assert_eq!(traces.len(), 1);
    accounts_balance(&traces);
}

/// Favoured and sampled traces are those that say so of themselves, byte for byte.
fn accounts_balance(traces: &Traces) {
    let (mut favoured, mut sampled) = ((0, 0), (0, 0));
    traces.each(|trace| {
        if !trace.favoured_by.is_empty() {
            favoured = (favoured.0 + 1, favoured.1 + trace.cost());
        }
        if trace.sampled {
            sampled = (sampled.0 + 1, sampled.1 + trace.cost());
        }
    });
    assert_eq!(
        favoured,
        (traces.favoured.by_age().count(), traces.favoured.bytes)
    );
    assert_eq!(
        sampled,
        (traces.sample.by_age().count(), traces.sample.bytes)
    );
    let held = traces
        .favoured
        .by_age()
        .count()
        .max(traces.sample.by_age().count());
    assert!(traces.ordinary.len() + held <= traces.len());
}

fn keep(traces: &mut Traces, span: Span, at: u64) {
    let bytes = test_support::encode(vec![test_support::resource_spans("shop", vec![span])]);
    walk(&bytes, |span| traces.keep(&[span], &[], at)).unwrap();
}

/// Whatever a trace is and whenever it came, it is as likely to be in the sample as any other.
#[test]
fn the_sample_is_uniform() {
    const STORES: usize = 24;
    const TRACES: u64 = 3_000;
    const PARTS: usize = 10;
    // How many were sampled, by when they came and by how slow they are.
    let mut counts = [[0_f64; PARTS]; 2];
    for _ in 0..STORES {
        let mut traces = Traces::new(512 << 10, u64::MAX);
        for trace in 0..TRACES {
            // The slow ones come in no order, a tenth fails, and they are of ten operations.
            let slow = trace * 7_919 % TRACES;
            let mut span = test_support::span(u128::from(trace) + 1, 1, 0);
            span.name = format!("operation {}", trace % 10);
            span.end_time_unix_nano = span.start_time_unix_nano + 1 + slow;
            if trace % 10 == 3 {
                span.status = Some(Status {
                    code: 2,
                    message: String::new(),
                });
            }
            // Slowly enough for all of them to be taken.
            keep(&mut traces, span, trace * 1_000_000_000);
        }
        assert_eq!(traces.untaken_spans(), 0);
        let judged = TRACES - traces.ordinary.len() as u64;
        traces.each(|trace| {
            if trace.sampled {
                let came = u128::from_be_bytes(trace.trace_id) as u64 - 1;
                let part = |of: u64, all: u64| (of * PARTS as u64 / all) as usize;
                counts[0][part(came, judged)] += 1.0;
                counts[1][part(trace.nanos() - 1, TRACES)] += 1.0;
            }
        });
        accounts_balance(&traces);
    }
    for counts in counts {
        let expected = counts.iter().sum::<f64>() / PARTS as f64;
        assert!(expected > 200.0, "{counts:?}");
        // Chance alone goes beyond six standard deviations once in hundreds of millions of times.
        let bound = 6.0 * expected.sqrt();
        let off = counts
            .iter()
            .find(|count| (**count - expected).abs() > bound);
        assert_eq!(off, None, "{counts:?}");
    }
}

#[test]
fn traces_that_spans_are_added_to_for_ever_stay_within_the_limit() {
    let limit = 1 << 20;
    let mut traces = Traces::new(limit, 3_600_000_000_000);
    let mut add = |trace: u64, span: u64, bytes: usize| {
        let mut span = test_support::span(u128::from(trace), span, 0);
        span.name = format!("operation {}", trace % 50);
        span.attributes = vec![test_support::attribute("note", &"x".repeat(bytes))];
        keep(&mut traces, span, 1_000_000_000);
        assert!(traces.bytes() <= limit, "{trace}: {}", traces.bytes());
    };
    for trace in 1..=20_000 {
        add(trace, 1, 0);
    }
    for round in 2..100 {
        for trace in 1..=300 {
            add(trace, round, 500);
        }
    }
    accounts_balance(&traces);
}

/// A trace that was taken beyond the share stands for itself alone: neither the sample nor the critical paths may learn
/// from it.
#[test]
fn traces_beyond_the_share_are_kept_and_stand_for_nothing_else() {
    const SECOND: u64 = 1_000_000_000;
    let mut traces = Traces::new(256 << 10, 3_600 * SECOND);
    let mut next = 0;
    let mut flood = |traces: &mut Traces, at| {
        for _ in 0..2_000 {
            next += 1;
            keep(traces, test_support::span(next, 1, 0), at);
        }
    };
    for second in 0..5 {
        flood(&mut traces, second * SECOND);
    }
    assert!(traces.untaken_spans() > 5_000);
    let id = |n: u128| (1 << 64) + n;
    for n in 0..20 {
        let mut span = test_support::span(id(n), 1, 0);
        span.name = "GET /rare".into();
        let bytes = test_support::encode(vec![test_support::resource_spans("shop", vec![span])]);
        let notable = [id(n).to_be_bytes()];
        walk(&bytes, |span| traces.keep(&[span], &notable, 5 * SECOND)).unwrap();
    }
    let late = |traces: &Traces| {
        let mut late = Vec::new();
        traces.each(|trace| {
            if trace.late {
                late.push(u128::from_be_bytes(trace.trace_id));
                assert!(!trace.sampled);
            }
        });
        late
    };
    let kept = late(&traces).len();
    assert!((1..20).contains(&kept), "as far as there is room: {kept}");
    let mut shown = Vec::new();
    while traces.whole(70 * SECOND, 10, |trace| {
        shown.push(u128::from_be_bytes(trace.trace_id));
    }) {}
    assert!(!shown.is_empty());
    assert!(late(&traces).iter().all(|id| !shown.contains(id)));
    // The next one that has to make room: it stays for its operation.
    let id = late(&traces)[0].to_be_bytes();
    let at = traces.ordinary.iter().position(|key| key.0 == id).unwrap();
    let key = traces.ordinary.remove(at).unwrap();
    traces.judge(key);
    let kept = traces.get(id).unwrap();
    assert!(!kept.favoured_by.is_empty() && !kept.sampled);
    accounts_balance(&traces);
}

#[test]
fn a_search_lets_others_have_the_store() {
    let mut traces = Traces::new(16 << 20, 3_600_000_000_000);
    for trace in 1..=10 {
        for span in 1..=1_000 {
            keep(
                &mut traces,
                test_support::span(trace, span, 0),
                1_000_000_000,
            );
        }
    }
    let query = TraceQuery {
        limit: 10,
        ..TraceQuery::default()
    };
    let mut clock = Clock::new(60);
    clock.advance(1_000_000_000);
    let slots = clock.round(Range::Last(Duration::from_secs(60)), 1_000_000_000);
    let sought = Sought::new(&query, slots);
    let mut heads = traces.candidates(&sought).into_iter();
    let (mut found, mut turns) = (Vec::new(), 0);
    while traces.search(&sought, &mut heads, &mut found) {
        turns += 1;
        assert!(found.len() <= 2 * turns);
    }
    assert_eq!((found.len(), turns), (10, 5));
}
