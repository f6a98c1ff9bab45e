//! What a Zipkin span holds until all of it is read, for its parts come in any order and bear on each other. Everything
//! that does not is written to the batch at once.

use std::borrow::Cow;

use super::attribute::{put_number, put_text, put_true};
use super::endpoint::Endpoint;
use crate::wire::span::{SpanKind, StatusCode};
use crate::wire::transcode::proto_writer::{Expected, ProtoWriter};

/// A span under way. Zeros and empty texts are what is absent.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    /// Shorter ones are padded on the left.
    pub(super) trace_id: [u8; 16],
    pub(super) id: [u8; 8],
    pub(super) parent_id: [u8; 8],
    pub(super) kind: SpanKind,
    pub(super) timestamp_micros: u64,
    pub(super) duration_micros: u64,
    pub(super) debug: bool,
    pub(super) shared: bool,
    pub(super) local: Endpoint<'a>,
    pub(super) remote: Endpoint<'a>,
    /// `otel.scope.name`.
    pub(super) scope_name: Cow<'a, str>,
    /// `otel.scope.version`.
    pub(super) scope_version: Cow<'a, str>,
    /// `otel.status_code`.
    pub(super) status: StatusCode,
    /// `otel.status_description`.
    pub(super) status_message: Cow<'a, str>,
    /// `error`, unless it is `false`.
    pub(super) error: Option<Cow<'a, str>>,
    pub(super) marks: Marks,
}

/// Times of the annotations by which Zipkin's first format told kind and duration; they still come with some spans of
/// the second one. Microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    client_sent: u64,
    client_received: u64,
    server_received: u64,
    server_sent: u64,
    message_sent: u64,
    message_received: u64,
}

impl Marks {
    /// Takes note of an annotation, if it is one of those.
    pub(super) fn note(&mut self, annotation: &str, micros: u64) {
        let mark = match annotation {
            "cs" => &mut self.client_sent,
            "cr" => &mut self.client_received,
            "sr" => &mut self.server_received,
            "ss" => &mut self.server_sent,
            "ms" => &mut self.message_sent,
            "mr" => &mut self.message_received,
            _ => return,
        };
        *mark = micros;
    }

    fn kind(&self) -> Option<SpanKind> {
        [
            (self.client_sent, SpanKind::Client),
            (self.server_received, SpanKind::Server),
            (self.client_received, SpanKind::Client),
            (self.server_sent, SpanKind::Server),
            (self.message_sent, SpanKind::Producer),
            (self.message_received, SpanKind::Consumer),
        ]
        .into_iter()
        .find(|&(micros, _)| micros != 0)
        .map(|(_, kind)| kind)
    }

    /// Start and end of a span of `kind`; zeros are not known.
    fn times(&self, kind: SpanKind) -> (u64, u64) {
        match kind {
            SpanKind::Client => (self.client_sent, self.client_received),
            SpanKind::Server => (self.server_received, self.server_sent),
            SpanKind::Producer => (self.message_sent, 0),
            SpanKind::Consumer => (self.message_received, 0),
            SpanKind::Internal | SpanKind::Unspecified => (0, 0),
        }
    }
}

impl Draft<'_> {
    /// # Errors
    /// Says which id is missing.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.trace_id == [0; 16] {
            return Err("it has no `traceId`, or one of zeros".to_owned());
        }
        if self.id == [0; 8] {
            return Err("it has no `id`, or one of zeros".to_owned());
        }
        Ok(())
    }

    /// Settles the kind and writes every field that was not written while reading, whose attributes begin at `start`.
    ///
    /// # Errors
    /// Times beyond what OTLP can tell.
    pub(super) fn write_rest(&mut self, out: &mut ProtoWriter, start: usize) -> Result<(), String> {
        if self.kind == SpanKind::Unspecified {
            // Zipkin has no name for work inside a service; every span of it that has no kind is that.
            self.kind = self.marks.kind().unwrap_or(SpanKind::Internal);
        }
        out.varint(6, self.kind as u64);
        self.write_times(out)?;
        self.write_status(out);
        self.local.write_local(out, start);
        self.remote.write_remote(out, start);
        if self.debug {
            put_true(out, 9, DEBUG);
        }
        Ok(())
    }

    fn write_times(&self, out: &mut ProtoWriter) -> Result<(), String> {
        let (mark_start, mark_end) = self.marks.times(self.kind);
        let start = match self.timestamp_micros {
            0 => mark_start,
            micros => micros,
        };
        let duration = match self.duration_micros {
            0 if start != 0 => mark_end.saturating_sub(start),
            micros => micros,
        };
        let end = start.checked_add(duration).and_then(nanos);
        let (Some(start), Some(end)) = (nanos(start), end) else {
            return Err(format!(
                "timestamp {start} and duration {duration} are beyond the year 2554; both are microseconds"
            ));
        };
        // Zero stands for a time that is not known, as in OTLP, which has no duration but from a start to an end.
        match (start, duration) {
            (0, 0) => {}
            (0, duration) => put_number(out, 9, DURATION, duration),
            (start, 0) => out.fixed64(7, start),
            (start, _) => {
                out.fixed64(7, start);
                out.fixed64(8, end);
            }
        }
        Ok(())
    }

    /// Any value of the tag `error` but `false` is failure to Zipkin, whatever else a span says. It is the message, too,
    /// unless it says no more than that and another tag does.
    fn write_status(&self, out: &mut ProtoWriter) {
        let described = &*self.status_message;
        let (code, message) = match self.error.as_deref() {
            Some("" | "true") if !described.is_empty() => (StatusCode::Error, described),
            Some(message) => (StatusCode::Error, message),
            None => (self.status, described),
        };
        if code != StatusCode::Unset {
            let status = out.open(15, Expected::Small);
            out.text(2, message);
            out.varint(3, code as u64);
            out.close(status);
        }
        let is_told = code != StatusCode::Unset && message == described;
        if !(described.is_empty() || is_told) {
            put_text(out, 9, STATUS_MESSAGE, described);
        }
    }
}

/// As a tag of a span that has no status, or another message.
const STATUS_MESSAGE: &str = "otel.status_description";
/// How long a span took whose start is not known, in microseconds.
const DURATION: &str = "zipkin.duration";
/// That a span was to be reported whatever the sampling said.
const DEBUG: &str = "zipkin.debug";

fn nanos(micros: u64) -> Option<u64> {
    micros.checked_mul(1_000)
}

/// An event's time; one beyond what OTLP can tell is not known.
pub(super) fn event_nanos(micros: u64) -> u64 {
    nanos(micros).unwrap_or_default()
}
