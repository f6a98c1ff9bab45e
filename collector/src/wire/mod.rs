//! Borrowed views over OTLP protobuf bytes: nothing here decodes a batch into structs. Called by
//! `intake` (walk once), `views` (kept traces) and `export` (Zipkin output).

mod attributes;
mod span;
mod walk;

pub use attributes::{AnyValueRef, Attributes, KeyValueRef};
pub use span::{EventRef, LinkRef, ResourceRef, ScopeRef, SpanKind, SpanRef, StatusCode};
pub use walk::{WireError, walk};
