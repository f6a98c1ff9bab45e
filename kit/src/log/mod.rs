//! Structured logs: one line an event on stdout, written by copying bytes that were escaped once.
//! `kit` starts the logger, `span` brings the events, `http` writes the line that closes a request.
//!
//! An event or a settled request becomes a [`line`], in the [`format`] asked for, in a buffer of the
//! thread's own ([`scratch`]); the finished line goes to the [`sink`], whose thread writes it out. Which
//! events become lines says [`control`]; those that do not may go to the [`recorder`] of their request.

mod captured;
mod clock;
mod control;
mod ecs;
mod events;
mod fields;
mod filter;
mod flood;
mod format;
mod gcp;
mod json;
mod kept;
mod key;
mod line;
mod logger;
mod muted;
mod panic_line;
mod panics;
mod place;
mod pretty;
mod recorder;
mod records;
mod request_json;
mod request_keyed;
mod request_line;
mod ring;
mod room;
mod scratch;
mod service;
mod sink;
mod sites;
mod span_values;
mod surroundings;
mod timer;
mod value;

#[cfg(test)]
mod tests;

pub(crate) use captured::Captured;
#[cfg(feature = "axum")]
pub(crate) use control::MAX_FILTER_TIME;
pub(crate) use control::{Control, LogControl};
pub(crate) use events::Events;
pub(crate) use filter::LogFilter;
pub(crate) use format::Format;
pub(crate) use logger::Logger;
pub(crate) use panics::{ToldHere, Watch, tell_panics, tell_panics_here, text as panic_text};
pub(crate) use recorder::{MIN_REQUEST_BYTES, Recorded, RecorderConfig, Recording};
pub(crate) use records::take_records;
pub(crate) use request_json::RouteField;
pub(crate) use request_line::{Received, RequestLine, RouteText, RpcLine};
pub(crate) use service::Service;
pub(crate) use sink::LineCounts;
pub(crate) use span_values::{SpanText, SpanValues};
pub(crate) use value::Value as FieldValue;
