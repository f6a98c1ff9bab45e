//! The kept traces, in so many bytes: the newest ones, the slowest and the failed ones of every operation, and a uniform
//! sample of all. Fed and asked by `mod`.
//!
//! New traces are kept in order of arrival. When the bytes run out the oldest one is looked at, whole by then: it stays
//! when it is [`Favoured`] or in the [`Sample`], else it is dropped. These two hold at most half of the bytes. When spans
//! come so fast that a trace would be dropped before its last spans can have come, only a share of the new traces is
//! taken, chosen by trace id: some traces whole instead of pieces of all. Beyond the share, a little is left for what the
//! share would most likely miss: traces that fail, and the first ones of each operation in every slot of time.

mod room;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::favoured::Favoured;
use super::kept::{KeptTrace, Origin};
use super::report::TraceSummary;
use super::sample::Sample;
use super::search::{Head, Sought};
use super::share::Share;
use super::window::seconds;
use crate::wire::SpanRef;

/// Largest part of the store that one trace may take.
const MAX_TRACE_SHARE: usize = 8;
/// Of a map entry and of entries in the queues, about.
const INDEX_BYTES: usize = 96;
/// A trace to which no span came for so long is whole: exporters send every five seconds.
const QUIET_NANOS: u64 = 6_000_000_000;
/// After so long it is taken as it is.
const OPEN_NANOS: u64 = 60_000_000_000;
/// A search looks at the traces of so many spans before others may have the store.
const SEARCHED_AT_ONCE: usize = 2_000;

/// The store.
#[derive(Debug)]
pub(crate) struct Traces {
    traces: HashTable<Box<KeptTrace>>,
    hasher: RandomState,
    /// In order of arrival.
    ordinary: VecDeque<Key>,
    favoured: Favoured,
    sample: Sample,
    origins: HashTable<Arc<Origin>>,
    origins_swept: usize,
    bytes: usize,
    limit: usize,
    retention_nanos: u64,
    expired_unix_nano: u64,
    serial: u64,
    /// Traces whose spans may still come.
    young: VecDeque<Young>,
    share: Share,
    untaken_spans: u64,
}

/// Trace id and serial.
pub(super) type Key = ([u8; 16], u64);

/// A trace that more spans are expected of.
#[derive(Debug)]
struct Young {
    key: Key,
    born_unix_nano: u64,
    due_unix_nano: u64,
}

impl Traces {
    /// An empty store of at most `limit` bytes.
    pub(crate) fn new(limit: usize, retention_nanos: u64) -> Self {
        Self {
            traces: HashTable::new(),
            hasher: RandomState::default(),
            ordinary: VecDeque::new(),
            favoured: Favoured::default(),
            sample: Sample::default(),
            origins: HashTable::new(),
            origins_swept: 0,
            bytes: 0,
            limit,
            retention_nanos,
            expired_unix_nano: 0,
            serial: 0,
            young: VecDeque::new(),
            share: Share::default(),
            untaken_spans: 0,
        }
    }

