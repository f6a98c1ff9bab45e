//! Counters that each stage writes and `/api/v1/status`, the pages and `/metrics` read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::signal::{BySignal, Items, Signal, Signals};

/// Everything that is counted about the flow; built by `pipeline` before it starts any stage.
#[derive(Debug, Default)]
pub struct Status {
    /// In the order they were bound.
    pub receivers: Vec<Arc<ReceiverStatus>>,
    /// In the order they were asked for.
    pub exporters: Vec<Arc<ExporterStatus>>,
    /// The batch log on disk; `None` when it is in memory.
    pub log: Option<Arc<LogStatus>>,
}

/// What the batch log on disk holds, and what went wrong with it.
#[derive(Debug, Default)]
pub struct LogStatus {
    /// Its directory.
    pub directory: String,
    /// When a batch is answered: `synced`, `received`.
    pub durability: &'static str,
    /// Most bytes that its files may have together.
    pub limit_bytes: u64,
    /// Bytes of records in it.
    pub used_bytes: AtomicU64,
    /// Files that hold them.
    pub segments: AtomicU64,
    /// Bytes kept for exporters that are not configured any more.
    pub left_bytes: AtomicU64,
    /// Batches refused because it was full.
    pub full_refusals: AtomicU64,
    /// Writes and syncs that failed: their batches were refused.
    pub write_failures: AtomicU64,
    /// Segments of which some could not be read.
    pub damaged_segments: AtomicU64,
    /// The last failure.
    pub last_error: LastError,
}

/// What one listener took and refused.
#[derive(Debug)]
pub struct ReceiverStatus {
    /// `otlp-grpc`, `otlp-http`, `zipkin`.
    pub protocol: &'static str,
    /// The address really bound, as `HOST:PORT`; why it is not listening, when it could not be bound.
    pub address: Result<String, String>,
    /// What keeps others out.
    pub locks: Locks,
    /// Batches answered with success.
    pub accepted_batches: AtomicU64,
    /// Spans in them.
    pub accepted_spans: AtomicU64,
    /// Log records in them.
    pub accepted_log_records: AtomicU64,
    /// Data points in them.
    pub accepted_data_points: AtomicU64,
    /// Batches refused for now (no room): their sender retries.
    pub refused_batches: AtomicU64,
    /// Batches refused for good (malformed, too large).
    pub rejected_batches: AtomicU64,
    /// Requests refused for want of a valid token.
    pub denied_requests: AtomicU64,
    /// Connections refused before their first request: no TLS where there has to be, no certificate, one of a stranger.
    pub failed_handshakes: AtomicU64,
    /// The last refusal or rejection.
    pub last_error: LastError,
}

/// What a listener asks of those who come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Locks {
    /// Connections are in TLS.
    pub tls: bool,
    /// Clients show a certificate.
    pub client_certificates: bool,
    /// Requests have a token.
    pub tokens: bool,
}

/// What one exporter sent, and what is waiting for it.
#[derive(Debug, Default)]
pub struct ExporterStatus {
    /// Its name: the export URL, unless it was given another.
    pub name: String,
    /// What it takes; the rest passes it by.
    pub signals: Signals,
    /// Spans its peer acknowledged.
    pub sent_spans: AtomicU64,
    /// Log records its peer acknowledged.
    pub sent_log_records: AtomicU64,
    /// Data points its peer acknowledged.
    pub sent_data_points: AtomicU64,
    /// Requests its peer acknowledged.
    pub sent_requests: AtomicU64,
    /// Attempts after a first one that failed.
    pub retries: AtomicU64,
    /// Spans given up: pushed out of the full log before they could be sent.
    pub dropped_spans: AtomicU64,
    /// Log records given up like that.
    pub dropped_log_records: AtomicU64,
    /// Data points given up like that.
    pub dropped_data_points: AtomicU64,
    /// Spans its peer refused for good.
    pub set_aside_spans: AtomicU64,
    /// Log records its peer refused for good.
    pub set_aside_log_records: AtomicU64,
    /// Data points its peer refused for good.
    pub set_aside_data_points: AtomicU64,
    /// What it was told not to send.
    pub sampling: SamplingStatus,
    /// Requests that are under way now.
    pub under_way_requests: AtomicU64,
    /// Bytes of the log it has not sent yet.
    pub queue_bytes: AtomicU64,
    /// Arrival of the oldest batch it has not sent yet, Unix nanoseconds; 0 when it has none.
    pub oldest_unix_nano: AtomicU64,
    /// Since when nothing could be sent, Unix nanoseconds; 0 while its peer answers.
    pub failing_unix_nano: AtomicU64,
    /// The last failure.
    pub last_error: LastError,
}

