//! How lines look: the one place that decides, for each format, which keys it has and in which order.
//! A new dialect is a variant here and a module beside `json` with the same functions.

use std::fmt;
use std::time::Duration;

use tracing::{Event, Level, Metadata};

use super::clock::Clock;
use super::key::{Care, Key, WrittenKey};
use super::panic_line::PanicLine;
use super::request_line::RequestLine;
use super::service::{Service, WrittenService};
use super::value::{EachField, Value};
use super::{ecs, gcp, json, pretty};
use crate::context::{RequestContext, SpanId, SpanIdentity};
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
    /// JSON as Cloud Logging reads it.
    Gcp,
    /// JSON in Elastic Common Schema.
    Ecs,
    /// One line for human readers; `ansi` colours it.
    Pretty { ansi: bool },
}

/// What every line has besides fields.
pub(super) struct Head<'a> {
    /// Since 1970-01-01T00:00:00Z.
    pub(super) at: Duration,
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) message: Message<'a>,
    pub(super) ids: Option<Ids<'a>>,
}

/// Where a line's message comes from.
pub(super) enum Message<'a> {
    Text(&'a str),
    /// The message, if there was one, of an event that was recorded, with its call site.
    Recorded(Option<&'a str>, &'static Metadata<'static>),
    /// The event's field `message`; empty when it has none.
    Event(&'a Event<'a>),
    /// The same of a record of the `log` crate, with what that says of itself.
    Record(&'a Event<'a>, &'a Metadata<'a>),
    Panic(&'a PanicLine<'a>),
}

/// Where in the source code a line comes from.
pub(super) struct Location<'a> {
    pub(super) file: &'a str,
    pub(super) line: Option<u32>,
    pub(super) module: Option<&'a str>,
}

/// The request and the span that a line belongs to.
#[derive(Clone, Copy)]
pub(super) struct Ids<'a> {
    pub(super) context: &'a RequestContext,
    pub(super) span_id: SpanId,
    /// What [`Format::ids`] has written of them before; empty when it has not.
    pub(super) written: &'a [u8],
}

impl<'a> Ids<'a> {
    pub(super) fn new(context: &'a RequestContext, span_id: SpanId) -> Self {
        Self {
            context,
            span_id,
            written: &[],
        }
    }
}

impl Format {
    /// Whether the format has a key of this name itself.
    pub(super) fn is_reserved(self, name: &str) -> bool {
        match self {
            Self::Json => json::is_reserved(name),
            Self::Gcp => gcp::is_reserved(name),
            Self::Ecs => ecs::is_reserved(name),
            Self::Pretty { .. } => pretty::is_reserved(name),
        }
    }

    /// What the format calls the field that is `name` to everybody else.
    pub(super) fn own_name(self, name: &'static str) -> &'static str {
        match self {
            Self::Json | Self::Gcp | Self::Pretty { .. } => name,
            Self::Ecs => ecs::own_name(name),
        }
    }

    /// Whether a closing line says this elsewhere than in a field of that name.
    pub(super) fn says_otherwise(self, name: &str) -> bool {
        match self {
            Self::Json | Self::Pretty { .. } => false,
            Self::Gcp => gcp::says_otherwise(name),
            Self::Ecs => ecs::says_otherwise(name),
        }
    }

    /// Whether the heads of lines tell where in the source code they come from.
    pub(super) fn tells_locations(self) -> bool {
        match self {
            Self::Json | Self::Pretty { .. } => false,
            Self::Gcp | Self::Ecs => true,
        }
    }

    /// Whether programs read the lines, not people.
    pub(super) fn is_structured(self) -> bool {
        !matches!(self, Self::Pretty { .. })
    }

    /// The service as each line has it.
    pub(super) fn service(self, service: &Service<'_>) -> WrittenService {
        match self {
            Self::Json => json::service(service.name),
            Self::Gcp => gcp::service(service),
            Self::Ecs => ecs::service(service),
            Self::Pretty { .. } => WrittenService::default(),
        }
    }

    /// Begins a line, as far as its message.
    pub(super) fn before_message(self, out: &mut Vec<u8>, clock: &mut Clock, head: &Head<'_>) {
        match self {
            Self::Json => json::before_message(out, clock, head),
            Self::Gcp => gcp::before_message(out, clock, head),
            Self::Ecs => ecs::before_message(out, clock, head),
            Self::Pretty { ansi } => pretty::before_message(out, clock, ansi, head),
        }
    }

    /// Appends a line's message, without the secrets in it.
    pub(super) fn message(self, out: &mut Vec<u8>, message: &Value<'_>) {
        let start = out.len();
        match self {
            Self::Json | Self::Gcp | Self::Ecs => json::message(out, message),
            Self::Pretty { .. } => pretty::message(out, message),
        }
        redact::in_value(out, start);
    }

    /// Writes, once for many lines, what each of them has of a request and a span; nothing where that is not all in
    /// one place, or no format of services.
    pub(super) fn ids(self, out: &mut Vec<u8>, identity: &SpanIdentity) {
        if self == Self::Json {
            json::push_ids(out, Ids::new(&identity.context, identity.span_id));
        }
    }

    /// Goes on behind the message, as far as the fields.
    pub(super) fn behind_message(
        self,
        out: &mut Vec<u8>,
        service: &WrittenService,
        head: &Head<'_>,
    ) {
        match self {
            Self::Json => json::behind_message(out, &service.service, head),
            Self::Gcp => gcp::behind_message(out, service, head),
            Self::Ecs => ecs::behind_message(out, service, head),
            Self::Pretty { .. } => {}
        }
    }

    /// Appends what stands before a field's value.
    pub(super) fn key(self, out: &mut Vec<u8>, key: Key) {
        match self {
            Self::Json | Self::Gcp | Self::Ecs => json::key(out, key),
            Self::Pretty { ansi } => pretty::key(out, ansi, key),
        }
    }

    /// Appends a field; false, and nothing appended, when it could take `out` beyond `limit` bytes.
    // With the value's and the caller's code one function: calls would cost as much as the work.
    #[inline(always)]
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
        let value = match key.care {
            Care::Hidden => hidden(value),
            Care::Searched | Care::Harmless => value,
        };
        let start = out.len();
        let end = text_end(out, limit);
        // Most texts: no secret is in one that is bare.
        if let Value::Text(text) = value
            && !matches!(self, Self::Pretty { .. })
            && json::push_bare(out, text, end)
        {
            return true;
        }
        match self {
            Self::Json | Self::Gcp | Self::Ecs => json::value(out, value, end),
            Self::Pretty { .. } => pretty::value(out, value, end),
        }
        if key.care == Care::Searched && value.is_free() {
            redact::in_value(out, start);
        }
        true
    }

