//! The loop on the exporter's thread: wait for a batch, send it, keep what could not be sent.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::counters::DropReason;
use super::exporter::Command;
use super::report::Reporter;
use super::transport::{Accepted, Failure, Transport};
use super::{ExportConfig, SpanQueue, SpanRecord};

/// The first pause after a batch that could not be sent; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A collector that comes up late waits no longer than this for its first spans.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Owns the way out; everything here runs on one thread.
#[derive(Debug)]
pub(super) struct Worker {
    config: ExportConfig,
    queue: SpanQueue,
    inbox: UnboundedReceiver<Command>,
    transport: Transport,
    reporter: Reporter,
    /// Taken from the queue and not settled yet, oldest first.
    pending: VecDeque<SpanRecord>,
    /// The buffer that the queue is given in exchange for its full one.
    spare: Vec<SpanRecord>,
    /// Commands that came while a batch was under way.
    asked: Vec<Command>,
    trouble: Option<Trouble>,
    told_of_rejection: bool,
}

/// From the first failure until a batch is accepted again.
#[derive(Debug)]
struct Trouble {
    retry_at: Instant,
    pause: Duration,
    lost_before: u64,
}

impl Worker {
    /// Needs a runtime: the transport spawns its connections on it.
    ///
    /// # Errors
    ///
    /// What the configuration lacks, as text.
    pub(super) fn new(
        config: ExportConfig,
        resource: Vec<(String, String)>,
        queue: SpanQueue,
        inbox: UnboundedReceiver<Command>,
        reporter: Reporter,
    ) -> Result<Self, String> {
        Ok(Self {
            transport: Transport::new(&config, resource)?,
            config,
            queue,
            inbox,
            reporter,
            pending: VecDeque::new(),
            spare: Vec::new(),
            asked: Vec::new(),
            trouble: None,
            told_of_rejection: false,
        })
    }

    /// Until told to stop, or until the handle is gone.
    pub(super) async fn run(mut self) {
        loop {
            self.wait().await;
            let asked = std::mem::take(&mut self.asked);
            let stop = asked.iter().any(|command| command.stop);
            if stop {
                self.queue.close();
            }
            let deadline = asked
                .iter()
                .filter(|command| command.stop == stop)
                .map(|command| command.deadline)
                .min();
            let all_accepted = self.drain(deadline).await;
            if stop {
                self.give_up();
            }
            for command in asked {
                // Nobody waits for the answer any more when the caller's future was dropped.
                let _ = command.reply.send(all_accepted);
            }
            if stop {
                return;
            }
        }
    }

    /// Until a batch is full, the schedule or the pause after a failure has passed, or a command came.
    async fn wait(&mut self) {
        if !self.asked.is_empty() {
            return;
        }
        let command = if let Some(trouble) = &self.trouble {
            tokio::select! {
                command = self.inbox.recv() => command.or_else(|| Some(abandoned())),
                () = sleep_until(trouble.retry_at) => None,
            }
        } else {
            tokio::select! {
                command = self.inbox.recv() => command.or_else(|| Some(abandoned())),
                () = self.queue.batch_full() => None,
                () = sleep(self.config.schedule_delay) => None,
            }
        };
        self.asked.extend(command);
    }

