//! The typical and the slow requests of an operation side by side. Called by `paths` with a sample's requests, outside
//! any lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Weighed;
use super::breakdown::Part;
use crate::views::report::{Cohort, CriticalPathReport, PathPart};
use crate::views::traces::hex;

/// Traces told of each cohort, to look at.
const EXAMPLES: usize = 3;
const NANOS_A_SECOND: f64 = 1e9;

/// Seconds per request of a part: typical, slow.
type Seconds = [f64; 2];

/// The report of an operation. The typical requests are those up to the median, the slow ones those from the 95th
/// percentile on; each request counts for as many as it stands for.
pub(super) fn report(operation: &str, samples: &[Weighed]) -> CriticalPathReport {
    let mut samples: Vec<&Weighed> = samples.iter().collect();
    samples.sort_by_key(|sample| (sample.nanos, sample.trace_id));
    let whole: f64 = samples.iter().map(|sample| sample.weight).sum();
    let (median, p95) = (at(&samples, 0.50 * whole), at(&samples, 0.95 * whole));
    let typical: Vec<_> = samples
        .iter()
        .copied()
        .filter(|sample| sample.nanos <= median)
        .collect();
    // The slowest first, so that they are the examples.
    let slow = samples
        .iter()
        .rev()
        .copied()
        .filter(|sample| sample.nanos >= p95)
        .collect::<Vec<_>>();
    let mut parts: BTreeMap<&Arc<Part>, Seconds> = BTreeMap::new();
    for (column, cohort) in [&typical, &slow].into_iter().enumerate() {
        let requests: f64 = cohort.iter().map(|sample| sample.weight).sum();
        for sample in cohort {
            for (part, nanos) in &sample.spent {
                if let Some(seconds) = parts.entry(part).or_default().get_mut(column) {
                    *seconds += *nanos as f64 / NANOS_A_SECOND * sample.weight / requests;
                }
            }
        }
    }
    let mut parts: Vec<_> = parts
        .into_iter()
        .map(|(part, seconds)| told(part, seconds))
        .collect();
    parts.sort_by(|a, b| {
        b.difference
            .total_cmp(&a.difference)
            .then(b.slow.total_cmp(&a.slow))
    });
    CriticalPathReport {
        operation: operation.to_owned(),
        requests: samples.len(),
        typical: cohort(&typical),
        slow: cohort(&slow),
        parts,
    }
}

/// The duration at a rank by weight, nearest from above.
fn at(sorted: &[&Weighed], rank: f64) -> u64 {
    let mut reached = 0.0;
    let found = sorted.iter().find(|sample| {
        reached += sample.weight;
        // Weights are added up in another order than for the whole.
        reached >= rank * (1.0 - 1e-9)
    });
    found.or(sorted.last()).map_or(0, |sample| sample.nanos)
}

fn cohort(samples: &[&Weighed]) -> Cohort {
    let requests: f64 = samples.iter().map(|sample| sample.weight).sum();
    let seconds = samples
        .iter()
        .map(|sample| sample.nanos as f64 / NANOS_A_SECOND * sample.weight);
    let mut examples: Vec<String> = Vec::new();
    for sample in samples {
        let trace_id = hex(&sample.trace_id);
        if examples.len() < EXAMPLES && !examples.contains(&trace_id) {
            examples.push(trace_id);
        }
    }
    Cohort {
        requests: samples.len(),
        seconds: seconds.sum::<f64>() / requests.max(f64::MIN_POSITIVE),
        examples,
    }
}

fn told(part: &Part, [typical, slow]: Seconds) -> PathPart {
    let (kind, service, operation) = part.told();
    PathPart {
        kind,
        service: service.to_owned(),
        operation: operation.to_owned(),
        typical,
        slow,
        difference: slow - typical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request of one trace, with seconds spent in operations.
    fn request(trace: u8, weight: f64, spent: &[(&str, u64)]) -> Weighed {
        let spent = spent.iter().map(|&(operation, seconds)| {
            let part = Part::Work {
                service: "shop".into(),
                operation: operation.into(),
            };
            (Arc::new(part), seconds * 1_000_000_000)
        });
        let spent: Vec<_> = spent.collect();
        Weighed {
            weight,
            trace_id: [trace; 16],
            nanos: spent.iter().map(|(_, nanos)| nanos).sum(),
            spent,
        }
    }

    #[test]
    fn the_typical_end_with_the_median_and_the_slow_begin_at_the_95th_percentile() {
        let samples: Vec<_> = (1..=100)
            .map(|seconds| request(seconds, 1.0, &[("work", seconds.into())]))
            .collect();
        let report = report("GET /", &samples);
        assert_eq!(
            (report.typical.requests, report.typical.seconds),
            (50, 25.5)
        );
        assert_eq!((report.slow.requests, report.slow.seconds), (6, 97.5));
        let slowest = [100, 99, 98].map(|trace| hex(&[trace; 16]));
        assert_eq!(report.slow.examples, slowest);
    }

    #[test]
    fn a_request_counts_for_those_it_stands_for_and_a_trace_is_one_example() {
        let samples = [request(1, 3.0, &[("a", 8)]), request(1, 1.0, &[("b", 8)])];
        let report = report("GET /", &samples);
        let parts = report.parts.iter();
        let parts: Vec<_> = parts
            .map(|part| (part.operation.as_str(), part.typical, part.slow))
            .collect();
        assert_eq!(parts, [("a", 6.0, 6.0), ("b", 2.0, 2.0)]);
        assert_eq!(report.slow.examples, [hex(&[1; 16])]);
    }

    #[test]
    fn what_makes_the_slow_ones_slow_stands_first() {
        let samples = [
            request(1, 1.0, &[("b", 1), ("c", 8)]),
            request(2, 1.0, &[("a", 5), ("b", 6), ("c", 7)]),
        ];
        let report = report("GET /", &samples);
        let parts = report.parts.iter();
        let parts: Vec<_> = parts
            .map(|part| (part.operation.as_str(), part.difference))
            .collect();
        assert_eq!(parts, [("b", 5.0), ("a", 5.0), ("c", -1.0)]);
    }
}
