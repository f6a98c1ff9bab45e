//! The values of a call site's fields as bytes: copied when they come, rendered when somebody wants to see them,
//! which of most nobody does. `events` and the recorder keep events so, `span_values` what spans were recorded with.

use std::cell::Cell;
use std::fmt::{self, Write as _};

use tracing::Metadata;
use tracing::field::{Field, Visit};

use super::format::{Within, push_text, text_end};
use super::value::Value;
use crate::redact;

/// What a value is, beside its bytes.
const TEXT: u8 = 0;
const DEBUG: u8 = 1;
const I64: u8 = 2;
const U64: u8 = 3;
const I128: u8 = 4;
const U128: u8 = 5;
const F64: u8 = 6;
const BOOL: u8 = 7;

/// Texts that are copied without a look at how far they may go, while there is this room for them.
const MAX_PLAIN: usize = 256;

/// What a thread keeps after a long event.
const KEPT_BYTES: usize = 16 * 1024;

thread_local! {
    /// Apart from the buffers that lines are made in: these are larger, and moving them takes longer.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `with` with the values that `record` visits. Texts end, cut and marked, when there are `limit` bytes; numbers
/// may go a few bytes beyond. As in [`scratch`](super::scratch), a value that logs while it is formatted finds no
/// buffer and gets a new one.
pub(super) fn with<R>(
    limit: usize,
    record: impl FnOnce(&mut dyn Visit),
    with: impl FnOnce(&[u8]) -> R,
) -> R {
    in_buffer(|out| record(&mut Encoder { out, limit }), with)
}

/// Calls `with` with what `fill` puts into the thread's buffer.
pub(super) fn in_buffer<R>(fill: impl FnOnce(&mut Vec<u8>), with: impl FnOnce(&[u8]) -> R) -> R {
    let mut out = BUFFER.try_with(Cell::take).unwrap_or_default();
    out.clear();
    fill(&mut out);
    let made = with(&out);
    if out.capacity() > KEPT_BYTES {
        out.clear();
        out.shrink_to(KEPT_BYTES);
    }
    // Fails only while the thread is being torn down, when nothing needs the buffer any more.
    let _ = BUFFER.try_with(|place| place.set(out));
    made
}

/// Calls `each` with the name and the value of each field kept in `bytes`.
pub(super) fn decode<'a>(
    metadata: &Metadata<'static>,
    bytes: &'a [u8],
    mut each: impl FnMut(&'static str, &Value<'a>),
) {
    for entry in entries(bytes) {
        let name = metadata.fields().iter().nth(usize::from(entry.index));
        let name = name.map_or("", |field| field.name());
        if let Some(value) = entry.value() {
            each(name, &value);
        }
    }
}

/// The values kept in `bytes`.
pub(super) fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let entry = Entry::first(bytes)?;
        bytes = bytes.get(entry.whole.len()..)?;
        Some(entry)
    })
}

/// One value.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    /// Which field of its call site it is of.
    pub(super) index: u16,
    kind: u8,
    /// A number's bytes, or the text.
    value: &'a [u8],
    /// All of it, as it is kept.
    whole: &'a [u8],
}

