//! A histogram of body sizes: `server` records two of them with every request, beside its duration.

use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::BucketView;

/// The lowest bound is 2 to the power of this: 64 bytes.
const LOWEST: u32 = 6;
/// Each bound is this power of 2 above the one before: four times as large.
const STEP: u32 = 2;
/// 64 B, 256 B, 1 KiB … 64 MiB.
const BOUNDS: usize = 11;

/// More than any body, and few enough that no caller's word makes the sum overflow.
const MAX: u64 = 1 << 40;

/// Counts sizes in buckets of 64 bytes and its multiples by four, up to 64 MiB. Powers of four, so that the
/// bucket comes from a count of bits: eleven bounds span a status line's worth to an upload.
#[derive(Debug, Default)]
pub(crate) struct SizeHistogram {
    /// The last is for everything above the bounds.
    buckets: [AtomicU64; BOUNDS + 1],
    bytes: AtomicU64,
}

impl SizeHistogram {
    /// Counts one body; what is said to have more than 1 TiB counts as that.
    pub(crate) fn observe(&self, bytes: u64) {
        let bytes = bytes.min(MAX);
        if let Some(bucket) = self.buckets.get(bucket(bytes)) {
            bucket.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let mut counts = self
            .buckets
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        counts.all(|count| count == 0)
    }

    /// The sum of all sizes. Read while others record, it may be behind the buckets.
    pub(crate) fn sum(&self) -> f64 {
        self.bytes.load(Ordering::Relaxed) as f64
    }

    /// The buckets, lowest first.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = BucketView> {
        let mut cumulative = 0;
        (LOWEST..)
            .step_by(STEP as usize)
            .zip(&self.buckets)
            .enumerate()
            .map(move |(index, (power, count))| {
                cumulative += count.load(Ordering::Relaxed);
                BucketView {
                    bound: if index < BOUNDS {
                        (1_u64 << power) as f64
                    } else {
                        f64::INFINITY
                    },
                    cumulative,
                    exemplar: None,
                }
            })
    }
}

/// Which bucket holds a size; bounds are inclusive.
fn bucket(bytes: u64) -> usize {
    let log2 = u64::BITS - bytes.saturating_sub(1).leading_zeros();
    let index = log2.saturating_sub(LOWEST).div_ceil(STEP) as usize;
    index.min(BOUNDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_multiples_by_four() {
        let histogram = SizeHistogram::default();
        let bounds: Vec<f64> = histogram.buckets().map(|view| view.bound).collect();
        assert_eq!(bounds[..4], [64.0, 256.0, 1_024.0, 4_096.0]);
        assert_eq!(bounds[BOUNDS - 1..], [67_108_864.0, f64::INFINITY]);
        for (expected, bound) in bounds[..BOUNDS].iter().enumerate() {
            let bytes = *bound as u64;
            assert_eq!(bucket(bytes), expected, "{bytes}");
            assert_eq!(bucket(bytes + 1), expected + 1, "{bytes} and one");
        }
        assert_eq!((bucket(0), bucket(1), bucket(u64::MAX)), (0, 0, BOUNDS));
    }

    #[test]
    fn sizes_are_counted_and_summed() {
        let histogram = SizeHistogram::default();
        for bytes in [0, 64, 65, 1_000_000] {
            histogram.observe(bytes);
        }
        let counts: Vec<u64> = histogram.buckets().map(|view| view.cumulative).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4]);
        assert!((histogram.sum() - 1_000_129.0).abs() < f64::EPSILON);
    }

    #[test]
    fn no_callers_word_makes_the_sum_go_back() {
        let histogram = SizeHistogram::default();
        let mut before = 0.0;
        for _ in 0..100 {
            histogram.observe(u64::MAX);
            assert!(histogram.sum() > before);
            before = histogram.sum();
        }
    }
}
