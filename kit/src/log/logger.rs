//! The logger: what `kit`, `http` and the `tracing` layer write lines with.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::Level;

use super::Format;
use super::clock;
use super::format::{Head, Message};
use super::line::Line;
use super::panic_line::PanicLine;
use super::recorder::Told;
use super::request_json;
use super::request_keyed::{Keyed, Keys};
use super::request_line::{self, RequestLine};
use super::scratch::{self, Scratch};
use super::service::{Service, WrittenService};
use super::sink::{LineCounts, Sink};
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
    service: Arc<WrittenService>,
    request_keys: Keys,
    /// Set when the lines of requests can be written straight: in `json`, with nothing hidden.
    straight: Option<request_json::Heads>,
    sink: Sink,
    counts: Arc<Counts>,
}

/// Lines that never came to the sink.
#[derive(Debug, Default)]
pub(super) struct Counts {
    rate_limited: AtomicU64,
    recorder_full: AtomicU64,
}

impl Counts {
    pub(super) fn rate_limited(&self) {
        self.rate_limited.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn recorder_full(&self) {
        self.recorder_full.fetch_add(1, Ordering::Relaxed);
    }
}

impl Logger {
    /// Writes to standard output.
    ///
    /// # Errors
    /// When the sink's thread cannot be started.
    pub(crate) fn stdout(format: Format, service: &Service<'_>) -> io::Result<Self> {
        Self::to_writer(format, service, Box::new(io::stdout()))
    }

    /// Writes to `writer`, a batch of whole lines at a time, flushing after each.
    ///
    /// # Errors
    /// When the sink's thread cannot be started.
    pub(crate) fn to_writer(
        format: Format,
        service: &Service<'_>,
        writer: Box<dyn Write + Send>,
    ) -> io::Result<Self> {
        let service = Arc::new(format.service(service));
        let note = {
            let service = Arc::clone(&service);
            move |dropped, batch: &mut Vec<u8>| note_dropped(format, &service, dropped, batch)
        };
        let sink = Sink::start(writer, note)?;
        let request_keys = Keys::new(format);
        Ok(Self(Arc::new(Shared {
            format,
            straight: (format == Format::Json && !request_keys.hide_any())
                .then(|| request_json::Heads::new(&service)),
            service,
            request_keys,
            sink,
            counts: Arc::default(),
        })))
    }

    /// Writes the line that closes a request, unless the filter in force hides it
    /// (target `bellwether::request`) or no layer of a kit is installed. Before it come the
    /// events that the recorder kept, if the request failed or was slow.
    pub(crate) fn request(&self, line: &RequestLine<'_>) {
        let recording = line.context.recording.close();
        let told = recording.and_then(|recording| recording.settle(self, line));
        if request_line::is_shown(line) {
            self.write_request(line, told);
        }
    }

    fn write_request(&self, line: &RequestLine<'_>, told: Option<Told>) {
        let Shared { straight, sink, .. } = &*self.0;
        scratch::with(|scratch| {
            let Scratch {
                page, clock, out, ..
            } = scratch;
            let heads = straight.as_ref();
            let straight =
                heads.and_then(|heads| request_json::write(page, clock, out, heads, line));
            if let Some(written) = straight
                && told.is_none()
                && line.shown.is_empty()
            {
                return sink.push(written);
            }
            let begun = straight.and_then(|written| written.strip_suffix(request_json::END));
            let head = line.head();
            out.clear();
            let mut out = match begun {
                Some(begun) => {
                    out.extend_from_slice(begun);
                    Line::begun(Format::Json, scratch, &head)
                }
                None => self.begin_request(scratch, &head, line),
            };
            line.shown(&mut out);
            if let Some(told) = told {
                told.fields(&mut out);
            }
            out.end();
            sink.push(&scratch.out);
        });
    }

    /// A line of any format, with the fields that any request has.
    fn begin_request<'a>(
        &'a self,
        scratch: &'a mut Scratch,
        head: &'a Head<'a>,
        line: &RequestLine<'_>,
    ) -> Line<'a> {
        let Shared {
            format,
            service,
            request_keys,
            ..
        } = &*self.0;
        let mut out = Line::begin(*format, service, scratch, head);
        out.append(|out| format.request(out, line));
        line.fields(&mut Keyed {
            keys: request_keys,
            line: &mut out,
        });
        out
    }

    /// Writes the line of a panic, whatever the filters say.
    pub(super) fn panic(&self, line: &PanicLine<'_>) {
        self.write(&line.head(), |out| line.fields(out));
    }

    /// Waits until every line written so far is out, at most `timeout`. False when time ran out.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        self.0.sink.flush(timeout)
    }

    /// What became of the lines so far.
    pub(crate) fn line_counts(&self) -> LineCounts {
        let counts = &self.0.counts;
        LineCounts {
            rate_limited: counts.rate_limited.load(Ordering::Relaxed),
            recorder_full: counts.recorder_full.load(Ordering::Relaxed),
            ..self.0.sink.counts()
        }
    }

    pub(super) fn counts(&self) -> &Arc<Counts> {
        &self.0.counts
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
            .field("lines", &self.line_counts())
            .finish_non_exhaustive()
    }
}

fn note_dropped(format: Format, service: &WrittenService, dropped: u64, batch: &mut Vec<u8>) {
    let head = Head {
        at: clock::now(),
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
    /// Writes what the sink writes when it had to drop lines.
    pub(super) fn write_dropped_note(&self, dropped: u64) {
        let mut line = Vec::new();
        note_dropped(self.0.format, &self.0.service, dropped, &mut line);
        self.0.sink.push(&line);
    }

    /// A logger that keeps its lines, for tests.
    pub(crate) fn capture(format: Format, service: &str) -> (Self, super::Captured) {
        let service = Service {
            name: service,
            resource: &[],
            project: None,
        };
        Self::captured(format, &service).unwrap()
    }
}
