//! Cuts one batch that is larger than a peer takes into requests of fewer items. Called by the worker; the only
//! place that builds OTLP anew, and rarely. One pass over the batch makes all its requests, each in memory of its own
//! size.

use std::iter::Peekable;

use bytes::Bytes;

use crate::net::proto::{Fields, Value, fields, put_bytes_field, put_head, put_varint_field};
use crate::signal::Signal;

/// The fields in which the messages are that lead from a request to its items; the same for every signal down to the
/// scope, and data points are below their metric and its kind of data.
type Levels = &'static [&'static [u32]];

fn levels(signal: Signal) -> Levels {
    const IN_SCOPES: Levels = &[&[1], &[2], &[2]];
    match signal {
        Signal::Traces | Signal::Logs => IN_SCOPES,
        Signal::Metrics => &[&[1], &[2], &[2], &[5, 7, 9, 10, 11], &[1]],
    }
}

/// Messages around an item, at the most: resource, scope, metric, its data.
const MOST_AROUND: usize = 4;

/// Tag and length of one message, at the most.
const HEAD_BYTES: usize = 6;

/// How large a request may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes; an item that alone has more goes alone.
    pub(super) bytes: usize,
    /// Spans, log records or data points; at least one goes.
    pub(super) items: u64,
    /// Bytes of an item that goes alone.
    pub(super) item_bytes: usize,
}

/// A part of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A request of the batch's signal.
    Request {
        /// Its bytes, in pieces.
        pieces: Vec<Bytes>,
        /// Spans, log records or data points in it.
        items: u64,
    },
    /// Items that are not sent, since they or what would have to be repeated with them are too large.
    Unfit {
        /// How many.
        items: u64,
        /// Why.
        reason: String,
    },
}

/// The parts of one batch, in order.
pub(super) struct Parts<'a> {
    request: &'a Bytes,
    limits: Limits,
    levels: Levels,
    items: Peekable<Items<'a>>,
    /// The last item of the parts before.
    last: Option<Place<'a>>,
    envelopes: [Envelope<'a>; MOST_AROUND],
}

/// A field that is a message.
#[derive(Clone, Copy, Debug, Default)]
struct Message<'a> {
    number: u32,
    bytes: &'a [u8],
}

/// An item, and the messages around it, the outermost first.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    around: [Message<'a>; MOST_AROUND],
    item: Message<'a>,
}

/// The items of a request, in order.
struct Items<'a> {
    levels: Levels,
    /// Messages that are being read, the outermost, which is the request, first.
    open: Vec<Fields<'a>>,
    around: [Message<'a>; MOST_AROUND],
}

/// A message around items, without what it holds of them: every request repeats it.
#[derive(Default)]
struct Envelope<'a> {
    of: &'a [u8],
    /// Its bytes, as far as they fit a request.
    bytes: Vec<u8>,
    /// How many it has.
    length: usize,
}

impl<'a> Parts<'a> {
    /// The parts of `request`, which is of `signal`, from item number `from` on.
    pub(super) fn new(signal: Signal, request: &'a Bytes, from: u64, limits: Limits) -> Self {
        let levels = levels(signal);
        let mut items = Items {
            levels,
            open: vec![fields(request)],
            around: Default::default(),
        };
        let last = (0..from).map_while(|_| items.next()).last();
        Self {
            request,
            limits,
            levels,
            items: items.peekable(),
            last,
            envelopes: Default::default(),
        }
    }

    /// Puts at most so many items in a request from now on.
    pub(super) fn limit_items(&mut self, items: u64) {
        self.limits.items = items;
    }

    /// Measures what is around an item, once for all items in it.
    fn enter(&mut self, place: Place<'a>) {
        let below = self.levels.iter().skip(1);
        for ((envelope, message), below) in self.envelopes.iter_mut().zip(place.around).zip(below) {
            if !std::ptr::eq(envelope.of, message.bytes) {
                *envelope = Envelope::of(message.bytes, below, self.limits.bytes);
            }
        }
    }

