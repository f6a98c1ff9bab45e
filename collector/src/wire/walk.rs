//! The walk: one pass over a request's bytes that checks framing, ids and the UTF-8 of what it reads.

use super::span::SpanRef;

/// Why bytes are no acceptable `ExportTraceServiceRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("truncated protobuf: a field at byte {0} goes past the end")]
    Truncated(usize),
}

/// Calls `visit` for every span of `request`, in order; returns how many there were.
///
/// # Errors
/// The first fault found; `visit` may have been called for spans before it.
pub fn walk<'a>(_request: &'a [u8], _visit: impl FnMut(SpanRef<'a>)) -> Result<usize, WireError> {
    unimplemented!()
}