impl<'a> Entry<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (&[low, high, kind], rest) = bytes.split_first_chunk()?;
        let (len, rest) = match kind {
            BOOL => (1, rest),
            I64 | U64 | F64 => (8, rest),
            I128 | U128 => (16, rest),
            _ => {
                let (len, rest) = rest.split_first_chunk()?;
                (usize::try_from(u32::from_le_bytes(*len)).ok()?, rest)
            }
        };
        let value = rest.get(..len)?;
        let end = bytes.len() - rest.len() + len;
        Some(Self {
            index: u16::from_le_bytes([low, high]),
            kind,
            value,
            whole: bytes.get(..end)?,
        })
    }

    fn text(&self) -> Option<&'a str> {
        matches!(self.kind, TEXT | DEBUG)
            .then(|| std::str::from_utf8(self.value).unwrap_or_default())
    }

    fn value(&self) -> Option<Value<'a>> {
        match self.kind {
            TEXT => self.text().map(Value::Text),
            DEBUG => self.text().map(Value::Formatted),
            _ => self.number(),
        }
    }

    fn number(&self) -> Option<Value<'static>> {
        macro_rules! number {
            ($variant:ident, $type:ty) => {
                Value::$variant(<$type>::from_le_bytes(*self.value.first_chunk()?))
            };
        }
        Some(match self.kind {
            I64 => number!(I64, i64),
            U64 => number!(U64, u64),
            I128 => number!(I128, i128),
            U128 => number!(U128, u128),
            F64 => number!(F64, f64),
            _ => Value::Bool(*self.value.first()? != 0),
        })
    }

    /// Appends the value as it is, but for what a text has beyond `max` bytes.
    pub(super) fn copy_within(&self, max: usize, out: &mut Vec<u8>) {
        match self.text() {
            Some(text) if text.len() > max => {
                let text = redact::cut(text, max);
                out.extend_from_slice(&text_head(self.index, self.kind, text.len()));
                out.extend_from_slice(text.as_bytes());
            }
            _ => out.extend_from_slice(self.whole),
        }
    }
}

/// A call site has nowhere near so many fields.
fn index_of(field: &Field) -> u16 {
    u16::try_from(field.index()).unwrap_or(u16::MAX)
}

/// What stands before a text. Those here are cut long before four bytes do not hold their length.
fn text_head(index: u16, kind: u8, len: usize) -> [u8; 7] {
    let [low, high] = index.to_le_bytes();
    let [a, b, c, d] = u32::try_from(len).unwrap_or_default().to_le_bytes();
    [low, high, kind, a, b, c, d]
}

struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    limit: usize,
}

impl Encoder<'_> {
    /// One piece, since most numbers are that short: cheaper than two.
    fn eight(&mut self, field: &Field, kind: u8, bytes: [u8; 8]) {
        let [low, high] = index_of(field).to_le_bytes();
        let [a, b, c, d, e, f, g, h] = bytes;
        self.out
            .extend_from_slice(&[low, high, kind, a, b, c, d, e, f, g, h]);
    }

    fn sixteen(&mut self, field: &Field, kind: u8, bytes: [u8; 16]) {
        let [low, high] = index_of(field).to_le_bytes();
        self.out.extend_from_slice(&[low, high, kind]);
        self.out.extend_from_slice(&bytes);
    }

    fn text(
        &mut self,
        field: &Field,
        kind: u8,
        write: impl FnOnce(&mut Within<'_>) -> fmt::Result,
    ) {
        self.out
            .extend_from_slice(&text_head(index_of(field), kind, 0));
        let begin = self.out.len();
        push_text(self.out, text_end(self.out, self.limit), write);
        let length = u32::try_from(self.out.len() - begin).unwrap_or_default();
        if let Some(place) = self.out.get_mut(begin - 4..begin) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }
}

impl Visit for Encoder<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, DEBUG, |out| write!(out, "{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, TEXT, |out| Value::Error(value).write(out));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if value.len() <= MAX_PLAIN && self.out.len() + MAX_PLAIN <= self.limit {
            self.out
                .extend_from_slice(&text_head(index_of(field), TEXT, value.len()));
            self.out.extend_from_slice(value.as_bytes());
        } else {
            self.text(field, TEXT, |out| out.write_str(value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.eight(field, I64, value.to_le_bytes());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.eight(field, U64, value.to_le_bytes());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.sixteen(field, I128, value.to_le_bytes());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.sixteen(field, U128, value.to_le_bytes());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.eight(field, F64, value.to_le_bytes());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        let [low, high] = index_of(field).to_le_bytes();
        self.out.extend_from_slice(&[low, high, BOOL, value.into()]);
    }
}
