//! The web address: pages, JSON API, live events, behind one check of the host name. A router that
//! `pipeline` mounts behind the kit, which serves probes and `/metrics` itself.

mod assets;
mod charts;
mod empty;
mod format;
mod guard;
mod layout;
mod live;
mod map;
mod query;
mod service;
mod services;
mod status;
mod timeline;
mod traces;
mod waterfall;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod testing;

pub mod api;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;

use crate::status::Status;
use crate::views::Views;
use query::PageQuery;

/// What every handler reads.
#[derive(Clone, Debug)]
pub struct Web {
    /// The views.
    pub views: Arc<Views>,
    /// The counters.
    pub status: Arc<Status>,
    /// Host names pages and API answer to, beside loopback names and IP addresses.
    pub allowed_hosts: Arc<[String]>,
    /// Turns true when the collector drains: streams of live events end then, so that they hold nothing up.
    pub closing: tokio::sync::watch::Receiver<bool>,
}

/// Everything that the web address serves beside the kit's probes and `/metrics`.
pub fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(services::page))
        .route("/services/{name}", get(service::page))
        .route("/map", get(map::page))
        .route("/traces", get(traces::page))
        .route("/traces/{trace_id}", get(waterfall::page))
        .route("/status", get(status::page))
        .route("/events", get(live::events))
        .route("/assets/{file}", get(assets::serve))
        .fallback(not_found)
        .with_state(live::Pages::new(web.clone()))
        .layer(from_fn_with_state(web, guard::check_host))
        .layer(from_fn(guard::secure))
}

async fn not_found() -> Response {
    layout::failure(
        StatusCode::NOT_FOUND,
        "There is no such page",
        "The address leads nowhere. Services, map, traces and status are linked above.",
    )
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map(|Query(pairs)| Self::new(pairs))
            .map_err(|error| {
                layout::failure(
                    StatusCode::BAD_REQUEST,
                    "This address cannot be read",
                    &error.body_text(),
                )
            })
    }
}
