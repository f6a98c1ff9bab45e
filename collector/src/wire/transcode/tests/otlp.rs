//! OTLP/JSON: any request comes back, in every spelling that the specification allows.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Proto;
use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use proptest::prelude::*;
use prost::Message;
use serde_json::{Map, Value, json};

use super::decoded;
use crate::wire::any_request::any_request;
use crate::wire::test_support::{attribute, resource_spans, span};
use crate::wire::{TranscodeError, most_otlp_json, otlp_json};

/// How a sender spells what may be spelt in several ways.
#[derive(Clone, Copy, Debug)]
struct Spelling {
    /// `trace_id` instead of `traceId`.
    original_names: bool,
    /// 64-bit numbers as numbers, and small ones as text: both the other way round.
    swapped_numbers: bool,
    upper_case_ids: bool,
    url_safe_bytes: bool,
    /// Unknown members, and nulls for what is absent.
    noise: bool,
}

impl Spelling {
    /// One of all of them.
    fn number(bits: u8) -> Self {
        let bit = |index: u8| bits >> index & 1 == 1;
        Self {
            original_names: bit(0),
            swapped_numbers: bit(1),
            upper_case_ids: bit(2),
            url_safe_bytes: bit(3),
            noise: bit(4),
        }
    }

    fn object<const N: usize>(self, members: [(&str, Value); N]) -> Value {
        let mut object = Map::new();
        for (name, value) in members {
            let absent = value.is_null();
            if !absent || self.noise {
                object.insert(self.name(name), value);
            }
        }
        if self.noise {
            let unknown = json!({"a": [1.5e300, null, {"spans": [{}]}], "\u{e4}\n": "\"\\"});
            object.insert("notInTheSpecification".to_owned(), unknown);
        }
        Value::Object(object)
    }

