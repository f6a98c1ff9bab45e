//! Services and their operations: a row for each (service, span kind, span name), and one of each service's entry
//! spans. Counted into by `mod`, once a span.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::cumulative::Cumulative;
use super::histogram::Histogram;
use super::names::{NameId, Names, cut};
use super::report::{Latency, OperationReport, ServiceReport};
use super::series::{Moment, SpanKey, Table};
use super::window::{Clock, Series, Slot, Slots, Snapshot, seconds};
use crate::wire::{SpanKind, SpanRef, StatusCode};

/// Takes the spans of operations beyond the caps, a row for each kind.
pub(crate) const OTHER_OPERATIONS: &str = "(other operations)";
const MAX_OPERATIONS: usize = 1_000;
const MAX_OPERATIONS_A_SERVICE: usize = 200;

/// Nanoseconds of the row's entry spans.
const ENTRY_NANOS: usize = 0;
/// Durations by span status: its number is the histogram's.
const STATUSES: usize = 3;
const FAILED: usize = StatusCode::Error as usize;
type RowSlot = Slot<1, STATUSES>;
type Row = Series<1, STATUSES>;
pub(crate) type RowSnapshot = Snapshot<1, STATUSES>;

/// Every service and operation seen within the retention.
#[derive(Debug, Default)]
pub(crate) struct Services {
    services: HashMap<NameId, Service, RandomState>,
    operations: Vec<Operation>,
    table: HashTable<u32>,
    hasher: RandomState,
    overflowed: u64,
}

#[derive(Debug, Default)]
struct Service {
    version: Option<Arc<str>>,
    resource_hash: u64,
    operations: usize,
    /// Its entry spans.
    entry: Row,
}

#[derive(Debug)]
struct Operation {
    service: NameId,
    kind: SpanKind,
    name: Arc<str>,
    row: Row,
}

/// What a service's report is made of.
#[derive(Debug)]
pub(crate) struct ServiceSnapshot {
    pub(crate) service: NameId,
    version: Option<Arc<str>>,
    entry: RowSnapshot,
}

/// What an operation's report is made of.
#[derive(Debug)]
pub(crate) struct OperationSnapshot {
    name: Arc<str>,
    kind: SpanKind,
    row: RowSnapshot,
}

impl Services {
    /// Notes that spans of `service` with this resource follow, for its version.
    pub(crate) fn resource(&mut self, service: NameId, span: &SpanRef<'_>) {
        let hash = self.hasher.hash_one(span.resource.raw);
        let service = self.services.entry(service).or_default();
        if service.resource_hash != hash {
            service.resource_hash = hash;
            let version = span
                .resource
                .attributes()
                .find(|a| a.key == "service.version");
            service.version = version
                .and_then(|a| a.value.as_str())
                .map(|text| cut(text).into());
        }
    }

    /// Counts a span of `service` in `slot`; whether it is the first entry span of its operation there.
    pub(crate) fn count(&mut self, service: NameId, span: &SpanRef<'_>, slot: u32) -> bool {
        let mut is_first = false;
        let nanos = span.duration_nanos();
        let entry = is_entry(span);
        let operation = self.operation(service, kind(span), cut(span.name));
        if let Some(operation) = self.operations.get_mut(operation) {
            let row = operation.row.at(slot);
            is_first = entry && row.histograms.iter().all(|status| status.count() == 0);
            let of_entry = if entry { nanos } else { 0 };
            count(row, span.status, nanos, of_entry);
        }
        if entry && let Some(service) = self.services.get_mut(&service) {
            count(service.entry.at(slot), span.status, nanos, nanos);
        }
        is_first
    }

    /// Closes slots, which `totals` gets, and drops operations and services without any.
    pub(crate) fn roll(
        &mut self,
        clock: &Clock,
        names: &Names,
        totals: &mut Table<SpanKey, Cumulative>,
    ) {
        let before = self.operations.len();
        for operation in &mut self.operations {
            let Operation {
                service,
                kind,
                name,
                row,
            } = operation;
            row.roll(clock, |at, slot| {
                for (status, histogram) in by_status(slot) {
                    if let Some(key) = key(*service, *kind, name, status, names) {
                        totals
                            .at(key, histogram.count(), clock.moment(at))
                            .add(histogram);
                    }
                }
            });
        }
        self.operations
            .retain(|operation| !operation.row.is_empty());
        if self.operations.len() != before {
            self.rebuild();
        }
        for service in self.services.values_mut() {
            service.entry.roll(clock, |_, _| {});
        }
        self.services
            .retain(|_, service| service.operations > 0 || !service.entry.is_empty());
    }

