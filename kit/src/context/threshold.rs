//! The rejection threshold of a sampling decision and the randomness it is compared with (OpenTelemetry,
//! "TraceState: Probability Sampling"). Decided by `trace::Sampler`, carried as `th` and `rv` in the `ot` entry
//! of a [`TraceState`](super::TraceState).

use super::TraceId;

/// Both are numbers of 56 bits, 14 hex digits.
const DIGITS: usize = 14;
const RANGE: u64 = 1 << 56;

/// Digits of a threshold that count, as the specification recommends: the rate is then told to 0.002 %.
const PRECISION: u32 = 4;

/// Traces whose randomness is below it are not kept: of 2⁵⁶ equally likely ones, this many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threshold(u64);

impl Threshold {
    /// Keeps every trace.
    pub(crate) const ALWAYS: Self = Self(0);

    /// The threshold that keeps this share of traces, 0–1; `None` when it keeps not one in 2⁵⁶.
    pub(crate) fn keeping(ratio: f64) -> Option<Self> {
        // Not `1 - ratio`, which knows no ratio below 2⁻⁵³.
        let kept = (ratio * RANGE as f64).round() as u64;
        let exact = RANGE.checked_sub(kept).filter(|exact| *exact < RANGE)?;
        // Digits `f` at the front say only that the rate is small.
        let leading = (exact << 8).leading_ones() / 4;
        let dropped = 4 * (DIGITS as u32).saturating_sub(leading + PRECISION);
        let rounded = ((exact >> dropped)
            + (exact >> dropped.saturating_sub(1) & u64::from(dropped > 0)))
            << dropped;
        Some(Self(if rounded < RANGE { rounded } else { exact }))
    }

    pub(crate) fn keeps(self, randomness: Randomness) -> bool {
        randomness.0 >= self.0
    }

    /// From the value of `th`: 1 to 14 lower-case hex digits, the trailing zeros left out.
    pub(crate) fn parse(digits: &[u8]) -> Option<Self> {
        let value = hex(digits)?;
        let missing = DIGITS.checked_sub(digits.len())?;
        Some(Self(value << (4 * missing)))
    }

    /// The value of `th`.
    pub(crate) fn to_text(self) -> String {
        let digits = format!("{:014x}", self.0);
        match digits.trim_end_matches('0') {
            "" => "0".to_owned(),
            digits => digits.to_owned(),
        }
    }
}

/// What is compared with thresholds: the same for all services of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Randomness(u64);

impl Randomness {
    /// The last 7 bytes of the trace id (W3C Trace Context level 2, §3.2.2.3), taken to be random also when no
    /// flag says so: level 1 knows no such flag.
    pub(crate) fn of(trace_id: TraceId) -> Self {
        let [.., a, b, c, d, e, f, g] = trace_id.to_bytes();
        Self(u64::from_be_bytes([0, a, b, c, d, e, f, g]))
    }

    /// From the value of `rv`: 14 lower-case hex digits.
    pub(crate) fn parse(digits: &[u8]) -> Option<Self> {
        let value = hex(digits)?;
        (digits.len() == DIGITS).then_some(Self(value))
    }
}

/// 1 to 14 lower-case digits.
fn hex(digits: &[u8]) -> Option<u64> {
    if !(1..=DIGITS).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ratios_as_thresholds() {
        for (ratio, text) in [
            (1.0, Some("0")),
            (0.5, Some("8")),
            (0.25, Some("c")),
            (0.3, Some("b333")),
            (0.1, Some("e666")),
            (0.01, Some("fd70a")),
            (0.001, Some("ffbe77")),
            (1e-5, Some("ffff583a")),
            (1.0 / RANGE as f64, Some("ffffffffffffff")),
            (1e-18, None),
            (0.0, None),
        ] {
            let threshold = Threshold::keeping(ratio);
            assert_eq!(
                threshold.map(Threshold::to_text).as_deref(),
                text,
                "{ratio}"
            );
        }
    }

    #[test]
    fn a_trace_is_kept_at_its_threshold() {
        let threshold = Threshold::parse(b"c").unwrap();
        for (randomness, kept) in [
            (&b"c0000000000000"[..], true),
            (b"bfffffffffffff", false),
            (b"ffffffffffffff", true),
            (b"00000000000000", false),
        ] {
            let randomness = Randomness::parse(randomness).unwrap();
            assert_eq!(threshold.keeps(randomness), kept);
            assert!(Threshold::ALWAYS.keeps(randomness));
        }
    }

    #[test]
    fn what_is_no_number_of_56_bits() {
        for text in [&b""[..], b"C", b"0x", b"000000000000000", b"-1", b" 8"] {
            assert_eq!(Threshold::parse(text), None);
            assert_eq!(Randomness::parse(text), None);
        }
        assert_eq!(Randomness::parse(b"c"), None);
    }

    proptest! {
        #[test]
        fn a_threshold_is_read_as_written(value in 0..RANGE) {
            let text = Threshold(value).to_text();
            prop_assert_eq!(Threshold::parse(text.as_bytes()), Some(Threshold(value)));
        }

        #[test]
        fn the_rate_told_is_near_the_rate_asked_for(ratio in 1e-9..=1.0_f64) {
            let threshold = Threshold::keeping(ratio).unwrap();
            let told = (RANGE - threshold.0) as f64 / RANGE as f64;
            prop_assert!((told / ratio - 1.0).abs() < 1e-3, "{told} {ratio}");
        }
    }
}
