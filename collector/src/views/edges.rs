//! Edges of the map: who calls whom, with the client's, the server's and the gap's latency. Fed by `mod` with the
//! calls that `pairing` settled.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::call::{Outcome, Settled};
use super::clock::{Clock, Slots};
use super::distribution::distribution;
use super::figures::ratio;
use super::names::{Name, NameId, Names, NodeKind};
use super::report::{Distribution, Edge};
use super::series::{EdgeCounts, EdgeKey, Table};
use super::window::{Series, Slot, Snapshot, seconds};

const MAX_EDGES: usize = 1_000;
/// Both ends of the edge that takes calls beyond the cap.
pub(crate) const OTHER_EDGES: &str = "(other edges)";

const FAILED: usize = 0;
/// Of the unpaired ones.
const UNPAIRED_FAILED: usize = 1;
/// Of those whose durations are told apart from the others'.
const RETRIED: usize = 2;
/// How many more are counted than calls came, by their weights; none unless a sender samples.
const ESTIMATED: usize = 3;
const COUNTERS: usize = 4;

/// Of calls with both spans, the negative ones among them.
const CLIENT: usize = 0;
const SERVER: usize = 1;
/// Of calls with both spans, without the negative ones.
const GAP: usize = 2;
/// Client spans of unpaired calls.
const ALONE: usize = 3;
/// Gaps of unpaired calls whose called service told its own time.
const TOLD: usize = 4;
/// Of retried calls and of messages, which Prometheus gets beside the rest.
const ODD_CLIENT: usize = 5;
const ODD_SERVER: usize = 6;
const HISTOGRAMS: usize = 7;

type EdgeSlot = Slot<COUNTERS, HISTOGRAMS>;

/// Client, server.
pub(crate) type Ends = (NameId, NameId);

/// Every edge seen within the retention.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    edges: HashMap<Ends, Row, RandomState>,
    overflowed: u64,
}

#[derive(Debug, Default)]
struct Row {
    series: Series<COUNTERS, HISTOGRAMS>,
    /// What the client's attributes last called the server by another name than its own, and in which slot.
    called_as: Option<(NameId, u32)>,
}

/// What an edge's ends are called.
#[derive(Debug)]
pub(crate) struct EdgeNames {
    pub(crate) client: Name,
    pub(crate) server: Name,
    /// Another name that the client has for the server.
    pub(crate) called_as: Option<Name>,
}

/// What an edge's report is made of.
#[derive(Debug, Default)]
pub(crate) struct EdgeSnapshot {
    /// Another name that the client has for the server.
    pub(crate) called_as: Option<NameId>,
    kept: Option<Snapshot<COUNTERS, HISTOGRAMS>>,
    lingering: Option<EdgeSlot>,
}

impl Edges {
    /// Counts a settled call in the slot in which its last half came, or in the oldest still open.
    pub(crate) fn count(&mut self, call: Settled, names: &mut Names, clock: &Clock) {
        let now = clock.now();
        let mut ends = (call.client, call.server);
        if self.edges.len() >= MAX_EDGES && !self.edges.contains_key(&ends) {
            ends = other(names, now);
            self.overflowed += 1;
        }
        names.touch(ends.0, now);
        names.touch(ends.1, now);
        let row = self.edges.entry(ends).or_default();
        if let Some(peer) = call
            .peer
            .filter(|&peer| peer != ends.1 && ends.1 == call.server)
        {
            names.touch(peer, now);
            row.called_as = Some((peer, now));
        }
        count(row.series.at(call.slot.max(now.saturating_sub(1))), call);
    }

    /// Closes slots, which `totals` gets, and drops edges without any.
    pub(crate) fn roll(
        &mut self,
        clock: &Clock,
        names: &Names,
        totals: &mut Table<EdgeKey, EdgeCounts>,
    ) {
        self.edges.retain(|&ends, row| {
            row.series.roll(clock, |at, slot| {
                if let Some(key) = key(ends, names, at) {
                    let calls = slot.calls();
                    totals.at(key, calls, clock.moment(at)).add(slot);
                }
            });
            // From then on the name may stand for another one.
            row.called_as.take_if(|(_, slot)| *slot < clock.oldest());
            !row.series.is_empty()
        });
    }

