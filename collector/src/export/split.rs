//! Cuts one batch that is larger than a peer takes into requests of fewer spans. Called by the worker; the only
//! place that builds OTLP anew, and rarely. One pass over the batch makes all its requests, each in memory of its own
//! size.

use std::iter::Peekable;

use bytes::Bytes;

use crate::net::proto::{Fields, Value, fields, put_bytes_field, put_head, put_varint_field};

/// `ExportTraceServiceRequest.resource_spans`.
const RESOURCE_SPANS: u32 = 1;
/// `ResourceSpans.scope_spans`.
const SCOPE_SPANS: u32 = 2;
/// `ScopeSpans.spans`.
const SPANS: u32 = 2;

/// Tag and length of one message, at the most.
const HEAD_BYTES: usize = 6;
/// Those of a span, its scope and its resource.
const HEADS_BYTES: usize = 3 * HEAD_BYTES;

/// How large a request may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes; a span that alone has more goes alone.
    pub(super) bytes: usize,
    /// Spans; at least one goes.
    pub(super) spans: u64,
    /// Bytes of a span that goes alone.
    pub(super) span_bytes: usize,
}

/// A part of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An `ExportTraceServiceRequest`.
    Request {
        /// Its bytes, in pieces.
        pieces: Vec<Bytes>,
        /// Spans in it.
        spans: u64,
    },
    /// Spans that are not sent, since they or what would have to be repeated with them are too large.
    Unfit {
        /// How many.
        spans: u64,
        /// Why.
        reason: String,
    },
}

/// The parts of one batch, in order.
pub(super) struct Parts<'a> {
    request: &'a Bytes,
    limits: Limits,
    spans: Peekable<Spans<'a>>,
    /// The last span of the parts before.
    last: Option<Place<'a>>,
    resource: Envelope<'a>,
    scope: Envelope<'a>,
}

/// A span, and the messages around it.
#[derive(Clone, Copy)]
struct Place<'a> {
    resource: &'a [u8],
    scope: &'a [u8],
    span: &'a [u8],
}

/// The spans of a request, in order.
struct Spans<'a> {
    resources: Fields<'a>,
    resource: &'a [u8],
    scopes: Fields<'a>,
    scope: &'a [u8],
    spans: Fields<'a>,
}

/// A message around spans, without what it holds of them: every request repeats it.
#[derive(Default)]
struct Envelope<'a> {
    of: &'a [u8],
    /// Its bytes, as far as they fit a request.
    bytes: Vec<u8>,
    /// How many it has.
    length: usize,
}

impl<'a> Parts<'a> {
    /// The parts of `request` from span number `from` on.
    pub(super) fn new(request: &'a Bytes, from: u64, limits: Limits) -> Self {
        let mut spans = Spans {
            resources: fields(request),
            resource: &[],
            scopes: fields(&[]),
            scope: &[],
            spans: fields(&[]),
        };
        let last = (0..from).map_while(|_| spans.next()).last();
        Self {
            request,
            limits,
            spans: spans.peekable(),
            last,
            resource: Envelope::default(),
            scope: Envelope::default(),
        }
    }

    /// Puts at most so many spans in a request from now on.
    pub(super) fn limit_spans(&mut self, spans: u64) {
        self.limits.spans = spans;
    }

    /// Measures what is around a span, once for all spans in it.
    fn enter(&mut self, place: Place<'a>) {
        if !std::ptr::eq(self.resource.of, place.resource) {
            self.resource = Envelope::of(place.resource, SCOPE_SPANS, self.limits.bytes);
        }
        if !std::ptr::eq(self.scope.of, place.scope) {
            self.scope = Envelope::of(place.scope, SPANS, self.limits.bytes);
        }
    }

