//! Spans: the sampling decision, the compact record the request path queues, and the export of those
//! records over OTLP on a thread and runtime of their own.

mod config;
mod record;
mod sampler;

pub(crate) use config::{Compression, Endpoint, ExportConfig, ExporterKind, Protocol};
pub(crate) use record::{Attribute, SpanKind, SpanRecord, SpanStatus, Value};
pub(crate) use sampler::Sampler;

/// The request path's end of the span queue: bounded, never blocks, counts what it drops.
#[derive(Clone, Debug)]
pub(crate) struct SpanQueue {}

impl SpanQueue {
    /// Hands a finished span to the exporter; drops and counts it when the queue is full.
    pub(crate) fn push(&self, _span: SpanRecord) {
        unimplemented!()
    }
}
