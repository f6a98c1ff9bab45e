//! The admin address: metrics, probes with error texts, and where the traces are. For operators, so it
//! answers until the very end of a shutdown.

use std::net::{SocketAddr, TcpListener};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::outlets::Outlets;
use super::scrape;
use crate::config::Config;
use crate::error::Error;
use crate::health::{self, Audience, Health};
use crate::http::NotTraffic;
use crate::metrics::Metrics;
use crate::serve;

/// What is there, for whoever asks for something else.
const NOT_FOUND: &str =
    "not found; here are /metrics, /telemetry, /livez, /readyz, /startupz (?verbose)\n";

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
    health::routes(&told.health, Audience::Operators)
        .route("/metrics", scrape::handler(told.metrics.clone()))
        .route("/telemetry", telemetry(told))
        .fallback((StatusCode::NOT_FOUND, NOT_FOUND))
}

/// `/telemetry`: where the spans and lines are.
fn telemetry(told: &Told) -> MethodRouter {
    let outlets = told.outlets.clone();
    get(move || {
        let report = format!("{}\n", outlets.report());
        std::future::ready(answer("application/json", report))
    })
}

fn answer(content_type: &'static str, body: String) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(NotTraffic);
    response
}
