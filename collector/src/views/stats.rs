//! Everything counted in slots, behind one lock that `mod` takes once a batch: services, operations, edges, and the
//! calls whose other half has not come yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::call::Called;
use super::clock::{Clock, Compared, Slots};
use super::cumulative::PackedCumulative;
use super::edges::{EdgeNames, EdgeSnapshot, Edges, Ends};
use super::evidence::{Evidence, Lone};
use super::names::{Name, NameId, Names, NodeKind};
use super::pairing::{Arrival, CALL_BYTES, Pairing};
use super::peer::{Peer, UNKNOWN};
use super::report::{Map, Node};
use super::series::{AllSeries, EdgeCounts, EdgeKey, SpanKey};
use super::services::Services;
use super::snapshots::ServiceSnapshot;
use super::{Config, Range};
use crate::wire::{ResourceRef, SpanKind, SpanRef, StatusCode};

const NANOS_A_SECOND: u64 = 1_000_000_000;
/// Part of the bytes that waiting calls may take; what they leave of it is the slots'.
const PAIRING_SHARE: usize = 4;
/// Of one batch, so many failed spans are notable.
const NOTABLE_FAILURES: usize = 32;
/// Part of the bytes that Prometheus' series may take, likewise.
const SERIES_SHARE: usize = 4;

#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) clock: Clock,
    pub(crate) names: Names,
    pub(crate) services: Services,
    pub(crate) edges: Edges,
    pub(crate) pairing: Pairing,
    pub(crate) evidence: Evidence,
    series: AllSeries,
    /// Minutes given up before the retention's end to stay within the bytes.
    pub(crate) minutes_forgotten: u64,
    /// Where a peer's name is put together.
    peer_name: String,
    limit: usize,
    /// Bytes that the rest of the views took when that was looked at last.
    beside: usize,
}

/// What a scrape takes under the lock.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) spans: Vec<(SpanKey, PackedCumulative)>,
    pub(crate) edges: Vec<(EdgeKey, EdgeCounts)>,
    pub(crate) overflowed_spans: u64,
    pub(crate) overflowed_calls: u64,
}

/// The map as taken under the lock.
#[derive(Debug)]
pub(crate) struct MapSnapshot {
    pub(crate) slots: Slots,
    pub(crate) services: Vec<Name>,
    pub(crate) edges: Vec<(EdgeNames, EdgeSnapshot)>,
}

impl MapSnapshot {
    /// Its report, to be made outside the lock.
    pub(crate) fn report(&self) -> Map {
        let mut nodes: BTreeMap<&str, &'static str> = BTreeMap::new();
        let ends = self.edges.iter();
        let ends = ends.flat_map(|(names, _)| [&names.client, &names.server]);
        for name in self.services.iter().chain(ends) {
            nodes.insert(&name.text, name.kind.as_str());
        }
        let edges = self.edges.iter();
        let edges = edges.map(|(names, edge)| edge.report(names, self.slots));
        let mut edges: Vec<_> = edges.collect();
        edges.sort_by(|a, b| (&a.client, &a.server).cmp(&(&b.client, &b.server)));
        let nodes = nodes.into_iter().map(|(id, kind)| Node {
            id: id.to_owned(),
            kind,
        });
        Map {
            window: self.slots.window(),
            nodes: nodes.collect(),
            edges,
        }
    }
}

impl Stats {
    pub(crate) fn new(config: &Config) -> Self {
        let minutes = config.retention.as_secs().div_ceil(60);
        Self {
            clock: Clock::new(u32::try_from(minutes).unwrap_or(u32::MAX)),
            names: Names::default(),
            services: Services::default(),
            edges: Edges::default(),
            pairing: Pairing::new(config.view_bytes / PAIRING_SHARE / CALL_BYTES),
            evidence: Evidence::default(),
            series: AllSeries::new(config.view_bytes / SERIES_SHARE),
            minutes_forgotten: 0,
            peer_name: String::new(),
            limit: config.view_bytes,
            beside: 0,
        }
    }