/// What sampling did with the spans of one exporter. Those left out are neither sent nor dropped nor set aside.
#[derive(Debug, Default)]
pub struct SamplingStatus {
    /// What is sent, in words; empty when that is everything.
    pub rules: String,
    /// Spans left out: not of the share of traces that is kept.
    pub out_by_ratio_spans: AtomicU64,
    /// Spans left out: health checks and other routes that were asked to be dropped.
    pub out_by_route_spans: AtomicU64,
    /// Spans sent since a span of their trace failed.
    pub kept_errors_spans: AtomicU64,
    /// Spans sent since a span of their trace was slow.
    pub kept_slow_spans: AtomicU64,
    /// Spans decided before the time was over: the log or the index was filling up, or the collector stopped.
    pub early_spans: AtomicU64,
    /// Spans of traces that were forgotten before they were decided: the index was full.
    pub forgotten_spans: AtomicU64,
}

/// The last error of a stage, with when it happened.
#[derive(Debug, Default)]
pub struct LastError(Mutex<Option<ErrorAt>>);

/// An error and its time.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorAt {
    /// What happened.
    pub message: String,
    /// When, Unix nanoseconds.
    pub unix_nano: u64,
}

impl ReceiverStatus {
    /// Of a receiver that listens on `address`.
    pub fn listening(protocol: &'static str, address: String) -> Self {
        Self::new(protocol, Ok(address))
    }

    /// With these locks.
    #[must_use]
    pub fn with_locks(self, locks: Locks) -> Self {
        Self { locks, ..self }
    }

    /// Of a receiver that could not be bound, and why.
    pub fn left_out(protocol: &'static str, reason: String) -> Self {
        Self::new(protocol, Err(reason))
    }

    fn new(protocol: &'static str, address: Result<String, String>) -> Self {
        Self {
            protocol,
            address,
            locks: Locks::default(),
            accepted_batches: AtomicU64::new(0),
            accepted_spans: AtomicU64::new(0),
            accepted_log_records: AtomicU64::new(0),
            accepted_data_points: AtomicU64::new(0),
            refused_batches: AtomicU64::new(0),
            rejected_batches: AtomicU64::new(0),
            denied_requests: AtomicU64::new(0),
            failed_handshakes: AtomicU64::new(0),
            last_error: LastError::default(),
        }
    }

    /// Items in batches answered with success.
    pub fn accepted(&self) -> BySignal<&AtomicU64> {
        BySignal {
            traces: &self.accepted_spans,
            logs: &self.accepted_log_records,
            metrics: &self.accepted_data_points,
        }
    }
}

impl ExporterStatus {
    /// Of the exporter called `name`.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Nothing can be sent since `unix_nano`; 0 when the peer answers again.
    pub fn fails_since(&self, unix_nano: u64) {
        self.failing_unix_nano.store(unix_nano, Ordering::Relaxed);
    }

    /// Items its peer acknowledged.
    pub fn sent(&self) -> BySignal<&AtomicU64> {
        BySignal {
            traces: &self.sent_spans,
            logs: &self.sent_log_records,
            metrics: &self.sent_data_points,
        }
    }

    /// Items given up: pushed out of the full log before they could be sent.
    pub fn dropped(&self) -> BySignal<&AtomicU64> {
        BySignal {
            traces: &self.dropped_spans,
            logs: &self.dropped_log_records,
            metrics: &self.dropped_data_points,
        }
    }

    /// Items its peer refused for good.
    pub fn set_aside(&self) -> BySignal<&AtomicU64> {
        BySignal {
            traces: &self.set_aside_spans,
            logs: &self.set_aside_log_records,
            metrics: &self.set_aside_data_points,
        }
    }
}

impl BySignal<&AtomicU64> {
    /// Adds to each counter.
    pub fn add(&self, items: Items) {
        for signal in Signal::ALL {
            add(self.of(signal), *items.of(signal));
        }
    }

    /// What the counters show.
    pub fn load(&self) -> Items {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Items {
            traces: load(self.traces),
            logs: load(self.logs),
            metrics: load(self.metrics),
        }
    }
}

impl LastError {
    /// Replaces the last error.
    pub fn set(&self, message: impl Into<String>) {
        let error = ErrorAt {
            message: message.into(),
            unix_nano: now_unix_nano(),
        };
        *self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
    }

    /// The last error, if there was one.
    pub fn get(&self) -> Option<ErrorAt> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

/// Adds to a counter; counters are independent, so no ordering is needed.
pub fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// The time of arrival that batches, errors and views are placed by: this machine's clock, Unix nanoseconds.
pub fn now_unix_nano() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        })
}
