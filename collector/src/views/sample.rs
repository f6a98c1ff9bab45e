//! A uniform sample of the kept traces, beside the favoured ones: what requests are like when nothing is wrong, for as
//! long as the retention. Owned by `traces`.
//!
//! Of all traces offered those with the lowest lots stay, as many as there are bytes for: each is as likely to be among
//! them as any other, whatever it is and whenever it came.

use std::collections::{BTreeMap, BTreeSet};

use super::traces::Key;

/// The sample.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// Lots with serials.
    by_lot: BTreeSet<(u32, u64)>,
    /// By serial, which is the order in which the traces came.
    by_age: BTreeMap<u64, (u32, [u8; 16])>,
    /// Of the traces in it, as `traces` counts them.
    pub(super) bytes: usize,
}

impl Sample {
    /// Whether a trace with this lot and so many bytes has a place among `limit` bytes: nearly all have none once it is
    /// full, and cost nothing more.
    pub(super) fn takes(&self, lot: u32, bytes: usize, limit: usize) -> bool {
        let is_lower = |&(highest, _): &(u32, u64)| lot < highest;
        self.bytes + bytes <= limit || self.by_lot.last().is_some_and(is_lower)
    }

    pub(super) fn insert(&mut self, lot: u32, (trace_id, serial): Key) {
        self.by_lot.insert((lot, serial));
        self.by_age.insert(serial, (lot, trace_id));
    }

    pub(super) fn remove(&mut self, (_, serial): Key) {
        if let Some((lot, _)) = self.by_age.remove(&serial) {
            self.by_lot.remove(&(lot, serial));
        }
    }

    /// The one that has to go first when there is no room: that with the highest lot.
    pub(super) fn highest(&self) -> Option<Key> {
        let &(_, serial) = self.by_lot.last()?;
        self.by_age
            .get(&serial)
            .map(|&(_, trace_id)| (trace_id, serial))
    }

    /// The one that came first.
    pub(super) fn oldest(&self) -> Option<Key> {
        self.by_age().next()
    }

    /// The traces in it, in the order in which they came.
    pub(super) fn by_age(&self) -> impl Iterator<Item = Key> {
        self.by_age
            .iter()
            .map(|(&serial, &(_, trace_id))| (trace_id, serial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_full_sample_the_highest_lot_goes_and_only_for_a_lower_one() {
        const TRACE: [u8; 16] = [1; 16];
        let mut sample = Sample::default();
        for (serial, lot) in [(1, 20), (2, 50), (3, 30)] {
            sample.insert(lot, (TRACE, serial));
            sample.bytes += 100;
        }
        assert!(sample.takes(99, 100, 400), "there is room");
        assert!(sample.takes(49, 101, 400) && !sample.takes(50, 101, 400));
        assert_eq!(sample.highest(), Some((TRACE, 2)));
        assert_eq!(sample.oldest(), Some((TRACE, 1)));
        sample.remove((TRACE, 2));
        sample.remove((TRACE, 1));
        assert_eq!(sample.highest(), Some((TRACE, 3)));
        assert_eq!(sample.oldest(), Some((TRACE, 3)));
    }
}