    /// The items that cannot go since an envelope they share is too large for a request, or too large to be sent again
    /// with each few of them: from half a request on, more would be repeated than is new.
    fn unfit(&mut self, place: Place<'a>) -> Option<Part> {
        let most = self.limits.bytes;
        let shared = self.last.map_or(0, |last| last.shared(place));
        let mut length = 0;
        let depth = self
            .envelopes
            .iter()
            .enumerate()
            .find_map(|(level, envelope)| {
                length += envelope.length;
                let allowed = if level < shared { most / 2 } else { most };
                (length > allowed).then_some(level + 1)
            })?;
        let mut items = 0;
        while let Some(skipped) = self.items.next_if(|next| next.shared(place) >= depth) {
            self.last = Some(skipped);
            items += 1;
        }
        let reason = format!(
            "what is around these items, such as their resource and scope, has {length} bytes: too many to be sent with \
             each part of a batch that does not fit one request of {most} bytes"
        );
        Some(Part::Unfit { items, reason })
    }

    /// An item that alone is larger than a request should be: its own bytes are not copied.
    fn alone(&self, place: Place<'a>) -> Part {
        let (bytes, most) = (place.item.bytes.len(), self.limits.item_bytes);
        if bytes > most {
            let reason = format!("an item of {bytes} bytes; at most {most} are sent at once");
            return Part::Unfit { items: 1, reason };
        }
        let item_head = head(place.item.number, bytes);
        let mut length = item_head.len() + bytes;
        let around = place.around.iter().zip(&self.envelopes);
        let mut before: Vec<_> = around
            .filter(|(message, _)| message.number > 0)
            .rev()
            .map(|(message, envelope)| {
                let head = head(message.number, envelope.length + length);
                length += head.len() + envelope.length;
                [head, envelope.bytes.clone()].concat()
            })
            .collect();
        before.reverse();
        before.push(item_head);
        Part::Request {
            pieces: vec![
                before.concat().into(),
                self.request.slice_ref(place.item.bytes),
            ],
            items: 1,
        }
    }
}

impl Iterator for Parts<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let first = *self.items.peek()?;
        self.enter(first);
        if let Some(unfit) = self.unfit(first) {
            return Some(unfit);
        }
        let mut request = Request::default();
        while let Some(&place) = self.items.peek() {
            self.enter(place);
            let fits = request.length_with(place, &self.envelopes) <= self.limits.bytes;
            if request.items == 0 && !fits {
                self.items.next();
                self.last = Some(place);
                return Some(self.alone(place));
            }
            if request.items > 0 && (!fits || request.items >= self.limits.items) {
                break;
            }
            request.push(place, &self.envelopes);
            self.items.next();
        }
        self.last = request.last;
        Some(request.finish())
    }
}

impl Place<'_> {
    /// How many of the messages around two items are the same, from the outermost on.
    fn shared(&self, other: Place<'_>) -> usize {
        let both = self.around.iter().zip(other.around);
        let same = both.take_while(|(own, other)| {
            own.number > 0 && std::ptr::eq(own.bytes.as_ptr(), other.bytes.as_ptr())
        });
        same.count()
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Place<'a>;

    fn next(&mut self) -> Option<Place<'a>> {
        loop {
            let level = self.open.len().checked_sub(1)?;
            let wanted = self.levels.get(level)?;
            let Some(message) = self.open.last_mut()?.find_map(|field| match field {
                (number, Value::Bytes(bytes)) if wanted.contains(&number) => {
                    Some(Message { number, bytes })
                }
                _ => None,
            }) else {
                self.open.pop();
                continue;
            };
            if level + 1 == self.levels.len() {
                return Some(Place {
                    around: self.around,
                    item: message,
                });
            }
            *self.around.get_mut(level)? = message;
            self.open.push(fields(message.bytes));
        }
    }
}

