//! What comes from outside, each parser as a function of bytes that panics when a promise is broken. Called by the fuzz
//! targets (`collector/fuzz`, which sets `cfg(fuzzing)`) and, on the kept corpora, by a test; no part of the API.

use std::borrow::Cow;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use zstd_safe::CParameter;

use crate::budget::Budget;
use crate::export::fuzzing as export;
use crate::log::disk::fuzzing as disk;
use crate::net::body::Held;
use crate::net::encoding::Encoding;
use crate::net::inflate::inflate;
use crate::wire::oracle::{self, counts, retained, zipkin};
use crate::wire::{self, Fate, MOST_MEMORY, TranscodeError, WireError};

/// A parser, by the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every parser.
pub const TARGETS: [Target; 14] = [
    ("deflate", deflate),
    ("gzip", gzip),
    ("otlp_json", otlp_json),
    ("otlp_logs", counts::check_any_logs),
    ("otlp_logs_json", otlp_logs_json),
    ("otlp_metrics", counts::check_any_metrics),
    ("otlp_metrics_json", otlp_metrics_json),
    ("otlp_protobuf", oracle::check_any_bytes),
    ("retain", retain),
    ("segments", disk::segments),
    ("split", export::split),
    ("zipkin_json", zipkin_json),
    ("zipkin_protobuf", zipkin_protobuf),
    ("zstd", zstd),
];

/// Bytes that a body may become, and twice as many for all of them.
const LIMIT: usize = 64 * 1024;

fn gzip(data: &[u8]) {
    inflated(Encoding::Gzip, data);
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
    let mut out = vec![0; compressor.gzip_compress_bound(data.len())];
    let made = compressor.gzip_compress(data, &mut out);
    comes_back(Encoding::Gzip, data, &out[..made.expect("its own bound")]);
}

fn deflate(data: &[u8]) {
    inflated(Encoding::Deflate, data);
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
    let mut out = vec![0; compressor.zlib_compress_bound(data.len())];
    let made = compressor.zlib_compress(data, &mut out);
    comes_back(
        Encoding::Deflate,
        data,
        &out[..made.expect("its own bound")],
    );
    let made = compressor.deflate_compress(data, &mut out);
    comes_back(
        Encoding::Deflate,
        data,
        &out[..made.expect("its own bound")],
    );
}

fn zstd(data: &[u8]) {
    inflated(Encoding::Zstd, data);
    let mut compressor = zstd_safe::CCtx::create();
    let tells_size = CParameter::ContentSizeFlag(data.len().is_multiple_of(2));
    compressor.set_parameter(tells_size).expect("it is allowed");
    let mut out = vec![0; zstd_safe::compress_bound(data.len())];
    let made = compressor.compress2(&mut out[..], data);
    comes_back(Encoding::Zstd, data, &out[..made.expect("its own bound")]);
}

/// Whatever comes out is within the limit, and reserved.
fn inflated(encoding: Encoding, body: &[u8]) -> Option<Vec<u8>> {
    let budget = Budget::new(2 * LIMIT);
    let held = Held {
        bytes: body.to_vec().into(),
        reservation: budget.reserve(body.len())?,
    };
    let made = inflate(held, encoding, LIMIT, &budget);
    let bytes = made.ok().map(|made| {
        assert!(made.bytes.len() <= LIMIT);
        assert_eq!(budget.used(), made.bytes.len());
        made.bytes.to_vec()
    });
    assert_eq!(budget.used(), 0);
    bytes
}

fn comes_back(encoding: Encoding, data: &[u8], body: &[u8]) {
    assert!(
        inflated(encoding, body).as_deref() == Some(data),
        "{encoding:?}"
    );
}

fn otlp_json(data: &[u8]) {
    let Ok(made) = wire::otlp_json(data) else {
        return;
    };
    assert!(made.len() <= wire::most_otlp_json(data.len()));
    decoded(&made);
    is_read_alike(data, &made, |_: &mut ExportTraceServiceRequest, _| ());
}

fn otlp_logs_json(data: &[u8]) {
    let Ok(made) = wire::otlp_logs_json(data) else {
        return;
    };
    assert!(made.len() <= wire::most_otlp_json(data.len()));
    counts::check_any_logs(&made);
    is_read_alike(data, &made, |_: &mut ExportLogsServiceRequest, _| ());
}

fn otlp_metrics_json(data: &[u8]) {
    let most = wire::most_otlp_metrics_json(data.len());
    let made = match wire::otlp_metrics_json(data, most) {
        Ok(made) => made,
        Err(TranscodeError::TooLarge { .. }) => panic!("that is enough for any body"),
        Err(_) => return,
    };
    assert!(made.len() <= most);
    counts::check_any_metrics(&made);
    is_read_alike(data, &made, forget_swallowed_data);
}

