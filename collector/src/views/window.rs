//! Time by arrival: ten-second slots for the last minutes, one-minute slots for the rest of the retention. `services`
//! and `edges` keep a `Series` for each row; the views' clock says which slot is now and how ranges are rounded.

use std::collections::VecDeque;
use std::ops;

use super::histogram::Histogram;
use super::report::{Spark, Window};
use super::series::Moment;
use super::shelf::Shelf;
use super::{Range, rfc3339, varint};

/// Length of the finest slot.
pub(crate) const SLOT_NANOS: u64 = 10_000_000_000;
const SLOT_SECONDS: u32 = 10;
const SLOTS_A_MINUTE: u32 = 6;
/// Minutes are summed up by tens, too: an hour is put together of some thirty slots then, not of a hundred.
const SLOTS_A_TEN: u32 = 60;
/// Whole minutes, before the one under way, that keep their ten-second slots.
const FINE_MINUTES: u32 = 6;
/// The slot under way and the one before it can still be counted into: a call settles seconds after its spans came.
const OPEN_SLOTS: u32 = 2;
/// At most so many points to a spark.
const SPARK_POINTS: u32 = 60;

/// Which slot is now. It never runs backwards: while the machine's clock is set back, spans go to the newest slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The slot of the first look at the clock: nothing was counted before.
    started: u32,
    now: u32,
    oldest: u32,
    retention_minutes: u32,
}

/// A range of ten-second slots, `from` included, `to` excluded, rounded to what is kept there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    from: u32,
    to: u32,
    /// The first that is kept as a ten-second slot.
    fine: u32,
}

/// A range, and the one of the same length just before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compared {
    pub(crate) now: Slots,
    /// `None` when not all of it lies after the start, or is still kept.
    pub(crate) before: Option<Slots>,
}

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

/// What a row holds in a range, taken under the lock and merged outside it.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot<const C: usize, const H: usize>(Shelf);

impl Clock {
    pub(crate) fn new(retention_minutes: u32) -> Self {
        Self {
            started: 0,
            now: 0,
            oldest: 0,
            retention_minutes: retention_minutes.max(FINE_MINUTES + 1),
        }
    }

    /// Moves on to the slot of `unix_nano`; true when that is a new one and every series must be rolled.
    pub(crate) fn advance(&mut self, unix_nano: u64) -> bool {
        let slot = u32::try_from(unix_nano / SLOT_NANOS).unwrap_or(u32::MAX - SLOTS_A_MINUTE);
        let moved = slot > self.now;
        if moved {
            if self.now == 0 {
                self.started = slot;
            }
            self.now = slot;
            self.oldest = self.oldest.max(
                (slot / SLOTS_A_MINUTE).saturating_sub(self.retention_minutes) * SLOTS_A_MINUTE,
            );
        }
        moved
    }

    /// The slot that is now.
    pub(crate) fn now(&self) -> u32 {
        self.now
    }

    /// The first slot still kept.
    pub(crate) fn oldest(&self) -> u32 {
        self.oldest
    }

    /// What `series` goes by for what was counted in a slot. Not by what is kept: that may be less while memory is short.
    pub(crate) fn moment(&self, slot: u32) -> Moment {
        let retention = self.retention_minutes.saturating_mul(SLOTS_A_MINUTE);
        Moment {
            slot,
            shown_from: self.now.saturating_sub(retention),
        }
    }

    /// Gives up the oldest minute, to free memory; false when only ten-second slots are left.
    pub(crate) fn forget_minute(&mut self) -> bool {
        let more = self.oldest + SLOTS_A_MINUTE <= self.fine();
        if more {
            self.oldest += SLOTS_A_MINUTE;
        }
        more
    }

    /// Rounds a range outward to slots, within what is kept and, so that rates are right from the first minute on,
    /// not before the start; always at least one slot.
    pub(crate) fn round(&self, range: Range, now_unix_nano: u64) -> Slots {
        let (from, to, latest) = match range {
            Range::Last(length) => {
                let length = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
                let now = now_unix_nano.max(u64::from(self.now) * SLOT_NANOS + 1);
                (now.saturating_sub(length), now, self.now)
            }
            // A range that begins in the future keeps its place, too; one slot of it is as empty as all.
            Range::Between(from, to) => (from, to, u32::MAX - 1),
        };
        let slot = |nanos: u64| u32::try_from(nanos).unwrap_or(u32::MAX);
        let fine = self.fine();
        let outward = |slot: u32, up: u32| {
            if slot < fine {
                (slot + up) / SLOTS_A_MINUTE * SLOTS_A_MINUTE
            } else {
                slot
            }
        };
        let to = outward(slot(to.div_ceil(SLOT_NANOS)), SLOTS_A_MINUTE - 1);
        let started = outward(self.started, 0);
        // A range that ends before the start keeps its place: it is empty, not another one.
        let since = if to > started { started } else { 0 };
        let from = outward(slot(from / SLOT_NANOS), 0)
            .max(since)
            .clamp(self.oldest, latest);
        Slots {
            from,
            to: to.clamp(from + 1, (self.now + 1).max(from + 1)),
            fine,
        }
    }

