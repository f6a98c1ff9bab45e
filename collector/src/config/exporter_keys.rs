//! What one exporter can be told in the file: the second half of the table in `settings`, and of its documentation.

use super::value::write_duration;
use super::{exporters, sampling, storage};
use crate::export;

/// A key of one exporter in the file.
pub(super) struct ExporterKey {
    /// Keys within keys are joined by dots.
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) default: &'static str,
    pub(super) help: &'static str,
    /// As the file would have it; `None` where it is off.
    pub(super) in_force: fn(&export::Config) -> Option<String>,
}

/// What an exporter can be told in the file.
pub(super) const EXPORTER: &[ExporterKey] = &[
    ExporterKey {
        key: "url",
        value: "URL",
        default: "required",
        help: "Where to send, as `--export` takes it; a port that is not named is the protocol's own (4317, 4318, 9411), and \
               behind a path of `otlp+http` come `/v1/traces`, `/v1/logs` and `/v1/metrics`",
        in_force: |export| Some(export.target.to_string()),
    },
    ExporterKey {
        key: "name",
        value: "NAME",
        default: "the URL",
        help: "What it is called in logs, status and metrics, up to 100 characters; each exporter has its own",
        in_force: |export| Some(export.name.clone()),
    },
    ExporterKey {
        key: exporters::SIGNALS,
        value: "list",
        default: "all that the protocol has",
        help: "What it takes, of `traces`, `logs` and `metrics`; the others pass it by; Zipkin has traces only",
        in_force: |export| Some(exporters::write_signals(export.signals)),
    },
    ExporterKey {
        key: exporters::HEADERS,
        value: "mapping",
        default: "none",
        help: "Headers (gRPC: metadata) of every request, up to 32; in a value `${NAME}` is an environment variable, \
               `${file:PATH}` the content of a file, and `$${` stands for `${`",
        // Written from what was given: values are secret.
        in_force: |_| None,
    },
    ExporterKey {
        key: "timeout",
        value: "DURATION",
        default: "10s",
        help: "How long one request may take, 100ms to 10m; then it is sent again",
        in_force: |export| Some(write_duration(export.timeout)),
    },
    ExporterKey {
        key: "requests_in_flight",
        value: "NUMBER",
        default: "4",
        help: "How many requests may wait for their answers at once, 1 to 64, and no more than a third of the batch log's \
               memory has room for; only whole requests go beside others, and data points and what is sampled go one by one",
        in_force: |export| Some(export.most_under_way().to_string()),
    },
    ExporterKey {
        key: "compression",
        value: "NAME",
        default: "none",
        help: "`none`, `gzip`, or for OTLP `zstd`, both at their fastest level; a peer that cannot read it gets its requests uncompressed",
        in_force: |export| Some(exporters::write_compression(export.compression).to_owned()),
    },
    ExporterKey {
        key: "tls.ca_file",
        value: "FILE",
        default: "none",
        help: "Certificates of authorities (PEM) to trust beside the system's, for the schemes of TLS",
        in_force: |export| exporters::write_path(export.tls.ca_file.as_deref()),
    },
    ExporterKey {
        key: "tls.cert_file",
        value: "FILE",
        default: "none",
        help: "The certificate (PEM, with those that lead to its authority) to show to the peer; needs `tls.key_file`",
        in_force: |export| {
            let identity = export.tls.identity.as_ref()?;
            exporters::write_path(Some(&identity.cert_file))
        },
    },
    ExporterKey {
        key: "tls.key_file",
        value: "FILE",
        default: "none",
        help: "The private key (PEM) of `tls.cert_file`",
        in_force: |export| {
            let identity = export.tls.identity.as_ref()?;
            exporters::write_path(Some(&identity.key_file))
        },
    },
    ExporterKey {
        key: "retry.first",
        value: "DURATION",
        default: "100ms",
        help: "The wait after a first failure, 10ms to 1m; each further one is twice as long, and chance takes up to half off",
        in_force: |export| Some(write_duration(export.retry.first)),
    },
    ExporterKey {
        key: "retry.longest",
        value: "DURATION",
        default: "30s",
        help: "The longest wait, 100ms to 10m, unless the peer asks for more (5m at most)",
        in_force: |export| Some(write_duration(export.retry.longest)),
    },
    ExporterKey {
        key: "on_full",
        value: "WHAT",
        default: "as `on_full` above",
        help: "`refuse` or `drop_oldest`, for this exporter alone",
        in_force: |export| Some(storage::write_on_full(export.on_full).to_owned()),
    },
    ExporterKey {
        key: "sampling.ratio",
        value: "RATIO",
        default: "as `sample_ratio` above",
        help: "Share of traces to send, 0 to 1: of all of them, or of those that no `keep_…` keeps; needed with one",
        in_force: |export| Some(export.sampling.ratio.to_string()),
    },
    ExporterKey {
        key: "sampling.drop_health_checks",
        value: "BOOL",
        default: "false",
        help: "Whether to leave out server spans of `/healthz`, `/livez`, `/readyz`, `/startupz`, `/health/live`, \
               `/health/ready`, `/health/started` and `grpc.health.v1.Health`, and what is below them in the same request",
        in_force: |export| {
            let drops = export.sampling.drop_health_checks;
            drops.then(|| "true".to_owned())
        },
    },
    ExporterKey {
        key: sampling::DROP,
        value: "list",
        default: "none",
        help: "Further server spans to leave out in the same way, each by its route, its path or its whole name, up to 64",
        // Written from what was given, as the only list.
        in_force: |_| None,
    },
    ExporterKey {
        key: "sampling.keep_errors",
        value: "BOOL",
        default: "false",
        help: "Whether to send every trace that has a span with status ERROR",
        in_force: |export| {
            let tail = export.sampling.tail.as_ref()?;
            tail.keep_errors.then(|| "true".to_owned())
        },
    },
    ExporterKey {
        key: "sampling.keep_slower_than",
        value: "DURATION",
        default: "none",
        help: "Send every trace with an entry span (server, consumer or root) that took longer, 1ms to 1h",
        in_force: |export| {
            Some(write_duration(
                export.sampling.tail.as_ref()?.keep_slower_than?,
            ))
        },
    },
    ExporterKey {
        key: "sampling.keep_slowest",
        value: "RATIO",
        default: "none",
        help: "Send every trace with an entry span among about this share of the slowest of its operation, of what was seen \
               of that before; up to 0.5",
        in_force: |export| Some(export.sampling.tail.as_ref()?.keep_slowest?.to_string()),
    },
    ExporterKey {
        key: "sampling.decision_wait",
        value: "DURATION",
        default: "10s",
        help: "How long a trace is waited for, from its first span on, before a `keep_…` decides, 100ms to 10m",
        in_force: |export| Some(write_duration(export.sampling.tail.as_ref()?.decision_wait)),
    },
];
