//! What became of the spans: written by the queue and the exporter, read by `/metrics` and the kit.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Counts of one service's spans on their way out; cheap to clone, always consistent enough to sum:
/// every span handed to the queue ends in exactly one of exported, dropped and failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct TelemetryCounters(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    exported: AtomicU64,
    dropped_queue_full: AtomicU64,
    dropped_shutdown: AtomicU64,
    failed: AtomicU64,
    waiting: AtomicUsize,
    last: Mutex<Last>,
}

#[derive(Clone, Debug, Default)]
struct Last {
    success: Option<SystemTime>,
    error: Option<ExportFault>,
}

/// The last thing that went wrong while exporting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExportFault {
    pub(crate) at: SystemTime,
    pub(crate) cause: String,
}

/// Why a span was dropped before it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    QueueFull,
    /// Still unsent when the kit stopped, or finished after it.
    Shutdown,
}

impl TelemetryCounters {
    /// Spans that the collector accepted.
    pub(crate) fn exported(&self) -> u64 {
        self.0.exported.load(Ordering::Relaxed)
    }

    /// Spans dropped for `reason`.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped_cell(reason).load(Ordering::Relaxed)
    }

    /// Spans that the collector refused for good.
    pub(crate) fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    pub(super) fn add_dropped(&self, reason: DropReason, spans: usize) {
        self.dropped_cell(reason)
            .fetch_add(spans as u64, Ordering::Relaxed);
    }

    pub(super) fn add_exported(&self, spans: u64) {
        self.0.exported.fetch_add(spans, Ordering::Relaxed);
    }

    pub(super) fn add_failed(&self, spans: u64) {
        self.0.failed.fetch_add(spans, Ordering::Relaxed);
    }

    pub(super) fn set_waiting(&self, spans: usize) {
        self.0.waiting.store(spans, Ordering::Relaxed);
    }

    pub(super) fn succeeded(&self, at: SystemTime) {
        self.with_last(|last| last.success = Some(at));
    }

    pub(super) fn faulted(&self, at: SystemTime, cause: String) {
        self.with_last(|last| last.error = Some(ExportFault { at, cause }));
    }

    fn dropped_cell(&self, reason: DropReason) -> &AtomicU64 {
        match reason {
            DropReason::QueueFull => &self.0.dropped_queue_full,
            DropReason::Shutdown => &self.0.dropped_shutdown,
        }
    }

    fn with_last<T>(&self, act: impl FnOnce(&mut Last) -> T) -> T {
        act(&mut self.0.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg_attr(
    not(feature = "axum"),
    allow(dead_code, reason = "for the admin endpoints, which need axum")
)]
impl TelemetryCounters {
    /// Spans waiting to be sent, those of a batch under way included.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// When the collector last accepted a batch.
    pub(crate) fn last_success(&self) -> Option<SystemTime> {
        self.last().success
    }

    /// What last went wrong, also when it works again since.
    pub(crate) fn last_error(&self) -> Option<ExportFault> {
        self.last().error
    }

    fn last(&self) -> Last {
        self.with_last(|last| last.clone())
    }
}