    /// Every series with what is still in open slots.
    pub(crate) fn totals(
        &self,
        clock: &Clock,
        names: &Names,
        totals: &mut Table<EdgeKey, EdgeCounts>,
    ) -> Vec<(EdgeKey, EdgeCounts)> {
        let rows = self.edges.iter();
        let slots = rows.flat_map(|(&ends, row)| row.series.open().map(move |open| (ends, open)));
        // Before they are shown: one that has come back is, with what it had counted.
        let open: Vec<_> = slots
            .filter_map(|(ends, (at, slot))| {
                let key = key(ends, names, at)?;
                Some((totals.claim(key, clock.moment(at)), slot))
            })
            .collect();
        let mut shown = totals.shown(clock.moment(clock.now()));
        for (key, slot) in open {
            shown.entry(key).or_default().add(slot);
        }
        shown.into_iter().collect()
    }

    /// Heap bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        const ENTRY: usize = size_of::<(Ends, Row)>();
        let rows = self.edges.values();
        rows.map(|row| ENTRY + row.series.bytes()).sum()
    }

    /// Calls counted into the overflow edge.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// A snapshot of every edge, or of one alone, with calls in the range, complete calls that are not settled yet included: those on
    /// edges as they will be settled, beyond the cap on the overflow edge.
    pub(crate) fn snapshot(
        &self,
        lingering: impl Iterator<Item = Settled>,
        slots: Slots,
        names: &mut Names,
        only: Option<Ends>,
    ) -> Vec<(Ends, EdgeSnapshot)> {
        let asked = |ends: &Ends| only.is_none_or(|only| only == *ends);
        let mut edges: HashMap<Ends, EdgeSnapshot, RandomState> = HashMap::default();
        for (ends, row) in self.edges.iter().filter(|(ends, _)| asked(ends)) {
            let snapshot = row.series.sum(slots);
            if !snapshot.is_empty() {
                let edge = edges.entry(*ends).or_default();
                edge.kept = Some(snapshot);
                edge.called_as = row.called_as.map(|(name, _)| name);
            }
        }
        let mut new = 0;
        for call in lingering.filter(|call| slots.contains(call.slot)) {
            let mut ends = (call.client, call.server);
            if !edges.contains_key(&ends) && !self.edges.contains_key(&ends) {
                if self.edges.len() + new < MAX_EDGES {
                    new += 1;
                } else {
                    ends = other(names, call.slot);
                }
            }
            let edge = edges.entry(ends).or_default();
            count(edge.lingering.get_or_insert_default(), call);
        }
        edges.into_iter().filter(|(ends, _)| asked(ends)).collect()
    }
}

impl EdgeSnapshot {
    /// Its report.
    pub(crate) fn report(&self, names: &EdgeNames, slots: Slots) -> Edge {
        report(&self.total(), names, slots)
    }

    /// Its report, and its durations as distributions over each other.
    pub(crate) fn detail(&self, names: &EdgeNames, slots: Slots) -> (Edge, Distribution) {
        let total = self.total();
        let [client, server, gap, unpaired, told_gap, ..] = &total.histograms;
        let distribution = distribution([client, server, gap, unpaired, told_gap]);
        (report(&total, names, slots), distribution)
    }

    /// The 99th percentile of its gap, in seconds; `None` where none was measured.
    pub(crate) fn gap_p99(&self) -> Option<f64> {
        self.total().histograms[GAP].percentile(990).map(seconds)
    }

    fn total(&self) -> EdgeSlot {
        let mut total = self.kept.as_ref().map(Snapshot::total).unwrap_or_default();
        if let Some(lingering) = &self.lingering {
            total.merge(lingering);
        }
        total
    }
}

