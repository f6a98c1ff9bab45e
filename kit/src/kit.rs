//! `Kit`: what a service holds while it runs, and takes its layers, routes and shutdown from.

#[cfg(feature = "axum")]
mod admin;
mod builder;
#[cfg(feature = "axum")]
mod chunks;
mod description;
#[cfg(feature = "axum")]
mod log_level;
#[cfg(feature = "axum")]
mod mount;
mod outlets;
#[cfg(feature = "axum")]
mod scrape;
#[cfg(feature = "axum")]
mod server;

use std::net::SocketAddr;
use std::ops::DerefMut;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue};
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::context::SpanIdentity;
use crate::error::Error;
#[cfg(feature = "tonic")]
use crate::health::GrpcHealth;
use crate::health::{Health, State};
use crate::http::{ClientLayer, HttpLayer, Telemetry};
use crate::log::{Control, Logger};
use crate::metrics::{Exposition, Metrics};
use crate::shutdown::{HookResult, Shutdown};
use crate::trace::Exporter;
pub use builder::KitBuilder;
pub use description::{Description, Setting};
use outlets::Outlets;
#[cfg(feature = "axum")]
pub use server::run;

/// What the lines get of the flush when the spans have used up the rest.
const LOG_FLUSH: Duration = Duration::from_millis(500);

/// A running kit; cheap to clone.
///
/// When the last clone is dropped without [`finish`](Self::finish), such as by a `?` in `main`, lines are still
/// written, waited for up to half a second; spans that were not sent by then are lost.
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
    log: Arc<Control>,
    description: Description,
    #[cfg(feature = "axum")]
    admin: Option<admin::Admin>,
}

/// A program that ends without [`Kit::finish`] has most likely given up, and its last lines say why.
impl Drop for Inner {
    fn drop(&mut self) {
        if self.shutdown.lifecycle().state() != State::Stopped {
            self.telemetry.logger.flush(LOG_FLUSH);
        }
    }
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

    /// Writes the identity of the current request into headers, as the client layer does: the request id, the
    /// trace context in every format of `OTEL_PROPAGATORS` with the nearest span as the parent, and baggage.
    /// For what the client layer does not cover: messages of a queue, another protocol. Outside of a request
    /// nothing is written.
    ///
    /// ```
    /// # fn publish(_: http::HeaderMap) {}
    /// fn enqueue(kit: &bellwether::Kit) {
    ///     let mut headers = http::HeaderMap::new();
    ///     kit.inject(&mut headers);
    ///     publish(headers);
    /// }
    /// ```
    pub fn inject(&self, headers: &mut HeaderMap) {
        if let Some(nearest) = SpanIdentity::nearest() {
            let telemetry = &self.0.telemetry;
            telemetry.inject(&nearest.context, nearest.span_id, headers);
        }
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
    /// held, and this waits while a scrape is written: register at the start, then let go. Metrics that are
    /// registered never wait, but for the first sight of a label set: a `Family` locks while it is written.
    #[must_use]
    pub fn registry(&self) -> impl DerefMut<Target = Registry> + '_ {
        self.0.metrics.registry()
    }