    /// A range with the one before it, which is rounded outward, too.
    pub(crate) fn compared(&self, now: Slots) -> Compared {
        let fine = self.fine();
        let from = now.from.checked_sub(now.to - now.from);
        let from = from.map(|from| match from {
            from if from < fine => from / SLOTS_A_MINUTE * SLOTS_A_MINUTE,
            from => from,
        });
        // In the slot of the start spans came only after it.
        let known = from.filter(|&from| from > self.started && from >= self.oldest);
        let before = known.map(|from| Slots {
            from,
            to: now.from,
            fine,
        });
        Compared { now, before }
    }

    fn fine(&self) -> u32 {
        (self.now / SLOTS_A_MINUTE).saturating_sub(FINE_MINUTES) * SLOTS_A_MINUTE
    }
}

impl Slots {
    /// What the answer tells about its window.
    pub(crate) fn window(&self) -> Window {
        Window {
            from: rfc3339::format(nanos_of(self.from)),
            to: rfc3339::format(nanos_of(self.to)),
            seconds: self.seconds(),
        }
    }

    /// The divisor of rates: the window's length as told.
    pub(crate) fn seconds(&self) -> f64 {
        f64::from((self.to - self.from) * SLOT_SECONDS)
    }

    /// Whether a slot lies in the range.
    pub(crate) fn contains(&self, slot: u32) -> bool {
        (self.from..self.to).contains(&slot)
    }

    /// Whether a time of arrival lies in the range.
    pub(crate) fn contains_nanos(&self, unix_nano: u64) -> bool {
        u32::try_from(unix_nano / SLOT_NANOS).is_ok_and(|slot| self.contains(slot))
    }

    /// How many points a course in this range has.
    pub(crate) fn steps(&self) -> usize {
        (self.to - self.from).div_ceil(self.spark_step()) as usize
    }

    /// Seconds between two points.
    pub(crate) fn step_seconds(&self) -> f64 {
        f64::from(self.spark_step() * SLOT_SECONDS)
    }

    /// The point that a slot belongs to; beyond the last one for a slot that is not in the range.
    pub(crate) fn step_of(&self, slot: u32) -> usize {
        (slot.wrapping_sub(self.from) / self.spark_step()) as usize
    }

    /// The part of the range that is made of whole slots of some length as a shelf has them; empty at its end if there is none.
    fn whole(&self, shelf: &Shelf, length: u32) -> ops::Range<u32> {
        let from = self.from.next_multiple_of(length);
        let known = shelf.newest().map_or(0, |newest| newest + length);
        let to = (self.to / length * length).min(known);
        if from < to {
            from..to
        } else {
            self.to..self.to
        }
    }

    /// When the points begin, Unix nanoseconds.
    pub(crate) fn step_starts(&self) -> impl Iterator<Item = u64> + '_ {
        let slots = (self.from..self.to).step_by(self.spark_step() as usize);
        slots.map(nanos_of)
    }

    /// Slots to one point of a spark: one where ten-second slots are kept, else whole minutes.
    fn spark_step(&self) -> u32 {
        if self.from >= self.fine {
            1
        } else {
            let minutes = (self.to - self.from).div_ceil(SLOTS_A_MINUTE);
            minutes.div_ceil(SPARK_POINTS) * SLOTS_A_MINUTE
        }
    }
}

