//! The kept traces: a byte-bounded store that favours the slowest and the failed ones of every root operation over the
//! newest ordinary ones. Fed and asked by `mod`.
//!
//! New traces are kept in order of arrival. When the bytes run out the oldest one is looked at, whole by then: it moves
//! to the protected ones when it is among the [`FAVOURED`] slowest of its root operation, or failed (the newest
//! [`FAVOURED`] failed ones stay), else it is dropped. Protected traces hold at most half of the bytes. When spans come
//! so fast that a trace would be dropped before its last spans can have come, only a share of the new traces is taken,
//! chosen by trace id: some traces whole instead of pieces of all.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::heatmap::Asked;
use super::kept::{KeptTrace, Origin};
use super::report::TraceSummary;
use super::share::Share;
use super::window::{Slots, seconds};
use super::{Order, TraceQuery};
use crate::wire::SpanRef;

/// So many slow and so many failed traces are protected for each root operation.
const FAVOURED: usize = 5;
/// Root operations beyond this share one class.
const MAX_CLASSES: usize = 1_000;
/// Largest part of the store that one trace may take.
const MAX_TRACE_SHARE: usize = 8;
/// Of a map entry and of entries in the queues, about.
const INDEX_BYTES: usize = 96;
/// A trace to which no span came for so long is whole: exporters send every five seconds.
const QUIET_NANOS: u64 = 6_000_000_000;
/// After so long it is taken as it is.
const OPEN_NANOS: u64 = 60_000_000_000;

/// The store.
#[derive(Debug)]
pub(crate) struct Traces {
    traces: HashTable<Box<KeptTrace>>,
    hasher: RandomState,
    /// In order of arrival: trace id and serial.
    ordinary: VecDeque<Key>,
    /// In order of protection, with those of traces that have gone since.
    protected: VecDeque<Key>,
    protected_swept: usize,
    protected_bytes: usize,
    classes: HashMap<u64, Class, RandomState>,
    origins: HashTable<Arc<Origin>>,
    origins_swept: usize,
    bytes: usize,
    limit: usize,
    retention_nanos: u64,
    serial: u64,
    /// Traces whose spans may still come.
    young: VecDeque<Young>,
    share: Share,
    untaken_spans: u64,
}

type Key = ([u8; 16], u64);

/// A trace that more spans are expected of.
#[derive(Debug)]
struct Young {
    key: Key,
    born_unix_nano: u64,
    due_unix_nano: u64,
}

/// The protected traces of a root operation.
#[derive(Debug, Default)]
struct Class {
    slow: Vec<(u64, Key)>,
    failed: VecDeque<Key>,
}

impl Traces {
    /// An empty store of at most `limit` bytes.
    pub(crate) fn new(limit: usize, retention_nanos: u64) -> Self {
        Self {
            traces: HashTable::new(),
            hasher: RandomState::default(),
            ordinary: VecDeque::new(),
            protected: VecDeque::new(),
            protected_swept: 0,
            protected_bytes: 0,
            classes: HashMap::default(),
            origins: HashTable::new(),
            origins_swept: 0,
            bytes: 0,
            limit,
            retention_nanos,
            serial: 0,
            young: VecDeque::new(),
            share: Share::default(),
            untaken_spans: 0,
        }
    }

