//! What was counted when: the slots of one row. `services`, `edges` and `evidence` keep a `Series` for each of their rows;
//! the views' clock says which slot is now.

use std::collections::VecDeque;
use std::ops;

use super::clock::{
    Clock, OPEN_SLOTS, SLOT_NANOS, SLOT_SECONDS, SLOTS_A_MINUTE, SLOTS_A_TEN, Slots,
};
use super::histogram::Histogram;
use super::report::Spark;
use super::shelf::Shelf;
use super::varint;

/// What is counted in one slot: `C` counters and `H` histograms.
#[derive(Clone, Debug)]
pub(crate) struct Slot<const C: usize, const H: usize> {
    /// Counters, by the owner's indexes.
    pub(crate) counters: [u64; C],
    /// Histograms, by the owner's indexes.
    pub(crate) histograms: [Histogram; H],
}

/// The slots of one row, oldest first; slots without data are not there. Each shelf has the slots of a length, by the number
/// of the first ten-second slot in them; what is on one is on all before it as well, for as long as those go back.
#[derive(Clone, Debug)]
pub(crate) struct Series<const C: usize, const H: usize> {
    open: VecDeque<(u32, Slot<C, H>)>,
    fine: Shelf,
    minutes: Shelf,
    tens: Shelf,
}

/// What a row holds in a range, taken under the lock and merged outside it: the closed slots are shared, not copied.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot<const C: usize, const H: usize> {
    closed: Vec<(Shelf, ops::Range<u32>)>,
    open: Vec<(u32, Slot<C, H>)>,
}

impl<const C: usize, const H: usize> Default for Slot<C, H> {
    fn default() -> Self {
        Self {
            counters: [0; C],
            histograms: std::array::from_fn(|_| Histogram::default()),
        }
    }
}

impl<const C: usize, const H: usize> Slot<C, H> {
    pub(crate) fn merge(&mut self, other: &Self) {
        for (sum, counter) in self.counters.iter_mut().zip(other.counters) {
            *sum = sum.saturating_add(counter);
        }
        for (sum, histogram) in self.histograms.iter_mut().zip(&other.histograms) {
            sum.merge(histogram);
        }
    }

    /// One histogram of all of its values, for rows whose histograms part one set of them.
    pub(crate) fn whole(&self) -> Histogram {
        let mut whole = Histogram::default();
        for histogram in &self.histograms {
            whole.merge(histogram);
        }
        whole
    }

    fn merge_packed(&mut self, mut packed: &[u8]) {
        let used = Self::count_packed(&mut self.counters, &mut packed);
        for (_, histogram) in (0..)
            .zip(&mut self.histograms)
            .filter(|(at, _)| used >> at & 1 > 0)
        {
            histogram.merge_packed(&mut packed);
        }
    }

    /// Adds packed counters; a bit for each histogram that is behind them.
    fn count_packed(counters: &mut [u64; C], packed: &mut &[u8]) -> u64 {
        let used = varint::read(packed);
        for (_, counter) in (0..).zip(counters).filter(|(at, _)| used >> at & 1 > 0) {
            *counter = counter.saturating_add(varint::read(packed));
        }
        used >> C
    }

    /// A bit for each counter and histogram that has counted anything, and those: of most rows few have.
    fn pack(&self) -> Vec<u8> {
        let counters = self.counters.iter().filter(|&&counter| counter > 0);
        let histograms = self.histograms.iter();
        let histograms = histograms.filter(|histogram| histogram.count() > 0);
        let mut bytes = Vec::with_capacity(256);
        varint::write(&mut bytes, self.used());
        counters.for_each(|&counter| varint::write(&mut bytes, counter));
        histograms.for_each(|histogram| histogram.pack(&mut bytes));
        bytes
    }

    fn used(&self) -> u64 {
        let counters = self.counters.iter().map(|&counter| counter > 0);
        let histograms = self.histograms.iter();
        let all = counters.chain(histograms.map(|histogram| histogram.count() > 0));
        (0..)
            .zip(all)
            .fold(0, |used, (bit, is)| used | u64::from(is) << bit)
    }

    fn of<'a>(packed: impl Iterator<Item = (u32, &'a [u8])>) -> Self {
        let mut whole = Self::default();
        for (_, packed) in packed {
            whole.merge_packed(packed);
        }
        whole
    }
}

impl<const C: usize, const H: usize> Default for Series<C, H> {
    fn default() -> Self {
        Self {
            open: VecDeque::new(),
            fine: Shelf::default(),
            minutes: Shelf::default(),
            tens: Shelf::default(),
        }
    }
}