    /// The spans that cannot go since the envelope they share is too large for a request, or too large to be sent again
    /// with each few of them: from half a request on, more would be repeated than is new.
    fn unfit(&mut self, place: Place<'a>) -> Option<Part> {
        let most = self.limits.bytes;
        let last = self.last.as_ref();
        let again = |of: fn(&Place<'a>) -> &'a [u8]| {
            last.is_some_and(|last| std::ptr::eq(of(last), of(&place)))
        };
        let allowed = |again| if again { most / 2 } else { most };
        let resource = self.resource.length;
        let both = resource + self.scope.length;
        let of: fn(&Place<'a>) -> &'a [u8] = if resource > allowed(again(|place| place.resource)) {
            |place| place.resource
        } else if both > allowed(again(|place| place.scope)) {
            |place| place.scope
        } else {
            return None;
        };
        let mut spans = 0;
        while let Some(skipped) = self
            .spans
            .next_if(|next| std::ptr::eq(of(next), of(&place)))
        {
            self.last = Some(skipped);
            spans += 1;
        }
        let reason = format!(
            "resource and scope of these spans have {both} bytes, too many to be sent with each part of a batch that \
             does not fit one request of {most} bytes"
        );
        Some(Part::Unfit { spans, reason })
    }

    /// A span that alone is larger than a request should be: its own bytes are not copied.
    fn alone(&self, place: Place<'a>) -> Part {
        let (bytes, most) = (place.span.len(), self.limits.span_bytes);
        if bytes > most {
            let reason = format!("a span of {bytes} bytes; at most {most} are sent at once");
            return Part::Unfit { spans: 1, reason };
        }
        let span_field = head(SPANS, place.span.len());
        let scope_length = self.scope.length + span_field.len() + place.span.len();
        let scope_field = head(SCOPE_SPANS, scope_length);
        let resource_length = self.resource.length + scope_field.len() + scope_length;
        let mut before = head(RESOURCE_SPANS, resource_length);
        before.extend_from_slice(&self.resource.bytes);
        before.extend(scope_field);
        before.extend_from_slice(&self.scope.bytes);
        before.extend(span_field);
        Part::Request {
            pieces: vec![before.into(), self.request.slice_ref(place.span)],
            spans: 1,
        }
    }
}

impl Iterator for Parts<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let first = *self.spans.peek()?;
        self.enter(first);
        if let Some(unfit) = self.unfit(first) {
            return Some(unfit);
        }
        let mut request = Request::default();
        while let Some(&place) = self.spans.peek() {
            self.enter(place);
            let added = request.added(place, &self.resource, &self.scope);
            let fits = request.bytes.len() + added <= self.limits.bytes;
            if request.spans == 0 && !fits {
                self.spans.next();
                self.last = Some(place);
                return Some(self.alone(place));
            }
            if request.spans > 0 && (!fits || request.spans >= self.limits.spans) {
                break;
            }
            request.push(place, &self.resource, &self.scope);
            self.spans.next();
        }
        self.last = request.last;
        Some(request.finish())
    }
}

impl<'a> Iterator for Spans<'a> {
    type Item = Place<'a>;

    fn next(&mut self) -> Option<Place<'a>> {
        loop {
            if let Some(span) = self.spans.next_message(SPANS) {
                return Some(Place {
                    resource: self.resource,
                    scope: self.scope,
                    span,
                });
            }
            if let Some(scope) = self.scopes.next_message(SCOPE_SPANS) {
                self.scope = scope;
                self.spans = fields(scope);
                continue;
            }
            self.resource = self.resources.next_message(RESOURCE_SPANS)?;
            self.scopes = fields(self.resource);
        }
    }
}

impl<'a> Envelope<'a> {
    /// Of a message whose field `inner` holds the spans; at most `most` bytes of it are kept.
    fn of(of: &'a [u8], inner: u32, most: usize) -> Self {
        let mut envelope = Self {
            of,
            bytes: Vec::new(),
            length: 0,
        };
        let mut head = Vec::new();
        for (number, value) in fields(of) {
            head.clear();
            let content: &[u8] = match value {
                Value::Bytes(bytes) if number != inner => {
                    put_head(&mut head, number, bytes.len());
                    bytes
                }
                Value::Varint(value) => {
                    put_varint_field(&mut head, number, value);
                    &[]
                }
                Value::Bytes(_) | Value::Skipped => continue,
            };
            envelope.length += head.len() + content.len();
            if envelope.length <= most {
                envelope.bytes.extend_from_slice(&head);
                envelope.bytes.extend_from_slice(content);
            }
        }
        envelope
    }
}

/// A request under way. A message that is open in it has no length yet.
#[derive(Default)]
struct Request<'a> {
    bytes: Vec<u8>,
    spans: u64,
    last: Option<Place<'a>>,
    resource_at: usize,
    scope_at: usize,
}

impl<'a> Request<'a> {
    fn is_in_resource(&self, place: Place<'a>) -> bool {
        (self.last).is_some_and(|last| std::ptr::eq(last.resource, place.resource))
    }

    fn is_in_scope(&self, place: Place<'a>) -> bool {
        (self.last).is_some_and(|last| std::ptr::eq(last.scope, place.scope))
    }

    /// Bytes that one more span makes it longer, at the most.
    fn added(&self, place: Place<'a>, resource: &Envelope<'_>, scope: &Envelope<'_>) -> usize {
        let mut added = place.span.len() + HEADS_BYTES;
        if !self.is_in_scope(place) {
            added += scope.length;
        }
        if !self.is_in_resource(place) {
            added += resource.length;
        }
        // The heads of messages that are open are not in it yet.
        added + 2 * HEAD_BYTES
    }

