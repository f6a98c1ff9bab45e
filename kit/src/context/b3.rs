//! B3, Zipkin's trace context: the single header `b3` and the `X-B3-…` ones (openzipkin/b3-propagation;
//! OpenTelemetry, "B3 Requirements"). Read and written by `propagation`.

use ::http::{HeaderMap, HeaderName, HeaderValue};

use super::propagation::{Incoming, Outgoing, only};
use super::{SpanId, TraceId};

const B3: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// What a caller decided; none told leaves the decision to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sampling {
    Deny,
    Accept,
    /// Accepted, and to be kept by everyone who samples later.
    Debug,
}

/// Either form, the single header before the others, whichever of them is written.
pub(super) fn extract(headers: &HeaderMap) -> Option<Incoming> {
    only(headers, B3)
        .and_then(|value| single(value.as_bytes()))
        .or_else(|| multi(headers))
}

/// `TRACE-SPAN`, `TRACE-SPAN-SAMPLING`, `TRACE-SPAN-SAMPLING-PARENT`, or the sampling state alone.
fn single(value: &[u8]) -> Option<Incoming> {
    if let Some(sampling) = sampling_state(value) {
        return Some(incoming(None, Some(sampling)));
    }
    let mut fields = value.split(|byte| *byte == b'-');
    let ids = (trace_id(fields.next()?)?, SpanId::from_hex(fields.next()?)?);
    let sampling = match fields.next() {
        Some(state) => Some(sampling_state(state)?),
        None => None,
    };
    // Of no use: the server span is never the caller's own, as it may be among Zipkin's tracers.
    let parent_is_well_formed = fields
        .next()
        .is_none_or(|parent| SpanId::from_hex(parent).is_some());
    (parent_is_well_formed && fields.next().is_none()).then(|| incoming(Some(ids), sampling))
}

fn sampling_state(text: &[u8]) -> Option<Sampling> {
    match text {
        b"0" => Some(Sampling::Deny),
        b"1" => Some(Sampling::Accept),
        b"d" => Some(Sampling::Debug),
        _ => None,
    }
}

fn multi(headers: &HeaderMap) -> Option<Incoming> {
    let field = |name| only(headers, name).map(HeaderValue::as_bytes);
    let sampling = match (field(FLAGS), field(SAMPLED)) {
        (Some(b"1"), _) => Some(Sampling::Debug),
        // Tracers older than the format's description wrote words.
        (_, Some(b"1" | b"true")) => Some(Sampling::Accept),
        (_, Some(b"0" | b"false")) => Some(Sampling::Deny),
        _ => None,
    };
    let ids = field(TRACE_ID)
        .and_then(trace_id)
        .zip(field(SPAN_ID).and_then(SpanId::from_hex));
    (ids.is_some() || sampling.is_some()).then(|| incoming(ids, sampling))
}

/// 128 bits, or 64 bits that get zeros in front.
fn trace_id(hex: &[u8]) -> Option<TraceId> {
    let Ok(short) = <&[u8; 16]>::try_from(hex) else {
        return TraceId::from_hex(hex);
    };
    let mut padded = [b'0'; 32];
    padded.last_chunk_mut::<16>()?.copy_from_slice(short);
    TraceId::from_hex(&padded)
}

fn incoming(ids: Option<(TraceId, SpanId)>, sampling: Option<Sampling>) -> Incoming {
    let incoming = match ids {
        Some((trace_id, span_id)) => Incoming::child_of(trace_id, Some(span_id)),
        None => Incoming::default(),
    };
    Incoming {
        sampled: sampling.map(|sampling| sampling != Sampling::Deny),
        debug: sampling == Some(Sampling::Debug),
        ..incoming
    }
}

/// `TRACE-SPAN-SAMPLING`.
pub(super) fn inject_single(outgoing: Outgoing, headers: &mut HeaderMap) {
    let mut text = *b"00000000000000000000000000000000-0000000000000000-0";
    text[..32].copy_from_slice(&outgoing.trace_id.to_hex());
    text[33..49].copy_from_slice(&outgoing.span_id.to_hex());
    text[50] = match (outgoing.debug, outgoing.sampled()) {
        (true, _) => b'd',
        (false, true) => b'1',
        (false, false) => b'0',
    };
    if let Ok(value) = HeaderValue::from_bytes(&text) {
        headers.insert(B3, value);
    }
}