    /// Every series with what is still in open slots.
    pub(crate) fn totals(
        &self,
        now: Moment,
        names: &Names,
        totals: &mut Table<SpanKey, Cumulative>,
    ) -> Vec<(SpanKey, Cumulative)> {
        let rows = self.operations.iter();
        let slots = rows.flat_map(|row| row.row.open().map(move |slot| (row, slot)));
        let open = slots.flat_map(|(row, slot)| {
            by_status(slot).filter_map(move |(status, histogram)| {
                let key = key(row.service, row.kind, &row.name, status, names)?;
                Some((key, histogram))
            })
        });
        // Before they are shown: one that has come back is, with what it had counted.
        let open: Vec<_> = open
            .map(|(key, histogram)| (totals.claim(key, now), histogram))
            .collect();
        let mut shown = totals.shown(now);
        for (key, histogram) in open {
            shown.entry(key).or_default().add(histogram);
        }
        shown.into_iter().collect()
    }

    /// Heap bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        let operations = self
            .operations
            .iter()
            .map(|o| size_of::<Operation>() + o.name.len() + o.row.bytes());
        let services = self
            .services
            .values()
            .map(|s| size_of::<Service>() + s.entry.bytes());
        operations.chain(services).sum()
    }

    /// Spans counted into an overflow row.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Services with any span in the range.
    pub(crate) fn seen_in(&self, slots: Slots) -> Vec<NameId> {
        let rows = self
            .operations
            .iter()
            .filter(|operation| operation.row.any_in(slots));
        let mut seen: Vec<_> = rows.map(|operation| operation.service).collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    }

    /// A snapshot of every service with any span in the range.
    pub(crate) fn services(&self, slots: Slots) -> Vec<ServiceSnapshot> {
        let seen = self.seen_in(slots).into_iter();
        seen.filter_map(|id| {
            self.services.get(&id).map(|service| ServiceSnapshot {
                service: id,
                version: service.version.clone(),
                entry: service.entry.snapshot(slots),
            })
        })
        .collect()
    }

    /// A snapshot of a service's operations in the range; `None` when the service is not known.
    pub(crate) fn operations(
        &self,
        service: NameId,
        slots: Slots,
    ) -> Option<Vec<OperationSnapshot>> {
        self.services.get(&service)?;
        let own = self
            .operations
            .iter()
            .filter(|operation| operation.service == service);
        let snapshots = own.map(|operation| OperationSnapshot {
            name: Arc::clone(&operation.name),
            kind: operation.kind,
            row: operation.row.snapshot(slots),
        });
        Some(
            snapshots
                .filter(|snapshot| !snapshot.row.is_empty())
                .collect(),
        )
    }

    /// How many spans of a service came in the range, and how many of them CLIENT or PRODUCER spans; `None` when the
    /// service is not known.
    pub(crate) fn spans(&self, service: NameId, slots: Slots) -> Option<(u64, u64)> {
        self.services.get(&service)?;
        let own = self.operations.iter().filter(|row| row.service == service);
        let counts = own.map(|operation| {
            let count = operation.row.sum(slots).total().whole().count();
            let client = matches!(operation.kind, SpanKind::Client | SpanKind::Producer);
            (count, if client { count } else { 0 })
        });
        Some(counts.fold((0, 0), |(all, clients), (count, client)| {
            (all + count, clients + client)
        }))
    }

    /// A snapshot of a service's entry spans, or of all spans with a name; `None` when there is no such row.
    pub(crate) fn course(
        &self,
        service: NameId,
        operation: Option<&str>,
        slots: Slots,
    ) -> Option<Vec<RowSnapshot>> {
        let Some(name) = operation else {
            return Some(vec![self.services.get(&service)?.entry.snapshot(slots)]);
        };
        let own = self
            .operations
            .iter()
            .filter(|operation| operation.service == service && *operation.name == *name);
        let rows: Vec<_> = own.map(|operation| operation.row.snapshot(slots)).collect();
        (!rows.is_empty()).then_some(rows)
    }

    /// The place of a row, made when new, of the overflow row when there are too many.
    fn operation(&mut self, service: NameId, kind: SpanKind, name: &str) -> usize {
        if let Some(at) = self.find(service, kind, name) {
            return at;
        }
        let own = self
            .services
            .get(&service)
            .map_or(0, |service| service.operations);
        if own < MAX_OPERATIONS_A_SERVICE && self.operations.len() < MAX_OPERATIONS {
            return self.insert(service, kind, name);
        }
        self.overflowed += 1;
        self.find(service, kind, OTHER_OPERATIONS)
            .unwrap_or_else(|| self.insert(service, kind, OTHER_OPERATIONS))
    }

    fn find(&self, service: NameId, kind: SpanKind, name: &str) -> Option<usize> {
        let hash = hash(&self.hasher, service, kind, name);
        let same = |&at: &u32| {
            self.operations.get(at as usize).is_some_and(|operation| {
                operation.service == service && operation.kind == kind && *operation.name == *name
            })
        };
        self.table.find(hash, same).map(|&at| at as usize)
    }

    fn insert(&mut self, service: NameId, kind: SpanKind, name: &str) -> usize {
        self.services.entry(service).or_default().operations += 1;
        let at = self.operations.len();
        self.operations.push(Operation {
            service,
            kind,
            name: name.into(),
            row: Row::default(),
        });
        self.index(at);
        at
    }

    fn index(&mut self, at: usize) {
        let Self {
            operations,
            table,
            hasher,
            ..
        } = self;
        let hash_at = |at: &u32| {
            operations
                .get(*at as usize)
                .map_or(0, |o| hash(hasher, o.service, o.kind, &o.name))
        };
        let at = at as u32;
        table.insert_unique(hash_at(&at), at, hash_at);
    }

    fn rebuild(&mut self) {
        self.table.clear();
        for service in self.services.values_mut() {
            service.operations = 0;
        }
        for at in 0..self.operations.len() {
            self.index(at);
        }
        for operation in &self.operations {
            self.services
                .entry(operation.service)
                .or_default()
                .operations += 1;
        }
    }
}

