//! What the fuzz targets run of the exporters. Called by `fuzzing`.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::split::{Part, part};
use super::zipkin::{EncodeError, encode};
use crate::signal::Signal;
use crate::wire::walk;

/// Cuts the rest of `data` as its first three bytes say: the parts hold every span once, with all that it came with.
pub(crate) fn split(data: &[u8]) {
    let Some((&[low, high, max_spans], request)) = data.split_first_chunk() else {
        return;
    };
    let max_bytes = usize::from(u16::from_le_bytes([low, high]));
    let max_spans = u64::from(max_spans);
    let parts = parts(request, max_bytes, max_spans);
    assert!(parts.len() <= request.len());
    let Some(whole) = spans(request) else {
        return;
    };
    let in_parts = parts.iter().map(|part| {
        let spans = spans(&part.bytes).expect("a part of what is valid is valid");
        assert_eq!(spans.len() as u64, part.items);
        assert!(part.items == 1 || part.bytes.len() <= max_bytes);
        assert!(part.items <= max_spans.max(1));
        spans
    });
    assert_eq!(in_parts.flatten().collect::<Vec<_>>(), whole);
    if let Some(whole) = schemas(request) {
        let in_parts = parts.iter().flat_map(|part| schemas(&part.bytes));
        assert_eq!(in_parts.flatten().collect::<Vec<_>>(), whole);
    }
}

fn parts(request: &[u8], max_bytes: usize, max_spans: u64) -> Vec<Part> {
    let mut from = 0;
    std::iter::from_fn(|| {
        let part = part(Signal::Traces, request, from, max_bytes, max_spans)?;
        assert!(part.items > 0, "it would never end");
        from += part.items;
        Some(part)
    })
    .collect()
}

/// Each span's bytes with those of its resource and its scope; `None` for what is no request.
fn spans(request: &[u8]) -> Option<Vec<[Vec<u8>; 3]>> {
    let mut spans = Vec::new();
    let walked = walk(request, |span| {
        spans.push([span.resource.raw, span.scope.raw, span.raw].map(<[u8]>::to_vec));
    });
    walked.ok().map(|_| spans)
}

/// The schemas' addresses that each span came with.
fn schemas(request: &[u8]) -> Option<Vec<[String; 2]>> {
    let request = ExportTraceServiceRequest::decode(request).ok()?;
    let groups = request.resource_spans.iter();
    let schemas = groups.flat_map(|group| {
        group.scope_spans.iter().flat_map(|scope| {
            let both = [group.schema_url.clone(), scope.schema_url.clone()];
            vec![both; scope.spans.len()]
        })
    });
    Some(schemas.collect())
}

/// A batch as Zipkin's JSON, within `limit` bytes; `None` when it has more.
pub(crate) fn zipkin(batch: Vec<u8>, limit: usize) -> Option<Vec<u8>> {
    match encode(&[Bytes::from(batch)], limit) {
        Ok(json) => {
            assert!(json.len() <= limit + 1, "the last bracket is not counted");
            Some(json)
        }
        Err(EncodeError::TooLarge { .. }) => None,
        Err(error) => panic!("a batch that was taken: {error}"),
    }
}
