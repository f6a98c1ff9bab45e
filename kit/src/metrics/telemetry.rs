//! `bellwether_telemetry_*`: what became of the spans and log lines themselves.

use std::fmt;

use super::labels::LabelText;
use super::text::{Kind, Text};
use crate::log::LostLines;
use crate::trace::{DropReason, TelemetryCounters};

/// Asked at each scrape.
pub(super) struct Telemetry {
    traces: TelemetryCounters,
    lines_lost: Box<dyn Fn() -> LostLines + Send + Sync>,
}

impl Telemetry {
    pub(super) fn new(
        traces: TelemetryCounters,
        lines_lost: impl Fn() -> LostLines + Send + Sync + 'static,
    ) -> Self {
        Self {
            traces,
            lines_lost: Box::new(lines_lost),
        }
    }

    pub(super) fn write(&self, text: &mut Text) {
        text.family(
            "bellwether_telemetry_exported",
            Kind::Counter,
            None,
            "Telemetry that its receiver accepted",
        );
        text.sample(&labels("traces", None), self.traces.exported());
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
        let lines = (self.lines_lost)();
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