impl ServiceSnapshot {
    /// The report of a service called `name`.
    pub(crate) fn report(&self, name: &str, slots: Slots, now_unix_nano: u64) -> ServiceReport {
        let total = self.entry.total();
        let whole = total.whole();
        let count = whole.count();
        ServiceReport {
            service: name.to_owned(),
            version: self.version.as_deref().map(str::to_owned),
            count,
            rate: count as f64 / slots.seconds(),
            error_ratio: ratio(total.histograms[FAILED].count(), count),
            latency: Latency::of(&whole),
            spark: self.entry.spark(slots, now_unix_nano),
        }
    }
}

impl OperationSnapshot {
    /// The reports of a service's operations, those with most of its time first.
    pub(crate) fn reports(
        all: &[Self],
        service: &str,
        slots: Slots,
        now_unix_nano: u64,
    ) -> Vec<OperationReport> {
        let totals: Vec<_> = all.iter().map(|snapshot| snapshot.row.total()).collect();
        let entry_nanos: u64 = totals
            .iter()
            .map(|total| total.counters[ENTRY_NANOS])
            .fold(0, u64::saturating_add);
        let rows = all.iter().zip(&totals).map(|(snapshot, total)| {
            let whole = total.whole();
            let count = whole.count();
            OperationReport {
                service: service.to_owned(),
                operation: snapshot.name.to_string(),
                kind: kind_name(snapshot.kind),
                count,
                rate: count as f64 / slots.seconds(),
                error_ratio: ratio(total.histograms[FAILED].count(), count),
                latency: Latency::of(&whole),
                impact: ratio(total.counters[ENTRY_NANOS], entry_nanos),
                spark: snapshot.row.spark(slots, now_unix_nano),
            }
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by(|a, b| {
            let by_impact = b.impact.total_cmp(&a.impact).then(b.count.cmp(&a.count));
            by_impact.then_with(|| (&a.operation, a.kind).cmp(&(&b.operation, b.kind)))
        });
        rows
    }
}

impl Latency {
    fn of(histogram: &Histogram) -> Self {
        let at = |permille| histogram.percentile(permille).map(seconds);
        Self {
            p50: at(500),
            p90: at(900),
            p95: at(950),
            p99: at(990),
            p999: at(999),
            max: histogram.max().map(|nanos| seconds(nanos as f64)),
        }
    }
}

/// The durations of a slot's spans by their status, where there are any.
fn by_status(slot: &RowSlot) -> impl Iterator<Item = (StatusCode, &Histogram)> {
    let statuses = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error];
    let all = statuses.into_iter().zip(&slot.histograms);
    all.filter(|(_, histogram)| histogram.count() > 0)
}

/// What a series of an operation's spans is called; `None` once its service's name has gone.
fn key(
    service: NameId,
    kind: SpanKind,
    name: &Arc<str>,
    status: StatusCode,
    names: &Names,
) -> Option<SpanKey> {
    Some(SpanKey {
        service: Arc::clone(&names.get(service)?.text),
        kind,
        name: Arc::clone(name),
        status,
    })
}

/// Counts a span of a row: its duration, and how much of the service's time it is.
fn count(slot: &mut RowSlot, status: StatusCode, nanos: u64, entry_nanos: u64) {
    slot.histograms[status as usize].record(nanos);
    slot.counters[ENTRY_NANOS] = slot.counters[ENTRY_NANOS].saturating_add(entry_nanos);
}

/// A share; 0 of nothing.
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// SERVER, CONSUMER, or parentless: work that came into the service from outside.
pub(crate) fn is_entry(span: &SpanRef<'_>) -> bool {
    matches!(span.kind, SpanKind::Server | SpanKind::Consumer) || span.parent_span_id.is_none()
}

/// A kind that was not said is internal, as the specification has it.
pub(crate) fn kind(span: &SpanRef<'_>) -> SpanKind {
    match span.kind {
        SpanKind::Unspecified => SpanKind::Internal,
        said => said,
    }
}

fn hash(hasher: &RandomState, service: NameId, kind: SpanKind, name: &str) -> u64 {
    let mut state = hasher.build_hasher();
    service.hash(&mut state);
    kind.hash(&mut state);
    state.write(name.as_bytes());
    state.finish()
}

/// As the API says it.
pub(crate) fn kind_name(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified | SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}