    fn name(self, camel_case: &str) -> String {
        if !self.original_names {
            return camel_case.to_owned();
        }
        let mut name = String::new();
        for letter in camel_case.chars() {
            if letter.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    fn number64(self, number: impl Into<Value> + ToString) -> Value {
        if self.swapped_numbers {
            number.into()
        } else {
            number.to_string().into()
        }
    }

    fn number32(self, number: u32) -> Value {
        if self.swapped_numbers {
            number.to_string().into()
        } else {
            number.into()
        }
    }

    fn id(self, id: &[u8]) -> Value {
        let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.upper_case_ids {
            digits.to_uppercase().into()
        } else {
            digits.into()
        }
    }

    fn bytes(self, bytes: &[u8]) -> Value {
        if self.url_safe_bytes {
            URL_SAFE_NO_PAD.encode(bytes).into()
        } else {
            STANDARD.encode(bytes).into()
        }
    }

    fn request(self, request: &ExportTraceServiceRequest) -> Value {
        let groups = request.resource_spans.iter().map(|group| {
            let scopes = group.scope_spans.iter().map(|scope| {
                let own = scope.scope.as_ref().map(|scope| {
                    self.object([
                        ("name", json!(scope.name)),
                        ("version", json!(scope.version)),
                        ("attributes", self.attributes(&scope.attributes)),
                        (
                            "droppedAttributesCount",
                            self.number32(scope.dropped_attributes_count),
                        ),
                    ])
                });
                self.object([
                    (
                        "spans",
                        scope.spans.iter().map(|span| self.span(span)).collect(),
                    ),
                    ("scope", own.unwrap_or_default()),
                    ("schemaUrl", json!(scope.schema_url)),
                ])
            });
            let resource = group.resource.as_ref().map(|resource| {
                let entities = resource.entity_refs.iter().map(|entity| {
                    self.object([
                        ("schemaUrl", json!(entity.schema_url)),
                        ("type", json!(entity.r#type)),
                        ("idKeys", json!(entity.id_keys)),
                        ("descriptionKeys", json!(entity.description_keys)),
                    ])
                });
                self.object([
                    ("attributes", self.attributes(&resource.attributes)),
                    (
                        "droppedAttributesCount",
                        self.number32(resource.dropped_attributes_count),
                    ),
                    ("entityRefs", entities.collect()),
                ])
            });
            self.object([
                ("scopeSpans", scopes.collect()),
                ("resource", resource.unwrap_or_default()),
                ("schemaUrl", json!(group.schema_url)),
            ])
        });
        self.object([("resourceSpans", groups.collect())])
    }

    fn span(self, span: &Span) -> Value {
        let events = span.events.iter().map(|event| {
            self.object([
                ("timeUnixNano", self.number64(event.time_unix_nano)),
                ("name", json!(event.name)),
                ("attributes", self.attributes(&event.attributes)),
                (
                    "droppedAttributesCount",
                    self.number32(event.dropped_attributes_count),
                ),
            ])
        });
        let links = span.links.iter().map(|link| {
            self.object([
                ("traceId", self.id(&link.trace_id)),
                ("spanId", self.id(&link.span_id)),
                ("traceState", json!(link.trace_state)),
                ("attributes", self.attributes(&link.attributes)),
                (
                    "droppedAttributesCount",
                    self.number32(link.dropped_attributes_count),
                ),
                ("flags", self.number32(link.flags)),
            ])
        });
        let status = span.status.as_ref().map(|status| {
            self.object([
                ("message", json!(status.message)),
                ("code", json!(status.code)),
            ])
        });
        self.object([
            ("traceId", self.id(&span.trace_id)),
            ("spanId", self.id(&span.span_id)),
            ("traceState", json!(span.trace_state)),
            ("parentSpanId", self.id(&span.parent_span_id)),
            ("flags", self.number32(span.flags)),
            ("name", json!(span.name)),
            ("kind", json!(span.kind)),
            (
                "startTimeUnixNano",
                self.number64(span.start_time_unix_nano),
            ),
            ("endTimeUnixNano", self.number64(span.end_time_unix_nano)),
            ("attributes", self.attributes(&span.attributes)),
            (
                "droppedAttributesCount",
                self.number32(span.dropped_attributes_count),
            ),
            ("events", events.collect()),
            (
                "droppedEventsCount",
                self.number32(span.dropped_events_count),
            ),
            ("links", links.collect()),
            ("droppedLinksCount", self.number32(span.dropped_links_count)),
            ("status", status.unwrap_or_default()),
        ])
    }

    fn attributes(self, attributes: &[KeyValue]) -> Value {
        let entries = attributes.iter().map(|attribute| {
            let value = attribute.value.as_ref().map(|value| self.any_value(value));
            self.object([
                ("key", json!(attribute.key)),
                ("value", value.unwrap_or_default()),
            ])
        });
        entries.collect()
    }

    fn any_value(self, value: &AnyValue) -> Value {
        match &value.value {
            None => self.object([]),
            Some(Proto::StringValue(text)) => self.object([("stringValue", json!(text))]),
            Some(Proto::BoolValue(value)) => self.object([("boolValue", json!(value))]),
            Some(Proto::IntValue(value)) => self.object([("intValue", self.number64(*value))]),
            Some(Proto::DoubleValue(value)) => self.object([("doubleValue", double(*value))]),
            Some(Proto::BytesValue(bytes)) => self.object([("bytesValue", self.bytes(bytes))]),
            Some(Proto::ArrayValue(array)) => {
                let values = array.values.iter().map(|value| self.any_value(value));
                let values = self.object([("values", values.collect())]);
                self.object([("arrayValue", values)])
            }
            Some(Proto::KvlistValue(list)) => {
                let values = self.object([("values", self.attributes(&list.values))]);
                self.object([("kvlistValue", values)])
            }
            Some(Proto::StringValueStrindex(_)) => unreachable!("of profiles alone"),
        }
    }
}

fn double(value: f64) -> Value {
    match value {
        value if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        value => json!(value),
    }
}

/// Enums of OTLP have no negative numbers.
fn without_negative_enums(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    for group in &mut request.resource_spans {
        for scope in &mut group.scope_spans {
            for span in &mut scope.spans {
                span.kind = span.kind.max(0);
            }
        }
    }
    request
}

/// What is in a span of `service` whose JSON has `members` beside its ids.
fn span_with(members: &str) -> Result<Span, TranscodeError> {
    let body = format!(
        "{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{\"traceId\":\"{:032x}\",\"spanId\":\"{:016x}\",\n{members}}}]}}]}}]}}",
        7, 2
    );
    let bytes = otlp_json(body.as_bytes())?;
    assert!(bytes.len() <= body.len());
    let mut request = decoded(Ok(bytes));
    Ok(request.resource_spans[0].scope_spans[0].spans.remove(0))
}

fn value(json: &str) -> Option<Proto> {
    let members = format!("\"attributes\":[{{\"value\":{json},\"key\":\"k\"}}]");
    let span = span_with(&members).unwrap();
    assert_eq!(span.attributes[0].key, "k");
    span.attributes[0].value.clone().and_then(|any| any.value)
}

fn fault(members: &str) -> String {
    span_with(members).unwrap_err().to_string()
}

#[test]
fn the_specifications_own_example() {
    // opentelemetry-proto, examples/trace.json.
    let body = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},
      "scopeSpans":[{"scope":{"name":"my.library","version":"1.0.0","attributes":[{"key":"my.scope.attribute",
      "value":{"stringValue":"some scope attribute"}}]},"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C",
      "spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173","name":"I'm a server span",
      "startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","kind":2,
      "attributes":[{"key":"my.span.attr","value":{"stringValue":"some value"}}]}]}]}]}"#;
    let request = decoded(otlp_json(body.as_bytes()));
    let group = &request.resource_spans[0];
    let resource = group.resource.as_ref().unwrap();
    assert_eq!(
        resource.attributes,
        [attribute("service.name", "my.service")]
    );
    let scope = group.scope_spans[0].scope.as_ref().unwrap();
    assert_eq!((&*scope.name, &*scope.version), ("my.library", "1.0.0"));
    let span = &group.scope_spans[0].spans[0];
    assert_eq!(span.trace_id[..3], [0x5b, 0x8e, 0xff]);
    assert_eq!(span.parent_span_id, 0xeee1_9b7e_c3c1_b173_u64.to_be_bytes());
    assert_eq!(span.name, "I'm a server span");
    assert_eq!(span.kind, 2);
    assert_eq!(span.end_time_unix_nano, 1_544_712_661_000_000_000);
    assert_eq!(span.attributes, [attribute("my.span.attr", "some value")]);
}

