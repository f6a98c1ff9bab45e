//! `KeyValue` and `AnyValue` of opentelemetry/proto/common/v1/common.proto, read in place.

use super::WireError;
use super::reader::{MAX_DEPTH, Reader, fixed64_tag, len_tag, varint_tag};

/// An attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeyValueRef<'a> {
    /// The key.
    pub key: &'a str,
    /// The value; [`AnyValueRef::Empty`] when absent.
    pub value: AnyValueRef<'a>,
}

/// An attribute's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnyValueRef<'a> {
    /// No value at all.
    Empty,
    /// `string_value`.
    Str(&'a str),
    /// `bool_value`.
    Bool(bool),
    /// `int_value`.
    Int(i64),
    /// `double_value`.
    Double(f64),
    /// `array_value`: the `ArrayValue` message's bytes.
    Array(&'a [u8]),
    /// `kvlist_value`: the `KeyValueList` message's bytes.
    KvList(&'a [u8]),
    /// `bytes_value`.
    Bytes(&'a [u8]),
}

/// The attributes of a span, event, link, scope, resource or `KeyValueList`, read as the iterator advances.
/// An entry that is not a valid `KeyValue` is skipped, bytes that are no protobuf end the iteration; it
/// never panics.
#[derive(Clone, Debug)]
pub struct Attributes<'a>(Fields<'a>);

/// The members of an `ArrayValue`; faults as in [`Attributes`].
#[derive(Clone, Debug)]
pub struct ArrayValues<'a>(Fields<'a>);

/// The occurrences of one length-delimited field of a message; ends at the first fault.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    message: Reader<'a>,
    tag: u32,
}

impl<'a> AnyValueRef<'a> {
    /// The text of a `string_value`.
    pub fn as_str(&self) -> Option<&'a str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The members of an `array_value`; none for any other value.
    pub fn array(&self) -> ArrayValues<'a> {
        match self {
            Self::Array(message) => ArrayValues(Fields::new(message, 1)),
            _ => ArrayValues(Fields::new(&[], 1)),
        }
    }

    /// The entries of a `kvlist_value`; none for any other value.
    pub fn kvlist(&self) -> Attributes<'a> {
        match self {
            Self::KvList(message) => Attributes::new(message, 1),
            _ => Attributes::new(&[], 1),
        }
    }

    /// The last member of the oneof wins, `before` if there is none.
    fn read(mut reader: Reader<'a>, before: Self) -> Result<Self, WireError> {
        const STRING: u32 = len_tag(1);
        const BOOL: u32 = varint_tag(2);
        const INT: u32 = varint_tag(3);
        const DOUBLE: u32 = fixed64_tag(4);
        const ARRAY: u32 = len_tag(5);
        const KVLIST: u32 = len_tag(6);
        const BYTES: u32 = len_tag(7);
        let mut value = before;
        while let Some(tag) = reader.tag()? {
            value = match tag {
                STRING => Self::Str(reader.text("an attribute value")?),
                BOOL => Self::Bool(reader.varint()? != 0),
                INT => Self::Int(reader.varint()?.cast_signed()),
                DOUBLE => Self::Double(f64::from_bits(reader.fixed64()?)),
                ARRAY => Self::Array(reader.len_bytes()?),
                KVLIST => Self::KvList(reader.len_bytes()?),
                BYTES => Self::Bytes(reader.len_bytes()?),
                _ => {
                    reader.skip_unknown(tag, 7)?;
                    value
                }
            };
        }
        Ok(value)
    }
}

impl<'a> Attributes<'a> {
    /// The `KeyValue`s in field `field` of `message`.
    pub(super) fn new(message: &'a [u8], field: u32) -> Self {
        Self(Fields::new(message, field))
    }

    /// The attributes whose key `wanted` picks; the others are stepped over without reading their values, for readers
    /// that look for a few keys in every span.
    pub fn select(self, wanted: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = KeyValueRef<'a>> {
        self.0.filter_map(move |entry| {
            let mut rest = entry;
            // Encoders write the key first, so that it is read once; an entry that begins otherwise is read whole.
            if let Ok(Some(KEY)) = rest.tag() {
                let key = rest.len_bytes().ok()?;
                if !wanted(key) {
                    return None;
                }
                let key = std::str::from_utf8(key).ok()?;
                let attribute = key_value_from(rest, key).ok()?;
                let same_key = std::ptr::eq(attribute.key, key);
                return (same_key || wanted(attribute.key.as_bytes())).then_some(attribute);
            }
            let attribute = key_value(entry).ok()?;
            wanted(attribute.key.as_bytes()).then_some(attribute)
        })
    }

    /// The value of the first attribute called `key`.
    pub fn get(&self, key: &str) -> Option<AnyValueRef<'a>> {
        self.clone()
            .find(|attribute| attribute.key == key)
            .map(|attribute| attribute.value)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = KeyValueRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.find_map(|entry| key_value(entry).ok())
    }
}

impl<'a> Iterator for ArrayValues<'a> {
    type Item = AnyValueRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0
            .find_map(|value| AnyValueRef::read(value, AnyValueRef::Empty).ok())
    }
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8], field: u32) -> Self {
        Self::of(Reader::new(message), field)
    }

    pub(super) fn of(message: Reader<'a>, field: u32) -> Self {
        let tag = len_tag(field);
        Self { message, tag }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Reader<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Ok(Some(tag)) = self.message.tag() {
            if tag == self.tag {
                return self.message.message().ok();
            }
            if self.message.skip(tag, MAX_DEPTH).is_err() {
                break;
            }
        }
        self.message = Reader::new(&[]);
        None
    }
}

const KEY: u32 = len_tag(1);

pub(super) fn key_value(reader: Reader<'_>) -> Result<KeyValueRef<'_>, WireError> {
    key_value_from(reader, "")
}

/// The rest of a `KeyValue` whose key so far is `key`.
fn key_value_from<'a>(mut reader: Reader<'a>, key: &'a str) -> Result<KeyValueRef<'a>, WireError> {
    const VALUE: u32 = len_tag(2);
    let mut attribute = KeyValueRef {
        key,
        value: AnyValueRef::Empty,
    };
    while let Some(tag) = reader.tag()? {
        match tag {
            KEY => attribute.key = reader.text("an attribute key")?,
            VALUE => attribute.value = AnyValueRef::read(reader.message()?, attribute.value)?,
            _ => reader.skip_unknown(tag, 2)?,
        }
    }
    Ok(attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selecting_reads_what_reading_all_finds() {
        let text = |tag: u8, text: &str| [&[tag, text.len() as u8][..], text.as_bytes()].concat();
        let value =
            |content: &str| [&[0x12, content.len() as u8 + 2][..], &text(0x0a, content)].concat();
        let entries = [
            [text(0x0a, "a"), value("key first")].concat(),
            [value("key last"), text(0x0a, "a")].concat(),
            [text(0x0a, "a"), value("replaced"), value("value twice")].concat(),
            [text(0x0a, "a"), vec![0x08, 1]].concat(),
            text(0x0a, "a"),
            value("no key"),
            [vec![0x0a, 1, 0xff], value("no text")].concat(),
        ];
        let mut message = Vec::new();
        for entry in &entries {
            message.extend([0x4a, entry.len() as u8]);
            message.extend(entry);
        }
        let all = Attributes::new(&message, 9);
        for wanted in ["a", "", "b"] {
            let selected: Vec<_> = all.clone().select(|key| key == wanted.as_bytes()).collect();
            let plain: Vec<_> = all.clone().filter(|found| found.key == wanted).collect();
            assert_eq!(selected, plain, "{wanted:?}");
        }
    }
}
