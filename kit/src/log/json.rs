//! The JSON format: one flat object a line, the format's own keys first. Called through `format`; the
//! dialects `gcp` and `ecs` have heads of their own and write keys and values as this one does.

use std::fmt;
use std::ops::Range;

use tracing::Level;

use super::clock::Clock;
use super::format::{Head, Ids, push_failure, push_within, text_end};
use super::key::{Key, NameSet};
use super::service::WrittenService;
use super::value::Value;
use crate::context::RequestId;
use crate::redact;

/// The format's own keys, in the order in which a line has them.
const RESERVED: NameSet = NameSet::new(&[
    "timestamp",
    "level",
    "message",
    "target",
    "service.name",
    "trace_id",
    "span_id",
    "trace_flags",
    "request_id",
]);

/// The longest service name or target written whole, in bytes as written.
pub(super) const MAX_NAME_BYTES: usize = 1024;

const HEX: &[u8; 16] = b"0123456789abcdef";

pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(name)
}

pub(super) fn service(name: &str) -> WrittenService {
    let mut service = b"\",\"service.name\":\"".to_vec();
    let start = service.len();
    text(&mut service, &Value::Text(name), MAX_NAME_BYTES);
    redact::in_value(&mut service, start);
    WrittenService {
        service,
        before_trace: Vec::new(),
    }
}

pub(super) fn before_message(out: &mut Vec<u8>, clock: &mut Clock, head: &Head<'_>) {
    out.extend_from_slice(b"{\"timestamp\":\"");
    clock.write_nanos(out, head.at);
    out.extend_from_slice(level_to_message(head.level));
}

/// A line's message, in every format that is JSON.
pub(super) fn message(out: &mut Vec<u8>, message: &Value<'_>) {
    let end = text_end(out, usize::MAX);
    text(out, message, end);
}

pub(super) fn behind_message(out: &mut Vec<u8>, service: &[u8], head: &Head<'_>) {
    out.extend_from_slice(b"\",\"target\":\"");
    text(out, &Value::Text(head.target), out.len() + MAX_NAME_BYTES);
    out.extend_from_slice(service);
    if let Some(ids) = head.ids {
        if ids.written.is_empty() {
            push_ids(out, ids);
        } else {
            out.extend_from_slice(ids.written);
        }
    }
    out.push(b'"');
}

pub(super) fn push_ids(out: &mut Vec<u8>, ids: Ids<'_>) {
    out.extend_from_slice(&before_request_id(ids));
    request_id(out, &ids.context.request_id);
}

/// The ids from the quote before them to that of the request's: one piece, filled in, is cheaper than eight.
#[inline]
pub(super) fn before_request_id(ids: Ids<'_>) -> [u8; 110] {
    const TRACE_ID: Range<usize> = 14..46;
    const SPAN_ID: Range<usize> = 59..75;
    const TRACE_FLAGS: Range<usize> = 92..94;
    let mut text = *b"\",\"trace_id\":\"00000000000000000000000000000000\
        \",\"span_id\":\"0000000000000000\
        \",\"trace_flags\":\"00\
        \",\"request_id\":\"";
    text[TRACE_ID].copy_from_slice(&ids.context.trace_id.to_hex());
    text[SPAN_ID].copy_from_slice(&ids.span_id.to_hex());
    let flags = ids.context.trace_flags();
    text[TRACE_FLAGS]
        .copy_from_slice(&[HEX[usize::from(flags >> 4)], HEX[usize::from(flags & 15)]]);
    text
}

/// Appends a request id, without the quotes around it.
pub(super) fn request_id(out: &mut Vec<u8>, request_id: &RequestId) {
    if request_id.is_bare() {
        out.extend_from_slice(request_id.as_bytes());
    } else {
        let end = out.len() + MAX_NAME_BYTES;
        text(out, &Value::Text(request_id.as_str()), end);
    }
}

/// What stands between the values of `timestamp` and `message`.
pub(super) fn level_to_message(level: Level) -> &'static [u8] {
    match level {
        Level::ERROR => b"\",\"level\":\"ERROR\",\"message\":\"",
        Level::WARN => b"\",\"level\":\"WARN\",\"message\":\"",
        Level::INFO => b"\",\"level\":\"INFO\",\"message\":\"",
        Level::DEBUG => b"\",\"level\":\"DEBUG\",\"message\":\"",
        Level::TRACE => b"\",\"level\":\"TRACE\",\"message\":\"",
    }
}

