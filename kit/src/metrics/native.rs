//! The native half of a histogram (Prometheus "Native Histograms", exponential schemas): counts by powers of
//! 2^(1/8), so that any quantile is known to within 9 %. Counted by `histogram`, shown in protobuf alone.
//!
//! A measurement costs one table look-up and one uncontended addition. Counters come in chunks, made when a
//! measurement first falls into them: a series has [`CHUNKS`] places of 16 bytes, and 256 bytes for each four
//! octaves it has seen; 5.4 KiB at the most, about 1 KiB for latencies.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets of an octave are 2 to the power of this.
const SCHEMA: i32 = 3;
const PER_OCTAVE: i32 = 1 << SCHEMA;

/// The lowest octave counted by itself begins at 2^-30: 0.93 ns, or less than a byte.
const LOWEST_OCTAVE: i32 = -30;
/// Up to here everything is zero.
const ZERO_THRESHOLD: f64 = 1.0 / (1_u64 << 30) as f64;

const CHUNK: usize = 32;
/// 80 octaves, so up to 2^50: a petabyte, or 35 million years. What lies beyond goes into the last bucket.
const CHUNKS: usize = 20;

/// The most buckets shown; a histogram that has more is shown at half the resolution, again and again.
const MAX_SHOWN: usize = 160;

/// Between populated buckets, so many empty ones are cheaper than another span.
const MAX_GAP: i32 = 2;

#[derive(Debug, Default)]
pub(super) struct Native {
    zero: AtomicU64,
    chunks: [OnceLock<Box<[AtomicU64; CHUNK]>>; CHUNKS],
}

/// Of a histogram that has no bucket of zeros: a threshold of 0 would say that it is not native. The smallest that
/// other libraries use.
const NO_ZEROS: f64 = 2.938_735_877_055_719e-39;

/// A native histogram as protobuf has it.
#[derive(Debug, PartialEq)]
pub(super) struct NativeView {
    /// Bucket `i` ends at, and includes, 2^(i · 2^-schema).
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: u64,
    /// Runs of buckets: the distance from the run before, or from bucket 0, and how many.
    pub(super) spans: Vec<(i32, u32)>,
    /// The count of each bucket of the runs, less the one before it.
    pub(super) deltas: Vec<i64>,
    /// Of all buckets, zero included.
    pub(super) count: u64,
}

impl NativeView {
    /// Of the buckets that have any value: index and count, ascending.
    pub(super) fn of(schema: i32, buckets: &[(i32, u64)]) -> Self {
        let (spans, deltas) = as_runs(buckets);
        Self {
            schema,
            zero_threshold: NO_ZEROS,
            zero_count: 0,
            spans,
            deltas,
            count: buckets
                .iter()
                .fold(0, |sum: u64, (_, count)| sum.saturating_add(*count)),
        }
    }
}

