//! `KitBuilder`: the environment, the builder's own settings on top, and the start of everything.

mod log_control;
mod parts;
mod paths;
mod shown;

use std::collections::HashSet;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::{Dispatch, Subscriber, dispatcher};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

#[cfg(feature = "axum")]
use super::admin::{self, Told};
use super::{Description, Inner, Kit, Outlets};
use crate::config::{Config, LogFormat};
use crate::context::Trust;
use crate::error::Error;
use crate::health::{Check, Lifecycle};
use crate::log::{self, Control, LogFilter, Logger};
use crate::metrics::Metrics;
use crate::redact::{self, Names};
use crate::shutdown::Shutdown;
use crate::span;
use crate::testing::Captured;
use crate::trace::{self, ExportConfig, ExporterKind, SpanQueue};
use parts::{begin_health, install, log_format, log_service, resource, subscriber, telemetry};

/// What a captured kit keeps of spans between two looks.
const CAPTURED_SPANS: usize = 65_536;

/// The settings that `log_layer` puts in force.
const SETTLED: [&str; 7] = [
    "BELLWETHER_LOG_FORMAT",
    "BELLWETHER_LOG_RATE_LIMIT",
    "BELLWETHER_RECORDER",
    "BELLWETHER_RECORDER_BYTES",
    "BELLWETHER_RECORDER_SLOW",
    "BELLWETHER_REDACT",
    "OTEL_SDK_DISABLED",
];

/// A kit to be started: what the environment says, with the setters' word on top.
#[derive(Debug)]
#[must_use = "a builder does nothing until `start()`"]
pub struct KitBuilder {
    config: Config,
    checks: Vec<(String, Check)>,
    /// Set once `log_layer` has handed the layers out.
    sinks: Option<Sinks>,
}

/// What the `tracing` layers write to.
#[derive(Clone, Debug)]
struct Sinks {
    logger: Logger,
    control: Arc<Control>,
    /// `None`: tracing is off.
    spans: Option<SpanQueue>,
}

