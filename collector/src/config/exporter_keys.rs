//! What one exporter can be told in the file: the second half of the table in `settings`, and of its documentation.

use super::value::write_duration;
use super::{exporters, storage};
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
        key: "compression",
        value: "NAME",
        default: "none",
        help: "`none` or `gzip`; a peer that says it cannot read gzip gets its requests uncompressed",
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
];
