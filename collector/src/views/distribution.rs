//! Durations of calls as distributions over each other: histograms brought to common steps that a chart can draw.
//! Called by `edges`.

use super::histogram::{Histogram, index, lower_bound};
use super::report::Distribution;
use super::window::seconds;

/// At most so many steps; a step is 4, 8, 16 … buckets of the histogram.
const MAX_STEPS: i32 = 80;
/// Steps are at least so many buckets: an eighth of a doubling.
const FINEST: i32 = 4;
/// What took less goes with what took so long: such durations differ by the clock's grain alone, and would stretch the
/// axis by decades.
const LEAST_NANOS: u64 = 1_000;

/// Of the durations of clients, servers, gaps, unpaired calls and told gaps.
pub(crate) fn distribution(histograms: [&Histogram; 5]) -> Distribution {
    let place = |bucket: i32| bucket.max(index(LEAST_NANOS));
    let buckets = histograms.iter().flat_map(|histogram| histogram.buckets());
    let ends = buckets.fold(None, |ends: Option<(i32, i32)>, (bucket, _)| {
        let bucket = place(bucket);
        let (low, high) = ends.unwrap_or((bucket, bucket));
        Some((low.min(bucket), high.max(bucket)))
    });
    let Some((low, high)) = ends else {
        return Distribution::default();
    };
    let mut width = FINEST;
    while high.div_euclid(width) - low.div_euclid(width) >= MAX_STEPS {
        width *= 2;
    }
    let first = low.div_euclid(width);
    let steps = (high.div_euclid(width) - first + 1) as usize;
    let counts = |histogram: &Histogram| {
        let mut counts = vec![0; steps];
        for (bucket, count) in histogram.buckets() {
            let step = (place(bucket).div_euclid(width) - first) as usize;
            if let Some(step) = counts.get_mut(step) {
                *step += count;
            }
        }
        counts
    };
    let [client, server, gap, unpaired, told_gap] = histograms.map(counts);
    Distribution {
        bounds: (first..=first + steps as i32)
            .map(|step| seconds(lower_bound(step * width)))
            .collect(),
        client,
        server,
        gap,
        unpaired,
        told_gap,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&value| histogram.record(value));
        histogram
    }

    proptest! {
        #[test]
        fn every_value_is_counted_in_its_step(
            client in vec(any::<u64>(), 0..40), gap in vec(0..100_000_000_u64, 0..40), shift in 0..64_u32,
        ) {
            let client: Vec<u64> = client.iter().map(|value| value >> shift).collect();
            let (clients, gaps, none) = (of(&client), of(&gap), Histogram::default());
            let got = distribution([&clients, &none, &gaps, &none, &none]);
            prop_assert!(got.client.len() <= MAX_STEPS as usize);
            prop_assert!(got.bounds.is_sorted());
            for (values, counts) in [(&client, &got.client), (&gap, &got.gap), (&Vec::new(), &got.told_gap)] {
                prop_assert_eq!(counts.iter().sum::<u64>(), values.len() as u64);
                prop_assert_eq!(counts.len() + usize::from(!got.bounds.is_empty()), got.bounds.len());
                let mut exact = vec![0; counts.len()];
                for &value in values {
                    let value = value.max(LEAST_NANOS) as f64 / 1e9;
                    let above = got.bounds.partition_point(|&bound| bound < value * (1.0 - 1e-12));
                    exact[above.max(1) - 1] += 1;
                }
                prop_assert_eq!(&exact, counts);
            }
        }
    }

    #[test]
    fn without_calls_there_are_no_steps() {
        let none = Histogram::default();
        assert_eq!(distribution([&none; 5]), Distribution::default());
    }
}
