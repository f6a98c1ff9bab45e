//! Structured logs: one line an event on stdout, written by copying bytes that were escaped once.
//! `kit` starts the logger and installs its layer; `http` writes the line that closes a request.
//!
//! An event or a settled request becomes a [`line`], in the [`format`] asked for, in a buffer of the
//! thread's own ([`scratch`]); the finished line goes to the [`sink`], whose thread writes it out.

mod captured;
mod clock;
mod fields;
mod format;
mod json;
mod key;
mod layer;
mod line;
mod logger;
mod muted;
mod pretty;
mod request_line;
mod scratch;
mod sink;
mod value;

#[cfg(test)]
mod tests;

pub(crate) use captured::Captured;
pub(crate) use format::Format;
pub(crate) use layer::layer;
pub(crate) use logger::Logger;
pub(crate) use request_line::RequestLine;
pub(crate) use sink::LostLines;