    fn push(&mut self, place: Place<'a>, resource: &Envelope<'_>, scope: &Envelope<'_>) {
        let (in_resource, in_scope) = (self.is_in_resource(place), self.is_in_scope(place));
        if !in_scope {
            self.close_scope();
        }
        if !in_resource {
            self.close_resource();
            self.resource_at = self.bytes.len();
            self.bytes.extend_from_slice(&resource.bytes);
        }
        if !in_scope {
            self.scope_at = self.bytes.len();
            self.bytes.extend_from_slice(&scope.bytes);
        }
        put_bytes_field(&mut self.bytes, SPANS, place.span);
        self.spans += 1;
        self.last = Some(place);
    }

    fn close_scope(&mut self) {
        if self.spans > 0 {
            close(&mut self.bytes, SCOPE_SPANS, self.scope_at);
        }
    }

    fn close_resource(&mut self) {
        if self.spans > 0 {
            close(&mut self.bytes, RESOURCE_SPANS, self.resource_at);
        }
    }

    fn finish(mut self) -> Part {
        self.close_scope();
        self.close_resource();
        Part::Request {
            pieces: vec![self.bytes.into()],
            spans: self.spans,
        }
    }
}

/// Makes what was written from `start` on the value of the field `number`.
fn close(bytes: &mut Vec<u8>, number: u32, start: usize) {
    let head = head(number, bytes.len() - start);
    bytes.splice(start..start, head);
}

