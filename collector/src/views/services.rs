//! Services and their operations: a row for each (service, span kind, span name), and one of each service's entry
//! spans, which `parts` split by version and instance. Counted into by `stats`, once a span.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::clock::{Clock, Compared, Slots};
use super::cumulative::PackedCumulative;
use super::figures::{Counted, Pair, Row, RowSnapshot, by_status, samples};
use super::names::{NameId, Names, cut};
use super::parts::{Origin, Parts, Split};
use super::series::{SpanKey, Table};
use super::snapshots::{OperationSnapshot, ServiceSnapshot};
use crate::wire::{SpanKind, SpanRef, StatusCode};

/// Takes the spans of operations beyond the caps, a row for each kind.
pub(crate) const OTHER_OPERATIONS: &str = "(other operations)";
const MAX_OPERATIONS: usize = 1_000;
const MAX_OPERATIONS_A_SERVICE: usize = 200;
/// Rows of versions and instances, of all services together: beside 1,000 operations they are a quarter.
const MAX_PART_ROWS: usize = 250;

/// Every service and operation seen within the retention.
#[derive(Debug, Default)]
pub(crate) struct Services {
    services: HashMap<NameId, Service, RandomState>,
    operations: Vec<Operation>,
    table: HashTable<u32>,
    hasher: RandomState,
    overflowed: u64,
    /// Rows that services have beside their own.
    part_rows: usize,
}

#[derive(Debug)]
struct Service {
    /// Whose spans come now, and the hash of that resource.
    origin: Origin,
    resource_hash: Option<u64>,
    /// When its newest span arrived, Unix nanoseconds.
    last_span: u64,
    operations: usize,
    /// Its entry spans.
    entry: Row,
    versions: Parts,
    instances: Parts,
}

#[derive(Debug)]
struct Operation {
    service: NameId,
    kind: SpanKind,
    name: Arc<str>,
    row: Row,
}

impl Services {
    /// Notes that spans of `service` with this resource follow, which have just arrived, for its version and instance.
    pub(crate) fn resource(&mut self, service: NameId, span: &SpanRef<'_>, arrived_unix_nano: u64) {
        let hash = Some(self.hasher.hash_one(span.resource.raw));
        let service = self.services.entry(service).or_default();
        service.last_span = arrived_unix_nano;
        if service.resource_hash == hash {
            return;
        }
        service.resource_hash = hash;
        service.origin = origin(span);
        let Service {
            origin,
            entry,
            versions,
            instances,
            ..
        } = service;
        for parts in [versions, instances] {
            let before = parts.rows();
            // Who is split for the first time gets two.
            let room = self.part_rows + 2 <= MAX_PART_ROWS;
            parts.turn_to(origin, entry, room);
            self.part_rows += parts.rows() - before;
        }
    }

    /// Counts a span of `service` in `slot`; whether it is the first entry span of its operation there.
    pub(crate) fn count(&mut self, service: NameId, span: &SpanRef<'_>, slot: u32) -> bool {
        let counted = Counted::new(span);
        let mut is_first = false;
        let operation = self.operation(service, kind(span), cut(span.name));
        if let Some(operation) = self.operations.get_mut(operation) {
            is_first = counted.into(&mut operation.row, slot) && counted.entry;
        }
        if counted.entry
            && let Some(service) = self.services.get_mut(&service)
        {
            counted.into(&mut service.entry, slot);
            service.versions.count(counted, slot);
            service.instances.count(counted, slot);
        }
        is_first
    }

    /// Closes slots, which `totals` gets, and drops operations and services without any.
    pub(crate) fn roll(
        &mut self,
        clock: &Clock,
        names: &Names,
        totals: &mut Table<SpanKey, PackedCumulative>,
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
        self.part_rows = 0;
        for service in self.services.values_mut() {
            service.roll(clock);
            self.part_rows += service.versions.rows() + service.instances.rows();
        }
        self.services
            .retain(|_, service| service.operations > 0 || !service.entry.is_empty());
    }

    /// Every series with what is still in open slots.
    pub(crate) fn totals(
        &self,
        clock: &Clock,
        names: &Names,
        totals: &mut Table<SpanKey, PackedCumulative>,
    ) -> Vec<(SpanKey, PackedCumulative)> {
        let rows = self.operations.iter();
        let slots = rows.flat_map(|row| row.row.open().map(move |open| (row, open)));
        let open = slots.flat_map(|(row, (at, slot))| {
            by_status(slot).filter_map(move |(status, histogram)| {
                let key = key(row.service, row.kind, &row.name, status, names)?;
                Some((key, at, histogram))
            })
        });
        // Before they are shown: one that has come back is, with what it had counted.
        let open: Vec<_> = open
            .map(|(key, at, histogram)| (totals.claim(key, clock.moment(at)), histogram))
            .collect();
        let mut shown = totals.shown(clock.moment(clock.now()));
        for (key, histogram) in open {
            shown.entry(key).or_default().add(histogram);
        }
        shown.into_iter().collect()
    }

    /// Heap bytes held, about: by the rows of operations, and by those of services.
    pub(crate) fn bytes(&self) -> [usize; 2] {
        let operations = self
            .operations
            .iter()
            .map(|o| size_of::<Operation>() + o.name.len() + o.row.bytes());
        [
            operations.sum(),
            self.services.values().map(Service::bytes).sum(),
        ]
    }

