//! The counts of log records and data points against prost.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::{DecodeError, Message};

use super::{WireError, count_data_points, count_log_records, is_of_the_walk_alone};

/// Holds [`count_log_records`] against prost on any bytes.
///
/// # Panics
/// Where the two disagree.
pub(crate) fn check_any_logs(bytes: &[u8]) {
    agree(
        count_log_records(bytes),
        &Logs::decode(bytes).map(|request| request.records()),
        ExportLogsServiceRequest::decode(bytes).is_ok(),
    );
}

/// Holds [`count_data_points`] against prost on any bytes.
///
/// # Panics
/// Where the two disagree.
pub(crate) fn check_any_metrics(bytes: &[u8]) {
    agree(
        count_data_points(bytes),
        &Metrics::decode(bytes).map(|request| request.points()),
        ExportMetricsServiceRequest::decode(bytes).is_ok(),
    );
}

/// What is counted is what prost finds when it reads as deep, and no more is refused than what it refuses when it reads
/// to the bottom.
fn agree(counted: Result<u64, WireError>, shallow: &Result<u64, DecodeError>, in_full: bool) {
    match counted {
        Ok(count) => assert_eq!(&Ok(count), shallow, "counted, but prost"),
        Err(error) => assert!(
            !in_full || is_of_the_walk_alone(&error),
            "prost takes it: {error}"
        ),
    }
}

impl Logs {
    fn records(&self) -> u64 {
        let scopes = self.groups.iter().flat_map(|group| &group.scopes);
        scopes.map(|scope| scope.records.len() as u64).sum()
    }
}

impl Metrics {
    fn points(&self) -> u64 {
        let scopes = self.groups.iter().flat_map(|group| &group.scopes);
        let metrics = scopes.flat_map(|scope| &scope.metrics);
        metrics.map(|metric| metric.points() as u64).sum()
    }
}

impl Metric {
    /// Of all kinds of data: one metric has one kind, but nothing keeps a sender from writing more.
    fn points(&self) -> usize {
        let gauges = self.gauge.iter().map(|data| data.points.len());
        let sums = self.sum.iter().map(|data| data.points.len());
        let histograms = self.histogram.iter().map(|data| data.points.len());
        let exponential = self.exponential.iter().map(|data| data.points.len());
        let summaries = self.summary.iter().map(|data| data.points.len());
        let all = gauges.chain(sums).chain(histograms);
        all.chain(exponential).chain(summaries).sum()
    }
}

// What prost checks when it reads logs_service.proto, logs.proto, metrics_service.proto and metrics.proto as deep as the
// counts do: what they step over is plain bytes here, and lists of numbers, which come with one tag or many, are left out.

#[derive(Clone, PartialEq, prost::Message)]
struct Logs {
    #[prost(message, repeated, tag = "1")]
    groups: Vec<LogGroup>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LogGroup {
    #[prost(bytes = "vec", tag = "1")]
    resource: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<LogScope>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LogScope {
    #[prost(bytes = "vec", tag = "1")]
    scope: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    records: Vec<LogRecord>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LogRecord {
    #[prost(fixed64, tag = "1")]
    time: u64,
    #[prost(int32, tag = "2")]
    severity_number: i32,
    #[prost(string, tag = "3")]
    severity_text: String,
    #[prost(bytes = "vec", tag = "5")]
    body: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    attributes: Vec<Vec<u8>>,
    #[prost(uint32, tag = "7")]
    dropped: u32,
    #[prost(fixed32, tag = "8")]
    flags: u32,
    #[prost(bytes = "vec", tag = "9")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    span_id: Vec<u8>,
    #[prost(fixed64, tag = "11")]
    observed: u64,
    #[prost(string, tag = "12")]
    event_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metrics {
    #[prost(message, repeated, tag = "1")]
    groups: Vec<MetricGroup>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MetricGroup {
    #[prost(bytes = "vec", tag = "1")]
    resource: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<MetricScope>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MetricScope {
    #[prost(bytes = "vec", tag = "1")]
    scope: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(message, repeated, tag = "5")]
    gauge: Vec<Gauge>,
    #[prost(message, repeated, tag = "7")]
    sum: Vec<Sum>,
    #[prost(message, repeated, tag = "9")]
    histogram: Vec<Histogram>,
    #[prost(message, repeated, tag = "10")]
    exponential: Vec<ExponentialHistogram>,
    #[prost(message, repeated, tag = "11")]
    summary: Vec<Summary>,
    #[prost(bytes = "vec", repeated, tag = "12")]
    metadata: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Gauge {
    #[prost(message, repeated, tag = "1")]
    points: Vec<NumberPoint>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sum {
    #[prost(message, repeated, tag = "1")]
    points: Vec<NumberPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
    #[prost(bool, tag = "3")]
    is_monotonic: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(message, repeated, tag = "1")]
    points: Vec<HistogramPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ExponentialHistogram {
    #[prost(message, repeated, tag = "1")]
    points: Vec<ExponentialPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    points: Vec<SummaryPoint>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NumberPoint {
    #[prost(fixed64, tag = "2")]
    start: u64,
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(double, tag = "4")]
    as_double: f64,
    #[prost(bytes = "vec", repeated, tag = "5")]
    exemplars: Vec<Vec<u8>>,
    #[prost(sfixed64, tag = "6")]
    as_int: i64,
    #[prost(bytes = "vec", repeated, tag = "7")]
    attributes: Vec<Vec<u8>>,
    #[prost(uint32, tag = "8")]
    flags: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HistogramPoint {
    #[prost(fixed64, tag = "2")]
    start: u64,
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, tag = "5")]
    sum: f64,
    #[prost(bytes = "vec", repeated, tag = "8")]
    exemplars: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    attributes: Vec<Vec<u8>>,
    #[prost(uint32, tag = "10")]
    flags: u32,
    #[prost(double, tag = "11")]
    min: f64,
    #[prost(double, tag = "12")]
    max: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ExponentialPoint {
    #[prost(bytes = "vec", repeated, tag = "1")]
    attributes: Vec<Vec<u8>>,
    #[prost(fixed64, tag = "2")]
    start: u64,
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, tag = "5")]
    sum: f64,
    #[prost(sint32, tag = "6")]
    scale: i32,
    #[prost(fixed64, tag = "7")]
    zero_count: u64,
    #[prost(bytes = "vec", tag = "8")]
    positive: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    negative: Vec<u8>,
    #[prost(uint32, tag = "10")]
    flags: u32,
    #[prost(bytes = "vec", repeated, tag = "11")]
    exemplars: Vec<Vec<u8>>,
    #[prost(double, tag = "12")]
    min: f64,
    #[prost(double, tag = "13")]
    max: f64,
    #[prost(double, tag = "14")]
    zero_threshold: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SummaryPoint {
    #[prost(fixed64, tag = "2")]
    start: u64,
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, tag = "5")]
    sum: f64,
    #[prost(bytes = "vec", repeated, tag = "6")]
    quantiles: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    attributes: Vec<Vec<u8>>,
    #[prost(uint32, tag = "8")]
    flags: u32,
}
