//! For how many spans one stands whose sender keeps only some of its traces and says so: `ot=th:…` in its `tracestate`
//! (OpenTelemetry, "TraceState: Probability Sampling"). Asked by `views` for every span.
//!
//! Weights are whole numbers, so that counts stay counts and a histogram's packed form stays as small as it is. A
//! threshold that keeps one trace in 3⅓ makes its spans count as 3 or as 4: which of them is drawn by the trace's id, so
//! that all spans of a trace agree, a span sent twice counts the same, and the mean is exactly 3⅓.

use super::span::SpanRef;
use super::threshold::Threshold;
use super::trace_state::ot;

/// No span counts for more than this, whatever its sender says.
pub const MAX_WEIGHT: u32 = 1_000_000;

impl SpanRef<'_> {
    /// For how many spans this one stands, 1 to [`MAX_WEIGHT`]; 1 when its sender says nothing about it that can be read.
    #[inline]
    pub fn weight(&self) -> u32 {
        if self.has_trace_state {
            self.told_weight()
        } else {
            1
        }
    }

    fn told_weight(&self) -> u32 {
        let threshold = ot(self.trace_state(), "th").and_then(Threshold::parse);
        threshold.map_or(1, |threshold| {
            let count = threshold.adjusted_count() + drawn(self.trace_id);
            (count as u32).clamp(1, MAX_WEIGHT)
        })
    }
}

/// A number from 0 to below 1, each as likely as any other, and always the same for a trace.
fn drawn(trace_id: [u8; 16]) -> f64 {
    // Not the id itself: its lowest 56 bits are what the sender has chosen by, and some have nothing above them.
    let id = u128::from_be_bytes(trace_id);
    let mixed = mix(mix((id >> 64) as u64) ^ id as u64);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// Every bit of the sum depends on every bit of the value (the finisher of SplitMix64).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::test_support::{encode, resource_spans, span};
    use crate::wire::walk;

    fn weight(trace_id: u128, state: &str) -> u32 {
        let mut span = span(trace_id, 1, 0);
        span.trace_state = state.into();
        let bytes = encode(vec![resource_spans("shop", vec![span])]);
        let mut weight = 0;
        walk(&bytes, |span| weight = span.weight()).unwrap();
        weight
    }

    #[test]
    fn a_threshold_of_whole_counts_is_exact() {
        for (state, expected) in [
            ("", 1),
            ("ot=th:0", 1),
            ("ot=th:8", 2),
            ("ot=th:c", 4),
            ("a=b,ot=rv:00000000000001;th:fc,c=d", 64),
            (" ot=th:f ", 16),
            // Nobody samples like this; it would drown everything else.
            ("ot=th:ffffffffffffff", MAX_WEIGHT),
        ] {
            for trace_id in [1, u128::MAX, 0xabc << 64] {
                assert_eq!(weight(trace_id, state), expected, "{state}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_weighs_nothing_more() {
        for state in [
            "th:8",
            "ot=",
            "ot=th",
            "ot=th:",
            "ot=th:C",
            "ot=th:8g",
            "ot=th:123456789abcdef",
            "ot=rv:00000000000001",
            "other=th:8",
            "xot=th:8",
            ",,;=\u{fffd}",
        ] {
            assert_eq!(weight(1, state), 1, "{state}");
        }
    }

    #[test]
    fn a_part_of_a_count_is_drawn_fairly_by_the_trace() {
        const TRACES: u64 = 20_000;
        // One in ten, in three and a third, and in 1.05; ids that rise by one, as the worst sender makes them.
        for (state, expected) in [
            ("ot=th:e666", 10.0),
            ("ot=th:b333", 10.0 / 3.0),
            ("ot=th:0c3", 1.05),
        ] {
            for shift in [0, 64] {
                let all: u64 = (1..=TRACES)
                    .map(|id| u64::from(weight(u128::from(id) << shift, state)))
                    .sum();
                let mean = all as f64 / TRACES as f64;
                // Five times the deviation of a mean of so many draws.
                assert!((mean - expected).abs() < 0.02, "{state}: {mean}");
            }
        }
        assert_eq!(weight(7, "ot=th:b333"), weight(7, "a=b,ot=th:b333"));
    }

    proptest! {
        #[test]
        fn any_state_has_a_weight_in_bounds(trace_id in 1_u128.., state in "(ot=)?(th:)?[0-9a-f;:,= ]{0,16}") {
            prop_assert!((1..=MAX_WEIGHT).contains(&weight(trace_id, &state)));
        }
    }
}
