//! Closed slots of one length, one behind the other in a single buffer: a row has a hundred of them, and an allocation for
//! each would take as much again. Filled and emptied by `window`'s series; what is taken out of a series is one, too.

use std::collections::VecDeque;
use std::ops::Range;

/// Part of the buffer that may be out of use, and slots that room is made for at once.
const SPARE: usize = 8;

/// Slots with their packed forms, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    /// Of each slot its number, and the byte that ends it, counted from the first one ever, wrapping.
    index: VecDeque<(u32, u32)>,
    bytes: Vec<u8>,
    /// The byte that `bytes` begin with, counted likewise.
    begin: u32,
    /// So many bytes belong to slots that have gone.
    gone: usize,
    /// The number of the newest one there ever was.
    newest: Option<u32>,
}

impl Shelf {
    /// Adds a slot, newer than all there are.
    pub(super) fn push(&mut self, slot: u32, packed: &[u8]) {
        self.make_room(packed.len());
        self.bytes.extend_from_slice(packed);
        let end = self.begin.wrapping_add(self.bytes.len() as u32);
        self.note(slot, end);
    }

    /// Adds the slots from `from` to before `to` of another shelf.
    pub(super) fn push_all(&mut self, other: &Self, from: u32, to: u32) {
        let places = other.places(from, to);
        let Some(span) = other.span(places.clone()) else {
            return;
        };
        self.make_room(span.len());
        let (before, first) = (self.bytes.len(), span.start);
        let bytes = other.bytes.get(span).unwrap_or_default();
        self.bytes.extend_from_slice(bytes);
        for &(slot, end) in other.index.range(places) {
            let length = other.offset(end) - first;
            self.note(slot, self.begin.wrapping_add((before + length) as u32));
        }
    }

    /// Drops the slots before `oldest`.
    pub(super) fn drop_before(&mut self, oldest: u32) {
        while let Some(&(slot, end)) = self.index.front()
            && slot < oldest
        {
            self.gone = self.offset(end);
            self.index.pop_front();
        }
        if self.gone > self.bytes.len() / SPARE {
            self.close_up();
            self.bytes.shrink_to(allocated(self.bytes.len()));
        }
    }

    /// The slots from `from` to before `to`: number and packed form.
    pub(super) fn range(&self, from: u32, to: u32) -> impl Iterator<Item = (u32, &[u8])> {
        self.places(from, to).filter_map(|place| {
            let &(slot, _) = self.index.get(place)?;
            Some((slot, self.bytes.get(self.span(place..place + 1)?)?))
        })
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.range(0, u32::MAX)
    }

    /// The number of the newest slot there ever was.
    pub(super) fn newest(&self) -> Option<u32> {
        self.newest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Heap bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.capacity() + self.index.capacity() * size_of::<(u32, u32)>()
    }

    fn note(&mut self, slot: u32, end: u32) {
        if self.index.len() == self.index.capacity() {
            self.index.reserve_exact(SPARE);
        }
        self.index.push_back((slot, end));
        self.newest = Some(slot);
    }

    fn places(&self, from: u32, to: u32) -> Range<usize> {
        let from = self.index.partition_point(|&(slot, _)| slot < from);
        let to = self.index.partition_point(|&(slot, _)| slot < to);
        from..to.max(from)
    }

    /// Where the slots at these places are in the bytes; `None` for none.
    fn span(&self, places: Range<usize>) -> Option<Range<usize>> {
        let last = places
            .end
            .checked_sub(1)
            .filter(|&last| last >= places.start)?;
        let start = match places.start.checked_sub(1) {
            Some(before) => self.offset(self.index.get(before)?.1),
            None => self.gone,
        };
        Some(start..self.offset(self.index.get(last)?.1))
    }

    fn offset(&self, end: u32) -> usize {
        end.wrapping_sub(self.begin) as usize
    }

    fn make_room(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            self.close_up();
            let room = allocated(self.bytes.len() + more);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
    }

    fn close_up(&mut self) {
        self.bytes.drain(..self.gone);
        self.begin = self.begin.wrapping_add(self.gone as u32);
        self.gone = 0;
    }
}

/// What an allocator sets aside for so many bytes: sizes between two powers of two are four, and less would be kept from use
/// without being told.
fn allocated(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 8).max(16);
    bytes.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is pushed and dropped: what a queue of slots would hold.
        #[test]
        fn equals_a_queue(begin in any::<u32>(), steps in vec((1..4_u32, vec(any::<u8>(), 0..300), 0..3_u32), 1..120), from in 0..400_u32, length in 0..400_u32) {
            let mut shelf = Shelf { begin, ..Shelf::default() };
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
            let held: usize = queue.iter().map(|(_, packed)| packed.len()).sum();
            prop_assert!(shelf.bytes.capacity() <= held + held / 2 + 700, "{} bytes for {}", shelf.bytes(), held);
            let owned = |(slot, packed): (u32, &[u8])| (slot, packed.to_vec());
            prop_assert_eq!(shelf.iter().map(owned).collect::<Vec<_>>(), queue.clone());
            let to = from + length;
            queue.retain(|(slot, _)| (from..to).contains(slot));
            prop_assert_eq!(shelf.range(from, to).map(owned).collect::<Vec<_>>(), queue.clone());
            let mut taken = Shelf::default();
            taken.push_all(&shelf, from, to);
            taken.push_all(&shelf, to, to + 50);
            taken.push(u32::MAX - 1, &[7; 9]);
            queue.push((u32::MAX - 1, vec![7; 9]));
            let later: Vec<_> = shelf.range(to, to + 50).map(owned).collect();
            queue.splice(queue.len() - 1..queue.len() - 1, later);
            prop_assert_eq!(taken.iter().map(owned).collect::<Vec<_>>(), queue);
        }
    }
}
