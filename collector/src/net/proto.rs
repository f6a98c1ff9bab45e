//! Just enough protobuf for the small messages around a batch: `google.rpc.Status` and the OTLP response.
//! Batches themselves are read by `wire`.

/// A field of a message: its number and value.
pub type Field<'a> = (u32, Value<'a>);

/// A field's value as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Of a wire type that no message here uses, skipped: fixed64, fixed32, a group.
    Skipped,
}

/// The fields of a message, read as the iterator advances.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// The fields of `message`, in order; ends at the first byte that is no protobuf.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (field, after) = split_field(self.rest)?;
        self.rest = after;
        Some(field)
    }
}

impl<'a> Fields<'a> {
    /// The next value of the length-delimited field `wanted`.
    pub fn next_message(&mut self, wanted: u32) -> Option<&'a [u8]> {
        self.find_map(|field| match field {
            (number, Value::Bytes(bytes)) if number == wanted => Some(bytes),
            _ => None,
        })
    }
}

/// Appends a varint field; protobuf leaves out zero.
pub fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(number) << 3);
        put_varint(out, value);
    }
}

/// Appends a length-delimited field.
pub fn put_bytes_field(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_head(out, number, value.len());
    out.extend_from_slice(value);
}

/// Appends what stands before the `length` bytes of a length-delimited field.
pub fn put_head(out: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, length as u64);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Deepest nesting of groups that is read: as deep as `wire` reads them, so that what it took is read whole here.
const MAX_DEPTH: usize = 32;

fn split_field(message: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (number, wire_type, rest) = split_tag(message)?;
    split_value(number, wire_type, rest, MAX_DEPTH)
}

fn split_tag(message: &[u8]) -> Option<(u32, u64, &[u8])> {
    let (tag, rest) = split_varint(message)?;
    let number = u32::try_from(tag >> 3).ok().filter(|&number| number > 0)?;
    Some((number, tag & 7, rest))
}

fn split_value(
    number: u32,
    wire_type: u64,
    rest: &[u8],
    depth: usize,
) -> Option<(Field<'_>, &[u8])> {
    let (value, rest) = match wire_type {
        0 => {
            let (value, rest) = split_varint(rest)?;
            (Value::Varint(value), rest)
        }
        1 => (Value::Skipped, rest.get(8..)?),
        2 => {
            let (len, rest) = split_varint(rest)?;
            let (bytes, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            (Value::Bytes(bytes), rest)
        }
        GROUP => (Value::Skipped, after_group(number, rest, depth)?),
        5 => (Value::Skipped, rest.get(4..)?),
        _ => return None,
    };
    Some(((number, value), rest))
}

const GROUP: u64 = 3;
const END_GROUP: u64 = 4;

/// What follows the end of the group `number`.
fn after_group(number: u32, mut rest: &[u8], depth: usize) -> Option<&[u8]> {
    let depth = depth.checked_sub(1)?;
    loop {
        let (inner, wire_type, after) = split_tag(rest)?;
        if wire_type == END_GROUP {
            return (inner == number).then_some(after);
        }
        (_, rest) = split_value(inner, wire_type, after, depth)?;
    }
}

fn split_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_read(number in 1u32..1 << 29, varint in 1u64.., bytes in any::<Vec<u8>>()) {
            let mut message = Vec::new();
            put_varint_field(&mut message, number, varint);
            put_bytes_field(&mut message, number, &bytes);
            let read: Vec<_> = fields(&message).collect();
            prop_assert_eq!(read, [(number, Value::Varint(varint)), (number, Value::Bytes(&bytes))]);
        }

        #[test]
        fn any_bytes_end(bytes in any::<Vec<u8>>()) {
            prop_assert!(fields(&bytes).count() <= bytes.len());
        }
    }

    #[test]
    fn groups_are_skipped() {
        let group = |number: u8, content: &[u8]| {
            [&[number << 3 | 3][..], content, &[number << 3 | 4]].concat()
        };
        let varint = [1 << 3, 7];
        let nested = (0..MAX_DEPTH).fold(varint.to_vec(), |content, _| group(9, &content));
        let message = [&nested[..], &varint].concat();
        let read: Vec<_> = fields(&message).collect();
        assert_eq!(read, [(9, Value::Skipped), (1, Value::Varint(7))]);
        // Too deep, without an end, ended by another one, ended without a start.
        for wrong in [&group(9, &nested)[..], &[0x4b], &[0x4b, 0x54], &[0x4c]] {
            assert_eq!(fields(&[wrong, &varint].concat()).count(), 0, "{wrong:?}");
        }
    }

    #[test]
    fn zero_is_left_out_and_a_cut_field_ends_the_message() {
        let mut message = Vec::new();
        put_varint_field(&mut message, 1, 0);
        assert!(message.is_empty());
        assert_eq!(fields(&[0x0a, 5, b'a']).count(), 0);
        assert_eq!(fields(&[0xff; 12]).count(), 0);
    }
}
