//! Zipkin JSON v2 and Zipkin protobuf to OTLP protobuf (zipkin-api, zipkin2-api.yaml and zipkin.proto; OpenTelemetry
//! specification, trace/sdk_exporters/zipkin.md, read backwards). What OTLP has no field for becomes an attribute that
//! `export::zipkin` takes back: `zipkin.debug`, `zipkin.id` and `zipkin.parent_id` (shared spans), `network.local.*`.

mod annotation;
mod attribute;
mod batch;
mod endpoint;
mod json;
mod protobuf;
mod span;
mod tags;

pub use json::zipkin_json;
pub use protobuf::zipkin_protobuf;

/// Memory beside its body, as a multiple of it, that is enough for any body: the smallest spans grow most, for each has
/// its place in the batch and its ids in full.
pub const MOST_MEMORY: usize = 24;
