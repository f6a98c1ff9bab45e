//! Writes an attribute, a `KeyValue`, into a message's `field`. Used by every file of `zipkin` that makes some.

use crate::wire::transcode::proto_writer::{Expected, ProtoWriter};

/// With a text as its value.
pub(super) fn put_text(out: &mut ProtoWriter, field: u32, key: &str, value: &str) {
    put(out, field, key, |out| out.bytes(1, value.as_bytes()));
}

/// With a whole number as its value.
pub(super) fn put_number(out: &mut ProtoWriter, field: u32, key: &str, value: u64) {
    put(out, field, key, |out| out.varint(3, value));
}

/// With `true` as its value.
pub(super) fn put_true(out: &mut ProtoWriter, field: u32, key: &str) {
    put(out, field, key, |out| out.varint(2, 1));
}

fn put(out: &mut ProtoWriter, field: u32, key: &str, value: impl FnOnce(&mut ProtoWriter)) {
    let attribute = out.open(field, Expected::Small);
    out.text(1, key);
    let any_value = out.open(2, Expected::Small);
    value(out);
    out.close(any_value);
    out.close(attribute);
}