#[test]
fn values_of_every_type() {
    let text = |text: &str| Some(Proto::StringValue(text.to_owned()));
    assert_eq!(value(r#"{"stringValue":""}"#), text(""));
    assert_eq!(value(r#"{"stringValue":"a\/b\n\u00e4"}"#), text("a/b\nä"));
    assert_eq!(
        value(r#"{"boolValue":false}"#),
        Some(Proto::BoolValue(false))
    );
    assert_eq!(value(r#"{"intValue":"-5"}"#), Some(Proto::IntValue(-5)));
    assert_eq!(value(r#"{"intValue":0}"#), Some(Proto::IntValue(0)));
    assert_eq!(value(r#"{"doubleValue":1}"#), Some(Proto::DoubleValue(1.0)));
    let Some(Proto::DoubleValue(nan)) = value(r#"{"doubleValue":"NaN"}"#) else {
        panic!("no double");
    };
    assert!(nan.is_nan());
    for padded in ["/+8=", "_-8", "_-8=", "\\/+8="] {
        let json = format!("{{\"bytesValue\":\"{padded}\"}}");
        let expected = Some(Proto::BytesValue(vec![0xff, 0xef]));
        assert_eq!(value(&json), expected, "{padded}");
    }
    assert_eq!(value("{}"), None);
    assert_eq!(value(r#"{"stringValue":null,"boolValue":null}"#), None);
    assert_eq!(value("null"), None);
    assert_eq!(value(r#"{"ofALaterVersion":[1]}"#), None);
}

#[test]
fn what_is_absent_null_or_unknown_is_nothing() {
    let plain = span_with("\"x\":1").unwrap();
    let nulls = r#""parentSpanId":null,"events":null,"status":null,"kind":null,"startTimeUnixNano":null,
        "attributes":null,"flags":null,"droppedLinksCount":null,"name":null"#;
    assert_eq!(span_with(nulls).unwrap(), plain);
    let empties =
        r#""parentSpanId":"","events":[],"kind":0,"startTimeUnixNano":"0","name":"","flags":0"#;
    assert_eq!(span_with(empties).unwrap(), plain);
    for empty in [
        "{}",
        " {\"resourceSpans\": [ ] } ",
        "{\"resourceSpans\":null}",
    ] {
        assert_eq!(otlp_json(empty.as_bytes()), Ok(vec![]));
    }
    let status = span_with("\"status\":{}").unwrap().status;
    assert_eq!(status, Some(Status::default()));
}

#[test]
fn faults_say_what_and_where() {
    let check = |members: &str, expected: &str| {
        let text = fault(members);
        assert!(text.contains(expected), "{members}: {text}");
    };
    let base64 = r#""parentSpanId":"7uGbfsPBsXM=""#;
    check(base64, "line 2, column 16 (span 0");
    check(
        base64,
        "`parentSpanId` is 16 hex digits in OTLP/JSON; `7uGbfsPBsXM=` looks like base64",
    );
    check(r#""parentSpanId":"abc""#, "`abc` is not that");
    check(r#""parentSpanId":"zzzzzzzzzzzzzzzz""#, "is not that");
    check(
        r#""kind":"SPAN_KIND_SERVER""#,
        "OTLP/JSON has the enum's number there",
    );
    check(r#""kind":-1"#, "no such number is defined");
    check(
        r#""name":7"#,
        "there is `7` where a text in quotes is expected",
    );
    check(r#""startTimeUnixNano":"soon""#, "`soon` is no whole number");
    check(r#""startTimeUnixNano":-1"#, "`-1` is no whole number");
    check(
        r#""droppedEventsCount":4294967296"#,
        "no whole number in the range",
    );
    check(
        r#""attributes":{}"#,
        "there is an object where an array is expected",
    );
    check(r#""events":[null]"#, "where an object is expected");
    check(r#""name":"a","name":"b""#, "a member that stands twice");
    check(
        r#""startTimeUnixNano":1,"start_time_unix_nano":2"#,
        "stands twice",
    );
    let two = r#""attributes":[{"key":"a","value":{"intValue":1,"stringValue":"b"}}]"#;
    check(two, "a second value");
    check(
        r#""attributes":[{"value":{"bytesValue":"?"}}]"#,
        "`?` is not base64",
    );
    check(
        r#""attributes":[{"value":{"bytesValue":"QQ="}}]"#,
        "is not base64",
    );
    let whole = |body: &[u8]| otlp_json(body).unwrap_err().to_string();
    assert!(whole(b"").contains("the text ends where an object is expected"));
    assert!(whole(b"[]").contains("there is an array"));
    assert!(whole(b"{} {}").contains("something follows"));
    assert!(
        whole(b"{\n\"a\":\"\xff\"}")
            .contains("line 2, column 6 (span 0, counted from 0): the body is not UTF-8")
    );
}

#[test]
fn nesting_ends_where_readers_of_protobuf_stop() {
    let nested = |depth: usize| {
        let open = r#"{"kvlistValue":{"values":[{"key":"k","value":"#.repeat(depth);
        let close = "}]}}".repeat(depth);
        format!("\"attributes\":[{{\"key\":\"k\",\"value\":{open}{{\"intValue\":1}}{close}}}]")
    };
    // prost itself stops at 100 messages.
    span_with(&nested(30)).unwrap();
    assert!(fault(&nested(31)).contains("nested deeper than 30"));
    assert!(fault(&nested(100_000)).contains("nested deeper than 30"));
}

#[test]
fn large_values_stay_within_the_bound() {
    let keys: Vec<String> = (0..60).map(|_| "k".repeat(20_000)).collect();
    let mut group = resource_spans("shop", vec![span(1, 1, 0)]);
    let resource = group.resource.as_mut().unwrap();
    resource.entity_refs.push(EntityRef {
        id_keys: keys,
        ..EntityRef::default()
    });
    resource.attributes.push(KeyValue {
        key: "bytes".into(),
        value: Some(AnyValue {
            value: Some(Proto::BytesValue(vec![0xfb; 100_001])),
        }),
        ..KeyValue::default()
    });
    resource
        .attributes
        .push(attribute("text", &"\n\u{1f600}".repeat(100_000)));
    let request = ExportTraceServiceRequest {
        resource_spans: vec![group],
    };
    for bits in 0..32 {
        let body = Spelling::number(bits).request(&request).to_string();
        let bytes = otlp_json(body.as_bytes()).unwrap();
        assert!(bytes.len() <= most_otlp_json(body.len()));
        assert!(decoded(Ok(bytes)) == request, "spelling {bits}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_request_in_any_spelling_comes_back(request in any_request(), bits in 0..32_u8) {
        let request = without_negative_enums(request);
        let json = Spelling::number(bits).request(&request);
        for body in [json.to_string(), format!("{json:#}")] {
            let bytes = otlp_json(body.as_bytes()).unwrap();
            prop_assert!(bytes.len() <= body.len());
            prop_assert_eq!(decoded(Ok(bytes)).encode_to_vec(), request.encode_to_vec());
        }
    }

    #[test]
    fn what_opentelemetry_proto_writes_comes_back(request in any_request()) {
        let request = without_negative_enums(request);
        let body = serde_json::to_vec(&request).unwrap();
        prop_assert_eq!(decoded(otlp_json(&body)).encode_to_vec(), request.encode_to_vec());
    }

    #[test]
    fn damaged_bodies_are_refused_or_read(
        request in any_request(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = Spelling::number(0).request(&request).to_string().into_bytes();
        for (at, byte) in changes {
            *at.get_mut(&mut body) = byte;
        }
        body.truncate(cut.index(body.len() + 1));
        if let Ok(bytes) = otlp_json(&body) {
            prop_assert!(bytes.len() <= body.len());
            prop_assert!(ExportTraceServiceRequest::decode(&bytes[..]).is_ok());
        }
    }

    #[test]
    fn any_bytes_end(body in any::<Vec<u8>>()) {
        let _ = otlp_json(&body);
    }
}
