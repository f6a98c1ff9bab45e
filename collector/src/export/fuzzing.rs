//! What the fuzz targets run of the exporters. Called by `fuzzing`.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::split::{Limits, Part, Parts};
use crate::signal::Signal;
use crate::wire::walk;
use crate::wire::zipkin::{EncodeError, encode};

/// Cuts the rest of `data` as its first three bytes say: the parts hold every span once, in its order and with all that it
/// came with, or say that it cannot go.
pub(crate) fn split(data: &[u8]) {
    let Some((&[low, high, items], request)) = data.split_first_chunk() else {
        return;
    };
    let limits = Limits {
        bytes: usize::from(u16::from_le_bytes([low, high])),
        items: u64::from(items),
        item_bytes: usize::MAX,
    };
    let request = Bytes::copy_from_slice(request);
    let parts = Parts::new(Signal::Traces, &request, 0, limits).collect::<Vec<_>>();
    assert!(parts.len() <= request.len());
    let (Some(all), Some(schemas_of_all)) = (spans(&request), schemas(&request)) else {
        return;
    };
    let (mut left, mut schemas_left) = (&all[..], &schemas_of_all[..]);
    for part in parts {
        let (Part::Request { items, .. } | Part::Unfit { items, .. }) = part;
        assert!(items > 0, "it would never end");
        let (these, rest) = left.split_at(items as usize);
        let (schemas_of_these, schemas_rest) = schemas_left.split_at(items as usize);
        (left, schemas_left) = (rest, schemas_rest);
        if let Part::Request { pieces, items } = part {
            let bytes = pieces.concat();
            assert!(items == 1 || bytes.len() <= limits.bytes);
            assert!(items <= limits.items.max(1));
            assert_eq!(spans(&bytes).as_deref(), Some(these));
            assert_eq!(schemas(&bytes).as_deref(), Some(schemas_of_these));
        }
    }
    assert!(left.is_empty());
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
    match encode(&[Bytes::from(batch)], limit, Vec::new()) {
        Ok(json) => {
            assert!(json.len() <= limit + 1, "the last bracket is not counted");
            Some(json)
        }
        Err(EncodeError::TooLarge { .. }) => None,
        Err(error) => panic!("a batch that was taken: {error}"),
    }
}
