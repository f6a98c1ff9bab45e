//! `/api/v1/status`: what each receiver took, what each exporter sent, what the views hold.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::signal::Signals;
use crate::status::{
    ErrorAt, ExporterStatus, Locks, LogStatus, ReceiverStatus, SamplingStatus, Status,
    now_unix_nano,
};
use crate::views::Views;
use crate::views::report::ViewsStatus;

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct StatusReport {
    version: &'static str,
    uptime_seconds: f64,
    receivers: Vec<ReceiverReport>,
    exporters: Vec<ExporterReport>,
    /// The data directory; null without one.
    log: Option<LogReport>,
    views: ViewsStatus,
}

#[derive(Debug, Serialize)]
struct ReceiverReport {
    protocol: &'static str,
    /// Null when it is not listening.
    address: Option<String>,
    /// Why it is not listening.
    not_listening: Option<String>,
    locks: Locks,
    accepted_batches: u64,
    accepted_spans: u64,
    accepted_log_records: u64,
    accepted_data_points: u64,
    refused_batches: u64,
    rejected_batches: u64,
    /// For want of a valid token.
    denied_requests: u64,
    /// Connections that did not get as far as a request.
    failed_handshakes: u64,
    last_error: Option<LastErrorReport>,
}

#[derive(Debug, Serialize)]
struct ExporterReport {
    name: String,
    /// What it takes.
    signals: Signals,
    sent_spans: u64,
    sent_log_records: u64,
    sent_data_points: u64,
    sent_requests: u64,
    retries: u64,
    dropped_spans: u64,
    dropped_log_records: u64,
    dropped_data_points: u64,
    set_aside_spans: u64,
    set_aside_log_records: u64,
    set_aside_data_points: u64,
    /// Null when everything is sent.
    sampling: Option<SamplingReport>,
    under_way_requests: u64,
    queue_bytes: u64,
    /// Age of the oldest batch that was not sent yet; null when there is none.
    oldest_seconds: Option<f64>,
    /// For how long its peer has taken nothing; null while it answers. The last error may be over then.
    failing_seconds: Option<f64>,
    last_error: Option<LastErrorReport>,
}

#[derive(Debug, Serialize)]
struct SamplingReport {
    /// What is sent, in words.
    rules: String,
    sampled_out_spans: SampledOut,
    kept_errors_spans: u64,
    kept_slow_spans: u64,
    early_spans: u64,
    forgotten_spans: u64,
}

/// By reason.
#[derive(Debug, Serialize)]
struct SampledOut {
    ratio: u64,
    route: u64,
}

#[derive(Debug, Serialize)]
struct LogReport {
    directory: String,
    durability: &'static str,
    limit_bytes: u64,
    used_bytes: u64,
    segments: u64,
    /// For exporters that are not configured any more.
    left_bytes: u64,
    full_refusals: u64,
    write_failures: u64,
    damaged_segments: u64,
    last_error: Option<LastErrorReport>,
}

#[derive(Debug, Serialize)]
struct LastErrorReport {
    message: String,
    unix_nano: String,
}

pub(super) fn report(views: &Views, status: &Status) -> StatusReport {
    let now = now_unix_nano();
    StatusReport {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: views.uptime().as_secs_f64(),
        receivers: status
            .receivers
            .iter()
            .map(|status| receiver(status))
            .collect(),
        exporters: status
            .exporters
            .iter()
            .map(|status| exporter(status, now))
            .collect(),
        log: status.log.as_deref().map(log),
        views: views.status(),
    }
}

fn receiver(status: &ReceiverStatus) -> ReceiverReport {
    let accepted = status.accepted().load();
    ReceiverReport {
        protocol: status.protocol,
        address: status.address.clone().ok(),
        not_listening: status.address.clone().err(),
        locks: status.locks,
        accepted_batches: read(&status.accepted_batches),
        accepted_spans: accepted.traces,
        accepted_log_records: accepted.logs,
        accepted_data_points: accepted.metrics,
        refused_batches: read(&status.refused_batches),
        rejected_batches: read(&status.rejected_batches),
        denied_requests: read(&status.denied_requests),
        failed_handshakes: read(&status.failed_handshakes),
        last_error: status.last_error.get().map(last_error),
    }
}

fn exporter(status: &ExporterStatus, now_unix_nano: u64) -> ExporterReport {
    let seconds_since =
        |since: u64| (since > 0).then(|| now_unix_nano.saturating_sub(since) as f64 / 1e9);
    let (sent, dropped) = (status.sent().load(), status.dropped().load());
    let set_aside = status.set_aside().load();
    ExporterReport {
        name: status.name.clone(),
        signals: status.signals,
        sent_spans: sent.traces,
        sent_log_records: sent.logs,
        sent_data_points: sent.metrics,
        sent_requests: read(&status.sent_requests),
        retries: read(&status.retries),
        dropped_spans: dropped.traces,
        dropped_log_records: dropped.logs,
        dropped_data_points: dropped.metrics,
        set_aside_spans: set_aside.traces,
        set_aside_log_records: set_aside.logs,
        set_aside_data_points: set_aside.metrics,
        sampling: sampling(&status.sampling),
        under_way_requests: read(&status.under_way_requests),
        queue_bytes: read(&status.queue_bytes),
        oldest_seconds: seconds_since(read(&status.oldest_unix_nano)),
        failing_seconds: seconds_since(read(&status.failing_unix_nano)),
        last_error: status.last_error.get().map(last_error),
    }
}

fn sampling(status: &SamplingStatus) -> Option<SamplingReport> {
    (!status.rules.is_empty()).then(|| SamplingReport {
        rules: status.rules.clone(),
        sampled_out_spans: SampledOut {
            ratio: read(&status.out_by_ratio_spans),
            route: read(&status.out_by_route_spans),
        },
        kept_errors_spans: read(&status.kept_errors_spans),
        kept_slow_spans: read(&status.kept_slow_spans),
        early_spans: read(&status.early_spans),
        forgotten_spans: read(&status.forgotten_spans),
    })
}

fn log(status: &LogStatus) -> LogReport {
    LogReport {
        directory: status.directory.clone(),
        durability: status.durability,
        limit_bytes: status.limit_bytes,
        used_bytes: read(&status.used_bytes),
        segments: read(&status.segments),
        left_bytes: read(&status.left_bytes),
        full_refusals: read(&status.full_refusals),
        write_failures: read(&status.write_failures),
        damaged_segments: read(&status.damaged_segments),
        last_error: status.last_error.get().map(last_error),
    }
}

fn last_error(error: ErrorAt) -> LastErrorReport {
    LastErrorReport {
        message: error.message,
        unix_nano: error.unix_nano.to_string(),
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
