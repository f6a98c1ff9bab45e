//! The way out for a batch of spans: OTLP, by `otlp` or through `opentelemetry-otlp`, or lines on stderr. Built and
//! used on the exporter's own thread and runtime only.

use std::io::Write as _;
use std::sync::Arc;

use ::http::Uri;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use super::http_client::{Answer, ObservedClient, Observer};
use super::otlp::{Otlp, resource_value};
use super::shown::SecretNames;
use super::{Compression, ExportConfig, ExporterKind, Protocol, SpanRecord};
use super::{convert, fault};

/// Where batches go.
#[derive(Debug)]
pub(super) enum Transport {
    /// OTLP as protobuf.
    Otlp(Otlp),
    /// OTLP as JSON, and the console.
    Library(Library),
}

/// What takes spans as the OpenTelemetry SDK has them.
#[derive(Debug)]
pub(super) struct Library {
    to: To,
    scope: InstrumentationScope,
    secret: SecretNames,
}

#[derive(Debug)]
enum To {
    Json {
        exporter: Box<SpanExporter>,
        observer: Arc<Observer>,
    },
    Console,
}

/// A batch that arrived; `rejected` of its spans the collector did not take (OTLP "partial success").
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) rejected: u64,
    pub(super) message: String,
}

/// A batch that did not arrive.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Worth another try later: nobody there, overloaded, too slow.
    Transient(String),
    /// Would be refused again.
    Refused(String),
}

/// What makes `config` unusable, found without touching the network.
///
/// # Errors
///
/// Says what is wrong and what to do.
pub(super) fn check(config: &ExportConfig) -> Result<(), String> {
    if config.exporter != ExporterKind::Otlp {
        return Ok(());
    }
    let url = config.shown_url();
    let uri: Uri = config
        .url()
        .parse()
        .map_err(|error| format!("OTLP endpoint {url:?} is not a URL ({error})"))?;
    if uri.host().is_none() {
        return Err(format!(
            "OTLP endpoint {url:?} names no host; write it as http://HOST:PORT"
        ));
    }
    let grpc = config.protocol == Protocol::Grpc;
    if grpc && !cfg!(feature = "otlp-grpc") {
        return Err(
            "OTLP over gRPC needs the cargo feature `otlp-grpc` of bellwether; enable it, or set \
             OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
                .to_owned(),
        );
    }
    match uri.scheme_str() {
        Some("http") => Ok(()),
        Some("https") if grpc || cfg!(feature = "tls") => Ok(()),
        Some("https") => Err(format!(
            "OTLP endpoint {url} needs the cargo feature `tls` of bellwether; enable it, or use http://"
        )),
        _ => Err(format!(
            "OTLP endpoint {url:?} is neither http:// nor https://; write it as http://HOST:PORT"
        )),
    }
}

impl Transport {
    /// Needs a runtime: the clients spawn their connections on it.
    ///
    /// # Errors
    ///
    /// What the libraries cannot work with, as text.
    pub(super) fn new(
        config: &ExportConfig,
        resource: Vec<(String, String)>,
    ) -> Result<Self, String> {
        Ok(match (config.exporter, config.protocol) {
            (ExporterKind::Console | ExporterKind::None, _) => {
                Self::Library(Library::new(To::Console))
            }
            (ExporterKind::Otlp, Protocol::HttpJson) => {
                Self::Library(Library::new(json(config, resource)?))
            }
            (ExporterKind::Otlp, Protocol::HttpProtobuf | Protocol::Grpc) => {
                Self::Otlp(Otlp::new(config, &resource)?)
            }
        })
    }

    /// Sends one batch, again within the configured time-out when OTLP calls that sensible.
    pub(super) async fn export<'a>(
        &mut self,
        records: impl Iterator<Item = &'a SpanRecord>,
    ) -> Result<Accepted, Failure> {
        match self {
            Self::Otlp(otlp) => otlp.export(records).await,
            Self::Library(library) => library.export(records).await,
        }
    }
}