/// `X-B3-TraceId`, `X-B3-SpanId`, and `X-B3-Sampled` or, of a debugged trace, `X-B3-Flags`.
pub(super) fn inject_multi(outgoing: Outgoing, headers: &mut HeaderMap) {
    let ids = (
        HeaderValue::from_bytes(&outgoing.trace_id.to_hex()),
        HeaderValue::from_bytes(&outgoing.span_id.to_hex()),
    );
    let (Ok(trace_id), Ok(span_id)) = ids else {
        return;
    };
    headers.insert(TRACE_ID, trace_id);
    headers.insert(SPAN_ID, span_id);
    // What the caller's own code copied from its request tells of another call.
    headers.remove(PARENT_SPAN_ID);
    if outgoing.debug {
        headers.insert(FLAGS, HeaderValue::from_static("1"));
        headers.remove(SAMPLED);
    } else {
        let sampled = if outgoing.sampled() { "1" } else { "0" };
        headers.insert(SAMPLED, HeaderValue::from_static(sampled));
        headers.remove(FLAGS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    /// Trace and span id, the decision, and whether it is debugged.
    type Told<'a> = (Option<(&'a str, &'a str)>, Option<bool>, bool);

    #[track_caller]
    fn check(sent: &[(&'static str, &str)], expected: Option<Told<'_>>) {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let incoming = extract(&headers);
        let ids = incoming.as_ref().and_then(|incoming| {
            let (trace_id, span_id) = incoming.trace_id.zip(incoming.parent)?;
            Some((trace_id.to_string(), span_id.to_string()))
        });
        let told = incoming.map(|incoming| {
            let ids = ids.as_ref().map(|(trace, span)| (&**trace, &**span));
            (ids, incoming.sampled, incoming.debug)
        });
        assert_eq!(told, expected, "{sent:?}");
    }

    #[test]
    fn the_single_header() {
        let ids = Some((TRACE, SPAN));
        let b3 = |value: &str, expected| check(&[("b3", value)], expected);
        b3(
            &format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90"),
            Some((ids, Some(true), false)),
        );
        b3(&format!("{TRACE}-{SPAN}-1"), Some((ids, Some(true), false)));
        b3(
            &format!("{TRACE}-{SPAN}-0"),
            Some((ids, Some(false), false)),
        );
        b3(&format!("{TRACE}-{SPAN}-d"), Some((ids, Some(true), true)));
        b3(&format!("{TRACE}-{SPAN}"), Some((ids, None, false)));
        let padded = "0000000000000000e457b5a2e4d86bd1";
        b3(
            &format!("{SPAN}-{SPAN}-1"),
            Some((Some((padded, SPAN)), Some(true), false)),
        );
        b3("0", Some((None, Some(false), false)));
        b3("1", Some((None, Some(true), false)));
        b3("d", Some((None, Some(true), true)));
        for malformed in [
            "",
            "2",
            "true",
            "-",
            TRACE,
            &format!("{TRACE}-"),
            &format!("{TRACE}-{SPAN}-"),
            &format!("{TRACE}-{SPAN}-2"),
            &format!("{TRACE}-{SPAN}-1-"),
            &format!("{TRACE}-{SPAN}-1-5"),
            &format!("{TRACE}-{SPAN}-1-{SPAN}-"),
            &format!("{TRACE}-{}-1", "0".repeat(16)),
            &format!("{}-{SPAN}-1", "0".repeat(32)),
            &format!("{}-{SPAN}-1", "0".repeat(16)),
            &format!("{}-{SPAN}-1", "a".repeat(17)),
            &format!("{}-{SPAN}-1", TRACE.to_uppercase()),
            &format!("{TRACE}-{SPAN}é"),
        ] {
            b3(malformed, None);
        }
    }

    #[test]
    fn the_headers_of_the_older_form() {
        let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
        let told = Some((TRACE, SPAN));
        let with = |more: &[(&'static str, &'static str)], expected| {
            check(&[&ids[..], more].concat(), expected);
        };
        with(&[], Some((told, None, false)));
        with(
            &[("x-b3-parentspanid", "05e3ac9a4f6e3b90")],
            Some((told, None, false)),
        );
        with(&[("x-b3-sampled", "1")], Some((told, Some(true), false)));
        with(&[("x-b3-sampled", "0")], Some((told, Some(false), false)));
        with(&[("x-b3-sampled", "true")], Some((told, Some(true), false)));
        with(&[("x-b3-sampled", "d")], Some((told, None, false)));
        with(&[("x-b3-flags", "1")], Some((told, Some(true), true)));
        with(
            &[("x-b3-flags", "0"), ("x-b3-sampled", "1")],
            Some((told, Some(true), false)),
        );
        with(
            &[("x-b3-sampled", "1"), ("x-b3-sampled", "0")],
            Some((told, None, false)),
        );
        check(&[("x-b3-sampled", "0")], Some((None, Some(false), false)));
        check(&[("x-b3-flags", "1")], Some((None, Some(true), true)));
        check(&ids[..1], None);
        check(&ids[1..], None);
        check(&[], None);
        let short = [("x-b3-traceid", SPAN), ("x-b3-spanid", SPAN)];
        check(
            &short,
            Some((
                Some(("0000000000000000e457b5a2e4d86bd1", SPAN)),
                None,
                false,
            )),
        );
    }

    #[test]
    fn the_single_header_comes_first() {
        let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
        let single = format!("{TRACE}-05e3ac9a4f6e3b90-1");
        let told = Some((Some((TRACE, "05e3ac9a4f6e3b90")), Some(true), false));
        check(&[&ids[..], &[("b3", &*single)]].concat(), told);
        let told = Some((Some((TRACE, SPAN)), None, false));
        check(&[&ids[..], &[("b3", "what")]].concat(), told);
    }
}
