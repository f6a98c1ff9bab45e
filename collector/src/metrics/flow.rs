//! The counters of `status` as Prometheus families: `bellwether_receiver_*`, `bellwether_exporter_*` and
//! `bellwether_queue_*`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::status::{
    ExporterStatus, LogStatus, ReceiverStatus, SamplingStatus, Status, now_unix_nano,
};

/// Reads the flow's counters when a scrape asks.
#[derive(Debug)]
pub struct FlowMetrics(pub Arc<Status>);

impl Collector for FlowMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, counter) in RECEIVER {
            self.receivers(&mut encoder, name, help, counter)?;
        }
        for (name, help, counter) in EXPORTER {
            self.exporters(&mut encoder, name, help, |exporter| {
                ConstCounter::new(load(counter(exporter)))
            })?;
        }
        self.sampled_out(&mut encoder)?;
        self.exporters(
            &mut encoder,
            "bellwether_exporter_under_way_requests",
            "Requests that wait for an answer now",
            |exporter| ConstGauge::new(signed(load(&exporter.under_way_requests))),
        )?;
        self.exporters(
            &mut encoder,
            "bellwether_queue_bytes",
            "Bytes accepted and not sent yet",
            |exporter| ConstGauge::new(signed(load(&exporter.queue_bytes))),
        )?;
        let now = now_unix_nano();
        self.exporters(
            &mut encoder,
            "bellwether_queue_oldest_age_seconds",
            "Age of the oldest batch not sent yet, 0 without one",
            |exporter| ConstGauge::new(age_seconds(load(&exporter.oldest_unix_nano), now)),
        )?;
        match &self.0.log {
            Some(log) => encode_log(&mut encoder, log),
            None => Ok(()),
        }
    }
}

/// What only a log on disk has.
fn encode_log(encoder: &mut DescriptorEncoder<'_>, log: &LogStatus) -> fmt::Result {
    let limit = AtomicU64::new(log.limit_bytes);
    let gauges = [
        (
            "bellwether_queue_disk_bytes",
            "Bytes of batches in the data directory",
            &log.used_bytes,
        ),
        (
            "bellwether_queue_disk_limit_bytes",
            "Bytes that the files of the data directory may have together",
            &limit,
        ),
        (
            "bellwether_queue_left_bytes",
            "Bytes that wait for exporters that are not configured any more",
            &log.left_bytes,
        ),
        (
            "bellwether_queue_segments",
            "Files that hold batches",
            &log.segments,
        ),
    ];
    for (name, help, value) in gauges {
        let gauge = ConstGauge::new(signed(load(value)));
        let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
        gauge.encode(metric)?;
    }
    let counters = [
        (
            "bellwether_queue_full_refusals",
            "Batches refused because the data directory had reached its limit",
            &log.full_refusals,
        ),
        (
            "bellwether_queue_write_failures",
            "Writes and syncs of the data directory that failed",
            &log.write_failures,
        ),
        (
            "bellwether_queue_damaged_segments",
            "Segments of which some could not be read",
            &log.damaged_segments,
        ),
    ];
    for (name, help, value) in counters {
        let counter = ConstCounter::new(load(value));
        let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
        counter.encode(metric)?;
    }
    Ok(())
}

type Counter<S> = fn(&S) -> &AtomicU64;
type Row<S> = (&'static str, &'static str, Counter<S>);

const RECEIVER: [Row<ReceiverStatus>; 8] = [
    (
        "bellwether_receiver_accepted_batches",
        "Batches answered with success",
        |receiver| &receiver.accepted_batches,
    ),
    (
        "bellwether_receiver_accepted_spans",
        "Spans in batches answered with success",
        |receiver| &receiver.accepted_spans,
    ),
    (
        "bellwether_receiver_accepted_log_records",
        "Log records in batches answered with success",
        |receiver| &receiver.accepted_log_records,
    ),
    (
        "bellwether_receiver_accepted_data_points",
        "Data points in batches answered with success",
        |receiver| &receiver.accepted_data_points,
    ),
    (
        "bellwether_receiver_refused_batches",
        "Batches refused for now, which their senders retry",
        |receiver| &receiver.refused_batches,
    ),
    (
        "bellwether_receiver_rejected_batches",
        "Batches refused for good: malformed or too large",
        |receiver| &receiver.rejected_batches,
    ),
    (
        "bellwether_receiver_denied_requests",
        "Requests refused for want of a valid token",
        |receiver| &receiver.denied_requests,
    ),
    (
        "bellwether_receiver_failed_handshakes",
        "Connections refused before their first request: no TLS, no certificate, or one of a stranger",
        |receiver| &receiver.failed_handshakes,
    ),
];

