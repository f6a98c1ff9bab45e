//! What a service is scaled by, from its entry spans: asked for and told by the API's `/scale/{name}`.

use std::ops;
use std::time::Duration;

use serde::Serialize;

use super::figures::{RowSlot, entry_nanos};
use super::report::{Figures, Window};
use super::{Range, Views, lock, rfc3339};
use crate::status::now_unix_nano;

const NANOS_A_SECOND: f64 = 1e9;

/// `/api/v1/scale/{name}`: numbers for an autoscaler, all of a service's pods together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scale {
    /// Its name.
    pub service: String,
    /// What the numbers are of; it ends now.
    pub window: Window,
    /// Requests under way, on average: their rate times their mean duration (Little's law). What is still under way has no
    /// span yet, and counts when it has ended.
    pub concurrency: f64,
    /// Entry spans per second.
    pub rate: f64,
    /// Median of their durations; this and those below are null without data.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Failed ÷ all; 0 without data.
    pub error_ratio: f64,
    /// Seconds since the newest span of the service, of any kind, arrived.
    pub age_seconds: f64,
}

impl Views {
    /// What a service can be scaled by, over the last `length` and rounded outward to slots; `None` for a service of which
    /// no span came within the retention.
    pub fn scale(&self, service: &str, length: Duration) -> Option<Scale> {
        self.scale_at(service, length, now_unix_nano())
    }

    fn scale_at(&self, service: &str, length: Duration, now: u64) -> Option<Scale> {
        let mut stats = lock(&self.stats);
        let slots = stats.round(Range::Last(length), now);
        let passed = stats.clock.passed(slots, now);
        let id = stats.names.find(service)?;
        let (entry, last_span) = stats.services.entry(id, slots)?;
        drop(stats);
        Some(Scale::new(service, &entry.total(), passed, last_span))
    }
}

