//! The series that Prometheus scrapes: for every operation and span status, and for every edge, what was counted since
//! the collector's start. `services` and `edges` hand over their slots as those close; a scrape adds the open ones.
//!
//! Rows of the views go when nothing of them is left within the retention, and so do series; but what they had counted
//! stays, so that one that comes back goes on where it stopped. Only when there is room for no other series are those
//! that are not shown forgotten. Such a one begins again at zero, which Prometheus takes for what it is, a counter that
//! was reset: nothing is ever counted twice.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::clock::OPEN_SLOTS;
use super::cumulative::{Cumulative, PackedCumulative};
use super::edges::OTHER_EDGES;
use super::exemplars::Exemplar;
use super::names::{NodeKind, OTHER_SERVICES};
use super::services::OTHER_OPERATIONS;
use crate::wire::{SpanKind, StatusCode};

/// The most that names of up to 100 bytes, an entry of the table and what the allocator adds take.
const ENTRY_BYTES: usize = 512;
const SPAN_BYTES: usize = PackedCumulative::MAX_BYTES + ENTRY_BYTES;
const EDGE_BYTES: usize = 3 * PackedCumulative::MAX_BYTES + ENTRY_BYTES;
/// Of a name beside its letters.
const NAME_BYTES: usize = 16;

/// The spans that a series counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpanKey {
    /// `service.name`.
    pub service: Arc<str>,
    /// Never [`SpanKind::Unspecified`], which is internal.
    pub kind: SpanKind,
    /// The operation.
    pub name: Arc<str>,
    /// Of the spans.
    pub status: StatusCode,
}

/// The calls that a series counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    /// Calling node.
    pub client: Arc<str>,
    /// Called node.
    pub server: Arc<str>,
    /// Whether the called node makes spans of its own, and if not, what it is.
    pub connection: Connection,
}

/// What is known of the called side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connection {
    /// A service that makes spans.
    Service,
    /// A database.
    Database,
    /// A queue.
    Queue,
    /// Anything else that makes no spans.
    External,
}

/// Calls of an edge since the start.
#[derive(Clone, Debug, Default)]
pub struct EdgeTotals {
    /// Of every class.
    pub requests: u64,
    /// As the caller saw it.
    pub failed: u64,
    /// Durations of client spans.
    pub client: Cumulative,
    /// Durations of server spans; of a call without one the client's, as nothing nearer was seen.
    pub server: Cumulative,
    /// Client − server of the same call.
    pub gap: Cumulative,
}

/// The same as it is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct EdgeCounts {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) client: PackedCumulative,
    pub(crate) server: PackedCumulative,
    pub(crate) gap: PackedCumulative,
}

/// Everything that a scrape shows.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// Of spans.
    pub spans: Vec<SpanSeries>,
    /// Of calls.
    pub edges: Vec<EdgeSeries>,
    /// Spans that stand in a series of `(other operations)`, in the views or only here.
    pub overflowed_spans: u64,
    /// Calls that stand in the series of `(other edges)`.
    pub overflowed_calls: u64,
}

/// The spans of an operation that have one status.
#[derive(Clone, Debug)]
pub struct SpanSeries {
    /// Which.
    pub key: SpanKey,
    /// Their durations.
    pub latency: Cumulative,
    /// Kept traces with such a span.
    pub exemplars: Vec<Exemplar>,
}

/// The calls of an edge.
#[derive(Clone, Debug)]
pub struct EdgeSeries {
    /// Which.
    pub key: EdgeKey,
    /// Counts and durations.
    pub totals: EdgeTotals,
    /// Kept traces with such a call, for the client's, the server's duration and the gap.
    pub exemplars: [Vec<Exemplar>; 3],
}

/// All series.
#[derive(Debug)]
pub(crate) struct AllSeries {
    pub(crate) spans: Table<SpanKey, PackedCumulative>,
    pub(crate) edges: Table<EdgeKey, EdgeCounts>,
}

/// Series of one kind, by what they count.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    rows: HashMap<K, Row<V>, RandomState>,
    limit: usize,
    overflowed: u64,
    /// Since when those were shown that stayed when room was made last.
    swept: u32,
    /// By their hashes, keys of which a scrape has shown open slots in the overflow, and the newest of these slots: they
    /// close there, too, even if there is room by then. A few bytes for each row of the views at the most.
    denied: HashMap<u64, u32, RandomState>,
}

#[derive(Debug)]
struct Row<V> {
    total: V,
    /// The newest slot that was added to it.
    last_slot: u32,
}

/// When something is counted, and since when series are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) slot: u32,
    pub(crate) shown_from: u32,
}

/// What takes the place of a key that there is no room for.
pub(crate) trait Overflow {
    /// One of few.
    fn other(&self) -> Self;

    /// Whether the views had no row of its own for it.
    fn is_overflow(&self) -> bool;
}

