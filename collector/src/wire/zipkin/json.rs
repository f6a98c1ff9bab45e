//! Writes JSON text piece by piece, without a document in between and up to a limit. Called by `zipkin`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// JSON under way. The caller opens and closes in order; commas are put where they belong. What would go beyond the limit
/// is not written, nor anything after it.
pub(super) struct Json {
    out: Vec<u8>,
    limit: usize,
    full: bool,
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl Json {
    /// At most `limit` bytes, and room for about `bytes` of them.
    pub(super) fn with_limit(limit: usize, bytes: usize) -> Self {
        Self::in_memory(Vec::new(), limit, bytes)
    }

    /// As [`with_limit`](Self::with_limit), in this memory as far as it goes.
    pub(super) fn in_memory(mut memory: Vec<u8>, limit: usize, bytes: usize) -> Self {
        memory.clear();
        memory.reserve_exact(bytes.min(limit));
        Self {
            out: memory,
            limit,
            full: false,
        }
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether something did not fit.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Counts as full from now on.
    pub(super) fn give_up(&mut self) {
        self.full = true;
    }

    /// What was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// The same as text; `None` when something did not fit.
    pub(super) fn into_text(self) -> Option<String> {
        let whole = !self.full;
        whole.then(|| String::from_utf8(self.out).ok()).flatten()
    }

    /// JSON that is to be a string in this one: no longer than what is left here.
    pub(super) fn nested(&self) -> Self {
        Self::with_limit(self.limit - self.out.len(), 0)
    }

    /// A string value that is JSON itself.
    pub(super) fn quoted(&mut self, nested: &Self) {
        self.full |= nested.full;
        self.text(&nested.out);
    }

    pub(super) fn open_object(&mut self) {
        self.push(b"{");
    }

    pub(super) fn close_object(&mut self) {
        self.push(b"}");
    }

    pub(super) fn open_array(&mut self) {
        self.push(b"[");
    }

    pub(super) fn close_array(&mut self) {
        self.push(b"]");
    }

    /// Begins an array's next element.
    pub(super) fn element(&mut self) {
        self.comma();
    }

    /// Begins an object's next member; its value comes next.
    pub(super) fn key(&mut self, key: &str) -> &mut Self {
        self.comma();
        self.string(key);
        self.push(b":");
        self
    }

    /// As [`key`](Self::key), for a key that is known: with its quotes and colon, as JSON has it.
    pub(super) fn known(&mut self, key: &'static str) -> &mut Self {
        self.comma();
        self.raw(key);
        self
    }

    /// An object's next member, key and value, that was written elsewhere.
    pub(super) fn member(&mut self, member: &[u8]) {
        self.comma();
        self.push(member);
    }

    /// A value that was written elsewhere.
    pub(super) fn value(&mut self, value: &[u8]) {
        self.push(value);
    }

    /// A string value.
    pub(super) fn string(&mut self, text: &str) {
        self.text(text.as_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.push(b"\"");
        // Nearly all texts need no escapes.
        if is_clean(text) {
            self.push(text);
        } else {
            self.escaped(text);
        }
        self.push(b"\"");
    }

    fn escaped(&mut self, mut rest: &[u8]) {
        // Runs without anything to escape are copied whole.
        while let Some(at) = find_escape(rest).filter(|_| !self.full) {
            let (run, from) = rest.split_at(at);
            self.push(run);
            let Some((&byte, after)) = from.split_first() else {
                break;
            };
            self.escape(byte);
            rest = after;
        }
        self.push(rest);
    }

    /// A string value of bytes in base64 (RFC 4648 §4, with padding).
    pub(super) fn base64(&mut self, bytes: &[u8]) {
        /// Without a remainder, so that the pieces are one text.
        const PIECE: usize = 3 * 1024;
        self.push(b"\"");
        for piece in bytes.chunks(PIECE) {
            if self.full {
                return;
            }
            self.raw(&BASE64.encode(piece));
        }
        self.push(b"\"");
    }

    /// A number value.
    pub(super) fn number(&mut self, number: u64) {
        self.raw(itoa::Buffer::new().format(number));
    }

    /// A string value of hex digits.
    pub(super) fn hex<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.push(b"\"");
        self.hex_digits(bytes);
        self.push(b"\"");
    }

    /// Hex digits alone.
    pub(super) fn hex_digits<const N: usize>(&mut self, bytes: &[u8; N]) {
        let digits = bytes.map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        self.push(digits.as_flattened());
    }

    /// Takes a last member back that is an empty object or array, of which the text up to `before` knows nothing.
    pub(super) fn drop_empty(&mut self, before: usize) {
        if self.out.ends_with(b"{}") || self.out.ends_with(b"[]") {
            self.out.truncate(before);
        }
    }

    /// Text as it is.
    pub(super) fn raw(&mut self, text: &str) {
        self.push(text.as_bytes());
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        if self.has_room(bytes.len()) {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Whether so many bytes more may be written; there is memory for them then.
    #[inline]
    fn has_room(&mut self, bytes: usize) -> bool {
        let there = self.out.capacity().min(self.limit) - self.out.len();
        !self.full && (bytes <= there || self.grow(bytes))
    }

    /// Twice as much room when it is used up, but none beyond the limit.
    #[cold]
    fn grow(&mut self, bytes: usize) -> bool {
        let length = self.out.len();
        self.full = bytes > self.limit - length;
        if !self.full {
            let twice = self.out.capacity().saturating_mul(2);
            let wanted = (length + bytes).max(twice).min(self.limit);
            self.out.reserve_exact(wanted - length);
        }
        !self.full
    }

    fn comma(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[')) {
            self.push(b",");
        }
    }

    fn escape(&mut self, byte: u8) {
        match byte {
            b'"' => self.raw("\\\""),
            b'\\' => self.raw("\\\\"),
            b'\n' => self.raw("\\n"),
            b'\r' => self.raw("\\r"),
            b'\t' => self.raw("\\t"),
            _ => {
                self.raw("\\u00");
                self.hex_digits(&[byte]);
            }
        }
    }
}

/// Whether nothing is to be escaped. Whole blocks, of which the last two may overlap, are looked at without a branch for
/// each byte, which the compiler turns into vector instructions.
#[inline]
fn is_clean(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<BLOCK>() else {
        return is_clean_block(bytes);
    };
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    blocks
        .iter()
        .chain([last])
        .all(|block| is_clean_block(block))
}

const BLOCK: usize = 16;

#[inline]
fn is_clean_block(block: &[u8]) -> bool {
    !block
        .iter()
        .fold(false, |any, &byte| any | must_escape(byte))
}

fn find_escape(bytes: &[u8]) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let clean = blocks.iter().take_while(|block| is_clean_block(*block));
    let from = clean.count() * BLOCK;
    let rest = bytes.get(from..)?;
    rest.iter()
        .position(|&byte| must_escape(byte))
        .map(|at| from + at)
}

fn must_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn digit(nibble: u8) -> u8 {
    HEX[usize::from(nibble & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back(key in any::<String>(), text in any::<String>(), bytes in any::<[u8; 8]>()) {
            let mut json = Json::with_limit(usize::MAX, 0);
            json.open_array();
            for _ in 0..2 {
                json.element();
                json.open_object();
                json.key(&key).string(&text);
                json.close_object();
            }
            json.element();
            json.hex(&bytes);
            json.element();
            json.number(u64::MAX);
            json.close_array();
            let read: serde_json::Value = serde_json::from_slice(&json.into_bytes()).unwrap();
            let hex = format!("{:016x}", u64::from_be_bytes(bytes));
            prop_assert_eq!(
                read,
                serde_json::json!([{ &key: &text }, { &key: &text }, hex, u64::MAX])
            );
        }
    }

    #[test]
    fn nothing_is_written_beyond_the_limit() {
        let write = |limit| {
            let mut json = Json::with_limit(limit, 1 << 20);
            json.open_array();
            for text in ["\"one\"", "two", &"x".repeat(40), "", &"\n".repeat(1 << 20)] {
                json.element();
                json.string(text);
            }
            json.base64(&[7; 10_000]);
            let mut nested = json.nested();
            nested.string(&"y".repeat(100));
            json.quoted(&nested);
            json
        };
        let whole = write(usize::MAX).into_bytes();
        for limit in 1..100 {
            let json = write(limit);
            assert!(json.is_full());
            assert!(json.out.capacity() <= limit);
            assert!(whole.starts_with(&json.into_bytes()));
        }
        assert!(!write(whole.len()).is_full());
        assert!(write(whole.len() - 1).is_full());
    }

    #[test]
    fn bytes_are_base64() {
        for length in [0, 1, 2, 3, 3 * 1024, 3 * 1024 + 1] {
            let bytes = vec![0xfb; length];
            let mut json = Json::with_limit(usize::MAX, 0);
            json.base64(&bytes);
            let text: String = serde_json::from_slice(&json.into_bytes()).unwrap();
            assert_eq!(BASE64.decode(text).unwrap(), bytes);
        }
    }

    #[test]
    fn every_control_character_is_escaped() {
        for code in 0..=0x7f_u8 {
            let text = char::from(code).to_string();
            let mut json = Json::with_limit(usize::MAX, 0);
            json.string(&text);
            let bytes = json.into_bytes();
            assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
        }
    }
}
