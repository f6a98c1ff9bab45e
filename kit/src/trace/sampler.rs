//! The sampling decision (`OTEL_TRACES_SAMPLER`), made once when a request begins.

use crate::context::{Randomness, Threshold, TraceId, TraceState};

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

    /// Whether to record, and the `tracestate` of what is recorded. `parent` and `state` are what a trusted
    /// caller decided and sent; a caller that left the decision open is as good as none.
    pub(crate) fn sample(
        self,
        parent: Option<bool>,
        trace_id: TraceId,
        state: Option<TraceState>,
    ) -> (bool, Option<TraceState>) {
        match (self, parent) {
            // The threshold is that of whoever decided.
            (
                Self::ParentBasedAlwaysOn | Self::ParentBasedAlwaysOff | Self::ParentBasedRatio(_),
                Some(true),
            ) => (true, state),
            (Self::AlwaysOn, _) | (Self::ParentBasedAlwaysOn, None) => {
                (true, TraceState::kept_by(Threshold::ALWAYS, state))
            }
            (Self::Ratio(ratio), _) | (Self::ParentBasedRatio(ratio), None) => {
                keep(ratio, trace_id, state)
            }
            (
                Self::AlwaysOff
                | Self::ParentBasedAlwaysOn
                | Self::ParentBasedAlwaysOff
                | Self::ParentBasedRatio(_),
                _,
            ) => (false, TraceState::not_kept(state)),
        }
    }
}

/// Keeps a trace when its randomness is at or above the rejection threshold (OpenTelemetry, "TraceState:
/// probability sampling"): services at the same or a higher ratio keep it too, so traces stay whole.
fn keep(ratio: f64, trace_id: TraceId, state: Option<TraceState>) -> (bool, Option<TraceState>) {
    let told = state.as_ref().and_then(TraceState::randomness);
    let randomness = told.unwrap_or_else(|| Randomness::of(trace_id));
    match Threshold::keeping(ratio).filter(|threshold| threshold.keeps(randomness)) {
        Some(threshold) => (true, TraceState::kept_by(threshold, state)),
        None => (false, TraceState::not_kept(state)),
    }
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
    use ::http::HeaderValue;

    use super::*;

    const HALF: u64 = 0x80_0000_0000_0000;

    fn trace_id(randomness: u64) -> TraceId {
        let mut bytes = [0xff; 16];
        bytes[9..].copy_from_slice(&randomness.to_be_bytes()[1..]);
        TraceId::from_bytes(bytes).unwrap()
    }

    fn state(list: &'static str) -> Option<TraceState> {
        TraceState::parse([&HeaderValue::from_static(list)].into_iter())
    }

    #[test]
    fn samplers_follow_the_parent_only_when_told_to() {
        fn check(sampler: Sampler, expected: [&str; 3]) {
            let parents = [None, Some(true), Some(false)];
            for (parent, expected) in parents.into_iter().zip(expected) {
                // The caller decided by a threshold of its own.
                let sent = parent.and_then(|_| state("a=1,ot=th:4"));
                let (sampled, state) = sampler.sample(parent, trace_id(HALF), sent);
                let told = state.as_ref().map_or("", TraceState::as_str);
                let decision = if sampled { "kept" } else { "not" };
                assert_eq!(
                    format!("{decision} {told}"),
                    expected,
                    "{sampler:?} {parent:?}"
                );
            }
        }
        let inherited = "kept a=1,ot=th:4";
        check(
            Sampler::AlwaysOn,
            ["kept ot=th:0", "kept ot=th:0,a=1", "kept ot=th:0,a=1"],
        );
        check(Sampler::AlwaysOff, ["not ", "not a=1", "not a=1"]);
        check(
            Sampler::Ratio(0.5),
            ["kept ot=th:8", "kept ot=th:8,a=1", "kept ot=th:8,a=1"],
        );
        check(Sampler::Ratio(0.4), ["not ", "not a=1", "not a=1"]);
        check(
            Sampler::ParentBasedAlwaysOn,
            ["kept ot=th:0", inherited, "not a=1"],
        );
        check(
            Sampler::ParentBasedAlwaysOff,
            ["not ", inherited, "not a=1"],
        );
        check(
            Sampler::ParentBasedRatio(0.5),
            ["kept ot=th:8", inherited, "not a=1"],
        );
        check(
            Sampler::ParentBasedRatio(0.4),
            ["not ", inherited, "not a=1"],
        );
    }

    #[test]
    fn ratio_compares_the_last_seven_bytes_with_the_threshold() {
        fn check(ratio: f64, randomness: u64, expected: bool) {
            assert_eq!(
                Sampler::Ratio(ratio)
                    .sample(None, trace_id(randomness), None)
                    .0,
                expected,
                "{ratio} {randomness:x}"
            );
        }
        check(0.0, 0xff_ffff_ffff_ffff, false);
        check(1.0, 0, true);
        check(0.25, 0xc0_0000_0000_0000, true);
        check(0.25, 0xbf_ffff_ffff_ffff, false);
    }

    #[test]
    fn explicit_randomness_wins_over_the_trace_id() {
        for (sent, expected) in [
            ("ot=rv:80000000000000", Some("ot=th:8;rv:80000000000000")),
            ("ot=rv:7fffffffffffff", None),
        ] {
            let (sampled, told) = Sampler::Ratio(0.5).sample(None, trace_id(HALF), state(sent));
            let told = told.as_ref().map(TraceState::as_str);
            assert_eq!(
                (sampled, told),
                (expected.is_some(), expected.or(Some(sent)))
            );
        }
    }

    #[test]
    fn ratio_keeps_its_share_of_random_ids() {
        let kept = (0..20_000)
            .filter(|_| Sampler::Ratio(0.3).sample(None, TraceId::random(), None).0)
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
