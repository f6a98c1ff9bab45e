//! The JSON format: one flat object a line, the format's own keys first. Called through `format`.

use std::fmt;

use super::clock::Clock;
use super::fields::{Key, bit};
use super::format::{Head, push_failure, push_within, text_end};
use super::value::Value;

/// The format's own keys, in the order in which a line has them.
const RESERVED: [&str; 9] = [
    "timestamp",
    "level",
    "message",
    "target",
    "service.name",
    "trace_id",
    "span_id",
    "trace_flags",
    "request_id",
];

const RESERVED_BITS: u64 = {
    let mut bits = 0;
    let mut at = 0;
    while at < RESERVED.len() {
        bits |= bit(RESERVED[at]);
        at += 1;
    }
    bits
};

/// The longest service name or target written whole, in bytes as written.
const MAX_NAME_BYTES: usize = 1024;

const HEX: &[u8; 16] = b"0123456789abcdef";

pub(super) fn is_reserved(name: &str) -> bool {
    bit(name) & RESERVED_BITS != 0 && RESERVED.contains(&name)
}

pub(super) fn service(name: &str) -> Vec<u8> {
    let mut service = b"\",\"service.name\":\"".to_vec();
    text(&mut service, &Value::Text(name), MAX_NAME_BYTES);
    service
}

pub(super) fn head(out: &mut Vec<u8>, clock: &mut Clock, service: &[u8], head: &Head<'_>) {
    out.extend_from_slice(b"{\"timestamp\":\"");
    clock.write(out, head.at, 9);
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(head.level.as_str().as_bytes());
    out.extend_from_slice(b"\",\"message\":\"");
    let end = text_end(out, usize::MAX);
    head.message.with(|message| text(out, message, end));
    out.extend_from_slice(b"\",\"target\":\"");
    text(out, &Value::Text(head.target), out.len() + MAX_NAME_BYTES);
    out.extend_from_slice(service);
    if let Some(ids) = head.ids {
        out.extend_from_slice(b"\",\"trace_id\":\"");
        out.extend_from_slice(&ids.context.trace_id.to_hex());
        out.extend_from_slice(b"\",\"span_id\":\"");
        out.extend_from_slice(&ids.span_id.to_hex());
        let flags = ids.context.flags;
        out.extend_from_slice(b"\",\"trace_flags\":\"");
        out.push(HEX[usize::from(flags >> 4)]);
        out.push(HEX[usize::from(flags & 15)]);
        out.extend_from_slice(b"\",\"request_id\":\"");
        let request_id = Value::Text(ids.context.request_id.as_str());
        text(out, &request_id, out.len() + MAX_NAME_BYTES);
    }
    out.push(b'"');
}

pub(super) fn field(out: &mut Vec<u8>, key: Key, value: &Value<'_>, limit: usize) {
    out.extend_from_slice(if key.renamed { b",\"fields." } else { b",\"" });
    text(out, &Value::Text(key.name), usize::MAX);
    out.extend_from_slice(b"\":");
    let end = text_end(out, limit);
    if value.is_literal() {
        text(out, value, end);
    } else {
        out.push(b'"');
        text(out, value, end);
        out.push(b'"');
    }
}

pub(super) fn tail(out: &mut Vec<u8>) {
    out.extend_from_slice(b"}\n");
}

/// Appends a value's text, escaped, without the quotes around it.
fn text(out: &mut Vec<u8>, value: &Value<'_>, end: usize) {
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

/// Escapes as RFC 8259 §7 demands, up to a length.
struct Escaped<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
    cut: bool,
}

impl Escaped<'_> {
    fn push(&mut self, text: &str) -> fmt::Result {
        push_within(self.out, text, self.end).inspect_err(|_| self.cut = true)
    }
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((plain, special, after)) = split_at_special(rest) {
            self.push(plain)?;
            let room = self.end.saturating_sub(self.out.len());
            let escape = escape(special);
            let escape = escape.as_slice();
            if escape.len() > room {
                self.cut = true;
                return Err(fmt::Error);
            }
            self.out.extend_from_slice(escape);
            rest = after;
        }
        self.push(rest)
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
    let at = find_special(text.as_bytes())?;
    // Bytes that need an escape are ASCII, so both cuts are at character boundaries.
    let (plain, rest) = text.split_at_checked(at)?;
    Some((plain, *rest.as_bytes().first()?, rest.get(1..)?))
}

/// Where the first byte is that needs an escape: a control character, a quote or a backslash.
fn find_special(bytes: &[u8]) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    let plain = words
        .iter()
        .take_while(|word| !has_special(u64::from_le_bytes(**word)))
        .count()
        * 8;
    let rest = bytes.get(plain..)?;
    let special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    Some(plain + rest.iter().position(special)?)
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
