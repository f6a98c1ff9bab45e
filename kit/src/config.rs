//! The environment as a `Config`: every fault at once for `BELLWETHER_*`, warnings for `OTEL_*`. Read by
//! `kit` when a builder is made; the builder's setters then override it.

mod allow;
mod log;
mod misspelt;
mod otel;
mod paths;
mod reader;
mod resource;
mod source;
mod text;

use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderName;

use crate::context::{Propagation, Trust};
use crate::http::AllowLists;
use crate::log::LogControl;
use crate::redact::{self, Names, REDACTED, Wish};
use crate::trace::{ExportConfig, Sampler};
pub(crate) use allow::{header_names, query_keys};
pub(crate) use paths::{Paths, parse as parse_path};
use reader::{Lookup, Reader};
pub(crate) use resource::Detected;
pub use source::Source;
pub(crate) use source::Sources;
use text::show_duration;

pub(crate) use log::{recorded, request_bytes};
pub(crate) use text::percent_decode;

/// Kubernetes kills after 30 s; this leaves room for its own work.
const DEFAULT_GRACE: Duration = Duration::from_secs(25);
/// How long endpoint controllers and load balancers take to look away.
const DEFAULT_DRAIN_DELAY: Duration = Duration::from_secs(5);
/// Cloud Run kills 10 s after SIGTERM and routes no request once it has sent it.
const CLOUD_RUN_GRACE: Duration = Duration::from_secs(9);
const DEFAULT_PORT: u16 = 8080;
/// As long as Kubernetes bears with a silent service (three probes, 10 s apart): what merely computes for a
/// while is not taken for blocked.
const DEFAULT_LIVENESS_TIMEOUT: Duration = Duration::from_secs(30);

/// What is in force; valid unless `faults` says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `service.name`.
    pub(crate) service: String,
    pub(crate) service_source: Source,
    /// Every other resource attribute that somebody has set.
    pub(crate) resource: Vec<(String, String)>,
    /// Those that are in force unless somebody has.
    pub(crate) detected: Vec<Detected>,
    pub(crate) port: u16,
    pub(crate) admin_addr: Option<SocketAddr>,
    /// `None`: pretty on a terminal, JSON elsewhere.
    pub(crate) log_format: Option<LogFormat>,
    /// False when `NO_COLOR` is set: pretty lines then have no colours.
    pub(crate) color: bool,
    /// `RUST_LOG`, the recorder, the rate limit.
    pub(crate) log: LogControl,
    /// `RUST_BACKTRACE`: whether the lines of panics have a backtrace.
    pub(crate) backtraces: bool,
    /// `GOOGLE_CLOUD_PROJECT`: where `gcp` lines say that traces are.
    pub(crate) google_cloud_project: Option<String>,
    pub(crate) grace: Duration,
    pub(crate) drain_delay: Duration,
    pub(crate) request_timeout: Option<Duration>,
    /// How long the runtime may run no task; `None`: nobody watches it.
    pub(crate) liveness_timeout: Option<Duration>,
    pub(crate) concurrency_limit: Option<usize>,
    pub(crate) trust: Trust,
    pub(crate) request_id_header: HeaderName,
    pub(crate) propagation: Propagation,
    /// What lines and spans show of headers and queries.
    pub(crate) allowed: AllowLists,
    /// What is added to the names of secrets, and taken off them.
    pub(crate) redact: Vec<Wish>,
    pub(crate) paths: Paths,
    /// False: no spans at all (`OTEL_SDK_DISABLED`, or the builder).
    pub(crate) traces: bool,
    pub(crate) sampler: Sampler,
    pub(crate) export: ExportConfig,
    /// Unreadable `BELLWETHER_*` values, each with what is allowed.
    pub(crate) faults: Vec<String>,
    /// Unreadable `OTEL_*` and `RUST_LOG` values, and names that are nearly one of ours.
    pub(crate) warnings: Vec<String>,
    /// Where all of it comes from.
    pub(crate) sources: Sources,
}

/// How log lines look (`BELLWETHER_LOG_FORMAT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// JSON as Google's Cloud Logging and Error Reporting read it from stdout: `severity`, `httpRequest`,
    /// `logging.googleapis.com/trace` (linked to Cloud Trace when `GOOGLE_CLOUD_PROJECT` names the project).
    Gcp,
    /// JSON in Elastic Common Schema, as the ECS logging specification has it: `@timestamp`, `log.level`,
    /// `trace.id`.
    Ecs,
    /// For people at a terminal.
    Pretty,
}

