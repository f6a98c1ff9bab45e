//! Starts every stage in order and drains them in order; the only folder that names them all. Called by
//! `main_with`.

mod bind;
mod guards;
mod open_log;
mod own;
mod receivers;
mod stopped;
mod telling;
mod web_server;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bellwether::Kit;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};

pub use bind::BindError;
use bind::Bound;
pub use guards::GuardError;
use guards::Guards;
use open_log::OpenLog;
pub use own::OwnTarget;
use receivers::{receiver_status, start_receivers};
use stopped::stopped;
use telling::{tell_left_out, tell_started, tell_unsent};
use web_server::WebServer;

use crate::budget::Budget;
use crate::config::Config;
use crate::export::{self, Worker};
use crate::intake::Intake;
use crate::log::disk::OpenError;
use crate::log::{BatchLog, Cursor};
use crate::metrics::{self, FlowMetrics};
use crate::net::server;
use crate::status::{Status, now_unix_nano};
use crate::views::{self, Views};
use crate::web::{self, Reports, Web};

/// Of the time left once receivers stop, what the web address and the last log lines may take.
const LAST_SHARE: Duration = Duration::from_secs(1);

/// Why the collector did not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An exporter.
    #[error(transparent)]
    OwnTarget(#[from] OwnTarget),
    /// Certificates, keys, tokens.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The data directory.
    #[error(transparent)]
    Data(#[from] OpenError),
    /// Its own logs, metrics and probes.
    #[error(transparent)]
    Kit(#[from] bellwether::Error),
    /// A fault in its own code ended the thread that writes to the data directory.
    #[error(
        "stopped, for the data directory was not written to any more; nothing that was answered with success is lost"
    )]
    LogBroken,
}

/// Runs the collector until a signal stops it and everything is drained; exporters run on the runtime of `exporting`,
/// everything else on the caller's.
///
/// # Errors
/// [`RunError`]; nothing that was answered with success is lost by it.
pub async fn run(config: Config, exporting: &Handle) -> Result<(), RunError> {
    // Before the first log line: what cannot be had is better told alone.
    let bound = bind::all([
        (GRPC, &config.otlp_grpc),
        (HTTP, &config.otlp_http),
        (ZIPKIN, &config.zipkin),
        (WEB, &config.web),
    ])
    .await?;
    let [grpc, http, zipkin, web] = &bound;
    own::check(
        &config.export,
        &[
            (GRPC, &config.otlp_grpc, grpc),
            (HTTP, &config.otlp_http, http),
            (ZIPKIN, &config.zipkin, zipkin),
            (WEB, &config.web, web),
        ],
    )?;
    let guards = Guards::read(&config.access)?;
    let opened = OpenLog::open(&config)?;
    let kit = Kit::builder("bellwether-collector")
        .service_version(env!("CARGO_PKG_VERSION"))
        .traces(false)
        .start()?;
    opened.recovery.tell();
    // Before anything is taken: a signal that nobody listens for ends the process, and what it took.
    let asked = kit.shutdown_signal();
    let collector = Collector::start(&kit, config, bound, opened, guards, exporting);
    let log = collector.log.clone();
    stopped(asked, &log, || kit.shutdown()).await;
    let status = Arc::clone(&collector.status);
    // Not dropped by the signal: what waits must still be there to be told.
    let mut drain = pin!(collector.drain(&kit));
    tokio::select! {
        () = &mut drain => {}
        () = kit.hurry_signal() => {
            tell_unsent(&status);
            finish(&log, Instant::now() + LAST_SHARE).await;
        }
    }
    kit.finish().await;
    match log.is_broken() {
        true => Err(RunError::LogBroken),
        false => Ok(()),
    }
}

/// Everything that runs.
struct Collector {
    status: Arc<Status>,
    log: BatchLog,
    /// Turns true when receivers stop accepting and live pages end.
    closing: watch::Sender<bool>,
    receivers: JoinSet<usize>,
    /// The exporters' deadline, once there is one.
    drain: watch::Sender<Option<Instant>>,
    exporters: JoinSet<()>,
    web: Option<WebServer>,
    /// These end with the collector.
    _clock: JoinSet<()>,
    _watches: JoinSet<()>,
}

