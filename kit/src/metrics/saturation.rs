//! `bellwether_saturation_*`: how full the service is, from 0 (idle) to 1 (it cannot take more), as one number
//! to scale on. Sampled on a thread of its own, so that a runtime that is stuck is seen to be; read by scrapes.
//!
//! Each component is the mean of the last [`WINDOW`], whoever scrapes how often, and absent when it cannot be
//! known:
//!
//! - `concurrency`: requests in flight as a share of the concurrency limit; only with a limit. Handlers that
//!   hang, or wait for a slow dependency without using the processor, show here.
//! - `runtime`: the share of their time that the runtime's workers are busy. Counted by the clock on the wall: a
//!   worker that waits for a processor (a container held back to its quota) or is blocked is busy, too.
//! - `queue`: tasks ready to run that no worker has taken (`tokio_global_queue_depth`), as a share of them and
//!   the workers: as many waiting as there are workers make a half. The moments of the samples count. What waits
//!   in a worker's own queue cannot be seen.
//!
//! The ratio is the largest of them: a service is as full as its scarcest resource. A runtime is known when the
//! kit was started in it; one that nobody drives any more counts as busy, as it serves nobody.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::RuntimeMetrics;

use super::ServerMetrics;
use super::busy::{Told, WorkerBusy};
use super::labels::LabelText;
use super::text::{Kind, Text};

/// What the means are of: as long as between two looks of a Kubernetes autoscaler.
const WINDOW: Duration = Duration::from_secs(15);
/// Between two samples: a wake-up that costs some microseconds.
const INTERVAL: Duration = Duration::from_secs(1);

/// The values of the label `resource`, in the order of [`Shares`].
const RESOURCES: [&str; 3] = ["concurrency", "runtime", "queue"];

/// One number for each of [`RESOURCES`] that can be known.
type Shares = [Option<f64>; RESOURCES.len()];

/// The sampling thread's other end; the thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Saturation {
    /// `None` until there are two samples.
    shown: Arc<Mutex<Option<Shares>>>,
    _alive: Sender<Infallible>,
}

/// What is sampled.
#[derive(Debug)]
pub(super) struct Sources {
    concurrency: Option<Concurrency>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Concurrency {
    requests: ServerMetrics,
    limit: usize,
}

#[derive(Debug)]
struct Runtime {
    metrics: RuntimeMetrics,
    workers: Vec<WorkerBusy>,
    /// The time integral of the queue's share.
    queued: f64,
    sampled: Instant,
}

impl Saturation {
    pub(super) fn start(sources: Sources) -> io::Result<Self> {
        Self::sample(sources, INTERVAL, WINDOW)
    }

    fn sample(sources: Sources, interval: Duration, window: Duration) -> io::Result<Self> {
        let (alive, stopped) = channel();
        let shown = Arc::default();
        let shared = Arc::clone(&shown);
        std::thread::Builder::new()
            .name("bellwether-load".into())
            .spawn(move || run(sources, &stopped, interval, window, &shared))?;
        Ok(Self {
            shown,
            _alive: alive,
        })
    }

    fn shares(&self) -> Option<Shares> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, text: &mut Text) {
        let Some(shares) = self.shares() else {
            return;
        };
        let known = RESOURCES.iter().zip(shares);
        let known: Vec<_> = known
            .filter_map(|(name, share)| Some((name, share?)))
            .collect();
        let Some(largest) = known.iter().map(|(_, share)| *share).reduce(f64::max) else {
            return;
        };
        let unit = Some("ratio");
        text.family(
            "bellwether_saturation_ratio",
            Kind::Gauge,
            unit,
            "How full the service is, from 0 to 1: the largest of its components",
        );
        text.sample(&LabelText::default(), largest);
        text.family(
            "bellwether_saturation_component_ratio",
            Kind::Gauge,
            unit,
            "Share of a resource in use, from 0 to 1, mean of the last 15 seconds",
        );
        for (name, share) in known {
            text.sample(&LabelText::default().with("resource", name), share);
        }
    }
}

