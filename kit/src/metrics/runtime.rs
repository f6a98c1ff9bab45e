//! `tokio_*`: the runtime that the kit was started in, as far as tokio tells without `tokio_unstable`. Other
//! runtimes of the process cannot be seen from there.
//!
//! No convention names these; they are tokio's own names (`RuntimeMetrics`) with Prometheus' suffixes. Workers
//! are summed up, as a label would make a series a core: `rate(tokio_worker_busy_seconds_total)` divided by
//! `tokio_workers` is the share of its time that a worker is busy.

use std::time::Duration;

use tokio::runtime::RuntimeMetrics;

use super::labels::LabelText;
use super::text::{Kind, Text};

pub(super) fn write(runtime: &RuntimeMetrics, text: &mut Text) {
    let none = LabelText::default();
    let mut gauge = |name, help, value: usize| {
        text.family(name, Kind::Gauge, None, help);
        text.sample(&none, value as u64);
    };
    gauge(
        "tokio_workers",
        "Worker threads of the tokio runtime",
        runtime.num_workers(),
    );
    gauge(
        "tokio_alive_tasks",
        "Tasks of the tokio runtime that have not ended",
        runtime.num_alive_tasks(),
    );
    gauge(
        "tokio_global_queue_depth",
        "Tasks ready to run that no worker of the tokio runtime has taken yet",
        runtime.global_queue_depth(),
    );
    let workers = 0..runtime.num_workers();
    let busy: Duration = workers
        .clone()
        .map(|worker| runtime.worker_total_busy_duration(worker))
        .sum();
    text.family(
        "tokio_worker_busy_seconds",
        Kind::Counter,
        Some("seconds"),
        "Time that the workers of the tokio runtime were busy, all together; one that is still at it is counted later",
    );
    text.sample(&none, busy.as_secs_f64());
    let parks: u64 = workers
        .map(|worker| runtime.worker_park_count(worker))
        .sum();
    text.family(
        "tokio_worker_parks",
        Kind::Counter,
        None,
        "Times that a worker of the tokio runtime ran out of work and slept",
    );
    text.sample(&none, parks);
}