impl Library {
    fn new(to: To) -> Self {
        Self {
            to,
            scope: convert::scope(),
            secret: SecretNames::default(),
        }
    }

    async fn export<'a>(
        &mut self,
        records: impl Iterator<Item = &'a SpanRecord>,
    ) -> Result<Accepted, Failure> {
        let spans: Vec<SpanData> = records
            .map(|record| convert::span_data(record, &self.scope, &mut self.secret))
            .collect();
        match &self.to {
            To::Json { exporter, observer } => {
                let result = exporter.export(spans).await;
                over_http(result, observer.take())
            }
            To::Console => print(&spans).map_err(|error| {
                Failure::Refused(format!("spans cannot be written to stderr: {error}"))
            }),
        }
    }
}

fn json(config: &ExportConfig, resource: Vec<(String, String)>) -> Result<To, String> {
    let observer = Arc::new(Observer::default());
    let client = ObservedClient::new(config, Arc::clone(&observer))?;
    let mut builder = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(opentelemetry_otlp::Protocol::HttpJson)
        .with_endpoint(config.url())
        .with_timeout(config.timeout);
    if config.compression == Compression::Gzip {
        builder = builder.with_compression(opentelemetry_otlp::Compression::Gzip);
    }
    // The configured headers are the client's to add: the builder would percent-decode them once more.
    let exporter = builder.build().map_err(|error| error.to_string())?;
    let mut exporter = Box::new(exporter);
    let attributes = resource.into_iter().map(|(key, text)| {
        let value = convert::value(resource_value(&key, &text));
        KeyValue::new(key, value)
    });
    let resource = Resource::builder_empty().with_attributes(attributes);
    exporter.set_resource(&resource.build());
    Ok(To::Json { exporter, observer })
}

/// The library's error hides the cause; what the client saw last names it.
fn over_http(
    result: Result<(), OTelSdkError>,
    answer: Option<Answer>,
) -> Result<Accepted, Failure> {
    match (result, answer) {
        (Ok(()), Some(Answer::Accepted { rejected, message })) => {
            Ok(Accepted { rejected, message })
        }
        (Ok(()), _) => Ok(Accepted::default()),
        (Err(_), Some(Answer::Network(cause))) => Err(Failure::Transient(cause)),
        (Err(_), Some(Answer::Status(status))) => Err(fault::of_status(status)),
        // Nothing was sent: the batch could not be encoded.
        (Err(error), _) => Err(Failure::Refused(message(error))),
    }
}

fn message(error: OTelSdkError) -> String {
    match error {
        OTelSdkError::InternalFailure(message) => message,
        error @ (OTelSdkError::AlreadyShutdown | OTelSdkError::Timeout(_)) => error.to_string(),
    }
}

fn print(spans: &[SpanData]) -> std::io::Result<Accepted> {
    let mut stderr = std::io::stderr().lock();
    for span in spans {
        let duration = span
            .end_time
            .duration_since(span.start_time)
            .unwrap_or_default();
        write!(
            stderr,
            "span {:?} kind={:?} trace_id={} span_id={} parent_span_id={} duration={duration:?} status={:?}",
            span.name,
            span.span_kind,
            span.span_context.trace_id(),
            span.span_context.span_id(),
            span.parent_span_id,
            span.status,
        )?;
        let state = span.span_context.trace_state().header();
        if !state.is_empty() {
            write!(stderr, " trace_state={state}")?;
        }
        for link in span.links.iter() {
            let (trace_id, span_id) = (link.span_context.trace_id(), link.span_context.span_id());
            write!(stderr, " link={trace_id}/{span_id}")?;
        }
        for attribute in &span.attributes {
            write!(stderr, " {}={:?}", attribute.key, attribute.value.as_str())?;
        }
        writeln!(stderr)?;
    }
    Ok(Accepted::default())
}