impl Native {
    /// Counts a measurement that is not negative, in the base unit.
    pub(super) fn observe(&self, value: f64) {
        let counter = match place(value) {
            Some(place) => self.chunks.get(place / CHUNK).and_then(|chunk| {
                let chunk = chunk.get_or_init(Box::default);
                chunk.get(place % CHUNK)
            }),
            None => None,
        };
        counter
            .unwrap_or(&self.zero)
            .fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn view(&self) -> NativeView {
        let zero_count = self.zero.load(Ordering::Relaxed);
        let mut schema = SCHEMA;
        let mut buckets = self.populated();
        while buckets.len() > MAX_SHOWN {
            halve(&mut buckets);
            schema -= 1;
        }
        let (spans, deltas) = as_runs(&buckets);
        NativeView {
            schema,
            zero_threshold: ZERO_THRESHOLD,
            zero_count,
            spans,
            deltas,
            count: buckets
                .iter()
                .fold(zero_count, |sum, (_, count)| sum.saturating_add(*count)),
        }
    }

    /// Index and count of each bucket that has any, ascending.
    fn populated(&self) -> Vec<(i32, u64)> {
        let lowest = LOWEST_OCTAVE * PER_OCTAVE + 1;
        let chunks = (lowest..).step_by(CHUNK).zip(&self.chunks);
        chunks
            .filter_map(|(first, chunk)| Some((first..).zip(chunk.get()?.iter())))
            .flatten()
            .map(|(index, count)| (index, count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// Where a bucket's counter is; none for zero and for what is no number.
fn place(value: f64) -> Option<usize> {
    const LAST: usize = CHUNKS * CHUNK - 1;
    if value > ZERO_THRESHOLD {
        let from_lowest = index(value) - (LOWEST_OCTAVE * PER_OCTAVE + 1);
        usize::try_from(from_lowest)
            .ok()
            .map(|place| place.min(LAST))
    } else {
        None
    }
}

/// The `i` for which 2^((i-1)/8) < value ≤ 2^(i/8), for normal positive numbers. Octave and fraction are read
/// from the bits; a table by the fraction's first four bits knows the bounds below, and the one that may be
/// among the numbers which begin so.
fn index(value: f64) -> i32 {
    const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    const FRACTION: u64 = (1 << FRACTION_BITS) - 1;
    const TABLE: [(i32, u64); 16] = sixteenths(FRACTION);
    let bits = value.to_bits();
    let octave = (bits >> FRACTION_BITS) as i32 - (f64::MAX_EXP - 1);
    let fraction = bits & FRACTION;
    let (below, next) = TABLE[(fraction >> (FRACTION_BITS - 4)) as usize & 15];
    octave * PER_OCTAVE + below + i32::from(fraction > next)
}

/// For each sixteenth of an octave: how many bounds lie below it, and the fraction of the next one.
const fn sixteenths(fraction: u64) -> [(i32, u64); 16] {
    /// 2^(k/8), k from 0: the bounds within an octave.
    const BOUNDS: [f64; 8] = [
        1.0,
        1.090_507_732_665_257_7,
        1.189_207_115_002_721,
        1.296_839_554_651_009_6,
        std::f64::consts::SQRT_2,
        1.542_210_825_407_940_7,
        1.681_792_830_507_429,
        1.834_008_086_409_342_4,
    ];
    let mut table = [(0, u64::MAX); 16];
    let mut sixteenth = 0;
    while sixteenth < table.len() {
        let start = (sixteenth as u64) << 48;
        let mut below = 0;
        while below < BOUNDS.len() && BOUNDS[below].to_bits() & fraction < start {
            below += 1;
        }
        if below < BOUNDS.len() {
            table[sixteenth].1 = BOUNDS[below].to_bits() & fraction;
        }
        table[sixteenth].0 = below as i32;
        sixteenth += 1;
    }
    table
}

/// Two buckets become one, as the next coarser schema has them.
fn halve(buckets: &mut Vec<(i32, u64)>) {
    for (index, _) in &mut *buckets {
        *index = (*index + 1) >> 1;
    }
    buckets.dedup_by(|(index, count), (kept, sum)| {
        let same = index == kept;
        if same {
            *sum = sum.saturating_add(*count);
        }
        same
    });
}

fn as_runs(buckets: &[(i32, u64)]) -> (Vec<(i32, u32)>, Vec<i64>) {
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let mut deltas = Vec::with_capacity(buckets.len());
    let (mut next, mut before) = (0, 0_i64);
    for (index, count) in buckets {
        let gap = index - next;
        match spans.last_mut().filter(|_| gap <= MAX_GAP) {
            Some((_, length)) => {
                for _ in 0..gap {
                    deltas.push(-before);
                    before = 0;
                    *length += 1;
                }
                *length += 1;
            }
            None => spans.push((gap, 1)),
        }
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        deltas.push(count - before);
        (next, before) = (index + 1, count);
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Upper bound and count of each bucket shown, empty ones within a run too.
    fn shown(view: &NativeView) -> Vec<(f64, u64)> {
        let mut deltas = view.deltas.iter();
        let (mut index, mut count) = (0, 0);
        let mut shown = Vec::new();
        for (offset, length) in &view.spans {
            index += offset;
            for _ in 0..*length {
                count += deltas.next().expect("a delta for each bucket");
                let bound = (f64::from(index) * (-f64::from(view.schema)).exp2()).exp2();
                shown.push((bound, count.try_into().expect("no negative count")));
                index += 1;
            }
        }
        assert_eq!(deltas.next(), None);
        shown
    }

    fn of(values: &[f64]) -> NativeView {
        let native = Native::default();
        for value in values {
            native.observe(*value);
        }
        native.view()
    }

    #[test]
    fn bounds_are_inclusive_powers_of_two_and_eighths_between() {
        fn check(value: f64, expected: i32) {
            assert_eq!(index(value), expected, "{value}");
        }
        check(1.0, 0);
        check(1.0 + f64::EPSILON, 1);
        check(1.090_507_732_665_257_7, 1);
        check(1.090_507_732_665_258, 2);
        check(std::f64::consts::SQRT_2, 4);
        check(1.9, 8);
        check(2.0, 8);
        check(2.1, 9);
        check(0.5, -8);
        check(0.000_976_562_5, -80);
        check(f64::MIN_POSITIVE, -1_022 * 8);
        check(f64::MAX, 1_024 * 8);
    }

    #[test]
    fn close_buckets_share_a_run_and_distant_ones_do_not() {
        // Buckets 0, 1, 3, and far away 80.
        let view = of(&[1.0, 1.0, 1.0, 1.05, 1.25, 1024.0]);
        assert_eq!(view.spans, [(0, 4), (76, 1)]);
        assert_eq!(view.deltas, [3, -2, -1, 1, 0]);
        assert_eq!((view.schema, view.count), (SCHEMA, 6));
    }

    #[test]
    fn what_is_next_to_nothing_is_zero_and_what_is_beyond_all_is_in_the_last_bucket() {
        let view = of(&[0.0, ZERO_THRESHOLD, f64::NAN, -1.0, 1e-300]);
        assert_eq!((view.zero_count, view.count), (5, 5));
        assert_eq!(view.spans, []);
        let view = of(&[ZERO_THRESHOLD * 1.01, 1e300, f64::INFINITY]);
        assert_eq!((view.zero_count, view.count), (0, 3));
        let bounds = shown(&view);
        assert_eq!(bounds.last(), Some(&(50_f64.exp2(), 2)));
    }

    #[test]
    fn too_many_buckets_are_shown_at_half_the_resolution() {
        let fine: Vec<f64> = (0..161)
            .map(|index| (f64::from(index) / 8.0).exp2())
            .collect();
        let view = of(&fine[..160]);
        assert_eq!((view.schema, shown(&view).len()), (3, 160));
        let view = of(&fine);
        assert_eq!((view.schema, shown(&view).len(), view.count), (2, 81, 161));
        assert_eq!(shown(&view)[..2], [(1.0, 1), (0.25_f64.exp2(), 2)]);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let native = Native::default();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let native = &native;
                scope.spawn(move || {
                    for octave in 0..1_000 {
                        native.observe(f64::from((octave + thread) % 60 - 30).exp2());
                    }
                });
            }
        });
        assert_eq!(native.view().count, 4_000);
    }

    proptest! {
        #[test]
        fn any_value_is_in_the_bucket_that_ends_next_above_it(
            octave in -29.0..49.0_f64,
            fraction in 0.0..1.0_f64,
        ) {
            let value = (octave + fraction).exp2();
            let (bound, count) = shown(&of(&[value]))[0];
            prop_assert_eq!(count, 1);
            // The computed bound may be off by a bit.
            prop_assert!(value <= bound * (1.0 + 1e-12), "{} {}", value, bound);
            prop_assert!(value > bound / 1.090_508, "{} {}", value, bound);
        }

        #[test]
        fn any_bits_are_counted(bits in prop::collection::vec(any::<u64>(), 0..400)) {
            let values: Vec<f64> = bits.iter().copied().map(f64::from_bits).collect();
            let view = of(&values);
            let in_buckets: u64 = shown(&view).iter().map(|(_, count)| count).sum();
            prop_assert_eq!(view.count, values.len() as u64);
            prop_assert_eq!(in_buckets + view.zero_count, view.count);
            prop_assert!(shown(&view).len() <= 3 * MAX_SHOWN);
        }
    }
}