impl<'a> Envelope<'a> {
    /// Of a message whose fields `inner` hold the items; at most `most` bytes of it are kept.
    fn of(of: &'a [u8], inner: &[u32], most: usize) -> Self {
        let mut envelope = Self {
            of,
            bytes: Vec::new(),
            length: 0,
        };
        let mut head = Vec::new();
        for (number, value) in fields(of) {
            head.clear();
            let content: &[u8] = match value {
                Value::Bytes(bytes) if !inner.contains(&number) => {
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

/// A request under way. A message that is open in it has no head yet.
#[derive(Default)]
struct Request<'a> {
    bytes: Vec<u8>,
    items: u64,
    last: Option<Place<'a>>,
    /// The messages that are open, the outermost first: their field, and where they start.
    open: Vec<(u32, usize)>,
}

impl<'a> Request<'a> {
    fn shared(&self, place: Place<'a>) -> usize {
        self.last.map_or(0, |last| last.shared(place))
    }

    /// How long it is with one more item, at the most.
    fn length_with(&self, place: Place<'a>, envelopes: &[Envelope<'_>]) -> usize {
        let new = envelopes.iter().skip(self.shared(place));
        let around: usize = new.map(|envelope| envelope.length).sum();
        // Of the item and of everything around it, twice: what is open has no head yet.
        let heads = (2 * MOST_AROUND + 1) * HEAD_BYTES;
        self.bytes.len() + around + heads + place.item.bytes.len()
    }

    fn push(&mut self, place: Place<'a>, envelopes: &[Envelope<'_>]) {
        let shared = self.shared(place);
        self.close_down_to(shared);
        let around = place.around.iter().zip(envelopes).skip(shared);
        for (message, envelope) in around.filter(|(message, _)| message.number > 0) {
            self.open.push((message.number, self.bytes.len()));
            self.bytes.extend_from_slice(&envelope.bytes);
        }
        put_bytes_field(&mut self.bytes, place.item.number, place.item.bytes);
        self.items += 1;
        self.last = Some(place);
    }

    fn close_down_to(&mut self, depth: usize) {
        while self.open.len() > depth
            && let Some((number, start)) = self.open.pop()
        {
            let head = head(number, self.bytes.len() - start);
            self.bytes.splice(start..start, head);
        }
    }

    fn finish(mut self) -> Part {
        self.close_down_to(0);
        Part::Request {
            pieces: vec![self.bytes.into()],
            items: self.items,
        }
    }
}

fn head(number: u32, length: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    put_head(&mut head, number, length);
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::any_request::{any_logs, any_metrics};
    use crate::wire::{test_support, walk};
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::metrics::v1::metric;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
    use proptest::prelude::*;
    use prost::Message;

    fn limits(bytes: usize, items: u64) -> Limits {
        Limits {
            bytes,
            items,
            item_bytes: usize::MAX,
        }
    }

    fn parts(request: &[u8], bytes: usize, spans: u64) -> Vec<Part> {
        let request = Bytes::copy_from_slice(request);
        Parts::new(Signal::Traces, &request, 0, limits(bytes, spans)).collect()
    }

    /// The requests alone, each whole, with its spans.
    fn requests(parts: &[Part]) -> Vec<(Vec<u8>, u64)> {
        let whole = |part: &Part| match part {
            Part::Request { pieces, items } => Some((pieces.concat(), *items)),
            Part::Unfit { .. } => None,
        };
        parts.iter().filter_map(whole).collect()
    }

    /// Every log record with all that is around it.
    fn log_records(request: &[u8]) -> Vec<String> {
        let request = ExportLogsServiceRequest::decode(request).unwrap();
        let mut all = Vec::new();
        for group in &request.resource_logs {
            for scope in &group.scope_logs {
                for record in &scope.log_records {
                    let around = (&group.resource, &group.schema_url, &scope.scope);
                    all.push(format!("{around:?} {} {record:?}", scope.schema_url));
                }
            }
        }
        all
    }

    /// Every data point with all that is around it.
    fn data_points(request: &[u8]) -> Vec<String> {
        use metric::Data::{ExponentialHistogram, Gauge, Histogram, Sum, Summary};
        let request = ExportMetricsServiceRequest::decode(request).unwrap();
        let mut all = Vec::new();
        for group in &request.resource_metrics {
            for scope in &group.scope_metrics {
                let around = (&group.resource, &group.schema_url, &scope.scope);
                let around = format!("{around:?} {}", scope.schema_url);
                for metric in &scope.metrics {
                    let mut bare = metric.clone();
                    let points: Vec<_> = match bare.data.as_mut() {
                        None => Vec::new(),
                        Some(Gauge(data)) => taken(&mut data.data_points),
                        Some(Sum(data)) => taken(&mut data.data_points),
                        Some(Histogram(data)) => taken(&mut data.data_points),
                        Some(ExponentialHistogram(data)) => taken(&mut data.data_points),
                        Some(Summary(data)) => taken(&mut data.data_points),
                    };
                    let with = |point: &String| format!("{around} {bare:?} {point}");
                    all.extend(points.iter().map(with));
                }
            }
        }
        all
    }

    fn taken<T: std::fmt::Debug>(points: &mut Vec<T>) -> Vec<String> {
        let points = points.drain(..);
        points.map(|point| format!("{point:?}")).collect()
    }

    /// Items that are neither repeated nor lost, whatever their signal.
    fn check_parts(
        signal: Signal,
        request: &[u8],
        items: fn(&[u8]) -> Vec<String>,
        (max_bytes, max_items): (usize, u64),
    ) {
        let whole = Bytes::copy_from_slice(request);
        let parts: Vec<_> = Parts::new(signal, &whole, 0, limits(max_bytes, max_items)).collect();
        let sent = requests(&parts);
        let all: Vec<_> = sent.iter().flat_map(|(bytes, _)| items(bytes)).collect();
        let unfit = parts.iter().any(|part| matches!(part, Part::Unfit { .. }));
        if unfit {
            let mut rest = items(request).into_iter();
            assert!(all.iter().all(|item| rest.any(|other| other == *item)));
        } else {
            assert_eq!(all, items(request));
        }
        for (bytes, count) in &sent {
            assert_eq!(*count, items(bytes).len() as u64);
            assert!(*count == 1 || bytes.len() <= max_bytes);
            assert!(*count <= max_items.max(1));
        }
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
                Part::Unfit { items, .. } => *items,
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
                Part::Unfit { items, .. } | Part::Request { items, .. } => *items,
            }).sum();
            let limits = limits(max_bytes, max_spans);
            let rest: Vec<_> = Parts::new(Signal::Traces, &Bytes::from(request), done, limits).collect();
            prop_assert_eq!(&rest[..], parts.get(resume..).unwrap_or_default());
        }

