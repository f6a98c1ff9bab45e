//! Borrowed views over OTLP protobuf bytes: nothing here decodes a batch into structs. Called by
//! `intake` (walk or count once), `views` (kept traces) and `export` (sampling). `transcode` makes such bytes of JSON and
//! Zipkin for `receive`, `zipkin` makes Zipkin's JSON of them for `export` and `web`.

#[cfg(test)]
pub(crate) mod any_request;
mod attributes;
mod count;
mod details;
mod json;
#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
mod proto_writer;
mod reader;
mod retain;
mod span;
#[cfg(test)]
pub(crate) mod test_support;
mod threshold;
pub(crate) mod trace_state;
mod transcode;
mod walk;
#[cfg(test)]
mod walk_tests;
mod weight;
pub mod zipkin;

pub use attributes::{AnyValueRef, ArrayValues, Attributes, KeyValueRef};
pub use count::{count_data_points, count_log_records};
pub use details::{Detail, Details};
pub use json::{attributes_to_json, to_json};
pub use retain::{Fate, Retained, retain};
pub use span::{EventRef, LinkRef, ResourceRef, ScopeRef, SpanKind, SpanRef, StatusCode};
pub(crate) use threshold::{Randomness, Threshold};
pub use transcode::{
    MOST_MEMORY, TranscodeError, most_otlp_json, most_otlp_metrics_json, otlp_json, otlp_logs_json,
    otlp_metrics_json, zipkin_json, zipkin_protobuf,
};
pub use walk::{WireError, walk};
pub use weight::MAX_WEIGHT;
