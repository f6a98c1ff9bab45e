//! Where spans and lines go, and what has become of them: for the first line, `/telemetry` and the flush.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::description;
use crate::log::Logger;
use crate::redact;
use crate::trace::{DropReason, ExportConfig, ExporterKind, TelemetryCounters};

/// The ways out of a service.
#[derive(Clone, Debug)]
pub(super) struct Outlets {
    pub(super) export: ExportConfig,
    pub(super) counters: TelemetryCounters,
    pub(super) logger: Logger,
}

impl Outlets {
    /// `otlp`, `console` or `none`.
    pub(super) fn exporter(&self) -> &'static str {
        description::exporter(self.export.exporter)
    }

    /// The URL that spans go to, if they go to one, without credentials.
    pub(super) fn endpoint(&self) -> Option<String> {
        let remote = self.export.exporter == ExporterKind::Otlp;
        remote.then(|| self.export.shown_url())
    }

    /// Where are my traces?
    pub(super) fn report(&self) -> Value {
        let now = SystemTime::now();
        let lines = self.logger.line_counts();
        let age = |at: SystemTime| now.duration_since(at).unwrap_or_default().as_secs_f64();
        let last_error = self.counters.last_error().map(|fault| {
            let cause = redact::in_text(&fault.cause).unwrap_or(fault.cause);
            json!({ "age_seconds": age(fault.at), "cause": cause })
        });
        json!({
            "traces": {
                "exporter": self.exporter(),
                "endpoint": self.endpoint(),
                "exported": self.counters.exported(),
                "dropped": {
                    "queue_full": self.counters.dropped(DropReason::QueueFull),
                    "shutdown": self.counters.dropped(DropReason::Shutdown),
                },
                "failed": self.counters.failed(),
                "waiting": self.counters.waiting(),
                "queue_size": self.export.max_queue_size,
                "last_success_age_seconds": self.counters.last_success().map(age),
                "last_error": last_error,
            },
            "logs": {
                "written": lines.written,
                "dropped": {
                    "queue_full": lines.queue_full,
                    "write_failed": lines.write_failed,
                    "rate_limited": lines.rate_limited,
                    "recorder_full": lines.recorder_full,
                },
            },
        })
    }
}
