//! Texts from requests, made fit for spans: bounded, and in a buffer of their own.

use std::fmt::{self, Write};

use bytes::{BufMut, Bytes, BytesMut};

use crate::redact;

/// The longest text kept of a path, a header or a panic, in bytes: a queue of spans stays bounded
/// whatever callers send.
pub(super) const MAX_TEXT: usize = 1_024;

/// The first [`MAX_TEXT`] bytes, cut between characters and before a secret that would lose its end.
pub(super) fn clip(text: &str) -> &str {
    redact::cut(text, MAX_TEXT)
}

/// The same of bytes that need not be UTF-8; where they are, no character is cut in two, which would make all
/// of them unreadable.
pub(super) fn clip_bytes(bytes: &[u8]) -> &[u8] {
    let Some(kept) = bytes.get(..MAX_TEXT) else {
        return bytes;
    };
    // What follows goes on with a character that began at most three bytes before.
    let goes_on = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let tail = bytes.get(MAX_TEXT - 2..=MAX_TEXT).unwrap_or_default();
    let cut = tail.iter().rev().take_while(|byte| goes_on(byte)).count();
    kept.get(..MAX_TEXT - cut).unwrap_or(kept)
}

/// Copies the texts of one request into one buffer: two allocations however many there are, and none of
/// them holds on to the connection's read buffer.
#[derive(Debug)]
pub(super) struct TextPacker(BytesMut);

impl TextPacker {
    /// Room for texts of `bytes` in all, beyond which the buffer grows.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(BytesMut::with_capacity(bytes))
    }

    pub(super) fn text(&mut self, text: &str) -> Bytes {
        self.bytes(clip(text).as_bytes())
    }

    /// A header value, say, which need not be UTF-8.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Bytes {
        self.0.put_slice(clip_bytes(bytes));
        self.0.split().freeze()
    }

    pub(super) fn display(&mut self, value: impl fmt::Display) -> Bytes {
        // Writing to a buffer that grows cannot fail.
        let _ = write!(self.0, "{value}");
        self.0.truncate(clip_bytes(&self.0).len());
        self.0.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(clip("short"), "short");
        let long = "é".repeat(MAX_TEXT);
        assert_eq!(clip(&long).len(), MAX_TEXT);
        assert_eq!(clip(&format!("x{long}")).len(), MAX_TEXT - 1);
    }

    #[test]
    fn bytes_are_cut_between_characters_too() {
        let mut packer = TextPacker::with_capacity(0);
        for character in ["x", "é", "€", "🔔"] {
            for before in 0..4 {
                let long = "a".repeat(before) + &character.repeat(MAX_TEXT);
                assert_eq!(
                    packer.bytes(long.as_bytes()),
                    clip(&long),
                    "{before} {character}"
                );
                assert_eq!(packer.display(&long), clip(&long), "{before} {character}");
            }
        }
        assert_eq!(packer.bytes(&[0xe9; MAX_TEXT + 9]).len(), MAX_TEXT);
        assert_eq!(packer.bytes(&[0x80; MAX_TEXT]).len(), MAX_TEXT);
    }

    #[test]
    fn packed_texts_are_what_went_in() {
        let mut packer = TextPacker::with_capacity(4);
        let first = packer.text("/a/b");
        let second = packer.bytes(b"curl/8");
        let third = packer.display(42);
        let fourth = packer.text("/\u{7f}");
        let fifth = packer.text(&"x".repeat(2 * MAX_TEXT));
        assert_eq!(
            [first, second, third, fourth],
            ["/a/b", "curl/8", "42", "/\u{7f}"]
        );
        assert_eq!(fifth.len(), MAX_TEXT);
    }
}