impl Sources {
    /// `None` when there is nothing to sample. The limit is that of the requests in flight.
    pub(super) fn new(
        requests: &ServerMetrics,
        limit: Option<usize>,
        runtime: Option<RuntimeMetrics>,
    ) -> Option<Self> {
        let known = limit.is_some() || runtime.is_some();
        known.then(|| Self {
            concurrency: limit.map(|limit| Concurrency {
                requests: requests.clone(),
                limit,
            }),
            runtime: runtime.map(|metrics| Runtime {
                workers: vec![WorkerBusy::default(); metrics.num_workers()],
                metrics,
                queued: 0.0,
                sampled: Instant::now(),
            }),
        })
    }

    /// Seconds of full use so far, of each resource: the difference of two samples by the time between them is
    /// the share in use.
    fn used(&mut self, now: Instant) -> Shares {
        let concurrency = self.concurrency.as_ref().map(Concurrency::used);
        let runtime = self.runtime.as_mut().map(|runtime| runtime.used(now));
        [
            concurrency,
            runtime.map(|(busy, _)| busy),
            runtime.map(|(_, queued)| queued),
        ]
    }
}

impl Concurrency {
    fn used(&self) -> f64 {
        self.requests.active_seconds() / self.limit.max(1) as f64
    }
}

impl Runtime {
    /// Of the workers, and of the queue.
    fn used(&mut self, now: Instant) -> (f64, f64) {
        let elapsed = now.saturating_duration_since(self.sampled);
        self.sampled = now;
        let metrics = &self.metrics;
        let total = |(index, worker): (usize, &mut WorkerBusy)| {
            let told = Told {
                parks_and_unparks: metrics.worker_park_unpark_count(index),
                busy: metrics.worker_total_busy_duration(index),
            };
            worker.total(told, elapsed).as_secs_f64()
        };
        let busy: f64 = self.workers.iter_mut().enumerate().map(total).sum();
        let workers = self.workers.len().max(1) as f64;
        let waiting = metrics.global_queue_depth() as f64;
        self.queued += waiting / (waiting + workers) * elapsed.as_secs_f64();
        (busy / workers, self.queued)
    }
}

/// The thread: samples until its other end is gone.
fn run(
    mut sources: Sources,
    stopped: &Receiver<Infallible>,
    interval: Duration,
    window: Duration,
    shown: &Mutex<Option<Shares>>,
) {
    let mut samples = Samples::new(window);
    loop {
        let now = Instant::now();
        let shares = samples.add(now, sources.used(now));
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = shares;
        match stopped.recv_timeout(interval) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
            Ok(never) => match never {},
        }
    }
}

/// The samples of the window.
#[derive(Debug)]
struct Samples {
    window: Duration,
    /// Oldest first.
    kept: VecDeque<(Instant, Shares)>,
}

impl Samples {
    fn new(window: Duration) -> Self {
        Self {
            window,
            kept: VecDeque::new(),
        }
    }

    /// The shares in use since the window began, or since the first sample; `None` for that one.
    fn add(&mut self, at: Instant, used: Shares) -> Option<Shares> {
        self.kept.push_back((at, used));
        // The oldest one kept is the one at, or last before, the window's beginning.
        let long_ago =
            |(then, _): &(Instant, Shares)| at.saturating_duration_since(*then) >= self.window;
        while self.kept.get(1).is_some_and(long_ago) {
            self.kept.pop_front();
        }
        let (began, before) = self.kept.front()?;
        let elapsed = at.saturating_duration_since(*began).as_secs_f64();
        let share = |(used, before): (Option<f64>, &Option<f64>)| {
            Some(((used? - (*before)?) / elapsed).clamp(0.0, 1.0))
        };
        let mut shares = used.into_iter().zip(before).map(share);
        (elapsed > 0.0).then(|| std::array::from_fn(|_| shares.next().flatten()))
    }
}

#[cfg(test)]
mod tests;
