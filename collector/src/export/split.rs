//! Cuts one batch that is larger than a peer takes into requests of fewer spans. Called by the worker; the only
//! place that builds OTLP anew, and rarely.

use crate::net::proto::{Value, fields, put_bytes_field, put_varint_field};

/// `ExportTraceServiceRequest.resource_spans`.
const RESOURCE_SPANS: u32 = 1;
/// `ResourceSpans.scope_spans`.
const SCOPE_SPANS: u32 = 2;
/// `ScopeSpans.spans`.
const SPANS: u32 = 2;

/// A part of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// An `ExportTraceServiceRequest`.
    pub(super) bytes: Vec<u8>,
    /// Spans in it.
    pub(super) spans: u64,
}

/// The spans of `request` from number `from` on, as many as make about `max_bytes` and at most `max_spans`, but at
/// least one; `None` when there are no more.
pub(super) fn part(request: &[u8], from: u64, max_bytes: usize, max_spans: u64) -> Option<Part> {
    let mut bytes = Vec::new();
    let mut index = 0;
    let mut spans = 0;
    for resource_spans in messages(request, RESOURCE_SPANS) {
        let resource = without(resource_spans, SCOPE_SPANS);
        for scope_spans in messages(resource_spans, SCOPE_SPANS) {
            let mut scope = without(scope_spans, SPANS);
            let before = spans;
            let shell = resource.len() + scope.len() + MESSAGE_OVERHEAD;
            let mut full = false;
            for span in messages(scope_spans, SPANS) {
                let size = bytes.len() + shell + scope.len() + span.len();
                full = spans > 0 && (size > max_bytes || spans >= max_spans);
                if full {
                    break;
                }
                if index >= from {
                    put_bytes_field(&mut scope, SPANS, span);
                    spans += 1;
                }
                index += 1;
            }
            if spans > before {
                let mut whole = resource.clone();
                put_bytes_field(&mut whole, SCOPE_SPANS, &scope);
                put_bytes_field(&mut bytes, RESOURCE_SPANS, &whole);
            }
            if full {
                return Some(Part { bytes, spans });
            }
        }
    }
    (spans > 0).then_some(Part { bytes, spans })
}

/// Tags and lengths around one scope's spans.
const MESSAGE_OVERHEAD: usize = 32;

fn messages(message: &[u8], wanted: u32) -> impl Iterator<Item = &[u8]> {
    fields(message).filter_map(move |field| match field {
        (number, Value::Bytes(bytes)) if number == wanted => Some(bytes),
        _ => None,
    })
}

/// A message without its field `left_out`.
fn without(message: &[u8], left_out: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, value) in fields(message) {
        match value {
            Value::Bytes(bytes) if number != left_out => put_bytes_field(&mut out, number, bytes),
            Value::Varint(value) => put_varint_field(&mut out, number, value),
            Value::Bytes(_) | Value::Skipped => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{test_support, walk};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use proptest::prelude::*;
    use prost::Message;

    fn parts(request: &[u8], max_bytes: usize, max_spans: u64) -> Vec<Part> {
        let mut from = 0;
        std::iter::from_fn(|| {
            let part = part(request, from, max_bytes, max_spans)?;
            from += part.spans;
            Some(part)
        })
        .collect()
    }

    fn ids(request: &[u8]) -> Vec<([u8; 8], String)> {
        let mut ids = Vec::new();
        walk(request, |span| {
            ids.push((span.span_id, span.resource.service_name.to_owned()));
        })
        .unwrap();
        ids
    }

    proptest! {
        #[test]
        fn parts_hold_every_span_once_with_its_resource(
            services in prop::collection::vec(1u64..20, 0..5),
            max_bytes in 0usize..2000,
            max_spans in 0u64..30,
        ) {
            let groups = services.iter().enumerate().map(|(service, &count)| {
                let spans = (1..=count).map(|id| test_support::span(1, id + 100 * service as u64, 0));
                test_support::resource_spans(&format!("s{service}"), spans.collect())
            });
            let request = test_support::encode(groups.collect());
            let parts = parts(&request, max_bytes, max_spans);
            let all: Vec<_> = parts.iter().flat_map(|part| ids(&part.bytes)).collect();
            prop_assert_eq!(all, ids(&request));
            for part in &parts {
                prop_assert_eq!(part.spans as usize, ids(&part.bytes).len());
                prop_assert!(part.spans == 1 || part.bytes.len() <= max_bytes);
                prop_assert!(part.spans <= max_spans.max(1));
            }
        }

        #[test]
        fn any_bytes_end(bytes in any::<Vec<u8>>()) {
            prop_assert!(parts(&bytes, 10, 3).len() <= bytes.len());
        }
    }

    #[test]
    fn unknown_groups_end_no_message() {
        // Field 1000 as a group with a string in it: after the first span, in each message around it, and at last.
        let group = [0xc3, 0x3e, 0x0a, 1, b'x', 0xc4, 0x3e];
        let mut request = group.to_vec();
        for service in 0..2u64 {
            let mut scope = Vec::new();
            for id in 1..=2 {
                let span = test_support::span(1, id + 100 * service, 0);
                put_bytes_field(&mut scope, SPANS, &span.encode_to_vec());
                scope.extend(group);
            }
            let mut resource_spans = group.to_vec();
            put_bytes_field(&mut resource_spans, SCOPE_SPANS, &scope);
            put_bytes_field(&mut request, RESOURCE_SPANS, &resource_spans);
            request.extend(group);
        }
        let parts = parts(&request, 1 << 20, 1);
        let all: Vec<_> = parts.iter().flat_map(|part| ids(&part.bytes)).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(all, ids(&request));
    }

    #[test]
    fn what_fits_stays_as_it_was() {
        let request = test_support::request("shop", 10);
        let [part] = &parts(&request, 1 << 20, u64::MAX)[..] else {
            panic!("one part expected");
        };
        let read = |bytes: &[u8]| ExportTraceServiceRequest::decode(bytes).unwrap();
        assert_eq!(read(&part.bytes), read(&request));
    }
}
