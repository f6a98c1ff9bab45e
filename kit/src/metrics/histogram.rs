//! A histogram, classic and native, with one exemplar a classic bucket: an observation takes no lock that it
//! would wait for. prometheus-client's takes one for each (two with exemplars), and its `Exemplar` cannot be made outside
//! that crate, so ours is written by `text` rather than through its `EncodeMetric`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::Exemplar;
use super::native::{Native, NativeView};

/// Counts durations in the buckets of `bounds`, and in finer ones for who scrapes native histograms.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// Inclusive upper bounds, in seconds, ascending, finite.
    bounds: &'static [f64],
    /// One more than `bounds`: the last is for everything above.
    buckets: Box<[Bucket]>,
    /// Seconds, as the bits of an `f64`: the nanoseconds of many long requests outgrow 64 bits.
    sum: AtomicU64,
    native: Native,
}

#[derive(Debug, Default)]
struct Bucket {
    count: AtomicU64,
    exemplar: Mutex<Option<Seen>>,
}

/// A measurement that shows a bucket's trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) trace: Exemplar,
    /// What was measured.
    pub(crate) seconds: f64,
    pub(crate) at: SystemTime,
}

impl Seen {
    /// The labels of the exemplar, as `labels` has them; ids need no escapes.
    pub(super) fn labels(&self) -> String {
        let Exemplar { trace_id, span_id } = self.trace;
        format!("trace_id=\"{trace_id}\",span_id=\"{span_id}\"")
    }
}

/// A bucket as it is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BucketView {
    /// Infinite for the last.
    pub(crate) bound: f64,
    /// Of this bucket and all below it.
    pub(crate) cumulative: u64,
    pub(crate) exemplar: Option<Seen>,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| Bucket::default()).collect(),
            sum: AtomicU64::new(0_f64.to_bits()),
            native: Native::default(),
        }
    }

    /// Counts one measurement; `trace` becomes its bucket's exemplar.
    pub(crate) fn observe(&self, duration: Duration, trace: Option<Exemplar>) {
        let seconds = duration.as_secs_f64();
        let index = self.bounds.partition_point(|bound| *bound < seconds);
        let Some(bucket) = self.buckets.get(index) else {
            return;
        };
        self.native.observe(seconds);
        // Release, for `buckets`: who finds this one counted finds it counted above, too.
        bucket.count.fetch_add(1, Ordering::Release);
        self.add(seconds);
        if let Some(trace) = trace {
            // A neighbour's exemplar is as good: whoever finds the place taken leaves it.
            if let Ok(mut exemplar) = bucket.exemplar.try_lock() {
                *exemplar = Some(Seen {
                    trace,
                    seconds,
                    at: SystemTime::now(),
                });
            }
        }
    }

    /// The sum of all measurements, in seconds. Read while others record, it may be ahead of the buckets;
    /// the count is the buckets' own, so those two always agree.
    pub(crate) fn sum(&self) -> f64 {
        f64::from_bits(self.sum.load(Ordering::Relaxed))
    }

    /// The native half. Read after the classic buckets it has at least their count.
    pub(super) fn native(&self) -> NativeView {
        self.native.view()
    }

    /// The classic buckets, lowest first.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = BucketView> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let mut cumulative = 0;
        bounds.zip(&self.buckets).map(move |(bound, bucket)| {
            cumulative += bucket.count.load(Ordering::Acquire);
            BucketView {
                bound,
                cumulative,
                exemplar: *bucket
                    .exemplar
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
            }
        })
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.buckets().last().map_or(0, |last| last.cumulative)
    }

    fn add(&self, seconds: f64) {
        let mut sum = self.sum.load(Ordering::Relaxed);
        loop {
            let next = (f64::from_bits(sum) + seconds).to_bits();
            match self
                .sum
                .compare_exchange_weak(sum, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(current) => sum = current,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::DURATION_BUCKETS;
    use super::*;
    use crate::context::{SpanId, TraceId};

    fn counts(histogram: &Histogram) -> Vec<u64> {
        histogram.buckets().map(|view| view.cumulative).collect()
    }

    #[test]
    fn bounds_are_inclusive_and_the_last_bucket_takes_the_rest() {
        static BOUNDS: [f64; 2] = [0.005, 1.0];
        let histogram = Histogram::new(&BOUNDS);
        for millis in [0, 5, 6, 1_000, 1_001, 3_600_000] {
            histogram.observe(Duration::from_millis(millis), None);
        }
        assert_eq!(counts(&histogram), [2, 4, 6]);
        assert!((histogram.sum() - 3_602.012).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let histogram = Histogram::new(&DURATION_BUCKETS);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        // A power of two, so that the sum of floats is exact.
                        histogram.observe(Duration::from_micros(15_625), Some(trace()));
                    }
                });
            }
        });
        assert_eq!(counts(&histogram).last(), Some(&40_000));
        assert!((histogram.sum() - 625.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_bucket_shows_its_last_exemplar() {
        let histogram = Histogram::new(&DURATION_BUCKETS);
        let (first, second) = (trace(), trace());
        histogram.observe(Duration::from_millis(20), Some(first));
        histogram.observe(Duration::from_millis(24), Some(second));
        histogram.observe(Duration::from_millis(21), None);
        let seen: Vec<Seen> = histogram
            .buckets()
            .filter_map(|view| view.exemplar)
            .collect();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].trace, second);
        assert!((seen[0].seconds - 0.024).abs() < f64::EPSILON);
    }

    fn trace() -> Exemplar {
        Exemplar {
            trace_id: TraceId::random(),
            span_id: SpanId::random(),
        }
    }
}
