//! `Kit`: what a service holds while it runs, and takes its layers, routes and shutdown from.

#[cfg(feature = "axum")]
mod admin;
mod builder;
mod description;
#[cfg(feature = "axum")]
mod mount;
mod outlets;
#[cfg(feature = "axum")]
mod server;

use std::net::SocketAddr;
use std::ops::DerefMut;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use prometheus_client::registry::Registry;

use crate::config::Config;
use crate::error::Error;
use crate::health::{Health, State};
use crate::http::{ClientLayer, HttpLayer, Telemetry};
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::trace::Exporter;
pub use builder::KitBuilder;
pub use description::{Description, Setting};
use outlets::Outlets;
#[cfg(feature = "axum")]
pub use server::run;

/// What the lines get of the flush when the spans have used up the rest.
const LOG_FLUSH: Duration = Duration::from_millis(500);

/// A running kit; cheap to clone.
#[derive(Clone, Debug)]
pub struct Kit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    telemetry: Arc<Telemetry>,
    metrics: Metrics,
    health: Health,
    shutdown: Shutdown,
    exporter: Exporter,
    outlets: Outlets,
    description: Description,
    #[cfg(feature = "axum")]
    admin: Option<admin::Admin>,
}

impl Kit {
    /// A builder with what the environment says. `service` is the name unless the environment gives one
    /// (`OTEL_SERVICE_NAME`, or `service.name` in `OTEL_RESOURCE_ATTRIBUTES`).
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with every variable that cannot be read, at once.
    pub fn from_env(service: &str) -> Result<KitBuilder, Error> {
        Self::builder(service).checked()
    }

    /// As [`from_env`](Self::from_env); faults surface at [`KitBuilder::start`].
    pub fn builder(service: &str) -> KitBuilder {
        KitBuilder::new(Config::from_process_env(service))
    }

    /// The whole middleware as one `tower` layer, for any service of `http` requests.
    ///
    /// In axum use [`wrap`](Self::wrap), or `Router::layer`: only there the matched route is known. A service
    /// that owns its server finds a whole `main` at [`routes`](Self::routes).
    #[must_use]
    pub fn layer(&self) -> HttpLayer {
        HttpLayer::new(Arc::clone(&self.0.telemetry))
    }

    /// The outbound twin of [`layer`](Self::layer), for HTTP clients: see [`ClientLayer`] for an example with
    /// hyper-util's, and for the type to name.
    #[must_use]
    pub fn client_layer(&self) -> ClientLayer {
        ClientLayer::new(Arc::clone(&self.0.telemetry))
    }

    /// What [`client_layer`](Self::client_layer) is, for reqwest: [`ReqwestMiddleware`] has an example.
    ///
    /// [`ReqwestMiddleware`]: crate::ReqwestMiddleware
    #[cfg(feature = "reqwest")]
    #[must_use]
    pub fn reqwest_middleware(&self) -> crate::ReqwestMiddleware {
        crate::ReqwestMiddleware::new(Arc::clone(&self.0.telemetry))
    }

