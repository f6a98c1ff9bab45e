//! `bellwether_telemetry_*`: what became of the spans and log lines themselves.

use std::fmt;

use super::labels::LabelText;
use super::text::{Kind, Text};
use crate::log::LineCounts;
use crate::trace::{DropReason, TelemetryCounters};

/// Asked at each scrape.
pub(super) struct Telemetry {
    traces: TelemetryCounters,
    line_counts: Box<dyn Fn() -> LineCounts + Send + Sync>,
}

impl Telemetry {
    pub(super) fn new(
        traces: TelemetryCounters,
        line_counts: impl Fn() -> LineCounts + Send + Sync + 'static,
    ) -> Self {
        Self {
            traces,
            line_counts: Box::new(line_counts),
        }
    }

    pub(super) fn write(&self, text: &mut Text) {
        let lines = (self.line_counts)();
        text.family(
            "bellwether_telemetry_exported",
            Kind::Counter,
            None,
            "Telemetry that its receiver accepted",
        );
        text.sample(&labels("traces", None), self.traces.exported());
        text.sample(&labels("logs", None), lines.written);
        text.family(
            "bellwether_telemetry_dropped",
            Kind::Counter,
            None,
            "Telemetry dropped before it was sent",
        );
        let dropped = |reason| self.traces.dropped(reason);
        text.sample(
            &labels("traces", Some("queue_full")),
            dropped(DropReason::QueueFull),
        );
        text.sample(
            &labels("traces", Some("shutdown")),
            dropped(DropReason::Shutdown),
        );
        for (reason, lost) in [
            ("queue_full", lines.queue_full),
            ("write_failed", lines.write_failed),
            ("rate_limited", lines.rate_limited),
            ("recorder_full", lines.recorder_full),
        ] {
            text.sample(&labels("logs", Some(reason)), lost);
        }
        text.family(
            "bellwether_telemetry_failed",
            Kind::Counter,
            None,
            "Telemetry that its receiver refused for good",
        );
        text.sample(&labels("traces", Some("refused")), self.traces.failed());
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("traces", &self.traces)
            .finish_non_exhaustive()
    }
}

fn labels(signal: &str, reason: Option<&str>) -> LabelText {
    LabelText::default()
        .with("signal", signal)
        .with_some("reason", reason)
}