impl AllSeries {
    /// As many as fit into `bytes` whatever is counted.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            spans: Table::new(bytes / 5 * 2 / SPAN_BYTES),
            edges: Table::new(bytes / 5 * 3 / EDGE_BYTES),
        }
    }

    /// Heap bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        let spans = self.spans.rows.iter();
        let spans = spans.map(|(key, row)| key.bytes() + row.total.bytes());
        let edges = self.edges.rows.iter();
        let edges = edges.map(|(key, row)| key.bytes() + row.total.bytes());
        spans.chain(edges).sum::<usize>() + self.spans.entry_bytes() + self.edges.entry_bytes()
    }
}

impl<K: Clone + Eq + Hash + Overflow, V: Clone + Default> Table<K, V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            rows: HashMap::default(),
            limit: limit.max(1),
            overflowed: 0,
            swept: 0,
            denied: HashMap::default(),
        }
    }

    /// The total that so many calls or spans of a key belong to.
    pub(crate) fn at(&mut self, key: K, count: u64, now: Moment) -> &mut V {
        let fits = self.fits(&key, now);
        // The views have told of those that had no row there.
        if !fits && !key.is_overflow() {
            self.overflowed = self.overflowed.saturating_add(count);
        }
        let key = if fits { key } else { key.other() };
        &mut self.row(key, now).total
    }

    /// The key of the series that what `key` has in an open slot belongs to, and will be counted into: its own when there is
    /// room, from now on, or the overflow's.
    pub(crate) fn claim(&mut self, key: K, now: Moment) -> K {
        if self.fits(&key, now) {
            self.row(key.clone(), now);
            return key;
        }
        let denied = self.denied.entry(self.rows.hasher().hash_one(&key));
        let newest = denied.or_default();
        *newest = (*newest).max(now.slot);
        key.other()
    }

    /// A copy of every series that is shown.
    pub(crate) fn shown(&self, now: Moment) -> HashMap<K, V, RandomState> {
        let shown = self.rows.iter();
        let shown = shown.filter(|(_, row)| row.last_slot >= now.shown_from);
        shown
            .map(|(key, row)| (key.clone(), row.total.clone()))
            .collect()
    }

    /// What was counted into the overflow.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Of the table itself, with a byte of its own for each place.
    fn entry_bytes(&self) -> usize {
        self.rows.capacity() * (size_of::<(K, Row<V>)>() + 1)
            + self.denied.capacity() * (size_of::<(u64, u32)>() + 1)
    }

    /// Whether there is a series of its own, or room for one, and no scrape has shown the slot in the overflow.
    fn fits(&mut self, key: &K, now: Moment) -> bool {
        let denied = self.denied.get(&self.rows.hasher().hash_one(key));
        if denied.is_some_and(|&newest| now.slot <= newest) {
            return false;
        }
        if self.rows.contains_key(key) {
            return true;
        }
        if self.rows.len() >= self.limit && self.swept != now.shown_from {
            self.swept = now.shown_from;
            self.rows.retain(|_, row| row.last_slot >= now.shown_from);
            self.denied
                .retain(|_, newest| *newest + OPEN_SLOTS > now.slot);
        }
        self.rows.len() < self.limit
    }

    fn row(&mut self, key: K, now: Moment) -> &mut Row<V> {
        let row = self.rows.entry(key).or_insert_with(|| Row {
            total: V::default(),
            last_slot: now.slot,
        });
        row.last_slot = row.last_slot.max(now.slot);
        row
    }
}

impl Overflow for SpanKey {
    fn other(&self) -> Self {
        Self {
            service: OTHER_SERVICES.into(),
            kind: self.kind,
            name: OTHER_OPERATIONS.into(),
            status: self.status,
        }
    }

    fn is_overflow(&self) -> bool {
        *self.name == *OTHER_OPERATIONS
    }
}

impl Overflow for EdgeKey {
    fn other(&self) -> Self {
        Self {
            client: OTHER_EDGES.into(),
            server: OTHER_EDGES.into(),
            connection: Connection::External,
        }
    }

    fn is_overflow(&self) -> bool {
        *self.client == *OTHER_EDGES
    }
}

impl From<NodeKind> for Connection {
    fn from(kind: NodeKind) -> Self {
        match kind {
            NodeKind::Service => Self::Service,
            NodeKind::Database => Self::Database,
            NodeKind::Queue => Self::Queue,
            NodeKind::External => Self::External,
        }
    }
}

impl SpanKey {
    /// Heap bytes of its names, which it may share with others.
    pub(crate) fn bytes(&self) -> usize {
        self.service.len() + self.name.len() + 2 * NAME_BYTES
    }
}

impl EdgeKey {
    /// Heap bytes of its names, which it may share with others.
    pub(crate) fn bytes(&self) -> usize {
        self.client.len() + self.server.len() + 2 * NAME_BYTES
    }
}

