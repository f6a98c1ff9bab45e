//! One task for one subject: starts sink and subject, warms up, sends, waits for what arrives, and tells what it cost.
//! Called by `main`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::machine;
use crate::sender::{self, Plan};
use crate::shop::{Bodies, Format};
use crate::sink;
use crate::subject::Subject;

/// The sink counts as served when nothing has come for so long.
const STILL: Duration = Duration::from_millis(600);
/// Before the measured part: connections, tables and the processor's caches fill.
const WARM_UP_SPANS: u64 = 200_000;
/// The same at a given rate: a start by itself says little of the steady state that is measured then.
const WARM_UP_SECONDS: f64 = 2.0;

/// Which processors do what. The load has others than the subject, or it would be what is measured.
pub(crate) struct Cpus {
    pub(crate) subject: Vec<usize>,
    pub(crate) sender: usize,
    pub(crate) sink: usize,
}

/// What is done.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) subject: Subject,
    pub(crate) format: Format,
    pub(crate) batch: usize,
    pub(crate) spans: u64,
    pub(crate) rate: Option<f64>,
    /// What the sink waits before it answers.
    pub(crate) delay: Duration,
    pub(crate) compressed_out: bool,
}

/// What it cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    /// Millions of spans that arrived for each second of the subject's processor time.
    pub(crate) millions_a_cpu_second: f64,
    pub(crate) millions_a_second: f64,
    /// Of one processor, percent.
    pub(crate) busy: f64,
    pub(crate) peak_mib: f64,
    pub(crate) p99_ms: f64,
    pub(crate) steal: f64,
    pub(crate) refused: u64,
    pub(crate) lost: u64,
}

/// Bodies are made once for all runs.
#[derive(Default)]
pub(crate) struct Shop(HashMap<(u8, usize), Arc<Bodies>>);

impl Shop {
    pub(crate) fn bodies(&mut self, format: Format, batch: usize) -> Arc<Bodies> {
        let key = (format as u8, batch);
        if !self.0.contains_key(&key) {
            // A few kinds at a time: those of compressed and large bodies take hundreds of megabytes.
            self.0.clear();
            self.0.insert(key, Arc::new(Bodies::new(format, batch)));
        }
        Arc::clone(&self.0[&key])
    }
}

/// Runs a task once.
pub(crate) fn once(task: &Task, shop: &mut Shop, cpus: &Cpus) -> Cost {
    let (sink, arrived) = sink::start(cpus.sink, task.delay);
    let bodies = shop.bodies(task.format, task.batch);
    let mut subject = task.subject.start(task.format, sink, &cpus.subject);
    let plan = Plan {
        to: subject.to,
        format: task.format,
        bodies,
        spans: task.spans,
        rate: task.rate,
    };
    let warm_up = Plan {
        spans: match task.rate {
            None => WARM_UP_SPANS.min(task.spans),
            Some(rate) => (rate * WARM_UP_SECONDS) as u64,
        },
        ..plan.clone()
    };
    let warmed = sender::send(warm_up, cpus.sender).spans;
    let (before, _) = settled(&arrived);
    subject.mark();
    let began = Instant::now();
    let mut sent = sender::send(plan, cpus.sender);
    let (after, last) = settled(&arrived);
    let delivered = after - before;
    let seconds = (last - began).as_secs_f64().max(sent.seconds);
    let cpu = subject.cpu();
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (requests, compressed, wrong) = (
        load(&arrived.requests),
        load(&arrived.compressed),
        load(&arrived.wrong),
    );
    assert_eq!(
        wrong, 0,
        "requests arrived that are not what their headers say, or hold no spans"
    );
    assert!(requests > 0, "nothing arrived");
    let expected = if task.compressed_out { requests } else { 0 };
    assert_eq!(
        compressed, expected,
        "of {requests} requests that arrived so many were compressed"
    );
    Cost {
        millions_a_cpu_second: delivered as f64 / cpu / 1e6,
        millions_a_second: delivered as f64 / seconds / 1e6,
        busy: 100.0 * cpu / seconds,
        peak_mib: subject.memory().1,
        p99_ms: machine::percentile(&mut sent.latencies, 0.99),
        steal: subject.steal(),
        refused: sent.refused,
        lost: (warmed + sent.spans).saturating_sub(after),
    }
}

/// Waits until nothing more arrives; the spans that arrived until then, and when the last did.
fn settled(arrived: &sink::Arrived) -> (u64, Instant) {
    let (mut seen, mut since) = (arrived.spans(), Instant::now());
    while since.elapsed() < STILL {
        std::thread::sleep(Duration::from_millis(10));
        let now = arrived.spans();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    (seen, since)
}
