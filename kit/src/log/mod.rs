//! Structured logs: one line an event on stdout, written by copying bytes that were escaped once.
//! `kit` starts it and installs its layer; `http` writes the line that closes a request.

mod request_line;

pub(crate) use request_line::RequestLine;

/// How lines look (`BELLWETHER_LOG_FORMAT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Pretty,
}

/// Where lines go and how they look; cheap to clone, shared by the tracing layer and `http`.
#[derive(Clone, Debug)]
pub(crate) struct Logger {}

impl Logger {
    /// Writes the line that closes a request, unless the filter in force hides it
    /// (target `bellwether::request`).
    pub(crate) fn request(&self, _line: &RequestLine<'_>) {
        unimplemented!()
    }

    /// Waits until every line written so far is out, at most `timeout`. False when time ran out.
    pub(crate) fn flush(&self, _timeout: std::time::Duration) -> bool {
        unimplemented!()
    }

    /// Lines dropped because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        unimplemented!()
    }
}
