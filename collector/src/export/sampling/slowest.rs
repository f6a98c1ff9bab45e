//! Which calls are among the slowest of their operation, from what was seen of it. Asked by `rules` once for each
//! entry span, in the order of the log, so that the same log always gives the same answers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::config::Ratio;
use crate::wire::SpanRef;

/// Operations at most; memory may allow fewer.
const MOST_OPERATIONS: usize = 1_000;

/// Calls after which an operation's older ones are forgotten.
const GENERATION: u32 = 10_000;

/// Room for new operations is looked for once in so many calls.
const SWEEP_EVERY: u32 = 100_000;

/// Buckets to a power of two, so that a limit is known to 3 %.
const SUB: usize = 32;
const SUB_BITS: u32 = SUB.ilog2();
/// Ten hours in nanoseconds; all beyond is one bucket.
const GREATEST: u64 = (1 << 45) - 1;
const BUCKETS: usize = (45 - SUB_BITS as usize + 1) * SUB;

/// Memory of one operation, with its place in the table, in bytes.
pub(super) const OPERATION_BYTES: usize = size_of::<Operation>() + BUCKETS * size_of::<u16>() + 32;

/// All operations of one exporter.
#[derive(Debug)]
pub(super) struct Slowest {
    share: Ratio,
    operations: HashMap<u64, Operation, RandomState>,
    /// Of operations beyond the most, together.
    others: Operation,
    most: usize,
    hasher: RandomState,
    calls_since_sweep: u32,
}

#[derive(Debug, Default)]
struct Operation {
    /// How many calls took how long; empty before the first.
    buckets: Box<[u16]>,
    calls: u32,
    /// Calls at which the limit is worked out anew.
    next_look: u32,
    /// Longer ones are among the slowest; `None` before the first call.
    limit: Option<u64>,
    /// Whether it was called since the last sweep.
    fresh: bool,
}

impl Slowest {
    /// Among the slowest is this share of calls. Takes at most `bytes`, but room for one operation.
    pub(super) fn new(share: Ratio, bytes: usize) -> Self {
        Self {
            share,
            operations: HashMap::default(),
            others: Operation::default(),
            // One place is that of the others.
            most: (bytes / OPERATION_BYTES).clamp(2, MOST_OPERATIONS) - 1,
            hasher: RandomState::default(),
            calls_since_sweep: 0,
        }
    }

    /// Notes a call; whether it took longer than all but the slowest before it. So an operation's first call is one,
    /// and while there were but a few, each that took longest so far.
    pub(super) fn has(&mut self, span: &SpanRef<'_>) -> bool {
        let key = self.key(span);
        self.calls_since_sweep = self.calls_since_sweep.saturating_add(1);
        let is_full = self.operations.len() >= self.most;
        if is_full && self.calls_since_sweep > SWEEP_EVERY && !self.operations.contains_key(&key) {
            self.sweep();
        }
        let has_room = self.operations.len() < self.most;
        let operation = match self.operations.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) if has_room => new.insert(Operation::default()),
            Entry::Vacant(_) => &mut self.others,
        };
        operation.note(span.duration_nanos(), self.share)
    }

    /// Forgets operations that were not called since the last time.
    fn sweep(&mut self) {
        self.calls_since_sweep = 0;
        self.operations
            .retain(|_, operation| std::mem::take(&mut operation.fresh));
    }

    fn key(&self, span: &SpanRef<'_>) -> u64 {
        let operation = (span.resource.service_name, span.kind, span.name);
        self.hasher.hash_one(operation)
    }
}

impl Operation {
    fn note(&mut self, nanos: u64, share: Ratio) -> bool {
        let is_slow = self.limit.is_none_or(|limit| nanos > limit);
        self.fresh = true;
        if self.buckets.is_empty() {
            self.buckets = vec![0; BUCKETS].into();
        }
        if let Some(bucket) = self.buckets.get_mut(bucket(nanos)) {
            *bucket = bucket.saturating_add(1);
        }
        self.calls += 1;
        if self.calls >= self.next_look {
            self.limit = Some(self.limit_now(share));
            // Often while there are few, and not for each call of many.
            self.next_look = self.calls + 1 + self.calls / 64;
        }
        if self.calls >= GENERATION {
            // The limit stays until a part of the next generation has been seen.
            self.buckets.fill(0);
            (self.calls, self.next_look) = (0, GENERATION / 10);
        }
        is_slow
    }

