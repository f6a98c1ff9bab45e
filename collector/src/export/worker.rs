//! One exporter at work: takes what the log has, sends it until the peer takes it, and moves on. Started by
//! `pipeline`, one task each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::config::Config;
use super::outcome::Outcome;
use super::peer::Peer;
use super::retry::Backoff;
use super::split::{self, Part};
use crate::log::{Cursor, Record};
use crate::status::{ExporterStatus, add};

/// The longest wait between attempts while draining: the time left is short.
const DRAIN_WAIT: Duration = Duration::from_secs(1);

/// Refusals for good are told at most so often; those in between are told together.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Sends one reader's records to one peer.
#[derive(Debug)]
pub struct Worker {
    peer: Peer,
    status: Arc<ExporterStatus>,
    drain: watch::Receiver<Option<Instant>>,
    backoff: Backoff,
    failing: bool,
    suspects: Suspects,
    in_parts: InParts,
    refusals: Refusals,
}

impl Worker {
    /// A worker as `config` says that counts in `status`. It drains once `drain` holds a deadline.
    pub fn new(
        config: Config,
        status: Arc<ExporterStatus>,
        drain: watch::Receiver<Option<Instant>>,
    ) -> Self {
        Self {
            backoff: Backoff::new(config.retry),
            peer: Peer::new(config),
            status,
            drain,
            failing: false,
            suspects: Suspects::default(),
            in_parts: InParts::default(),
            refusals: Refusals::default(),
        }
    }

    /// Sends what `cursor` reads until the log is closed and all of it was sent, or until the drain deadline; on disk, only
    /// until the peer fails during the drain. What is left then is told; in memory it is counted as dropped by the log, on
    /// disk it waits for the next start.
    pub async fn run(mut self, mut cursor: Cursor) {
        let deadline = drain_deadline(self.drain.clone());
        tokio::select! {
            biased;
            () = self.work(&mut cursor) => {}
            () = deadline => {}
        }
        let spans = cursor.unsent_spans();
        if spans > 0 && cursor.is_on_disk() {
            tracing::info!(
                exporter = self.status.name,
                spans,
                "spans this exporter could not send yet stay in the data directory"
            );
        } else if spans > 0 {
            let last_error = self.status.last_error.get().map(|error| error.message);
            tracing::warn!(
                exporter = self.status.name,
                spans,
                last_error,
                "the shutdown's time is over: spans this exporter could not send are lost"
            );
        }
        self.refusals.tell_rest(&self.status);
    }

    async fn work(&mut self, cursor: &mut Cursor) {
        while let Some(mut records) = cursor.next(self.peer.max_merged_bytes()).await {
            self.suspects.narrow(&mut records);
            keep_spans(&mut records, self.peer.max_spans());
            let Some(last) = records.last().map(|record| record.sequence) else {
                continue;
            };
            let outcome = match &records[..] {
                [record] if self.is_too_large(record) => self.send_in_parts(record).await,
                _ => {
                    let spans = records.iter().map(|record| record.spans).sum();
                    let batches = records.iter().map(|record| record.bytes.clone());
                    self.send(batches.collect(), spans).await
                }
            };
            match outcome {
                Sent::Settled => cursor.ack(last),
                // It is all there at the next start: no reason to hold the shutdown up.
                Sent::Later { .. } if cursor.is_on_disk() && self.is_draining() => return,
                Sent::Later { after } => self.wait(after).await,
                // The peer asks for less now.
                Sent::TooLarge => {}
                Sent::Refused {
                    by_content: true, ..
                } if records.len() > 1 => {
                    self.suspects.bisect(&records);
                }
                Sent::Refused { reason, .. } => {
                    let spans = records.iter().map(|record| record.spans).sum();
                    self.refusals.count(&self.status, spans, &reason);
                    cursor.ack(last);
                }
            }
        }
    }