    /// Keeps the spans of one batch.
    pub(crate) fn keep(&mut self, spans: &[SpanRef<'_>], arrived_unix_nano: u64) {
        self.share.adjust(arrived_unix_nano, self.limit);
        let mut origin: Option<(&SpanRef<'_>, Arc<Origin>)> = None;
        for span in spans {
            let hash = hash_id(&self.hasher, span.trace_id);
            if self.find(hash, span.trace_id).is_none()
                && !self.begin(hash, span.trace_id, arrived_unix_nano)
            {
                self.untaken_spans += 1;
                continue;
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
                if trace.protected_by.is_some() {
                    self.protected_bytes += more;
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
            let Some(trace) = trace.filter(|trace| trace.serial == serial) else {
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

    /// Whether a trace is kept.
    pub(crate) fn has(&self, trace_id: [u8; 16]) -> bool {
        self.find(hash_id(&self.hasher, trace_id), trace_id)
            .is_some()
    }

    /// Every trace, in no order.
    pub(crate) fn each(&self, mut look: impl FnMut(&KeptTrace)) {
        self.traces.iter().for_each(|trace| look(trace));
    }

    /// The traces whose newest span came in the range and that a query asks for, attributes aside, in its order.
    pub(crate) fn matching(&self, query: &TraceQuery, slots: Slots) -> Vec<[u8; 16]> {
        let fits = self
            .traces
            .iter()
            .filter(|trace| matches(trace, query, slots));
        let mut fits: Vec<_> = fits
            .map(|trace| {
                (
                    trace.last_arrival,
                    trace.serial,
                    trace.nanos(),
                    trace.trace_id,
                )
            })
            .collect();
        match query.order {
            Order::Newest => fits.sort_unstable_by_key(|&(arrival, serial, ..)| {
                std::cmp::Reverse((arrival, serial))
            }),
            Order::Slowest => fits.sort_unstable_by_key(|&(arrival, _, nanos, _)| {
                std::cmp::Reverse((nanos, arrival))
            }),
        }
        fits.into_iter().map(|(.., trace_id)| trace_id).collect()
    }

    /// A trace's row in lists.
    pub(crate) fn summary(&self, trace_id: [u8; 16]) -> Option<TraceSummary> {
        self.find(hash_id(&self.hasher, trace_id), trace_id)
            .map(summary)
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

    /// Makes a trace; false when it is not in the share that is taken.
    fn begin(&mut self, hash: u64, trace_id: [u8; 16], arrived_unix_nano: u64) -> bool {
        if !self.share.takes(hash) {
            return false;
        }
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
        traces.insert_unique(hash, trace, |trace| hash_id(hasher, trace.trace_id));
        true
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

    fn make_room(&mut self) {
        while self.bytes > self.limit {
            if let Some(key) = self.ordinary.pop_front() {
                self.judge(key);
            } else if let Some(key) = self.protected.pop_front() {
                self.unprotect(key);
            } else {
                self.sweep_origins();
                break;
            }
        }
    }

    /// Protects or drops the oldest ordinary trace.
    fn judge(&mut self, key: Key) {
        let hash = hash_id(&self.hasher, key.0);
        let Some(trace) = self
            .traces
            .find_mut(hash, |trace| (trace.trace_id, trace.serial) == key)
        else {
            return;
        };
        let root = trace.root();
        let class = root.map_or(0, |root| {
            self.hasher
                .hash_one((root.resource.service_name, root.name))
        });
        let known = self.classes.len() < MAX_CLASSES || self.classes.contains_key(&class);
        let class = if known { class } else { 0 };
        let favoured = self.classes.entry(class).or_default();
        let displaced = favoured.favour(key, trace.nanos(), trace.failed);
        trace.protected_by = Some(class);
        self.protected_bytes += trace.cost();
        self.protected.push_back(key);
        self.sweep_protected();
        if let Some(displaced) = displaced {
            self.unprotect(displaced);
        }
        while self.protected_bytes > self.limit / 2
            && let Some(oldest) = self.protected.pop_front()
        {
            self.unprotect(oldest);
        }
    }

    /// Drops the entries of traces that have gone: behind one that stays they would gather for the whole retention.
    fn sweep_protected(&mut self) {
        if self.protected.len() < 2 * self.protected_swept.max(MAX_CLASSES) {
            return;
        }
        let Self {
            traces,
            hasher,
            protected,
            ..
        } = self;
        protected.retain(|key| {
            traces
                .find(hash_id(hasher, key.0), |trace| {
                    (trace.trace_id, trace.serial) == *key
                })
                .is_some()
        });
        self.protected_swept = self.protected.len();
    }

    /// Drops a protected trace. Its entry in the queue is passed over when it is the oldest.
    fn unprotect(&mut self, key: Key) {
        let Some(trace) = self.remove(key) else {
            return;
        };
        self.protected_bytes -= trace.cost();
        if let Some(class) = trace.protected_by
            && let Entry::Occupied(mut entry) = self.classes.entry(class)
        {
            entry.get_mut().forget(key);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }

    fn expire(&mut self, now_unix_nano: u64) {
        let oldest = now_unix_nano.saturating_sub(self.retention_nanos);
        while let Some(&key) = self.ordinary.front()
            && self.is_older(key, oldest)
        {
            self.ordinary.pop_front();
            self.remove(key);
        }
        while let Some(&key) = self.protected.front()
            && self.is_older(key, oldest)
        {
            self.protected.pop_front();
            self.unprotect(key);
        }
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

impl Class {
    /// Takes a trace in, and names the one that has to go for it, if any.
    fn favour(&mut self, key: Key, nanos: u64, failed: bool) -> Option<Key> {
        if failed {
            self.failed.push_back(key);
            return (self.failed.len() > FAVOURED)
                .then(|| self.failed.front().copied())
                .flatten();
        }
        self.slow.push((nanos, key));
        let fastest = self.slow.iter().min().map(|&(_, key)| key);
        (self.slow.len() > FAVOURED).then_some(fastest).flatten()
    }

    fn forget(&mut self, key: Key) {
        self.slow.retain(|&(_, slow)| slow != key);
        self.failed.retain(|&failed| failed != key);
    }

    fn is_empty(&self) -> bool {
        self.slow.is_empty() && self.failed.is_empty()
    }
}

fn matches(trace: &KeptTrace, query: &TraceQuery, slots: Slots) -> bool {
    let duration = Duration::from_nanos(trace.nanos());
    let in_range = match (query.span_min, query.span_max) {
        (None, None) => slots.contains_nanos(trace.last_arrival),
        ends => has_span_between(trace, query, ends, slots),
    };
    trace.len() > 0
        && in_range
        && query.error.is_none_or(|failed| failed == trace.failed)
        && query.min.is_none_or(|min| duration >= min)
        && query.max.is_none_or(|max| duration <= max)
        && (query.service.is_none() && query.operation.is_none()
            || trace.spans().any(|span| matches_span(&span, query)))
}

/// Whether a span of the service and operation asked for took so long and came in the range.
fn has_span_between(
    trace: &KeptTrace,
    query: &TraceQuery,
    (min, max): (Option<Duration>, Option<Duration>),
    slots: Slots,
) -> bool {
    let asked = |span: &SpanRef<'_>| match &query.service {
        Some(service) => Asked {
            service,
            operation: query.operation.as_deref(),
        }
        .is(span),
        None => matches_span(span, query),
    };
    trace.arrivals().any(|(span, arrived)| {
        let duration = Duration::from_nanos(span.duration_nanos());
        min.is_none_or(|min| duration >= min)
            && max.is_none_or(|max| duration <= max)
            && slots.contains_nanos(arrived)
            && asked(&span)
    })
}

fn matches_span(span: &SpanRef<'_>, query: &TraceQuery) -> bool {
    let is =
        |asked: &Option<String>, name: &str| asked.as_deref().is_none_or(|asked| asked == name);
    is(&query.service, span.resource.service_name) && is(&query.operation, span.name)
}

fn summary(trace: &KeptTrace) -> TraceSummary {
    let mut services: Vec<&str> = Vec::new();
    for span in trace.spans() {
        if !services.contains(&span.resource.service_name) {
            services.push(span.resource.service_name);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{test_support, walk};

    #[test]
    fn a_trace_is_shown_once_when_it_is_quiet_or_has_been_open_for_long() {
        const SECOND: u64 = 1_000_000_000;
        let start = 1_000 * SECOND;
        let mut traces = Traces::new(1 << 20, 3_600 * SECOND);
        let keep = |traces: &mut Traces, trace, at| {
            let span = test_support::span(trace, 1, 0);
            let bytes =
                test_support::encode(vec![test_support::resource_spans("shop", vec![span])]);
            walk(&bytes, |span| traces.keep(&[span], at)).unwrap();
        };
        let shown = |traces: &mut Traces, now| {
            let mut shown = Vec::new();
            while traces.whole(now, 1, |trace| shown.push(trace.trace_id[15])) {}
            shown
        };
        keep(&mut traces, 1, start);
        keep(&mut traces, 2, start);
        for second in 1..=70 {
            let now = start + second * SECOND;
            // Spans of the second one keep coming.
            keep(&mut traces, 2, now);
            let want: &[u8] = match second {
                6 => &[1],
                60 => &[2],
                _ => &[],
            };
            assert_eq!(shown(&mut traces, now), want, "after {second} s");
        }
        // The clock is set back.
        keep(&mut traces, 3, start + 80 * SECOND);
        assert_eq!(shown(&mut traces, start - 100 * SECOND), [3]);
        assert!(traces.young.is_empty());
    }

    #[test]
    fn traces_that_have_gone_leave_nothing_behind() {
        let mut traces = Traces::new(1 << 20, 3_600_000_000_000);
        for trace in 1..=20_000 {
            let span = test_support::span(trace, 1, 0);
            let group = test_support::resource_spans("shop", vec![span]);
            let bytes = test_support::encode(vec![group]);
            walk(&bytes, |span| traces.keep(&[span], 1_000_000_000)).unwrap();
        }
        assert!(traces.bytes() <= 1 << 20);
        let queued = traces.ordinary.len() + traces.protected.len();
        assert!(queued < traces.len() + 2 * MAX_CLASSES, "{queued}");
    }
    #[test]
    fn traces_that_spans_are_added_to_for_ever_stay_within_the_limit() {
        let limit = 1 << 20;
        let mut traces = Traces::new(limit, 3_600_000_000_000);
        let mut keep = |trace: u64, span: u64, bytes: usize| {
            let mut span = test_support::span(u128::from(trace), span, 0);
            span.name = format!("operation {}", trace % 50);
            span.attributes = vec![test_support::attribute("note", &"x".repeat(bytes))];
            let request =
                test_support::encode(vec![test_support::resource_spans("shop", vec![span])]);
            walk(&request, |span| traces.keep(&[span], 1_000_000_000)).unwrap();
            assert!(traces.bytes() <= limit, "{trace}: {}", traces.bytes());
            let queued = traces.ordinary.len() + traces.protected.len();
            assert!(queued >= traces.len(), "{queued} of {}", traces.len());
        };
        // So many that the queue of the protected ones is swept.
        for trace in 1..=20_000 {
            keep(trace, 1, 0);
        }
        for round in 2..100 {
            for trace in 1..=300 {
                keep(trace, round, 500);
            }
        }
    }
}
