//! What the collector shows: services, operations, the edges between them with the network gap, and kept
//! traces. `intake` counts spans in, `web` reads reports out.

pub mod report;

use std::time::Duration;

use report::{Map, OperationReport, ServiceReport, Trace, TraceSummary, Window};

use crate::wire::SpanRef;

/// Bounds of the views.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How far back windows reach (default 1 h).
    pub retention: Duration,
    /// Bytes of kept traces.
    pub trace_bytes: usize,
    /// Bytes of histograms, edges and pending pairs.
    pub view_bytes: usize,
}

/// The views; shared by reference, all methods take `&self`.
#[derive(Debug)]
pub struct Views {}

/// A question's range of time: the last so-and-so long, or fixed ends. Rounded outward to slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The last so long.
    Last(Duration),
    /// From, to: Unix nanoseconds.
    Between(u64, u64),
}

/// Which kept traces to list.
#[derive(Clone, Debug, Default)]
pub struct TraceQuery {
    /// Traces with a span of this service.
    pub service: Option<String>,
    /// … and this operation.
    pub operation: Option<String>,
    /// At least this long.
    pub min: Option<Duration>,
    /// At most this long.
    pub max: Option<Duration>,
    /// Only failed (true) or only good ones (false).
    pub error: Option<bool>,
    /// Which first.
    pub order: Order,
    /// At most so many.
    pub limit: usize,
}

/// The order of a list of traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Latest arrival first.
    #[default]
    Newest,
    /// Longest first.
    Slowest,
}

impl Views {
    /// Empty views.
    pub fn new(_config: Config) -> Self {
        unimplemented!()
    }

    /// Counts the spans of one accepted batch, all placed at `arrived_unix_nano`.
    pub fn count(&self, _spans: &[SpanRef<'_>], _arrived_unix_nano: u64) {
        unimplemented!()
    }

    /// Spans counted since the start: 0 means nothing was ever received.
    pub fn spans_counted(&self) -> u64 {
        unimplemented!()
    }

    /// Every service seen in the window.
    pub fn services(&self, _range: Range) -> (Window, Vec<ServiceReport>) {
        unimplemented!()
    }

    /// Every operation of a service seen in the window; `None` for a service never seen.
    pub fn operations(
        &self,
        _service: &str,
        _range: Range,
    ) -> Option<(Window, Vec<OperationReport>)> {
        unimplemented!()
    }

    /// Services, what they call, and the edges between.
    pub fn map(&self, _range: Range) -> Map {
        unimplemented!()
    }

    /// Kept traces.
    pub fn traces(&self, _query: &TraceQuery, _range: Range) -> (Window, Vec<TraceSummary>) {
        unimplemented!()
    }

    /// One kept trace, with its critical path.
    pub fn trace(&self, _trace_id: [u8; 16]) -> Option<Trace> {
        unimplemented!()
    }
}
