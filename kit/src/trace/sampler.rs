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
    /// Whether to record. `parent` is the caller's context when the caller is trusted.
    pub(crate) fn sample(self, _parent: Option<&TraceParent>, _trace_id: TraceId) -> bool {
        unimplemented!()
    }
}
