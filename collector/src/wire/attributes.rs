//! `KeyValue` and `AnyValue` of opentelemetry/proto/common/v1/common.proto, read in place.

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

/// The attributes of a span, event, link, scope or resource, read as the iterator advances. Bytes that
/// are not valid protobuf or UTF-8 end the iteration or skip the entry; it never panics.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    _message: &'a [u8],
    _field: u32,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = KeyValueRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        unimplemented!()
    }
}