    /// Sends one request, and counts what became of it.
    async fn send(&mut self, batches: Vec<Bytes>, spans: u64) -> Sent {
        if self.failing {
            add(&self.status.retries, 1);
        }
        match self.peer.send(batches).await {
            Outcome::Taken(partial) => {
                self.works_again();
                let rejected = partial.rejected_spans.min(spans);
                add(&self.status.sent_requests, 1);
                add(&self.status.sent_spans, spans - rejected);
                if rejected > 0 {
                    let reason = format!("the peer took a part only: {}", partial.error_message);
                    self.refusals.count(&self.status, rejected, &reason);
                } else if !partial.error_message.is_empty() {
                    tracing::debug!(
                        exporter = self.status.name,
                        warning = partial.error_message,
                        "the peer took everything, with a warning"
                    );
                }
                Sent::Settled
            }
            Outcome::Retry { reason, after } => {
                self.status.last_error.set(reason.as_str());
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        exporter = self.status.name,
                        reason,
                        "cannot send spans; they wait while this is tried again"
                    );
                }
                Sent::Later { after }
            }
            Outcome::TooLarge { .. } if spans > 1 => Sent::TooLarge,
            Outcome::TooLarge { reason } => Sent::Refused {
                reason,
                by_content: true,
            },
            Outcome::Refused { reason, by_content } => {
                self.works_again();
                Sent::Refused { reason, by_content }
            }
        }
    }

    fn is_too_large(&self, record: &Record) -> bool {
        record.bytes.len() > self.peer.max_bytes() || record.spans > self.peer.max_spans()
    }

    /// Sends one record that is larger than a request may be, in requests of fewer spans.
    async fn send_in_parts(&mut self, record: &Record) -> Sent {
        let mut done = self.in_parts.resume(record.sequence);
        while let Some(Part { bytes, spans }) = split::part(
            &record.bytes,
            done,
            self.peer.max_bytes(),
            self.peer.max_spans(),
        ) {
            match self.send(vec![bytes.into()], spans).await {
                Sent::Settled => {}
                later @ Sent::Later { .. } => return later,
                Sent::TooLarge => continue,
                Sent::Refused { reason, .. } => {
                    self.refusals.count(&self.status, spans, &reason);
                }
            }
            done += spans;
            self.in_parts.done = done;
        }
        Sent::Settled
    }

    fn works_again(&mut self) {
        self.backoff.reset();
        if std::mem::take(&mut self.failing) {
            tracing::info!(exporter = self.status.name, "the peer answers again");
        }
    }

    fn is_draining(&self) -> bool {
        self.drain.borrow().is_some()
    }

    /// Waits before the next attempt; a drain that begins meanwhile cuts the wait short.
    async fn wait(&mut self, told: Option<Duration>) {
        let delay = self.backoff.delay(told);
        // What the peer asked for is kept until then; an early attempt costs it little and may save the spans.
        if self.is_draining() {
            sleep(delay.min(DRAIN_WAIT)).await;
            return;
        }
        tokio::select! {
            () = sleep(delay) => {}
            () = drain_begins(self.drain.clone()) => {}
        }
    }
}

/// Cuts `records` down to those that have `max_spans` together, but at least one.
fn keep_spans(records: &mut Vec<Record>, max_spans: u64) {
    let mut spans = 0_u64;
    let fit = records.iter().take_while(|record| {
        spans = spans.saturating_add(record.spans);
        spans <= max_spans
    });
    let fit = fit.count();
    records.truncate(fit.max(1));
}

/// What became of one attempt.
enum Sent {
    /// Taken, or counted as set aside.
    Settled,
    /// To be tried again.
    Later { after: Option<Duration> },
    /// Not sent, since it would be too large: the peer now takes less at once.
    TooLarge,
    /// Refused for good and not counted yet.
    Refused { reason: String, by_content: bool },
}

/// The search for the records that made the peer refuse a merged request: where its parts end that are still to
/// be tried, the nearest last. It is kept by sequence, for the log may drop records meanwhile.
#[derive(Debug, Default)]
struct Suspects {
    ends: Vec<u64>,
}

impl Suspects {
    /// Cuts `records` down to the part that is next.
    fn narrow(&mut self, records: &mut Vec<Record>) {
        let Some(first) = records.first().map(|record| record.sequence) else {
            return;
        };
        while self.ends.last().is_some_and(|&end| end < first) {
            self.ends.pop();
        }
        if let Some(&end) = self.ends.last() {
            records.retain(|record| record.sequence <= end);
        }
    }

    /// Halves a part that was refused.
    fn bisect(&mut self, records: &[Record]) {
        let (first_half, _) = records.split_at(records.len() / 2);
        for end in [records.last(), first_half.last()].into_iter().flatten() {
            if self.ends.last() != Some(&end.sequence) {
                self.ends.push(end.sequence);
            }
        }
    }
}

/// How far a record that goes out in several requests has come, so that a failure repeats none of them.
#[derive(Debug, Default)]
struct InParts {
    sequence: Option<u64>,
    done: u64,
}

impl InParts {
    /// Spans of this record that are settled already.
    fn resume(&mut self, sequence: u64) -> u64 {
        if self.sequence != Some(sequence) {
            *self = Self {
                sequence: Some(sequence),
                done: 0,
            };
        }
        self.done
    }
}

/// Spans that the peer refused for good: counted at once, told in one line for many.
#[derive(Debug, Default)]
struct Refusals {
    told_at: Option<Instant>,
    untold_spans: u64,
}

impl Refusals {
    fn count(&mut self, status: &ExporterStatus, spans: u64, reason: &str) {
        add(&status.set_aside_spans, spans);
        status.last_error.set(reason);
        self.untold_spans += spans;
        let now = Instant::now();
        if self.told_at.is_none_or(|told| now - told >= TELL_EVERY) {
            self.told_at = Some(now);
            self.tell(status, reason);
        }
    }

    fn tell_rest(&mut self, status: &ExporterStatus) {
        if self.untold_spans > 0 {
            let reason = status.last_error.get().map(|error| error.message);
            self.tell(status, &reason.unwrap_or_default());
        }
    }

    fn tell(&mut self, status: &ExporterStatus, reason: &str) {
        tracing::warn!(
            exporter = status.name,
            spans = std::mem::take(&mut self.untold_spans),
            reason,
            "the peer refused spans for good: they are set aside"
        );
    }
}

async fn drain_begins(mut drain: watch::Receiver<Option<Instant>>) {
    if drain.wait_for(Option::is_some).await.is_err() {
        // Nobody can begin it any more.
        std::future::pending::<()>().await;
    }
}

async fn drain_deadline(drain: watch::Receiver<Option<Instant>>) {
    drain_begins(drain.clone()).await;
    let deadline = *drain.borrow();
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
