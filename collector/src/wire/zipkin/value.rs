//! Attribute values as the texts that Zipkin's tags are: lists and maps as JSON, whose types stay what they are; what JSON
//! cannot hold becomes text as in the OTLP/JSON encoding. Written as they are read, so that no value costs memory beyond
//! the limit of what it is written to. Called by `tags` and for annotations and links.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::json::Json;
use crate::wire::{AnyValueRef, Attributes};

/// Lists and maps in each other that are read, as deep as `wire` reads messages.
const MAX_DEPTH: usize = 32;
/// More of a list or a map is not read as one text.
const MOST_TEXT_BYTES: usize = 8 * 1024 * 1024;
/// Stands for one nested deeper.
const TOO_DEEP: &str = "(nested too deep)";

/// A value as a string value of `json`.
pub(super) fn put_text(json: &mut Json, value: AnyValueRef<'_>) {
    match value {
        AnyValueRef::Empty => json.string(""),
        AnyValueRef::Str(text) => json.string(text),
        AnyValueRef::Bool(value) => json.string(bool_text(value)),
        AnyValueRef::Int(number) => json.string(itoa::Buffer::new().format(number)),
        AnyValueRef::Double(number) => match finite(number) {
            Ok(number) => json.string(&number),
            Err(name) => json.string(name),
        },
        AnyValueRef::Bytes(bytes) => json.base64(bytes),
        AnyValueRef::Array(_) | AnyValueRef::KvList(_) => {
            let mut nested = json.nested();
            put_value(&mut nested, value, MAX_DEPTH);
            json.quoted(&nested);
        }
    }
}

/// The text of a value; `None` when it is longer than any span that is written.
pub(super) fn text(value: AnyValueRef<'_>) -> Option<Cow<'_, str>> {
    Some(match value {
        AnyValueRef::Empty => Cow::Borrowed(""),
        AnyValueRef::Str(text) => Cow::Borrowed(text),
        AnyValueRef::Bool(value) => Cow::Borrowed(bool_text(value)),
        AnyValueRef::Int(number) => Cow::Owned(number.to_string()),
        AnyValueRef::Double(number) => match finite(number) {
            Ok(number) => Cow::Owned(number),
            Err(name) => Cow::Borrowed(name),
        },
        AnyValueRef::Bytes(bytes) => Cow::Owned(BASE64.encode(bytes)),
        AnyValueRef::Array(_) | AnyValueRef::KvList(_) => {
            let mut json = Json::with_limit(MOST_TEXT_BYTES, 0);
            put_value(&mut json, value, MAX_DEPTH);
            Cow::Owned(json.into_text()?)
        }
    })
}

/// Attributes as a JSON object.
pub(super) fn put_object(json: &mut Json, attributes: Attributes<'_>) {
    put_members(json, attributes, MAX_DEPTH);
}

fn put_value(json: &mut Json, value: AnyValueRef<'_>, depth: usize) {
    match value {
        AnyValueRef::Empty => json.raw("null"),
        AnyValueRef::Str(text) => json.string(text),
        AnyValueRef::Bool(value) => json.raw(bool_text(value)),
        AnyValueRef::Int(number) => json.raw(itoa::Buffer::new().format(number)),
        AnyValueRef::Double(number) => match finite(number) {
            Ok(number) => json.raw(&number),
            Err(name) => json.string(name),
        },
        AnyValueRef::Bytes(bytes) => json.base64(bytes),
        AnyValueRef::Array(_) | AnyValueRef::KvList(_) if depth == 0 => json.string(TOO_DEEP),
        AnyValueRef::Array(_) => {
            json.open_array();
            for value in value.array() {
                if json.is_full() {
                    break;
                }
                json.element();
                put_value(json, value, depth - 1);
            }
            json.close_array();
        }
        AnyValueRef::KvList(_) => put_members(json, value.kvlist(), depth - 1),
    }
}

fn put_members(json: &mut Json, attributes: Attributes<'_>, depth: usize) {
    json.open_object();
    for attribute in attributes {
        if json.is_full() {
            break;
        }
        put_value(json.key(attribute.key), attribute.value, depth);
    }
    json.close_object();
}

fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// A number as JSON has it, or the name of one that JSON cannot hold.
fn finite(number: f64) -> Result<String, &'static str> {
    match serde_json::Number::from_f64(number) {
        Some(number) => Ok(number.to_string()),
        None if number.is_nan() => Err("NaN"),
        None if number > 0.0 => Err("Infinity"),
        None => Err("-Infinity"),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::wire::{any_request::any_request, to_json, walk};

    fn text(value: AnyValueRef<'_>) -> String {
        let mut json = Json::with_limit(usize::MAX, 0);
        put_text(&mut json, value);
        serde_json::from_slice(&json.into_bytes()).unwrap()
    }

    fn check(value: AnyValueRef<'_>) {
        let expected = match to_json(value) {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text,
            value => value.to_string(),
        };
        let got = text(value);
        match serde_json::from_str(&got) {
            // Its keys come in their own order.
            Ok(serde_json::Value::Object(object)) => {
                assert_eq!(serde_json::from_str(&expected).ok(), Some(object));
            }
            _ => assert_eq!(got, expected),
        }
    }

    proptest! {
        #[test]
        fn values_are_what_the_pages_show(request in any_request(), number in any::<f64>()) {
            check(AnyValueRef::Double(number));
            let bytes = request.encode_to_vec();
            walk(&bytes, |span| {
                for attribute in span.attributes() {
                    if !matches!(attribute.value, AnyValueRef::Array(_)) {
                        check(attribute.value);
                    }
                }
            })
            .unwrap();
        }
    }

    #[test]
    fn nesting_ends_at_the_bound() {
        let any = |value| AnyValue { value: Some(value) };
        let mut value = any(Value::IntValue(7));
        for _ in 0..100 {
            let values = vec![value];
            value = any(Value::ArrayValue(ArrayValue { values }));
        }
        let Some(Value::ArrayValue(array)) = value.value else {
            unreachable!()
        };
        let text = text(AnyValueRef::Array(&array.encode_to_vec()));
        assert_eq!(text.matches('[').count(), MAX_DEPTH);
        assert!(text.contains(TOO_DEEP), "{text}");
    }
}
