//! `GET /traces/{trace_id}/spans/{span_id}`: what one row of a trace holds, by itself. The script asks for it when a row is
//! opened whose details the page of the trace had no room for.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use maud::html;

use super::details::details;
use super::{no_trace_id, not_kept, parse_trace_id};
use crate::web::format::shorten;
use crate::web::layout::{Frame, Tab, page as frame_page, service_name};
use crate::web::query::PageQuery;
use crate::web::timeline::Timeline;
use crate::web::{Web, layout, rendered};

/// The handler.
pub(in crate::web) async fn page(
    State(web): State<Web>,
    Path((trace_id, span_id)): Path<(String, String)>,
    query: PageQuery,
) -> Response {
    let Some(id) = parse_trace_id(&trace_id) else {
        return no_trace_id(&trace_id);
    };
    rendered(move || {
        let Some(trace) = web.views.trace(id) else {
            return Ok(not_kept(&web.trace_links, &trace_id.to_lowercase()));
        };
        let timeline = Timeline::new(&trace);
        let mut rows = timeline.rows.iter();
        let Some(row) = rows.find(|row| row.span.span_id == span_id.to_lowercase()) else {
            return Ok(unknown(&span_id));
        };
        let span = row.span;
        let in_trace = format!("/traces/{0}?span={1}#span-{1}", trace.trace_id, span.span_id);
        let main = html! {
            div.heading { h1 { (service_name(&span.service)) " " bdi.operation { (span.operation) } } }
            p { a href=(in_trace) { "In its trace" } }
            (details(row, timeline.start_unix_nano))
        };
        let frame = Frame {
            title: &format!("{} {}", span.service, span.operation),
            tab: Tab::Traces,
            live: None,
            query: &query,
        };
        Ok(frame_page(&frame, &main).into_response())
    })
    .await
}

fn unknown(span_id: &str) -> Response {
    let span_id = shorten(span_id, 80);
    layout::failure(
        StatusCode::NOT_FOUND,
        "No such span",
        &format!("The trace is kept, but has no span {span_id:?}."),
    )
}
