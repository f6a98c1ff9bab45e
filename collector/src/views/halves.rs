//! Children of the server half of a span that Zipkin's senders share. At the door the half became a span of its own
//! (`wire::transcode::zipkin`), but a child that came in another request still names the id that both halves had, which
//! the client half has kept. Zipkin tells such children by their service when it reads a trace; so does this. Called by
//! `tree`.

use std::collections::HashMap;

use crate::wire::SpanRef;

/// Puts them below the half of their own service.
pub(super) fn put_children_below(spans: &mut [SpanRef<'_>]) {
    let halves: HashMap<([u8; 8], &str), [u8; 8]> = spans
        .iter()
        .filter_map(|span| Some(((shared_id(span)?, span.resource.service_name), span.span_id)))
        .collect();
    if halves.is_empty() {
        return;
    }
    for span in spans {
        let service = span.resource.service_name;
        let half = span
            .parent_span_id
            .and_then(|parent| halves.get(&(parent, service)));
        // The half itself is below that id, and of that service.
        if let Some(&half) = half.filter(|&&half| half != span.span_id) {
            span.parent_span_id = Some(half);
        }
    }
}

/// The id that a server half had before it got one of its own.
fn shared_id(span: &SpanRef<'_>) -> Option<[u8; 8]> {
    let mut told = span.attributes().select(|key| key == b"zipkin.id");
    let id = u64::from_str_radix(told.next()?.value.as_str()?, 16).ok()?;
    Some(id.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::{walk, zipkin_json};

    fn span(service: &str, id: &str, parent: &str, kind: &str, shared: bool) -> Value {
        json!({"traceId": "7", "id": id, "parentId": parent, "kind": kind, "shared": shared, "name": service,
               "localEndpoint": {"serviceName": service}})
    }

    /// Ids and parents' ids by service and id, of spans that come one by one.
    fn arranged(spans: &[Value]) -> HashMap<(String, [u8; 8]), Option<[u8; 8]>> {
        let requests: Vec<_> = spans
            .iter()
            .map(|span| zipkin_json(json!([span]).to_string().as_bytes(), 1 << 20).unwrap())
            .collect();
        let mut spans = Vec::new();
        for request in &requests {
            walk(request, |span| spans.push(span)).unwrap();
        }
        put_children_below(&mut spans);
        let by_id = |span: &SpanRef<'_>| {
            let service = span.resource.service_name.to_owned();
            ((service, span.span_id), span.parent_span_id)
        };
        spans.iter().map(by_id).collect()
    }

    #[test]
    fn children_that_come_in_another_request_are_those_of_the_half_of_their_service() {
        let id = |id: u64| id.to_be_bytes();
        let mut spans = vec![
            span("back", "3", "2", "", false),
            span("back", "4", "2", "CLIENT", false),
            span("front", "5", "2", "", false),
            span("front", "2", "1", "CLIENT", false),
            span("back", "2", "1", "SERVER", true),
        ];
        for _ in 0..2 {
            let tree = arranged(&spans);
            let back = |number| tree[&("back".to_owned(), id(number))];
            let half = back(3).unwrap();
            assert_ne!(half, id(2));
            assert_eq!(back(4), Some(half));
            assert_eq!(tree[&("back".to_owned(), half)], Some(id(2)), "{tree:?}");
            assert_eq!(tree[&("front".to_owned(), id(5))], Some(id(2)));
            assert_eq!(tree[&("front".to_owned(), id(2))], Some(id(1)));
            spans.reverse();
        }
    }

    #[test]
    fn spans_that_no_half_is_above_stay_where_they_are() {
        let spans = [
            span("back", "3", "2", "", false),
            span("back", "2", "1", "SERVER", false),
        ];
        let tree = arranged(&spans);
        assert_eq!(
            tree[&("back".to_owned(), 3_u64.to_be_bytes())],
            Some(2_u64.to_be_bytes())
        );
    }
}