    /// Counts the spans of a batch. The ids of its notable traces: those with the first entry span of an operation in this
    /// slot, and some of those that failed.
    pub(crate) fn count(&mut self, spans: &[SpanRef<'_>], arrived_unix_nano: u64) -> Vec<[u8; 16]> {
        let mut notable = Vec::new();
        self.advance(arrived_unix_nano);
        let slot = self.clock.now();
        let unix_seconds = unix_seconds(arrived_unix_nano);
        // Spans of one resource stand together in a batch and borrow it from the same bytes.
        let mut last: Option<(ResourceRef<'_>, Arrival)> = None;
        for span in spans {
            let at = match last {
                Some((resource, at))
                    if std::ptr::eq(resource.raw, span.resource.raw)
                        && std::ptr::eq(resource.service_name, span.resource.service_name) =>
                {
                    at
                }
                _ => {
                    let service =
                        self.names
                            .intern(span.resource.service_name, NodeKind::Service, slot);
                    self.services.resource(service, span, arrived_unix_nano);
                    let at = Arrival {
                        service,
                        slot,
                        unix_seconds,
                    };
                    last = Some((span.resource, at));
                    at
                }
            };
            let is_first = self.services.count(at.service, span, slot);
            let failed = span.status == StatusCode::Error && notable.len() < NOTABLE_FAILURES;
            if is_first || failed {
                notable.push(span.trace_id);
            }
            self.pair(span, at);
        }
        self.settle(unix_seconds);
        notable
    }

    /// Moves on to a time: settles what is due, closes the slots that are over.
    pub(crate) fn advance(&mut self, now_unix_nano: u64) {
        self.settle(unix_seconds(now_unix_nano));
        if self.clock.advance(now_unix_nano) {
            self.roll();
            self.make_room(self.beside);
        }
    }

    /// Gives up the oldest minutes as far as the slots do not fit beside what the rest of the views takes, in bytes: what
    /// others leave of their shares is the slots'.
    pub(crate) fn make_room(&mut self, beside: usize) {
        self.beside = beside;
        while self.bytes() + beside > self.limit && self.clock.forget_minute() {
            self.minutes_forgotten += 1;
            self.roll();
        }
    }

    /// A range rounded to slots.
    pub(crate) fn round(&mut self, range: Range, now_unix_nano: u64) -> Slots {
        self.advance(now_unix_nano);
        self.clock.round(range, now_unix_nano)
    }

    /// A range rounded to slots, with the one before it.
    pub(crate) fn compare(&mut self, range: Range, now_unix_nano: u64) -> Compared {
        let now = self.round(range, now_unix_nano);
        self.clock.compared(now)
    }

    /// The map of a range.
    pub(crate) fn map(&mut self, slots: Slots) -> MapSnapshot {
        let edges = self.named_edges(slots, None);
        let name = |id: NameId| self.names.get(id).cloned();
        MapSnapshot {
            slots,
            services: self
                .services
                .seen_in(slots)
                .into_iter()
                .filter_map(name)
                .collect(),
            edges,
        }
    }

    /// Snapshots with the names of their services.
    pub(crate) fn named_services(
        &self,
        snapshots: Vec<ServiceSnapshot>,
    ) -> Vec<(Arc<str>, ServiceSnapshot)> {
        let named = snapshots.into_iter().filter_map(|snapshot| {
            let name = self.names.get(snapshot.service)?;
            Some((Arc::clone(&name.text), snapshot))
        });
        named.collect()
    }

    /// The edge from `client` to `server`, without any call when they are known but none came in the range; `None` for
    /// names that are not known.
    pub(crate) fn edge(
        &mut self,
        (client, server): (&str, &str),
        slots: Slots,
    ) -> Option<(EdgeNames, EdgeSnapshot)> {
        let ends = (self.names.find(client)?, self.names.find(server)?);
        let found = self.named_edges(slots, Some(ends)).pop();
        found.or_else(|| self.named((ends, EdgeSnapshot::default())))
    }

    /// Server spans without their caller's, by service.
    pub(crate) fn lone(&self, slots: Slots) -> BTreeMap<String, Lone> {
        let counted = self.evidence.counted(slots);
        let named = counted
            .filter_map(|(service, lone)| Some((self.names.get(service)?.text.to_string(), lone)));
        named.collect()
    }

    /// Everything counted since the start, for Prometheus.
    pub(crate) fn totals(&mut self, now_unix_nano: u64) -> Totals {
        self.advance(now_unix_nano);
        let (clock, names) = (&self.clock, &self.names);
        let spans = self.services.totals(clock, names, &mut self.series.spans);
        let edges = self.edges.totals(clock, names, &mut self.series.edges);
        Totals {
            spans,
            edges,
            overflowed_spans: self.services.overflowed() + self.series.spans.overflowed(),
            overflowed_calls: self.edges.overflowed() + self.series.edges.overflowed(),
        }
    }

    /// Heap bytes held, about, and by what.
    pub(crate) fn bytes_by_part(&self) -> [(&'static str, usize); 6] {
        let [operations, services] = self.services.bytes();
        [
            ("slots of operations", operations),
            ("slots of services", services),
            ("slots of edges", self.edges.bytes()),
            ("slots of lone server spans", self.evidence.bytes()),
            ("calls that wait to be paired", self.pairing.bytes()),
            ("series for Prometheus", self.series.bytes()),
        ]
    }

    fn bytes(&self) -> usize {
        self.bytes_by_part().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Every edge with calls in the range, or that one.
    fn named_edges(&mut self, slots: Slots, only: Option<Ends>) -> Vec<(EdgeNames, EdgeSnapshot)> {
        let lingering = self.pairing.lingering();
        let edges = self.edges.snapshot(lingering, slots, &mut self.names, only);
        edges
            .into_iter()
            .filter_map(|edge| self.named(edge))
            .collect()
    }

    fn named(&self, (ends, edge): (Ends, EdgeSnapshot)) -> Option<(EdgeNames, EdgeSnapshot)> {
        let name = |id: NameId| self.names.get(id).cloned();
        let names = EdgeNames {
            client: name(ends.0)?,
            server: name(ends.1)?,
            called_as: edge
                .called_as
                .and_then(name)
                .filter(|name| &*name.text != UNKNOWN),
        };
        Some((names, edge))
    }

    fn pair(&mut self, span: &SpanRef<'_>, at: Arrival) {
        match (span.kind, span.parent_span_id) {
            (SpanKind::Server | SpanKind::Consumer, Some(parent)) => {
                self.pairing.server(span, parent, at);
            }
            (SpanKind::Server | SpanKind::Consumer, None) => {
                self.evidence.root(at.service, span.weight(), at.slot);
            }
            (SpanKind::Client | SpanKind::Producer, _) => {
                if self.pairing.has_server(span) {
                    self.pairing.client(span, Called::default(), at);
                    return;
                }
                let peer = Peer::of(span);
                peer.write_name(&mut self.peer_name);
                let node = self.names.intern(&self.peer_name, peer.kind(), at.slot);
                if peer.kind() == NodeKind::Database {
                    self.pairing.database(span, node, at);
                    return;
                }
                let called = Called {
                    peer: Some(node),
                    told_gap: peer.told_gap(),
                };
                self.pairing.client(span, called, at);
            }
            _ => {}
        }
    }

    fn settle(&mut self, unix_seconds: u32) {
        for call in self.pairing.settle(unix_seconds) {
            self.edges.count(call, &mut self.names, &self.clock);
        }
        for span in self.pairing.alone() {
            self.names.touch(span.service, self.clock.now());
            self.evidence.alone(span, &self.clock);
        }
    }

    fn roll(&mut self) {
        let series = &mut self.series;
        self.services
            .roll(&self.clock, &self.names, &mut series.spans);
        self.edges.roll(&self.clock, &self.names, &mut series.edges);
        self.evidence.roll(&self.clock);
        self.names.retain(self.clock.oldest());
    }
}

fn unix_seconds(unix_nano: u64) -> u32 {
    u32::try_from(unix_nano / NANOS_A_SECOND).unwrap_or(u32::MAX)
}