    /// Keeps the spans of one batch. The `notable` traces are taken beyond the share, as far as there is room for that.
    pub(crate) fn keep(
        &mut self,
        spans: &[SpanRef<'_>],
        notable: &[[u8; 16]],
        arrived_unix_nano: u64,
    ) {
        self.share.adjust(arrived_unix_nano, self.limit);
        self.take_notable(notable, arrived_unix_nano);
        let mut origin: Option<(&SpanRef<'_>, Arc<Origin>)> = None;
        for span in spans {
            let hash = hash_id(&self.hasher, span.trace_id);
            if self.find(hash, span.trace_id).is_none() {
                if !self.share.takes(hash) {
                    self.untaken_spans += 1;
                    continue;
                }
                self.begin(hash, span.trace_id, arrived_unix_nano);
            }
            let shared = match &origin {
                Some((first, shared)) if same_origin(first, span) => shared,
                _ => &origin.insert((span, self.origin(span))).1,
            };
            let max_bytes = self.limit / MAX_TRACE_SHARE;
            if let Some(trace) = self
                .traces
                .find_mut(hash, |trace| trace.trace_id == span.trace_id)
            {
                let before = trace.cost();
                trace.push(span, shared, arrived_unix_nano, max_bytes);
                let more = trace.cost() - before;
                self.bytes += more;
                self.share.add(more);
                if !trace.favoured_by.is_empty() {
                    self.favoured.bytes += more;
                }
                if trace.sampled {
                    self.sample.bytes += more;
                }
                if trace.late {
                    self.share.spend(more);
                }
            }
        }
        self.make_room();
        self.expire(arrived_unix_nano);
    }

    /// Shows the traces that no span came to for [`QUIET_NANOS`], or that have been open for [`OPEN_NANOS`], each once and
    /// at most `limit`; whether there may be more.
    pub(crate) fn whole(
        &mut self,
        now_unix_nano: u64,
        limit: usize,
        mut show: impl FnMut(&KeptTrace),
    ) -> bool {
        for _ in 0..limit {
            // One from the future was born before the clock was set back.
            let due = self.young.front().is_some_and(|young| {
                young.due_unix_nano <= now_unix_nano || young.born_unix_nano > now_unix_nano
            });
            let Some(mut young) = due.then(|| self.young.pop_front()).flatten() else {
                return false;
            };
            let (trace_id, serial) = young.key;
            let trace = self.find(hash_id(&self.hasher, trace_id), trace_id);
            // One that was taken for what it is says nothing of the others.
            let Some(trace) = trace.filter(|trace| trace.serial == serial && !trace.late) else {
                continue;
            };
            let quiet = trace.last_arrival.saturating_add(QUIET_NANOS);
            let last = young.born_unix_nano.saturating_add(OPEN_NANOS);
            if quiet.min(last) <= now_unix_nano || young.born_unix_nano > now_unix_nano {
                show(trace);
            } else {
                young.due_unix_nano = quiet.min(last);
                self.young.push_back(young);
            }
        }
        true
    }

    /// A copy of a trace, to be decoded outside the lock.
    pub(crate) fn get(&self, trace_id: [u8; 16]) -> Option<KeptTrace> {
        self.find(hash_id(&self.hasher, trace_id), trace_id)
            .cloned()
    }

    /// A trace where it lies.
    pub(crate) fn peek(&self, trace_id: [u8; 16]) -> Option<&KeptTrace> {
        self.find(hash_id(&self.hasher, trace_id), trace_id)
    }

    /// Whether a trace is kept.
    pub(crate) fn has(&self, trace_id: [u8; 16]) -> bool {
        self.find(hash_id(&self.hasher, trace_id), trace_id)
            .is_some()
    }

    /// Every trace, in no order.
    #[cfg(test)]
    pub(crate) fn each(&self, mut look: impl FnMut(&KeptTrace)) {
        self.traces.iter().for_each(|trace| look(trace));
    }

    /// The traces that a query may ask for, as far as that can be told without a look at their spans; in no order.
    pub(crate) fn candidates(&self, sought: &Sought<'_>) -> Vec<Head> {
        let fit = self.traces.iter().filter(|trace| sought.fits(trace));
        fit.map(|trace| Head::of(trace)).collect()
    }

    /// Looks at the spans of some of the candidates, and adds the rows of those that the query asks for to `found`, up
    /// to its limit. Whether there may be more.
    pub(crate) fn search(
        &self,
        sought: &Sought<'_>,
        candidates: &mut impl Iterator<Item = Head>,
        found: &mut Vec<TraceSummary>,
    ) -> bool {
        let mut looked_at = 0;
        while looked_at < SEARCHED_AT_ONCE {
            let Some(head) = candidates.next().filter(|_| !sought.is_enough(found.len())) else {
                return false;
            };
            looked_at += 1;
            let hash = hash_id(&self.hasher, head.trace_id);
            // It may have gone meanwhile, or another may have come in its place.
            let trace = self.find(hash, head.trace_id);
            if let Some(trace) = trace.filter(|trace| trace.serial == head.serial) {
                looked_at += trace.len();
                if sought.fits_by_spans(trace) {
                    found.push(summary(trace));
                }
            }
        }
        true
    }

    /// All of them, in no order.
    pub(crate) fn ids(&self) -> Vec<[u8; 16]> {
        self.traces.iter().map(|trace| trace.trace_id).collect()
    }

    /// Services that have a span here, again for each of their resources and scopes.
    pub(crate) fn services(&self) -> Vec<String> {
        let used = self
            .origins
            .iter()
            .filter(|origin| Arc::strong_count(origin) > 1);
        used.map(|origin| origin.service.to_string()).collect()
    }

    /// Traces kept.
    pub(crate) fn len(&self) -> usize {
        self.traces.len()
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Spans of traces that were not taken because too many came.
    pub(crate) fn untaken_spans(&self) -> u64 {
        self.untaken_spans
    }

    fn find(&self, hash: u64, trace_id: [u8; 16]) -> Option<&KeptTrace> {
        self.traces
            .find(hash, |trace| trace.trace_id == trace_id)
            .map(|trace| &**trace)
    }

    /// Makes room for what the share would most likely miss.
    fn take_notable(&mut self, notable: &[[u8; 16]], arrived_unix_nano: u64) {
        for &trace_id in notable {
            let hash = hash_id(&self.hasher, trace_id);
            if self.share.has_spare()
                && !self.share.takes(hash)
                && self.find(hash, trace_id).is_none()
            {
                let trace = self.begin(hash, trace_id, arrived_unix_nano);
                trace.late = true;
                let bytes = trace.cost() + INDEX_BYTES;
                self.share.spend(bytes);
            }
        }
    }

    /// Makes a trace.
    fn begin(&mut self, hash: u64, trace_id: [u8; 16], arrived_unix_nano: u64) -> &mut KeptTrace {
        self.make_room();
        self.serial += 1;
        let trace = Box::new(KeptTrace::new(trace_id, self.serial, arrived_unix_nano));
        self.bytes += trace.cost() + INDEX_BYTES;
        let key = (trace_id, self.serial);
        self.ordinary.push_back(key);
        self.young.push_back(Young {
            key,
            born_unix_nano: arrived_unix_nano,
            due_unix_nano: arrived_unix_nano.saturating_add(QUIET_NANOS),
        });
        let Self { traces, hasher, .. } = self;
        let entry = traces.insert_unique(hash, trace, |trace| hash_id(hasher, trace.trace_id));
        entry.into_mut()
    }

    fn origin(&mut self, span: &SpanRef<'_>) -> Arc<Origin> {
        let hash = hash_origin(&self.hasher, span.resource.raw, span.scope.raw);
        let same = |origin: &Arc<Origin>| {
            *origin.resource == *span.resource.raw && *origin.scope == *span.scope.raw
        };
        if let Some(origin) = self.origins.find(hash, same) {
            return Arc::clone(origin);
        }
        if self.origins.len() >= 2 * self.origins_swept.max(64) {
            self.sweep_origins();
        }
        let origin = Arc::new(Origin::of(span));
        self.bytes += origin.bytes() + INDEX_BYTES;
        let Self {
            origins, hasher, ..
        } = self;
        origins.insert_unique(hash, Arc::clone(&origin), |origin| {
            hash_origin(hasher, &origin.resource, &origin.scope)
        });
        origin
    }

    /// Drops the origins that no span has any more.
    fn sweep_origins(&mut self) {
        let bytes = &mut self.bytes;
        self.origins.retain(|origin| {
            let used = Arc::strong_count(origin) > 1;
            if !used {
                *bytes -= origin.bytes() + INDEX_BYTES;
            }
            used
        });
        self.origins_swept = self.origins.len();
    }
}

fn summary(trace: &KeptTrace) -> TraceSummary {
    let services: HashSet<&str> = trace
        .spans()
        .map(|span| span.resource.service_name)
        .collect();
    let root = trace.root();
    TraceSummary {
        trace_id: hex(&trace.trace_id),
        root_service: root
            .map_or("", |root| root.resource.service_name)
            .to_owned(),
        root_operation: root.map_or("", |root| root.name).to_owned(),
        start_unix_nano: trace.start_unix_nano().to_string(),
        duration: seconds(trace.nanos() as f64),
        spans: trace.len(),
        services: services.len(),
        error: trace.failed,
        root_missing: root.is_some_and(|root| root.parent_span_id.is_some()),
    }
}

/// Spans of one batch that came with the same resource and scope borrow them from the same bytes.
fn same_origin(a: &SpanRef<'_>, b: &SpanRef<'_>) -> bool {
    std::ptr::eq(a.resource.raw, b.resource.raw) && std::ptr::eq(a.scope.raw, b.scope.raw)
}

/// As one number: that hashes faster than a slice.
fn hash_id(hasher: &RandomState, trace_id: [u8; 16]) -> u64 {
    hasher.hash_one(u128::from_ne_bytes(trace_id))
}

fn hash_origin(hasher: &RandomState, resource: &[u8], scope: &[u8]) -> u64 {
    hasher.hash_one((resource, scope))
}

/// Lower-case hexadecimal, as trace and span ids are written.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit & 15)]))
        .collect()
}