    /// Where an application registers its own metrics, beside the kit's. A scrape waits while this is
    /// held: register, then let go.
    #[must_use]
    pub fn registry(&self) -> impl DerefMut<Target = Registry> + '_ {
        self.0.metrics.registry()
    }

    /// The metrics as a scraper that sends this `Accept` wants them: content type and text. `/metrics` of
    /// [`wrap`](Self::wrap) and [`routes`](Self::routes) answers with it.
    #[must_use]
    pub fn render_metrics(&self, accept: Option<&HeaderValue>) -> (&'static str, String) {
        self.0.metrics.render(accept)
    }

    /// What `/readyz` answers.
    ///
    /// # Errors
    ///
    /// A short reason: `starting`, `draining`, `check db failing`.
    pub fn ready(&self) -> Result<(), String> {
        self.0.health.ready(&[])
    }

    /// What `/readyz?verbose` answers, as `application/health+json`.
    #[must_use]
    pub fn health_report(&self) -> String {
        self.0.health.report(&self.ready(), &[], false).to_string()
    }

    /// What `/telemetry` of the admin address answers, as JSON: where the spans are, and what became of the
    /// lines.
    #[must_use]
    pub fn telemetry_report(&self) -> String {
        self.0.outlets.report().to_string()
    }

    /// Every setting in force, with its value and where that comes from; the resource's attributes too. No secret
    /// is in it. `/config` of the admin address answers with the same.
    ///
    /// ```
    /// # fn main() -> Result<(), bellwether::Error> {
    /// let kit = bellwether::Kit::from_env("orders")?.traces(false).start()?;
    /// println!("{}", kit.describe()); // a table: name, value, source
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn describe(&self) -> Description {
        self.0.description.clone()
    }

    /// `service.name`, as every line, span and metric has it.
    #[must_use]
    pub fn service_name(&self) -> &str {
        &self.0.config.service
    }

    /// `PORT` (8080), for services that bind by themselves.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.config.port
    }

    /// Begins the shutdown as SIGTERM does: unready at once, then the drain delay. Asking again changes
    /// nothing.
    pub fn shutdown(&self) {
        self.0.shutdown.ask();
    }

    /// Resolves when a server should stop accepting: SIGTERM, SIGINT or [`shutdown`](Self::shutdown) came,
    /// and the drain delay, which SIGINT skips, is over. For services that own their server
    /// ([`routes`](Self::routes) has an example); making it says that the service has started.
    ///
    /// WebSocket handlers await it too: they are given the rest of the grace and then cut.
    pub fn shutdown_signal(&self) -> impl Future<Output = ()> + Send + 'static {
        let shutdown = self.0.shutdown.clone();
        shutdown.lifecycle().advance(State::Ready);
        async move {
            if let Err(error) = shutdown.watch_signals() {
                tracing::warn!(target: "bellwether::serve", %error, "cannot listen for signals");
            }
            shutdown.stop_accepting().await;
        }
    }

    /// Resolves when a second signal asks to stop at once, whatever is left undone. For services that own their
    /// server; [`serve`](Self::serve) heeds it by itself.
    pub fn hurry_signal(&self) -> impl Future<Output = ()> + Send + 'static {
        let shutdown = self.0.shutdown.clone();
        async move { shutdown.hurried().await }
    }

    /// What is left of the grace; all of the flush's share of it while no shutdown was asked for. For services
    /// that own their server and drain in steps.
    #[must_use]
    pub fn grace_left(&self) -> Duration {
        self.0.shutdown.left()
    }

    /// Where the admin endpoints are, if they are anywhere; the port is the one in fact bound.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        #[cfg(feature = "axum")]
        return self.0.admin.as_ref().map(admin::Admin::address);
        #[cfg(not(feature = "axum"))]
        None
    }

    /// Sends what spans and lines are left within the rest of the grace. [`serve`](Self::serve) does it
    /// by itself; a service that owns its server calls it last. A second call does nothing.
    pub async fn finish(&self) {
        let inner = &self.0;
        let lifecycle = inner.shutdown.lifecycle();
        if lifecycle.state() == State::Stopped {
            return;
        }
        lifecycle.advance(State::Stopped);
        let left = if inner.shutdown.is_hurried() {
            Duration::ZERO
        } else {
            inner.shutdown.left()
        };
        let for_spans = left.saturating_sub(LOG_FLUSH);
        // The exporter tells by itself what it could not send.
        inner.exporter.shutdown(for_spans).await;
        tracing::info!(target: "bellwether", "stopped");
        let logger = inner.telemetry.logger.clone();
        // The sink waits by blocking; a failed join means that the runtime is going down under us.
        let flush = move || logger.flush(LOG_FLUSH);
        let _ = tokio::task::spawn_blocking(flush).await;
        #[cfg(feature = "axum")]
        if let Some(admin) = &inner.admin {
            admin.close();
        }
    }

    /// The one line that says what is in force, and the warnings gathered before there was a log.
    fn announce(&self) {
        let config = &self.0.config;
        let outlets = &self.0.outlets;
        let told = &self.0.description;
        tracing::info!(
            target: "bellwether",
            version = env!("CARGO_PKG_VERSION"),
            // Not `exporter`: the collector has exporters of its own, which this is none of.
            traces_exporter = outlets.exporter(),
            traces_endpoint = outlets.endpoint(),
            traces_protocol = outlets.endpoint().and(told.value("traces_protocol")),
            sampler = told.value("sampler"),
            propagators = told.value("propagators"),
            service.version = told.value("service.version"),
            log_format = told.value("log_format"),
            log_filter = config.filter,
            trust = %config.trust,
            grace_seconds = config.grace.as_secs_f64(),
            drain_delay_seconds = config.drain_delay.as_secs_f64(),
            request_timeout_seconds = config.request_timeout.map(|timeout| timeout.as_secs_f64()),
            concurrency_limit = config.concurrency_limit,
            admin_addr = self.admin_addr().map(tracing::field::display),
            configured = told.changed(),
            "started"
        );
        for warning in &config.warnings {
            tracing::warn!(target: "bellwether", "{warning}");
        }
    }
}
