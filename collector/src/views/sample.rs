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
