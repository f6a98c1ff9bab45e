//! Metrics: what `http` records about each request and call, what `/metrics` shows. Record paths take no
//! contended lock and, once a label set is known, allocate nothing.

mod client;
mod server;

pub(crate) use client::{ClientLabels, ClientMetrics};
pub(crate) use server::{ActiveRequest, ServerLabels, ServerMetrics};

use crate::context::{SpanId, TraceId};

/// The trace a measurement belongs to, shown beside its histogram bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
}

/// The bounds of the HTTP duration histograms, in seconds (semantic conventions, HTTP metrics).
pub(crate) const DURATION_BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
