//! The parts of a kit as its configuration wants them. Put together by `KitBuilder::start`.

use std::io::IsTerminal;
use std::sync::Arc;

use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use super::Sinks;
use crate::config::{Config, LogFormat};
use crate::error::Error;
use crate::health::{self, Check, Checks, Health, Lifecycle, Liveness};
use crate::http::{Allowed, ConcurrencyLimit, Methods, Routes, Telemetry};
use crate::log::{self, LogFilter};
use crate::metrics::Metrics;
use crate::span;

/// The checks, and the watchdog of the runtime that they and the service share.
pub(super) fn begin_health(
    config: &Config,
    checks: Vec<(String, Check)>,
    runtime: Option<Handle>,
    lifecycle: Lifecycle,
) -> Result<Health, Error> {
    let liveness = Liveness::new(config.liveness_timeout);
    let mut running = Checks::default();
    if let Some(runtime) = runtime {
        running = Checks::start(checks, &runtime);
        let watching = health::watch(runtime, lifecycle.clone(), liveness.clone());
        watching.map_err(|source| Error::Thread {
            thread: "watchdog",
            source,
        })?;
    }
    Ok(Health {
        lifecycle,
        checks: Arc::new(running),
        liveness,
    })
}

pub(super) fn install(sinks: &Sinks) -> Result<(), Error> {
    tracing::subscriber::set_global_default(subscriber(sinks))
        .map_err(|_| Error::SubscriberAlreadySet)?;
    log::take_records(sinks.control.printed_level());
    Ok(())
}

pub(super) fn subscriber(sinks: &Sinks) -> impl Subscriber + Send + Sync + 'static {
    // Not as one layer: of two joined over a registry, `tracing` asks about every event that is hidden.
    Registry::default()
        .with(LogFilter::new(&sinks.control))
        .with(span::controlled(&sinks.control, sinks.spans.clone()))
}

pub(super) fn log_service(config: &Config) -> log::Service<'_> {
    log::Service {
        name: &config.service,
        resource: &config.resource,
        project: config.google_cloud_project.as_deref(),
    }
}

pub(super) fn log_format(config: &Config) -> log::Format {
    let terminal = std::io::stdout().is_terminal();
    let pretty = log::Format::Pretty {
        ansi: terminal && config.color,
    };
    match config.log_format {
        Some(LogFormat::Json) => log::Format::Json,
        Some(LogFormat::Gcp) => log::Format::Gcp,
        Some(LogFormat::Ecs) => log::Format::Ecs,
        Some(LogFormat::Pretty) => pretty,
        None if terminal => pretty,
        None => log::Format::Json,
    }
}

pub(super) fn resource(config: &Config) -> Vec<(String, String)> {
    let attributes = config.resource_attributes().into_iter();
    attributes.map(|(key, value, _)| (key, value)).collect()
}

pub(super) fn telemetry(
    config: &Config,
    sinks: Sinks,
    metrics: &Metrics,
    lifecycle: Lifecycle,
) -> Telemetry {
    Telemetry {
        logger: sinks.logger,
        spans: sinks.spans,
        sampler: config.sampler,
        server: metrics.server().clone(),
        client: metrics.client().clone(),
        rpc: metrics.rpc().clone(),
        methods: Methods::default(),
        lifecycle,
        trust: config.trust.clone(),
        request_id_header: config.request_id_header.clone(),
        propagation: config.propagation,
        request_timeout: config.request_timeout,
        concurrency_limit: config.concurrency_limit.map(ConcurrencyLimit::new),
        routes: Routes::default(),
        allowed: Allowed::new(&config.allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Control, Format, LogControl, Logger};

    #[test]
    fn nobody_is_asked_about_what_the_filter_hides() {
        let (logger, _lines) = Logger::capture(Format::Json, "orders");
        let config = LogControl {
            filter: "info".to_owned(),
            ..LogControl::default()
        };
        let sinks = Sinks {
            control: Control::start(&logger, config).unwrap(),
            logger,
            spans: None,
        };
        let subscriber = subscriber(&sinks);
        let (hidden, shown) = tracing::subscriber::with_default(Registry::default(), || {
            (tracing::debug_span!("hidden"), tracing::info_span!("shown"))
        });
        let interest =
            |span: &tracing::Span| subscriber.register_callsite(span.metadata().unwrap());
        assert!(interest(&hidden).is_never());
        assert!(interest(&shown).is_always());
    }
}
