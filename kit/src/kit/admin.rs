//! The admin address: metrics, probes with error texts, and where the traces are. For operators, so it
//! answers until the very end of a shutdown, and from a thread of its own: also while the service's runtime
//! is blocked, which is when somebody looks.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::log_level;
use super::outlets::Outlets;
use super::scrape;
use crate::config::{Config, Paths};
use crate::error::Error;
use crate::health::{self, Audience, Health};
use crate::http::NotTraffic;
use crate::log::Control;
use crate::metrics::Metrics;
use crate::serve;

/// The admin address in use; dropping it closes it.
#[derive(Debug)]
pub(super) struct Admin {
    address: SocketAddr,
    closed: watch::Sender<bool>,
}

/// What the admin endpoints tell about.
pub(super) struct Told {
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    pub(super) outlets: Outlets,
    pub(super) log: Arc<Control>,
    pub(super) paths: Paths,
    /// What `Kit::describe` tells, as JSON.
    pub(super) description: String,
}

/// A listener bound early, so that a taken port is an error of `start` before anything else has begun.
#[derive(Debug)]
pub(super) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Binds the admin address, if there is one.
pub(super) fn bind(config: &Config) -> Result<Option<Bound>, Error> {
    let Some(address) = config.admin_addr else {
        return Ok(None);
    };
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Bound {
            address: listener.local_addr()?,
            listener,
        })
    };
    listen().map(Some).map_err(|source| Error::Bind {
        address: address.to_string(),
        source,
    })
}

impl Bound {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves from a thread and a runtime of its own, until the `Admin` is closed.
    pub(super) fn serve(self, told: &Told) -> Result<Admin, Error> {
        let address = self.address;
        let (closed, until) = watch::channel(false);
        let started = self.spawn(router(told), until);
        started.map_err(|source| Error::Thread {
            thread: "admin",
            source,
        })?;
        Ok(Admin { address, closed })
    }

    fn spawn(self, router: Router, until: watch::Receiver<bool>) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(self.listener)?
        };
        let thread = thread::Builder::new().name("bellwether-admin".to_owned());
        thread
            .spawn(move || run(&runtime, listener, router, until))
            .map(drop)
    }
}

fn run(
    runtime: &Runtime,
    listener: tokio::net::TcpListener,
    router: Router,
    mut until: watch::Receiver<bool>,
) {
    runtime.block_on(async {
        tokio::select! {
            () = serve::run_admin(listener, router) => {}
            // An error says that the `Admin` is gone: closed as well.
            _ = until.wait_for(|closed| *closed) => {}
        }
    });
}

impl Admin {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }
}

fn router(told: &Told) -> Router {
    let paths = &told.paths;
    let probes = health::routes(&told.health, Audience::Operators, paths);
    let router = probes
        .route("/telemetry", telemetry(told))
        .route("/config", config(told))
        .route("/loglevel", log_level::handlers(&told.log))
        .fallback((StatusCode::NOT_FOUND, not_found(paths)));
    paths.metrics().into_iter().fold(router, |router, path| {
        router.route(path, scrape::handler(told.metrics.clone()))
    })
}

/// What is there, for whoever asks for something else.
fn not_found(paths: &Paths) -> String {
    let probes = [paths.live(), paths.ready(), paths.startup()].concat();
    let probes = probes.join(", ");
    let metrics = paths.metrics().join(", ");
    format!("not found; here are {metrics}, /telemetry, /config, /loglevel, {probes} (?verbose)\n")
}

/// `/telemetry`: where the spans and lines are.
fn telemetry(told: &Told) -> MethodRouter {
    let outlets = told.outlets.clone();
    get(move || {
        let report = format!("{}\n", outlets.report());
        std::future::ready(answer("application/json", report))
    })
}

/// `/config`: what is in force, and from where.
fn config(told: &Told) -> MethodRouter {
    let description = format!("{}\n", told.description);
    get(move || std::future::ready(answer("application/json", description.clone())))
}

pub(super) fn answer(content_type: &'static str, body: String) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(NotTraffic);
    response
}
