//! Protobuf by hand (protobuf.dev, "Encoding"), as far as OTLP's traces need it: `encode` writes with it,
//! `partial_success` reads.

/// Wire types.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const FIXED32: u32 = 5;

/// What the length of a message is expected to take, in bytes: see [`message`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    /// Up to 127 bytes.
    Short = 1,
    /// Up to 16 KiB.
    Medium = 2,
    /// Up to 2 MiB.
    Long = 3,
}

/// Writes a number.
#[inline]
pub(super) fn varint_field(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, VARINT);
    varint(out, value);
}

/// Writes eight bytes, little end first.
#[inline]
pub(super) fn fixed64_field(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes four bytes, little end first.
#[inline]
pub(super) fn fixed32_field(out: &mut Vec<u8>, field: u32, value: u32) {
    tag(out, field, FIXED32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes bytes, or a text.
#[inline]
pub(super) fn bytes_field(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(out, field, LENGTH_DELIMITED);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Writes a message, whose length stands before it and is known only behind it. So room is left for as long a length
/// as is `expected`; when it takes another, the message is moved.
#[inline]
pub(super) fn message(
    out: &mut Vec<u8>,
    field: u32,
    expected: Expect,
    write: impl FnOnce(&mut Vec<u8>),
) {
    tag(out, field, LENGTH_DELIMITED);
    let start = out.len();
    let room = expected as usize;
    out.resize(start + room, 0);
    write(out);
    let length = out.len().saturating_sub(start + room) as u64;
    let taken = varint_len(length);
    if taken != room {
        out.splice(start..start + room, std::iter::repeat_n(0, taken));
    }
    if let Some(slots) = out.get_mut(start..start + taken) {
        varint_into(slots, length);
    }
}

#[inline]
fn tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

#[inline]
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_len(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Fills exactly as many bytes as [`varint_len`] says.
fn varint_into(slots: &mut [u8], mut value: u64) {
    if let Some((last, before)) = slots.split_last_mut() {
        for slot in before {
            *slot = value as u8 | 0x80;
            value >>= 7;
        }
        *last = value as u8;
    }
}

/// The value of a field that was read; those of fixed width are of no use to us.
pub(super) enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// Shows every field with its number; `None` when this is no message.
pub(super) fn for_each_field<'a>(
    mut bytes: &'a [u8],
    mut see: impl FnMut(u64, Field<'a>),
) -> Option<()> {
    while !bytes.is_empty() {
        let tag = read_varint(&mut bytes)?;
        match (tag & 7) as u32 {
            VARINT => see(tag >> 3, Field::Varint(read_varint(&mut bytes)?)),
            FIXED64 => drop(take(&mut bytes, 8)?),
            LENGTH_DELIMITED => {
                let length = usize::try_from(read_varint(&mut bytes)?).ok()?;
                see(tag >> 3, Field::Bytes(take(&mut bytes, length)?));
            }
            FIXED32 => drop(take(&mut bytes, 4)?),
            _ => return None,
        }
    }
    Some(())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_length_before_it_whatever_was_expected() {
        for expected in [Expect::Short, Expect::Medium, Expect::Long] {
            for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
                let content = vec![7; length];
                let mut out = b"before".to_vec();
                message(&mut out, 2, expected, |out| out.extend_from_slice(&content));
                let mut written = b"before".to_vec();
                bytes_field(&mut written, 2, &content);
                assert!(out == written, "{expected:?} {length}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Vec::new();
        for value in [0, 1, 127, 128, u64::MAX] {
            varint_field(&mut out, 16, value);
        }
        fixed64_field(&mut out, 1, u64::MAX);
        fixed32_field(&mut out, 2, u32::MAX);
        bytes_field(&mut out, 3, b"text");
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        let whole = for_each_field(&out, |field, value| match value {
            Field::Varint(value) => numbers.push((field, value)),
            Field::Bytes(text) => texts.push((field, text)),
        });
        assert_eq!(whole, Some(()));
        assert_eq!(numbers, [0, 1, 127, 128, u64::MAX].map(|value| (16, value)));
        assert_eq!(texts, [(3, &b"text"[..])]);
    }
}
