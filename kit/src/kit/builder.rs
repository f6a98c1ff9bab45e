//! `KitBuilder`: the environment, the builder's own settings on top, and the start of everything.

mod log_control;
mod parts;
mod paths;
mod serving;
mod shown;
mod start;

use std::collections::HashSet;
use std::sync::Arc;

use tracing::Subscriber;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::Kit;
use crate::config::{Config, LogFormat};
use crate::error::Error;
use crate::health::Check;
use crate::log::{self, Control, LogFilter, Logger};
use crate::span;
use crate::trace::SpanQueue;

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
}
