//! Zipkin's query API v2 over the kept traces (zipkin-api, zipkin2-api.yaml), so that Zipkin's clients, its UI and
//! Grafana's data source can read from here: the answers of a Zipkin that the collector sends to, as `docs/zipkin-api.md`
//! says in which points not. Mounted by `web`'s router.

mod answer;
mod call;
mod links;
mod names;
mod params;
mod search;
mod span;
mod trace;
mod tree;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use self::answer::{Array, Failure, bad_request, json, method_not_allowed, not_found, too_large};
use self::params::{Params, trace_id, trace_ids};
use crate::views::Views;

/// What the handlers read.
#[derive(Clone, Debug)]
pub(super) struct Queries {
    pub(super) views: Arc<Views>,
    /// The tags whose values are listed, as `autocompleteKeys` answers.
    pub(super) autocomplete_keys: Arc<[String]>,
}

/// The routes below `/api/v2`, where clients ask, and below `/zipkin`, where Zipkin's UI does. To be merged into `web`'s
/// router, behind its check of the host name.
pub(super) fn router(queries: Queries) -> Router {
    let api = Router::new()
        .route("/services", get(services))
        .route("/spans", get(spans))
        .route("/remoteServices", get(remote_services))
        .route("/traces", get(traces))
        .route("/trace/{trace_id}", get(trace))
        .route("/traceMany", get(trace_many))
        .route("/dependencies", get(dependencies))
        .route("/autocompleteKeys", get(autocomplete_keys))
        .route("/autocompleteValues", get(autocomplete_values));
    Router::new()
        .nest("/api/v2", api.clone())
        .nest("/zipkin/api/v2", api)
        .route("/zipkin/config.json", get(config))
        .method_not_allowed_fallback(async || method_not_allowed())
        .with_state(queries)
}

async fn services(State(queries): State<Queries>) -> Result<Response, Failure> {
    json(move || Ok(names::services(&queries.views))).await
}

async fn spans(State(queries): State<Queries>, params: Params) -> Result<Response, Failure> {
    let service = params.required("serviceName")?.to_owned();
    json(move || Ok(names::spans(&queries.views, &service))).await
}

async fn remote_services(
    State(queries): State<Queries>,
    params: Params,
) -> Result<Response, Failure> {
    let service = params.required("serviceName")?.to_owned();
    json(move || Ok(names::remote_services(&queries.views, &service))).await
}

async fn traces(State(queries): State<Queries>, params: Params) -> Result<Response, Failure> {
    let search = params.search()?;
    json(move || Ok(search::traces(&queries.views, &search))).await
}

async fn trace(
    State(queries): State<Queries>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let Path(text) = id.map_err(|error| bad_request(error.body_text()))?;
    let id = trace_id(text.trim())?;
    json(move || {
        let kept = queries.views.kept_spans(id);
        let kept = kept.ok_or_else(|| not_found(format!("{text} not found")))?;
        trace::json(&kept).map_err(too_large)
    })
    .await
}

async fn trace_many(State(queries): State<Queries>, params: Params) -> Result<Response, Failure> {
    let ids = trace_ids(params.required("traceIds")?)?;
    json(move || {
        let mut answer = Array::default();
        for kept in ids
            .into_iter()
            .filter_map(|id| queries.views.kept_spans(id))
        {
            let trace = trace::json(&kept).map_err(too_large)?;
            answer.push(&trace).map_err(too_large)?;
        }
        Ok(answer.into_json())
    })
    .await
}

async fn dependencies(State(queries): State<Queries>, params: Params) -> Result<Response, Failure> {
    let (begin, end) = params.range(None)?;
    json(move || Ok(links::links(&queries.views, begin, end))).await
}

async fn autocomplete_keys(State(queries): State<Queries>) -> Response {
    Json(&*queries.autocomplete_keys).into_response()
}

async fn autocomplete_values(
    State(queries): State<Queries>,
    params: Params,
) -> Result<Response, Failure> {
    let key = params.required("key")?.to_owned();
    if key.is_empty() {
        return Err(bad_request("the parameter key is empty"));
    }
    json(move || {
        // Of others Zipkin knows no values.
        let is_listed = queries.autocomplete_keys.contains(&key);
        let values = is_listed.then(|| names::values(&queries.views, &key));
        Ok(values.unwrap_or_else(|| Array::default().into_json()))
    })
    .await
}

/// What Zipkin's UI asks first. Its own defaults, but for what is not here: an archive, and links elsewhere.
async fn config() -> Response {
    let config = json!({
        "environment": "",
        "queryLimit": 10,
        "defaultLookback": 900_000,
        "searchEnabled": true,
        "logsUrl": null,
        "supportUrl": null,
        "archivePostUrl": null,
        "archiveUrl": null,
        "dependency": {"enabled": true, "lowErrorRate": 0.5, "highErrorRate": 0.75},
    });
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, config.to_string()).into_response()
}
