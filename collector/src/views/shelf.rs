//! Closed slots of one length, one behind the other in a single buffer: a row has a hundred of them, and an allocation for
//! each would take as much again. Filled and emptied by `window`'s series; the same form holds what is taken out of it.

use super::varint;

/// Part of the buffer that room is made for at once, and that may be out of use.
const SPARE: usize = 8;
const SLOT_BYTES: usize = size_of::<u32>();

/// The slots, oldest first: for each its number, the length of its packed form, and that.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    bytes: Vec<u8>,
    /// So many bytes belong to slots that have gone.
    gone: usize,
    /// The number of the newest one there ever was.
    newest: Option<u32>,
}

impl Shelf {
    /// Adds a slot, newer than all there are.
    pub(super) fn push(&mut self, slot: u32, packed: &[u8]) {
        const LENGTH_BYTES: usize = 10;
        let room = SLOT_BYTES + LENGTH_BYTES + packed.len();
        if self.bytes.capacity() - self.bytes.len() < room {
            self.bytes.drain(..self.gone);
            self.gone = 0;
            self.bytes.reserve_exact(room + self.bytes.len() / SPARE);
        }
        append(&mut self.bytes, slot, packed);
        self.newest = Some(slot);
    }

    /// Drops the slots before `oldest`.
    pub(super) fn drop_before(&mut self, oldest: u32) {
        let rest = rest_from(self.in_use(), oldest).len();
        self.gone = self.bytes.len() - rest;
        if self.gone > self.bytes.len() / SPARE {
            self.bytes.drain(..self.gone);
            self.gone = 0;
            self.bytes.shrink_to(rest + rest / SPARE);
        }
    }

    /// The number of the newest slot there ever was.
    pub(super) fn newest(&self) -> Option<u32> {
        self.newest
    }

    /// The slots from `from` to before `to`, in the form that [`Entries`] reads.
    pub(super) fn range(&self, from: u32, to: u32) -> &[u8] {
        if from >= to {
            return &[];
        }
        let wanted = rest_from(self.in_use(), from);
        let behind = rest_from(wanted, to).len();
        wanted.get(..wanted.len() - behind).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_use().is_empty()
    }

    /// Heap bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn in_use(&self) -> &[u8] {
        self.bytes.get(self.gone..).unwrap_or_default()
    }
}

/// Appends a slot.
pub(super) fn append(out: &mut Vec<u8>, slot: u32, packed: &[u8]) {
    out.extend_from_slice(&slot.to_le_bytes());
    varint::write(out, packed.len() as u64);
    out.extend_from_slice(packed);
}

/// The slots in some bytes: number and packed form.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (slot, mut rest) = self.0.split_first_chunk()?;
        let length = usize::try_from(varint::read(&mut rest)).ok()?;
        let (packed, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((u32::from_le_bytes(*slot), packed))
    }
}

/// What is left of `bytes` from the first slot on that is not before `from`.
fn rest_from(bytes: &[u8], from: u32) -> &[u8] {
    let mut rest = bytes;
    loop {
        let mut slots = Entries(rest);
        match slots.next() {
            Some((slot, _)) if slot < from => rest = slots.0,
            _ => return rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is pushed and dropped: what a queue of slots would hold.
        #[test]
        fn equals_a_queue(steps in vec((1..4_u32, vec(any::<u8>(), 0..300), 0..3_u32), 1..120), from in 0..400_u32, length in 0..400_u32) {
            let mut shelf = Shelf::default();
            let mut queue: Vec<(u32, Vec<u8>)> = Vec::new();
            let (mut slot, mut oldest) = (0, 0);
            for (later, packed, dropped) in steps {
                slot += later;
                shelf.push(slot, &packed);
                queue.push((slot, packed));
                oldest += dropped;
                shelf.drop_before(oldest);
                queue.retain(|&(slot, _)| slot >= oldest);
                prop_assert_eq!(shelf.is_empty(), queue.is_empty());
                prop_assert_eq!(shelf.newest(), Some(slot));
            }
            let held: usize = queue.iter().map(|(_, packed)| packed.len() + SLOT_BYTES + 2).sum();
            prop_assert!(shelf.bytes() <= held + held / 2 + 700, "{} bytes for {}", shelf.bytes(), held);
            let to = from + length;
            let found: Vec<_> = Entries(shelf.range(from, to)).map(|(slot, packed)| (slot, packed.to_vec())).collect();
            queue.retain(|(slot, _)| (from..to).contains(slot));
            prop_assert_eq!(found, queue);
        }
    }
}
