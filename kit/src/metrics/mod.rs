//! Metrics: what `http` records about each request and call, what `/metrics` shows. Record paths take no
//! contended lock and, once a label set is known, allocate nothing.

mod busy;
mod client;
#[cfg(feature = "axum")]
mod connections;
mod exposition;
mod families;
mod health;
mod histogram;
mod in_flight;
mod labels;
mod native;
mod negotiate;
#[cfg(target_os = "linux")]
mod process;
mod protobuf;
mod rpc;
mod runtime;
mod saturation;
mod server;
mod size;
mod source;
mod table;
mod telemetry;
mod text;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ::http::HeaderValue;
use prometheus_client::registry::Registry;
use tokio::runtime::{Handle, RuntimeMetrics};

pub(crate) use client::{ClientLabels, ClientMetrics};
#[cfg(feature = "axum")]
pub(crate) use connections::{Connections, OpenConnection, Protocol};
#[cfg(feature = "axum")]
pub(crate) use negotiate::accepts_gzip;
pub(crate) use rpc::{RpcLabels, RpcMetrics};
pub use source::{ClassicBucket, Distribution, Exposition, Measured};

pub(crate) use server::{ActiveRequest, BodySizes, RouteSeries, ServerLabels, ServerMetrics};

use self::saturation::Saturation;
use self::source::Sources;
use self::telemetry::Telemetry;
use self::text::{Kind, Text};
use crate::context::{SpanId, TraceId};
use crate::health::Health;
use crate::log::LineCounts;
use crate::trace::TelemetryCounters;

/// All metrics of a service; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server: ServerMetrics,
    client: ClientMetrics,
    rpc: RpcMetrics,
    telemetry: Telemetry,
    /// Set once it is known: what serves metrics starts before what they tell of.
    health: OnceLock<Health>,
    target: labels::LabelText,
    #[cfg(target_os = "linux")]
    process: process::Process,
    surroundings: OnceLock<Surroundings>,
    /// Of the kit's own server, once it serves.
    #[cfg(feature = "axum")]
    connections: OnceLock<Connections>,
    /// The application's own metrics.
    registry: Mutex<Registry>,
    /// Those that it makes for every scrape.
    sources: Sources,
}

/// What the service runs in.
#[derive(Debug)]
struct Surroundings {
    runtime: Option<RuntimeMetrics>,
    saturation: Option<Saturation>,
}

/// The trace a measurement belongs to, shown beside its histogram bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
}

/// The bounds of the HTTP duration histograms, in seconds (semantic conventions, HTTP metrics).
pub(crate) const DURATION_BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

