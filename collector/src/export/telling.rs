//! What an exporter tells of its peer's words, so that a flood of them is no flood of lines. Called by the worker.

use std::time::Duration;

use tokio::time::Instant;

use crate::signal::{Items, Signal};
use crate::status::{ExporterStatus, add};

/// Refusals for good are told at most so often; those in between are told together. Other words of warning, too.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// `reason` with the signal that it is about; most often there are but traces.
pub(super) fn of_signal(signal: Signal, reason: &str) -> String {
    match signal {
        Signal::Traces => reason.to_owned(),
        Signal::Logs | Signal::Metrics => format!("{}: {reason}", signal.name()),
    }
}

/// What the peer refused for good: counted at once, told in one line for many.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told_at: Option<Instant>,
    untold: Items,
}

impl Refusals {
    pub(super) fn count(
        &mut self,
        status: &ExporterStatus,
        signal: Signal,
        items: u64,
        reason: &str,
    ) {
        add(status.set_aside().of(signal), items);
        let reason = of_signal(signal, reason);
        status.last_error.set(reason.as_str());
        self.untold += Items::only(signal, items);
        let now = Instant::now();
        if self.told_at.is_none_or(|told| now - told >= TELL_EVERY) {
            self.told_at = Some(now);
            self.tell(status, &reason);
        }
    }

    pub(super) fn tell_rest(&mut self, status: &ExporterStatus) {
        if !self.untold.is_empty() {
            let reason = status.last_error.get().map(|error| error.message);
            self.tell(status, &reason.unwrap_or_default());
        }
    }

    fn tell(&mut self, status: &ExporterStatus, reason: &str) {
        let untold = std::mem::take(&mut self.untold);
        tracing::warn!(
            exporter = status.name,
            spans = untold.traces,
            log_records = untold.told(Signal::Logs),
            data_points = untold.told(Signal::Metrics),
            reason,
            "the peer refused some for good: they are set aside"
        );
    }
}

/// What peers say of what they have taken: told once, and again only when it is something else.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    told: Option<(String, Instant)>,
}

impl Warnings {
    /// Tells `warning`, unless it is empty; whether it was told.
    pub(super) fn tell(&mut self, exporter: &str, warning: String) -> bool {
        let is_old = |(told, at): &(String, Instant)| *told == warning || at.elapsed() < TELL_EVERY;
        if warning.is_empty() || self.told.as_ref().is_some_and(is_old) {
            return false;
        }
        tracing::warn!(
            exporter,
            warning,
            "the peer took everything, with a warning that is told once"
        );
        self.told = Some((warning, Instant::now()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_warning_is_told_once() {
        let mut warnings = Warnings::default();
        let mut tell = |text: &str| warnings.tell("a", text.to_owned());
        assert!(!tell(""));
        assert!(tell("old SDK"));
        assert!(!tell("old SDK"));
        assert!(!tell("batch 7 is odd"), "too soon");
        tokio::time::advance(TELL_EVERY).await;
        assert!(!tell("old SDK"), "known");
        assert!(tell("batch 8 is odd"));
    }
}
