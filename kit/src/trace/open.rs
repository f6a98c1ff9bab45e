//! A `tracing` span of a sampled request between its beginning and its end: `span` opens and closes it.

use std::time::{Instant, SystemTime};

use super::record::{SharedText, SpanAttributes, SpanKind, SpanRecord, SpanStatus};
use crate::context::{SpanId, SpanIdentity};
use crate::log::SpanValues;

/// The longest text attribute, in bytes; longer ones are cut at a character.
const MAX_TEXT: usize = 4_096;

/// What its record will need besides whose it is and its fields.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    parent: SpanId,
    start: SystemTime,
    /// Durations come from the monotonic clock: the system's may be set while a span is open.
    started: Instant,
}

impl OpenSpan {
    /// A span that begins now.
    pub(crate) fn below(parent: SpanId) -> Self {
        Self {
            parent,
            start: SystemTime::now(),
            started: Instant::now(),
        }
    }

    /// The record of the span, which ends now.
    pub(crate) fn close(
        &self,
        identity: &SpanIdentity,
        name: &'static str,
        values: &SpanValues,
    ) -> SpanRecord {
        SpanRecord {
            context: identity.context.clone(),
            span_id: identity.span_id,
            parent: Some(self.parent),
            parent_is_remote: false,
            link: None,
            kind: SpanKind::Internal,
            name: SharedText::Static(name),
            start: self.start,
            duration: self.started.elapsed(),
            attributes: SpanAttributes::Fields(values.cut(MAX_TEXT)),
            status: SpanStatus::Unset,
        }
    }
}
