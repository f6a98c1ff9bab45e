//! Parts of batches of every signal and shape.

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