const EXPORTER: [Row<ExporterStatus>; 11] = [
    (
        "bellwether_exporter_sent_spans",
        "Spans that the peer acknowledged",
        |exporter| &exporter.sent_spans,
    ),
    (
        "bellwether_exporter_sent_log_records",
        "Log records that the peer acknowledged",
        |exporter| &exporter.sent_log_records,
    ),
    (
        "bellwether_exporter_sent_data_points",
        "Data points that the peer acknowledged",
        |exporter| &exporter.sent_data_points,
    ),
    (
        "bellwether_exporter_sent_requests",
        "Requests that the peer acknowledged",
        |exporter| &exporter.sent_requests,
    ),
    (
        "bellwether_exporter_retries",
        "Attempts after a first one that failed",
        |exporter| &exporter.retries,
    ),
    (
        "bellwether_exporter_dropped_spans",
        "Spans given up before they could be sent",
        |exporter| &exporter.dropped_spans,
    ),
    (
        "bellwether_exporter_dropped_log_records",
        "Log records given up before they could be sent",
        |exporter| &exporter.dropped_log_records,
    ),
    (
        "bellwether_exporter_dropped_data_points",
        "Data points given up before they could be sent",
        |exporter| &exporter.dropped_data_points,
    ),
    (
        "bellwether_exporter_set_aside_spans",
        "Spans that the peer refused for good",
        |exporter| &exporter.set_aside_spans,
    ),
    (
        "bellwether_exporter_set_aside_log_records",
        "Log records that the peer refused for good",
        |exporter| &exporter.set_aside_log_records,
    ),
    (
        "bellwether_exporter_set_aside_data_points",
        "Data points that the peer refused for good",
        |exporter| &exporter.set_aside_data_points,
    ),
];

/// Of exporters that sample, for each why spans were left out.
const SAMPLED_OUT: [(&str, Counter<SamplingStatus>); 2] = [
    ("ratio", |sampling| &sampling.out_by_ratio_spans),
    ("route", |sampling| &sampling.out_by_route_spans),
];

/// Of exporters that sample, for each what did not go as it should.
const SAMPLING: [Row<SamplingStatus>; 2] = [
    (
        "bellwether_exporter_sampling_early_spans",
        "Spans decided before their decision_wait was over",
        |sampling| &sampling.early_spans,
    ),
    (
        "bellwether_exporter_sampling_forgotten_spans",
        "Spans of traces forgotten before they were decided",
        |sampling| &sampling.forgotten_spans,
    ),
];

impl FlowMetrics {
    /// Nothing at all unless an exporter samples.
    fn sampled_out(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let exporters = self.0.exporters.iter();
        let sampling = exporters.filter(|exporter| !exporter.sampling.rules.is_empty());
        let sampling: Vec<_> = sampling.collect();
        if sampling.is_empty() {
            return Ok(());
        }
        let mut left_out = encoder.encode_descriptor(
            "bellwether_exporter_sampled_out_spans",
            "Spans that sampling left out, apart from those dropped or set aside",
            None,
            MetricType::Counter,
        )?;
        for exporter in &sampling {
            for (reason, counter) in SAMPLED_OUT {
                let labels = [("exporter", exporter.name.as_str()), ("reason", reason)];
                let counter = ConstCounter::new(load(counter(&exporter.sampling)));
                counter.encode(left_out.encode_family(&labels)?)?;
            }
        }
        for (name, help, counter) in SAMPLING {
            let rows = sampling.iter().map(|exporter| {
                let counter = ConstCounter::new(load(counter(&exporter.sampling)));
                (exporter.name.as_str(), counter)
            });
            family(encoder, name, help, "exporter", rows)?;
        }
        Ok(())
    }

    fn receivers(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        counter: fn(&ReceiverStatus) -> &AtomicU64,
    ) -> fmt::Result {
        let rows = self.0.receivers.iter();
        let rows = rows.map(|receiver| {
            (
                receiver.protocol,
                ConstCounter::new(load(counter(receiver))),
            )
        });
        family(encoder, name, help, "protocol", rows)
    }