impl KitBuilder {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            checks: Vec::new(),
            sinks: None,
        }
    }

    /// With the defaults alone, for `testing`.
    pub(crate) fn without_env(service: &str) -> Self {
        Self::new(Config::read(service, &|_| None))
    }

    pub(super) fn checked(self) -> Result<Self, Error> {
        self.refuse_faults()?;
        Ok(self)
    }

    /// Adds a dependency check under a name of its own; see [`check`](crate::check).
    pub fn check(mut self, name: impl Into<String>, check: Check) -> Self {
        self.checks.push((name.into(), check));
        self
    }

    /// How log lines look, whatever `BELLWETHER_LOG_FORMAT` says.
    pub fn log_format(self, format: LogFormat) -> Self {
        self.set("BELLWETHER_LOG_FORMAT", Ok(format), |config, format| {
            config.log_format = Some(format);
        })
    }

    /// All of the shutdown, flush included, whatever `BELLWETHER_GRACE` says.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.config.grace = grace;
        self.config.sources.set_in_code("BELLWETHER_GRACE");
        self
    }

    /// How long the service stays reachable once it is unready, whatever `BELLWETHER_DRAIN_DELAY` says;
    /// must be shorter than the grace.
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.config.drain_delay = delay;
        self.config.sources.set_in_code("BELLWETHER_DRAIN_DELAY");
        self
    }

    /// Who may set request id, sampled flag and client address, whatever `BELLWETHER_TRUST` says: `private`,
    /// `all`, `none` or CIDRs. A policy that cannot be read is a fault of [`start`](Self::start).
    pub fn trust(self, policy: &str) -> Self {
        let trust = Trust::parse(policy).map_err(|fault| format!("trust({policy:?}): {fault}"));
        self.set("BELLWETHER_TRUST", trust, |config, trust| {
            config.trust = trust;
        })
    }

    /// Puts a setting of the code in force, or notes its fault. `variable` is what sets it in the environment.
    fn set<T>(
        mut self,
        variable: &'static str,
        value: Result<T, String>,
        put: impl FnOnce(&mut Config, T),
    ) -> Self {
        let value = if self.sinks.is_some() && SETTLED.contains(&variable) {
            Err(format!(
                "{variable} is set in the code behind log_layer(), where it has no effect any more: set it before"
            ))
        } else {
            value
        };
        match value {
            Ok(value) => {
                put(&mut self.config, value);
                self.config.sources.set_in_code(variable);
            }
            Err(fault) => self.config.faults.push(fault),
        }
        self
    }

    /// How long a request may take, its response's body included, whatever `BELLWETHER_REQUEST_TIMEOUT`
    /// says.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.config.request_timeout = Some(timeout);
        self.config
            .sources
            .set_in_code("BELLWETHER_REQUEST_TIMEOUT");
        self
    }

    /// How long the runtime may run no task before `/livez` fails, whatever `BELLWETHER_LIVENESS_TIMEOUT`
    /// says; `None` leaves it unwatched.
    ///
    /// A runtime whose threads are all blocked answers nothing, `/livez` on the service's own port neither:
    /// a probe there fails by its time-out. The admin address answers from a thread of its own, so a probe
    /// there is told what is wrong. After a third of the time-out an error line says it, and
    /// `bellwether_runtime_stalls_total` counts it. Watched is the runtime that [`start`](Self::start) is
    /// called in, from when the service has started; time in which the whole process stood still, as in a
    /// debugger, does not count.
    pub fn liveness_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.config.liveness_timeout = timeout.filter(|timeout| !timeout.is_zero());
        self.config
            .sources
            .set_in_code("BELLWETHER_LIVENESS_TIMEOUT");
        self
    }

    /// Where operators find `/metrics` and the probes, whatever `BELLWETHER_ADMIN_ADDR` says.
    pub fn admin_addr(mut self, address: SocketAddr) -> Self {
        self.config.admin_addr = Some(address);
        self.config.sources.set_in_code("BELLWETHER_ADMIN_ADDR");
        self
    }

    /// `service.version`, unless `OTEL_RESOURCE_ATTRIBUTES` gives one.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        const KEY: &str = "service.version";
        if !self.config.resource.iter().any(|(key, _)| key == KEY) {
            self.config.resource.push((KEY.to_owned(), version.into()));
            self.config.sources.set_in_code(KEY);
        }
        self
    }

    /// Whether spans are made and exported; `false` wins over the environment, `true` is the default.
    pub fn traces(self, traces: bool) -> Self {
        if traces || !self.config.traces {
            return self;
        }
        self.set("OTEL_SDK_DISABLED", Ok(()), |config, ()| {
            config.traces = false;
        })
    }

    /// The kit's `tracing` layer, for a service that builds its own subscriber; `start` then installs none.
    /// The layer brings its own filter (`RUST_LOG`), which is no other layer's; the recorder and
    /// [`Kit::set_log_filter`] go through it, too, and see nothing of what a filter for all layers hides. Log
    /// format, secrets, traces and the log's control are settled by this call: their setters come before it, and are
    /// faults of [`start`](Self::start) behind it.
    ///
    /// Before, a service that sets a subscriber of its own, which [`start`](Self::start) alone would refuse:
    ///
    /// ```no_run
    /// tracing_subscriber::fmt::init();
    /// tracing::info!("listening");
    /// ```
    ///
    /// After, with the kit's lines in place of those of `fmt`, and layers of its own beside them:
    ///
    /// ```
    /// use bellwether::Kit;
    /// use tracing_subscriber::layer::SubscriberExt;
    /// use tracing_subscriber::util::SubscriberInitExt;
    ///
    /// # fn main() -> Result<(), bellwether::Error> {
    /// let (kit, layer) = Kit::from_env("orders")?.log_layer()?;
    /// tracing_subscriber::registry()
    ///     .with(layer)
    ///     // .with(…) layers of the service's own
    ///     .init();
    /// let kit = kit.start()?; // after `init`
    /// tracing::info!("listening");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Every line twice?** `.with(layer).with(fmt::layer())` has two layers that write to stdout: the kit's
    /// and `fmt`'s, one line of each an event. Drop `fmt::layer()`, or keep it for what the kit's lines are
    /// not for: with a writer and a filter of its own.
    ///
    /// **No lines at all?** `.with(EnvFilter::from_default_env())` is a layer that filters for *all* layers,
    /// the kit's among them, and with `RUST_LOG` unset it lets only `ERROR` through: the kit's lines, those
    /// of requests too, are gone. A filter that is meant for one layer is given to that layer:
    ///
    /// ```
    /// # fn main() -> Result<(), bellwether::Error> {
    /// use tracing_subscriber::layer::{Layer, SubscriberExt};
    /// use tracing_subscriber::{EnvFilter, fmt};
    ///
    /// let (kit, layer) = bellwether::Kit::from_env("orders")?.log_layer()?;
    /// let errors = fmt::layer()
    ///     .with_writer(std::io::stderr)
    ///     .with_filter(EnvFilter::from_default_env()); // for this layer alone
    /// let subscriber = tracing_subscriber::registry().with(layer).with(errors);
    /// # drop((kit, subscriber));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// `start` writes one warning when the subscriber in force hides lines that the kit's filter shows.
    ///
    /// **Records of the `log` crate** become events by `.init()` above, if `tracing-subscriber` has its default
    /// feature `tracing-log`; with `tracing::subscriber::set_global_default` add
    /// `tracing_log::LogTracer::init()`. The kit's lines then have the records' own targets. How verbose records may
    /// be is settled then: [`Kit::set_log_filter`] shows no more of them than `log::max_level()` lets through.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), for what it checks and starts early.
    pub fn log_layer<S>(mut self) -> Result<(Self, impl Layer<S> + Send + Sync + 'static), Error>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        self.refuse_faults()?;
        let sinks = self.sinks()?;
        let layer = span::controlled(&sinks.control, sinks.spans)
            .with_filter(LogFilter::new(&sinks.control));
        Ok((self, layer))
    }

    /// Brings logs, traces, metrics and health to life. The tokio runtime it is called in, if any, is the one
    /// that `tokio_*` and `bellwether_saturation_*` tell of; others cannot be seen.
    ///
    /// With the kit's own subscriber, records of the `log` crate are lines as events are, filtered by the same
    /// `RUST_LOG`; a logger that is set already keeps them, and a line says so.
    ///
    /// From here on every panic of the process, caught or not, writes one line at `ERROR` with the target
    /// `bellwether::panic`, whatever the filter: text, place, thread, the request's ids, the fields of its spans,
    /// and with `RUST_BACKTRACE=1` a backtrace. A panic hook set before still runs after it; the standard
    /// library's, which prints text to stderr, only beside pretty lines.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with every fault at once, [`Error::DuplicateCheck`], [`Error::NoRuntime`] when there
    /// are checks and no tokio runtime, [`Error::Bind`] for the admin address,
    /// [`Error::SubscriberAlreadySet`], [`Error::Thread`].
    pub fn start(self) -> Result<Kit, Error> {
        let kit = self.launch()?;
        log::tell_panics(&kit.0.telemetry.logger, kit.0.config.backtraces);
        Ok(kit)
    }

    fn launch(mut self) -> Result<Kit, Error> {
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

    fn refuse_faults(&self) -> Result<(), Error> {
        let mut faults = self.config.all_faults();
        faults.extend(self.checks.iter().filter_map(|(name, check)| {
            Some(format!("health check {name:?}: {}", check.fault()?))
        }));
        if !faults.is_empty() {
            return Err(Error::Config(faults));
        }
        let mut names = HashSet::new();
        match self.checks.iter().find(|(name, _)| !names.insert(name)) {
            Some((name, _)) => Err(Error::DuplicateCheck(name.clone())),
            None => Ok(()),
        }
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

    fn sinks(&mut self) -> Result<Sinks, Error> {
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
