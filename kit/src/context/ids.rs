//! Trace and span ids (W3C Trace Context §3.2.2.3, §3.2.2.4): random, never all zero, lower-case hex.

use super::random;

/// A 16-byte trace id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TraceId([u8; 16]);

/// An 8-byte span id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SpanId([u8; 8]);

macro_rules! id {
    ($name:ident, $bytes:literal, $hex:literal) => {
        impl $name {
            /// A new id, all bits of it random: W3C level 2's random flag may be set for it.
            pub(crate) fn random() -> Self {
                loop {
                    let mut bytes = [0; $bytes];
                    let words = random::words::<{ $bytes / 8 }>();
                    for (chunk, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
                        *chunk = word.to_ne_bytes();
                    }
                    if let Some(id) = Self::from_bytes(bytes) {
                        return id;
                    }
                }
            }

            /// `None` for all zeros, which the specification forbids.
            pub(crate) fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            pub(crate) fn to_bytes(self) -> [u8; $bytes] {
                self.0
            }

            /// Lower-case hex, without allocating.
            pub(crate) fn to_hex(self) -> [u8; $hex] {
                hex(self.0)
            }

            /// From lower-case hex as the specification demands; `None` for anything else.
            pub(crate) fn from_hex(hex: &[u8]) -> Option<Self> {
                let hex: &[u8; $hex] = hex.try_into().ok()?;
                let mut bytes = [0; $bytes];
                for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
                    *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
                }
                Self::from_bytes(bytes)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let hex = self.to_hex();
                f.write_str(std::str::from_utf8(&hex).map_err(|_| std::fmt::Error)?)
            }
        }
    };
}

id!(TraceId, 16, 32);
id!(SpanId, 8, 16);

/// Two lower-case digits a byte; `DIGITS` is twice `BYTES`.
#[inline]
pub(super) fn hex<const BYTES: usize, const DIGITS: usize>(bytes: [u8; BYTES]) -> [u8; DIGITS] {
    let mut digits = [0; DIGITS];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = HEX[usize::from(byte)];
    }
    digits
}

/// The two digits of each byte.
const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [[0; 2]; 256];
    let mut byte = 0;
    while byte < hex.len() {
        hex[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    hex
};

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