    /// Sends what is queued now, batch by batch, until one has to wait. True when all were accepted.
    async fn drain(&mut self, deadline: Option<Instant>) -> bool {
        self.queue.take_into(&mut self.pending, &mut self.spare);
        let mut all_accepted = true;
        while !self.pending.is_empty() {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return false;
            }
            let batch = self.config.max_export_batch_size.max(1);
            let spans = self.pending.len().min(batch);
            match self.send(spans, deadline).await {
                Ok(Accepted { rejected: 0, .. }) => self.accepted(spans, 0),
                Ok(partly) => {
                    all_accepted = false;
                    self.partly_accepted(spans, &partly);
                }
                Err(Failure::Refused(cause)) => {
                    all_accepted = false;
                    self.fault(&cause, |reporter, config, cause| {
                        reporter.refused(config, cause, spans);
                    });
                    self.queue.counters().add_failed(spans as u64);
                    self.settle(spans);
                }
                Err(Failure::Transient(cause)) => {
                    self.fault(&cause, Reporter::cannot_export);
                    return false;
                }
            }
        }
        all_accepted
    }

    /// Sends the oldest `spans`; they stay pending. A command that comes meanwhile shortens the wait.
    async fn send(&mut self, spans: usize, deadline: Option<Instant>) -> Result<Accepted, Failure> {
        let begun = Instant::now();
        let mut limit = begun + self.config.export_timeout;
        if let Some(deadline) = deadline {
            limit = limit.min(deadline);
        }
        let batch = self.pending.iter().take(spans);
        let mut answer = pin!(self.transport.export(batch));
        loop {
            tokio::select! {
                biased;
                result = &mut answer => return result,
                () = sleep_until(limit) => {
                    let waited = begun.elapsed().as_millis();
                    return Err(Failure::Transient(format!("no answer within {waited} ms")));
                }
                Some(command) = self.inbox.recv() => {
                    limit = limit.min(command.deadline);
                    self.asked.push(command);
                }
            }
        }
    }

    fn accepted(&mut self, spans: usize, rejected: u64) {
        let counters = self.queue.counters();
        counters.add_exported(spans as u64 - rejected);
        counters.add_failed(rejected);
        counters.succeeded(SystemTime::now());
        if let Some(trouble) = self.trouble.take() {
            let lost = self.lost().saturating_sub(trouble.lost_before);
            self.reporter.flow_again(&self.config, lost);
        }
        self.settle(spans);
    }

    /// The spans flow, so this is no trouble; a receiver that rejects some of each batch is told of once.
    fn partly_accepted(&mut self, spans: usize, answer: &Accepted) {
        let rejected = answer.rejected.min(spans as u64);
        self.accepted(spans, rejected);
        let counters = self.queue.counters();
        let cause = format!(
            "the collector rejected {rejected} of {spans} spans: {}",
            answer.message
        );
        counters.faulted(SystemTime::now(), cause.clone());
        if !self.told_of_rejection {
            self.told_of_rejection = true;
            self.reporter.rejected(&self.config, &cause);
        }
    }

    /// Warns, by `warn`, of the first fault only: the next ones say nothing new, and a log must not fill with
    /// them.
    fn fault(&mut self, cause: &str, warn: impl FnOnce(&Reporter, &ExportConfig, &str)) {
        // Before the warning: whoever reads that finds the cause in `/telemetry`.
        let counters = self.queue.counters();
        counters.faulted(SystemTime::now(), cause.to_owned());
        let (pause, lost_before) = match &self.trouble {
            Some(trouble) => ((trouble.pause * 2).min(LONGEST_PAUSE), trouble.lost_before),
            None => {
                warn(&self.reporter, &self.config, cause);
                (FIRST_PAUSE, self.lost())
            }
        };
        self.trouble = Some(Trouble {
            retry_at: Instant::now() + jittered(pause),
            pause,
            lost_before,
        });
    }

    fn give_up(&mut self) {
        self.queue.take_into(&mut self.pending, &mut self.spare);
        let lost = self.pending.len();
        if lost > 0 {
            self.queue
                .counters()
                .add_dropped(DropReason::Shutdown, lost);
            self.settle(lost);
            self.reporter.stopped_with(lost);
        }
    }

    fn settle(&mut self, spans: usize) {
        self.pending.drain(..spans);
        self.queue.settle(spans);
    }

    fn lost(&self) -> u64 {
        let counters = self.queue.counters();
        counters.dropped(DropReason::QueueFull) + counters.failed()
    }
}

/// The handle was dropped without a shutdown: nobody waits, so stop at once.
fn abandoned() -> Command {
    Command {
        deadline: Instant::now(),
        stop: true,
        reply: oneshot::channel().0,
    }
}

/// Between half and all of `pause`: many services that lost one collector must not return in step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}
