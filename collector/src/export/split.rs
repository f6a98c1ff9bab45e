//! Cuts one batch that is larger than a peer takes into requests of fewer items. Called by the worker; the only
//! place that builds OTLP anew, and rarely.

use crate::net::proto::{Value, fields, put_bytes_field, put_varint_field};
use crate::signal::Signal;

/// A part of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// A request of the batch's signal.
    pub(super) bytes: Vec<u8>,
    /// Spans, log records or data points in it.
    pub(super) items: u64,
}

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

/// The items of `request`, which is of `signal`, from number `from` on, as many as make about `max_bytes` and at most
/// `max_items`, but at least one; `None` when there are no more.
pub(super) fn part(
    signal: Signal,
    request: &[u8],
    from: u64,
    max_bytes: usize,
    max_items: u64,
) -> Option<Part> {
    let mut cut = Cut {
        from,
        max_bytes,
        max_items,
        index: 0,
        items: 0,
        is_full: false,
    };
    let mut bytes = Vec::new();
    cut.copy(request, levels(signal), 0, &mut bytes);
    (cut.items > 0).then_some(Part {
        bytes,
        items: cut.items,
    })
}

/// A part under way.
struct Cut {
    from: u64,
    max_bytes: usize,
    max_items: u64,
    /// Items met so far.
    index: u64,
    /// Items taken so far.
    items: u64,
    is_full: bool,
}

impl Cut {
    /// Copies those messages of `message` into `out` that hold wanted items, each with what it has beside them.
    /// `around` are the bytes that are not in `out` yet and will be around it.
    fn copy(&mut self, message: &[u8], levels: Levels, around: usize, out: &mut Vec<u8>) {
        let Some((wanted, deeper)) = levels.split_first() else {
            return;
        };
        for field in fields(message) {
            let (number, Value::Bytes(inner)) = field else {
                continue;
            };
            if !wanted.contains(&number) {
                continue;
            }
            let so_far = around + out.len();
            if deeper.is_empty() {
                self.take(number, inner, so_far, out);
            } else if let [below, ..] = deeper {
                let before = self.items;
                let mut whole = without(inner, below);
                self.copy(inner, deeper, so_far + MESSAGE_OVERHEAD, &mut whole);
                if self.items > before {
                    put_bytes_field(out, number, &whole);
                }
            }
            if self.is_full {
                return;
            }
        }
    }

    fn take(&mut self, number: u32, item: &[u8], so_far: usize, out: &mut Vec<u8>) {
        let size = so_far + item.len() + MESSAGE_OVERHEAD;
        self.is_full = self.items > 0 && (size > self.max_bytes || self.items >= self.max_items);
        if self.is_full {
            return;
        }
        if self.index >= self.from {
            put_bytes_field(out, number, item);
            self.items += 1;
        }
        self.index += 1;
    }
}

/// Tag and length of a message.
const MESSAGE_OVERHEAD: usize = 12;

/// A message without its fields `left_out`.
fn without(message: &[u8], left_out: &[u32]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, value) in fields(message) {
        match value {
            Value::Bytes(bytes) if !left_out.contains(&number) => {
                put_bytes_field(&mut out, number, bytes);
            }
            Value::Varint(value) => put_varint_field(&mut out, number, value),
            Value::Bytes(_) | Value::Skipped => {}
        }
    }
    out
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
    use proptest::prelude::*;
    use prost::Message;

    fn parts_of(signal: Signal, request: &[u8], max_bytes: usize, max_items: u64) -> Vec<Part> {
        let mut from = 0;
        std::iter::from_fn(|| {
            let part = part(signal, request, from, max_bytes, max_items)?;
            from += part.items;
            Some(part)
        })
        .collect()
    }

    fn parts(request: &[u8], max_bytes: usize, max_items: u64) -> Vec<Part> {
        parts_of(Signal::Traces, request, max_bytes, max_items)
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

    fn check_parts(
        signal: Signal,
        request: &[u8],
        items: fn(&[u8]) -> Vec<String>,
        (max_bytes, max_items): (usize, u64),
    ) {
        let parts = parts_of(signal, request, max_bytes, max_items);
        let all: Vec<_> = parts.iter().flat_map(|part| items(&part.bytes)).collect();
        assert_eq!(all, items(request));
        for part in &parts {
            assert_eq!(part.items, items(&part.bytes).len() as u64);
            assert!(part.items == 1 || part.bytes.len() <= max_bytes);
            assert!(part.items <= max_items.max(1));
        }
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
            max_items in 0u64..30,
        ) {
            let groups = services.iter().enumerate().map(|(service, &count)| {
                let spans = (1..=count).map(|id| test_support::span(1, id + 100 * service as u64, 0));
                test_support::resource_spans(&format!("s{service}"), spans.collect())
            });
            let request = test_support::encode(groups.collect());
            let parts = parts(&request, max_bytes, max_items);
            let all: Vec<_> = parts.iter().flat_map(|part| ids(&part.bytes)).collect();
            prop_assert_eq!(all, ids(&request));
            for part in &parts {
                prop_assert_eq!(part.items as usize, ids(&part.bytes).len());
                prop_assert!(part.items == 1 || part.bytes.len() <= max_bytes);
                prop_assert!(part.items <= max_items.max(1));
            }
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
            for signal in Signal::ALL {
                prop_assert!(parts_of(signal, &bytes, 10, 3).len() <= bytes.len());
            }
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
                put_bytes_field(&mut scope, 2, &span.encode_to_vec());
                scope.extend(group);
            }
            let mut resource_spans = group.to_vec();
            put_bytes_field(&mut resource_spans, 2, &scope);
            put_bytes_field(&mut request, 1, &resource_spans);
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
