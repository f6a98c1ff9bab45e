//! The logger: what `kit`, `http` and the `tracing` layer write lines with.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::Level;

use super::Format;
use super::format::{Head, Message};
use super::line::Line;
use super::request_line::{self, RequestLine};
use super::scratch;
use super::sink::{LostLines, Sink};
use super::value::Value;

/// The target of the log's own lines.
pub(super) const TARGET: &str = "bellwether::log";

/// Where lines go and how they look; cheap to clone, shared by the tracing layer and `http`.
///
/// Lines are written by a thread of the logger's own, which ends, after the last line, when the last
/// clone is dropped. What the process has not flushed when it exits may be lost.
#[derive(Clone)]
pub(crate) struct Logger(Arc<Shared>);

struct Shared {
    format: Format,
    /// The service's name, as the format writes it.
    service: Arc<[u8]>,
    request_keys: request_line::Keys,
    sink: Sink,
}

impl Logger {
    /// Writes to standard output.
    ///
    /// # Errors
    /// When the sink's thread cannot be started.
    pub(crate) fn stdout(format: Format, service: &str) -> io::Result<Self> {
        Self::to_writer(format, service, Box::new(io::stdout()))
    }

    /// Writes to `writer`, a batch of whole lines at a time, flushing after each.
    ///
    /// # Errors
    /// When the sink's thread cannot be started.
    pub(crate) fn to_writer(
        format: Format,
        service: &str,
        writer: Box<dyn Write + Send>,
    ) -> io::Result<Self> {
        let service: Arc<[u8]> = format.service(service).into();
        let note = {
            let service = Arc::clone(&service);
            move |dropped, batch: &mut Vec<u8>| note_dropped(format, &service, dropped, batch)
        };
        let sink = Sink::start(writer, note)?;
        Ok(Self(Arc::new(Shared {
            format,
            service,
            request_keys: request_line::Keys::new(format),
            sink,
        })))
    }

    /// Writes the line that closes a request, unless the filter in force hides it
    /// (target `bellwether::request`) or no [`layer`](super::layer()) is installed.
    pub(crate) fn request(&self, line: &RequestLine<'_>) {
        if request_line::is_shown(line) {
            self.write(&line.head(), |out| line.fields(&self.0.request_keys, out));
        }
    }

    /// Waits until every line written so far is out, at most `timeout`. False when time ran out.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        self.0.sink.flush(timeout)
    }

    /// Lines lost so far.
    pub(crate) fn lost(&self) -> LostLines {
        self.0.sink.lost()
    }

    pub(super) fn format(&self) -> Format {
        self.0.format
    }

    /// Makes a line of `head` and what `fields` adds, and queues it.
    pub(super) fn write(&self, head: &Head<'_>, fields: impl FnOnce(&mut Line<'_>)) {
        scratch::with(|scratch| {
            let mut line = Line::begin(self.0.format, &self.0.service, scratch, head);
            fields(&mut line);
            line.end();
            self.0.sink.push(&scratch.out);
        });
    }
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger")
            .field("format", &self.0.format)
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

fn note_dropped(format: Format, service: &[u8], dropped: u64, batch: &mut Vec<u8>) {
    let head = Head {
        at: SystemTime::now(),
        level: Level::WARN,
        target: TARGET,
        message: Message::Text(
            "log lines were dropped: they came faster than they could be written",
        ),
        ids: None,
    };
    scratch::with(|scratch| {
        let mut line = Line::begin(format, service, scratch, &head);
        line.field("dropped", &Value::U64(dropped));
        line.end();
        batch.extend_from_slice(&scratch.out);
    });
}

#[cfg(test)]
impl Logger {
    /// A logger that keeps its lines, for tests.
    pub(crate) fn capture(format: Format, service: &str) -> (Self, super::Captured) {
        Self::captured(format, service).unwrap()
    }
}