impl Config {
    /// Reads the process environment; `service` is the name unless the environment gives one.
    pub(crate) fn from_process_env(service: &str) -> Self {
        let mut unreadable = Vec::new();
        let mut misspelt = Vec::new();
        for (name, value) in std::env::vars_os() {
            if let (Some(name), None) = (name.to_str(), value.to_str())
                && (name.starts_with("BELLWETHER_") || name == "PORT")
            {
                unreadable.push(format!("{name} is not valid UTF-8"));
            }
            misspelt.extend(name.to_str().and_then(misspelt::warning));
        }
        let mut config = Self::read(service, &|name| std::env::var(name).ok());
        config.faults.append(&mut unreadable);
        config.warnings.append(&mut misspelt);
        config
    }

    /// Reads the environment that `lookup` shows.
    pub(crate) fn read(service: &str, lookup: Lookup<'_>) -> Self {
        let mut env = Reader::new(lookup);
        let ((service, service_source), resource) = identity(service, &mut env);
        let (grace, drain_delay) = shutdown_times(&mut env);
        Self {
            service,
            service_source,
            resource,
            detected: resource::detect(&mut env),
            port: env.ours("PORT", port).unwrap_or(DEFAULT_PORT),
            admin_addr: env.ours("BELLWETHER_ADMIN_ADDR", address),
            log_format: env.ours("BELLWETHER_LOG_FORMAT", log_format),
            color: env.text("NO_COLOR").is_none(),
            log: log::control(&mut env),
            // As the standard library reads it.
            backtraces: env.text("RUST_BACKTRACE").is_some_and(|value| value != "0"),
            google_cloud_project: env.text("GOOGLE_CLOUD_PROJECT"),
            grace,
            drain_delay,
            request_timeout: off_or_duration(&mut env, "BELLWETHER_REQUEST_TIMEOUT").flatten(),
            liveness_timeout: off_or_duration(&mut env, "BELLWETHER_LIVENESS_TIMEOUT")
                .unwrap_or(Some(DEFAULT_LIVENESS_TIMEOUT)),
            concurrency_limit: env.ours("BELLWETHER_CONCURRENCY_LIMIT", limit).flatten(),
            trust: env
                .ours("BELLWETHER_TRUST", Trust::parse)
                .unwrap_or_default(),
            request_id_header: env
                .ours("BELLWETHER_REQUEST_ID_HEADER", header_name)
                .unwrap_or(DEFAULT_REQUEST_ID_HEADER),
            propagation: otel::propagation(&mut env),
            allowed: allow::read(&mut env),
            redact: env
                .ours("BELLWETHER_REDACT", Names::wishes)
                .unwrap_or_default(),
            paths: paths::read(&mut env),
            traces: !otel::disabled(&mut env),
            sampler: otel::sampler(&mut env),
            export: otel::export(&mut env),
            faults: env.faults,
            warnings: env.warnings,
            sources: env.sources,
        }
    }

    /// The whole resource: on every span, and in `target_info`. What somebody has set goes before what is
    /// detected, and secrets are none of it.
    pub(crate) fn resource_attributes(&self) -> Vec<(String, String, Source)> {
        let service = (
            "service.name".to_owned(),
            self.service.clone(),
            self.service_source,
        );
        let mut all = vec![service];
        for (key, value) in &self.resource {
            let source = match self.sources.of(&["service.version"]) {
                Source::Code if key == "service.version" => Source::Code,
                _ => Source::Environment("OTEL_RESOURCE_ATTRIBUTES"),
            };
            all.push((key.clone(), value.clone(), source));
        }
        for Detected { key, value, source } in &self.detected {
            if !all.iter().any(|(present, ..)| present == key) {
                all.push(((*key).to_owned(), value.clone(), *source));
            }
        }
        for (key, value, _) in &mut all {
            if redact::is_secret(key) {
                REDACTED.clone_into(value);
            } else if let Some(clean) = redact::in_text(value) {
                *value = clean;
            }
        }
        all
    }

