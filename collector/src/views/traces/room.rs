//! Which traces have to go: when the bytes run out, and when the retention ends. Part of the store.

use hashbrown::HashTable;

use super::{INDEX_BYTES, Key, Traces, hash_id};
use crate::views::kept::KeptTrace;
use crate::views::share::lot;

/// Parts of the store, in eighths: favoured traces, …
const FAVOURED_EIGHTHS: usize = 3;
/// … and the sample; a trace may be in both. What they leave is for ordinary ones.
const SAMPLE_EIGHTHS: usize = 1;
/// So many traces that spans never stop coming to do not keep those behind them from being dropped in time.
const ENDLESS_TRACES: usize = 16;
const NANOS_A_SECOND: u64 = 1_000_000_000;

impl Traces {
    pub(super) fn make_room(&mut self) {
        while self.bytes > self.limit {
            if let Some(key) = self.ordinary.pop_front() {
                self.judge(key);
            } else if let Some(key) = self.oldest_held() {
                self.drop_trace(key);
            } else {
                self.sweep_origins();
                break;
            }
        }
    }

    /// Looks at the oldest ordinary trace, which may stay as a favoured or a sampled one.
    pub(super) fn judge(&mut self, key: Key) {
        let hash = hash_id(&self.hasher, key.0);
        let Some(trace) = found(&mut self.traces, hash, key) else {
            return;
        };
        let operations = self.favoured.operations(trace);
        let (favoured_by, displaced) = self.favoured.offer(key, &operations);
        let before = trace.cost();
        trace.favoured_by = favoured_by;
        trace.favoured_by.shrink_to_fit();
        trace.sampled = !trace.late;
        let cost = trace.cost();
        self.bytes += cost - before;
        if !trace.favoured_by.is_empty() {
            self.favoured.bytes += cost;
        }
        if trace.sampled {
            self.sample.bytes += cost;
            self.sample.insert(lot(hash) as u32, key);
        }
        self.drop_if_let_go(key);
        for (class, key) in displaced {
            self.disfavour(key, |favouring| favouring == class);
        }
        while self.favoured.bytes > self.limit / 8 * FAVOURED_EIGHTHS
            && let Some(oldest) = self.favoured.oldest()
        {
            self.disfavour(oldest, |_| true);
        }
        while self.sample.bytes > self.limit / 8 * SAMPLE_EIGHTHS
            && let Some(highest) = self.sample.highest()
        {
            self.leave_sample(highest);
        }
    }

    /// Some classes favour the trace no more.
    fn disfavour(&mut self, key: Key, by: impl Fn(u64) -> bool) {
        let hash = hash_id(&self.hasher, key.0);
        let trace = found(&mut self.traces, hash, key);
        if let Some(trace) = trace.filter(|trace| !trace.favoured_by.is_empty()) {
            let favoured = &mut self.favoured;
            trace.favoured_by.retain(|&class| {
                let goes = by(class);
                if goes {
                    favoured.leave(class, key);
                }
                !goes
            });
            if trace.favoured_by.is_empty() {
                favoured.bytes -= trace.cost();
                favoured.forget(key);
            }
        }
        self.drop_if_let_go(key);
    }

    fn leave_sample(&mut self, key: Key) {
        let hash = hash_id(&self.hasher, key.0);
        let trace = found(&mut self.traces, hash, key);
        if let Some(trace) = trace.filter(|trace| trace.sampled) {
            trace.sampled = false;
            self.sample.bytes -= trace.cost();
        }
        self.sample.remove(key);
        self.drop_if_let_go(key);
    }

    /// Drops a trace that is neither favoured nor in the sample, and ordinary no more.
    fn drop_if_let_go(&mut self, key: Key) {
        let trace = self.find(hash_id(&self.hasher, key.0), key.0);
        if trace.is_some_and(|trace| {
            trace.serial == key.1 && trace.favoured_by.is_empty() && !trace.sampled
        }) {
            self.remove(key);
        }
    }

    fn oldest_held(&self) -> Option<Key> {
        self.favoured.oldest().or_else(|| self.sample.oldest())
    }

    /// Drops a favoured or sampled trace.
    fn drop_trace(&mut self, key: Key) {
        self.disfavour(key, |_| true);
        self.leave_sample(key);
    }

    /// Once a second: drops the traces that no span came to within the retention.
    pub(super) fn expire(&mut self, now_unix_nano: u64) {
        if now_unix_nano.abs_diff(self.expired_unix_nano) < NANOS_A_SECOND {
            return;
        }
        self.expired_unix_nano = now_unix_nano;
        let oldest = now_unix_nano.saturating_sub(self.retention_nanos);
        while let Some(at) = self
            .ordinary
            .iter()
            .take(ENDLESS_TRACES)
            .position(|&key| self.is_older(key, oldest))
        {
            if let Some(key) = self.ordinary.remove(at) {
                self.remove(key);
            }
        }
        while let Some(key) = self.first_older(self.favoured.by_age(), oldest) {
            self.disfavour(key, |_| true);
        }
        while let Some(key) = self.first_older(self.sample.by_age(), oldest) {
            self.leave_sample(key);
        }
    }

    /// The first of some traces, in the order in which they came, that is older.
    fn first_older(&self, by_age: impl Iterator<Item = Key>, oldest: u64) -> Option<Key> {
        let mut first = by_age.take(ENDLESS_TRACES);
        first.find(|&key| self.is_older(key, oldest))
    }

    /// Whether a trace's newest span came before `oldest`, or the trace is gone.
    fn is_older(&self, (trace_id, serial): Key, oldest: u64) -> bool {
        let trace = self.find(hash_id(&self.hasher, trace_id), trace_id);
        trace.is_none_or(|trace| trace.serial != serial || trace.last_arrival < oldest)
    }

    fn remove(&mut self, key: Key) -> Option<Box<KeptTrace>> {
        let hash = hash_id(&self.hasher, key.0);
        let entry = self
            .traces
            .find_entry(hash, |trace| (trace.trace_id, trace.serial) == key)
            .ok()?;
        let (trace, _) = entry.remove();
        self.bytes -= trace.cost() + INDEX_BYTES;
        Some(trace)
    }
}

/// The trace, unless it has gone or another has come in its place.
fn found(traces: &mut HashTable<Box<KeptTrace>>, hash: u64, key: Key) -> Option<&mut KeptTrace> {
    let trace = traces.find_mut(hash, |trace| (trace.trace_id, trace.serial) == key);
    trace.map(Box::as_mut)
}