    fn exporters<M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        metric: impl Fn(&ExporterStatus) -> M,
    ) -> fmt::Result {
        let rows = self.0.exporters.iter();
        let rows = rows.map(|exporter| (exporter.name.as_str(), metric(exporter)));
        family(encoder, name, help, "exporter", rows)
    }
}

/// A family with one label; nothing at all without rows.
fn family<'a, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    rows: impl Iterator<Item = (&'a str, M)>,
) -> fmt::Result {
    let mut rows = rows.peekable();
    let Some((_, first)) = rows.peek() else {
        return Ok(());
    };
    let mut family = encoder.encode_descriptor(name, help, None, first.metric_type())?;
    for (value, metric) in rows {
        metric.encode(family.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn age_seconds(since_unix_nano: u64, now_unix_nano: u64) -> f64 {
    match since_unix_nano {
        0 => 0.0,
        since => now_unix_nano.saturating_sub(since) as f64 / 1e9,
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::status::add;

    fn exposition(status: Status) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(FlowMetrics(Arc::new(status))));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn each_counter_has_its_family_and_label() {
        let receiver = ReceiverStatus::listening("otlp-grpc", "127.0.0.1:4317".into());
        add(&receiver.accepted_spans, 7);
        add(&receiver.accepted_data_points, 5);
        let mut exporter = ExporterStatus::named("otlp+grpc://a:4317");
        exporter.sampling.rules = "half of it".to_owned();
        add(&exporter.sampling.out_by_ratio_spans, 5);
        add(&exporter.sampling.early_spans, 6);
        add(&exporter.dropped_spans, 3);
        add(&exporter.set_aside_log_records, 2);
        add(&exporter.queue_bytes, 11);
        add(&exporter.under_way_requests, 4);
        exporter.oldest_unix_nano.store(1, Ordering::Relaxed);
        let log = LogStatus {
            limit_bytes: 1 << 30,
            used_bytes: 77.into(),
            write_failures: 2.into(),
            ..LogStatus::default()
        };
        let text = exposition(Status {
            receivers: vec![Arc::new(receiver)],
            exporters: vec![
                Arc::new(exporter),
                Arc::new(ExporterStatus::named("everything")),
            ],
            log: Some(Arc::new(log)),
        });
        for line in [
            "bellwether_exporter_sampled_out_spans_total{exporter=\"otlp+grpc://a:4317\",reason=\"ratio\"} 5\n",
            "bellwether_exporter_sampled_out_spans_total{exporter=\"otlp+grpc://a:4317\",reason=\"route\"} 0\n",
            "bellwether_exporter_sampling_early_spans_total{exporter=\"otlp+grpc://a:4317\"} 6\n",
            "bellwether_receiver_accepted_spans_total{protocol=\"otlp-grpc\"} 7\n",
            "bellwether_receiver_accepted_data_points_total{protocol=\"otlp-grpc\"} 5\n",
            "bellwether_exporter_set_aside_log_records_total{exporter=\"otlp+grpc://a:4317\"} 2\n",
            "bellwether_receiver_rejected_batches_total{protocol=\"otlp-grpc\"} 0\n",
            "bellwether_exporter_dropped_spans_total{exporter=\"otlp+grpc://a:4317\"} 3\n",
            "bellwether_exporter_under_way_requests{exporter=\"otlp+grpc://a:4317\"} 4\n",
            "bellwether_queue_bytes{exporter=\"otlp+grpc://a:4317\"} 11\n",
            "# TYPE bellwether_exporter_sent_spans counter\n",
            "bellwether_queue_disk_bytes 77\n",
            "bellwether_queue_disk_limit_bytes 1073741824\n",
            "bellwether_queue_write_failures_total 2\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("spans_total{exporter=\"everything\",reason"));
        let age = "bellwether_queue_oldest_age_seconds{exporter=\"otlp+grpc://a:4317\"} ";
        let (_, age) = text.split_once(age).unwrap();
        let age: f64 = age.lines().next().unwrap().parse().unwrap();
        assert!(age > 1e9, "the epoch is long ago: {age}");
    }

    #[test]
    fn nothing_to_tell_is_nothing() {
        assert_eq!(exposition(Status::default()), "# EOF\n");
    }
}