/// The reference takes a metric whose data it cannot read as one without data.
fn forget_swallowed_data(
    read: &mut ExportMetricsServiceRequest,
    expected: &ExportMetricsServiceRequest,
) {
    let groups = read.resource_metrics.iter_mut();
    let scopes = groups.flat_map(|group| &mut group.scope_metrics);
    let expected = expected.resource_metrics.iter();
    let expected = expected.flat_map(|group| &group.scope_metrics);
    let metrics = scopes.flat_map(|scope| &mut scope.metrics);
    for (metric, expected) in metrics.zip(expected.flat_map(|scope| &scope.metrics)) {
        if expected.data.is_none() {
            metric.data = None;
        }
    }
}

/// What was taken is JSON, what was `made` of it is protobuf, and where the reference takes the JSON, it reads the same, but
/// for what `forgive` makes the same. It knows fields by OTLP's spelling alone, not by that of protobuf (`log_records`).
fn is_read_alike<R: Message + Default + DeserializeOwned>(
    data: &[u8],
    made: &[u8],
    forgive: impl FnOnce(&mut R, &R),
) {
    assert!(is_json(data));
    let mut request = R::decode(made).expect("it is protobuf");
    if let Ok(expected) = serde_json::from_slice::<R>(data)
        && serde_json::from_slice(data).is_ok_and(|value| !has_protobuf_spelling(&value))
    {
        forgive(&mut request, &expected);
        assert_eq!(request.encode_to_vec(), expected.encode_to_vec());
    }
}

fn has_protobuf_spelling(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(has_protobuf_spelling),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('_') || has_protobuf_spelling(value)),
        _ => false,
    }
}

/// The first four bytes say what becomes of the spans of the rest, one for each in turn.
fn retain(data: &[u8]) {
    let Some((fates, request)) = data.split_first_chunk::<4>() else {
        return;
    };
    let fates = fates.map(|fate| match fate {
        0 => Fate::Drop,
        1 => Fate::Keep,
        length => Fate::KeepAs(Cow::Owned("a".repeat(usize::from(length)))),
    });
    retained::check_any_bytes(request, &fates);
}

/// Of numbers the grammar alone counts: what is stepped over may be of any size.
fn is_json(data: &[u8]) -> bool {
    let without_mark = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    serde_json::from_slice::<IgnoredAny>(without_mark).is_ok()
}

fn zipkin_json(data: &[u8]) {
    let most = data.len() * MOST_MEMORY + 4_096;
    let made = match wire::zipkin_json(data, most) {
        Ok(made) => made,
        Err(TranscodeError::TooLarge { .. }) => panic!("that is enough for any body"),
        Err(_) => return,
    };
    assert!(is_json(data));
    goes_out(made);
}

fn zipkin_protobuf(data: &[u8]) {
    let most = data.len() * MOST_MEMORY + 4_096;
    let made = match wire::zipkin_protobuf(data, most) {
        Ok(made) => made,
        Err(TranscodeError::TooLarge { .. }) => panic!("that is enough for any body"),
        Err(_) => return,
    };
    let list = zipkin::ListOfSpans::decode(data).expect("prost takes it, too");
    assert_eq!(wire::walk(&made, |_| ()), Ok(list.spans.len()));
    goes_out(made);
}

/// A batch from a Zipkin sender leaves to Zipkin as JSON that comes in again.
fn goes_out(made: Vec<u8>) {
    let spans = count(&decoded(&made));
    assert_eq!(wire::walk(&made, |_| ()), Ok(spans));
    let Some(json) = export::zipkin(made, 1 << 20) else {
        return;
    };
    let list: Value = serde_json::from_slice(&json).expect("it is JSON");
    assert_eq!(list.as_array().map(Vec::len), Some(spans));
    let again = wire::zipkin_json(&json, json.len() * MOST_MEMORY + 4_096);
    let again = again.expect("it is Zipkin's");
    assert_eq!(count(&decoded(&again)), spans);
}

/// What was made, as prost reads it: valid, but for ids that the walk refuses.
fn decoded(made: &[u8]) -> ExportTraceServiceRequest {
    let request = ExportTraceServiceRequest::decode(made).expect("it is protobuf");
    match wire::walk(made, |_| ()) {
        Ok(spans) => assert_eq!(spans, count(&request)),
        Err(WireError::IdLength { .. } | WireError::ZeroId { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    request
}

fn count(request: &ExportTraceServiceRequest) -> usize {
    let groups = request.resource_spans.iter();
    let scopes = groups.flat_map(|group| &group.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
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
