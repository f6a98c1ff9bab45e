//! OTLP "partial success": how many spans of an accepted batch the collector did not take, and why.
//! The exporter library only logs it; we count it.

use super::protobuf::{Field, for_each_field};

/// `rejected_spans` and `error_message` of an `ExportTraceServiceResponse`; `None` when it is empty,
/// which means all were taken, or not readable.
pub(in crate::trace) fn read(body: &[u8], json: bool) -> Option<(u64, String)> {
    let (rejected, message) = if json {
        from_json(body)?
    } else {
        from_protobuf(body)?
    };
    (rejected > 0 || !message.is_empty()).then_some((rejected, message))
}

fn from_json(body: &[u8]) -> Option<(u64, String)> {
    let response: serde_json::Value = serde_json::from_slice(body).ok()?;
    let partial = response.get("partialSuccess")?;
    // 64-bit integers travel as strings in protobuf's JSON; numbers are allowed.
    let rejected = partial.get("rejectedSpans").and_then(|count| {
        count
            .as_u64()
            .or_else(|| count.as_str().and_then(|count| count.parse().ok()))
    });
    let message = partial.get("errorMessage").and_then(|text| text.as_str());
    Some((
        rejected.unwrap_or_default(),
        message.unwrap_or_default().to_owned(),
    ))
}

/// `partial_success = 1 { rejected_spans = 1; error_message = 2; }`.
fn from_protobuf(body: &[u8]) -> Option<(u64, String)> {
    let mut partial = None;
    for_each_field(body, |field, value| {
        if let (1, Field::Bytes(bytes)) = (field, value) {
            partial = Some(bytes);
        }
    })?;
    let (mut rejected, mut message) = (0, String::new());
    for_each_field(partial?, |field, value| match (field, value) {
        (1, Field::Varint(count)) => rejected = count,
        (2, Field::Bytes(text)) => message = String::from_utf8_lossy(text).into_owned(),
        _ => {}
    })?;
    Some((rejected, message))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn encoded(rejected_spans: i64, error_message: &str) -> Vec<u8> {
        ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans,
                error_message: error_message.to_owned(),
            }),
        }
        .encode_to_vec()
    }

    #[test]
    fn both_encodings_tell_what_was_rejected() {
        fn check(body: &[u8], json: bool, expected: Option<(u64, &str)>) {
            let expected = expected.map(|(count, text)| (count, text.to_owned()));
            assert_eq!(read(body, json), expected);
        }
        check(b"", false, None);
        check(&encoded(0, ""), false, None);
        check(&encoded(300, "too old"), false, Some((300, "too old")));
        check(&encoded(0, "a warning"), false, Some((0, "a warning")));
        check(b"{}", true, None);
        check(br#"{"partialSuccess":{}}"#, true, None);
        check(
            br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#,
            true,
            Some((3, "too old")),
        );
        check(
            br#"{"partialSuccess":{"rejectedSpans":3}}"#,
            true,
            Some((3, "")),
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(body: Vec<u8>, json: bool) {
            let _ = read(&body, json);
        }

        #[test]
        fn what_prost_writes_is_read_back(rejected in 0..i64::MAX, message: String) {
            let expected = (rejected > 0 || !message.is_empty())
                .then(|| (rejected.unsigned_abs(), message.clone()));
            prop_assert_eq!(read(&encoded(rejected, &message), false), expected);
        }
    }
}
