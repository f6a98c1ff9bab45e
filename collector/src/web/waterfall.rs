//! `GET /traces/{trace_id}`: one trace: the tree on the left, bars on one axis of time on the right, every
//! span's details folded into its row.

mod details;
mod rows;
mod shown;
pub(super) mod span;
#[cfg(test)]
mod tests;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use self::rows::{other_rows, rows};
use self::shown::{Asked, MAX_ROWS, Shown};
use super::charts::bars::{Part, stack};
use super::charts::overview::overview;
use super::charts::waterfall::axis;
use super::format::{NONE, count, counted, duration, ratio, shorten, utc};
use super::layout::{Frame, Tab, colour, figure, page as frame_page, service_name};
use super::query::{BadParameter, PageQuery};
use super::timeline::{Gap, Outside, Spent, Timeline};
use super::trace_link::TraceLink;
use super::{Web, layout, rendered};
use crate::views::report::Trace;

/// Warnings that are not folded.
const OPEN_WARNINGS: usize = 4;

/// The handler.
pub(super) async fn page(
    State(web): State<Web>,
    Path(trace_id): Path<String>,
    query: PageQuery,
) -> Response {
    let Some(id) = parse_trace_id(&trace_id) else {
        return no_trace_id(&trace_id);
    };
    rendered(move || {
        let Some(trace) = web.views.trace(id) else {
            return Ok(not_kept(&web.trace_links, &trace_id.to_lowercase()));
        };
        let root = trace.spans.first();
        let title = root.map(|root| format!("{} {}", root.service, root.operation));
        let frame = Frame {
            title: title.as_deref().unwrap_or("Trace"),
            tab: Tab::Traces,
            live: None,
            query: &query,
        };
        let main = content(&query, &trace, &web.trace_links)?;
        Ok(frame_page(&frame, &main).into_response())
    })
    .await
}

fn no_trace_id(text: &str) -> Response {
    let text = shorten(text, 80);
    layout::failure(
        StatusCode::BAD_REQUEST,
        "This is no trace id",
        &format!("{text:?} is not 32 hexadecimal digits, not all of them zero."),
    )
}

fn not_kept(links: &[TraceLink], trace_id: &str) -> Response {
    let why = html! {
        p {
            "Kept are the newest, the slowest and the failed ones of every operation, and a random sample of all, as far as "
            "memory allows. It may also not have come yet: reload in a moment."
        }
        @if !links.is_empty() { p { "Look for it " (elsewhere(links, trace_id)) "." } }
    };
    layout::failure_with(StatusCode::NOT_FOUND, "This trace is not kept", &why)
}

/// Links to the trace with this id elsewhere.
fn elsewhere(links: &[TraceLink], trace_id: &str) -> Markup {
    html! {
        "in "
        @for (index, link) in links.iter().enumerate() {
            @if index > 0 { ", " }
            a.elsewhere href=(link.url(trace_id)) rel="noopener noreferrer" target="_blank" { bdi { (link.name()) } " ↗" }
        }
    }
}

/// 32 hex digits, in either case, not all zero (W3C Trace Context §3.2.2.3).
pub(super) fn parse_trace_id(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(text, 16).ok()?;
    (number != 0).then(|| number.to_be_bytes())
}

fn content(query: &PageQuery, trace: &Trace, links: &[TraceLink]) -> Result<Markup, BadParameter> {
    let asked = Asked::read(query, format!("/traces/{}", trace.trace_id))?;
    let timeline = Timeline::new(trace);
    let shown = asked.choose(&timeline.rows);
    Ok(html! {
        (heading(trace, links))
        (figures(trace, &timeline))
        (warnings(&trace.warnings))
        (spent(&timeline))
        (overview(&timeline))
        (legend())
        (tools(&asked, &shown, timeline.rows.len()))
        div.waterfall #spans {
            div.axis-row { span { "Span" } (axis(timeline.seconds)) }
            (rows(&asked, &shown, timeline.start_unix_nano))
        }
        (other_rows(&asked, &shown))
    })
}

