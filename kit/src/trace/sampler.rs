//! The sampling decision (`OTEL_TRACES_SAMPLER`), made once when a request begins.

use crate::context::{TraceId, TraceParent};

/// Head samplers of the OpenTelemetry specification ("Built-in samplers").
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sampler {
    AlwaysOn,
    AlwaysOff,
    /// The share of traces kept, 0–1, decided by the trace id.
    Ratio(f64),
    ParentBasedAlwaysOn,
    ParentBasedAlwaysOff,
    ParentBasedRatio(f64),
}

impl Sampler {
    /// The sampler that `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` name. Without an argument a
    /// ratio is 1, as the specification says.
    ///
    /// # Errors
    ///
    /// Says which value was not understood and what is allowed.
    pub(crate) fn parse(name: &str, arg: Option<&str>) -> Result<Self, String> {
        match name {
            "always_on" => Ok(Self::AlwaysOn),
            "always_off" => Ok(Self::AlwaysOff),
            "traceidratio" => ratio(arg).map(Self::Ratio),
            "parentbased_always_on" => Ok(Self::ParentBasedAlwaysOn),
            "parentbased_always_off" => Ok(Self::ParentBasedAlwaysOff),
            "parentbased_traceidratio" => ratio(arg).map(Self::ParentBasedRatio),
            _ => Err(format!(
                "unknown sampler {name:?}; use always_on, always_off, traceidratio, parentbased_always_on, \
                 parentbased_always_off or parentbased_traceidratio"
            )),
        }
    }

    /// Whether to record. `parent` is the caller's context when the caller is trusted.
    pub(crate) fn sample(self, parent: Option<&TraceParent>, trace_id: TraceId) -> bool {
        let parent_sampled = parent.map(|parent| parent.flags & TraceParent::SAMPLED != 0);
        match self {
            Self::AlwaysOn => true,
            Self::AlwaysOff => false,
            Self::Ratio(ratio) => keeps(ratio, trace_id),
            Self::ParentBasedAlwaysOn => parent_sampled.unwrap_or(true),
            Self::ParentBasedAlwaysOff => parent_sampled.unwrap_or(false),
            Self::ParentBasedRatio(ratio) => {
                parent_sampled.unwrap_or_else(|| keeps(ratio, trace_id))
            }
        }
    }
}

/// The randomness of a trace id is its last 7 bytes (W3C Trace Context level 2, §3.2.2.3).
const RANDOMNESS: u64 = 1 << 56;

/// Keeps a trace when its randomness is at or above the rejection threshold (OpenTelemetry, "TraceState:
/// probability sampling"): services at the same or a higher ratio keep it too, so traces stay whole.
fn keeps(ratio: f64, trace_id: TraceId) -> bool {
    let rejected = (1.0 - ratio) * RANDOMNESS as f64;
    let threshold = rejected.round() as u64;
    let [.., a, b, c, d, e, f, g] = trace_id.to_bytes();
    u64::from_be_bytes([0, a, b, c, d, e, f, g]) >= threshold
}

fn ratio(arg: Option<&str>) -> Result<f64, String> {
    let Some(arg) = arg.map(str::trim).filter(|arg| !arg.is_empty()) else {
        return Ok(1.0);
    };
    match arg.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!(
            "sampling ratio {arg:?} is not a number from 0 to 1"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::SpanId;

    fn trace_id(randomness: u64) -> TraceId {
        let mut bytes = [0xff; 16];
        bytes[9..].copy_from_slice(&randomness.to_be_bytes()[1..]);
        TraceId::from_bytes(bytes).unwrap()
    }

    fn parent(flags: u8) -> TraceParent {
        TraceParent {
            trace_id: trace_id(1),
            span_id: SpanId::from_bytes([1; 8]).unwrap(),
            flags,
        }
    }

    #[test]
    fn samplers_follow_the_parent_only_when_told_to() {
        fn check(sampler: Sampler, root: bool, sampled_parent: bool, unsampled_parent: bool) {
            let id = trace_id(RANDOMNESS / 2);
            assert_eq!(sampler.sample(None, id), root, "{sampler:?}, root");
            assert_eq!(
                sampler.sample(Some(&parent(0b11)), id),
                sampled_parent,
                "{sampler:?}, sampled"
            );
            assert_eq!(
                sampler.sample(Some(&parent(0b10)), id),
                unsampled_parent,
                "{sampler:?}, not"
            );
        }
        check(Sampler::AlwaysOn, true, true, true);
        check(Sampler::AlwaysOff, false, false, false);
        check(Sampler::Ratio(0.5), true, true, true);
        check(Sampler::Ratio(0.4), false, false, false);
        check(Sampler::ParentBasedAlwaysOn, true, true, false);
        check(Sampler::ParentBasedAlwaysOff, false, true, false);
        check(Sampler::ParentBasedRatio(0.5), true, true, false);
        check(Sampler::ParentBasedRatio(0.4), false, true, false);
    }

    #[test]
    fn ratio_compares_the_last_seven_bytes_with_the_threshold() {
        fn check(ratio: f64, randomness: u64, expected: bool) {
            assert_eq!(
                Sampler::Ratio(ratio).sample(None, trace_id(randomness)),
                expected,
                "{ratio} {randomness:x}"
            );
        }
        check(0.0, RANDOMNESS - 1, false);
        check(1.0, 0, true);
        check(0.25, 0xc0_0000_0000_0000, true);
        check(0.25, 0xbf_ffff_ffff_ffff, false);
    }

    #[test]
    fn ratio_keeps_its_share_of_random_ids() {
        let kept = (0..20_000)
            .filter(|_| Sampler::Ratio(0.3).sample(None, TraceId::random()))
            .count();
        // Eight standard deviations: 65 each.
        assert!((5_480..=6_520).contains(&kept), "{kept}");
    }

    #[test]
    fn parse_knows_the_specified_names_and_names_what_it_refuses() {
        fn check(name: &str, arg: Option<&str>, expected: Result<Sampler, &str>) {
            match (Sampler::parse(name, arg), expected) {
                (Ok(sampler), Ok(expected)) => assert_eq!(sampler, expected),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (got, expected) => panic!("{name} {arg:?}: {got:?}, not {expected:?}"),
            }
        }
        check("always_on", None, Ok(Sampler::AlwaysOn));
        check("always_off", Some("0.5"), Ok(Sampler::AlwaysOff));
        check("traceidratio", Some("0.25"), Ok(Sampler::Ratio(0.25)));
        check("traceidratio", None, Ok(Sampler::Ratio(1.0)));
        check("traceidratio", Some(""), Ok(Sampler::Ratio(1.0)));
        check("traceidratio", Some("1.5"), Err("\"1.5\""));
        check("traceidratio", Some("NaN"), Err("\"NaN\""));
        check("traceidratio", Some("half"), Err("from 0 to 1"));
        check(
            "parentbased_always_on",
            None,
            Ok(Sampler::ParentBasedAlwaysOn),
        );
        check(
            "parentbased_always_off",
            None,
            Ok(Sampler::ParentBasedAlwaysOff),
        );
        check(
            "parentbased_traceidratio",
            Some("0.1"),
            Ok(Sampler::ParentBasedRatio(0.1)),
        );
        check("jaeger_remote", None, Err("\"jaeger_remote\""));
    }
}
