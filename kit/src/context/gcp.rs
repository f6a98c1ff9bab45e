//! Google Cloud's `X-Cloud-Trace-Context: TRACE_ID/SPAN_ID;o=OPTIONS` (Cloud Trace, "Legacy trace context"). Read
//! and written by `propagation`.

use ::http::{HeaderMap, HeaderName, HeaderValue};

use super::propagation::{Incoming, Outgoing, only};
use super::{SpanId, TraceId};

const HEADER: HeaderName = HeaderName::from_static("x-cloud-trace-context");

pub(super) fn extract(headers: &HeaderMap) -> Option<Incoming> {
    parse(only(headers, HEADER)?.to_str().ok()?)
}

/// The trace id is 32 hex digits. The span id is decimal; 0, or none, is a caller without a span. Without
/// options the decision is the receiver's.
fn parse(value: &str) -> Option<Incoming> {
    let (ids, options) = match value.split_once(';') {
        Some((ids, options)) => (ids, Some(options)),
        None => (value, None),
    };
    let (trace_id, parent) = match ids.split_once('/') {
        Some((trace_id, span_id)) => (
            trace_id,
            SpanId::from_bytes(decimal(span_id)?.to_be_bytes()),
        ),
        None => (ids, None),
    };
    let sampled = match options {
        Some(options) => Some(decimal(options.strip_prefix("o=")?)? & 1 == 1),
        None => None,
    };
    let trace_id = TraceId::from_hex(trace_id.to_ascii_lowercase().as_bytes())?;
    Some(Incoming {
        sampled,
        ..Incoming::child_of(trace_id, parent)
    })
}

/// Digits alone: the standard library's own parser takes a sign too.
fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

pub(super) fn inject(outgoing: Outgoing, headers: &mut HeaderMap) {
    let span_id = u64::from_be_bytes(outgoing.span_id.to_bytes());
    let options = u8::from(outgoing.sampled());
    let text = format!("{}/{span_id};o={options}", outgoing.trace_id);
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(HEADER, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "105445aa7843bc8bf206b12000100000";

    #[test]
    fn by_the_documentation() {
        fn check(value: &str, expected: Option<(u64, Option<bool>)>) {
            let told = parse(value).map(|incoming| {
                let trace_id = incoming.trace_id.unwrap();
                assert_eq!(trace_id.to_string(), TRACE, "{value}");
                let parent = incoming.parent.map_or([0; 8], SpanId::to_bytes);
                (u64::from_be_bytes(parent), incoming.sampled)
            });
            assert_eq!(told, expected, "{value}");
        }
        check(&format!("{TRACE}/1;o=1"), Some((1, Some(true))));
        check(&format!("{TRACE}/1;o=0"), Some((1, Some(false))));
        check(&format!("{TRACE}/1;o=3"), Some((1, Some(true))));
        check(&format!("{TRACE}/1"), Some((1, None)));
        check(&format!("{TRACE}/0;o=1"), Some((0, Some(true))));
        check(&format!("{TRACE};o=1"), Some((0, Some(true))));
        check(TRACE, Some((0, None)));
        check(
            &format!("{TRACE}/{};o=1", u64::MAX),
            Some((u64::MAX, Some(true))),
        );
        check(
            &format!("{}/7;o=1", TRACE.to_uppercase()),
            Some((7, Some(true))),
        );
        check(&format!("{TRACE}/18446744073709551616;o=1"), None);
        check(&format!("{TRACE}/+1;o=1"), None);
        check(&format!("{TRACE}/;o=1"), None);
        check(&format!("{TRACE}/a;o=1"), None);
        check(&format!("{TRACE}/1;o="), None);
        check(&format!("{TRACE}/1;x=1"), None);
        check(&format!("{TRACE}/1;o=1;o=1"), None);
        check(&format!("{}/1;o=1", "0".repeat(32)), None);
        check(&format!("{}/1;o=1", &TRACE[1..]), None);
        check("", None);
    }
}