impl Collector {
    fn start(
        kit: &Kit,
        config: Config,
        [grpc, http, zipkin, web]: [Bound; 4],
        opened: OpenLog,
        guards: Guards,
        exporting: &Handle,
    ) -> Self {
        tell_left_out([(GRPC, &grpc), (HTTP, &http), (ZIPKIN, &zipkin), (WEB, &web)]);
        let [grpc_locks, http_locks, zipkin_locks] = config.access.locks;
        let receivers = [
            (GRPC, &grpc, grpc_locks),
            (HTTP, &http, http_locks),
            (ZIPKIN, &zipkin, zipkin_locks),
        ];
        guards::tell_plaintext(&receivers);
        let status = Arc::new(Status {
            receivers: receivers.map(receiver_status).into(),
            exporters: opened.exporters,
            log: opened.status,
        });
        kit.registry()
            .register_collector(Box::new(FlowMetrics(Arc::clone(&status))));
        let log = opened.log;
        let views = Arc::new(Views::new(views::Config {
            retention: config.retention,
            trace_bytes: config.memory.traces,
            view_bytes: config.memory.views,
        }));
        let scraped = Arc::clone(&views);
        kit.collect(move |out| metrics::write_views(scraped.scrape(), out));
        tell_started(&config, [&grpc, &http, &zipkin, &web]);

        let (drain, exporters) = start_exporters(config.export, &status, opened.cursors, exporting);
        let (closing, closed) = watch::channel(false);
        let intake = Intake::new(log.clone(), Arc::clone(&views));
        let bodies = Budget::new(config.memory.bodies);
        let requests = Budget::new(config.memory.requests());
        let net = server::Config {
            max_connections: config.memory.connections(),
            stream_window_bytes: config.memory.stream_window(),
            max_streams: config
                .memory
                .streams(Handle::current().metrics().num_workers()),
            ..server::Config::default()
        };
        let senders = server::Config {
            idle_timeout: config.access.connections.idle_timeout,
            max_age: config.access.connections.max_age,
            max_age_grace: config.access.connections.grace,
            ..net.clone()
        };
        let guards = guards.start();
        let clock = start_clock(Arc::clone(&views));
        let pages = Web {
            allowed_hosts: allowed_hosts(config.web_hosts, [config.web.host, config.zipkin.host]),
            trace_links: config.trace_links.into(),
            autocomplete_keys: config.autocomplete_keys.into(),
            reports: Reports::new(bodies.clone()),
            ..Web::new(views, Arc::clone(&status), closed.clone())
        };
        let receivers = start_receivers(
            [grpc, http, zipkin],
            &senders,
            &guards,
            &status,
            (&intake, &web::zipkin_router(pages.clone())),
            [&bodies, &requests],
            &closed,
        );
        let web = web
            .ok()
            .map(|web| WebServer::start(web.listener, net, kit.wrap(web::router(pages))));
        Self {
            status,
            log,
            closing,
            receivers,
            drain,
            exporters,
            web,
            _clock: clock,
            _watches: guards.into_watches(),
        }
    }

    /// Receivers first, so that the log gets its last batch; exporters then, for as long as the grace allows;
    /// the web address last, so that one can watch.
    async fn drain(mut self, kit: &Kit) {
        let left = kit.grace_left().saturating_sub(LAST_SHARE);
        let now = Instant::now();
        self.closing.send_replace(true);
        // Half of it at most: what receivers take in the other half could not be sent any more.
        if timeout_at(now + left / 2, join(&mut self.receivers))
            .await
            .is_err()
        {
            tracing::warn!(
                "receivers did not finish in their half of the grace: requests under way were cut"
            );
            self.receivers.shutdown().await;
        }
        self.log.close();
        self.drain.send_replace(Some(now + left));
        // The workers keep the deadline themselves and tell what they could not send.
        join(&mut self.exporters).await;
        finish(&self.log, now + left + LAST_SHARE / 2).await;
        if let Some(web) = self.web {
            web.stop().await;
        }
    }
}

const GRPC: &str = "otlp-grpc";
const HTTP: &str = "otlp-http";
const ZIPKIN: &str = "zipkin";
const WEB: &str = "web";

fn start_exporters(
    configs: Vec<export::Config>,
    status: &Status,
    cursors: Vec<Cursor>,
    exporting: &Handle,
) -> (watch::Sender<Option<Instant>>, JoinSet<()>) {
    let (drain, deadline) = watch::channel(None);
    let mut exporters = JoinSet::new();
    for ((config, status), cursor) in configs.into_iter().zip(&status.exporters).zip(cursors) {
        let worker = Worker::new(config, Arc::clone(status), deadline.clone());
        exporters.spawn_on(worker.run(cursor), exporting);
    }
    (drain, exporters)
}

/// Lets time pass for the views, also while no span arrives: calls stop waiting for their other half, and
/// live pages learn of the last spans.
fn start_clock(views: Arc<Views>) -> JoinSet<()> {
    let mut clock = JoinSet::new();
    clock.spawn(async move {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            second.tick().await;
            views.tick(now_unix_nano());
        }
    });
    clock
}

/// Has the log on disk brought to its end, as far as the disk does that before `deadline`.
async fn finish(log: &BatchLog, deadline: Instant) {
    if timeout_at(deadline, log.finish()).await.is_err() {
        tracing::error!(
            "the data directory's disk did not finish in time: what was answered with success is kept, and some of it may \
             be sent again after the next start"
        );
    }
}

/// Pages and questions are answered at the names they were told to listen on, too.
fn allowed_hosts(mut hosts: Vec<String>, listening: [String; 2]) -> Arc<[String]> {
    hosts.extend(listening);
    hosts.into()
}

/// Waits for all of them; one that panicked is told, and the others go on.
async fn join<T: 'static>(tasks: &mut JoinSet<T>) {
    while let Some(done) = tasks.join_next().await {
        if let Err(error) = done
            && error.is_panic()
        {
            tracing::error!(%error, "a stage ended by a panic");
        }
    }
}
