//! Keeps a ratio of traces by consistent probability (OpenTelemetry, "TraceState: Probability Sampling"), and tells
//! the rate in the `ot` entry of each span's `tracestate`. Needs one span alone: no state, no order, no wait.

use std::borrow::Cow;

use super::config::Ratio;
use crate::wire::trace_state::{members, ot, sub_keys};
use crate::wire::{Fate, Randomness, SpanRef, Threshold};

/// Members of a `tracestate` (W3C Trace Context, §3.3.1.1) and bytes of a value (§3.3.1.3) at most.
const MAX_MEMBERS: usize = 32;
const MAX_VALUE: usize = 256;

/// The rule for one ratio.
#[derive(Debug)]
pub(super) struct ByRatio {
    /// `None` keeps nothing.
    threshold: Option<Threshold>,
    /// All of the `tracestate` of a span that has none, when it is kept.
    alone: String,
}

impl ByRatio {
    pub(super) fn keeping(ratio: Ratio) -> Self {
        let threshold = Threshold::keeping(ratio.as_f64());
        Self {
            alone: threshold.map_or_else(String::new, entry),
            threshold,
        }
    }

    /// What becomes of `span`. One whose sender has sampled by a threshold as high or higher stays as it is.
    pub(super) fn fate(&self, span: &SpanRef<'_>) -> Fate<'_> {
        let Some(threshold) = self.threshold else {
            return Fate::Drop;
        };
        if threshold == Threshold::ALWAYS {
            return Fate::Keep;
        }
        let state = span.trace_state();
        if state.is_empty() {
            return match threshold.keeps(Randomness::of(span.trace_id)) {
                true => Fate::KeepAs(Cow::Borrowed(&self.alone)),
                false => Fate::Drop,
            };
        }
        let sent = ot(state, "th").and_then(Threshold::parse);
        if sent.is_some_and(|sent| sent >= threshold) {
            return Fate::Keep;
        }
        let randomness = ot(state, "rv").and_then(Randomness::parse);
        let randomness = randomness.unwrap_or_else(|| Randomness::of(span.trace_id));
        match threshold.keeps(randomness) {
            true => Fate::KeepAs(Cow::Owned(raised(state, threshold))),
            false => Fate::Drop,
        }
    }
}

fn entry(threshold: Threshold) -> String {
    format!("ot=th:{threshold}")
}

/// `state` with this threshold in its `ot` entry, which moves to the front as what was changed last (§3.5). Members
/// beyond the limit go, from the right.
fn raised(state: &str, threshold: Threshold) -> String {
    let mut raised = entry(threshold);
    let own = members(state).find_map(|member| member.strip_prefix("ot="));
    let own = || sub_keys(own.unwrap_or_default());
    // Without its randomness others would decide differently, so that has to fit.
    let random = own().filter(|sub_key| sub_key.starts_with("rv:"));
    let others = own().filter(|sub_key| !sub_key.starts_with("rv:"));
    for sub_key in random.chain(others) {
        let fits = raised.len() + ";".len() + sub_key.len() <= "ot=".len() + MAX_VALUE;
        if fits && !sub_key.starts_with("th:") {
            raised.push(';');
            raised.push_str(sub_key);
        }
    }
    let others = members(state).filter(|member| !member.starts_with("ot="));
    for member in others.take(MAX_MEMBERS - 1) {
        raised.push(',');
        raised.push_str(member);
    }
    raised
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::export::sampling::testing::span_ref;
    use crate::wire::test_support::span;

    fn by_ratio(ratio: &str) -> ByRatio {
        ByRatio::keeping(Ratio::parse(ratio).unwrap())
    }

    /// A trace id with this randomness.
    fn trace(randomness: u64) -> u128 {
        0xabc << 64 | u128::from(randomness)
    }

    fn fate(ratio: &str, trace_id: u128, state: &str) -> Fate<'static> {
        let mut span = span(trace_id, 1, 0);
        span.trace_state = state.into();
        span_ref(&span, |span| match by_ratio(ratio).fate(span) {
            Fate::Drop => Fate::Drop,
            Fate::Keep => Fate::Keep,
            Fate::KeepAs(state) => Fate::KeepAs(state.into_owned().into()),
        })
    }

