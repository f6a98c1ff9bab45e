//! Writes metric families as OpenMetrics 1.0, as Prometheus text 0.0.4, or through `protobuf`. The texts differ in
//! the names of counters and infos, in units and in exemplars; whoever writes a family need not know.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;

use super::exposition;
use super::histogram::{BucketView, Histogram, Seen};
use super::labels::LabelText;
use super::native::NativeView;
use super::protobuf::{Families, Type};
use super::size::SizeHistogram;
use super::table::{Series, Table};

/// An exposition format, the richest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Format {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics text 1.0: with exemplars.
    OpenMetrics,
    /// Prometheus protobuf: with exemplars and native histograms.
    Protobuf,
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// A number as the formats write it.
pub(super) trait Number {
    fn write(self, out: &mut String);

    /// Protobuf knows no other numbers; beyond 2^53 they are rounded.
    fn to_f64(self) -> f64;
}

/// An exposition in the making.
#[derive(Debug)]
pub(super) struct Text {
    out: String,
    /// What there is instead of text when the format is protobuf.
    families: Families,
    format: Format,
    /// The family that samples belong to, with the suffix its samples have.
    sample_name: String,
}

impl Text {
    pub(super) fn new(format: Format) -> Self {
        Self {
            out: String::with_capacity(16 * 1024),
            families: Families::default(),
            format,
            sample_name: String::new(),
        }
    }