    /// Has `source` write families of metrics at every scrape, for what [`registry`](Self::registry) cannot hold:
    /// numbers that are worked out when they are asked for, with histograms that have native buckets beside classic
    /// ones, and exemplars. They stand behind the kit's own and before the registry's.
    ///
    /// ```
    /// # fn collect(kit: &bellwether::Kit) {
    /// use bellwether::Distribution;
    ///
    /// kit.collect(|out| {
    ///     out.counter("queue_jobs", "Jobs taken from the queue");
    ///     out.sample(&[("queue", "mail")], 7);
    ///     out.histogram("queue_wait_seconds", Some("seconds"), "How long jobs waited");
    ///     let wait = Distribution { sum: 3.0, count: 2, native: vec![(0, 1), (1, 1)], ..Distribution::default() };
    ///     out.distribution(&[("queue", "mail")], &wait);
    /// });
    /// # }
    /// ```
    pub fn collect(&self, source: impl Fn(&mut Exposition<'_>) + Send + Sync + 'static) {
        self.0.metrics.collect(source);
    }

    /// The metrics as a scraper that sends this `Accept` wants them, content type and body: OpenMetrics 1.0 text,
    /// Prometheus protobuf with native histograms, or, for who names neither, Prometheus text 0.0.4. `/metrics`
    /// of [`wrap`](Self::wrap) and [`routes`](Self::routes) answers with it.
    ///
    /// It takes about a microsecond a series, so with many of them it belongs on a thread that serves no
    /// requests (`tokio::task::spawn_blocking`), where `/metrics` has it.
    #[must_use]
    pub fn render_metrics(&self, accept: Option<&HeaderValue>) -> (&'static str, Vec<u8>) {
        self.0.metrics.render(accept)
    }

    /// What `/livez` answers.
    ///
    /// # Errors
    ///
    /// A short reason: the runtime that the kit was started in has run no task for
    /// `BELLWETHER_LIVENESS_TIMEOUT`.
    pub fn live(&self) -> Result<(), String> {
        self.0.health.liveness.verdict()
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

    /// The answers of `grpc.health.v1.Health`, for tonic services: see [`GrpcHealth`].
    #[cfg(feature = "tonic")]
    #[must_use]
    pub fn grpc_health(&self) -> GrpcHealth {
        self.0.telemetry.methods.learn_health();
        GrpcHealth::new(self.0.health.clone(), self.0.shutdown.clone())
    }

    /// What `/telemetry` of the admin address answers, as JSON: where the spans are, and what became of the
    /// lines.
    #[must_use]
    pub fn telemetry_report(&self) -> String {
        self.0.outlets.report().to_string()
    }

    /// Puts a log filter in force at once, in place of the one before: for `time` (1 second to 24 hours), then
    /// `RUST_LOG` is in force again; without a time until the next change. It is the whole filter, written as
    /// `RUST_LOG` is (`info,checkout=debug`); field values in it are compared as they are, not as patterns. One
    /// line tells of each change. `PUT /loglevel` of the admin address does the same.
    ///
    /// # Errors
    ///
    /// [`Error::LogFilter`] when the filter cannot be read or the time is out of bounds; nothing changes then.
    pub fn set_log_filter(&self, filter: &str, time: Option<Duration>) -> Result<(), Error> {
        let set = self.0.log.set_filter(Some(filter), time);
        set.map_err(Error::LogFilter)
    }

    /// Puts the configured log filter (`RUST_LOG`) in force again.
    pub fn reset_log_filter(&self) {
        // The configured filter and no time: there is nothing to refuse.
        let _ = self.0.log.set_filter(None, None);
    }

    /// The log filter in force, as `GET /loglevel` of the admin address tells it.
    #[must_use]
    pub fn log_filter(&self) -> String {
        self.0.log.filter().filter
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

    /// Has `hook` run when a shutdown begins: to deregister the service, or stop taking in work from a queue.
    /// Accepting goes on until it has ended.
    ///
    /// The order of a shutdown: unready; the hooks of the drain, and beside them the drain delay; no more
    /// connections; the requests in flight finish; the hooks of [`on_stop`](Self::on_stop); spans and lines
    /// are flushed. The hooks of one moment run all at once: steps that must follow each other belong into one
    /// hook. Those of the drain have half of the grace (the drain delay, if that is longer), those of the stop
    /// the time between the last request and the flush, at least a fifth of the grace and at most 5 s of it.
    /// One that fails, panics or outlives its time is told as a warning and holds nothing else up. A second
    /// signal waits for none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), bellwether::Error> {
    /// # struct Registry;
    /// # impl Registry { async fn deregister(self) -> Result<(), std::io::Error> { Ok(()) } }
    /// # struct Pool;
    /// # impl Pool { async fn close(self) {} }
    /// # let (registry, pool) = (Registry, Pool);
    /// let kit = bellwether::Kit::from_env("orders")?
    /// #   .traces(false)
    ///     .start()?;
    /// kit.on_drain("deregister", async move { registry.deregister().await });
    /// kit.on_stop("database", async move { pool.close().await });
    /// # kit.finish().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_drain<R: HookResult>(
        &self,
        name: impl Into<String>,
        hook: impl Future<Output = R> + Send + 'static,
    ) {
        self.0.shutdown.on_drain(name.into(), hook);
    }

    /// Has `hook` run after the last request and before the flush: to close what requests needed, such as
    /// pools. What it logs still arrives. [`on_drain`](Self::on_drain) tells order and deadlines.
    pub fn on_stop<R: HookResult>(
        &self,
        name: impl Into<String>,
        hook: impl Future<Output = R> + Send + 'static,
    ) {
        self.0.shutdown.on_stop(name.into(), hook);
    }

    /// Resolves when a server should stop accepting: SIGTERM, SIGINT or [`shutdown`](Self::shutdown) came,
    /// the drain delay, which SIGINT skips, is over, and the hooks of [`on_drain`](Self::on_drain) have run. For
    /// services that own their server ([`routes`](Self::routes) has an example); making it says that the service has
    /// started. Made within a tokio runtime it listens from then on, for as long as that runtime is there; else from when it
    /// is first awaited.
    ///
    /// WebSocket handlers await it too, to say goodbye: [`serve`](Self::serve) waits for upgraded connections
    /// as for any other until the time for requests is up; from then on their reads and writes fail.
    pub fn shutdown_signal(&self) -> impl Future<Output = ()> + Send + 'static {
        let shutdown = self.0.shutdown.clone();
        shutdown.lifecycle().advance(State::Ready);
        // Already now where that can be: a signal that comes before anybody waits must not end the process.
        if tokio::runtime::Handle::try_current().is_ok() {
            shutdown.heed_signals();
        }
        async move {
            shutdown.heed_signals();
            shutdown.stop_accepting().await;
        }
    }

    /// Resolves when a second signal asks to stop at once, whatever is left undone. For services that own their
    /// server; [`serve`](Self::serve) heeds it by itself.
    pub fn hurry_signal(&self) -> impl Future<Output = ()> + Send + 'static {
        let shutdown = self.0.shutdown.clone();
        async move { shutdown.hurried().await }
    }