    #[test]
    fn the_threshold_is_raised_and_never_lowered() {
        let (low, high) = (trace((1 << 55) - 1), trace(1 << 55));
        let as_ = |state: &'static str| Fate::KeepAs(state.into());
        for (trace_id, state, expected) in [
            (high, "", as_("ot=th:8")),
            (low, "", Fate::Drop),
            (high, "ot=th:0", as_("ot=th:8")),
            (high, "ot=th:4", as_("ot=th:8")),
            (low, "ot=th:4", Fate::Drop),
            (high, "ot=th:8", Fate::Keep),
            (high, "ot=th:c", Fate::Keep),
            // Its sender knows why it kept it.
            (low, "ot=th:c", Fate::Keep),
            (
                low,
                "ot=rv:80000000000000",
                as_("ot=th:8;rv:80000000000000"),
            ),
            (high, "ot=rv:7fffffffffffff", Fate::Drop),
            (high, "ot=rv:8", as_("ot=th:8;rv:8")),
            (high, "a=1, ot=x:1;th:4 ,b=2", as_("ot=th:8;x:1,a=1,b=2")),
            (high, "a=1,,b=2", as_("ot=th:8,a=1,b=2")),
            (high, "ot=th:G", as_("ot=th:8")),
            (high, "not=th:c", as_("ot=th:8,not=th:c")),
        ] {
            assert_eq!(fate("0.5", trace_id, state), expected, "{state:?}");
        }
    }

    #[test]
    fn all_and_nothing() {
        for state in ["", "ot=th:4", "a=1"] {
            assert_eq!(fate("1", trace(0), state), Fate::Keep);
            assert_eq!(fate("0", trace(u64::MAX >> 8), state), Fate::Drop);
        }
    }

    #[test]
    fn a_long_state_stays_within_its_grammar() {
        let members: Vec<_> = (0..32).map(|n| format!("k{n}=v")).collect();
        let kept = raised(&members.join(","), Threshold::parse("8").unwrap());
        assert_eq!(kept, format!("ot=th:8,{}", members[..31].join(",")));
        let long = format!("ot=x:{};rv:80000000000000;th:4", "y".repeat(240));
        let kept = raised(&long, Threshold::parse("8").unwrap());
        assert_eq!(kept, "ot=th:8;rv:80000000000000");
    }

    #[test]
    fn the_share_that_is_kept_is_the_ratio() {
        const TRACES: u64 = 20_000;
        for ratio in ["0.5", "0.1", "0.01"] {
            let rule = by_ratio(ratio);
            let kept = (0..TRACES).filter(|_| {
                let span = span(rand::random::<u128>() | 1 << 100, 1, 0);
                span_ref(&span, |span| rule.fate(span) != Fate::Drop)
            });
            let kept = kept.count() as f64;
            let share = Ratio::parse(ratio).unwrap().as_f64();
            let expected = share * TRACES as f64;
            // Six standard deviations: one failure in half a billion runs.
            let most = 6.0 * (expected * (1.0 - share)).sqrt();
            assert!(
                (kept - expected).abs() < most,
                "{ratio}: {kept} of {TRACES}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_a_lower_ratio_keeps_a_higher_one_keeps_too(
            trace_id in 1u128..,
            low in 1..1_000_000_u32,
            high in 1..1_000_000_u32,
            state in prop_oneof![
                Just(String::new()),
                "ot=th:[0-9a-f]{1,14}",
                "(a=1,)?ot=rv:[0-9a-f]{14}(;th:[0-9a-f]{1,3})?",
                "[a-z=:;, ]{0,20}",
            ],
        ) {
            let ratio = |millionths: u32| format!("0.{millionths:06}");
            let (low, high) = (low.min(high), low.max(high));
            let of = |millionths| fate(&ratio(millionths), trace_id, &state);
            if of(low) != Fate::Drop {
                prop_assert_ne!(of(high), Fate::Drop);
            }
            // Sampling again by the same ratio leaves everything as it is.
            if let Fate::KeepAs(kept) = of(low) {
                prop_assert_eq!(fate(&ratio(low), trace_id, &kept), Fate::Keep);
                // Directly or by way of the higher ratio: the same traces, the same rate.
                if let Fate::KeepAs(between) = of(high)
                    && low != high
                {
                    let again = fate(&ratio(low), trace_id, &between);
                    prop_assert!(again == Fate::KeepAs(kept) || again == Fate::Keep, "{:?}", again);
                }
            }
        }
    }
}
