//! What `retain` leaves of a request, against the walk on both and against what decoding all of it would leave.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::{Fate, retain, walk};
use crate::wire::reader::{MAX_DEPTH, Reader};
use crate::wire::walk::span_tag;

/// Bytes that a span, its scope and its resource need more for their lengths, and the field's tag and length, when a
/// `trace_state` comes in.
const HEADS: usize = 20;

/// Holds [`retain`] against the walk and prost on any bytes; span number n has the nth of `fates`, again from the first
/// one on when they are used up.
///
/// # Panics
/// Where a span that stays is not the same, one is lost or asked about twice, or bytes that the walk takes are refused.
pub(crate) fn check_any_bytes(bytes: &[u8], fates: &[Fate<'static>]) {
    let mut before = Vec::new();
    let mut asked = Vec::new();
    let mut given = fates.iter().cycle().cloned();
    let retained = retain(bytes, |span| {
        asked.push(span.raw);
        given.next().unwrap_or(Fate::Keep)
    });
    if walk(bytes, |span| before.push(span)).is_err() {
        return;
    }
    let retained = retained.expect("the walk takes it");
    let raw: Vec<_> = before.iter().map(|span| span.raw).collect();
    assert_eq!(asked, raw, "each span is asked about once, in order");

    let given = || fates.iter().cycle().take(before.len());
    let is_changed = given().any(|fate| *fate != Fate::Keep);
    assert_eq!(retained.bytes.is_some(), is_changed);
    let Some(out) = retained.bytes else {
        assert_eq!(retained.spans as usize, before.len());
        return;
    };
    let states = given().map(|fate| match fate {
        Fate::KeepAs(state) => state.len() + HEADS,
        Fate::Drop | Fate::Keep => 0,
    });
    assert!(out.len() <= bytes.len() + states.sum::<usize>());

    let mut after = Vec::new();
    walk(&out, |span| after.push(span)).expect("it was taken before");
    assert_eq!(retained.spans as usize, after.len());
    let stay = before.iter().zip(given());
    let stay: Vec<_> = stay.filter(|(_, fate)| **fate != Fate::Drop).collect();
    assert_eq!(stay.len(), after.len());
    for ((before, fate), after) in stay.into_iter().zip(&after) {
        assert_eq!(before.resource.raw, after.resource.raw);
        assert_eq!(before.scope.raw, after.scope.raw);
        match fate {
            Fate::KeepAs(state) => check_state(before.raw, after.raw, state),
            Fate::Drop | Fate::Keep => assert_eq!(before.raw, after.raw),
        }
    }
    if let Ok(request) = ExportTraceServiceRequest::decode(bytes) {
        let expected = expected(request, given().cloned());
        let out = ExportTraceServiceRequest::decode(&out[..]).expect("it was read before");
        // Encoded again, for NaN is not itself.
        assert_eq!(out.encode_to_vec(), expected.encode_to_vec());
    }
}

/// A span with another `trace_state` and nothing else changed: byte for byte, and where prost reads it.
fn check_state(before: &[u8], after: &[u8], state: &str) {
    assert_eq!(without_state(before), without_state(after));
    if let Ok(mut expected) = Span::decode(before) {
        expected.trace_state = state.to_owned();
        let after = Span::decode(after).expect("it was read before");
        assert_eq!(after.encode_to_vec(), expected.encode_to_vec());
    }
}

/// A span's other fields as they stand, also those that nobody knows.
fn without_state(raw: &[u8]) -> Vec<&[u8]> {
    let (mut reader, mut at, mut fields) = (Reader::new(raw), 0, Vec::new());
    while let Some(tag) = reader.tag().expect("the walk read it") {
        reader.skip(tag, MAX_DEPTH).expect("the walk read it");
        if tag != span_tag::TRACE_STATE {
            fields.push(reader.since(at));
        }
        at = reader.position();
    }
    fields
}

/// What `fates` leave of `request`, by decoding all of it.
fn expected(
    mut request: ExportTraceServiceRequest,
    mut fates: impl Iterator<Item = Fate<'static>>,
) -> ExportTraceServiceRequest {
    for resource in &mut request.resource_spans {
        for scope in &mut resource.scope_spans {
            scope
                .spans
                .retain_mut(|span| match fates.next().unwrap_or(Fate::Keep) {
                    Fate::Drop => false,
                    Fate::Keep => true,
                    Fate::KeepAs(state) => {
                        span.trace_state = state.into_owned();
                        true
                    }
                });
        }
        resource.scope_spans.retain(|scope| !scope.spans.is_empty());
    }
    let groups = &mut request.resource_spans;
    groups.retain(|resource| !resource.scope_spans.is_empty());
    request
}
