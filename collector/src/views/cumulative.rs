//! A histogram that only grows, in the buckets that Prometheus scrapes: classic ones at powers of two of a second, and
//! native ones (exponential, schema 5 at the finest). `series` adds the views' histograms to its packed form as their slots
//! close; a scrape unpacks it.
//!
//! The views' buckets end at powers of 2^(1/32) of a nanosecond, Prometheus' at those of a second, and no power of the
//! one is a power of the other: each bucket becomes the nearest one, whose ends are 0.62 % below its own. So every
//! bound shown stands for one that is 0.62 % above it, classic bounds too.

use super::histogram::Histogram;
use super::varint;

/// The finest resolution: 2^5 buckets to a power of two, as the views have.
const FINEST_SCHEMA: u32 = 5;
/// Added to an index of the views it makes Prometheus' of the nearest bucket: theirs says where a bucket begins, and
/// Prometheus' where it ends; and 32 · log2(10^9) is 956.7.
const TO_SECONDS: i32 = 1 - 957;
/// A histogram that has more buckets than this is kept at half the resolution, again and again. Latencies between 1 and
/// 32 ms have full resolution, any from 1 us to 1 s schema 3 at the least. All that 64 bits of nanoseconds can be fits
/// at schema 1.
const MAX_BUCKETS: usize = 160;
/// Below the index of every bucket.
const BELOW_ALL: i32 = TO_SECONDS - 2;
/// Room for packed buckets is made for so many bytes at a time.
const STEP: usize = 64;

/// Counts that never go down.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cumulative {
    /// How often the resolution was halved.
    halved: u32,
    /// Index and count, by index, without empty ones.
    buckets: Vec<(i32, u64)>,
    count: u64,
    sum_nanos: u128,
}

/// The same as it is kept until a scrape: of each bucket how far it is from the one before it, and its count, in as many
/// bytes as the numbers need.
#[derive(Clone, Debug, Default)]
pub(crate) struct PackedCumulative {
    halved: u32,
    buckets: Vec<u8>,
    count: u64,
    sum_nanos: u128,
}

impl Cumulative {
    /// One of these values, in nanoseconds.
    #[cfg(test)]
    pub(crate) fn of(values: &[u64]) -> Self {
        let mut cumulative = Self::default();
        for histogram in Self::histograms(values) {
            cumulative.add(&histogram);
        }
        cumulative
    }

    #[cfg(test)]
    fn histograms(values: &[u64]) -> impl Iterator<Item = Histogram> + '_ {
        values.chunks(7).map(|chunk| {
            let mut histogram = Histogram::default();
            chunk.iter().for_each(|&nanos| histogram.record(nanos));
            histogram
        })
    }

    /// Adds all of a histogram's values.
    pub(crate) fn add(&mut self, histogram: &Histogram) {
        self.count = self.count.saturating_add(histogram.count());
        self.sum_nanos += histogram.sum();
        let mut at = 0;
        for (index, count) in histogram.buckets() {
            let index = coarser(index + TO_SECONDS, self.halved);
            let below = self.buckets.iter().skip(at);
            at += below.take_while(|&&(below, _)| below < index).count();
            match self.buckets.get_mut(at) {
                Some((same, sum)) if *same == index => *sum = sum.saturating_add(count),
                _ => self.buckets.insert(at, (index, count)),
            }
            if self.buckets.len() > MAX_BUCKETS {
                self.halve();
                at = 0;
            }
        }
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All values added up, in seconds.
    pub fn sum(&self) -> f64 {
        self.sum_nanos as f64 / 1e9
    }

    /// The schema of its native buckets.
    pub fn schema(&self) -> i32 {
        FINEST_SCHEMA.saturating_sub(self.halved) as i32
    }

    /// The native buckets: index and count, by index. Bucket `i` ends at, and includes, 2^(i · 2^-schema) seconds.
    pub fn native(&self) -> &[(i32, u64)] {
        &self.buckets
    }

    /// How many values are at most 2^`exponent` seconds.
    pub fn at_most(&self, exponent: i32) -> u64 {
        let last = exponent << self.schema();
        let below = self.buckets.iter().take_while(|&&(index, _)| index <= last);
        below.map(|&(_, count)| count).fold(0, u64::saturating_add)
    }

    fn halve(&mut self) {
        self.halved += 1;
        for (index, _) in &mut self.buckets {
            *index = coarser(*index, 1);
        }
        self.buckets.dedup_by(|(index, count), (kept, sum)| {
            let same = index == kept;
            if same {
                *sum = sum.saturating_add(*count);
            }
            same
        });
    }
}

impl PackedCumulative {
    /// Heap bytes of one at the most: no bucket is farther from the one before it than two bytes can say.
    pub(crate) const MAX_BYTES: usize = MAX_BUCKETS * (2 + 10) + STEP;

    /// Adds all of a histogram's values.
    pub(crate) fn add(&mut self, histogram: &Histogram) {
        let mut all = self.unpack();
        all.add(histogram);
        self.pack(&all);
    }

