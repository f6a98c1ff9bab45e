//! The fields of a span. Their values are kept as they came, since few spans are ever looked at: lines have them
//! rendered, once, when the first event inside the span is written, and the exporter makes attributes of them on a
//! thread of its own. Kept with each span by `span`.

use std::sync::{Arc, OnceLock};

use tracing::Metadata;
use tracing::field::Visit;
use tracing::span::{Attributes, Record};

use super::fields::SpanFields;
use super::format::Format;
use super::kept::{self, Entry};
use super::scratch;
use super::value::Value;

/// What the values of one span may take, in bytes: as much as 32 texts, so many fields has a span, of 4 KiB each.
/// More than a line has room for.
const MAX_SPAN_BYTES: usize = 128 * 1024;

/// The values that a span was recorded with, shared by the span and its exporter.
#[derive(Clone, Debug)]
pub(crate) struct SpanValues {
    metadata: &'static Metadata<'static>,
    bytes: Arc<[u8]>,
}

impl SpanValues {
    /// Formats what is to be formatted: code of the user's, which may log in its turn.
    pub(crate) fn of(attributes: &Attributes<'_>) -> Self {
        let record = |visit: &mut dyn Visit| attributes.record(visit);
        Self {
            metadata: attributes.metadata(),
            bytes: kept::with(MAX_SPAN_BYTES, record, |bytes| Arc::from(bytes)),
        }
    }

    /// The same of values recorded later to the span of this call site.
    pub(crate) fn later(metadata: &'static Metadata<'static>, values: &Record<'_>) -> Self {
        let record = |visit: &mut dyn Visit| values.record(visit);
        Self {
            metadata,
            bytes: kept::with(MAX_SPAN_BYTES, record, |bytes| Arc::from(bytes)),
        }
    }

    /// Calls `each` with the name and the value of each field.
    pub(crate) fn each(&self, each: impl FnMut(&'static str, &Value<'_>)) {
        kept::decode(self.metadata, &self.bytes, each);
    }

    /// The same values, of texts no more than `bytes` bytes.
    pub(crate) fn cut(&self, bytes: usize) -> Self {
        if self.bytes.len() <= bytes {
            return self.clone();
        }
        self.refilled(|out| {
            for entry in kept::entries(&self.bytes) {
                entry.copy_within(bytes, out);
            }
        })
    }

    /// The values with those recorded later, which replace the ones of the same field.
    fn and_later(&self, later: &Self) -> Self {
        self.refilled(|out| {
            let mut keep = |entry: Entry<'_>| {
                entry.copy_within(MAX_SPAN_BYTES.saturating_sub(out.len()), out);
            };
            for entry in kept::entries(&self.bytes) {
                keep(later.find(entry.index).unwrap_or(entry));
            }
            kept::entries(&later.bytes)
                .filter(|entry| self.find(entry.index).is_none())
                .for_each(keep);
        })
    }

    fn find(&self, index: u16) -> Option<Entry<'_>> {
        kept::entries(&self.bytes).find(|entry| entry.index == index)
    }

    fn refilled(&self, fill: impl FnOnce(&mut Vec<u8>)) -> Self {
        Self {
            metadata: self.metadata,
            bytes: kept::in_buffer(fill, |bytes| Arc::from(bytes)),
        }
    }

    fn render(&self, format: Format) -> SpanFields {
        scratch::with(|scratch| {
            let keys = scratch.cache.of(format);
            let mut fields = SpanFields::with_capacity(self.bytes.len());
            self.each(|name, value| fields.add(keys, name, value));
            fields
        })
    }
}

/// A span's values, with what lines have of them.
#[derive(Debug)]
pub(crate) struct SpanText {
    pub(crate) values: SpanValues,
    format: Format,
    /// Boxed: most spans have none.
    written: OnceLock<Box<SpanFields>>,
}

impl SpanText {
    pub(crate) fn new(values: SpanValues, format: Format) -> Self {
        Self {
            values,
            format,
            written: OnceLock::new(),
        }
    }

    /// Takes over values recorded later: they replace those of the same name.
    pub(crate) fn record(&mut self, later: &SpanValues) {
        self.values = self.values.and_later(later);
        if let Some(written) = self.written.get_mut() {
            written.merge(&later.render(self.format));
        }
    }

    /// The fields as lines have them. Runs no code of the user's, so a lock may be held.
    pub(super) fn written(&self) -> &SpanFields {
        self.written
            .get_or_init(|| Box::new(self.values.render(self.format)))
    }
}
