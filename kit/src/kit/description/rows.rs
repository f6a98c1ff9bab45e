//! The rows of a `Description`: what each setting is called, how its value is written, and what sets it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::Config;
use crate::context::Format;
use crate::redact::REDACTED;
use crate::trace::{Compression, ExporterKind, Protocol, Sampler};

/// A setting with the variables that may have set it, the strongest first.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) variables: &'static [&'static str],
}

const fn row(name: &'static str, value: String, variables: &'static [&'static str]) -> Row {
    Row {
        name,
        value,
        variables,
    }
}

/// Every setting, in the order of the documentation.
pub(super) fn rows(config: &Config, terminal: bool, admin_addr: Option<SocketAddr>) -> Vec<Row> {
    let mut rows = serving(config, admin_addr);
    rows.extend(logging(config, terminal));
    rows.extend(tracing(config));
    rows
}

fn serving(config: &Config, admin_addr: Option<SocketAddr>) -> Vec<Row> {
    let admin_addr = admin_addr.or(config.admin_addr);
    let paths = &config.paths;
    vec![
        row("port", config.port.to_string(), &["PORT"]),
        row("admin_addr", or_off(admin_addr), &["BELLWETHER_ADMIN_ADDR"]),
        row("live_path", list(paths.live()), &["BELLWETHER_LIVE_PATH"]),
        row(
            "ready_path",
            list(paths.ready()),
            &["BELLWETHER_READY_PATH"],
        ),
        row(
            "startup_path",
            list(paths.startup()),
            &["BELLWETHER_STARTUP_PATH"],
        ),
        row(
            "metrics_path",
            list(paths.metrics()),
            &["BELLWETHER_METRICS_PATH"],
        ),
        row(
            "grace",
            duration(config.grace),
            &["BELLWETHER_GRACE", "K_SERVICE"],
        ),
        row(
            "drain_delay",
            duration(config.drain_delay),
            &["BELLWETHER_DRAIN_DELAY", "K_SERVICE"],
        ),
        row(
            "request_timeout",
            config.request_timeout.map_or_else(off, duration),
            &["BELLWETHER_REQUEST_TIMEOUT"],
        ),
        row(
            "concurrency_limit",
            or_off(config.concurrency_limit),
            &["BELLWETHER_CONCURRENCY_LIMIT"],
        ),
        row(
            "liveness_timeout",
            config.liveness_timeout.map_or_else(off, duration),
            &["BELLWETHER_LIVENESS_TIMEOUT"],
        ),
        row("trust", config.trust.to_string(), &["BELLWETHER_TRUST"]),
        row(
            "request_id_header",
            config.request_id_header.to_string(),
            &["BELLWETHER_REQUEST_ID_HEADER"],
        ),
    ]
}

fn logging(config: &Config, terminal: bool) -> Vec<Row> {
    let format = match config.log_format {
        Some(format) => format!("{format:?}").to_ascii_lowercase(),
        None if terminal => "pretty".to_owned(),
        None => "json".to_owned(),
    };
    let color = if config.color { "yes" } else { "no" };
    let allowed = &config.allowed;
    let recorder = config.log.recorder.as_ref();
    vec![
        row("log_format", format, &["BELLWETHER_LOG_FORMAT"]),
        row("log_color", color.to_owned(), &["NO_COLOR"]),
        row("log_filter", config.log.filter.clone(), &["RUST_LOG"]),
        row(
            "log_rate_limit",
            or_off(config.log.rate_limit),
            &["BELLWETHER_LOG_RATE_LIMIT"],
        ),
        row(
            "recorder",
            recorder.map_or_else(off, |recorder| recorder.recorded.to_string()),
            &["BELLWETHER_RECORDER"],
        ),
        row(
            "recorder_slow",
            recorder
                .and_then(|recorder| recorder.slow)
                .map_or_else(off, duration),
            &["BELLWETHER_RECORDER_SLOW"],
        ),
        row(
            "recorder_bytes",
            or_off(recorder.map(|recorder| recorder.request_bytes)),
            &["BELLWETHER_RECORDER_BYTES"],
        ),
        row(
            "backtraces",
            if config.backtraces { "yes" } else { "no" }.to_owned(),
            &["RUST_BACKTRACE"],
        ),
        row(
            "google_cloud_project",
            config
                .google_cloud_project
                .clone()
                .unwrap_or_else(|| "none".to_owned()),
            &["GOOGLE_CLOUD_PROJECT"],
        ),
        row(
            "log_request_headers",
            list(&allowed.request_headers),
            &["BELLWETHER_LOG_REQUEST_HEADERS"],
        ),
        row(
            "log_response_headers",
            list(&allowed.response_headers),
            &["BELLWETHER_LOG_RESPONSE_HEADERS"],
        ),
        row(
            "log_query_keys",
            list(&allowed.query_keys),
            &["BELLWETHER_LOG_QUERY_KEYS"],
        ),
        row("redact", list(&config.redact), &["BELLWETHER_REDACT"]),
    ]
}

fn tracing(config: &Config) -> Vec<Row> {
    let export = &config.export;
    let otlp = export.exporter == ExporterKind::Otlp;
    // Header values are credentials more often than not.
    let headers = export.headers.iter();
    let headers = list(headers.map(|(name, _)| format!("{name}={REDACTED}")));
    let milliseconds = |time: Duration| format!("{}ms", time.as_millis());
    vec![
        row(
            "traces_exporter",
            exporter(export.exporter).to_owned(),
            // Disabled is told by the exporter: there is none then.
            &["OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"],
        ),
        row(
            "traces_endpoint",
            if otlp { export.shown_url() } else { off() },
            &[
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
            ],
        ),
        row(
            "traces_protocol",
            protocol(export.protocol).to_owned(),
            &[
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                "OTEL_EXPORTER_OTLP_PROTOCOL",
            ],
        ),
        row(
            "traces_headers",
            headers,
            &[
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                "OTEL_EXPORTER_OTLP_HEADERS",
            ],
        ),
        row(
            "traces_timeout",
            milliseconds(export.timeout),
            &[
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
                "OTEL_EXPORTER_OTLP_TIMEOUT",
            ],
        ),
        row(
            "traces_compression",
            compression(export.compression).to_owned(),
            &[
                "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
                "OTEL_EXPORTER_OTLP_COMPRESSION",
            ],
        ),
        row("sampler", sampler(config.sampler), &["OTEL_TRACES_SAMPLER"]),
        row("propagators", propagators(config), &["OTEL_PROPAGATORS"]),
        row(
            "traces_queue_size",
            export.max_queue_size.to_string(),
            &["OTEL_BSP_MAX_QUEUE_SIZE"],
        ),
        row(
            "traces_batch_size",
            export.max_export_batch_size.to_string(),
            &["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"],
        ),
        row(
            "traces_schedule_delay",
            milliseconds(export.schedule_delay),
            &["OTEL_BSP_SCHEDULE_DELAY"],
        ),
        row(
            "traces_export_timeout",
            milliseconds(export.export_timeout),
            &["OTEL_BSP_EXPORT_TIMEOUT"],
        ),
    ]
}

fn off() -> String {
    "off".to_owned()
}

fn or_off(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(off, |value| value.to_string())
}

fn duration(duration: Duration) -> String {
    format!("{duration:?}")
}

/// `none` for an empty one.
fn list(items: impl IntoIterator<Item: fmt::Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() {
        "none".to_owned()
    } else {
        items.join(",")
    }
}

/// As `OTEL_TRACES_EXPORTER` has it.
pub(in crate::kit) fn exporter(exporter: ExporterKind) -> &'static str {
    match exporter {
        ExporterKind::Otlp => "otlp",
        ExporterKind::Console => "console",
        ExporterKind::None => "none",
    }
}

/// As `OTEL_EXPORTER_OTLP_PROTOCOL` has it.
fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::HttpProtobuf => "http/protobuf",
        Protocol::HttpJson => "http/json",
        Protocol::Grpc => "grpc",
    }
}

fn compression(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
    }
}

/// As `OTEL_TRACES_SAMPLER` has it, with its argument.
fn sampler(sampler: Sampler) -> String {
    match sampler {
        Sampler::AlwaysOn => "always_on".to_owned(),
        Sampler::AlwaysOff => "always_off".to_owned(),
        Sampler::Ratio(ratio) => format!("traceidratio={ratio}"),
        Sampler::ParentBasedAlwaysOn => "parentbased_always_on".to_owned(),
        Sampler::ParentBasedAlwaysOff => "parentbased_always_off".to_owned(),
        Sampler::ParentBasedRatio(ratio) => format!("parentbased_traceidratio={ratio}"),
    }
}

fn propagators(config: &Config) -> String {
    let propagation = config.propagation;
    let baggage = propagation.baggage.then_some("baggage");
    list(propagation.formats().map(Format::name).chain(baggage))
}
