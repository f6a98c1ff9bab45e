//! The fields of an event as the recorder keeps them: copied, not yet rendered, since few are ever printed.
//! Used by `layer` to keep and by `recorder` to print.

use std::cell::Cell;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata};

use super::format::{push_value, text_end};
use super::value::Value;

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

/// Calls `with` with the event's fields. Texts end, cut and marked, when there are `limit` bytes; numbers may go
/// a few bytes beyond. As in [`scratch`](super::scratch), a value that logs while it is formatted finds no buffer
/// and gets a new one.
pub(super) fn with(event: &Event<'_>, limit: usize, with: impl FnOnce(&[u8])) {
    let mut out = BUFFER.try_with(Cell::take).unwrap_or_default();
    out.clear();
    event.record(&mut Encoder {
        out: &mut out,
        limit,
    });
    with(&out);
    if out.capacity() > KEPT_BYTES {
        out.clear();
        out.shrink_to(KEPT_BYTES);
    }
    // Fails only while the thread is being torn down, when nothing needs the buffer any more.
    let _ = BUFFER.try_with(|place| place.set(out));
}

/// Calls `each` with the name and the value of each field kept in `bytes`.
pub(super) fn decode(
    metadata: &Metadata<'static>,
    mut bytes: &[u8],
    mut each: impl FnMut(&'static str, &Value<'_>),
) {
    while let Some((index, kind, rest)) = head(bytes) {
        let name = metadata.fields().iter().nth(usize::from(index));
        let name = name.map_or("", |field| field.name());
        let Some(rest) = value(kind, rest, |value| each(name, value)) else {
            return;
        };
        bytes = rest;
    }
}

/// Which field of its call site a value is of, and what it is.
fn head(bytes: &[u8]) -> Option<(u16, u8, &[u8])> {
    let (index, rest) = bytes.split_first_chunk()?;
    let (kind, rest) = rest.split_first()?;
    Some((u16::from_le_bytes(*index), *kind, rest))
}

/// Calls `with` with the value that begins `bytes`; gives what is behind it.
fn value(kind: u8, bytes: &[u8], with: impl FnOnce(&Value<'_>)) -> Option<&[u8]> {
    macro_rules! number {
        ($variant:ident, $type:ty) => {{
            let (number, rest) = bytes.split_first_chunk()?;
            with(&Value::$variant(<$type>::from_le_bytes(*number)));
            rest
        }};
    }
    Some(match kind {
        I64 => number!(I64, i64),
        U64 => number!(U64, u64),
        I128 => number!(I128, i128),
        U128 => number!(U128, u128),
        F64 => number!(F64, f64),
        BOOL => {
            let (flag, rest) = bytes.split_first()?;
            with(&Value::Bool(*flag != 0));
            rest
        }
        _ => {
            let (length, rest) = bytes.split_first_chunk()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (text, rest) = rest.split_at_checked(length)?;
            let text = std::str::from_utf8(text).unwrap_or_default();
            match kind {
                DEBUG => with(&Value::Debug(&Formatted(text))),
                _ => with(&Value::Text(text)),
            }
            rest
        }
    })
}

/// What a `%` or `?` field was formatted to.
struct Formatted<'a>(&'a str);

impl fmt::Debug for Formatted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

fn head_of(field: &Field, kind: u8) -> [u8; 3] {
    // A call site has nowhere near so many fields.
    let index = u16::try_from(field.index()).unwrap_or(u16::MAX);
    let [low, high] = index.to_le_bytes();
    [low, high, kind]
}

struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    limit: usize,
}

impl Encoder<'_> {
    fn number<const SIZE: usize>(&mut self, field: &Field, kind: u8, bytes: [u8; SIZE]) {
        self.out.extend_from_slice(&head_of(field, kind));
        self.out.extend_from_slice(&bytes);
    }

    /// Where a text begins: its head, and four bytes for its length.
    fn text_head(&mut self, field: &Field, kind: u8, length: u32) {
        let [low, high, kind] = head_of(field, kind);
        let [a, b, c, d] = length.to_le_bytes();
        self.out.extend_from_slice(&[low, high, kind, a, b, c, d]);
    }

    fn text(&mut self, field: &Field, kind: u8, value: &Value<'_>) {
        self.text_head(field, kind, 0);
        let begin = self.out.len();
        let end = text_end(self.out, self.limit);
        push_value(self.out, value, end);
        let length = u32::try_from(self.out.len() - begin).unwrap_or_default();
        if let Some(place) = self.out.get_mut(begin - 4..begin) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }
}

impl Visit for Encoder<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, DEBUG, &Value::Debug(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, TEXT, &Value::Error(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if value.len() <= MAX_PLAIN && self.out.len() + MAX_PLAIN <= self.limit {
            self.text_head(field, TEXT, value.len() as u32);
            self.out.extend_from_slice(value.as_bytes());
        } else {
            self.text(field, TEXT, &Value::Text(value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, I64, value.to_le_bytes());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, U64, value.to_le_bytes());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.number(field, I128, value.to_le_bytes());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.number(field, U128, value.to_le_bytes());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.number(field, F64, value.to_le_bytes());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, BOOL, [value.into()]);
    }
}
