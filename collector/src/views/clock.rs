//! Time by arrival: ten-second slots for the last minutes, one-minute slots for the rest of the retention. Which slot is
//! now, and how ranges are rounded; asked by `stats`, followed by every series of `window`.

use std::ops;

use super::report::Window;
use super::series::Moment;
use super::{Range, rfc3339};

/// Length of the finest slot.
pub(crate) const SLOT_NANOS: u64 = 10_000_000_000;
pub(super) const SLOT_SECONDS: u32 = 10;
pub(super) const SLOTS_A_MINUTE: u32 = 6;
/// Minutes are summed up by tens, too: an hour is put together of some thirty slots then, not of a hundred.
pub(super) const SLOTS_A_TEN: u32 = 60;
/// Whole minutes, before the one under way, that keep their ten-second slots.
const FINE_MINUTES: u32 = 6;
/// The slot under way and the one before it can still be counted into: a call settles seconds after its spans came.
pub(super) const OPEN_SLOTS: u32 = 2;
/// At most so many points to a spark.
const SPARK_POINTS: u32 = 60;

/// Which slot is now. It never runs backwards: while the machine's clock is set back, spans go to the newest slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The slot of the first look at the clock: nothing was counted before.
    started: u32,
    /// When that look was, Unix nanoseconds.
    started_nanos: u64,
    now: u32,
    oldest: u32,
    retention_minutes: u32,
}

/// A range of ten-second slots, `from` included, `to` excluded, rounded to what is kept there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    pub(super) from: u32,
    pub(super) to: u32,
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

impl Clock {
    pub(crate) fn new(retention_minutes: u32) -> Self {
        Self {
            started: 0,
            started_nanos: 0,
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
                self.started_nanos = unix_nano;
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
        // A range that ends before the start, or before what is kept, keeps its place, and no more length than others have:
        // it is empty, not another one.
        let since = if to > started { started } else { 0 };
        let retention = self.retention_minutes.saturating_mul(SLOTS_A_MINUTE);
        let oldest = if to > self.oldest {
            self.oldest
        } else {
            to.saturating_sub(retention)
        };
        let from = outward(slot(from / SLOT_NANOS), 0);
        let from = from.max(since).max(oldest).min(latest);
        Slots {
            from,
            to: to.clamp(from + 1, (self.now + 1).max(from + 1)),
            fine,
        }
    }

    /// The part of a range that has passed, and in which the collector was there to count: from when, until when. Unlike
    /// the range as told, it does not end up to a slot ahead of now.
    pub(crate) fn passed(&self, slots: Slots, now_unix_nano: u64) -> ops::Range<u64> {
        let from = nanos_of(slots.from).max(self.started_nanos);
        from..now_unix_nano.min(nanos_of(slots.to)).max(from)
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

    /// The first slot that is still kept as one of ten seconds.
    pub(super) fn fine(&self) -> u32 {
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
        if self.contains(slot) {
            ((slot - self.from) / self.spark_step()) as usize
        } else {
            // The range may end in the middle of its last step.
            usize::MAX
        }
    }

    /// The part of the range that is made of whole slots of some length, the newest of which is that one; empty at its end
    /// if there is none.
    pub(super) fn whole(&self, length: u32, newest: Option<u32>) -> ops::Range<u32> {
        let from = self.from.next_multiple_of(length);
        let known = newest.map_or(0, |newest| newest + length);
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
    pub(super) fn spark_step(&self) -> u32 {
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