/// What is looked for in the trace, and everything folded or unfolded at once.
fn tools(asked: &Asked<'_>, shown: &Shown<'_>, spans: usize) -> Markup {
    html! {
        div.trace-tools {
            form.find role="search" method="get" data-find {
                @for (name, value) in asked.kept() { input type="hidden" name=(name) value=(value); }
                input #filter type="search" name="find" placeholder="Find in this trace  /" aria-label="Find in this trace"
                    autocomplete="off" value=(asked.find().unwrap_or_default());
            }
            span.hits role="status" {
                @match (shown.hits, shown.first_hit) {
                    (Some(hits), Some((id, number))) => {
                        (count(hits as u64)) " of " (counted(spans as u64, "span")) " match"
                        @if hits == 1 { "es" }
                        // Its page may be another one.
                        " " a.button href={ (asked.at_row(number / MAX_ROWS * MAX_ROWS)) "#span-" (id) } data-step="1" { "Next" }
                        " " button.js-only type="button" data-step="-1" { "Previous" }
                    }
                    (Some(_), None) => { "No span has it in its name, its attributes or its events" }
                    (None, _) => {}
                }
            }
            span.fold-all {
                a href=(asked.all_folded(true)) data-go data-key="[" { "Fold all" } " "
                a href=(asked.all_folded(false)) data-go data-key="]" { "Unfold all" }
            }
        }
    }
}

/// The first few at a glance, the others folded.
fn warnings(warnings: &[String]) -> Markup {
    let (first, others) = warnings.split_at(warnings.len().min(OPEN_WARNINGS));
    html! {
        @if !first.is_empty() {
            div.warnings role="note" {
                ul { @for warning in first { li { (warning) } } }
                @if !others.is_empty() {
                    details {
                        summary { (counted(others.len() as u64, "more warning")) }
                        ul { @for warning in others { li { (warning) } } }
                    }
                }
            }
        }
    }
}

fn heading(trace: &Trace, links: &[TraceLink]) -> Markup {
    let root = trace.spans.first();
    html! {
        div.heading {
            h1 {
                @if let Some(root) = root { (service_name(&root.service)) " " bdi.operation { (root.operation) } }
                @else { "Trace" }
            }
        }
        p.ids {
            "trace " code #trace-id { (trace.trace_id) }
            " " button.js-only type="button" data-copy="trace-id" { "Copy" }
            " " a href={ "/api/v1/traces/" (trace.trace_id) } { "JSON" }
            @if !links.is_empty() { " · the same " (elsewhere(links, &trace.trace_id)) }
        }
    }
}

fn figures(trace: &Trace, timeline: &Timeline<'_>) -> Markup {
    let failed = trace
        .spans
        .iter()
        .filter(|span| span.status == "error")
        .count();
    let services: std::collections::BTreeSet<&str> = trace
        .spans
        .iter()
        .map(|span| span.service.as_str())
        .collect();
    let calls = timeline
        .rows
        .iter()
        .filter(|row| matches!(row.gap, Gap::Known { .. }))
        .count();
    let bad = if failed > 0 { "bad" } else { "" };
    let network = if calls > 0 {
        duration(timeline.network_seconds)
    } else {
        NONE.to_owned()
    };
    html! {
        dl.figures {
            (figure("Duration", &duration(trace.duration), "", &html! { (utc(timeline.start_unix_nano)) " UTC" }))
            (figure("Network gap", &network, "gap", &html! {
                "summed over " (counted(calls as u64, "call")) " with both sides"
            }))
            (figure("Spans", &count(trace.spans.len() as u64), "", &html! { (counted(services.len() as u64, "service")) }))
            (figure("Failed spans", &count(failed as u64), bad, &html! {}))
        }
    }
}

/// Where the time of the critical path went, as one bar and in words.
fn spent(timeline: &Timeline<'_>) -> Markup {
    let spent: &[Spent<'_>] = &timeline.spent;
    let clocks_differ = timeline
        .rows
        .iter()
        .any(|row| matches!(row.outside, Some(Outside::Before(_))));
    let parts: Vec<Part> = spent
        .iter()
        .map(|part| Part {
            share: part.share,
            class: part.service.map_or_else(
                || "network".to_owned(),
                |name| format!("work {}", colour(name)),
            ),
        })
        .collect();
    html! {
        @if !spent.is_empty() {
            section.spent {
                h2 { "Where the time went" }
                @if clocks_differ { p.warn { "Clocks differ in this trace, so these shares are rough; the network gap of each call is right." } }
                (stack(&parts, "share of the critical path by service and network"))
                ul {
                    @for part in spent {
                        li {
                            @if let Some(name) = part.service { (service_name(name)) }
                            @else { i.swatch.network {} b.gap { "network" } }
                            " " span.num { (duration(part.seconds)) } " " span.muted { (ratio(part.share)) }
                        }
                    }
                }
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        p.legend {
            span { i.key.network {} " network gap of a call" }
            span { i.key.critical-key {} " critical path" }
            span { i.key.failed-key {} " failed" }
            span { "A bar has the colour of its service. Open a row for attributes, events and links." }
        }
    }
}