    /// Resolves when the requests that are still in flight have had their share of the grace, or a second signal
    /// came: a service that owns its server then lets go of it and calls [`finish`](Self::finish), before the
    /// process is killed with its spans and lines unsent. [`serve`](Self::serve) does it by itself.
    ///
    /// ```
    /// # async fn serve(kit: &bellwether::Kit, server: impl Future<Output = std::io::Result<()>>) -> std::io::Result<()> {
    /// // `server` stops accepting at `kit.shutdown_signal()`, then waits for its last request.
    /// tokio::select! {
    ///     ended = server => ended?,
    ///     () = kit.cut_signal() => {}
    /// }
    /// kit.finish().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cut_signal(&self) -> impl Future<Output = ()> + Send + 'static {
        let shutdown = self.0.shutdown.clone();
        async move { shutdown.cut().await }
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

    /// Runs the hooks of [`on_stop`](Self::on_stop), then sends what spans and lines are left within the rest of the
    /// grace. [`serve`](Self::serve) does it by itself; a service that owns its server calls it last. A second call
    /// does nothing.
    pub async fn finish(&self) {
        let inner = &self.0;
        let lifecycle = inner.shutdown.lifecycle();
        if lifecycle.state() == State::Stopped {
            return;
        }
        lifecycle.advance(State::Stopped);
        inner.shutdown.stopped().await;
        let left = if inner.shutdown.is_hurried() {
            Duration::ZERO
        } else {
            inner.shutdown.left()
        };
        // Of a short grace, such as a function's, half is the spans'.
        let for_spans = left - LOG_FLUSH.min(left / 2);
        // The exporter tells by itself what it could not send.
        inner.exporter.shutdown(for_spans).await;
        tracing::info!(target: "bellwether", "stopped");
        inner.log.tell_floods();
        flush(inner.telemetry.logger.clone()).await;
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
            kit_version = env!("CARGO_PKG_VERSION"),
            // Not `exporter`: the collector has exporters of its own, which this is none of.
            traces_exporter = outlets.exporter(),
            traces_endpoint = outlets.endpoint(),
            traces_protocol = outlets.endpoint().and(told.value("traces_protocol")),
            sampler = told.value("sampler"),
            propagators = told.value("propagators"),
            service.version = told.value("service.version"),
            log_format = told.value("log_format"),
            log_filter = config.log.filter,
            trust = %config.trust,
            grace_seconds = config.grace.as_secs_f64(),
            drain_delay_seconds = config.drain_delay.as_secs_f64(),
            request_timeout_seconds = config.request_timeout.map(|timeout| timeout.as_secs_f64()),
            concurrency_limit = config.concurrency_limit,
            liveness_timeout_seconds = config.liveness_timeout.map(|timeout| timeout.as_secs_f64()),
            admin_addr = self.admin_addr().map(tracing::field::display),
            configured = told.changed(),
            "started"
        );
        for warning in &config.warnings {
            tracing::warn!(target: "bellwether", "{warning}");
        }
    }
}

/// On a thread of its own, as the sink waits by blocking: the runtime's threads for that may all be taken, by
/// work that does not end.
async fn flush(logger: Logger) {
    let (done, flushed) = oneshot::channel();
    let wait = move || {
        logger.flush(LOG_FLUSH);
        // Nobody waits when `finish` was given up.
        let _ = done.send(());
    };
    let thread = thread::Builder::new().name("bellwether-flush".to_owned());
    if thread.spawn(wait).is_ok() {
        let _ = flushed.await;
    }
}