    /// Appends what a closing line says in a form of the format's own; it is bounded.
    pub(super) fn request(self, out: &mut Vec<u8>, line: &RequestLine<'_>) {
        match self {
            Self::Json | Self::Pretty { .. } => {}
            Self::Gcp => gcp::request(out, line),
            Self::Ecs => ecs::request(out, line),
        }
    }

    /// The same of a panic's line.
    pub(super) fn panic(self, out: &mut Vec<u8>, line: &PanicLine<'_>) {
        match self {
            Self::Json | Self::Ecs | Self::Pretty { .. } => {}
            Self::Gcp => gcp::panic(out, line),
        }
    }

    /// Ends a line.
    pub(super) fn tail(self, out: &mut Vec<u8>, head: &Head<'_>) {
        match self {
            Self::Json | Self::Gcp | Self::Ecs => json::tail(out),
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
    /// The event whose fields bring the message, if they do.
    pub(super) fn is_of_event(&self) -> bool {
        matches!(self, Self::Event(_) | Self::Record(..))
    }

    /// Calls `take` with the message as it came, if there is one: for what goes through [`Format::message`] later.
    pub(super) fn unredacted(&self, mut take: impl FnMut(&Value<'_>)) {
        match self {
            Self::Text(text) | Self::Recorded(Some(text), _) => take(&Value::Text(text)),
            Self::Recorded(None, _) => {}
            Self::Panic(panic) => take(&Value::Debug(&format_args!("panicked: {}", panic.text))),
            Self::Event(event) | Self::Record(event, _) => {
                event.record(&mut EachField(|name, value: Value<'_>| {
                    if name == MESSAGE {
                        take(&value);
                    }
                }));
            }
        }
    }

    /// Where the line comes from, if it comes from one place: those of requests do not.
    pub(super) fn location(&self) -> Option<Location<'_>> {
        let metadata = match *self {
            Self::Text(_) => return None,
            Self::Panic(panic) => return panic.source(),
            Self::Event(event) => event.metadata(),
            Self::Recorded(_, metadata) => metadata,
            Self::Record(_, metadata) => metadata,
        };
        Some(Location {
            file: metadata.file()?,
            line: metadata.line(),
            module: metadata.module_path(),
        })
    }

    pub(super) fn is_panic(&self) -> bool {
        matches!(self, Self::Panic(_))
    }
}

/// The field that `tracing`'s macros put the message in.
pub(super) const MESSAGE: &str = "message";

/// Where text that begins at the end of `out` must end, so that a mark behind it fits too.
pub(super) fn text_end(out: &[u8], limit: usize) -> usize {
    (limit - MARK_BYTES).min(out.len() + MAX_VALUE_BYTES)
}

/// Appends the text that `write` gives, not escaped, as far as `end` allows; a mark behind it tells of a cut.
pub(super) fn push_text(
    out: &mut Vec<u8>,
    end: usize,
    write: impl FnOnce(&mut Within<'_>) -> fmt::Result,
) {
    let mut text = Within {
        out,
        end,
        cut: false,
    };
    if write(&mut text).is_err() {
        let cut = text.cut;
        push_failure(out, cut);
    }
}

/// Text up to a length.
pub(super) struct Within<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
    cut: bool,
}

impl fmt::Write for Within<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= self.end.saturating_sub(self.out.len()) {
            self.out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        push_within(self.out, text, self.end).inspect_err(|_| self.cut = true)
    }
}

/// Appends `text` as far as `end` allows; an error, which ends the formatting, when it does not fit.
pub(super) fn push_within(out: &mut Vec<u8>, text: &str, end: usize) -> fmt::Result {
    let room = end.saturating_sub(out.len());
    if text.len() <= room {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    let cut = (0..=room).rev().find(|at| text.is_char_boundary(*at));
    let cut = cut.unwrap_or_default();
    out.extend_from_slice(text.get(..cut).unwrap_or_default().as_bytes());
    Err(fmt::Error)
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
