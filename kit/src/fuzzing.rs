//! The parsers of what comes from outside, each as a function of bytes that panics when a promise is broken. Called
//! by the fuzz targets (`kit/fuzz`, which sets `cfg(fuzzing)`) and, on the kept corpora, by a test; no part of the
//! API.

use ::http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::Config;
use crate::context::{
    Format, Propagation, RequestContext, RequestId, SpanId, Threshold, TraceId, TraceParent,
    TraceState, Trust, baggage,
};
use crate::http::{app_duration, forwarded_for};

/// A parser, by the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every parser.
pub const TARGETS: [Target; 11] = [
    ("b3", b3),
    ("b3multi", b3_multi),
    ("baggage", any_baggage),
    ("forwarded", forwarded),
    ("gcp", gcp),
    ("propagators", propagators),
    ("request_id", request_id),
    ("resource_attributes", resource_attributes),
    ("server_timing", server_timing),
    ("traceparent", traceparent),
    ("tracestate", tracestate),
];

/// Header values are what stands between line breaks; those that no server hands on are left out.
fn values(data: &[u8]) -> impl Iterator<Item = HeaderValue> {
    data.split(|byte| *byte == b'\n')
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
}

fn headers(name: &'static str, data: &[u8]) -> HeaderMap {
    let name = HeaderName::from_static(name);
    values(data).map(|value| (name.clone(), value)).collect()
}

/// Each line begins with the letter of its header, `a` being the first.
fn any_headers(names: &[&'static str], data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((letter, value)) = line.split_first() else {
            continue;
        };
        let name = names.get(usize::from(letter.wrapping_sub(b'a')));
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(*name, value);
        }
    }
    headers
}

fn b3(data: &[u8]) {
    translated(&[Format::B3], &headers("b3", data));
}

fn b3_multi(data: &[u8]) {
    const NAMES: [&str; 5] = [
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-sampled",
        "x-b3-flags",
        "x-b3-parentspanid",
    ];
    translated(&[Format::B3Multi], &any_headers(&NAMES, data));
}

fn gcp(data: &[u8]) {
    translated(&[Format::Gcp], &headers("x-cloud-trace-context", data));
}

fn propagators(data: &[u8]) {
    use Format::{B3, B3Multi, Gcp, TraceContext};

    const NAMES: [&str; 8] = [
        "traceparent",
        "tracestate",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-sampled",
        "x-b3-flags",
        "x-cloud-trace-context",
    ];
    let headers = any_headers(&NAMES, data);
    for formats in [
        &[TraceContext, B3, Gcp][..],
        &[Gcp, B3Multi, TraceContext],
        &[B3, TraceContext, Gcp, B3Multi],
    ] {
        translated(formats, &headers);
    }
}

/// What is read in is written out as headers that read the same.
fn translated(formats: &[Format], headers: &HeaderMap) {
    let mut propagation = Propagation::NONE;
    formats.iter().for_each(|format| propagation.add(*format));
    let Some(incoming) = propagation.extract(headers) else {
        return;
    };
    assert!(!incoming.debug || incoming.sampled == Some(true));
    let (Some(trace_id), Some(span_id)) = (incoming.trace_id, incoming.parent) else {
        return;
    };
    let sampled = incoming.sampled == Some(true);
    let context = RequestContext {
        request_id: RequestId::generate_at(std::time::Duration::ZERO),
        trace_id,
        span_id,
        flags: u8::from(sampled),
        trace_state: incoming.trace_state.clone(),
        baggage: None,
        recording: Default::default(),
    };
    let mut written = HeaderMap::new();
    propagation.inject(&context, span_id, &mut written);
    assert!(written.values().all(is_visible));
    let again = propagation.extract(&written);
    let again = again.unwrap_or_else(|| panic!("{written:?} is not read again"));
    assert_eq!(
        (again.trace_id, again.parent),
        (Some(trace_id), Some(span_id))
    );
    assert_eq!(again.sampled, Some(sampled));
    assert_eq!(again.trace_state, incoming.trace_state);
}

