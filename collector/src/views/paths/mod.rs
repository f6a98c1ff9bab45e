//! Where requests spend their time: for every entry operation a sample of its requests, each with what its critical
//! path was made of. Offered whole traces by `mod`, which also asks for the reports.
//!
//! The kept traces cannot tell this: they favour the slow and the failed. Of each minute and operation those requests
//! stay whose ids hash lowest, which is a fair sample whatever order they come in, and stays one when it is cut down to
//! fewer. A minute with more requests than it keeps counts for all of them.

mod breakdown;
mod cohorts;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

use super::clock::{SLOT_NANOS, Slots};
use super::kept::KeptTrace;
use super::names::cut;
use super::report::{CriticalPathReport, LargestPart};
use super::services::is_entry;
use super::window::seconds;
use breakdown::{Breakdown, Part};

/// Entry operations beyond this are not sampled.
const MAX_OPERATIONS: usize = 1_000;
/// Requests kept of an operation's minute while it is among the last [`FULL_MINUTES`], and after that: five minutes
/// hold eight slow requests of twenty at least, the hour twenty-four.
const FULL_SAMPLE: usize = 32;
const SMALL_SAMPLE: usize = 8;
const FULL_MINUTES: u32 = 6;
const SLOTS_A_MINUTE: u32 = 6;
/// Of a table's entry and an allocation, about.
const ENTRY_BYTES: usize = 64;

/// The samples of all entry operations.
#[derive(Debug)]
pub(crate) struct Paths {
    operations: HashMap<Key, VecDeque<Minute>, RandomState>,
    parts: HashTable<Arc<Part>>,
    parts_swept: usize,
    hasher: RandomState,
    bytes: usize,
    limit: usize,
    /// The newest minute offered.
    newest: u32,
}

/// Service and span name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key(Box<str>, Box<str>);

/// The sample of one operation and minute.
#[derive(Debug)]
struct Minute {
    minute: u32,
    offered: u64,
    /// The lowest hash first.
    samples: Vec<Sample>,
}

/// One request of the sample.
#[derive(Debug)]
struct Sample {
    hash: u64,
    slot: u32,
    trace_id: [u8; 16],
    /// For how many requests it stands by its sender's sampling.
    weight: u32,
    nanos: u64,
    /// What its critical path was made of, each part once; the nanoseconds add up to `nanos`.
    spent: Box<[(Arc<Part>, u64)]>,
}

/// A sample's request for a report, and for how many it stands.
#[derive(Clone, Debug)]
struct Weighed {
    weight: f64,
    trace_id: [u8; 16],
    nanos: u64,
    spent: Vec<(Arc<Part>, u64)>,
}

/// The samples of one operation in a range, taken under the lock.
#[derive(Debug)]
pub(crate) struct PathSnapshot {
    operation: String,
    samples: Vec<Weighed>,
}