/// When a slot begins; the last one that can be asked for ends beyond what is counted.
fn nanos_of(slot: u32) -> u64 {
    u64::from(slot).saturating_mul(SLOT_NANOS)
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
        self.merge_counters(other);
        for (sum, histogram) in self.histograms.iter_mut().zip(&other.histograms) {
            sum.merge(histogram);
        }
    }

    /// Without the histograms.
    pub(crate) fn merge_counters(&mut self, other: &Self) {
        for (sum, counter) in self.counters.iter_mut().zip(other.counters) {
            *sum = sum.saturating_add(counter);
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
        self.count_packed(&mut packed);
        for histogram in &mut self.histograms {
            histogram.merge_packed(&mut packed);
        }
    }

    /// Adds packed counters, behind which are the histograms.
    fn count_packed(&mut self, packed: &mut &[u8]) {
        for counter in &mut self.counters {
            *counter = counter.saturating_add(varint::read(packed));
        }
    }

    fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        for &counter in &self.counters {
            varint::write(&mut bytes, counter);
        }
        for histogram in &self.histograms {
            histogram.pack(&mut bytes);
        }
        bytes
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
            self.open.insert(after, (slot, Slot::default()));
        }
        after
    }

    /// Closes slots that are no longer open and hands each of them to `closed`, sums up minutes and tens of them that are
    /// over, drops what is too old.
    pub(crate) fn roll(&mut self, clock: &Clock, mut closed: impl FnMut(u32, &Slot<C, H>)) {
        while let Some((slot, data)) = pop_if(&mut self.open, |slot| slot + OPEN_SLOTS <= clock.now)
        {
            closed(slot, &data);
            self.fine.push(slot, &data.pack());
        }
        let over = (clock.now + 1).saturating_sub(OPEN_SLOTS);
        Self::sum_up(&self.fine, &mut self.minutes, SLOTS_A_MINUTE, over);
        Self::sum_up(&self.minutes, &mut self.tens, SLOTS_A_TEN, over);
        self.fine.drop_before(clock.fine());
        self.minutes.drop_before(clock.oldest);
        self.tens.drop_before(clock.oldest);
    }

    /// What was counted and not handed to `closed` of [`roll`](Self::roll) yet.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Slot<C, H>> {
        self.open.iter().map(|(_, slot)| slot)
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
        open.any(|slot| slots.contains(slot))
            || self.fine.range(slots.from, slots.to).next().is_some()
            || self.minutes.range(slots.from, slots.to).next().is_some()
    }

    /// What was counted in the range, for its course: no slot is longer than a step.
    pub(crate) fn snapshot(&self, slots: Slots) -> Snapshot<C, H> {
        if slots.spark_step() < SLOTS_A_MINUTE {
            return self.take(slots, slots.to..slots.to, slots.to..slots.to);
        }
        self.take(
            slots,
            slots.whole(&self.minutes, SLOTS_A_MINUTE),
            slots.to..slots.to,
        )
    }

    /// What was counted in the range as a whole, in as few slots as there are for it.
    pub(crate) fn sum(&self, slots: Slots) -> Snapshot<C, H> {
        let minutes = slots.whole(&self.minutes, SLOTS_A_MINUTE);
        self.take(slots, minutes, slots.whole(&self.tens, SLOTS_A_TEN))
    }

    /// The tens and minutes of these ranges, each within the one before it, and ten-second slots around them.
    fn take(
        &self,
        slots: Slots,
        minutes: ops::Range<u32>,
        tens: ops::Range<u32>,
    ) -> Snapshot<C, H> {
        let tens = tens.start.clamp(minutes.start, minutes.end)..tens.end.min(minutes.end);
        let mut taken = Shelf::default();
        for (shelf, from, to) in [
            (&self.fine, slots.from, minutes.start),
            (&self.minutes, minutes.start, tens.start),
            (&self.tens, tens.start, tens.end),
            (&self.minutes, tens.end.max(tens.start), minutes.end),
            (&self.fine, minutes.end, slots.to),
        ] {
            taken.push_all(shelf, from, to);
        }
        for (slot, data) in self.open.iter().filter(|(slot, _)| slots.contains(*slot)) {
            taken.push(*slot, &data.pack());
        }
        Snapshot(taken)
    }

    /// Sums up what is on a shelf by so many slots, up to the slot `closed`.
    fn sum_up(shelf: &Shelf, sums: &mut Shelf, length: u32, closed: u32) {
        let first = sums.newest().map_or(0, |newest| newest + length);
        let mut left = shelf.range(first, closed / length * length).peekable();
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
        self.0.is_empty()
    }

    /// All of it together.
    pub(crate) fn total(&self) -> Slot<C, H> {
        Slot::of(self.0.iter())
    }

    /// Its counters alone together; the histograms, which take most of the work, stay empty.
    pub(crate) fn counts(&self) -> Slot<C, H> {
        let mut whole = Slot::default();
        for (_, mut packed) in self.0.iter() {
            whole.count_packed(&mut packed);
        }
        whole
    }
}

/// Of rows whose histograms part one set of values.
impl<const C: usize, const H: usize> Snapshot<C, H> {
    /// Its course: rate and 99th percentile. `now_unix_nano` tells how much of the last step has passed, so that the
    /// newest point is a rate too and not a dip (at least half a slot, or a single batch would look like a flood).
    pub(crate) fn spark(&self, slots: Slots, now_unix_nano: u64) -> Spark {
        let step = slots.spark_step();
        let merged = self.steps(slots);
        let step_seconds = f64::from(step * SLOT_SECONDS);
        let elapsed = |at: usize| {
            let start = u64::from(slots.from + at as u32 * step) * SLOT_NANOS;
            let passed = now_unix_nano.saturating_sub(start) as f64 / 1e9;
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
        for (slot, mut packed) in self.0.iter() {
            for _ in 0..C {
                varint::read(&mut packed);
            }
            if let Some(step) = merged.get_mut(slots.step_of(slot)) {
                for _ in 0..H {
                    step.merge_packed(&mut packed);
                }
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