/// No line break, no control character but tabs.
fn is_visible(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .iter()
        .all(|byte| matches!(byte, b'\t' | 0x20..=0x7e))
}

fn traceparent(data: &[u8]) {
    if let Some(parent) = TraceParent::parse(data) {
        let header = parent.to_header();
        assert_eq!(TraceParent::parse(header.as_bytes()), Some(parent));
        assert!(is_visible(&header));
        assert_ne!(TraceId::from_bytes(parent.trace_id.to_bytes()), None);
        assert_ne!(SpanId::from_bytes(parent.span_id.to_bytes()), None);
    }
}

fn tracestate(data: &[u8]) {
    let values: Vec<_> = values(data).collect();
    let state = TraceState::parse(values.iter());
    let valid = |state: &TraceState| {
        let header = state.header_value();
        assert!(header.len() <= 512 && is_visible(&header));
        assert_eq!(
            TraceState::parse([&header].into_iter()).as_ref(),
            Some(state)
        );
    };
    state.iter().for_each(valid);
    for ratio in [1.0, 0.25, 1e-12] {
        let threshold = Threshold::keeping(ratio);
        let kept = threshold.and_then(|threshold| TraceState::kept_by(threshold, state.clone()));
        valid(&kept.unwrap_or_else(|| panic!("the threshold of {ratio} is lost")));
    }
    TraceState::not_kept(state).iter().for_each(valid);
}

fn any_baggage(data: &[u8]) {
    let values: Vec<_> = values(data).collect();
    let Some(kept) = baggage::parse(values.iter()) else {
        return;
    };
    assert!(kept.len() <= 8_192 && is_visible(&kept));
    assert_eq!(baggage::parse([&kept].into_iter()).as_ref(), Some(&kept));
    let text = kept.to_str().unwrap_or_default();
    let key = text.split('=').next().unwrap_or_default().trim();
    assert_ne!(baggage::get(&kept, key), None, "{key:?} of {text:?}");
}

/// `X-Forwarded-For` and `Forwarded`.
fn forwarded(data: &[u8]) {
    let headers = any_headers(&["x-forwarded-for", "forwarded"], data);
    for trust in [Trust::Private, Trust::All, Trust::None] {
        if let Some(address) = forwarded_for(&trust, &headers) {
            assert_eq!(address, address.to_canonical());
        }
    }
}

fn server_timing(data: &[u8]) {
    let duration = app_duration(&headers("server-timing", data));
    assert!(duration.is_none_or(|duration| duration.as_secs_f64().is_finite()));
}

fn request_id(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    if let Some(id) = RequestId::accept(&value) {
        assert!((1..=128).contains(&data.len()));
        assert!(data.iter().all(u8::is_ascii_graphic));
        assert_eq!((id.as_bytes(), id.header_value().as_bytes()), (data, data));
    }
}

/// `OTEL_RESOURCE_ATTRIBUTES`, percent-decoding included.
fn resource_attributes(data: &[u8]) {
    let Ok(value) = std::str::from_utf8(data) else {
        return;
    };
    let config = Config::read("fuzz", &|name| {
        (name == "OTEL_RESOURCE_ATTRIBUTES").then(|| value.to_owned())
    });
    assert!(config.resource.iter().all(|(key, _)| !key.is_empty()));
    assert!(config.faults.is_empty());
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::TARGETS;

    #[test]
    fn the_kept_corpora_break_no_promise() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let mut kept: Vec<_> = fs::read_dir(&corpora)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        kept.sort();
        assert_eq!(kept, TARGETS.map(|(name, _)| name));
        for (name, target) in TARGETS {
            let mut inputs = 0;
            for entry in fs::read_dir(corpora.join(name)).unwrap() {
                let input = fs::read(entry.unwrap().path()).unwrap();
                target(&input);
                inputs += 1;
            }
            assert!(inputs > 0, "{name} has no corpus");
        }
    }
}