impl EdgeCounts {
    /// For a scrape.
    pub(crate) fn unpack(&self) -> EdgeTotals {
        EdgeTotals {
            requests: self.requests,
            failed: self.failed,
            client: self.client.unpack(),
            server: self.server.unpack(),
            gap: self.gap.unpack(),
        }
    }

    /// Heap bytes held.
    fn bytes(&self) -> usize {
        self.client.bytes() + self.server.bytes() + self.gap.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::Histogram;
    use super::*;

    fn key(name: &str) -> SpanKey {
        SpanKey {
            service: "shop".into(),
            kind: SpanKind::Server,
            name: name.into(),
            status: StatusCode::Unset,
        }
    }

    fn count(table: &mut Table<SpanKey, PackedCumulative>, name: &str, slot: u32) {
        let now = moment(slot);
        let mut histogram = Histogram::default();
        histogram.record(1_000);
        table.at(key(name), 1, now).add(&histogram);
    }

    fn moment(slot: u32) -> Moment {
        Moment {
            slot,
            shown_from: slot.saturating_sub(10),
        }
    }

    fn shown(table: &Table<SpanKey, PackedCumulative>, slot: u32) -> Vec<(String, u64)> {
        let shown = table.shown(moment(slot)).into_iter();
        let mut shown: Vec<_> = shown
            .map(|(key, total)| (key.name.to_string(), total.unpack().count()))
            .collect();
        shown.sort();
        shown
    }

    fn row(name: &str, count: u64) -> (String, u64) {
        (name.to_owned(), count)
    }

    #[test]
    fn a_series_that_comes_back_goes_on_where_it_stopped() {
        let mut table = Table::new(2);
        count(&mut table, "a", 100);
        count(&mut table, "a", 101);
        count(&mut table, "b", 105);
        assert_eq!(shown(&table, 111), [row("a", 2), row("b", 1)]);
        assert_eq!(shown(&table, 112), [row("b", 1)], "expired");
        count(&mut table, "a", 120);
        assert_eq!(shown(&table, 120), [row("a", 3)]);
    }

    #[test]
    fn what_is_not_shown_is_forgotten_when_room_is_needed_and_no_sooner() {
        let mut table = Table::new(2);
        count(&mut table, "a", 100);
        count(&mut table, "b", 120);
        count(&mut table, "c", 120);
        assert_eq!(shown(&table, 120), [row("b", 1), row("c", 1)]);
        count(&mut table, "a", 121);
        let other = row(OTHER_OPERATIONS, 1);
        let all = [other, row("b", 1), row("c", 1)];
        assert_eq!(shown(&table, 121), all, "no room");
        assert_eq!(table.overflowed(), 1);
        count(&mut table, OTHER_OPERATIONS, 121);
        assert_eq!(table.overflowed(), 1, "the views have told of it");
        count(&mut table, "a", 131);
        assert_eq!(table.overflowed(), 1, "b and c have gone");
        assert!(shown(&table, 131).contains(&row("a", 1)), "from zero");
    }

    #[test]
    fn a_series_that_a_scrape_has_shown_keeps_its_place() {
        let mut table = Table::new(1);
        assert_eq!(table.claim(key("a"), moment(100)), key("a"));
        count(&mut table, "b", 100);
        count(&mut table, "a", 101);
        assert_eq!(shown(&table, 101), [row(OTHER_OPERATIONS, 1), row("a", 1)]);
    }

    #[test]
    fn what_a_scrape_has_shown_in_the_overflow_closes_there() {
        let mut table = Table::new(2);
        count(&mut table, "a", 100);
        count(&mut table, "c", 100);
        let other = table.claim(key("b"), moment(110));
        assert_eq!(&*other.name, OTHER_OPERATIONS, "no room yet");
        let later = moment(112);
        let mut close = |slot| {
            let mut histogram = Histogram::default();
            histogram.record(1_000);
            let at = Moment { slot, ..later };
            table.at(key("b"), 1, at).add(&histogram);
        };
        close(110);
        // Nobody was shown that one, and there is room now.
        close(111);
        assert_eq!(shown(&table, 112), [row(OTHER_OPERATIONS, 1), row("b", 1)]);
        assert_eq!(table.claim(key("b"), moment(112)), key("b"));
    }

    #[test]
    fn all_fits_into_its_bytes() {
        let mut all = AllSeries::new(1 << 20);
        let mut widest = Histogram::default();
        for octave in 0..64_u32 {
            widest.record(1 << octave);
            widest.record((1_u64 << octave) / 2 * 3);
        }
        for n in 0..5_000 {
            all.spans
                .at(key(&format!("GET /{n}")), 1, moment(1))
                .add(&widest);
        }
        assert!(all.bytes() <= 1 << 20, "{}", all.bytes());
        assert!(all.spans.overflowed() > 4_000);
    }
}
