//! One line being made: its head, then fields in order of precedence. Used by `events`, `request_line`
//! and the sink's note of dropped lines, through [`Logger::write`](super::Logger).

use tracing::Event;

use super::fields::{Keys, SpanFields};
use super::format::{Format, Head, MESSAGE};
use super::key::{WrittenKey, WrittenKeys};
use super::records;
use super::scratch::Scratch;
use super::service::WrittenService;
use super::value::{EachField, Value};

/// The longest line, in bytes, but for secrets taken out: the mark may be longer than what it stands for.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// What the fields may fill: the rest is for the end of the line.
const MAX_FIELD_END: usize = MAX_LINE_BYTES - 512;

/// How many fields a line had no room for; OpenTelemetry's name for that ("Log Data Model").
const OMITTED: &str = "dropped_attributes_count";

/// A line of which the head is written, but for what an event's fields have to bring.
pub(super) struct Line<'a> {
    format: Format,
    head: &'a Head<'a>,
    out: &'a mut Vec<u8>,
    keys: &'a mut Keys,
    written: &'a mut WrittenKeys,
    omitted: u64,
    /// Where the message begins.
    message: usize,
    /// While what is behind the message is still to be written.
    unended: Option<&'a WrittenService>,
}

impl<'a> Line<'a> {
    pub(super) fn begin(
        format: Format,
        service: &'a WrittenService,
        scratch: &'a mut Scratch,
        head: &'a Head<'a>,
    ) -> Self {
        format.before_message(&mut scratch.out, &mut scratch.clock, head);
        let mut line = Self::begun(format, scratch, head);
        line.unended = Some(service);
        if !head.message.is_of_event() {
            head.message
                .unredacted(|text| format.message(line.out, text));
            line.end_head();
        }
        line
    }

    /// A line of which the head, and any number of fields whose names no other has, are written already.
    pub(super) fn begun(format: Format, scratch: &'a mut Scratch, head: &'a Head<'a>) -> Self {
        Self {
            format,
            head,
            message: scratch.out.len(),
            out: &mut scratch.out,
            keys: &mut scratch.keys,
            written: scratch.cache.of(format),
            omitted: 0,
            unended: None,
        }
    }

    /// Adds the message and the fields of the event that the head is of.
    pub(super) fn event(&mut self, event: &Event<'_>, is_record: bool) {
        event.record(&mut EachField(|name, value: Value<'_>| {
            if name == MESSAGE {
                self.message(&value);
            } else if !(is_record && records::is_origin(name)) {
                self.end_head();
                self.field(name, &value);
            }
        }));
        self.end_head();
    }

    /// The macros put the message before all fields; one that comes later is put there.
    fn message(&mut self, text: &Value<'_>) {
        let start = self.out.len();
        self.format.message(self.out, text);
        if self.unended.is_none()
            && let Some(behind) = self.out.get_mut(self.message..)
        {
            let begin = start - self.message;
            behind.rotate_left(begin);
        }
        // A second one goes behind the first.
        self.message += self.out.len() - start;
    }

    #[inline]
    fn end_head(&mut self) {
        if let Some(service) = self.unended.take() {
            self.format.behind_message(self.out, service, self.head);
        }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Adds what the format says in a form of its own; it must be bounded, and its names reserved where a
    /// user's field may follow.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.out);
    }

    /// Adds a field, unless the line has one of this name: those that take precedence come first.
    pub(super) fn field(&mut self, name: &'static str, value: &Value<'_>) {
        self.field_within(name, value, MAX_FIELD_END);
    }

    /// Adds a field whose name no other field of the line has.
    pub(super) fn unique_field(&mut self, key: &WrittenKey, value: &Value<'_>) {
        if !self.format.field(self.out, key, value, MAX_FIELD_END) {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// Adds the fields of all spans, behind which the line has no others.
    pub(super) fn all_spans(&mut self, fields: &SpanFields) {
        // With nothing left out the line ends here, and nobody asks any more which names it has.
        if self.omitted == 0
            && fields.omitted() == 0
            && self.out.len() + fields.len() <= MAX_FIELD_END
            && let Some(bytes) = fields.all_unless_known(self.keys)
        {
            self.out.extend_from_slice(bytes);
        } else {
            self.span(fields);
        }
    }

    /// Adds the fields of a span whose names the line has not yet.
    pub(super) fn span(&mut self, fields: &SpanFields) {
        self.omitted = self.omitted.saturating_add(fields.omitted());
        for (key, bytes) in fields.each() {
            if !bytes.is_empty() && self.keys.insert(key) {
                self.copy(bytes);
            }
        }
    }

    /// Ends the line.
    pub(super) fn end(mut self) {
        if self.omitted > 0 {
            let omitted = Value::U64(self.omitted);
            self.field_within(OMITTED, &omitted, MAX_LINE_BYTES);
        }
        self.format.tail(self.out, self.head);
    }

    fn field_within(&mut self, name: &'static str, value: &Value<'_>, limit: usize) {
        let key = self.written.get(name);
        if self.keys.insert(key.key) && !self.format.field(self.out, key, value, limit) {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    fn copy(&mut self, bytes: &[u8]) {
        if self.out.len() + bytes.len() <= MAX_FIELD_END {
            self.out.extend_from_slice(bytes);
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }
}