impl Scale {
    /// Of the entry spans that came in `window`, which ends now; all times are Unix nanoseconds.
    fn new(service: &str, entry: &RowSlot, window: ops::Range<u64>, last_span: u64) -> Self {
        let nanos = window.end.saturating_sub(window.start).max(1) as f64;
        let figures = Figures::of(entry, nanos / NANOS_A_SECOND);
        let age = window.end.saturating_sub(last_span);
        Self {
            service: service.to_owned(),
            concurrency: entry_nanos(entry) as f64 / nanos,
            rate: figures.rate,
            p50: figures.latency.p50,
            p90: figures.latency.p90,
            p95: figures.latency.p95,
            p99: figures.latency.p99,
            error_ratio: figures.error_ratio,
            age_seconds: age as f64 / NANOS_A_SECOND,
            window: Window {
                from: rfc3339::format(window.start),
                to: rfc3339::format(window.end),
                seconds: nanos / NANOS_A_SECOND,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::Span;
    use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;
    use proptest::prelude::*;

    use super::*;
    use crate::views::Config;
    use crate::wire::test_support::{encode, resource_spans, span};
    use crate::wire::walk;

    const SECOND: u64 = 1_000_000_000;
    /// 3 s into a ten-second slot.
    const T0: u64 = 1_800_000_000 * SECOND + 3 * SECOND;
    const MINUTE: Duration = Duration::from_secs(60);

    /// Views whose clock was first looked at then.
    fn views(started: u64) -> Views {
        let views = Views::new(Config {
            retention: Duration::from_secs(3_600),
            trace_bytes: 1 << 20,
            view_bytes: 8 << 20,
        });
        views.tick(started);
        views
    }

    fn count(views: &Views, spans: Vec<Span>, at: u64) {
        let bytes = encode(vec![resource_spans("cart", spans)]);
        let mut refs = Vec::new();
        walk(&bytes, |span| refs.push(span)).unwrap();
        views.count(&refs, at);
    }

    fn taking(nanos: u64) -> Span {
        let mut span = span(1, 1, 0);
        span.end_time_unix_nano = span.start_time_unix_nano + nanos;
        span
    }

    fn scale(views: &Views, now: u64) -> Scale {
        views.scale_at("cart", MINUTE, now).unwrap()
    }

    fn near(got: f64, want: f64) {
        assert!(
            (got - want).abs() <= 1e-9 * want.max(1.0),
            "{got}, not {want}"
        );
    }

    /// Each second three spans of half a second, whatever the slots: 1.5 under way.
    #[test]
    fn a_steady_load_is_told_the_same_at_any_moment() {
        let views = views(T0);
        for second in 1..=200 {
            let now = T0 + second * SECOND;
            // Those of the last second.
            count(&views, vec![taking(SECOND / 2); 3], now - SECOND / 2);
            let scale = scale(&views, now);
            near(scale.concurrency, 1.5);
            near(scale.rate, 3.0);
            near(scale.age_seconds, 0.5);
            assert!((scale.p95.unwrap() - 0.5).abs() < 0.5 * 0.011);
        }
    }

    #[test]
    fn quiet_falls_to_nothing_within_the_window_and_the_age_grows() {
        let views = views(T0 - 600 * SECOND);
        for second in (0..120).rev() {
            count(&views, vec![taking(2 * SECOND)], T0 - second * SECOND);
        }
        let mut before = scale(&views, T0).concurrency;
        assert!(before > 1.5, "{before}");
        for quiet in 1..=70 {
            let scale = scale(&views, T0 + quiet * SECOND);
            assert!(scale.concurrency < before || before == 0.0, "{quiet} s");
            near(scale.age_seconds, quiet as f64);
            before = scale.concurrency;
        }
        // A window is rounded outward to a slot of ten seconds.
        let scale = scale(&views, T0 + 70 * SECOND);
        assert_eq!(
            (scale.concurrency, scale.rate, scale.error_ratio, scale.p99),
            (0.0, 0.0, 0.0, None)
        );
    }

    #[test]
    fn only_entry_spans_are_work_but_any_span_is_a_sign_of_life() {
        let views = views(T0 - 600 * SECOND);
        count(&views, vec![taking(SECOND)], T0);
        let mut inner = span(1, 2, 1);
        inner.kind = Kind::Internal.into();
        inner.end_time_unix_nano = inner.start_time_unix_nano + 9 * SECOND;
        count(&views, vec![inner], T0 + 4 * SECOND);
        let scale = scale(&views, T0 + 5 * SECOND);
        near(scale.concurrency * scale.window.seconds, 1.0);
        near(scale.age_seconds, 1.0);
    }

    /// Durations of 10 ms to 1 s, every fourth failed.
    #[test]
    fn each_percentile_is_its_own_and_the_failed_are_told() {
        let views = views(T0 - 600 * SECOND);
        let spans = (1..=100).map(|nth| {
            let mut span = taking(nth * SECOND / 100);
            if nth % 4 == 0 {
                span.status.get_or_insert_default().code = 2;
            }
            span
        });
        count(&views, spans.collect(), T0);
        let scale = scale(&views, T0 + SECOND);
        let told = [scale.p50, scale.p90, scale.p95, scale.p99].map(Option::unwrap);
        for (told, want) in told.into_iter().zip([0.5, 0.9, 0.95, 0.99]) {
            assert!(
                (told - want).abs() <= want * 0.011 + 0.01,
                "{told}, not {want}"
            );
        }
        near(scale.error_ratio, 0.25);
    }

    #[test]
    fn sampled_spans_count_for_those_left_out() {
        let views = views(T0 - 600 * SECOND);
        let mut one_in_four = taking(SECOND);
        one_in_four.trace_state = "ot=th:c".into();
        count(&views, vec![one_in_four; 10], T0);
        let scale = scale(&views, T0);
        near(scale.concurrency * scale.window.seconds, 40.0);
        near(scale.rate * scale.window.seconds, 40.0);
    }

    #[test]
    fn the_window_is_told_and_begins_with_the_collector() {
        let views = views(T0);
        count(&views, vec![taking(SECOND)], T0 + 4 * SECOND);
        let young = scale(&views, T0 + 8 * SECOND);
        near(young.window.seconds, 8.0);
        near(young.concurrency, 1.0 / 8.0);
        assert_eq!(young.window.from, rfc3339::format(T0));
        let old = scale(&views, T0 + 100 * SECOND);
        assert_eq!(old.window.from, rfc3339::format(T0 + 37 * SECOND));
        assert_eq!(old.window.to, rfc3339::format(T0 + 100 * SECOND));
        assert!(views.scale_at("card", MINUTE, T0).is_none());
    }

    proptest! {
        /// Whatever came when: the spans' seconds in the window ÷ its length.
        #[test]
        fn concurrency_is_the_seconds_of_work_a_second(
            spans in prop::collection::vec((0_u64..300, 0_u64..90 * SECOND), 1..60),
            asked in 10_u64..250,
        ) {
            let views = views(T0 - 7_200 * SECOND);
            let mut spans = spans;
            spans.sort_unstable();
            for &(second, nanos) in &spans {
                count(&views, vec![taking(nanos)], T0 + second * SECOND);
            }
            let now = T0 + 300 * SECOND;
            let scale = views.scale_at("cart", Duration::from_secs(asked), now).unwrap();
            let from = (now - asked * SECOND) / (10 * SECOND) * (10 * SECOND);
            let inside = spans.iter().filter(|(second, _)| T0 + second * SECOND >= from);
            let nanos: u64 = inside.map(|&(_, nanos)| nanos).sum();
            near(scale.concurrency, nanos as f64 / (now - from) as f64);
            near(scale.window.seconds, (now - from) as f64 / 1e9);
        }
    }
}
