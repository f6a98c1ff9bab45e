//! Metric families as Prometheus protobuf: `io.prometheus.client.MetricFamily` messages (`metrics.proto` of
//! Prometheus' client_model), each behind its length. `text` hands them over; the only format with native histograms.

mod message;
#[cfg(any(test, not(feature = "prometheus-protobuf")))]
mod registered;

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use prometheus_client::registry::Registry;

use self::message::Message;
use super::histogram::{BucketView, Seen};
use super::labels;
use super::native::NativeView;

/// Families written, and the one that samples are being added to.
#[derive(Debug, Default)]
pub(super) struct Families {
    out: Message,
    open: Option<Family>,
}

/// The `MetricType` of a family, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Counter = 0,
    Gauge = 1,
    #[cfg(any(test, not(feature = "prometheus-protobuf")))]
    Untyped = 3,
    Histogram = 4,
}

/// A family that has begun.
#[derive(Debug)]
struct Family {
    /// Where its message is.
    start: usize,
    /// Where its metrics are.
    metrics: usize,
    kind: Type,
    unit: String,
}

/// A bucket of a classic histogram.
#[derive(Debug, PartialEq)]
struct Bucket<'a> {
    /// Inclusive; infinite for the last.
    bound: f64,
    /// Of this bucket and all below it.
    cumulative: u64,
    exemplar: Option<Exemplar<'a>>,
}

#[derive(Debug, PartialEq)]
struct Exemplar<'a> {
    /// As `labels` has them.
    labels: Cow<'a, str>,
    value: f64,
    /// Since 1970.
    at: Option<Duration>,
}

impl Families {
    /// Begins a family. `name` is that of its samples: with `_total`, `_info`.
    pub(super) fn family(&mut self, name: &str, kind: Type, unit: Option<&str>, help: &str) {
        self.end_family();
        let start = self.out.begin();
        self.out.string(1, name);
        self.out.string(2, help);
        self.out.uint(3, kind as u64);
        self.open = Some(Family {
            start,
            metrics: self.out.len(),
            kind,
            unit: unit.unwrap_or_default().to_owned(),
        });
    }

    /// A sample of a family that is no histogram. `labels` are as [`labels::LabelText`] has them, as everywhere here.
    pub(super) fn sample(&mut self, labels: &str, value: f64) {
        self.sample_with(labels, value, None);
    }

    /// A series of a histogram, classic and native; `native` was read after `buckets`.
    pub(super) fn histogram(
        &mut self,
        labels: &str,
        sum: f64,
        buckets: &[BucketView],
        native: &NativeView,
    ) {
        let buckets = buckets.iter().map(|bucket| Bucket {
            bound: bucket.bound,
            // What was counted between the two reads is in the last one, which is the whole count.
            cumulative: if bucket.bound.is_finite() {
                bucket.cumulative
            } else {
                native.count
            },
            exemplar: bucket.exemplar.as_ref().map(Exemplar::from),
        });
        self.metric(labels, |metric| {
            metric.message(7, |histogram| {
                write_classic(histogram, native.count, sum, buckets);
                write_native(histogram, native);
            });
        });
    }

    /// The application's own families; none of them when one cannot be encoded.
    #[cfg(feature = "prometheus-protobuf")]
    pub(super) fn registered(&mut self, registry: &Registry) -> fmt::Result {
        use prometheus_client::encoding::prometheus_protobuf::encode_to_vec;
        self.end_family();
        let families = encode_to_vec(registry).map_err(|_| fmt::Error)?;
        self.out.append(&families);
        Ok(())
    }

    /// The application's own families; none of them when one cannot be encoded.
    #[cfg(not(feature = "prometheus-protobuf"))]
    pub(super) fn registered(&mut self, registry: &Registry) -> fmt::Result {
        let mut text = String::new();
        prometheus_client::encoding::text::encode_registry(&mut text, registry)?;
        self.end_family();
        let before = self.out.len();
        let read = registered::write(&text, self);
        if read.is_none() {
            self.open = None;
            self.out.truncate(before);
        }
        read.ok_or(fmt::Error)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.end_family();
        self.out.into_bytes()
    }

    fn sample_with(&mut self, labels: &str, value: f64, exemplar: Option<&Exemplar<'_>>) {
        let field = match self.open.as_ref().map(|family| family.kind) {
            Some(Type::Counter) => 3,
            #[cfg(any(test, not(feature = "prometheus-protobuf")))]
            Some(Type::Untyped) => 5,
            _ => 2,
        };
        self.metric(labels, |metric| {
            metric.message(field, |sample| {
                sample.double(1, value);
                write_exemplar(sample, 2, exemplar);
            });
        });
    }

    /// A metric of the open family.
    fn metric(&mut self, labels: &str, write: impl FnOnce(&mut Message)) {
        self.out.message(4, |metric| {
            write_labels(metric, labels);
            write(metric);
        });
    }

    /// A family without a metric says nothing, and scrapers make nothing of it.
    fn end_family(&mut self) {
        match self.open.take() {
            Some(family) if self.out.len() > family.metrics => {
                self.out.string(5, &family.unit);
                self.out.end(family.start);
            }
            Some(family) => self.out.truncate(family.start - 1),
            None => {}
        }
    }
}

impl From<&Seen> for Exemplar<'_> {
    fn from(seen: &Seen) -> Self {
        let at = seen.at.duration_since(UNIX_EPOCH);
        Self {
            labels: seen.labels().into(),
            value: seen.seconds,
            at: Some(at.unwrap_or_default()),
        }
    }
}

fn write_labels(message: &mut Message, labels: &str) {
    for (name, value) in labels::pairs(labels) {
        message.message(1, |pair| {
            pair.string(1, name);
            pair.string(2, &value);
        });
    }
}

fn write_classic<'a>(
    histogram: &mut Message,
    count: u64,
    sum: f64,
    buckets: impl IntoIterator<Item = Bucket<'a>>,
) {
    histogram.uint(1, count);
    histogram.double(2, sum);
    for bucket in buckets {
        histogram.message(3, |message| {
            message.uint(1, bucket.cumulative);
            message.double(2, bucket.bound);
            write_exemplar(message, 3, bucket.exemplar.as_ref());
        });
    }
}

fn write_native(histogram: &mut Message, native: &NativeView) {
    histogram.sint(5, native.schema.into());
    histogram.double(6, native.zero_threshold);
    histogram.uint(7, native.zero_count);
    for (offset, length) in &native.spans {
        histogram.message(12, |span| {
            span.sint(1, (*offset).into());
            span.uint(2, (*length).into());
        });
    }
    histogram.sints(13, &native.deltas);
}

fn write_exemplar(message: &mut Message, field: u8, exemplar: Option<&Exemplar<'_>>) {
    let Some(exemplar) = exemplar else {
        return;
    };
    message.message(field, |message| {
        write_labels(message, &exemplar.labels);
        message.double(2, exemplar.value);
        if let Some(at) = exemplar.at {
            message.message(3, |timestamp| {
                timestamp.uint(1, at.as_secs());
                timestamp.uint(2, at.subsec_nanos().into());
            });
        }
    });
}

#[cfg(test)]
mod tests;
