//! Several requests under way at once, as long as the peer takes them and a whole one more waits. What is not simply taken
//! is left to the worker's own way of one by one, which knows what to do.

use std::time::Duration;

use super::{Then, Worker, keep_items};
use crate::export::outcome::Outcome;
use crate::log::{Cursor, Record};
use crate::signal::Signal;

impl Worker {
    /// Whether `records` are sent with others beside them: those wait, the peer is well, nothing of before is to be found out,
    /// and the order in which they arrive is nobody's concern. Data points have one: there are backends that refuse those
    /// older than what they have.
    pub(super) fn may_send_several(
        &self,
        cursor: &Cursor,
        signal: Signal,
        records: &[Record],
    ) -> bool {
        self.most_under_way > 1
            && self.is_proven
            && signal != Signal::Metrics
            && self.window.is_empty()
            && self.suspects.of(signal).ends.is_empty()
            && !self.go_in_parts(records)
            && self.whole_one_waits(cursor, bytes_of(records))
    }

    /// Whether a whole request waits beside `bytes` that are under way: few records that came meanwhile are cheaper sent
    /// together.
    fn whole_one_waits(&self, cursor: &Cursor, bytes: u64) -> bool {
        let waiting = cursor.unsent_bytes().saturating_sub(bytes);
        waiting >= self.peer.max_merged_bytes() as u64
    }

    /// Sends `records`, and others beside them as long as whole requests wait. Returns with nothing under way.
    pub(super) async fn send_several(
        &mut self,
        cursor: &mut Cursor,
        signal: Signal,
        records: Vec<Record>,
    ) -> Then {
        self.window.open(signal);
        let mut next = Some(records);
        loop {
            while let Some(records) = next {
                self.begin(signal, &records).await;
                next = self.read_on(cursor).await;
            }
            self.settle_taken(cursor, signal);
            if self.window.under_way() == 0 {
                return self.ended(signal);
            }
            self.window.change().await;
            self.settle_taken(cursor, signal);
            next = self.read_on(cursor).await;
        }
    }

    async fn begin(&mut self, signal: Signal, records: &[Record]) {
        let batches = records.iter().map(|record| record.bytes.clone());
        match self.peer.begin(signal, batches.collect()).await {
            Ok(request) => {
                let answer = Box::pin(async { request.send().await.0 });
                self.window.begin(records, answer);
                // On its way before more is read from a disk.
                self.window.look().await;
            }
            Err(outcome) => self.window.begin_failed(records, outcome),
        }
        self.show_under_way(self.window.under_way());
    }

    /// What goes beside those under way.
    async fn read_on(&mut self, cursor: &mut Cursor) -> Option<Vec<Record>> {
        let after = self.window.room_behind()?;
        if !self.whole_one_waits(cursor, self.window.bytes()) {
            return None;
        }
        let most = self.peer.max_merged_bytes();
        let mut records = cursor.read_on(after, most).await;
        keep_items(&mut records, self.peer.limits().items);
        if records.is_empty() || self.go_in_parts(&records) {
            self.window.close();
            return None;
        }
        Some(records)
    }

    fn settle_taken(&mut self, cursor: &mut Cursor, signal: Signal) {
        while let Some(taken) = self.window.pop_taken() {
            self.peer.took_one();
            self.took(signal, taken.items, taken.partial);
            self.settle(cursor, taken.last);
        }
        self.show_under_way(self.window.under_way());
    }

    /// What to do about those that were not taken. Only what a peer that is away says is believed: for everything else the
    /// same is sent once more, alone.
    fn ended(&mut self, signal: Signal) -> Then {
        if self.window.is_empty() {
            return Then::GoOn;
        }
        self.is_proven = false;
        let mut later: Option<(String, Option<Duration>)> = None;
        for outcome in self.window.failures() {
            if let Outcome::Retry { reason, after, .. } = outcome {
                let longest = later.take().and_then(|(_, longest)| longest);
                later = Some((reason.clone(), longest.max(*after)));
            }
        }
        let Some((reason, after)) = later else {
            return Then::GoOn;
        };
        self.later(signal, &reason, after);
        Then::Wait { after }
    }
}

fn bytes_of(records: &[Record]) -> u64 {
    records.iter().map(|record| record.bytes.len() as u64).sum()
}