    /// Spans counted into an overflow row.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Rows that services have beside their own, for their versions and instances.
    pub(crate) fn part_rows(&self) -> usize {
        self.part_rows
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

    /// A snapshot of every service with any span in the range, or of that one alone.
    pub(crate) fn services(&self, windows: Compared, only: Option<NameId>) -> Vec<ServiceSnapshot> {
        let seen = self.seen_in(windows.now).into_iter();
        let asked = seen.filter(|id| only.is_none_or(|only| only == *id));
        asked
            .filter_map(|id| {
                self.services.get(&id).map(|service| ServiceSnapshot {
                    service: id,
                    origin: service.origin.of_service(),
                    versions: service.versions.rows().max(1),
                    entry: Pair::of(&service.entry, windows),
                })
            })
            .collect()
    }

    /// The entry spans of every service with any span in the range, without their course.
    pub(crate) fn entries(&self, slots: Slots) -> Vec<(NameId, RowSnapshot)> {
        let seen = self.seen_in(slots).into_iter();
        let sums = seen.filter_map(|id| Some((id, self.services.get(&id)?.entry.sum(slots))));
        sums.collect()
    }

    /// A snapshot of every part with entry spans in the range, of all services or of one.
    pub(crate) fn parts(
        &self,
        split: Split,
        only: Option<NameId>,
        windows: Compared,
    ) -> Vec<ServiceSnapshot> {
        let asked = |id: &NameId| only.is_none_or(|only| only == *id);
        let services = self.services.iter().filter(|(id, _)| asked(id));
        let snapshots = services.flat_map(|(&id, service)| {
            let parts = service.parts(split).snapshots(&service.entry, windows);
            parts
                .into_iter()
                .map(move |(origin, entry)| ServiceSnapshot {
                    service: id,
                    origin,
                    versions: 1,
                    entry,
                })
        });
        snapshots.collect()
    }

    /// A snapshot of a service's operations in the range; `None` when the service is not known.
    pub(crate) fn operations(
        &self,
        service: NameId,
        windows: Compared,
    ) -> Option<Vec<OperationSnapshot>> {
        self.services.get(&service)?;
        let own = self
            .operations
            .iter()
            .filter(|operation| operation.service == service);
        let snapshots = own.map(|operation| OperationSnapshot {
            name: Arc::clone(&operation.name),
            kind: operation.kind,
            row: Pair::of(&operation.row, windows),
        });
        Some(
            snapshots
                .filter(|snapshot| !snapshot.row.now.is_empty())
                .collect(),
        )
    }

    /// How many spans of a service came in the range, and how many of them CLIENT or PRODUCER spans; `None` when the
    /// service is not known.
    pub(crate) fn spans(&self, service: NameId, slots: Slots) -> Option<(u64, u64)> {
        self.services.get(&service)?;
        let own = self.operations.iter().filter(|row| row.service == service);
        let counts = own.map(|operation| {
            let count = samples(&operation.row.sum(slots).total());
            let client = matches!(operation.kind, SpanKind::Client | SpanKind::Producer);
            (count, if client { count } else { 0 })
        });
        Some(counts.fold((0, 0), |(all, clients), (count, client)| {
            (all + count, clients + client)
        }))
    }

    /// A service's entry spans in the range, and when its newest span of any kind arrived, Unix nanoseconds; `None` when the
    /// service is not known.
    pub(crate) fn entry(&self, service: NameId, slots: Slots) -> Option<(RowSnapshot, u64)> {
        let service = self.services.get(&service)?;
        Some((service.entry.sum(slots), service.last_span))
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

impl Default for Service {
    fn default() -> Self {
        Self {
            origin: Origin::default(),
            resource_hash: None,
            last_span: 0,
            operations: 0,
            entry: Row::default(),
            versions: Parts::by(Split::Version),
            instances: Parts::by(Split::Instance),
        }
    }
}

impl Service {
    fn parts(&self, split: Split) -> &Parts {
        match split {
            Split::Version => &self.versions,
            Split::Instance => &self.instances,
        }
    }

    fn roll(&mut self, clock: &Clock) {
        self.entry.roll(clock, |_, _| {});
        self.versions.roll(clock);
        self.instances.roll(clock);
        // Parts may have moved.
        self.resource_hash = None;
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.entry.bytes() + self.versions.bytes() + self.instances.bytes()
    }
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

/// SERVER, CONSUMER, or parentless: work that came into the service from outside.
pub(crate) fn is_entry(span: &SpanRef<'_>) -> bool {
    matches!(span.kind, SpanKind::Server | SpanKind::Consumer) || span.parent_span_id.is_none()
}

/// What a resource says about the version and the instance of its service.
fn origin(span: &SpanRef<'_>) -> Origin {
    const VERSION: &str = "service.version";
    const INSTANCE: &str = "service.instance.id";
    let wanted = |key: &[u8]| key == VERSION.as_bytes() || key == INSTANCE.as_bytes();
    let (mut version, mut instance) = (None, None);
    for attribute in span.resource.attributes().select(wanted) {
        match attribute.key {
            VERSION => version = attribute.value.as_str(),
            _ => instance = attribute.value.as_str(),
        }
    }
    Origin::new(version, instance)
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
