//! The exporter: a thread with a runtime of its own that takes batches from the queue and sends them.
//! `kit` starts, flushes and stops it.
//!
//! A thread of its own, because an exporter on the service's runtime deadlocks when that runtime has one
//! worker, panics when a flush blocks inside it, and competes with requests. Nothing on this thread has
//! a request context, so nothing here can make spans that would have to be exported in turn.

use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::report::Reporter;
use super::transport;
use super::worker::Worker;
use super::{ExportConfig, ExporterKind, SpanQueue};

/// The handle of the exporter's thread. Dropping it stops the thread; what is still queued is then
/// counted as dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    /// Absent when there is nothing to export to.
    commands: Option<mpsc::UnboundedSender<Command>>,
}

/// A wish of the kit, answered with whether everything queued before it was accepted.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) deadline: Instant,
    pub(super) stop: bool,
    pub(super) reply: oneshot::Sender<bool>,
}

/// Starts exporting what is pushed into `queue`. `resource` describes the service (`service.name`, …). A configuration that cannot work is warned of and switches the queue off:
/// a service must not fail to start because of its traces.
///
/// # Errors
///
/// When the operating system refuses the thread or its runtime.
pub(crate) fn start(
    config: ExportConfig,
    resource: Vec<(String, String)>,
    queue: &SpanQueue,
) -> io::Result<Exporter> {
    if config.exporter == ExporterKind::None {
        return Ok(Exporter { commands: None });
    }
    let reporter = Reporter::of_this_thread();
    if let Err(fault) = transport::check(&config) {
        reporter.off(&fault);
        queue.switch_off(&fault);
        return Ok(Exporter { commands: None });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (commands, inbox) = mpsc::unbounded_channel();
    let queue = queue.clone();
    std::thread::Builder::new()
        .name("bellwether-spans".to_owned())
        .spawn(move || {
            let work = async {
                let worker = Worker::new(config, resource, queue.clone(), inbox, reporter.clone())?;
                worker.run().await;
                Ok(())
            };
            // A panic in a library must not leave a queue behind that nobody empties.
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(work)))
                .unwrap_or_else(|_| Err("the exporter panicked".to_owned()));
            if let Err(fault) = result {
                reporter.off(&fault);
                queue.switch_off(&fault);
            }
        })?;
    Ok(Exporter {
        commands: Some(commands),
    })
}

impl Exporter {
    /// Sends everything queued so far. False when not all of it was accepted within `timeout`.
    #[cfg(test)]
    pub(crate) async fn flush(&self, timeout: Duration) -> bool {
        self.ask(timeout, false).await
    }

    /// Sends everything queued, then stops: what is not accepted within `timeout`, and every later span,
    /// is dropped and counted. False when anything was.
    pub(crate) async fn shutdown(&self, timeout: Duration) -> bool {
        self.ask(timeout, true).await
    }

    async fn ask(&self, timeout: Duration, stop: bool) -> bool {
        let Some(commands) = &self.commands else {
            return true;
        };
        let (reply, answer) = oneshot::channel();
        let command = Command {
            deadline: Instant::now() + timeout,
            stop,
            reply,
        };
        // The worker keeps the deadline itself, so this needs no timer of the caller's runtime.
        commands.send(command).is_ok() && answer.await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests;
