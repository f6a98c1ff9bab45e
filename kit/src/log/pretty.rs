//! The format for human readers: time, level, target, message, fields, trace. Called through `format`.
//!
//! No value can begin a line or steer the terminal: control characters and those that reorder text
//! are escaped.

use std::fmt::{self, Write};

use tracing::Level;

use super::clock::Clock;
use super::format::{Head, MESSAGE, push_failure, push_within, text_end};
use super::key::Key;
use super::value::Value;

/// The longest target written whole, in bytes as written.
const MAX_NAME_BYTES: usize = 1024;

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

pub(super) fn is_reserved(name: &str) -> bool {
    name == MESSAGE
}

pub(super) fn before_message(out: &mut Vec<u8>, clock: &mut Clock, ansi: bool, head: &Head<'_>) {
    style(out, ansi, DIM);
    clock.write(out, head.at, 3);
    style(out, ansi, RESET);
    let level = head.level.as_str();
    // The longest level has five letters.
    out.extend_from_slice(if level.len() < 5 { b"  " } else { b" " });
    style(out, ansi, colour(head.level));
    out.extend_from_slice(level.as_bytes());
    style(out, ansi, RESET);
    out.push(b' ');
    style(out, ansi, DIM);
    let end = out.len() + MAX_NAME_BYTES;
    text(out, &Value::Text(head.target), end, Quotes::None);
    out.push(b':');
    style(out, ansi, RESET);
}

pub(super) fn message(out: &mut Vec<u8>, message: &Value<'_>) {
    let end = text_end(out, usize::MAX);
    out.push(b' ');
    text(out, message, end, Quotes::None);
}

pub(super) fn key(out: &mut Vec<u8>, ansi: bool, key: Key) {
    out.push(b' ');
    style(out, ansi, DIM);
    out.extend_from_slice(if key.renamed { b"fields." } else { b"" });
    text(out, &Value::Text(key.name), usize::MAX, Quotes::None);
    out.push(b'=');
    style(out, ansi, RESET);
}

pub(super) fn value(out: &mut Vec<u8>, value: &Value<'_>, end: usize) {
    let quotes = match value {
        Value::Text(_) | Value::Error(_) => Quotes::Around,
        _ => Quotes::None,
    };
    text(out, value, end, quotes);
}

pub(super) fn tail(out: &mut Vec<u8>, ansi: bool, head: &Head<'_>) {
    if let Some(ids) = head.ids {
        let trace_id = ids.context.trace_id.to_hex();
        style(out, ansi, DIM);
        out.extend_from_slice(b" trace=");
        // Eight digits tell the traces of one screen apart.
        out.extend_from_slice(trace_id.get(..8).unwrap_or(&trace_id));
        style(out, ansi, RESET);
    }
    out.push(b'\n');
}

fn style(out: &mut Vec<u8>, ansi: bool, sequence: &str) {
    if ansi {
        out.extend_from_slice(sequence.as_bytes());
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    None,
    Around,
}

fn text(out: &mut Vec<u8>, value: &Value<'_>, end: usize, quotes: Quotes) {
    if quotes == Quotes::Around {
        out.push(b'"');
    }
    let mut escaped = Escaped {
        out,
        end,
        quotes,
        cut: false,
    };
    if value.write(&mut escaped).is_err() {
        let cut = escaped.cut;
        push_failure(out, cut);
    }
    if quotes == Quotes::Around {
        out.push(b'"');
    }
}

/// Escapes what a terminal would obey, and quotes inside quotes, up to a length.
struct Escaped<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
    quotes: Quotes,
    cut: bool,
}

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(|c| self.is_special(c)) {
            let (plain, special) = rest.split_at_checked(at).ok_or(fmt::Error)?;
            self.push(plain)?;
            let mut characters = special.chars();
            for c in characters.next().into_iter().flat_map(char::escape_default) {
                self.push(c.encode_utf8(&mut [0; 4]))?;
            }
            rest = characters.as_str();
        }
        self.push(rest)
    }
}

impl Escaped<'_> {
    fn push(&mut self, text: &str) -> fmt::Result {
        push_within(self.out, text, self.end).inspect_err(|_| self.cut = true)
    }

    fn is_special(&self, c: char) -> bool {
        c.is_control()
            // Line separators, and marks that change the direction of the text behind them.
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
            || self.quotes == Quotes::Around && matches!(c, '"' | '\\')
    }
}
