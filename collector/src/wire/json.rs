//! Attribute values as JSON: for kept traces (`views`) and for Zipkin tags (`export`). Types are kept; what
//! JSON cannot hold becomes text as in the OTLP/JSON encoding: bytes as base64, NaN and the infinities by name.

use serde_json::{Map, Value};

use super::attributes::{AnyValueRef, Attributes};
use super::reader::MAX_DEPTH;

/// Stands for a value nested deeper than 32.
const TOO_DEEP: &str = "(nested too deep)";

/// A value as JSON; an empty one is null.
pub fn to_json(value: AnyValueRef<'_>) -> Value {
    json(value, MAX_DEPTH)
}

/// Attributes as a JSON object; of two with the same key the last one stays.
pub fn attributes_to_json(attributes: Attributes<'_>) -> Map<String, Value> {
    object(attributes, MAX_DEPTH)
}

fn json(value: AnyValueRef<'_>, depth: usize) -> Value {
    match value {
        AnyValueRef::Empty => Value::Null,
        AnyValueRef::Str(text) => Value::from(text),
        AnyValueRef::Bool(value) => Value::from(value),
        AnyValueRef::Int(value) => Value::from(value),
        AnyValueRef::Double(value) => double(value),
        AnyValueRef::Bytes(bytes) => Value::from(base64(bytes)),
        AnyValueRef::Array(_) | AnyValueRef::KvList(_) if depth == 0 => Value::from(TOO_DEEP),
        AnyValueRef::Array(_) => value.array().map(|value| json(value, depth - 1)).collect(),
        AnyValueRef::KvList(_) => Value::Object(object(value.kvlist(), depth - 1)),
    }
}

fn object(attributes: Attributes<'_>, depth: usize) -> Map<String, Value> {
    attributes
        .map(|attribute| (attribute.key.to_owned(), json(attribute.value, depth)))
        .collect()
}

fn double(value: f64) -> Value {
    if value.is_finite() {
        Value::from(value)
    } else if value.is_nan() {
        Value::from("NaN")
    } else if value > 0.0 {
        Value::from("Infinity")
    } else {
        Value::from("-Infinity")
    }
}

/// RFC 4648 §4, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().enumerate().fold(0, |group, (i, &byte)| {
            group | u32::from(byte) << (16 - 8 * i)
        });
        for i in 0..4 {
            // Three bytes make four digits, two make three, one makes two.
            text.push(if i <= chunk.len() {
                char::from(ALPHABET[(group >> (18 - 6 * i) & 63) as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Proto;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use prost::Message;
    use serde_json::json;

    use super::*;

    fn any(value: Proto) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn check(value: Proto, expected: &Value) {
        let message = KeyValueList {
            values: vec![KeyValue {
                key: "k".into(),
                value: Some(any(value)),
                ..KeyValue::default()
            }],
        }
        .encode_to_vec();
        let object = attributes_to_json(Attributes::new(&message, 1));
        assert_eq!(Value::Object(object), json!({ "k": *expected }));
    }

    #[test]
    fn every_type_keeps_its_type() {
        check(Proto::StringValue("ä\"\n".into()), &json!("ä\"\n"));
        check(Proto::BoolValue(true), &json!(true));
        check(Proto::IntValue(i64::MIN), &json!(i64::MIN));
        check(Proto::DoubleValue(0.5), &json!(0.5));
        check(Proto::DoubleValue(f64::NAN), &json!("NaN"));
        check(Proto::DoubleValue(f64::INFINITY), &json!("Infinity"));
        check(Proto::DoubleValue(f64::NEG_INFINITY), &json!("-Infinity"));
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            check(Proto::BytesValue(bytes.into()), &json!(text));
        }
        check(Proto::BytesValue(vec![0xff, 0xfe, 0xfd]), &json!("//79"));
        check(
            Proto::ArrayValue(ArrayValue {
                values: vec![any(Proto::IntValue(1)), AnyValue::default()],
            }),
            &json!([1, null]),
        );
    }

    #[test]
    fn nesting_ends_at_the_bound() {
        let mut value = any(Proto::IntValue(7));
        for _ in 0..100 {
            value = any(Proto::ArrayValue(ArrayValue {
                values: vec![value],
            }));
        }
        let Some(Proto::ArrayValue(array)) = value.value else {
            unreachable!()
        };
        let bytes = array.encode_to_vec();
        let text = to_json(AnyValueRef::Array(&bytes)).to_string();
        assert_eq!(text.matches('[').count(), MAX_DEPTH);
        assert!(text.contains(TOO_DEEP), "{text}");
    }
}
