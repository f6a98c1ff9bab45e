//! What the span exporter is told: filled from the environment by `config`, read once by `trace::start`.

use std::time::Duration;

use ::http::{HeaderName, HeaderValue};

/// Everything `trace::start` needs; the default is the specification's.
#[derive(Clone, Debug)]
pub(crate) struct ExportConfig {
    /// `OTEL_TRACES_EXPORTER`.
    pub(crate) exporter: ExporterKind,
    /// `OTEL_EXPORTER_OTLP_[TRACES_]PROTOCOL`.
    pub(crate) protocol: Protocol,
    /// `OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT`.
    pub(crate) endpoint: Endpoint,
    /// `OTEL_EXPORTER_OTLP_[TRACES_]HEADERS`, percent-decoded.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// `OTEL_EXPORTER_OTLP_[TRACES_]TIMEOUT`: the longest one request may take.
    pub(crate) timeout: Duration,
    /// `OTEL_EXPORTER_OTLP_[TRACES_]COMPRESSION`.
    pub(crate) compression: Compression,
    /// `OTEL_BSP_MAX_QUEUE_SIZE`: spans waiting; what comes beyond is dropped and counted.
    pub(crate) max_queue_size: usize,
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`: spans a request; at most `max_queue_size`.
    pub(crate) max_export_batch_size: usize,
    /// `OTEL_BSP_SCHEDULE_DELAY`: how long a span waits for its batch to fill.
    pub(crate) schedule_delay: Duration,
    /// `OTEL_BSP_EXPORT_TIMEOUT`: the longest one batch may take, its retries included.
    pub(crate) export_timeout: Duration,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            exporter: ExporterKind::Otlp,
            protocol: Protocol::HttpProtobuf,
            endpoint: Endpoint::Default,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            compression: Compression::None,
            max_queue_size: 2_048,
            max_export_batch_size: 512,
            schedule_delay: Duration::from_secs(5),
            export_timeout: Duration::from_secs(30),
        }
    }
}

impl ExportConfig {
    /// The URL that batches go to: a signal's own endpoint as it is, a generic one with `/v1/traces`
    /// appended for HTTP (OTLP exporter specification, "Endpoint URLs for OTLP/HTTP").
    pub(crate) fn url(&self) -> String {
        match (&self.endpoint, self.protocol) {
            (Endpoint::Default, Protocol::Grpc) => "http://localhost:4317".to_owned(),
            (Endpoint::Default, Protocol::HttpProtobuf | Protocol::HttpJson) => {
                "http://localhost:4318/v1/traces".to_owned()
            }
            (Endpoint::Base(base), Protocol::HttpProtobuf | Protocol::HttpJson) => {
                format!("{}/v1/traces", base.trim_end_matches('/'))
            }
            (Endpoint::Base(url), Protocol::Grpc) => with_scheme(url),
            (Endpoint::Traces(url), Protocol::Grpc) => with_scheme(url),
            (Endpoint::Traces(url), Protocol::HttpProtobuf | Protocol::HttpJson) => url.clone(),
        }
    }
}

impl ExportConfig {
    /// [`url`](Self::url) as it may be logged: without user, password and query.
    pub(crate) fn shown_url(&self) -> String {
        let url = self.url();
        let url = url.split(['?', '#']).next().unwrap_or_default();
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), url),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}{host}{path}")
    }
}

/// Where finished spans go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExporterKind {
    Otlp,
    /// One line a span on stderr, for a look without a collector.
    Console,
    None,
}

/// How OTLP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    HttpProtobuf,
    HttpJson,
    /// Needs the `otlp-grpc` feature; without it traces are off, with a warning that says so.
    Grpc,
}

/// Where the collector listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `localhost` at the protocol's own port.
    Default,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the base of all signals.
    Base(String),
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`: used as it is.
    Traces(String),
}

/// What a request's body is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
}

/// gRPC endpoints may come as `host:port`; they mean plain text, as the Go and Java SDKs' defaults do.
fn with_scheme(url: &str) -> String {
    if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_keeps_no_secret() {
        fn check(url: &str, expected: &str) {
            let config = ExportConfig {
                endpoint: Endpoint::Traces(url.to_owned()),
                ..ExportConfig::default()
            };
            assert_eq!(config.shown_url(), expected);
        }
        check("http://c:4318/v1/traces", "http://c:4318/v1/traces");
        check("https://me:se@cret@c/v1?key=x#y", "https://c/v1");
        check("https://c?key=x", "https://c");
        check("me:secret@c:1/a@b", "c:1/a@b");
        check("", "");
    }

    #[test]
    fn url_follows_the_exporter_specification() {
        fn check(protocol: Protocol, endpoint: Endpoint, expected: &str) {
            let config = ExportConfig {
                protocol,
                endpoint,
                ..ExportConfig::default()
            };
            assert_eq!(config.url(), expected);
        }
        let base = |url: &str| Endpoint::Base(url.to_owned());
        let traces = |url: &str| Endpoint::Traces(url.to_owned());
        let (http, grpc) = (Protocol::HttpProtobuf, Protocol::Grpc);
        check(http, Endpoint::Default, "http://localhost:4318/v1/traces");
        check(grpc, Endpoint::Default, "http://localhost:4317");
        check(http, base("http://c:1"), "http://c:1/v1/traces");
        check(http, base("http://c:1/"), "http://c:1/v1/traces");
        check(http, base("http://c:1/otlp/"), "http://c:1/otlp/v1/traces");
        check(grpc, base("http://c:1"), "http://c:1");
        check(grpc, base("c:1"), "http://c:1");
        check(http, traces("http://c:1/"), "http://c:1/");
        check(http, traces("http://c:1/own"), "http://c:1/own");
        check(grpc, traces("https://c:1"), "https://c:1");
    }
}
