//! The specification's own variables (OpenTelemetry: "Environment variable specification", "OTLP exporter
//! configuration"): what cannot be read is warned of and ignored.

use http::{HeaderName, HeaderValue};

use super::reader::Reader;
use super::text::percent_decode;
use crate::context::{Format, Propagation};
use crate::trace::{Compression, Endpoint, ExportConfig, ExporterKind, Protocol, Sampler};

/// `OTEL_SDK_DISABLED`: only `true` disables; anything else unreadable is warned of and means false.
pub(super) fn disabled(env: &mut Reader<'_>) -> bool {
    env.theirs(&["OTEL_SDK_DISABLED"], |value| {
        match value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        }
    })
    .unwrap_or(false)
}

/// `OTEL_RESOURCE_ATTRIBUTES`: `key=value,…`, percent-decoded. One bad pair discards them all (Resource SDK,
/// "Specifying resource information via an environment variable").
pub(super) fn resource_attributes(env: &mut Reader<'_>) -> Vec<(String, String)> {
    env.theirs(&["OTEL_RESOURCE_ATTRIBUTES"], |value| {
        pairs(value).ok_or_else(|| "must be key=value,key=value, percent-encoded".to_owned())
    })
    .unwrap_or_default()
}

/// `OTEL_PROPAGATORS`: those that the kit has, in their order; a list of unknown ones alone leaves the default.
/// `none` switches everything off, whatever stands beside it.
pub(super) fn propagation(env: &mut Reader<'_>) -> Propagation {
    let Some(value) = env.text("OTEL_PROPAGATORS") else {
        return Propagation::default();
    };
    let (mut asked, mut none) = (Propagation::NONE, false);
    for name in value.split(',').map(str::trim) {
        match name {
            "" => {}
            "tracecontext" => asked.add(Format::TraceContext),
            "b3" => asked.add(Format::B3),
            "b3multi" => asked.add(Format::B3Multi),
            "gcp" => asked.add(Format::Gcp),
            "baggage" => asked.baggage = true,
            "none" => none = true,
            other => env.warn(
                "OTEL_PROPAGATORS",
                other,
                "use tracecontext, baggage, b3, b3multi, gcp or none",
            ),
        }
    }
    if none {
        Propagation::NONE
    } else if asked == Propagation::NONE {
        Propagation::default()
    } else {
        asked
    }
}

/// `OTEL_TRACES_SAMPLER` with its argument; unreadable means the default, `parentbased_always_on`.
pub(super) fn sampler(env: &mut Reader<'_>) -> Sampler {
    let arg = env.text("OTEL_TRACES_SAMPLER_ARG");
    env.theirs(&["OTEL_TRACES_SAMPLER"], |name| {
        Sampler::parse(name, arg.as_deref())
    })
    .unwrap_or(Sampler::ParentBasedAlwaysOn)
}

/// Everything about the export of spans.
pub(super) fn export(env: &mut Reader<'_>) -> ExportConfig {
    let default = ExportConfig::default();
    let exporter = env.theirs(&["OTEL_TRACES_EXPORTER"], exporter);
    let protocol = env.theirs(
        &[
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        ],
        protocol,
    );
    let headers = env.theirs(
        &[
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "OTEL_EXPORTER_OTLP_HEADERS",
        ],
        headers,
    );
    let timeout = env.millis(&[
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
    ]);
    let compression = env.theirs(
        &[
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
            "OTEL_EXPORTER_OTLP_COMPRESSION",
        ],
        compression,
    );
    let max_queue_size = positive(env, "OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(default.max_queue_size);
    let mut max_export_batch_size =
        positive(env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE").unwrap_or(default.max_export_batch_size);
    if max_export_batch_size > max_queue_size {
        env.warnings.push(format!(
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE={max_export_batch_size} is more than \
             OTEL_BSP_MAX_QUEUE_SIZE={max_queue_size}; batches are of {max_queue_size}"
        ));
        max_export_batch_size = max_queue_size;
    }
    ExportConfig {
        exporter: exporter.unwrap_or(default.exporter),
        protocol: protocol.unwrap_or(default.protocol),
        endpoint: endpoint(env).unwrap_or(default.endpoint),
        headers: headers.unwrap_or_default(),
        timeout: timeout.unwrap_or(default.timeout),
        compression: compression.unwrap_or(default.compression),
        max_queue_size,
        max_export_batch_size,
        schedule_delay: env
            .millis(&["OTEL_BSP_SCHEDULE_DELAY"])
            .unwrap_or(default.schedule_delay),
        export_timeout: env
            .millis(&["OTEL_BSP_EXPORT_TIMEOUT"])
            .unwrap_or(default.export_timeout),
    }
}

fn exporter(value: &str) -> Result<ExporterKind, String> {
    match value {
        "otlp" => Ok(ExporterKind::Otlp),
        "console" => Ok(ExporterKind::Console),
        "none" => Ok(ExporterKind::None),
        _ => Err("must be otlp, console or none".to_owned()),
    }
}

fn protocol(value: &str) -> Result<Protocol, String> {
    match value {
        "http/protobuf" => Ok(Protocol::HttpProtobuf),
        "http/json" => Ok(Protocol::HttpJson),
        "grpc" => Ok(Protocol::Grpc),
        _ => Err("must be http/protobuf, http/json or grpc".to_owned()),
    }
}

fn compression(value: &str) -> Result<Compression, String> {
    match value {
        "gzip" => Ok(Compression::Gzip),
        "none" => Ok(Compression::None),
        _ => Err("must be gzip or none".to_owned()),
    }
}

fn endpoint(env: &mut Reader<'_>) -> Option<Endpoint> {
    env.theirs(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"], url)
        .map(Endpoint::Traces)
        .or_else(|| {
            env.theirs(&["OTEL_EXPORTER_OTLP_ENDPOINT"], url)
                .map(Endpoint::Base)
        })
}

/// `http://…`, `https://…`, or `host:port` as gRPC users write it.
fn url(value: &str) -> Result<String, String> {
    let allowed = || "must be a URL such as http://localhost:4318".to_owned();
    let uri: http::Uri = value.parse().map_err(|_| allowed())?;
    let scheme_fits = matches!(uri.scheme_str(), None | Some("http" | "https"));
    match uri.host() {
        Some(host) if scheme_fits && !host.is_empty() => Ok(value.to_owned()),
        _ => Err(allowed()),
    }
}

/// `name=value,…` as in W3C baggage: percent-decoded, properties after `;` dropped.
fn headers(value: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let allowed = "must be name=value,name=value, percent-encoded";
    pairs(value)
        .ok_or_else(|| allowed.to_owned())?
        .into_iter()
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| allowed.to_owned())?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| allowed.to_owned())?;
            value.set_sensitive(true);
            Ok((name, value))
        })
        .collect()
}

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = percent_decode(key.trim())?;
            (!key.is_empty()).then_some((key, percent_decode(value.trim())?))
        })
        .collect()
}

fn positive(env: &mut Reader<'_>, name: &'static str) -> Option<usize> {
    env.theirs(&[name], |value| match value.parse() {
        Ok(number) if (1..=1_000_000).contains(&number) => Ok(number),
        _ => Err("must be a whole number from 1 to 1000000".to_owned()),
    })
}
