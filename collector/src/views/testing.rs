//! Views, spans and figures for the tests of the views as a whole.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, Status};

use super::*;
use crate::wire::test_support::{encode, resource_spans, span};
use crate::wire::walk;

/// A time far from any slot's border: 3 s into a ten-second slot, 13 s into a minute.
pub(super) const T0: u64 = 1_800_000_000 * SECOND + 13 * SECOND;
pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) const CONFIG: Config = Config {
    retention: Duration::from_secs(3600),
    trace_bytes: 1 << 20,
    view_bytes: 8 << 20,
};

/// Views that have been up for an hour.
pub(super) fn views() -> Views {
    let views = Views::new(CONFIG);
    views.tick(T0 - 3_600 * SECOND);
    views
}

/// Spans of one service that come at a time.
pub(super) fn count(views: &Views, service: &str, spans: Vec<Span>, at: u64) {
    count_group(views, resource_spans(service, spans), at);
}

/// Spans of one resource that come at a time.
pub(super) fn count_group(views: &Views, group: ResourceSpans, at: u64) {
    let bytes = encode(vec![group]);
    let mut refs = Vec::new();
    walk(&bytes, |span| refs.push(span)).unwrap();
    views.count(&refs, at);
}

/// A span that takes `nanos`.
pub(super) fn timed(trace: u128, id: u64, parent: u64, kind: Kind, nanos: u64) -> Span {
    let mut span = span(trace, id, parent);
    span.kind = kind.into();
    span.end_time_unix_nano = span.start_time_unix_nano + nanos;
    span
}

pub(super) fn failed(mut span: Span) -> Span {
    span.status = Some(Status {
        code: 2,
        message: "no".into(),
    });
    span
}

/// That it is what it should be, as far as histograms tell: `got` in seconds.
pub(super) fn near(got: Option<f64>, nanos: f64) {
    let got = got.unwrap_or(f64::NAN) * 1e9;
    assert!(
        (got - nanos).abs() <= nanos * 0.011,
        "{got}, exactly {nanos}"
    );
}
