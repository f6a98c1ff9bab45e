//! Writes protobuf (<https://protobuf.dev/programming-guides/encoding/>) from front to back, without messages in
//! memory between. `protobuf` knows what is in them.

/// The bytes of a message, or of several behind their lengths. Fields that have their type's default are left out, as
/// proto3 has it.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

/// How a field's value is written; the lower three bits of its key.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Double = 1,
    Delimited = 2,
}

impl Message {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets what follows the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// `uint64`, `uint32`, and an `int64` or an enum that is not negative.
    pub(super) fn uint(&mut self, field: u8, value: u64) {
        if value != 0 {
            self.key(field, Wire::Varint);
            self.varint(value);
        }
    }

    /// `sint64` and `sint32`.
    pub(super) fn sint(&mut self, field: u8, value: i64) {
        self.uint(field, zigzag(value));
    }

    /// A `repeated sint64`.
    pub(super) fn sints(&mut self, field: u8, values: &[i64]) {
        if !values.is_empty() {
            self.message(field, |packed| {
                for value in values {
                    packed.varint(zigzag(*value));
                }
            });
        }
    }

    /// Negative zero is no default: it is written.
    pub(super) fn double(&mut self, field: u8, value: f64) {
        if value.to_bits() != 0 {
            self.key(field, Wire::Double);
            self.0.extend(value.to_le_bytes());
        }
    }

    pub(super) fn string(&mut self, field: u8, value: &str) {
        if !value.is_empty() {
            self.key(field, Wire::Delimited);
            self.varint(value.len() as u64);
            self.0.extend_from_slice(value.as_bytes());
        }
    }

    /// A message as a field: whatever `write` writes.
    pub(super) fn message(&mut self, field: u8, write: impl FnOnce(&mut Self)) {
        self.key(field, Wire::Delimited);
        let start = self.begin();
        write(self);
        self.end(start);
    }

    /// Leaves room for the length of what follows up to [`end`](Self::end), which takes what this returns.
    pub(super) fn begin(&mut self) -> usize {
        self.0.push(0);
        self.0.len()
    }

    /// Writes the length of what follows `start`. Most messages are shorter than 128 bytes, for which there is room;
    /// a longer one moves by a byte or more.
    pub(super) fn end(&mut self, start: usize) {
        let mut rest = (self.0.len() - start) as u64;
        let mut at = start - 1;
        while rest >= 0x80 {
            self.0.insert(at, rest as u8 | 0x80);
            rest >>= 7;
            at += 1;
        }
        if let Some(last) = self.0.get_mut(at) {
            *last = rest as u8;
        }
    }

    /// Bytes that are whole messages, behind their lengths.
    #[cfg(feature = "prometheus-protobuf")]
    pub(super) fn append(&mut self, delimited: &[u8]) {
        self.0.extend_from_slice(delimited);
    }

    /// `field` is below 16, so that the key is one byte.
    fn key(&mut self, field: u8, wire: Wire) {
        debug_assert!((1..16).contains(&field));
        self.0.push(field << 3 | wire as u8);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// Small numbers of either sign as small ones of none.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}