fn head(number: u32, length: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    put_head(&mut head, number, length);
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{test_support, walk};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
    use proptest::prelude::*;
    use prost::Message;

    fn limits(bytes: usize, spans: u64) -> Limits {
        Limits {
            bytes,
            spans,
            span_bytes: usize::MAX,
        }
    }

    fn parts(request: &[u8], bytes: usize, spans: u64) -> Vec<Part> {
        let request = Bytes::copy_from_slice(request);
        Parts::new(&request, 0, limits(bytes, spans)).collect()
    }

    /// The requests alone, each whole, with its spans.
    fn requests(parts: &[Part]) -> Vec<(Vec<u8>, u64)> {
        let whole = |part: &Part| match part {
            Part::Request { pieces, spans } => Some((pieces.concat(), *spans)),
            Part::Unfit { .. } => None,
        };
        parts.iter().filter_map(whole).collect()
    }

    fn ids(request: &[u8]) -> Vec<([u8; 8], String, String)> {
        let mut ids = Vec::new();
        walk(request, |span| {
            let service = span.resource.service_name.to_owned();
            ids.push((span.span_id, service, span.scope.name().to_owned()));
        })
        .unwrap();
        ids
    }

    /// Services with scopes of so many spans each.
    fn request(services: &[Vec<u64>], long: usize) -> Vec<u8> {
        let mut id = 0;
        let groups = services.iter().enumerate().map(|(service, scopes)| {
            let mut group = test_support::resource_spans(&format!("s{service}"), Vec::new());
            let shell = group.scope_spans.pop().unwrap_or_default();
            group.scope_spans = scopes
                .iter()
                .enumerate()
                .map(|(number, &count)| {
                    let mut scope: ScopeSpans = shell.clone();
                    scope.scope.get_or_insert_default().name = format!("scope {number}");
                    scope.schema_url = "u".repeat(long);
                    scope.spans = (0..count)
                        .map(|_| {
                            id += 1;
                            test_support::span(1, id, 0)
                        })
                        .collect();
                    scope
                })
                .collect();
            group
        });
        let resource_spans: Vec<ResourceSpans> = groups.collect();
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    proptest! {
        #[test]
        fn parts_hold_every_span_once_with_its_resource_and_scope(
            services in prop::collection::vec(prop::collection::vec(0u64..12, 0..4), 0..5),
            long in 0usize..300,
            max_bytes in 0usize..2000,
            max_spans in 0u64..30,
            resume in 0usize..10,
        ) {
            let request = request(&services, long);
            let parts = parts(&request, max_bytes, max_spans);
            let sent: Vec<_> = requests(&parts).iter().flat_map(|(bytes, _)| ids(bytes)).collect();
            let unfit: u64 = parts.iter().map(|part| match part {
                Part::Unfit { spans, .. } => *spans,
                Part::Request { .. } => 0,
            }).sum();
            let all = ids(&request);
            prop_assert_eq!(sent.len() as u64 + unfit, all.len() as u64);
            let mut rest = all.iter();
            prop_assert!(sent.iter().all(|id| rest.any(|other| other == id)), "out of order");
            if max_bytes > 1000 {
                prop_assert_eq!(unfit, 0);
            }
            for (bytes, spans) in requests(&parts) {
                prop_assert_eq!(spans as usize, ids(&bytes).len());
                prop_assert!(spans == 1 || bytes.len() <= max_bytes);
                prop_assert!(spans <= max_spans.max(1));
            }
            // Going on after some of them makes the same rest.
            let done = parts.iter().take(resume).map(|part| match part {
                Part::Unfit { spans, .. } | Part::Request { spans, .. } => *spans,
            }).sum();
            let limits = limits(max_bytes, max_spans);
            let rest: Vec<_> = Parts::new(&Bytes::from(request), done, limits).collect();
            prop_assert_eq!(&rest[..], parts.get(resume..).unwrap_or_default());
        }

        #[test]
        fn any_bytes_end(bytes in any::<Vec<u8>>()) {
            prop_assert!(parts(&bytes, 10, 3).len() <= bytes.len());
        }
    }

    /// What all parts have together, and the reasons of those that are set aside.
    fn cost(request: &[u8], max_bytes: usize) -> (usize, u64, u64) {
        let parts = parts(request, max_bytes, u64::MAX);
        let sent = requests(&parts);
        let bytes = sent.iter().map(|(bytes, _)| bytes.len()).sum();
        let unfit = parts.iter().map(|part| match part {
            Part::Unfit { spans, reason } => {
                assert!(reason.contains("too many to be sent"), "{reason}");
                *spans
            }
            Part::Request { .. } => 0,
        });
        let spans = sent.iter().map(|(_, spans)| spans).sum();
        (bytes, spans, unfit.sum())
    }

    #[test]
    fn a_large_resource_is_not_repeated_with_every_few_spans() {
        let limit = 100_000;
        let with_resource = |bytes: usize, scopes: &[u64]| {
            let mut request =
                ExportTraceServiceRequest::decode(&request(&[scopes.to_vec()], 0)[..]).unwrap();
            let resource = request.resource_spans[0].resource.get_or_insert_default();
            let note = test_support::attribute("note", &"x".repeat(bytes));
            resource.attributes.push(note);
            request.encode_to_vec()
        };
        for scopes in [&[3_000][..], &[1; 3_000]] {
            // One that leaves room for about as much as it takes is repeated.
            let request = with_resource(40_000, scopes);
            let (bytes, spans, unfit) = cost(&request, limit);
            assert_eq!((spans, unfit), (3_000, 0));
            assert!(bytes < 3 * request.len(), "{bytes} of {}", request.len());
            // One that does not goes once, with what fits.
            let request = with_resource(60_000, scopes);
            let (bytes, spans, unfit) = cost(&request, limit);
            assert_eq!(spans + unfit, 3_000);
            assert!(
                spans > 100 && bytes <= limit,
                "{spans} spans, {bytes} bytes"
            );
            // One that fits no request does not go at all.
            let request = with_resource(limit, scopes);
            assert_eq!(cost(&request, limit), (0, 0, 3_000));
        }
        // Others in the same batch do not suffer.
        let mut both = with_resource(limit, &[3_000]);
        both.extend(request(&[vec![7]], 0));
        let (_, spans, unfit) = cost(&both, limit);
        assert_eq!((spans, unfit), (7, 3_000));
    }

    #[test]
    fn a_large_span_goes_alone_and_is_not_copied() {
        let mut large = test_support::span(1, 2, 0);
        large.attributes = vec![test_support::attribute("note", &"x".repeat(5_000))];
        let small = |id| test_support::span(1, id, 0);
        let group = test_support::resource_spans("shop", vec![small(1), large, small(3)]);
        let request = Bytes::from(test_support::encode(vec![group]));
        let parts: Vec<_> = Parts::new(&request, 0, limits(2_000, 10)).collect();
        let Part::Request { pieces, spans: 1 } = &parts[1] else {
            panic!("{parts:?}");
        };
        let inside = request.as_ptr_range().contains(&pieces[1].as_ptr());
        assert!(inside, "copied");
        let sent = requests(&parts);
        let all: Vec<_> = sent.iter().flat_map(|(bytes, _)| ids(bytes)).collect();
        assert_eq!(all, ids(&request));

        let bounded = Limits {
            span_bytes: 4_000,
            ..limits(2_000, 10)
        };
        let parts: Vec<_> = Parts::new(&request, 0, bounded).collect();
        let told = format!("{:?}", parts[1]);
        assert!(told.contains("at most 4000 are sent at once"), "{told}");
        assert_eq!(requests(&parts).len(), 2);
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
        let sent = requests(&parts(&request, 1 << 20, 1));
        let all: Vec<_> = sent.iter().flat_map(|(bytes, _)| ids(bytes)).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(all, ids(&request));
    }

    #[test]
    fn what_fits_stays_as_it_was() {
        let request = test_support::request("shop", 10);
        let [(part, 10)] = &requests(&parts(&request, 1 << 20, u64::MAX))[..] else {
            panic!("one part expected");
        };
        let read = |bytes: &[u8]| ExportTraceServiceRequest::decode(bytes).unwrap();
        assert_eq!(read(part), read(&request));
    }
}