pub(super) fn key(out: &mut Vec<u8>, key: Key) {
    out.extend_from_slice(if key.renamed { b",\"fields." } else { b",\"" });
    text(out, &Value::Text(key.name), usize::MAX);
    out.extend_from_slice(b"\":");
}

#[inline(always)]
pub(super) fn value(out: &mut Vec<u8>, value: &Value<'_>, end: usize) {
    match *value {
        Value::Text(text) => plain_text(out, text, end),
        Value::I64(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Value::U64(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        _ => any_value(out, value, end),
    }
}

/// Appends a text that is bare and fits, in quotes; false, and nothing appended, for other text.
#[inline]
pub(super) fn push_bare(out: &mut Vec<u8>, text: &str, end: usize) -> bool {
    let bare = text.len() + 2 <= end.saturating_sub(out.len()) && is_bare(text.as_bytes());
    if bare {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
    bare
}

/// The most frequent value by far: text that needs no escape.
fn plain_text(out: &mut Vec<u8>, text: &str, end: usize) {
    out.push(b'"');
    if !push_plain(out, text, end) {
        escaped(out, &Value::Text(text), end);
    }
    out.push(b'"');
}

/// Kept out of line, so that the values above have few registers to save.
#[inline(never)]
fn any_value(out: &mut Vec<u8>, value: &Value<'_>, end: usize) {
    let quoted = !value.is_literal();
    if quoted {
        out.push(b'"');
    }
    if value.is_free() {
        text(out, value, end);
    } else {
        // Writing to memory does not fail, and there is room for any number.
        let _ = value.write(&mut Raw(out));
    }
    if quoted {
        out.push(b'"');
    }
}

pub(super) fn tail(out: &mut Vec<u8>) {
    out.extend_from_slice(b"}\n");
}

/// Appends a field of the format's own, whose name needs no escape and is no other field's.
pub(super) fn own_field(out: &mut Vec<u8>, name: &str, value: &Value<'_>) {
    out.push(b',');
    member(out, name, value);
}

/// Appends an object of the format's own as a field: its names need no escape, a value that is `None` is
/// left out.
pub(super) fn own_object(out: &mut Vec<u8>, name: &str, members: &[(&str, Option<Value<'_>>)]) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":{");
    let said = members
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    for (at, (name, value)) in said.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        member(out, name, value);
    }
    out.push(b'}');
}

fn member(out: &mut Vec<u8>, name: &str, value: &Value<'_>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    free_value(out, value);
}

/// Appends any value: cut, escaped, without its secrets.
pub(super) fn free_value(out: &mut Vec<u8>, value: &Value<'_>) {
    let end = text_end(out, usize::MAX);
    let start = out.len();
    self::value(out, value, end);
    if value.is_free() {
        redact::in_value(out, start);
    }
}

/// Appends a value's text, escaped, without the quotes around it.
pub(super) fn text(out: &mut Vec<u8>, value: &Value<'_>, end: usize) {
    if let Value::Text(text) = value
        && push_plain(out, text, end)
    {
        return;
    }
    escaped(out, value, end);
}

fn escaped(out: &mut Vec<u8>, value: &Value<'_>, end: usize) {
    let mut escaped = Escaped {
        out,
        end,
        cut: false,
    };
    if value.write(&mut escaped).is_err() {
        let cut = escaped.cut;
        push_failure(out, cut);
    }
}

/// Appends text that needs no escape and fits, as nearly all does; false, and nothing appended, for
/// other text.
fn push_plain(out: &mut Vec<u8>, text: &str, end: usize) -> bool {
    let plain = text.len() <= end.saturating_sub(out.len()) && is_plain(text.as_bytes());
    if plain {
        out.extend_from_slice(text.as_bytes());
    }
    plain
}

/// Appends text that is known to need no escape.
struct Raw<'a>(&'a mut Vec<u8>);

impl fmt::Write for Raw<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Escapes as RFC 8259 §7 demands, up to a length.
struct Escaped<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
    cut: bool,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if push_plain(self.out, text, self.end) {
            return Ok(());
        }
        let written = self.write_escaped(text);
        self.cut = written.is_err();
        written
    }
}

impl Escaped<'_> {
    fn write_escaped(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((plain, special, after)) = split_at_special(rest) {
            push_within(self.out, plain, self.end)?;
            let escape = escape(special);
            let escape = escape.as_slice();
            if escape.len() > self.end.saturating_sub(self.out.len()) {
                return Err(fmt::Error);
            }
            self.out.extend_from_slice(escape);
            rest = after;
        }
        push_within(self.out, rest, self.end)
    }
}

/// An escape sequence of two or six bytes.
struct Escape {
    bytes: [u8; 6],
    len: usize,
}

