//! Several formats at once, and that each is read as it is written.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::context::testing::context;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OTHER: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const SPAN: &str = "b7ad6b7169203331";

fn of(formats: &[Format]) -> Propagation {
    let mut propagation = Propagation::NONE;
    formats.iter().for_each(|format| propagation.add(*format));
    propagation
}

fn headers(sent: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in sent {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// What is found as `TRACE decision tracestate`.
#[track_caller]
fn check(formats: &[Format], sent: &[(&'static str, &str)], expected: &str) {
    let told = of(formats).extract(&headers(sent)).map(|incoming| {
        let trace_id = incoming.trace_id.map(|id| id.to_string());
        let state = incoming.trace_state.as_ref().map_or("", TraceState::as_str);
        format!(
            "{} {:?} {state}",
            trace_id.unwrap_or_default(),
            incoming.sampled
        )
    });
    let told = told.unwrap_or_default().replace("Some", "");
    assert_eq!(told.trim(), expected, "{formats:?} {sent:?}");
}

#[test]
fn the_last_format_with_a_valid_context_wins() {
    use Format::{B3, B3Multi, Gcp, TraceContext};

    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let w3c = ("traceparent", w3c.as_str());
    let state = ("tracestate", "vendor=1");
    let b3 = format!("{OTHER}-{SPAN}-0");
    let b3 = ("b3", b3.as_str());
    let gcp = format!("{OTHER}/1;o=1");
    let gcp = ("x-cloud-trace-context", gcp.as_str());
    let of_w3c = &*format!("{TRACE} (true) vendor=1");
    let of_b3 = &*format!("{OTHER} (false)");
    check(&[TraceContext, B3], &[w3c, state, b3], of_b3);
    check(&[B3, TraceContext], &[w3c, state, b3], of_w3c);
    check(&[B3Multi, TraceContext], &[b3], of_b3);
    check(
        &[TraceContext, B3, Gcp],
        &[w3c, b3, gcp],
        &format!("{OTHER} (true)"),
    );
    check(&[TraceContext], &[b3, gcp], "");
    check(&[B3], &[w3c, gcp], "");
    check(&[], &[w3c, b3, gcp], "");
    // What is malformed, or there twice, overwrites nothing.
    check(&[TraceContext, B3], &[w3c, state, ("b3", "what")], of_w3c);
    check(&[TraceContext, B3], &[w3c, state, b3, b3], of_w3c);
    check(&[B3, TraceContext], &[w3c, w3c, state, b3], of_b3);
    // Nor does a decision without ids, which counts alone.
    check(&[TraceContext, B3], &[w3c, state, ("b3", "0")], of_w3c);
    check(&[TraceContext, B3], &[("b3", "0")], "(false)");
    check(&[Gcp, B3], &[gcp, ("b3", "0")], &format!("{OTHER} (true)"));
}

#[test]
fn tracestate_goes_with_its_trace_whichever_format_tells_it() {
    use Format::{B3, TraceContext};

    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let b3 = format!("{TRACE}-{SPAN}-1");
    let both = [
        ("traceparent", w3c.as_str()),
        ("tracestate", "ot=th:8"),
        ("b3", b3.as_str()),
    ];
    check(
        &[TraceContext, B3],
        &both,
        &format!("{TRACE} (true) ot=th:8"),
    );
    check(&[B3], &both, &format!("{TRACE} (true)"));
    check(&[TraceContext, B3], &both[1..], &format!("{TRACE} (true)"));
}

#[test]
fn every_format_is_written_in_place_of_what_was_there() {
    use Format::{B3, B3Multi, Gcp, TraceContext};

    let mut stale = headers(&[
        ("traceparent", "stale"),
        ("tracestate", "stale=1"),
        ("b3", "1"),
        ("x-b3-flags", "1"),
        ("x-b3-parentspanid", SPAN),
        ("x-cloud-trace-context", "stale"),
        ("baggage", "mine=1"),
    ]);
    let context = RequestContext {
        trace_id: TraceId::from_hex(TRACE.as_bytes()).unwrap(),
        baggage: Some(HeaderValue::from_static("tenant=7")),
        ..Arc::into_inner(context()).unwrap()
    };
    let span_id = SpanId::from_hex(SPAN.as_bytes()).unwrap();
    let mut all = of(&[TraceContext, B3, B3Multi, Gcp]);
    all.baggage = true;
    all.inject(&context, span_id, &mut stale);
    let written = |headers: &HeaderMap| {
        let mut written: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        written.sort();
        written
    };
    let mut expected = vec![
        format!("b3: {TRACE}-{SPAN}-1"),
        "baggage: mine=1".to_owned(),
        format!("traceparent: 00-{TRACE}-{SPAN}-03"),
        "x-b3-sampled: 1".to_owned(),
        format!("x-b3-spanid: {SPAN}"),
        format!("x-b3-traceid: {TRACE}"),
        format!("x-cloud-trace-context: {TRACE}/13235353014750950193;o=1"),
    ];
    assert_eq!(written(&stale), expected);

    let debugged = RequestContext {
        flags: context.flags | RequestContext::DEBUG,
        trace_state: TraceState::kept_by(crate::context::Threshold::ALWAYS, None),
        ..context
    };
    let mut headers = HeaderMap::new();
    all.inject(&debugged, span_id, &mut headers);
    expected[0] = format!("b3: {TRACE}-{SPAN}-d");
    expected[1] = "baggage: tenant=7".to_owned();
    expected[3] = "x-b3-flags: 1".to_owned();
    expected.insert(3, "tracestate: ot=th:0".to_owned());
    expected.sort();
    assert_eq!(written(&headers), expected);
}

#[test]
fn only_other_formats_make_a_request_without_traceparent_worth_a_look() {
    assert!(!Propagation::default().may_be_in(false));
    assert!(Propagation::default().may_be_in(true));
    assert!(of(&[Format::TraceContext, Format::B3]).may_be_in(false));
    assert!(of(&[Format::Gcp]).may_be_in(false));
}

fn format() -> impl Strategy<Value = Format> {
    use Format::{B3, B3Multi, Gcp, TraceContext};
    prop::sample::select(vec![TraceContext, B3, B3Multi, Gcp])
}

proptest! {
    #[test]
    fn a_context_is_read_as_written(
        formats in prop::collection::vec(format(), 1..4),
        trace: [u8; 16],
        span: [u8; 8],
        sampled: bool,
        debug: bool,
    ) {
        let (Some(trace_id), Some(span_id)) = (TraceId::from_bytes(trace), SpanId::from_bytes(span)) else {
            return Ok(());
        };
        let debug = debug && sampled;
        let sent = RequestContext {
            trace_id,
            flags: u8::from(sampled) | if debug { RequestContext::DEBUG } else { 0 },
            ..Arc::into_inner(context()).unwrap()
        };
        let propagation = of(&formats);
        let mut headers = HeaderMap::new();
        propagation.inject(&sent, span_id, &mut headers);
        let incoming = propagation.extract(&headers).unwrap();
        prop_assert_eq!(incoming.trace_id, Some(trace_id));
        prop_assert_eq!(incoming.parent, Some(span_id));
        prop_assert_eq!(incoming.sampled, Some(sampled));
        let last = propagation.formats.into_iter().flatten().last();
        let tells_debug = matches!(last, Some(Format::B3 | Format::B3Multi));
        prop_assert_eq!(incoming.debug, debug && tells_debug);
    }

    #[test]
    fn any_headers_are_read_into_what_can_be_written(
        sent in prop::collection::vec((0..8_usize, "[0-9a-f]{16}|[0-9a-fd/;o=-]{0,60}|[ -~\t]{0,80}"), 0..8),
        formats in prop::collection::vec(format(), 1..4),
    ) {
        const NAMES: [&str; 8] = [
            "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags",
            "x-cloud-trace-context",
        ];
        let sent: Vec<_> = sent.iter().map(|(name, value)| (NAMES[*name], value.as_str())).collect();
        let propagation = of(&formats);
        let Some(incoming) = propagation.extract(&headers(&sent)) else {
            return Ok(());
        };
        let Some((trace_id, span_id)) = incoming.trace_id.zip(incoming.parent) else {
            return Ok(());
        };
        let context = RequestContext {
            trace_id,
            flags: u8::from(incoming.sampled == Some(true)),
            trace_state: incoming.trace_state.clone(),
            ..Arc::into_inner(context()).unwrap()
        };
        let mut written = HeaderMap::new();
        propagation.inject(&context, span_id, &mut written);
        for value in written.values() {
            prop_assert!(value.as_bytes().iter().all(|byte| (0x20..=0x7e).contains(byte) || *byte == b'\t'));
        }
        let again = propagation.extract(&written).unwrap();
        prop_assert_eq!((again.trace_id, again.parent), (Some(trace_id), Some(span_id)));
        prop_assert_eq!(again.sampled, Some(incoming.sampled == Some(true)));
        let w3c = propagation.formats.contains(&Some(Format::TraceContext));
        prop_assert_eq!(again.trace_state, incoming.trace_state.filter(|_| w3c));
    }
}
