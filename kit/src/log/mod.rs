//! Structured logs: one line an event on stdout, written by copying bytes that were escaped once.
//! `kit` starts the logger and installs its layer; `http` writes the line that closes a request.
//!
//! An event or a settled request becomes a [`line`], in the [`format`] asked for, in a buffer of the
//! thread's own ([`scratch`]); the finished line goes to the [`sink`], whose thread writes it out.

mod captured;
mod clock;
mod ecs;
mod fields;
mod format;
mod gcp;
mod json;
mod key;
mod layer;
mod line;
mod logger;
mod muted;
mod panic_line;
mod panics;
mod pretty;
mod records;
mod request_line;
mod scratch;
mod service;
mod sink;
mod value;

#[cfg(test)]
mod tests;

pub(crate) use captured::Captured;
pub(crate) use format::Format;
pub(crate) use layer::layer;
pub(crate) use logger::Logger;
pub(crate) use panics::{Watch, tell_panics, tell_panics_here, text as panic_text};
pub(crate) use records::take_records;
pub(crate) use request_line::{RequestLine, RpcLine};
pub(crate) use service::Service;
pub(crate) use sink::LostLines;
