//! What the exporter says to the service's log: once when spans stop flowing, once when they flow again.

use tracing::Dispatch;
use tracing::dispatcher;
use tracing::subscriber::NoSubscriber;

use super::{ExportConfig, fault};

/// Speaks to the subscriber of whoever started the exporter, also from the exporter's own thread.
#[derive(Clone, Debug)]
pub(super) struct Reporter(Dispatch);

impl Reporter {
    pub(super) fn of_this_thread() -> Self {
        Self(dispatcher::get_default(Dispatch::clone))
    }

    /// The configuration cannot work.
    pub(super) fn off(&self, cause: &str) {
        self.say(|| tracing::warn!(target: "bellwether::export", cause, "traces are off"));
    }

    pub(super) fn cannot_export(&self, config: &ExportConfig, cause: &str) {
        self.say(|| {
            tracing::warn!(
                target: "bellwether::export",
                endpoint = config.shown_url(),
                cause,
                advice = fault::advice(config, cause),
                "spans cannot be exported; up to {} wait, the others are dropped and counted",
                config.max_queue_size,
            );
        });
    }

    /// A batch was refused for good: sending it again would change nothing.
    pub(super) fn refused(&self, config: &ExportConfig, cause: &str, spans: usize) {
        self.say(|| {
            tracing::warn!(
                target: "bellwether::export",
                endpoint = config.shown_url(),
                spans,
                cause,
                advice = fault::advice(config, cause),
                "spans are refused for good and counted as failed; the next ones are tried"
            );
        });
    }

    pub(super) fn flow_again(&self, config: &ExportConfig, lost_meanwhile: u64) {
        self.say(|| {
            tracing::info!(
                target: "bellwether::export",
                endpoint = config.shown_url(),
                lost_meanwhile,
                "spans flow again"
            );
        });
    }

    pub(super) fn rejected(&self, config: &ExportConfig, cause: &str) {
        self.say(|| {
            tracing::warn!(
                target: "bellwether::export",
                endpoint = config.shown_url(),
                cause,
                "spans are rejected; these and further ones are counted as failed"
            );
        });
    }

    pub(super) fn stopped_with(&self, unsent: usize) {
        self.say(|| {
            tracing::warn!(
                target: "bellwether::export",
                unsent,
                "stopped with spans unsent; they are counted as dropped"
            );
        });
    }

    /// Scoped to the one event: a scoped subscriber makes every event of every thread look for its own.
    fn say(&self, event: impl FnOnce()) {
        if self.0.is::<NoSubscriber>() {
            event();
        } else {
            dispatcher::with_default(&self.0, event);
        }
    }
}