    /// The upper end of the bucket above which at most `share` of the calls lie.
    fn limit_now(&self, share: Ratio) -> u64 {
        let slow = share.of(u64::from(self.calls));
        let mut above = 0;
        for (index, &calls) in self.buckets.iter().enumerate().rev() {
            above += u64::from(calls);
            if above > slow {
                return upper_end(index);
            }
        }
        0
    }
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min(GREATEST);
    let Some(octave) = nanos
        .checked_ilog2()
        .and_then(|bits| bits.checked_sub(SUB_BITS))
    else {
        return nanos as usize;
    };
    (octave as usize + 1) * SUB + ((nanos >> octave) as usize & (SUB - 1))
}

/// The greatest number of a bucket.
fn upper_end(bucket: usize) -> u64 {
    match (bucket / SUB).checked_sub(1) {
        None => bucket as u64,
        Some(octave) => (((SUB + bucket % SUB + 1) as u64) << octave) - 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::export::sampling::testing::span_ref;
    use crate::wire::test_support::span;

    fn slowest(share: &str, bytes: usize) -> Slowest {
        Slowest::new(Ratio::parse(share).unwrap(), bytes)
    }

    fn call(slowest: &mut Slowest, name: &str, nanos: u64) -> bool {
        let mut span = span(1, 1, 0);
        span.name = name.into();
        span.end_time_unix_nano = span.start_time_unix_nano + nanos;
        let slowest = std::cell::RefCell::new(slowest);
        span_ref(&span, |span| slowest.borrow_mut().has(span))
    }

    #[test]
    fn the_share_asked_for_is_found() {
        for (share, expected) in [("0.01", 0.01), ("0.1", 0.1), ("0.5", 0.5)] {
            let mut slowest = slowest(share, 1 << 20);
            let mut found = 0;
            const CALLS: u32 = 20_000;
            for _ in 0..CALLS {
                // Spread over three powers of ten, as latencies are.
                let nanos = 1e6 * 1_000_f64.powf(rand::random());
                found += u32::from(call(&mut slowest, "GET /", nanos as u64));
            }
            let found = f64::from(found) / f64::from(CALLS);
            // A bucket of so wide a range holds half a per cent of the calls, and chance has its part: four of its standard
            // deviations at most, which is one failure in tens of thousands of runs.
            let chance = 4.0 * (expected * (1.0 - expected) / f64::from(CALLS)).sqrt();
            let close = expected - 0.006 - chance..expected * 1.2 + chance;
            assert!(close.contains(&found), "{share}: {found}");
        }
    }

    #[test]
    fn few_calls_are_compared_with_the_longest_and_equal_ones_are_not_slow() {
        let mut slowest = slowest("0.01", 1 << 20);
        let found =
            [5, 5, 4, 9, 8, 20, 20].map(|millis| call(&mut slowest, "a", millis * 1_000_000));
        assert_eq!(found, [true, false, false, true, false, true, false]);
        assert!(call(&mut slowest, "b", 1), "the first of another operation");
        let same = (0..15_000).filter(|_| call(&mut slowest, "same", 7_000_000));
        assert_eq!(same.count(), 1);
    }

    #[test]
    fn what_is_normal_may_change() {
        let mut slowest = slowest("0.01", 1 << 20);
        for _ in 0..GENERATION {
            call(&mut slowest, "a", 1_000_000);
        }
        let slow = (0..GENERATION)
            .filter(|_| call(&mut slowest, "a", 9_000_000))
            .count();
        assert!(
            slow < GENERATION as usize / 5,
            "{slow}: slow is the new normal"
        );
        assert!(call(&mut slowest, "a", 20_000_000));
    }

    #[test]
    fn names_without_bound_share_one_place_until_others_are_forgotten() {
        let mut slowest = slowest("0.01", 10 * OPERATION_BYTES);
        for name in 0..9 {
            assert!(call(&mut slowest, &format!("known {name}"), 1_000));
        }
        assert!(call(&mut slowest, "new", 1_000));
        assert!(
            !call(&mut slowest, "newer", 900),
            "compared with all that are new"
        );
        assert_eq!(slowest.operations.len(), 9);
        for _ in 0..2 {
            // The first sweep notes which are in use, the second one has room for others.
            slowest.calls_since_sweep = SWEEP_EVERY;
            call(&mut slowest, "known 0", 1_000);
            call(&mut slowest, "newest", 900);
        }
        assert!(slowest.operations.len() < 9, "{}", slowest.operations.len());
    }

    proptest! {
        #[test]
        fn buckets_are_in_order_and_narrow(nanos in 0..=GREATEST) {
            let index = bucket(nanos);
            prop_assert!(index < BUCKETS);
            let upper = upper_end(index);
            prop_assert!(upper >= nanos && upper - nanos <= nanos / SUB as u64);
            prop_assert_eq!(bucket(upper), index);
            prop_assert_eq!(bucket(upper + 1), (index + 1).min(BUCKETS - 1).max(bucket(GREATEST.min(upper + 1))));
        }
    }
}