    /// What it is the packed form of.
    pub(crate) fn unpack(&self) -> Cumulative {
        let mut buckets = Vec::with_capacity(MAX_BUCKETS + 1);
        let (mut packed, mut index) = (self.buckets.as_slice(), BELOW_ALL);
        while !packed.is_empty() {
            index += varint::read(&mut packed) as i32;
            buckets.push((index, varint::read(&mut packed)));
        }
        Cumulative {
            halved: self.halved,
            buckets,
            count: self.count,
            sum_nanos: self.sum_nanos,
        }
    }

    /// Heap bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.buckets.capacity()
    }

    fn pack(&mut self, all: &Cumulative) {
        let mut packed = Vec::with_capacity(6 * all.buckets.len());
        let mut before = BELOW_ALL;
        for &(index, count) in &all.buckets {
            varint::write(&mut packed, u64::from(index.abs_diff(before)));
            varint::write(&mut packed, count);
            before = index;
        }
        self.buckets.clear();
        if self.buckets.capacity() < packed.len() {
            self.buckets
                .reserve_exact(packed.len().next_multiple_of(STEP));
        }
        self.buckets.extend(packed);
        self.halved = all.halved;
        self.count = all.count;
        self.sum_nanos = all.sum_nanos;
    }
}

/// The bucket that holds a bucket when the resolution is halved so often.
fn coarser(index: i32, halved: u32) -> i32 {
    (index + (1 << halved) - 1) >> halved
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Where a native bucket ends, in nanoseconds.
    fn end(cumulative: &Cumulative, index: i32) -> f64 {
        (f64::from(index) / f64::from(cumulative.schema()).exp2()).exp2() * 1e9
    }

    /// Nanoseconds of any length up to a quarter of an hour: hundreds of them have more buckets than are kept.
    fn spread() -> impl Strategy<Value = u64> {
        (0..40_u32, any::<u64>()).prop_map(|(octave, rest)| (1 << octave) | (rest % (1 << octave)))
    }

    #[test]
    fn bounds_are_those_of_seconds_within_a_hundredth() {
        let second = 1_000_000_000;
        let some = Cumulative::of(&[second / 2, second, second * 101 / 100, 2 * second, 0]);
        let at_most = [-40, -2, -1, 0, 1, 2].map(|exponent| some.at_most(exponent));
        assert_eq!(at_most, [0, 1, 2, 3, 5, 5]);
        assert_eq!((some.count(), some.schema()), (5, 5));
        assert!((some.sum() - 4.51).abs() < 1e-12);
    }

    #[test]
    fn everything_there_can_be_is_kept_within_the_bound() {
        let values: Vec<u64> = (0..64_u32)
            .flat_map(|octave| {
                (0..32).map(move |step| (1 << octave) | ((1_u64 << octave) / 32 * step))
            })
            .collect();
        let all = Cumulative::of(&values);
        assert_eq!(all.schema(), 1);
        assert!(all.native().len() <= MAX_BUCKETS);
        assert_eq!(all.at_most(40), values.len() as u64);
    }

    proptest! {
        #[test]
        fn every_value_lies_in_its_bucket(nanos in 1_u64..(1 << 62)) {
            let one = Cumulative::of(&[nanos]);
            let [(index, 1)] = one.native() else { panic!("{one:?}") };
            let nanos = nanos as f64;
            prop_assert!(nanos <= end(&one, *index) * 1.0063, "{}", end(&one, *index));
            prop_assert!(nanos > end(&one, *index - 1) * 1.0061, "{}", end(&one, *index - 1));
        }

        #[test]
        fn what_is_added_later_never_takes_anything_away(values in vec(any::<u64>(), 1..400), cut in 0..400_usize) {
            let before = Cumulative::of(values.get(..cut).unwrap_or(&values));
            let after = Cumulative::of(&values);
            prop_assert_eq!(after.count(), values.len() as u64);
            for exponent in -31..36 {
                prop_assert!(before.at_most(exponent) <= after.at_most(exponent), "{}", exponent);
            }
            let native: u64 = after.native().iter().map(|&(_, count)| count).sum();
            prop_assert_eq!(native, after.count());
            prop_assert!(after.native().is_sorted_by(|(a, _), (b, _)| a < b));
            prop_assert!(after.native().len() <= MAX_BUCKETS);
        }

        /// However often it is packed in between.
        #[test]
        fn packed_it_is_the_same_and_within_its_bytes(values in vec(prop_oneof![any::<u64>(), 0..9_u64, Just(u64::MAX)], 0..400)) {
            let mut packed = PackedCumulative::default();
            for histogram in Cumulative::histograms(&values) {
                packed.add(&histogram);
                prop_assert!(packed.bytes() <= PackedCumulative::MAX_BYTES);
            }
            prop_assert_eq!(packed.unpack(), Cumulative::of(&values));
        }

        /// Whatever the resolution.
        #[test]
        fn classic_buckets_are_the_same_however_many_native_ones_there_were(values in vec(spread(), 1..600)) {
            let all = Cumulative::of(&values);
            for exponent in -30..11 {
                let bound = f64::from(exponent).exp2() * 1e9;
                let count = |bound: f64| values.iter().filter(|&&nanos| nanos as f64 <= bound).count() as u64;
                let got = all.at_most(exponent);
                prop_assert!((count(bound * 1.0061)..=count(bound * 1.0063)).contains(&got), "{} {}", exponent, got);
            }
        }
    }
}
