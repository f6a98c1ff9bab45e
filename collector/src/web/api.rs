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
use crate::views::report::{ComparedList, List, Window};
use crate::views::{Range, Views};

/// Lists of traces are at most so long, and so long when nothing is said.
const MAX_TRACES: usize = 1_000;
const DEFAULT_TRACES: usize = 20;

/// What a list of traces can be narrowed by, beside its time.
const TRACE_FILTERS: [&str; 10] = [
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
];

/// A report as JSON, or why there is none.
type Answer = Result<Response, Failure>;
/// A name or an id from the path, if it can be read.
type InPath = Result<Path<String>, PathRejection>;

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

async fn services(State(api): State<Api>, query: ApiQuery) -> Answer {
    let range = query.range_and(&["split", "service"], api.views.retention())?;
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
        compared((window, items), api.views.previous(range))
    })
    .await
}

async fn operations(State(api): State<Api>, service: InPath, query: ApiQuery) -> Answer {
    let (service, range) = of_service(&api, service, &query, &[])?;
    found(move || {
        let operations = api.views.operations(&service, range);
        let operations = operations.ok_or_else(|| unknown_service(&service))?;
        Ok(compared(operations, api.views.previous(range)))
    })
    .await
}

async fn critical_path(State(api): State<Api>, service: InPath, query: ApiQuery) -> Answer {
    let (service, range) = of_service(&api, service, &query, &[])?;
    found(move || {
        let paths = api.views.critical_paths(&service, range);
        paths.map(list).ok_or_else(|| unknown_service(&service))
    })
    .await
}

async fn heatmap(State(api): State<Api>, service: InPath, query: ApiQuery) -> Answer {
    let (service, range) = of_service(&api, service, &query, &["operation"])?;
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

async fn doctor(State(api): State<Api>, service: InPath, query: ApiQuery) -> Answer {
    let (service, range) = of_service(&api, service, &query, &[])?;
    found(move || {
        let map = api.views.map(range);
        let findings = api.views.findings(&service, &map, range);
        let findings = findings.ok_or_else(|| unknown_service(&service))?;
        Ok(list((map.window, findings)))
    })
    .await
}

async fn map(State(api): State<Api>, query: ApiQuery) -> Answer {
    let range = query.range_and(&[], api.views.retention())?;
    report(move || api.views.map(range)).await
}

async fn edge(State(api): State<Api>, query: ApiQuery) -> Answer {
    let range = query.range_and(&["client", "server"], api.views.retention())?;
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

async fn traces(State(api): State<Api>, query: ApiQuery) -> Answer {
    let range = query.range_and(&TRACE_FILTERS, api.views.retention())?;
    let asked = query.traces(DEFAULT_TRACES, MAX_TRACES)?;
    report(move || list(api.views.traces(&asked, range))).await
}

async fn trace(State(api): State<Api>, id: InPath, query: ApiQuery) -> Answer {
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

async fn read_status(State(api): State<Api>, query: ApiQuery) -> Answer {
    query.only(&[])?;
    report(move || status::report(&api.views, &api.status)).await
}

/// The service that a question is about, and its time.
fn of_service(
    api: &Api,
    service: InPath,
    query: &ApiQuery,
    others: &[&str],
) -> Result<(String, Range), Failure> {
    let Path(service) = service.map_err(unreadable_path)?;
    let range = query.range_and(others, api.views.retention())?;
    Ok((service, range))
}

fn list<T>((window, items): (Window, Vec<T>)) -> List<T> {
    List {
        window,
        items,
        next: None,
    }
}

fn compared<T>((window, items): (Window, Vec<T>), previous: Option<Window>) -> ComparedList<T> {
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
mod full_tests;
#[cfg(test)]
mod tests;
