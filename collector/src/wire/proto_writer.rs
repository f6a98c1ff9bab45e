//! Writes protobuf messages one inside the other into one buffer of bounded size. Used by the transcoders and by
//! `retain`.

use crate::wire::reader::{fixed32_tag, fixed64_tag, len_tag, varint_tag};

/// Protobuf under way. Once it would become larger than its limit nothing more is written and
/// [`has_overflowed`](Self::has_overflowed) says so: one check at the end does for all writes.
#[derive(Debug)]
pub(super) struct ProtoWriter {
    bytes: Vec<u8>,
    limit: usize,
    overflow: bool,
}

/// A message that was begun.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(super) struct Open {
    /// Where its length stands.
    at: usize,
    /// Bytes kept free for the length.
    room: usize,
}

/// How many bytes a message's length is expected to take. A wrong guess costs moving the message once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// Below 128 bytes: an attribute.
    Small,
    /// Below 16 KiB: a span.
    Medium,
    /// Below 2 MiB: many spans.
    Large,
}

impl ProtoWriter {
    /// At most `limit` bytes, of which `expected` are allocated at once.
    pub(super) fn new(expected: usize, limit: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(expected.min(limit)),
            limit,
            overflow: false,
        }
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes allocated.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// What was written.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// What was written, in an allocation of its own size.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.shrink_to_fit();
        self.bytes
    }

    /// Whether something did not fit, so that what was written is of no use.
    pub(super) fn has_overflowed(&self) -> bool {
        self.overflow
    }

    /// Forgets what was written after the first `length` bytes.
    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Begins the message in `field`.
    #[inline]
    pub(super) fn open(&mut self, field: u32, expected: Expected) -> Open {
        self.put_varint(u64::from(len_tag(field)));
        let at = self.len();
        let room = match expected {
            Expected::Small => {
                self.push(0);
                return Open { at, room: 1 };
            }
            Expected::Medium => 2,
            Expected::Large => 3,
        };
        self.put([0; 3].get(..room).unwrap_or_default());
        Open { at, room }
    }

    /// Ends the message: puts its length where it belongs.
    #[inline]
    pub(super) fn close(&mut self, message: Open) {
        let Open { at, room } = message;
        let length = self.len().saturating_sub(at + room);
        match self.bytes.get_mut(at) {
            Some(place) if room == 1 && length < 0x80 => *place = length as u8,
            _ => self.put_length(message, length),
        }
    }

    /// Puts a length of several bytes in its place, which may have to be made first.
    fn put_length(&mut self, message: Open, length: usize) {
        let Open { at, room } = message;
        let needed = varint_length(length as u64);
        if needed != room {
            self.make_room(at, room, needed);
        }
        if self.overflow {
            return;
        }
        let mut rest = length;
        let place = self.bytes.iter_mut().skip(at).take(needed);
        for (index, byte) in place.enumerate() {
            let more = if index + 1 < needed { 0x80 } else { 0 };
            *byte = (rest & 0x7f) as u8 | more;
            rest >>= 7;
        }
    }

    /// A text or bytes field, also when it is empty.
    #[inline]
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.put_varint(u64::from(len_tag(field)));
        self.put_varint(value.len() as u64);
        self.put(value);
    }

    /// A text field; protobuf leaves out an empty one.
    #[inline]
    pub(super) fn text(&mut self, field: u32, value: &str) {
        if !value.is_empty() {
            self.bytes(field, value.as_bytes());
        }
    }

    /// A varint field, also when it is zero.
    #[inline]
    pub(super) fn varint(&mut self, field: u32, value: u64) {
        self.put_varint(u64::from(varint_tag(field)));
        self.put_varint(value);
    }

    /// A varint field; protobuf leaves out zero.
    #[inline]
    pub(super) fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.varint(field, value);
        }
    }

    /// A fixed64 or double field, also when it is zero.
    #[inline]
    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        self.put_varint(u64::from(fixed64_tag(field)));
        self.put(&value.to_le_bytes());
    }

    /// A fixed32 field, also when it is zero.
    #[inline]
    pub(super) fn fixed32(&mut self, field: u32, value: u32) {
        self.put_varint(u64::from(fixed32_tag(field)));
        self.put(&value.to_le_bytes());
    }

    /// Fields that were written elsewhere.
    #[inline]
    pub(super) fn fields(&mut self, fields: &[u8]) {
        self.put(fields);
    }

    /// A number of a list that has no tags between.
    pub(super) fn bare_varint(&mut self, value: u64) {
        self.put_varint(value);
    }

    #[inline]
    fn put_varint(&mut self, value: u64) {
        if value < 0x80 {
            self.push(value as u8);
        } else {
            self.put_long_varint(value);
        }
    }

    fn put_long_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        if self.bytes.len() < self.bytes.capacity() || self.grow(1) {
            self.bytes.push(byte);
        }
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < bytes.len() && !self.grow(bytes.len()) {
            return;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Makes room for `more` bytes within the limit.
    #[cold]
    fn grow(&mut self, more: usize) -> bool {
        let left = self.limit.saturating_sub(self.len());
        if self.overflow || more > left {
            self.overflow = true;
            return false;
        }
        let wanted = (self.len() / 2).max(more).min(left);
        self.bytes.reserve_exact(wanted);
        true
    }

    /// Moves what follows the `room` bytes at `at` so that there are `needed` of them.
    #[cold]
    fn make_room(&mut self, at: usize, room: usize, needed: usize) {
        let end = self.len();
        self.put(
            [0; 10]
                .get(..needed.saturating_sub(room))
                .unwrap_or_default(),
        );
        if !self.overflow {
            self.bytes.copy_within(at + room..end, at + needed);
            self.bytes.truncate(end - room + needed);
        }
    }
}

fn varint_length(value: u64) -> usize {
    let bits = (u64::BITS - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::test_support::field;

    #[test]
    fn lengths_are_right_whatever_was_expected() {
        for expected in [Expected::Small, Expected::Medium, Expected::Large] {
            for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_152] {
                let content = vec![7; length];
                let mut writer = ProtoWriter::new(0, usize::MAX);
                let outer = writer.open(1, expected);
                let inner = writer.open(16, expected);
                writer.fields(&content);
                writer.close(inner);
                writer.close(outer);
                let outer = field(1, &field(16, &content));
                assert!(
                    writer.into_bytes() == outer,
                    "{length} bytes, {expected:?} expected"
                );
            }
        }
    }

    #[test]
    fn nothing_goes_beyond_the_limit() {
        for limit in 0..40 {
            let mut writer = ProtoWriter::new(100, limit);
            let outer = writer.open(1, Expected::Large);
            let inner = writer.open(2, Expected::Small);
            writer.text(3, "0123456789");
            writer.fixed64(4, u64::MAX);
            writer.fixed32(5, u32::MAX);
            writer.number(6, u64::MAX);
            writer.close(inner);
            writer.close(outer);
            assert!(writer.len() <= limit && writer.capacity() <= limit);
            // Two for each message, 12, 9, 5, 11, and two more while the length's place was too large.
            assert_eq!(writer.has_overflowed(), limit < 43, "{limit}");
        }
    }
}
