//! The admin address: metrics, probes with error texts, and where the traces are. For operators, so it
//! answers until the very end of a shutdown.

use std::net::{SocketAddr, TcpListener};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::outlets::Outlets;
use crate::config::{Config, Paths};
use crate::error::Error;
use crate::health::{self, Audience, Health};
use crate::http::NotTraffic;
use crate::metrics::Metrics;
use crate::serve;

/// The admin address in use; dropping it closes it.
#[derive(Debug)]
pub(super) struct Admin {
    address: SocketAddr,
    task: AbortHandle,
}

/// What the admin endpoints tell about.
pub(super) struct Told {
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    pub(super) outlets: Outlets,
    pub(super) paths: Paths,
    /// What `Kit::describe` tells, as JSON.
    pub(super) description: String,
}

/// A listener bound early, so that a taken port is an error of `start` before anything else has begun.
#[derive(Debug)]
pub(super) struct Bound {
    listener: tokio::net::TcpListener,
    address: SocketAddr,
    runtime: Handle,
}

/// Binds the admin address, if there is one.
pub(super) fn bind(config: &Config, runtime: Option<&Handle>) -> Result<Option<Bound>, Error> {
    let Some(address) = config.admin_addr else {
        return Ok(None);
    };
    let Some(runtime) = runtime else {
        return Err(Error::NoRuntime {
            needed_by: "the admin endpoints",
        });
    };
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(Bound {
            address: listener.local_addr()?,
            listener,
            runtime: runtime.clone(),
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

    pub(super) fn serve(self, told: &Told) -> Admin {
        let server = serve::run_admin(self.listener, router(told));
        Admin {
            address: self.address,
            task: self.runtime.spawn(server).abort_handle(),
        }
    }
}

impl Admin {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn close(&self) {
        self.task.abort();
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.close();
    }
}

fn router(told: &Told) -> Router {
    let paths = &told.paths;
    let probes = health::routes(&told.health, Audience::Operators, paths);
    let router = probes
        .route("/telemetry", telemetry(told))
        .route("/config", config(told))
        .fallback((StatusCode::NOT_FOUND, not_found(paths)));
    paths.metrics().into_iter().fold(router, |router, path| {
        router.route(path, metrics(told.metrics.clone()))
    })
}

/// What is there, for whoever asks for something else.
fn not_found(paths: &Paths) -> String {
    let probes = [paths.live(), paths.ready(), paths.startup()].concat();
    let probes = probes.join(", ");
    let metrics = paths.metrics().join(", ");
    format!("not found; here are {metrics}, /telemetry, /config, {probes} (?verbose)\n")
}

/// `/metrics`, in the format that the scraper prefers.
pub(super) fn metrics(metrics: Metrics) -> MethodRouter {
    get(move |headers: HeaderMap| {
        let (content_type, text) = metrics.render(headers.get(ACCEPT));
        std::future::ready(answer(content_type, text))
    })
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

fn answer(content_type: &'static str, body: String) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(NotTraffic);
    response
}
