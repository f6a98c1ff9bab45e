//! The rejection threshold of a ratio, and the randomness of a trace that it is compared with (OpenTelemetry,
//! "TraceState: Probability Sampling"): numbers of 56 bits, so that every collector and every service that keeps the
//! same ratio keeps the same traces, and a lower ratio keeps some of these. Used by `weight`, and by `export` where it
//! samples.

/// Both are 14 hex digits at most.
const DIGITS: usize = 14;
const RANGE: u64 = 1 << 56;

/// Digits of a threshold that count, as the specification recommends: the rate is then told to 0.002 %.
const PRECISION: u32 = 4;

/// Traces whose randomness is below it are not kept: of 2⁵⁶ equally likely ones, this many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Threshold(u64);

/// What is compared with thresholds: the same for all spans of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Randomness(u64);

impl Threshold {
    /// Keeps every trace.
    pub(crate) const ALWAYS: Self = Self(0);

    /// The threshold that keeps this share (0 to 1) of traces; `None` when that is none of them.
    pub(crate) fn keeping(ratio: f64) -> Option<Self> {
        let kept = (ratio * RANGE as f64).round() as u64;
        let exact = RANGE.checked_sub(kept).filter(|&exact| exact < RANGE)?;
        // Digits `f` at the front say only that the rate is small.
        let leading = (exact << 8).leading_ones() / 4;
        let dropped = 4 * (DIGITS as u32).saturating_sub(leading + PRECISION);
        let half = 1_u64 << dropped >> 1;
        let rounded = (exact + half) >> dropped << dropped;
        Some(Self(if rounded < RANGE { rounded } else { exact }))
    }

    pub(crate) fn keeps(self, randomness: Randomness) -> bool {
        randomness.0 >= self.0
    }

    /// Of how many traces it keeps one on average, at least 1: the specification's adjusted count.
    pub(crate) fn adjusted_count(self) -> f64 {
        RANGE as f64 / (RANGE - self.0) as f64
    }

    /// From the value of `th`: 1 to 14 lower-case hex digits, the trailing zeros left out.
    pub(crate) fn parse(digits: &str) -> Option<Self> {
        let value = hex(digits)?;
        let missing = DIGITS.checked_sub(digits.len())?;
        Some(Self(value << (4 * missing)))
    }
}

impl std::fmt::Display for Threshold {
    /// The value of `th`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = format!("{:014x}", self.0);
        f.write_str(match digits.trim_end_matches('0') {
            "" => "0",
            digits => digits,
        })
    }
}

impl Randomness {
    /// The last 7 bytes of the trace id (W3C Trace Context level 2, §3.2.2.3), taken to be random also when no
    /// flag says so: level 1 knows no such flag.
    pub(crate) fn of(trace_id: [u8; 16]) -> Self {
        let [.., a, b, c, d, e, f, g] = trace_id;
        Self(u64::from_be_bytes([0, a, b, c, d, e, f, g]))
    }

    /// From the value of `rv`: 14 lower-case hex digits.
    pub(crate) fn parse(digits: &str) -> Option<Self> {
        let value = hex(digits)?;
        (digits.len() == DIGITS).then_some(Self(value))
    }
}

/// 1 to 14 lower-case digits.
fn hex(digits: &str) -> Option<u64> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !(1..=DIGITS).contains(&digits.len()) || !digits.bytes().all(is_digit) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keeping(ratio: f64) -> Option<String> {
        Threshold::keeping(ratio).map(|threshold| threshold.to_string())
    }

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
            (0.00001, Some("ffff583a")),
            (0.0, None),
        ] {
            assert_eq!(keeping(ratio).as_deref(), text, "{ratio}");
        }
    }

    #[test]
    fn a_trace_is_kept_at_its_threshold() {
        let threshold = Threshold::parse("c").unwrap();
        for (randomness, kept) in [
            ("c0000000000000", true),
            ("bfffffffffffff", false),
            ("ffffffffffffff", true),
            ("00000000000000", false),
        ] {
            let randomness = Randomness::parse(randomness).unwrap();
            assert_eq!(threshold.keeps(randomness), kept);
        }
        let mut trace_id = [0xff; 16];
        trace_id[9..].copy_from_slice(&[0xc0, 0, 0, 0, 0, 0, 0]);
        assert!(threshold.keeps(Randomness::of(trace_id)));
        trace_id[9] = 0xbf;
        assert!(!threshold.keeps(Randomness::of(trace_id)));
    }

    #[test]
    fn what_is_no_number_of_56_bits() {
        for text in ["", "C", "0x", "000000000000000", "-1", " 8", "+8"] {
            assert_eq!(Threshold::parse(text), None);
            assert_eq!(Randomness::parse(text), None);
        }
        assert_eq!(Randomness::parse("c"), None);
    }

    proptest! {
        #[test]
        fn a_threshold_is_read_as_written(value in 0..RANGE) {
            let text = Threshold(value).to_string();
            prop_assert_eq!(Threshold::parse(&text), Some(Threshold(value)));
        }

        #[test]
        fn the_rate_told_is_near_the_rate_asked_for(billionths in 1..=1_000_000_000_u32) {
            let ratio = f64::from(billionths) / 1e9;
            let told = 1.0 / Threshold::keeping(ratio).unwrap().adjusted_count();
            prop_assert!((told / ratio - 1.0).abs() < 1e-3, "{told} {ratio}");
        }
    }
}
