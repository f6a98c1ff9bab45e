//! Closed slots of one length, one behind the other in a single buffer: a row has a hundred of them, and an allocation for
//! each would take as much again. Filled and emptied by `window`'s series.
//!
//! Who takes a snapshot shares the buffer, and the series copies it only when it has to change it meanwhile.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Part of the buffer that may be out of use, and slots that room is made for at once.
const SPARE: usize = 8;

/// Slots with their packed forms, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf(Arc<Contents>);

#[derive(Clone, Debug, Default)]
struct Contents {
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
        Arc::make_mut(&mut self.0).push(slot, packed);
    }

    /// Drops the slots before `oldest`.
    pub(super) fn drop_before(&mut self, oldest: u32) {
        let first = self.0.index.front();
        if first.is_some_and(|&(slot, _)| slot < oldest) {
            Arc::make_mut(&mut self.0).drop_before(oldest);
        }
    }

    /// The slots of a range: number and packed form.
    pub(super) fn range(&self, slots: Range<u32>) -> impl Iterator<Item = (u32, &[u8])> {
        let contents = &*self.0;
        contents.places(&slots).filter_map(|place| {
            let &(slot, _) = contents.index.get(place)?;
            Some((slot, contents.bytes.get(contents.span(place)?)?))
        })
    }

    /// Whether there is any slot of a range.
    pub(super) fn any_in(&self, slots: Range<u32>) -> bool {
        !self.0.places(&slots).is_empty()
    }

    /// The number of the newest slot there ever was.
    pub(super) fn newest(&self) -> Option<u32> {
        self.0.newest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.index.is_empty()
    }

    /// Heap bytes held, by those who share them, too.
    pub(super) fn bytes(&self) -> usize {
        let contents = &*self.0;
        size_of::<Contents>()
            + contents.bytes.capacity()
            + contents.index.capacity() * size_of::<(u32, u32)>()
    }
}

impl Contents {
    fn push(&mut self, slot: u32, packed: &[u8]) {
        self.make_room(packed.len());
        self.bytes.extend_from_slice(packed);
        let end = self.begin.wrapping_add(self.bytes.len() as u32);
        if self.index.len() == self.index.capacity() {
            self.index.reserve_exact(SPARE);
        }
        self.index.push_back((slot, end));
        self.newest = Some(slot);
    }

    fn drop_before(&mut self, oldest: u32) {
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

    fn places(&self, slots: &Range<u32>) -> Range<usize> {
        let from = self.index.partition_point(|&(slot, _)| slot < slots.start);
        let to = self.index.partition_point(|&(slot, _)| slot < slots.end);
        from..to.max(from)
    }

    /// Where the slot at a place is in the bytes.
    fn span(&self, place: usize) -> Option<Range<usize>> {
        let start = match place.checked_sub(1) {
            Some(before) => self.offset(self.index.get(before)?.1),
            None => self.gone,
        };
        Some(start..self.offset(self.index.get(place)?.1))
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
            let mut shelf = Shelf(Arc::new(Contents { begin, ..Contents::default() }));
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
            prop_assert!(shelf.0.bytes.capacity() <= held + held / 2 + 700, "{} bytes for {}", shelf.bytes(), held);
            let owned = |(slot, packed): (u32, &[u8])| (slot, packed.to_vec());
            let all = |shelf: &Shelf| shelf.range(0..u32::MAX).map(owned).collect::<Vec<_>>();
            prop_assert_eq!(all(&shelf), queue.clone());
            let shared = shelf.clone();
            shelf.push(u32::MAX - 1, &[7; 9]);
            shelf.drop_before(u32::MAX - 1);
            prop_assert_eq!(all(&shelf), [(u32::MAX - 1, vec![7; 9])]);
            prop_assert_eq!(all(&shared), queue.clone(), "as it was when it was taken");
            let range = from..from + length;
            queue.retain(|(slot, _)| range.contains(slot));
            prop_assert_eq!(shared.any_in(range.clone()), !queue.is_empty());
            prop_assert_eq!(shared.range(range).map(owned).collect::<Vec<_>>(), queue);
        }
    }
}
