//! One exporter at work: takes what the log has, sends it until the peer takes it, and moves on. Started by
//! `pipeline`, one task each. A request holds one signal; what a peer refuses for good of one signal, because it does not
//! take such requests at all, is counted as that signal's and holds nothing else back.
//!
//! While the peer takes what it is sent, several requests are under way at once (`several`). From the first that it does
//! not take, until it takes one again, they go one by one.

mod several;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::config::Config;
use super::outcome::Outcome;
use super::peer::Peer;
use super::retry::Backoff;
use super::sampling::{Sampler, Sampling};
use super::search::{Search, SearchTime};
use super::split::{Limits, Part, Parts};
use super::telling::{Refusals, Warnings, of_signal};
use super::window::Window;
use crate::log::{Cursor, Record};
use crate::net::rpc_status::PartialSuccess;
use crate::signal::{BySignal, Items, Signal};
use crate::status::{ExporterStatus, add, now_unix_nano};

/// The longest wait between attempts while draining: the time left is short.
const DRAIN_WAIT: Duration = Duration::from_secs(1);

/// Sends one reader's records to one peer.
#[derive(Debug)]
pub struct Worker {
    peer: Peer,
    status: Arc<ExporterStatus>,
    drain: watch::Receiver<Option<Instant>>,
    backoff: Backoff,
    failing: bool,
    /// The peer took what was sent last.
    is_proven: bool,
    most_under_way: usize,
    window: Window,
    suspects: BySignal<Suspects>,
    in_parts: InParts,
    search_time: SearchTime,
    refusals: Refusals,
    sampling: Sampling,
    /// From the start on, unless everything is sent.
    sampler: Option<Sampler>,
    warnings: Warnings,
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
            is_proven: false,
            most_under_way: config.most_under_way(),
            window: Window::new(config.most_under_way()),
            sampling: config.sampling.clone(),
            sampler: None,
            peer: Peer::new(config),
            status,
            drain,
            failing: false,
            suspects: BySignal::default(),
            in_parts: InParts::default(),
            search_time: SearchTime::new(),
            refusals: Refusals::default(),
            warnings: Warnings::default(),
        }
    }

    /// Sends what `cursor` reads until the log is closed and all of it was sent, or until the drain deadline; on disk, only
    /// until the peer fails during the drain. What is left then is told; in memory it is counted as dropped by the log, on
    /// disk it waits for the next start.
    pub async fn run(mut self, mut cursor: Cursor) {
        self.sampler = Sampler::new(&self.sampling, Arc::clone(&self.status), &cursor);
        let deadline = drain_deadline(self.drain.clone());
        tokio::select! {
            biased;
            () = self.work(&mut cursor) => {}
            () = deadline => {}
        }
        let unsent = cursor.unsent();
        if !unsent.is_empty() && cursor.is_on_disk() {
            tracing::info!(
                exporter = self.status.name,
                spans = unsent.traces,
                log_records = unsent.told(Signal::Logs),
                data_points = unsent.told(Signal::Metrics),
                "what this exporter could not send yet stays in the data directory"
            );
        } else if !unsent.is_empty() {
            let last_error = self.status.last_error.get().map(|error| error.message);
            tracing::warn!(
                exporter = self.status.name,
                spans = unsent.traces,
                log_records = unsent.told(Signal::Logs),
                data_points = unsent.told(Signal::Metrics),
                last_error,
                "the shutdown's time is over: what this exporter could not send is lost"
            );
        }
        self.refusals.tell_rest(&self.status);
    }

    async fn work(&mut self, cursor: &mut Cursor) {
        while let Some(mut records) = self.next(cursor).await {
            let Some(signal) = records.first().map(|record| record.signal) else {
                continue;
            };
            let taken = self.window.narrow(signal, &mut records);
            self.suspects.of_mut(signal).narrow(&mut records);
            self.in_parts.narrow(&mut records);
            keep_items(&mut records, self.peer.limits().items);
            let Some(last) = records.last().map(|record| record.sequence) else {
                continue;
            };
            if let Some(partial) = taken {
                self.count_taken(signal, items_of(&records), partial);
                self.settle(cursor, last);
                continue;
            }
            if records.iter().all(|record| record.bytes.is_empty()) {
                self.settle(cursor, last);
                continue;
            }
            let then = if self.may_send_several(cursor, signal, &records) {
                self.send_several(cursor, signal, records).await
            } else {
                self.send_one(cursor, signal, records, last).await
            };
            let Then::Wait { after } = then else {
                continue;
            };
            // It is all there at the next start: no reason to hold the shutdown up.
            if cursor.is_on_disk() && self.is_draining() {
                return;
            }
            // A peer that is away for long must not keep memory from those that are there.
            cursor.let_go();
            self.wait(after).await;
        }
    }

    /// Sends one request with nothing beside it, or one record in several, and settles it unless it has to be sent again.
    async fn send_one(
        &mut self,
        cursor: &mut Cursor,
        signal: Signal,
        records: Vec<Record>,
        last: u64,
    ) -> Then {
        let outcome = match &records[..] {
            [record] if self.goes_in_parts(record) => self.send_in_parts(cursor, record).await,
            _ => {
                let batches = records.iter().map(|record| record.bytes.clone());
                self.send(signal, batches.collect(), items_of(&records))
                    .await
            }
        };
        match outcome {
            Sent::Settled => self.settle(cursor, last),
            Sent::Later { after } => return Then::Wait { after },
            // The peer asks for less now.
            Sent::TooLarge => {}
            Sent::Refused {
                by_content: true, ..
            } if records.len() > 1 || self.searches(&records) => {
                self.suspects.of_mut(signal).bisect(&records);
            }
            Sent::Refused { reason, .. } => {
                let items = items_of(&records);
                self.refusals.count(&self.status, signal, items, &reason);
                self.settle(cursor, last);
            }
        }
        Then::GoOn
    }

    /// The next records, with what sampling leaves of them.
    async fn next(&mut self, cursor: &mut Cursor) -> Option<Vec<Record>> {
        match &mut self.sampler {
            Some(sampler) => sampler.next(cursor, self.peer.max_merged_bytes()).await,
            None => cursor.next(self.peer.max_merged_bytes()).await,
        }
    }

    /// Moves past the records up to `sequence`.
    fn settle(&mut self, cursor: &mut Cursor, sequence: u64) {
        if let Some(sampler) = &mut self.sampler {
            sampler.settled(sequence);
        }
        cursor.ack(sequence);
    }

    /// Sends one request of `signal`, and counts what became of it.
    async fn send(&mut self, signal: Signal, batches: Vec<Bytes>, items: u64) -> Sent {
        if self.failing {
            add(&self.status.retries, 1);
        }
        let begun = Instant::now();
        self.show_under_way(1);
        let outcome = self.peer.send(signal, batches).await;
        self.show_under_way(0);
        self.is_proven = matches!(outcome, Outcome::Taken(_));
        match outcome {
            Outcome::Taken(partial) => {
                self.took(signal, items, partial);
                Sent::Settled
            }
            Outcome::Retry { reason, after, .. } => self.later(signal, &reason, after),
            Outcome::Denied { reason, .. } => self.later(signal, &reason, None),
            Outcome::TooLarge { .. } if items > 1 => Sent::TooLarge,
            Outcome::TooLarge { reason } => Sent::Refused {
                reason,
                by_content: true,
            },
            Outcome::Refused { reason, by_content } => {
                self.works_again();
                self.search_time.spend(begun.elapsed());
                Sent::Refused { reason, by_content }
            }
        }
    }

    /// The peer took `items` just now.
    fn took(&mut self, signal: Signal, items: u64, partial: PartialSuccess) {
        self.works_again();
        self.count_taken(signal, items, partial);
    }

    fn count_taken(&mut self, signal: Signal, items: u64, partial: PartialSuccess) {
        let rejected = partial.rejected.min(items);
        add(&self.status.sent_requests, 1);
        add(self.status.sent().of(signal), items - rejected);
        if rejected > 0 {
            let reason = format!("the peer took a part only: {}", partial.error_message);
            self.refusals.count(&self.status, signal, rejected, &reason);
        } else {
            self.warnings.tell(&self.status.name, partial.error_message);
        }
    }

    fn show_under_way(&self, requests: usize) {
        self.status
            .under_way_requests
            .store(requests as u64, Ordering::Relaxed);
    }

    /// To be tried again, which is told when it begins.
    fn later(&mut self, signal: Signal, reason: &str, after: Option<Duration>) -> Sent {
        self.status.last_error.set(of_signal(signal, reason));
        if !std::mem::replace(&mut self.failing, true) {
            self.status.fails_since(now_unix_nano());
            tracing::warn!(
                exporter = self.status.name,
                signal = signal.name(),
                reason,
                "cannot send; what is to be sent waits while this is tried again"
            );
        }
        Sent::Later { after }
    }

    /// Whether a record has to go in parts, and can: it is too large, or the peer refused it as a whole.
    fn goes_in_parts(&self, record: &Record) -> bool {
        let Limits { bytes, items, .. } = self.peer.limits();
        let is_too_large = record.bytes.len() > bytes || record.items > items;
        record.items > 1 && (is_too_large || self.in_parts.sequence == Some(record.sequence))
    }

    /// Begins the search through a record that was refused, which stands alone; whether it is worth it.
    fn searches(&mut self, records: &[Record]) -> bool {
        let [record] = records else {
            return false;
        };
        self.in_parts.resume(record.sequence) == 0 && self.halves(0, record.items)
    }

    /// Whether to send `items` of the record under way, which were refused from number `from` on, in halves.
    fn halves(&mut self, from: u64, items: u64) -> bool {
        self.search_time.is_left() && self.in_parts.search.halve(from, items)
    }

    /// What a part of the record under way may have from item number `from` on.
    fn part_limits(&mut self, from: u64) -> Limits {
        let limits = self.peer.limits();
        Limits {
            items: limits.items.min(self.in_parts.search.most(from)),
            ..limits
        }
    }

    /// The parts of `record` from item number `from` on.
    fn parts<'r>(&mut self, record: &'r Record, from: u64) -> Parts<'r> {
        let limits = self.part_limits(from);
        Parts::new(record.signal, &record.bytes, from, limits)
    }

    /// Whether these are one record that is not sent as it is.
    fn go_in_parts(&self, records: &[Record]) -> bool {
        matches!(records, [record] if self.goes_in_parts(record))
    }

    /// Sends one record in requests of fewer items than it has.
    async fn send_in_parts(&mut self, cursor: &mut Cursor, record: &Record) -> Sent {
        let mut done = self.in_parts.resume(record.sequence);
        let signal = record.signal;
        let mut parts = self.parts(record, done);
        while let Some(part) = parts.next() {
            let (pieces, items) = match part {
                Part::Request { pieces, items } => (pieces, items),
                Part::Unfit { items, reason } => {
                    self.refusals.count(&self.status, signal, items, &reason);
                    done = self.part_done(cursor, record, items);
                    parts.limit_items(self.part_limits(done).items);
                    continue;
                }
            };
            match self.send(signal, self.peer.batches(pieces), items).await {
                Sent::Settled => self.in_parts.search.taken(),
                later @ Sent::Later { .. } => return later,
                Sent::TooLarge => {
                    parts = self.parts(record, done);
                    continue;
                }
                Sent::Refused {
                    by_content: true, ..
                } if self.halves(done, items) => {
                    parts = self.parts(record, done);
                    continue;
                }
                Sent::Refused { reason, .. } => {
                    self.refusals.count(&self.status, signal, items, &reason);
                }
            }
            done = self.part_done(cursor, record, items);
            parts.limit_items(self.part_limits(done).items);
        }
        Sent::Settled
    }

    /// The next `items` of the record under way are counted; how many of it are.
    fn part_done(&mut self, cursor: &mut Cursor, record: &Record, items: u64) -> u64 {
        cursor.told(record.sequence, Items::only(record.signal, items));
        self.in_parts.done += items;
        self.in_parts.done
    }

    fn works_again(&mut self) {
        self.backoff.reset();
        if std::mem::take(&mut self.failing) {
            self.status.fails_since(0);
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

/// Cuts `records` down to those that have `max_items` together, but at least one.
fn keep_items(records: &mut Vec<Record>, max_items: u64) {
    let mut items = 0_u64;
    let fit = records.iter().take_while(|record| {
        items = items.saturating_add(record.items);
        items <= max_items
    });
    let fit = fit.count();
    records.truncate(fit.max(1));
}

fn items_of(records: &[Record]) -> u64 {
    records.iter().map(|record| record.items).sum()
}

/// What is next after some attempts.
enum Then {
    /// Whatever the log has.
    GoOn,
    /// The same, when the peer is there again.
    Wait {
        /// When, if the peer told.
        after: Option<Duration>,
    },
}

/// What became of one attempt.
enum Sent {
    /// Taken, or counted as set aside.
    Settled,
    /// To be tried again.
    Later { after: Option<Duration> },
    /// Too large, for us or for the peer: less goes at once from now on.
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
    /// For what the peer refuses of it.
    search: Search,
}

impl InParts {
    /// Leaves a record of which parts have gone by itself: beside others it would go whole.
    fn narrow(&self, records: &mut Vec<Record>) {
        let begun = records
            .first()
            .is_some_and(|first| self.sequence == Some(first.sequence) && self.done > 0);
        if begun {
            records.truncate(1);
        }
    }

    /// Items of this record that are settled already.
    fn resume(&mut self, sequence: u64) -> u64 {
        if self.sequence != Some(sequence) {
            *self = Self {
                sequence: Some(sequence),
                ..Self::default()
            };
        }
        self.done
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_which_parts_have_gone_does_not_go_whole_beside_others() {
        let records = |sequences: [u64; 2]| -> Vec<_> {
            let record = |sequence| Record {
                sequence,
                signal: Signal::Traces,
                bytes: Bytes::new(),
                items: 9,
                arrived_unix_nano: 1,
            };
            sequences.map(record).into()
        };
        let left = |done, sequences| {
            let mut in_parts = InParts::default();
            in_parts.resume(5);
            in_parts.done = done;
            let mut records = records(sequences);
            in_parts.narrow(&mut records);
            records.len()
        };
        assert_eq!(
            [left(0, [5, 6]), left(3, [5, 6]), left(3, [6, 7])],
            [2, 1, 2]
        );
    }
}
