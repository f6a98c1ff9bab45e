//! How lines look: the one place that decides, for each format, which keys it has and in which order.
//! A new dialect is a variant here and a module beside `json` with the same functions.

use std::time::SystemTime;

use tracing::{Event, Level};

use super::clock::Clock;
use super::key::{Care, Key, WrittenKey};
use super::value::{EachField, Value};
use super::{json, pretty};
use crate::context::{RequestContext, SpanId};
use crate::redact::{self, REDACTED};

/// The longest value written whole, in bytes as written; the rest is cut and marked.
const MAX_VALUE_BYTES: usize = 16 * 1024;

/// The room that a field's value needs to be begun: any number fits, or some text and the mark of a cut.
const MIN_VALUE_BYTES: usize = 128;

/// What the mark of a cut value and a closing quote take at most.
const MARK_BYTES: usize = 32;

/// How lines look (`BELLWETHER_LOG_FORMAT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One flat JSON object a line.
    Json,
    /// One line for human readers; `ansi` colours it.
    Pretty { ansi: bool },
}

/// What every line has besides fields.
pub(super) struct Head<'a> {
    pub(super) at: SystemTime,
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) message: Message<'a>,
    pub(super) ids: Option<Ids<'a>>,
}

/// Where a line's message comes from.
pub(super) enum Message<'a> {
    Text(&'a str),
    /// The event's field `message`; empty when it has none.
    Event(&'a Event<'a>),
}

/// The request and the span that a line belongs to.
#[derive(Clone, Copy)]
pub(super) struct Ids<'a> {
    pub(super) context: &'a RequestContext,
    pub(super) span_id: SpanId,
}

impl Format {
    /// Whether the format has a key of this name itself.
    pub(super) fn is_reserved(self, name: &str) -> bool {
        match self {
            Self::Json => json::is_reserved(name),
            Self::Pretty { .. } => pretty::is_reserved(name),
        }
    }

    /// The service's name as each line has it.
    pub(super) fn service(self, name: &str) -> Vec<u8> {
        match self {
            Self::Json => json::service(name),
            Self::Pretty { .. } => Vec::new(),
        }
    }

    /// Begins a line.
    pub(super) fn head(
        self,
        out: &mut Vec<u8>,
        clock: &mut Clock,
        service: &[u8],
        head: &Head<'_>,
    ) {
        match self {
            Self::Json => json::head(out, clock, service, head),
            Self::Pretty { ansi } => pretty::head(out, clock, ansi, head),
        }
    }

    /// Appends what stands before a field's value.
    pub(super) fn key(self, out: &mut Vec<u8>, key: Key) {
        match self {
            Self::Json => json::key(out, key),
            Self::Pretty { ansi } => pretty::key(out, ansi, key),
        }
    }

    /// Appends a field; false, and nothing appended, when it could take `out` beyond `limit` bytes.
    pub(super) fn field(
        self,
        out: &mut Vec<u8>,
        key: &WrittenKey,
        value: &Value<'_>,
        limit: usize,
    ) -> bool {
        if out.len() + key.bytes.len() + MIN_VALUE_BYTES > limit {
            return false;
        }
        out.extend_from_slice(&key.bytes);
        let end = text_end(out, limit);
        let value = match key.care {
            Care::Hidden => hidden(value),
            Care::Searched | Care::Harmless => value,
        };
        let start = out.len();
        match self {
            Self::Json => json::value(out, value, end),
            Self::Pretty { .. } => pretty::value(out, value, end),
        }
        if key.care == Care::Searched && value.is_free() {
            redact::in_value(out, start);
        }
        true
    }

    /// Ends a line.
    pub(super) fn tail(self, out: &mut Vec<u8>, head: &Head<'_>) {
        match self {
            Self::Json => json::tail(out),
            Self::Pretty { ansi } => pretty::tail(out, ansi, head),
        }
    }
}

/// What is shown for a secret. A boolean (`has_password=true`) gives nothing away.
#[cold]
fn hidden<'a, 'v>(value: &'v Value<'a>) -> &'v Value<'a> {
    match value {
        Value::Bool(_) => value,
        _ => &Value::Text(REDACTED),
    }
}

impl Message<'_> {
    /// Calls `write` with the message, if there is one, and takes the secrets out of what it has written.
    pub(super) fn write(&self, out: &mut Vec<u8>, mut write: impl FnMut(&mut Vec<u8>, &Value<'_>)) {
        let mut write = |value: &Value<'_>| {
            let start = out.len();
            write(out, value);
            redact::in_value(out, start);
        };
        match self {
            Self::Text(text) => write(&Value::Text(text)),
            Self::Event(event) => event.record(&mut EachField(|name, value: Value<'_>| {
                if name == MESSAGE {
                    write(&value);
                }
            })),
        }
    }
}

/// The field that `tracing`'s macros put the message in.
pub(super) const MESSAGE: &str = "message";

/// Where text that begins at the end of `out` must end, so that a mark behind it fits too.
pub(super) fn text_end(out: &[u8], limit: usize) -> usize {
    (limit - MARK_BYTES).min(out.len() + MAX_VALUE_BYTES)
}

/// Appends `text` as far as `end` allows; an error, which ends the formatting, when it does not fit.
pub(super) fn push_within(out: &mut Vec<u8>, text: &str, end: usize) -> std::fmt::Result {
    let room = end.saturating_sub(out.len());
    if text.len() <= room {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    let cut = (0..=room).rev().find(|at| text.is_char_boundary(*at));
    let cut = cut.unwrap_or_default();
    out.extend_from_slice(text.get(..cut).unwrap_or_default().as_bytes());
    Err(std::fmt::Error)
}

/// Marks a value whose formatting failed: because it was cut at `end`, or by itself.
pub(super) fn push_failure(out: &mut Vec<u8>, cut: bool) {
    let mark = if cut {
        // A password must not stay because the `@` behind it does not.
        if let Some(start) = redact::unfinished(out) {
            out.truncate(start);
        }
        "…[truncated]"
    } else {
        "…[formatting failed]"
    };
    out.extend_from_slice(mark.as_bytes());
}
