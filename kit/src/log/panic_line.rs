//! The line of a panic, wherever in the process it happened. Made by `panics`.

use std::backtrace::Backtrace;
use std::fmt;
use std::panic::Location;

use tracing::Level;

use super::clock;
use super::fields::SpanFields;
use super::format::{self, Format, Head, Ids, Message};
use super::line::Line;
use super::value::Value;
use crate::context::SpanIdentity;
use crate::redact;

/// What a stack trace has of a panic's text: the rest of its room is for the frames.
const MAX_TEXT_BYTES: usize = 1_024;

/// The target of the lines of panics.
pub(super) const TARGET: &str = "bellwether::panic";

/// Everything that is known of a panic when its hook runs.
#[derive(Debug)]
pub(super) struct PanicLine<'a> {
    pub(super) text: &'a str,
    pub(super) location: Option<&'a Location<'a>>,
    pub(super) thread: Option<&'a str>,
    /// Taken when `RUST_BACKTRACE` asks for it.
    pub(super) backtrace: Option<&'a Backtrace>,
    /// Of the request that it happened in.
    pub(super) identity: Option<&'a SpanIdentity>,
    /// Of the spans that it happened in, nearest first.
    pub(super) spans: &'a [SpanFields],
}

impl PanicLine<'_> {
    pub(super) fn head(&self) -> Head<'_> {
        Head {
            at: clock::now(),
            level: Level::ERROR,
            target: TARGET,
            message: Message::Panic(self),
            ids: self
                .identity
                .map(|identity| Ids::new(&identity.context, identity.span_id)),
        }
    }

    /// The names of OpenTelemetry's semantic conventions.
    pub(super) fn fields(&self, line: &mut Line<'_>) {
        let format = line.format();
        line.append(|out| format.panic(out, self));
        line.field("exception.type", &Value::Text("panic"));
        line.field("exception.message", &Value::Text(self.text));
        if let Some(location) = self.location {
            if !format.tells_locations() {
                line.field("code.file.path", &Value::Text(location.file()));
                let number = location.line().into();
                line.field("code.line.number", &Value::U64(number));
            }
            let column = location.column().into();
            line.field("code.column.number", &Value::U64(column));
        }
        if let Some(thread) = self.thread {
            line.field("thread.name", &Value::Text(thread));
        }
        if let (Format::Json | Format::Ecs, Some(trace)) = (format, self.stack_trace()) {
            line.field("exception.stacktrace", &Value::Debug(&trace));
        }
        for fields in self.spans {
            line.span(fields);
        }
    }

    /// The backtrace as Rust prints it, below where it happened and what it said.
    pub(super) fn stack_trace(&self) -> Option<StackTrace<'_>> {
        self.backtrace.map(|backtrace| StackTrace {
            line: self,
            backtrace,
        })
    }

    pub(super) fn source(&self) -> Option<format::Location<'_>> {
        self.location.map(|location| format::Location {
            file: location.file(),
            line: Some(location.line()),
            module: None,
        })
    }
}

/// A panic's text and backtrace in one.
#[derive(Clone, Copy)]
pub(super) struct StackTrace<'a> {
    line: &'a PanicLine<'a>,
    backtrace: &'a Backtrace,
}

impl fmt::Debug for StackTrace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("panicked")?;
        if let Some(location) = self.line.location {
            write!(f, " at {location}")?;
        }
        let text = redact::cut(self.line.text, MAX_TEXT_BYTES);
        write!(f, ":\n{text}\nstack backtrace:\n{}", self.backtrace)
    }
}