impl Metrics {
    /// `resource` describes the service (`service.name`, …) and becomes `target_info`; `traces` and
    /// `line_counts` are asked at every scrape.
    pub(crate) fn new(
        resource: &[(String, String)],
        traces: TelemetryCounters,
        line_counts: impl Fn() -> LineCounts + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            server: ServerMetrics::default(),
            client: ClientMetrics::default(),
            rpc: RpcMetrics::default(),
            telemetry: Telemetry::new(traces, line_counts),
            health: OnceLock::new(),
            target: target_labels(resource),
            #[cfg(target_os = "linux")]
            process: process::Process::this(),
            surroundings: OnceLock::new(),
            #[cfg(feature = "axum")]
            connections: OnceLock::new(),
            registry: Mutex::default(),
            sources: Sources::default(),
        }))
    }

    /// Has the checks and the watchdog of a service shown; the first call counts.
    pub(crate) fn show_health(&self, health: Health) {
        let _ = self.0.health.set(health);
    }

    /// Begins to watch the runtime of the service, and how full the service is, for as long as the metrics live.
    /// Asking again changes nothing.
    ///
    /// # Errors
    ///
    /// Those of starting the thread that samples.
    pub(crate) fn watch(
        &self,
        runtime: Option<&Handle>,
        concurrency_limit: Option<usize>,
    ) -> io::Result<()> {
        let runtime = runtime.map(Handle::metrics);
        let sources = saturation::Sources::new(self.server(), concurrency_limit, runtime.clone());
        let saturation = sources.map(Saturation::start).transpose()?;
        let _ = self.0.surroundings.set(Surroundings {
            runtime,
            saturation,
        });
        Ok(())
    }

    /// Where the kit's own server counts its connections; shown from the first call on.
    #[cfg(feature = "axum")]
    pub(crate) fn connections(&self) -> Connections {
        self.0.connections.get_or_init(Connections::default).clone()
    }

    pub(crate) fn server(&self) -> &ServerMetrics {
        &self.0.server
    }

    pub(crate) fn client(&self) -> &ClientMetrics {
        &self.0.client
    }

    pub(crate) fn rpc(&self) -> &RpcMetrics {
        &self.0.rpc
    }

    /// Where an application registers its own metrics. A scrape waits while this is held.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `source` write families of its own at every scrape.
    pub(crate) fn collect(&self, source: impl Fn(&mut Exposition<'_>) + Send + Sync + 'static) {
        self.0.sources.add(source);
    }

    /// Everything, as a scraper that sends this `Accept` wants it: content type and body. Takes as long as the
    /// application's registry is large, so no thread that serves requests should do it.
    pub(crate) fn render(&self, accept: Option<&HeaderValue>) -> (&'static str, Vec<u8>) {
        let format = negotiate::format(accept);
        let mut text = Text::new(format);
        self.write_own(&mut text);
        self.0.sources.write(&mut text);
        if let Err(error) = text.registered(&self.registry()) {
            // A metric's own encoder failed, or its text has no form, as that of a histogram which is native alone.
            // Half a family would spoil the whole exposition.
            tracing::warn!(target: "bellwether::metrics", %error, "a registered metric cannot be encoded; none of the registry's are shown");
        }
        (exposition::content_type(format), text.finish())
    }

    fn write_own(&self, text: &mut Text) {
        let inner = &*self.0;
        text.family(
            "target",
            Kind::Info,
            None,
            "The resource these metrics are of",
        );
        text.sample(&inner.target, 1_u64);
        text.family("bellwether_build", Kind::Info, None, "The kit itself");
        text.sample(&build_labels(), 1_u64);
        inner.server.write(text);
        inner.client.write(text);
        inner.rpc.write(text);
        self.write_surroundings(text);
        inner.telemetry.write(text);
        if let Some(of) = inner.health.get() {
            health::write(of, text);
        }
        text.family(
            "bellwether_series_dropped",
            Kind::Counter,
            None,
            "Measurements that went to a metric's overflow series, since it has as many series as it may",
        );
        let overflowed = inner
            .server
            .overflowed()
            .into_iter()
            .chain(inner.client.overflowed())
            .chain(inner.rpc.overflowed());
        for (metric, count) in overflowed {
            text.sample(&labels::LabelText::default().with("metric", metric), count);
        }
    }

    fn write_surroundings(&self, text: &mut Text) {
        let inner = &*self.0;
        #[cfg(feature = "axum")]
        if let Some(connections) = inner.connections.get() {
            connections.write(text);
        }
        if let Some(surroundings) = inner.surroundings.get() {
            if let Some(saturation) = &surroundings.saturation {
                saturation.write(text);
            }
            if let Some(runtime) = &surroundings.runtime {
                runtime::write(runtime, text);
            }
        }
        #[cfg(target_os = "linux")]
        inner.process.write(text);
    }
}

/// Of which kit, and built for what, as the `*_build_info` of others tell. The service's own version is
/// `service_version` in `target_info`.
fn build_labels() -> labels::LabelText {
    labels::LabelText::default()
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("os", std::env::consts::OS)
        .with("arch", std::env::consts::ARCH)
}

/// Label names must be unique; of two attributes that become the same name the first is shown.
fn target_labels(resource: &[(String, String)]) -> labels::LabelText {
    let mut seen = Vec::with_capacity(resource.len());
    let mut text = labels::LabelText::default();
    for (attribute, value) in resource {
        let name = labels::label_name(attribute);
        if !seen.contains(&name) {
            text = text.with(&name, value);
            seen.push(name);
        }
    }
    text
}

#[cfg(test)]
mod tests;
