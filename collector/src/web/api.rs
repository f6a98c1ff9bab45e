//! The JSON API, `/api/v1`: the views' reports as they are, one handler each. Mounted by `web`'s router.

mod answer;
mod openapi;
mod query;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;

use self::answer::{Failure, bad_request, found, method_not_allowed, not_found, report};
pub(super) use self::answer::{turned_away, unavailable};
use self::query::{ApiQuery, trace_id};
use crate::status::Status;
use crate::views::Views;
use crate::views::report::{ComparedList, List, Window};

/// Lists of traces are at most so long, and so long when nothing is said.
const MAX_TRACES: usize = 1_000;
const DEFAULT_TRACES: usize = 20;

/// What the handlers read.
#[derive(Clone, Debug)]
struct Api {
    views: Arc<Views>,
    status: Arc<Status>,
}

/// The routes below `/api`, unknown ones included: they answer in JSON too. To be merged into `web`'s router, behind
/// its check of the host name.
pub fn router(views: Arc<Views>, status: Arc<Status>) -> Router {
    Router::new()
        .route("/api/v1/services", get(services))
        .route("/api/v1/services/{name}/operations", get(operations))
        .route("/api/v1/services/{name}/critical-path", get(critical_path))
        .route("/api/v1/services/{name}/heatmap", get(heatmap))
        .route("/api/v1/services/{name}/doctor", get(doctor))
        .route("/api/v1/map", get(map))
        .route("/api/v1/edges", get(edge))
        .route("/api/v1/traces", get(traces))
        .route("/api/v1/traces/{trace_id}", get(trace))
        .route("/api/v1/status", get(read_status))
        .route("/openapi.json", get(openapi::serve))
        .route("/api", get(no_such_path))
        .route("/api/{*path}", get(no_such_path))
        .method_not_allowed_fallback(async || method_not_allowed())
        .with_state(Api { views, status })
}

async fn services(State(api): State<Api>, query: ApiQuery) -> Result<Response, Failure> {
    query.only(&["window", "from", "to", "split", "service"])?;
    let range = query.range(api.views.retention())?;
    let split = query.split()?;
    let service = query.get("service").map(str::to_owned);
    report(move || {
        let (window, mut items) = match split {
            Some(split) => api.views.split(split, service.as_deref(), range),
            None => api.views.services(range),
        };
        items.retain(|item| {
            service
                .as_ref()
                .is_none_or(|service| *service == item.service)
        });
        compared(window, items, api.views.previous(range))
    })
    .await
}

async fn operations(
    State(api): State<Api>,
    service: Result<Path<String>, PathRejection>,
    query: ApiQuery,
) -> Result<Response, Failure> {
    let Path(service) = service.map_err(unreadable_path)?;
    query.only(&["window", "from", "to"])?;
    let range = query.range(api.views.retention())?;
    found(move || {
        let (window, items) = api
            .views
            .operations(&service, range)
            .ok_or_else(|| unknown_service(&service))?;
        Ok(compared(window, items, api.views.previous(range)))
    })
    .await
}

async fn critical_path(
    State(api): State<Api>,
    service: Result<Path<String>, PathRejection>,
    query: ApiQuery,
) -> Result<Response, Failure> {
    let Path(service) = service.map_err(unreadable_path)?;
    query.only(&["window", "from", "to"])?;
    let range = query.range(api.views.retention())?;
    found(move || {
        let (window, items) = api
            .views
            .critical_paths(&service, range)
            .ok_or_else(|| unknown_service(&service))?;
        Ok(List {
            window,
            items,
            next: None,
        })
    })
    .await
}

async fn heatmap(
    State(api): State<Api>,
    service: Result<Path<String>, PathRejection>,
    query: ApiQuery,
) -> Result<Response, Failure> {
    let Path(service) = service.map_err(unreadable_path)?;
    query.only(&["window", "from", "to", "operation"])?;
    let range = query.range(api.views.retention())?;
    let operation = query.get("operation").map(str::to_owned);
    found(move || {
        let heatmap = api.views.heatmap(&service, operation.as_deref(), range);
        heatmap.ok_or_else(|| match operation {
            None => unknown_service(&service),
            Some(operation) => not_found(format!(
                "no span called {operation:?} of a service called {service:?} came within the retention"
            )),
        })
    })
    .await
}

async fn map(State(api): State<Api>, query: ApiQuery) -> Result<Response, Failure> {
    query.only(&["window", "from", "to"])?;
    let range = query.range(api.views.retention())?;
    report(move || api.views.map(range)).await
}

async fn edge(State(api): State<Api>, query: ApiQuery) -> Result<Response, Failure> {
    query.only(&["window", "from", "to", "client", "server"])?;
    let range = query.range(api.views.retention())?;
    let (client, server) = (query.required("client")?, query.required("server")?);
    found(move || {
        api.views.edge(&client, &server, range).ok_or_else(|| {
            not_found(format!(
                "no call from {client:?} to {server:?} came within the retention"
            ))
        })
    })
    .await
}

async fn doctor(
    State(api): State<Api>,
    service: Result<Path<String>, PathRejection>,
    query: ApiQuery,
) -> Result<Response, Failure> {
    let Path(service) = service.map_err(unreadable_path)?;
    query.only(&["window", "from", "to"])?;
    let range = query.range(api.views.retention())?;
    found(move || {
        let map = api.views.map_around(&service, range);
        let findings = api.views.findings(&service, &map, range);
        let items = findings.ok_or_else(|| unknown_service(&service))?;
        Ok(List {
            window: map.window,
            items,
            next: None,
        })
    })
    .await
}

async fn traces(State(api): State<Api>, query: ApiQuery) -> Result<Response, Failure> {
    query.only(&[
        "window",
        "from",
        "to",
        "service",
        "operation",
        "min",
        "max",
        "span_min",
        "span_max",
        "error",
        "attr",
        "order",
        "limit",
    ])?;
    let range = query.range(api.views.retention())?;
    let asked = query.traces(DEFAULT_TRACES, MAX_TRACES)?;
    report(move || {
        let (window, items) = api.views.traces(&asked, range);
        List {
            window,
            items,
            next: None,
        }
    })
    .await
}

async fn trace(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    query: ApiQuery,
) -> Result<Response, Failure> {
    query.only(&[])?;
    let Path(id) = id.map_err(unreadable_path)?;
    let trace_id = trace_id(&id)?;
    found(move || {
        api.views.trace(trace_id).ok_or_else(|| {
            not_found(format!(
                "the trace {id} is not kept: it never came, or it had to go for newer, slower or failed ones"
            ))
        })
    })
    .await
}

async fn read_status(State(api): State<Api>, query: ApiQuery) -> Result<Response, Failure> {
    query.only(&[])?;
    report(move || status::report(&api.views, &api.status)).await
}

fn compared<T>(window: Window, items: Vec<T>, previous: Option<Window>) -> ComparedList<T> {
    ComparedList {
        window,
        previous,
        items,
        next: None,
    }
}

fn unknown_service(service: &str) -> Failure {
    not_found(format!(
        "no span of a service called {service:?} came within the retention"
    ))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what map_err hands over"
)]
fn unreadable_path(rejection: PathRejection) -> Failure {
    bad_request(format!(
        "the path cannot be read: {}",
        rejection.body_text()
    ))
}

async fn no_such_path() -> Failure {
    not_found("there is no such path in the API; /openapi.json tells which there are".to_owned())
}

#[cfg(test)]
mod tests;