impl Escape {
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

fn escape(byte: u8) -> Escape {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            return Escape {
                bytes: [b'\\', b'u', b'0', b'0', high, low],
                len: 6,
            };
        }
    };
    Escape {
        bytes: [b'\\', short, 0, 0, 0, 0],
        len: 2,
    }
}

/// The text before the first byte that needs an escape, that byte, and the text behind it.
fn split_at_special(text: &str) -> Option<(&str, u8, &str)> {
    let at = text.bytes().position(is_special)?;
    // Bytes that need an escape are ASCII, so both cuts are at character boundaries.
    let (plain, rest) = text.split_at_checked(at)?;
    Some((plain, *rest.as_bytes().first()?, rest.get(1..)?))
}

/// Whether a byte needs an escape: a control character, a quote or a backslash.
fn is_special(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\')
}

/// Whether no byte needs an escape. Looks at eight bytes at a time; the last eight may overlap those
/// before them, and shorter texts are spread over one word.
fn is_plain(bytes: &[u8]) -> bool {
    let plain = |word: &[u8; 8]| !has_special(u64::from_le_bytes(*word));
    if let Some(last) = bytes.last_chunk() {
        let (words, _) = bytes.as_chunks();
        return words.iter().all(plain) && plain(last);
    }
    if let (Some([a, b, c, d]), Some([e, f, g, h])) = (bytes.first_chunk(), bytes.last_chunk()) {
        return plain(&[*a, *b, *c, *d, *e, *f, *g, *h]);
    }
    !bytes.iter().copied().any(is_special)
}

/// Whether one of a word's eight bytes needs an escape: tells all of them in a dozen instructions.
///
/// A byte less than `n` borrows when `n` is subtracted, which sets its high bit; that bit is masked
/// out where it was set before. The lowest byte so marked is always right, and any is enough here.
fn has_special(word: u64) -> bool {
    const EACH: u64 = u64::MAX / 0xff;
    const fn below(word: u64, n: u8) -> u64 {
        word.wrapping_sub(EACH * n as u64) & !word
    }
    let quote = word ^ (EACH * b'"' as u64);
    let backslash = word ^ (EACH * b'\\' as u64);
    (below(word, 0x20) | below(quote, 1) | below(backslash, 1)) & (EACH * 0x80) != 0
}

/// Whether a text can be written as it is, and is UTF-8: ASCII of which no byte needs an escape, and nothing that
/// secrets are looked for by. One pass for what [`is_plain`] and `redact` would need two for.
pub(super) fn is_bare(bytes: &[u8]) -> bool {
    let bare = |word: &[u8; 8]| {
        let bits = u64::from_le_bytes(*word);
        const ASCII: u64 = u64::MAX / 0xff * 0x80;
        bits & ASCII == 0 && !has_special(bits) && !redact::may_have_mark(word)
    };
    if let Some(last) = bytes.last_chunk() {
        let (words, _) = bytes.as_chunks();
        return words.iter().all(bare) && bare(last);
    }
    if let (Some([a, b, c, d]), Some([e, f, g, h])) = (bytes.first_chunk(), bytes.last_chunk()) {
        return bare(&[*a, *b, *c, *d, *e, *f, *g, *h]);
    }
    let bare = |byte: &u8| byte.is_ascii() && !is_special(*byte) && !redact::is_mark(byte);
    bytes.iter().all(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_seen_at_every_place_in_texts_of_every_length() {
        for length in 0..40 {
            let bare = vec![b'a'; length];
            assert!(is_bare(&bare));
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = bare.clone();
                    bytes[at] = byte;
                    let told = is_bare(&bytes);
                    match byte {
                        // How a scheme begins, as an `a` follows; unless it is the last one.
                        b'B' => assert!(!told || at + 1 == length, "{at} of {length}"),
                        b'@' | 0x80.. => assert!(!told, "{byte} at {at} of {length}"),
                        _ => assert_eq!(told, !is_special(byte), "{byte} at {at} of {length}"),
                    }
                }
            }
        }
        assert!(is_bare(
            b"a B is no mark where nothing of a scheme is behind"
        ));
    }

    #[test]
    fn special_bytes_are_seen_at_every_place_in_texts_of_every_length() {
        for length in 0..40 {
            let plain = vec![b'a'; length];
            assert!(is_plain(&plain));
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = plain.clone();
                    bytes[at] = byte;
                    assert_eq!(
                        is_plain(&bytes),
                        !is_special(byte),
                        "{byte} at {at} of {length}"
                    );
                }
            }
        }
    }
}