fn report(total: &EdgeSlot, names: &EdgeNames, slots: Slots) -> Edge {
    let calls = &total.counters;
    let [count, with_both, paired, odd] = [
        total.calls(),
        total.count(CLIENT),
        total.count(GAP),
        total.count(ODD_CLIENT),
    ];
    // Where no server makes spans, the unpaired calls are all there is to see.
    let side = if with_both == 0 { ALONE } else { CLIENT };
    let at = |histogram: usize, permille| {
        let percentile = total.histograms[histogram].percentile(permille);
        percentile.map(seconds)
    };
    Edge {
        client: names.client.text.to_string(),
        server: names.server.text.to_string(),
        called_as: names.called_as.as_ref().map(|name| name.text.to_string()),
        count,
        samples: count.saturating_sub(calls[ESTIMATED]),
        rate: count as f64 / slots.seconds(),
        error_ratio: ratio(calls[FAILED], count),
        client_p50: at(side, 500),
        client_p90: at(side, 900),
        client_p99: at(side, 990),
        server_p50: at(SERVER, 500),
        server_p90: at(SERVER, 900),
        server_p99: at(SERVER, 990),
        gap_p50: at(GAP, 500),
        gap_p90: at(GAP, 900),
        gap_p99: at(GAP, 990),
        paired,
        unpaired: total.count(ALONE),
        unpaired_failed: calls[UNPAIRED_FAILED],
        told: total.count(TOLD),
        told_gap_p50: at(TOLD, 500),
        told_gap_p90: at(TOLD, 900),
        told_gap_p99: at(TOLD, 990),
        negative: with_both.saturating_sub(paired),
        retried: calls[RETRIED],
        asynchronous: odd.saturating_sub(calls[RETRIED]),
    }
}

impl EdgeSlot {
    /// Of every class: each call has one client span.
    fn calls(&self) -> u64 {
        let clients = [CLIENT, ALONE, ODD_CLIENT].map(|histogram| self.count(histogram));
        clients.into_iter().fold(0, u64::saturating_add)
    }

    fn count(&self, histogram: usize) -> u64 {
        self.histograms[histogram].count()
    }
}

impl EdgeCounts {
    /// Each call has one duration on either side, so that their sum over `requests` is the mean that Grafana shows.
    fn add(&mut self, slot: &EdgeSlot) {
        self.requests = self.requests.saturating_add(slot.calls());
        self.failed = self.failed.saturating_add(slot.counters[FAILED]);
        // Of a call without a server span, nothing nearer to the server was measured.
        for (side, of) in [
            (&mut self.client, &[CLIENT, ODD_CLIENT, ALONE][..]),
            (&mut self.server, &[SERVER, ODD_SERVER, ALONE]),
            (&mut self.gap, &[GAP]),
        ] {
            of.iter().for_each(|&at| side.add(&slot.histograms[at]));
        }
    }
}

/// What an edge is called, for what was counted in a slot; `None` once its names have gone.
fn key((client, server): Ends, names: &Names, slot: u32) -> Option<EdgeKey> {
    let (client, server) = (names.get(client)?, names.get(server)?);
    Some(EdgeKey {
        client: Arc::clone(&client.text),
        server: Arc::clone(&server.text),
        connection: server.kind_in(slot).into(),
    })
}

/// The edge that takes calls beyond the cap.
fn other(names: &mut Names, slot: u32) -> Ends {
    let other = names.intern(OTHER_EDGES, NodeKind::External, slot);
    (other, other)
}

/// Counts a call by its weight; the five outcomes exclude each other and add up to all calls. A call whose server span is
/// the longer one has its two durations counted but no gap: a negative one is never made zero.
fn count(slot: &mut EdgeSlot, call: Settled) {
    let weight = u64::from(call.weight);
    let failed = if call.failed { weight } else { 0 };
    slot.counters[FAILED] += failed;
    slot.counters[ESTIMATED] += weight - 1;
    match call.outcome {
        Outcome::Paired { client, server } => {
            slot.histograms[CLIENT].record_times(client, call.weight);
            slot.histograms[SERVER].record_times(server, call.weight);
            if let Some(gap) = client.checked_sub(server) {
                slot.histograms[GAP].record_times(gap, call.weight);
            }
        }
        Outcome::Retried { client, server } | Outcome::Asynchronous { client, server } => {
            if matches!(call.outcome, Outcome::Retried { .. }) {
                slot.counters[RETRIED] += weight;
            }
            slot.histograms[ODD_CLIENT].record_times(client, call.weight);
            slot.histograms[ODD_SERVER].record_times(server, call.weight);
        }
        Outcome::Unpaired { client, told_gap } => {
            slot.counters[UNPAIRED_FAILED] += failed;
            slot.histograms[ALONE].record_times(client, call.weight);
            if let Some(gap) = told_gap {
                slot.histograms[TOLD].record_times(gap, call.weight);
            }
        }
    }
}