        #[test]
        fn parts_of_logs_and_metrics_hold_every_item_once_with_all_around_it(
            logs in any_logs(),
            metrics in any_metrics(),
            most in (0usize..2_000, 0u64..6),
        ) {
            check_parts(Signal::Logs, &logs.encode_to_vec(), log_records, most);
            check_parts(Signal::Metrics, &metrics.encode_to_vec(), data_points, most);
        }

        #[test]
        fn any_bytes_end(bytes in any::<Vec<u8>>()) {
            let bytes = Bytes::from(bytes);
            for signal in Signal::ALL {
                let parts = Parts::new(signal, &bytes, 0, limits(10, 3));
                prop_assert!(parts.count() <= bytes.len());
            }
        }
    }

    /// What all parts have together, and the reasons of those that are set aside.
    fn cost(request: &[u8], max_bytes: usize) -> (usize, u64, u64) {
        let parts = parts(request, max_bytes, u64::MAX);
        let sent = requests(&parts);
        let bytes = sent.iter().map(|(bytes, _)| bytes.len()).sum();
        let unfit = parts.iter().map(|part| match part {
            Part::Unfit { items, reason } => {
                assert!(reason.contains("too many to be sent"), "{reason}");
                *items
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
        let parts: Vec<_> = Parts::new(Signal::Traces, &request, 0, limits(2_000, 10)).collect();
        let Part::Request { pieces, items: 1 } = &parts[1] else {
            panic!("{parts:?}");
        };
        let inside = request.as_ptr_range().contains(&pieces[1].as_ptr());
        assert!(inside, "copied");
        let sent = requests(&parts);
        let all: Vec<_> = sent.iter().flat_map(|(bytes, _)| ids(bytes)).collect();
        assert_eq!(all, ids(&request));

        let bounded = Limits {
            item_bytes: 4_000,
            ..limits(2_000, 10)
        };
        let parts: Vec<_> = Parts::new(Signal::Traces, &request, 0, bounded).collect();
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
                put_bytes_field(&mut scope, 2, &span.encode_to_vec());
                scope.extend(group);
            }
            let mut resource_spans = group.to_vec();
            put_bytes_field(&mut resource_spans, 2, &scope);
            put_bytes_field(&mut request, 1, &resource_spans);
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
