//! What `start` does, in its order.

use std::io::IsTerminal;
use std::sync::Arc;

use tokio::runtime::Handle;
use tracing::{Dispatch, dispatcher};

use super::parts::{
    begin_health, install, log_format, log_service, resource, subscriber, telemetry,
};
use super::{KitBuilder, Sinks};
use crate::config::LogFormat;
use crate::error::Error;
use crate::health::Lifecycle;
#[cfg(feature = "axum")]
use crate::kit::admin::{self, Told};
use crate::kit::{Description, Inner, Kit, Outlets};
use crate::log::{self, Control, Logger};
use crate::metrics::Metrics;
use crate::redact::{self, Names};
use crate::shutdown::Shutdown;
use crate::testing::Captured;
use crate::trace::{self, ExportConfig, ExporterKind, SpanQueue};

/// What a captured kit keeps of spans between two looks.
const CAPTURED_SPANS: usize = 65_536;

impl KitBuilder {
    pub(super) fn launch(mut self) -> Result<Kit, Error> {
        self.refuse_faults()?;
        let runtime = self.runtime()?;
        #[cfg(feature = "axum")]
        let admin = admin::bind(&self.config)?;
        let own_subscriber = self.sinks.is_none();
        let sinks = self.sinks()?;
        if own_subscriber {
            install(&sinks)?;
        }
        let Self { config, checks, .. } = self;
        let resource = resource(&config);
        let spans = sinks.spans.clone();
        let spans = spans.unwrap_or_else(|| SpanQueue::new(&config.export));
        let exporter = trace::start(config.export.clone(), resource.clone(), &spans);
        let exporter = exporter.map_err(|source| Error::Thread {
            thread: "span exporter",
            source,
        })?;
        let logger = sinks.logger.clone();
        let metrics = Metrics::new(&resource, spans.counters().clone(), move || {
            logger.line_counts()
        });
        let watched = metrics.watch(runtime.as_ref(), config.concurrency_limit);
        watched.map_err(|source| Error::Thread {
            thread: "saturation",
            source,
        })?;
        let lifecycle = Lifecycle::new();
        let health = begin_health(&config, checks, runtime, lifecycle.clone())?;
        metrics.show_health(health.clone());
        let outlets = Outlets {
            export: config.export.clone(),
            counters: spans.counters().clone(),
            logger: sinks.logger.clone(),
        };
        #[cfg(feature = "axum")]
        let admin_addr = admin.as_ref().map(admin::Bound::address);
        #[cfg(not(feature = "axum"))]
        let admin_addr = None;
        let description = Description::new(&config, std::io::stdout().is_terminal(), admin_addr);
        #[cfg(feature = "axum")]
        let serve = |admin: admin::Bound| {
            admin.serve(&Told {
                health: health.clone(),
                metrics: metrics.clone(),
                outlets: outlets.clone(),
                log: Arc::clone(&sinks.control),
                paths: config.paths.clone(),
                description: description.to_json(),
            })
        };
        #[cfg(feature = "axum")]
        let admin = admin.map(serve).transpose()?;
        let kit = Kit(Arc::new(Inner {
            shutdown: Shutdown::new(lifecycle.clone(), config.grace, config.drain_delay),
            log: Arc::clone(&sinks.control),
            telemetry: Arc::new(telemetry(&config, sinks, &metrics, lifecycle)),
            metrics,
            health,
            exporter,
            outlets,
            description,
            #[cfg(feature = "axum")]
            admin,
            config,
        }));
        if !own_subscriber {
            let inner = &kit.0;
            inner
                .telemetry
                .logger
                .warn_if_muted(&inner.config.log.filter);
        }
        kit.announce();
        Ok(kit)
    }

    /// As [`start`](Self::start), for `testing`: lines and spans are kept, of this thread alone.
    pub(crate) fn start_captured(mut self) -> Result<Captured, Error> {
        self.config.log_format.get_or_insert(LogFormat::Json);
        // Of the tests of a process most want the default names, which must not keep the others' out.
        if !self.config.redact.is_empty() {
            self.hide_secrets();
        }
        let format = log_format(&self.config);
        let failed = |source| Error::Thread {
            thread: "log",
            source,
        };
        let captured = Logger::captured(format, &log_service(&self.config));
        let (logger, log) = captured.map_err(failed)?;
        let control = Control::start(&logger, self.config.log.clone()).map_err(failed)?;
        let queue = SpanQueue::new(&ExportConfig {
            max_queue_size: CAPTURED_SPANS,
            max_export_batch_size: CAPTURED_SPANS,
            ..ExportConfig::default()
        });
        self.config.export.exporter = ExporterKind::None;
        let sinks = Sinks {
            logger,
            control,
            spans: self.config.traces.then(|| queue.clone()),
        };
        let dispatch = Dispatch::new(subscriber(&sinks));
        let of_this_thread = dispatcher::set_default(&dispatch);
        let panics = log::tell_panics_here(&sinks.logger, self.config.backtraces);
        self.sinks = Some(sinks);
        let kit = self.launch()?;
        Ok(Captured::new(
            kit,
            log,
            queue,
            dispatch,
            (of_this_thread, panics),
        ))
    }

    /// The runtime that `start` was called in, which checks cannot do without.
    fn runtime(&self) -> Result<Option<Handle>, Error> {
        let runtime = Handle::try_current().ok();
        if runtime.is_none() && !self.checks.is_empty() {
            return Err(Error::NoRuntime {
                needed_by: "health checks",
            });
        }
        Ok(runtime)
    }

    /// Before anything is written.
    fn hide_secrets(&mut self) {
        if !redact::install(&Names::new(&self.config.redact)) {
            self.config.warnings.push(
                "the names of secrets that an earlier kit of this process has set stay in force"
                    .to_owned(),
            );
        }
    }

    pub(super) fn sinks(&mut self) -> Result<Sinks, Error> {
        if let Some(sinks) = &self.sinks {
            return Ok(sinks.clone());
        }
        if !self.config.traces {
            self.config.export.exporter = ExporterKind::None;
        }
        self.hide_secrets();
        let failed = |source| Error::Thread {
            thread: "log",
            source,
        };
        let config = &self.config;
        let logger = Logger::stdout(log_format(config), &log_service(config)).map_err(failed)?;
        let control = Control::start(&logger, config.log.clone()).map_err(failed)?;
        let spans = self
            .config
            .traces
            .then(|| SpanQueue::new(&self.config.export));
        let sinks = Sinks {
            logger,
            control,
            spans,
        };
        self.sinks = Some(sinks.clone());
        Ok(sinks)
    }
}
