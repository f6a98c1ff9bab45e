//! Zipkin JSON v2 and Zipkin protobuf to OTLP protobuf (zipkin-api, zipkin2-api.yaml and zipkin.proto; OpenTelemetry
//! specification, trace/sdk_exporters/zipkin.md, read backwards). What OTLP has no field for becomes an attribute that
//! `wire::zipkin` takes back: `zipkin.debug`, `zipkin.duration` (without a start), `zipkin.id` and `zipkin.parent_id` (shared spans), `network.local.*`.

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

/// Memory beside its body, as a multiple of it, that is enough for any body when a KiB is added for the first
/// group of spans. Protobuf's smallest spans grow most: of one
/// of 15 bytes, 8 are two ids, which take 148 as its place in the batch, ids in full and kind; 5 are a service that no
/// span near it has, 175 as a group of its own; 2 are a port, 65 as an attribute that is gathered, with half as much to
/// grow into, and written. That is 26 times; every other field of a span grows less.
pub const MOST_MEMORY: usize = 28;
