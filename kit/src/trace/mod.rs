//! Spans: the sampling decision, the compact record the request path queues, and the export of those
//! records over OTLP on a thread and runtime of their own.

mod config;
mod convert;
mod counters;
mod exporter;
mod fault;
mod http_client;
mod open;
mod otlp;
mod queue;
mod record;
mod report;
mod sampler;
mod shown;
#[cfg(test)]
mod testing;
mod transport;
mod worker;

pub(crate) use config::{Compression, Endpoint, ExportConfig, ExporterKind, Protocol};
pub(crate) use counters::{DropReason, TelemetryCounters};
pub(crate) use exporter::{Exporter, start};
pub(crate) use open::OpenSpan;
pub(crate) use queue::SpanQueue;
pub use record::SpanKind;
pub(crate) use record::{
    Attribute, Attributed, SharedText, SpanAttributes, SpanName, SpanRecord, SpanStatus,
    TakeAttribute, Value, ValueRef,
};
pub(crate) use sampler::Sampler;