    /// Begins a family. `name` has its unit but neither `_total` nor `_info`; `help` is one line.
    pub(super) fn family(&mut self, name: &str, kind: Kind, unit: Option<&str>, help: &str) {
        let (suffix, open_metrics, prometheus, protobuf) = match kind {
            Kind::Counter => ("_total", "counter", "counter", Type::Counter),
            Kind::Gauge => ("", "gauge", "gauge", Type::Gauge),
            Kind::Histogram => ("", "histogram", "histogram", Type::Histogram),
            Kind::Info => ("_info", "info", "gauge", Type::Gauge),
        };
        self.sample_name.clear();
        self.sample_name.push_str(name);
        self.sample_name.push_str(suffix);
        // OpenMetrics names the family without the suffix of its samples, the older format with it.
        let (family, kind) = match self.format {
            Format::OpenMetrics => (name, open_metrics),
            Format::Prometheus => (self.sample_name.as_str(), prometheus),
            Format::Protobuf => {
                return self
                    .families
                    .family(&self.sample_name, protobuf, unit, help);
            }
        };
        self.out.extend(["# HELP ", family, " ", help, "\n"]);
        self.out.extend(["# TYPE ", family, " ", kind, "\n"]);
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            self.out.extend(["# UNIT ", family, " ", unit, "\n"]);
        }
    }

    /// A sample of a family that is no histogram.
    pub(super) fn sample(&mut self, labels: &LabelText, value: impl Number) {
        if self.format == Format::Protobuf {
            return self.families.sample(labels.as_str(), value.to_f64());
        }
        self.out.push_str(&self.sample_name);
        self.labels(labels.as_str(), None);
        value.write(&mut self.out);
        self.out.push('\n');
    }

    /// A whole family of duration histograms; nothing when it has no series.
    pub(super) fn histograms<K: Clone + Eq + std::hash::Hash>(
        &mut self,
        table: &Table<K, Histogram>,
        help: &str,
    ) {
        self.durations(table.metric(), help, &table.all(), |duration| duration);
    }

    /// A family of duration histograms that are part of what their series measure.
    pub(super) fn durations<V>(
        &mut self,
        name: &str,
        help: &str,
        series: &[Arc<Series<V>>],
        of: impl Fn(&V) -> &Histogram,
    ) {
        if series.is_empty() {
            return;
        }
        self.family(name, Kind::Histogram, Some("seconds"), help);
        for series in series {
            self.histogram(&series.labels, of(&series.value));
        }
    }

    /// A family of size histograms that are part of what their series measure. Series without any size are
    /// left out: most routes never see a request with a body.
    pub(super) fn sizes<V>(
        &mut self,
        name: &str,
        help: &str,
        series: &[Arc<Series<V>>],
        of: impl Fn(&V) -> &SizeHistogram,
    ) {
        let measured = |series: &&Arc<Series<V>>| !of(&series.value).is_empty();
        let mut series = series.iter().filter(measured).peekable();
        if series.peek().is_none() {
            return;
        }
        self.family(name, Kind::Histogram, Some("bytes"), help);
        for series in series {
            self.size_histogram(&series.labels, of(&series.value));
        }
    }

    /// A sample of a family of histograms: classic buckets, of which the last is for everything, and native ones.
    pub(super) fn distribution(
        &mut self,
        labels: &LabelText,
        sum: f64,
        buckets: &[BucketView],
        native: &NativeView,
    ) {
        if self.format == Format::Protobuf {
            self.families
                .histogram(labels.as_str(), sum, buckets, native);
        } else {
            self.classic(labels.as_str(), sum, buckets.iter().copied());
        }
    }

    /// The application's own families; none of them when one cannot be encoded.
    pub(super) fn registered(&mut self, registry: &Registry) -> fmt::Result {
        let before = self.out.len();
        let written = match self.format {
            Format::OpenMetrics => encode_registry(&mut self.out, registry),
            Format::Prometheus => {
                let mut open_metrics = String::new();
                encode_registry(&mut open_metrics, registry)
                    .and_then(|()| exposition::downgrade(&open_metrics, &mut self.out))
            }
            Format::Protobuf => self.families.registered(registry),
        };
        if written.is_err() {
            self.out.truncate(before);
        }
        written
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        match self.format {
            Format::OpenMetrics => self.out.push_str("# EOF\n"),
            Format::Prometheus => {}
            Format::Protobuf => return self.families.finish(),
        }
        self.out.into_bytes()
    }

    fn histogram(&mut self, labels: &LabelText, histogram: &Histogram) {
        let (sum, buckets) = (histogram.sum(), histogram.buckets());
        self.either(labels, sum, buckets, || histogram.native());
    }

    fn size_histogram(&mut self, labels: &LabelText, histogram: &SizeHistogram) {
        let (sum, buckets) = (histogram.sum(), histogram.buckets());
        self.either(labels, sum, buckets, || histogram.native());
    }

    /// Classic as text, classic and native in protobuf.
    fn either(
        &mut self,
        labels: &LabelText,
        sum: f64,
        buckets: impl Iterator<Item = BucketView>,
        native: impl FnOnce() -> NativeView,
    ) {
        if self.format == Format::Protobuf {
            // In this order: the native half has what the classic one has, and maybe more.
            let buckets: Vec<_> = buckets.collect();
            self.distribution(labels, sum, &buckets, &native());
        } else {
            self.classic(labels.as_str(), sum, buckets);
        }
    }

    fn classic(&mut self, labels: &str, sum: f64, buckets: impl Iterator<Item = BucketView>) {
        let mut count = 0;
        for bucket in buckets {
            count = bucket.cumulative;
            self.out.extend([self.sample_name.as_str(), "_bucket"]);
            self.labels(labels, Some(bucket.bound));
            count.write(&mut self.out);
            if let (Format::OpenMetrics, Some(seen)) = (self.format, bucket.exemplar) {
                self.exemplar(&seen);
            }
            self.out.push('\n');
        }
        self.out.extend([self.sample_name.as_str(), "_sum"]);
        self.labels(labels, None);
        sum.write(&mut self.out);
        self.out.extend(["\n", &self.sample_name, "_count"]);
        self.labels(labels, None);
        count.write(&mut self.out);
        self.out.push('\n');
    }

    /// `{…} `, or only the space when there are no labels.
    fn labels(&mut self, labels: &str, bound: Option<f64>) {
        if !labels.is_empty() || bound.is_some() {
            self.out.extend(["{", labels]);
            if let Some(bound) = bound {
                self.out
                    .push_str(if labels.is_empty() { "le=\"" } else { ",le=\"" });
                bound.write(&mut self.out);
                self.out.push('"');
            }
            self.out.push('}');
        }
        self.out.push(' ');
    }

    fn exemplar(&mut self, seen: &Seen) {
        let at = seen.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = write!(
            self.out,
            " # {{{}}} {} {}.{:03}",
            seen.labels(),
            ryu::Buffer::new().format(seen.seconds),
            at.as_secs(),
            at.subsec_millis(),
        );
    }
}

impl Number for u64 {
    fn write(self, out: &mut String) {
        out.push_str(itoa::Buffer::new().format(self));
    }

    fn to_f64(self) -> f64 {
        self as f64
    }
}

impl Number for i64 {
    fn write(self, out: &mut String) {
        out.push_str(itoa::Buffer::new().format(self));
    }

    fn to_f64(self) -> f64 {
        self as f64
    }
}

impl Number for f64 {
    fn write(self, out: &mut String) {
        if self == f64::INFINITY {
            out.push_str("+Inf");
        } else {
            out.push_str(ryu::Buffer::new().format(self));
        }
    }

    fn to_f64(self) -> f64 {
        self
    }
}