impl<const C: usize, const H: usize> Series<C, H> {
    /// The slot to count into: the one that is now or the one before it.
    pub(crate) fn at(&mut self, slot: u32) -> &mut Slot<C, H> {
        let at = match self.open.back() {
            // As for nearly every span.
            Some(&(newest, _)) if newest == slot => self.open.len() - 1,
            _ => self.place(slot),
        };
        // Just found or inserted.
        &mut self.open[at].1
    }

    fn place(&mut self, slot: u32) -> usize {
        let after = self.open.partition_point(|&(open, _)| open < slot);
        if self.open.get(after).is_none_or(|&(open, _)| open != slot) {
            // Hardly ever more than two, in thousands of rows.
            self.open.reserve_exact(1);
            self.open.insert(after, (slot, Slot::default()));
        }
        after
    }

    /// Closes slots that are no longer open and hands each of them to `closed`, sums up minutes and tens of them that are
    /// over, drops what is too old.
    pub(crate) fn roll(&mut self, clock: &Clock, mut closed: impl FnMut(u32, &Slot<C, H>)) {
        while let Some((slot, data)) =
            pop_if(&mut self.open, |slot| slot + OPEN_SLOTS <= clock.now())
        {
            closed(slot, &data);
            self.fine.push(slot, &data.pack());
        }
        let over = (clock.now() + 1).saturating_sub(OPEN_SLOTS);
        Self::sum_up(&self.fine, &mut self.minutes, SLOTS_A_MINUTE, over);
        Self::sum_up(&self.minutes, &mut self.tens, SLOTS_A_TEN, over);
        self.fine.drop_before(clock.fine());
        self.minutes.drop_before(clock.oldest());
        self.tens.drop_before(clock.oldest());
    }

    /// What was counted and not handed to `closed` of [`roll`](Self::roll) yet, with the numbers of the slots.
    pub(crate) fn open(&self) -> impl Iterator<Item = (u32, &Slot<C, H>)> {
        self.open.iter().map(|(at, slot)| (*at, slot))
    }

    /// No slot is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.fine.is_empty() && self.minutes.is_empty()
    }

    /// Heap bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        let histograms = self.open.iter().flat_map(|(_, slot)| &slot.histograms);
        self.fine.bytes()
            + self.minutes.bytes()
            + self.tens.bytes()
            + self.open.capacity() * size_of::<(u32, Slot<C, H>)>()
            + histograms.map(Histogram::bytes).sum::<usize>()
    }

    /// Whether anything was counted in the range.
    pub(crate) fn any_in(&self, slots: Slots) -> bool {
        let mut open = self.open.iter().map(|&(slot, _)| slot);
        // Of a minute that the range ends in, only its ten-second slots tell on which side of the end they are.
        let minutes = slots.whole(SLOTS_A_MINUTE, self.minutes.newest());
        open.any(|slot| slots.contains(slot))
            || self.fine.any_in(slots.from..slots.to)
            || self.minutes.any_in(minutes)
    }

    /// What was counted in the range, for its course: no slot is longer than a step.
    pub(crate) fn snapshot(&self, slots: Slots) -> Snapshot<C, H> {
        if slots.spark_step() < SLOTS_A_MINUTE {
            return self.take(slots, slots.to..slots.to, slots.to..slots.to);
        }
        self.take(
            slots,
            slots.whole(SLOTS_A_MINUTE, self.minutes.newest()),
            slots.to..slots.to,
        )
    }

    /// What was counted in the range as a whole, in as few slots as there are for it.
    pub(crate) fn sum(&self, slots: Slots) -> Snapshot<C, H> {
        let minutes = slots.whole(SLOTS_A_MINUTE, self.minutes.newest());
        let tens = slots.whole(SLOTS_A_TEN, self.tens.newest());
        self.take(slots, minutes, tens)
    }

    /// The tens and minutes of these ranges, each within the one before it, and ten-second slots around them.
    fn take(
        &self,
        slots: Slots,
        minutes: ops::Range<u32>,
        tens: ops::Range<u32>,
    ) -> Snapshot<C, H> {
        let tens = tens.start.clamp(minutes.start, minutes.end)..tens.end.min(minutes.end);
        let pieces = [
            (&self.fine, slots.from..minutes.start),
            (&self.minutes, minutes.start..tens.start),
            (&self.tens, tens.clone()),
            (&self.minutes, tens.end.max(tens.start)..minutes.end),
            (&self.fine, minutes.end..slots.to),
        ];
        let closed = pieces
            .into_iter()
            .filter(|(shelf, range)| shelf.any_in(range.clone()))
            .map(|(shelf, range)| (shelf.clone(), range));
        let open = self.open.iter().filter(|(slot, _)| slots.contains(*slot));
        Snapshot {
            closed: closed.collect(),
            open: open.cloned().collect(),
        }
    }

    /// Sums up what is on a shelf by so many slots, up to the slot `closed`.
    fn sum_up(shelf: &Shelf, sums: &mut Shelf, length: u32, closed: u32) {
        let first = sums.newest().map_or(0, |newest| newest + length);
        let mut left = shelf.range(first..closed / length * length).peekable();
        while let Some(&(slot, _)) = left.peek() {
            let begin = slot / length * length;
            let same = |&(slot, _): &(u32, &[u8])| slot < begin + length;
            let whole = Slot::<C, H>::of(std::iter::from_fn(|| left.next_if(same)));
            sums.push(begin, &whole.pack());
        }
    }
}

