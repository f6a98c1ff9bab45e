//! Metric families as Prometheus protobuf: `io.prometheus.client.MetricFamily` messages, each behind its length.
//! `text` hands them over; the only format with native histograms.

use std::fmt;
use std::time::UNIX_EPOCH;

use prometheus_client::encoding::prometheus_protobuf::{
    encode, prometheus_data_model as proto, prometheus_data_model::MetricType,
};
use prometheus_client::registry::Registry;
use prost::Message;

use super::histogram::{BucketView, Seen};
use super::labels::LabelText;
use super::native::NativeView;

/// Families written, and the one that samples are being added to.
#[derive(Debug, Default)]
pub(super) struct Families {
    out: Vec<u8>,
    open: proto::MetricFamily,
}

impl Families {
    /// Begins a family. `name` is that of its samples: with `_total`, `_info`.
    pub(super) fn family(&mut self, name: &str, kind: MetricType, unit: Option<&str>, help: &str) {
        let family = proto::MetricFamily {
            name: name.to_owned(),
            help: help.to_owned(),
            r#type: kind.into(),
            metric: Vec::new(),
            unit: unit.unwrap_or_default().to_owned(),
        };
        let complete = std::mem::replace(&mut self.open, family);
        self.write(&complete);
    }

    /// A sample of a counter or a gauge.
    pub(super) fn sample(&mut self, labels: &LabelText, value: f64) {
        let mut metric = labelled(labels);
        if self.open.r#type() == MetricType::Counter {
            metric.counter = Some(proto::Counter {
                value,
                exemplar: None,
                start_timestamp: None,
            });
        } else {
            metric.gauge = Some(proto::Gauge { value });
        }
        self.open.metric.push(metric);
    }

    /// A series of a histogram, classic and native; `native` was read after `buckets`.
    pub(super) fn histogram(
        &mut self,
        labels: &LabelText,
        sum: f64,
        buckets: &[BucketView],
        native: NativeView,
    ) {
        let bucket = buckets.iter().map(|bucket| proto::Bucket {
            // What was counted between the two reads is in the last one, which is the whole count.
            cumulative_count: if bucket.bound.is_finite() {
                bucket.cumulative
            } else {
                native.count
            },
            cumulative_count_float: 0.0,
            upper_bound: bucket.bound,
            exemplar: bucket.exemplar.as_ref().map(exemplar),
        });
        let span = |(offset, length)| proto::BucketSpan { offset, length };
        let histogram = proto::Histogram {
            sample_count: native.count,
            sample_sum: sum,
            bucket: bucket.collect(),
            schema: native.schema,
            zero_threshold: native.zero_threshold,
            zero_count: native.zero_count,
            positive_span: native.spans.into_iter().map(span).collect(),
            positive_delta: native.deltas,
            ..proto::Histogram::default()
        };
        self.open.metric.push(proto::Metric {
            histogram: Some(histogram),
            ..labelled(labels)
        });
    }

    /// The application's own families; none of them when one cannot be encoded.
    pub(super) fn registered(&mut self, registry: &Registry) -> fmt::Result {
        let complete = std::mem::take(&mut self.open);
        self.write(&complete);
        for family in encode(registry)? {
            self.write(&family);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let complete = std::mem::take(&mut self.open);
        self.write(&complete);
        self.out
    }

    /// A family without a metric says nothing, and scrapers make nothing of it.
    fn write(&mut self, family: &proto::MetricFamily) {
        if !family.metric.is_empty() {
            // Fails only where the buffer cannot grow; a vector does.
            let _ = family.encode_length_delimited(&mut self.out);
        }
    }
}

fn labelled(labels: &LabelText) -> proto::Metric {
    let pair = |(name, value): (&str, String)| proto::LabelPair {
        name: name.to_owned(),
        value,
    };
    proto::Metric {
        label: labels.pairs().map(pair).collect(),
        ..proto::Metric::default()
    }
}

fn exemplar(seen: &Seen) -> proto::Exemplar {
    let label = |name: &str, value: String| proto::LabelPair {
        name: name.to_owned(),
        value,
    };
    let at = seen.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    proto::Exemplar {
        label: vec![
            label("trace_id", seen.trace.trace_id.to_string()),
            label("span_id", seen.trace.span_id.to_string()),
        ],
        value: seen.seconds,
        timestamp: Some(prost_types::Timestamp {
            seconds: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
            nanos: at.subsec_nanos().cast_signed(),
        }),
    }
}
