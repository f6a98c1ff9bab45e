//! What is known of traces: for each a few flags and until when more may be noted, in a bounded table. The sender of
//! one exporter looks up what its scout has noted. Traces are forgotten in the order in which they were first seen.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Memory of one trace, in bytes: its entry, and its place in a table that is half empty at worst.
const TRACE_BYTES: usize = size_of::<Entry>() + 12;

/// The least room, in traces.
const LEAST: usize = 1_024;

/// What was noted of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// A span of it failed.
    pub(super) error: bool,
    /// A span of it was slow.
    pub(super) slow: bool,
    /// It is of a health check or another unwanted call alone.
    pub(super) unwanted: bool,
}

/// The table of one exporter.
#[derive(Debug)]
pub(super) struct Index {
    /// Entry number n is at n modulo the capacity.
    entries: Vec<Entry>,
    table: HashTable<u32>,
    hasher: RandomState,
    capacity: usize,
    /// Traces noted so far.
    inserted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Of the trace id. Two traces that share one of 2⁶⁴ are taken for one.
    hash: u64,
    /// When the trace's first span came, and the wait: Unix nanoseconds.
    until_unix_nano: u64,
    found: Found,
    /// The sender has looked it up: what is found from now on changes nothing.
    decided: bool,
}

impl Index {
    /// One that takes at most `bytes`, but room for a thousand traces.
    pub(super) fn new(bytes: usize) -> Self {
        let capacity = (bytes / TRACE_BYTES).clamp(LEAST, u32::MAX as usize);
        Self {
            // Memory is only taken as it is written to.
            entries: Vec::with_capacity(capacity),
            table: HashTable::with_capacity(capacity),
            hasher: RandomState::default(),
            capacity,
            inserted: 0,
        }
    }

    /// Notes what a span that arrived then tells of its trace. A trace's first span says how long it is `wait`ed for.
    pub(super) fn note(
        &mut self,
        trace_id: [u8; 16],
        found: Found,
        arrived_unix_nano: u64,
        wait_nanos: u64,
    ) {
        let hash = self.hasher.hash_one(trace_id);
        let Some(entry) = self.find(hash) else {
            self.insert(Entry {
                hash,
                until_unix_nano: arrived_unix_nano.saturating_add(wait_nanos),
                found,
                decided: false,
            });
            return;
        };
        if !entry.decided && arrived_unix_nano < entry.until_unix_nano {
            entry.found.error |= found.error;
            entry.found.slow |= found.slow;
            entry.found.unwanted |= found.unwanted;
        }
    }

    /// What was found of a trace, which is thereby decided; `None` when it is not known (any more).
    pub(super) fn decide(&mut self, trace_id: [u8; 16]) -> Option<Found> {
        let entry = self.find(self.hasher.hash_one(trace_id))?;
        entry.decided = true;
        Some(entry.found)
    }

    /// Traces noted so far: a mark to give to [`is_short_of_room`](Self::is_short_of_room).
    pub(super) fn inserted(&self) -> u64 {
        self.inserted
    }

    /// Whether most of the room is taken by traces noted after `mark`.
    pub(super) fn is_short_of_room(&self, mark: u64) -> bool {
        self.inserted.saturating_sub(mark) > self.capacity as u64 / 4 * 3
    }

    fn find(&mut self, hash: u64) -> Option<&mut Entry> {
        let Self { entries, table, .. } = self;
        let same = |&at: &u32| {
            entries
                .get(at as usize)
                .is_some_and(|entry| entry.hash == hash)
        };
        let at = *table.find(hash, same)?;
        entries.get_mut(at as usize)
    }

    fn insert(&mut self, entry: Entry) {
        let at = (self.inserted % self.capacity as u64) as u32;
        self.inserted += 1;
        if let Some(oldest) = self.entries.get_mut(at as usize) {
            let forgotten = std::mem::replace(oldest, entry);
            if let Ok(found) = self.table.find_entry(forgotten.hash, |&other| other == at) {
                found.remove();
            }
        } else {
            self.entries.push(entry);
        }
        let entries = &self.entries;
        let hash_of = |&at: &u32| entries.get(at as usize).map_or(0, |entry| entry.hash);
        self.table.insert_unique(entry.hash, at, hash_of);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const WAIT: u64 = 100;
    const ERROR: Found = Found {
        error: true,
        slow: false,
        unwanted: false,
    };
    const SLOW: Found = Found {
        error: false,
        slow: true,
        unwanted: false,
    };

    fn trace(number: u64) -> [u8; 16] {
        (u128::from(number) << 3 | 1).to_be_bytes()
    }

    #[test]
    fn what_comes_before_the_decision_counts_and_nothing_later() {
        let mut index = Index::new(0);
        index.note(trace(1), Found::default(), 1_000, WAIT);
        index.note(trace(1), ERROR, 1_000 + WAIT - 1, WAIT);
        index.note(trace(1), SLOW, 1_000 + WAIT, WAIT);
        assert_eq!(index.decide(trace(1)), Some(ERROR));
        index.note(trace(2), Found::default(), 1_000, WAIT);
        assert_eq!(index.decide(trace(2)), Some(Found::default()));
        index.note(trace(2), ERROR, 1_001, WAIT);
        assert_eq!(
            index.decide(trace(2)),
            Some(Found::default()),
            "decided already"
        );
        assert_eq!(index.decide(trace(3)), None);
    }

    #[test]
    fn room_is_bounded_and_its_end_is_seen_coming() {
        let mut index = Index::new(0);
        for number in 0..LEAST as u64 / 4 * 3 {
            index.note(trace(number), ERROR, 1, WAIT);
        }
        assert!(!index.is_short_of_room(0));
        index.note(trace(9_999), ERROR, 1, WAIT);
        assert!(index.is_short_of_room(0) && !index.is_short_of_room(1));
        for number in 10_000..20_000 {
            index.note(trace(number), ERROR, 1, WAIT);
        }
        assert_eq!(index.decide(trace(1)), None);
        assert_eq!(index.decide(trace(19_999)), Some(ERROR));
        assert_eq!((index.entries.len(), index.table.len()), (LEAST, LEAST));
    }

    #[test]
    fn memory_is_what_was_said() {
        for bytes in [100_000, 1 << 20, 10 << 20] {
            let index = Index::new(bytes);
            let table = index.table.capacity() * 8 / 7 * 5;
            let taken = index.entries.capacity() * size_of::<Entry>() + table;
            assert!(taken <= bytes && taken > bytes / 2, "{taken} of {bytes}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn the_newest_traces_are_known(
            steps in prop::collection::vec((0..3_000_u64, any::<bool>(), any::<bool>()), 2_000..4_000),
        ) {
            let mut index = Index::new(0);
            let mut model: VecDeque<(u64, Found, bool)> = VecDeque::new();
            for (number, error, decide) in steps {
                let known = model.iter_mut().find(|(known, _, _)| *known == number);
                if decide {
                    let expected = known.map(|(_, found, decided)| {
                        *decided = true;
                        *found
                    });
                    prop_assert_eq!(index.decide(trace(number)), expected);
                    continue;
                }
                let found = if error { ERROR } else { SLOW };
                index.note(trace(number), found, 1, WAIT);
                match known {
                    Some((_, _, true)) => {}
                    Some((_, known, false)) => {
                        known.error |= found.error;
                        known.slow |= found.slow;
                    }
                    None => {
                        model.push_back((number, found, false));
                        if model.len() > LEAST {
                            model.pop_front();
                        }
                    }
                }
            }
        }
    }
}