    /// What the environment and the builder's setters together get wrong.
    pub(crate) fn all_faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        if self.drain_delay >= self.grace {
            faults.push(format!(
                "the drain delay ({}, BELLWETHER_DRAIN_DELAY) must be shorter than the grace ({}, BELLWETHER_GRACE)",
                show_duration(self.drain_delay),
                show_duration(self.grace)
            ));
        }
        faults.extend(self.paths.fault());
        if self.service.is_empty() {
            faults.push("the service has no name: give one or set OTEL_SERVICE_NAME".to_owned());
        }
        faults
    }
}

const DEFAULT_REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// `OTEL_SERVICE_NAME` beats `service.name` among the resource attributes beats the name in the code: whoever
/// deploys knows best.
fn identity(service: &str, env: &mut Reader<'_>) -> ((String, Source), Vec<(String, String)>) {
    let (names, resource): (Vec<_>, Vec<_>) = otel::resource_attributes(env)
        .into_iter()
        .partition(|(key, _)| key == "service.name");
    let named = names.into_iter().map(|(_, name)| name).next_back();
    let from = |variable| move |name| (name, Source::Environment(variable));
    let service = env
        .text("OTEL_SERVICE_NAME")
        .map(from("OTEL_SERVICE_NAME"))
        .or_else(|| named.map(from("OTEL_RESOURCE_ATTRIBUTES")))
        .unwrap_or_else(|| (service.trim().to_owned(), Source::Code));
    (service, resource)
}

fn shutdown_times(env: &mut Reader<'_>) -> (Duration, Duration) {
    let (grace, delay) = if env.text("K_SERVICE").is_some() {
        (CLOUD_RUN_GRACE, Duration::ZERO)
    } else {
        (DEFAULT_GRACE, DEFAULT_DRAIN_DELAY)
    };
    let asked_grace = env.duration("BELLWETHER_GRACE");
    let asked_delay = env.duration("BELLWETHER_DRAIN_DELAY");
    let grace = asked_grace.unwrap_or(grace);
    // A short grace alone is no fault: the delay nobody asked for gives way.
    (grace, asked_delay.unwrap_or_else(|| delay.min(grace / 5)))
}

/// `None` when unset, `Some(None)` when off.
fn off_or_duration(env: &mut Reader<'_>, name: &'static str) -> Option<Option<Duration>> {
    let allowed = "must be off or a duration such as 500ms, 25s or 2m, longer than 0";
    env.ours(name, |value| {
        if value == "off" {
            return Ok(None);
        }
        match text::parse_duration(value) {
            Some(timeout) if !timeout.is_zero() => Ok(Some(timeout)),
            _ => Err(allowed.to_owned()),
        }
    })
}

fn port(value: &str) -> Result<u16, String> {
    value
        .parse()
        .map_err(|_| "must be a port number from 0 to 65535".to_owned())
}

fn address(value: &str) -> Result<SocketAddr, String> {
    let on_all = value
        .strip_prefix(':')
        .map(|port| format!("0.0.0.0:{port}"));
    on_all
        .as_deref()
        .unwrap_or(value)
        .parse()
        .map_err(|_| "must be an address such as 127.0.0.1:9090, [::]:9090 or :9090".to_owned())
}

fn log_format(value: &str) -> Result<LogFormat, String> {
    match value {
        "json" => Ok(LogFormat::Json),
        "gcp" => Ok(LogFormat::Gcp),
        "ecs" => Ok(LogFormat::Ecs),
        "pretty" => Ok(LogFormat::Pretty),
        _ => Err("must be json, gcp, ecs or pretty".to_owned()),
    }
}

fn limit(value: &str) -> Result<Option<usize>, String> {
    match value.parse() {
        _ if value == "off" => Ok(None),
        Ok(limit) if limit > 0 => Ok(Some(limit)),
        _ => Err("must be off or a whole number from 1".to_owned()),
    }
}

/// Headers that mean something else: with an id in them responses could not be read, or the ids would be secrets.
const NO_REQUEST_ID: [&str; 17] = [
    "authorization",
    "baggage",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "host",
    "keep-alive",
    "server-timing",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn header_name(value: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(value.as_bytes())
        .ok()
        .filter(|name| !NO_REQUEST_ID.contains(&name.as_str()))
        .ok_or_else(|| "must be a header of its own, such as x-request-id".to_owned())
}

#[cfg(test)]
mod tests;
