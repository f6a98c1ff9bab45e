//! Zipkin's query API v2 over the kept traces (zipkin-api, zipkin2-api.yaml), so that Zipkin's clients, its UI and
//! Grafana's data source can read from here: the answers of a Zipkin that the collector sends to, as `docs/zipkin-api.md`
//! says in which points not. Mounted by `web`'s router.

mod answer;
mod call;
mod links;
mod names;
mod params;
mod search;
mod texts;
mod trace;
mod tree;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use self::answer::{Array, Failure, bad_request, json, method_not_allowed, not_found};
use self::params::{Params, trace_id, trace_ids};
use super::reports::Reports;
use crate::views::Views;

/// What the handlers read.
#[derive(Clone, Debug)]
pub(super) struct Queries {
    pub(super) views: Arc<Views>,
    /// The tags whose values are listed, as `autocompleteKeys` answers.
    pub(super) autocomplete_keys: Arc<[String]>,
    /// What counts the memory of answers.
    pub(super) reports: Reports,
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
    let Queries { views, reports, .. } = queries;
    json(&reports, move |room| Ok(names::services(&views, room)?)).await
}

async fn spans(
    State(Queries { views, reports, .. }): State<Queries>,
    params: Params,
) -> Result<Response, Failure> {
    let service = params.required("serviceName")?.to_owned();
    json(&reports, move |room| {
        Ok(names::spans(&views, &service, room)?)
    })
    .await
}

async fn remote_services(
    State(Queries { views, reports, .. }): State<Queries>,
    params: Params,
) -> Result<Response, Failure> {
    let service = params.required("serviceName")?.to_owned();
    json(&reports, move |room| {
        Ok(names::remote_services(&views, &service, room)?)
    })
    .await
}

async fn traces(
    State(Queries { views, reports, .. }): State<Queries>,
    params: Params,
) -> Result<Response, Failure> {
    let search = params.search()?;
    json(&reports, move |room| {
        Ok(search::traces(&views, &search, room)?)
    })
    .await
}

async fn trace(
    State(Queries { views, reports, .. }): State<Queries>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let Path(text) = id.map_err(|error| bad_request(error.body_text()))?;
    let id = trace_id(text.trim())?;
    json(&reports, move |room| {
        let kept = views.kept_trace(id);
        let kept = kept.ok_or_else(|| not_found(format!("{text} not found")))?;
        let mut spans = Array::new(room)?;
        trace::put(&kept, &mut spans)?;
        Ok(spans.finished())
    })
    .await
}

async fn trace_many(
    State(Queries { views, reports, .. }): State<Queries>,
    params: Params,
) -> Result<Response, Failure> {
    let ids = trace_ids(params.required("traceIds")?)?;
    json(&reports, move |room| {
        let mut traces = Array::new(room)?;
        for kept in ids.into_iter().filter_map(|id| views.kept_trace(id)) {
            traces.push_array(|spans| trace::put(&kept, spans))?;
        }
        Ok(traces.finished())
    })
    .await
}

async fn dependencies(
    State(Queries { views, reports, .. }): State<Queries>,
    params: Params,
) -> Result<Response, Failure> {
    let (begin, end) = params.range(None)?;
    json(&reports, move |room| {
        Ok(links::links(&views, begin, end, room)?)
    })
    .await
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
    // Of others Zipkin knows no values.
    if !queries.autocomplete_keys.contains(&key) {
        return Ok(Json(json!([])).into_response());
    }
    let Queries { views, reports, .. } = queries;
    json(&reports, move |room| Ok(names::values(&views, &key, room)?)).await
}

/// Elsewhere on Zipkin's own port.
pub(super) async fn nothing_there(uri: Uri) -> Response {
    not_found(format!(
        "nothing is at {}; Zipkin's API v2 is below /api/v2",
        uri.path()
    ))
    .into_response()
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