impl<const C: usize, const H: usize> Snapshot<C, H> {
    /// Nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.is_empty()
    }

    /// All of it together.
    pub(crate) fn total(&self) -> Slot<C, H> {
        let mut total = Slot::of(self.closed());
        self.open.iter().for_each(|(_, slot)| total.merge(slot));
        total
    }

    fn closed(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let pieces = self.closed.iter();
        pieces.flat_map(|(shelf, range)| shelf.range(range.clone()))
    }
}

/// Of rows whose histograms part one set of values.
impl<const C: usize, const H: usize> Snapshot<C, H> {
    /// Its course: rate and 99th percentile. `now_unix_nano` tells how much of the last step has passed, so that the
    /// newest point is a rate too and not a dip (at least half a slot, or a single batch would look like a flood); nor is
    /// one whose step the range ends in.
    pub(crate) fn spark(&self, slots: Slots, now_unix_nano: u64) -> Spark {
        let step = slots.spark_step();
        let merged = self.steps(slots);
        let step_seconds = f64::from(step * SLOT_SECONDS);
        let end = now_unix_nano.min(u64::from(slots.to) * SLOT_NANOS);
        let elapsed = |at: usize| {
            let start = u64::from(slots.from + at as u32 * step) * SLOT_NANOS;
            let passed = end.saturating_sub(start) as f64 / 1e9;
            passed.clamp(f64::from(SLOT_SECONDS) / 2.0, step_seconds)
        };
        Spark {
            step_seconds,
            rate: (0..)
                .zip(&merged)
                .map(|(at, h)| h.count() as f64 / elapsed(at))
                .collect(),
            p99: merged
                .iter()
                .map(|h| h.percentile(990).map(seconds))
                .collect(),
        }
    }

    /// The histogram of every step of the range, oldest first.
    pub(crate) fn steps(&self, slots: Slots) -> Vec<Histogram> {
        let mut merged = vec![Histogram::default(); slots.steps()];
        for (slot, mut packed) in self.closed() {
            if let Some(step) = merged.get_mut(slots.step_of(slot)) {
                let used = Slot::<C, H>::count_packed(&mut [0; C], &mut packed);
                (0..used.count_ones()).for_each(|_| step.merge_packed(&mut packed));
            }
        }
        for (slot, data) in &self.open {
            if let Some(step) = merged.get_mut(slots.step_of(*slot)) {
                step.merge(&data.whole());
            }
        }
        merged
    }
}

/// Nanoseconds to seconds.
pub(crate) fn seconds(nanos: f64) -> f64 {
    nanos / 1e9
}

fn pop_if<T>(queue: &mut VecDeque<(u32, T)>, condition: impl Fn(u32) -> bool) -> Option<(u32, T)> {
    let &(slot, _) = queue.front()?;
    condition(slot).then(|| queue.pop_front()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_summed_up_takes_bytes_too() {
        let (mut clock, mut series) = (Clock::new(60), Series::<1, 1>::default());
        for slot in 1..360 {
            clock.advance(slot * SLOT_NANOS);
            series.roll(&clock, |_, _| ());
            let data = series.at(clock.now());
            data.counters[0] += 1;
            data.histograms[0].record(slot);
        }
        // Of a copy, too: its buffers are no larger than they must be.
        let held = series.clone().bytes();
        let empty = |clear: fn(&mut Series<1, 1>)| {
            let mut less = series.clone();
            clear(&mut less);
            less.bytes()
        };
        assert!(empty(|less| less.fine = Shelf::default()) < held);
        assert!(empty(|less| less.minutes = Shelf::default()) < held);
        assert!(empty(|less| less.tens = Shelf::default()) < held);
    }
}