impl Paths {
    /// No samples yet, and at most `limit` bytes of them.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            operations: HashMap::default(),
            parts: HashTable::new(),
            parts_swept: 0,
            hasher: RandomState::default(),
            bytes: 0,
            limit,
            newest: 0,
        }
    }

    /// Offers the requests of a trace of which nothing more is expected.
    pub(crate) fn offer(&mut self, trace: &KeptTrace) {
        // What the critical path leads through may be among the spans that were not kept.
        if trace.dropped > 0 {
            return;
        }
        let slot = u32::try_from(trace.last_arrival / SLOT_NANOS).unwrap_or(u32::MAX);
        let wanted: Vec<_> = trace
            .spans()
            .filter(is_entry)
            .filter_map(|span| {
                let hash = self.hasher.hash_one((span.trace_id, span.span_id));
                let key = Key(
                    cut(span.resource.service_name).into(),
                    cut(span.name).into(),
                );
                self.wants(&key, slot / SLOTS_A_MINUTE, hash).then_some((
                    key,
                    hash,
                    span.span_id,
                    span.weight(),
                ))
            })
            .collect();
        if wanted.is_empty() {
            return;
        }
        let breakdown = Breakdown::of(trace);
        for (key, hash, span_id, weight) in wanted {
            if let Some((nanos, spent)) = breakdown.below(span_id) {
                let spent = spent
                    .into_iter()
                    .map(|(part, nanos)| (self.part(part), nanos));
                let sample = Sample {
                    hash,
                    slot,
                    trace_id: trace.trace_id,
                    weight,
                    nanos,
                    spent: spent.collect(),
                };
                self.insert(&key, slot / SLOTS_A_MINUTE, sample);
            }
        }
        self.make_room();
    }

    /// Drops what is older than the slot `oldest`, and cuts the samples of minutes that were full until now.
    pub(crate) fn roll(&mut self, now: u32, oldest: u32) {
        let full = (now / SLOTS_A_MINUTE).saturating_sub(FULL_MINUTES);
        let mut freed = 0;
        self.operations.retain(|_, minutes| {
            while let Some(minute) = minutes.front()
                && minute.minute < oldest / SLOTS_A_MINUTE
            {
                freed += minutes.pop_front().map_or(0, |minute| minute.bytes());
            }
            for minute in minutes.iter_mut().filter(|minute| minute.minute < full) {
                freed += minute.cut(SMALL_SAMPLE);
            }
            !minutes.is_empty()
        });
        self.bytes -= freed;
        self.sweep();
    }

    /// Heap bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.operations.len() * ENTRY_BYTES
    }

    /// The samples of a service's entry operations in the range.
    pub(crate) fn snapshot(&self, service: &str, slots: Slots) -> Vec<PathSnapshot> {
        let own = self.operations.iter().filter(|(key, _)| *key.0 == *service);
        let snapshots = own.map(|(key, minutes)| PathSnapshot {
            operation: key.1.to_string(),
            samples: minutes
                .iter()
                .flat_map(|minute| minute.weighed(slots))
                .collect(),
        });
        snapshots
            .filter(|snapshot| !snapshot.samples.is_empty())
            .collect()
    }

    /// Whether a request would be in its minute's sample, which counts it as offered.
    fn wants(&mut self, key: &Key, minute: u32, hash: u64) -> bool {
        self.newest = self.newest.max(minute);
        let size = if minute + FULL_MINUTES < self.newest {
            SMALL_SAMPLE
        } else {
            FULL_SAMPLE
        };
        if !self.operations.contains_key(key) && self.operations.len() >= MAX_OPERATIONS {
            return false;
        }
        let minutes = self.operations.entry(key.clone()).or_default();
        let at = minutes.partition_point(|known| known.minute < minute);
        if minutes.get(at).is_none_or(|known| known.minute != minute) {
            minutes.insert(at, Minute::new(minute));
            self.bytes += size_of::<Minute>();
        }
        minutes
            .get_mut(at)
            .is_some_and(|minute| minute.wants(hash, size))
    }

    fn insert(&mut self, key: &Key, minute: u32, sample: Sample) {
        let minutes = self.operations.get_mut(key);
        let known =
            minutes.and_then(|minutes| minutes.iter_mut().find(|known| known.minute == minute));
        if let Some(known) = known {
            self.bytes += sample.bytes();
            self.bytes -= known.insert(sample);
        }
    }

    /// The part in common with the other samples.
    fn part(&mut self, part: Part) -> Arc<Part> {
        let hash = self.hasher.hash_one(&part);
        if let Some(known) = self.parts.find(hash, |known| **known == part) {
            return Arc::clone(known);
        }
        if self.parts.len() >= 2 * self.parts_swept.max(256) {
            self.sweep();
        }
        let part = Arc::new(part);
        self.bytes += part.bytes();
        let Self { parts, hasher, .. } = self;
        parts.insert_unique(hash, Arc::clone(&part), |part| hasher.hash_one(&**part));
        part
    }

    /// Drops the parts that no sample has any more.
    fn sweep(&mut self) {
        let bytes = &mut self.bytes;
        self.parts.retain(|part| {
            let used = Arc::strong_count(part) > 1;
            if !used {
                *bytes -= part.bytes();
            }
            used
        });
        self.parts_swept = self.parts.len();
    }

    /// Gives up the oldest minute as often as it takes to stay within the bytes.
    fn make_room(&mut self) {
        while self.bytes() > self.limit {
            let oldest = self
                .operations
                .values()
                .filter_map(|minutes| minutes.front());
            let Some(oldest) = oldest.map(|minute| minute.minute).min() else {
                return;
            };
            self.roll(self.newest * SLOTS_A_MINUTE, (oldest + 1) * SLOTS_A_MINUTE);
        }
    }
}

/// What most of the time of a trace as a whole was spent in; `None` for a trace without time.
pub(crate) fn largest_part(trace: &KeptTrace) -> Option<LargestPart> {
    let (whole, spent) = Breakdown::of(trace).whole()?;
    let (part, nanos) = spent.into_iter().next()?;
    let (kind, service, operation) = part.told();
    Some(LargestPart {
        kind,
        service: service.to_owned(),
        operation: operation.to_owned(),
        seconds: seconds(nanos as f64),
        share: nanos as f64 / whole as f64,
    })
}

impl PathSnapshot {
    /// The report of an operation: its typical and its slow requests side by side.
    pub(crate) fn report(&self) -> CriticalPathReport {
        cohorts::report(&self.operation, &self.samples)
    }
}

impl Minute {
    fn new(minute: u32) -> Self {
        Self {
            minute,
            offered: 0,
            samples: Vec::new(),
        }
    }

    fn wants(&mut self, hash: u64, size: usize) -> bool {
        if self.samples.iter().any(|sample| sample.hash == hash) {
            return false;
        }
        self.offered += 1;
        let highest = self.samples.last().map(|sample| sample.hash);
        self.samples.len() < size || highest.is_some_and(|highest| hash < highest)
    }

    /// Takes a sample in; the bytes that had to go for it.
    fn insert(&mut self, sample: Sample) -> usize {
        let at = self
            .samples
            .partition_point(|known| known.hash < sample.hash);
        self.samples.insert(at, sample);
        self.cut(FULL_SAMPLE)
    }

    /// Cuts the sample down to so many; the bytes that went.
    fn cut(&mut self, size: usize) -> usize {
        let rest = self.samples.len().min(size)..;
        self.samples.drain(rest).map(|sample| sample.bytes()).sum()
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.samples.iter().map(Sample::bytes).sum::<usize>()
    }

    fn weighed(&self, slots: Slots) -> impl Iterator<Item = Weighed> + '_ {
        let weight = self.offered as f64 / self.samples.len().max(1) as f64;
        let own = self
            .samples
            .iter()
            .filter(move |sample| slots.contains(sample.slot));
        own.map(move |sample| Weighed {
            weight: weight * f64::from(sample.weight),
            trace_id: sample.trace_id,
            nanos: sample.nanos,
            spent: sample.spent.to_vec(),
        })
    }
}

impl Sample {
    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.spent)
    }
}
