//! `GET /traces/{trace_id}`: one trace: the tree on the left, bars on one axis of time on the right, every
//! span's details folded into its row.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use serde_json::Value;

use super::charts::bars::{Part, stack};
use super::charts::waterfall::{axis, bar, gap_class, gap_note};
use super::format::{NONE, count, counted, duration, ratio, shorten, utc};
use super::layout::{Frame, Tab, colour, figure, page as frame_page, service_link, service_name};
use super::query::PageQuery;
use super::timeline::{Gap, Row, Spent, Timeline, nanos};
use super::{Web, layout, rendered};
use crate::views::report::{Trace, TraceSpan};

/// Levels that are drawn indented; deeper ones stand below the last.
const MAX_INDENT: usize = 16;

/// Warnings that are not folded.
const OPEN_WARNINGS: usize = 4;

type Attributes = serde_json::Map<String, Value>;

/// The handler.
pub(super) async fn page(
    State(web): State<Web>,
    Path(trace_id): Path<String>,
    query: PageQuery,
) -> Response {
    let Some(id) = parse_trace_id(&trace_id) else {
        return layout::failure(
            StatusCode::BAD_REQUEST,
            "This is no trace id",
            &format!(
                "{:?} is not 32 hexadecimal digits, not all of them zero.",
                shorten(&trace_id, 80)
            ),
        );
    };
    rendered(move || {
        let Some(trace) = web.views.trace(id) else {
            return Ok(not_kept());
        };
        let frame = Frame {
            title: "Trace",
            tab: Tab::Traces,
            live: None,
            query: &query,
        };
        Ok(frame_page(&frame, &content(&query, &trace)).into_response())
    })
    .await
}

fn not_kept() -> Response {
    layout::failure(
        StatusCode::NOT_FOUND,
        "This trace is not kept",
        "Kept are the slowest and the failed ones of every operation, and the newest of the others, \
         as far as memory allows. It may also not have come yet: reload in a moment.",
    )
}

/// 32 hex digits, in either case, not all zero (W3C Trace Context §3.2.2.3).
fn parse_trace_id(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(text, 16).ok()?;
    (number != 0).then(|| number.to_be_bytes())
}

fn content(query: &PageQuery, trace: &Trace) -> Markup {
    let timeline = Timeline::new(trace);
    html! {
        (heading(query, trace))
        (figures(trace, &timeline))
        (warnings(&trace.warnings))
        (spent(&timeline.spent))
        (legend())
        div.waterfall #spans {
            div.axis-row { span { "Span" } (axis(timeline.seconds)) }
            @for row in &timeline.rows { (span_row(row, timeline.start_unix_nano)) }
        }
        p.hidden-note data-empty-for="spans" hidden { "The filter hides every span." }
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

fn heading(query: &PageQuery, trace: &Trace) -> Markup {
    let root = trace.spans.first();
    html! {
        div.heading {
            h1 {
                @if let Some(root) = root { (service_name(&root.service)) " " bdi.operation { (root.operation) } }
                @else { "Trace" }
            }
            span.filter.js-only {
                input #filter type="search" placeholder="Filter spans  /" aria-label="Filter spans"
                    autocomplete="off" data-filter="spans" value=(query.get("q").unwrap_or_default());
            }
        }
        p.ids {
            "trace " code #trace-id { (trace.trace_id) }
            " " button.js-only type="button" data-copy="trace-id" { "Copy" }
            " " a href={ "/api/v1/traces/" (trace.trace_id) } { "JSON" }
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
fn spent(spent: &[Spent<'_>]) -> Markup {
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

fn span_row(row: &Row<'_>, trace_start: u64) -> Markup {
    let span = row.span;
    html! {
        details.span.critical-row[span.critical] #{ "span-" (span.span_id) } data-key=(span.span_id) data-row
            data-text=(whole_name(row).to_lowercase()) {
            summary {
                span.tree {
                    @if span.depth > 0 { i.indent.{ "d" (span.depth.min(MAX_INDENT)) } {} }
                    span.who title=(whole_name(row)) {
                        (service_name(&span.service)) " " bdi.operation { (span.operation) }
                        @if let Some(target) = &row.target { span.target { " → " bdi { (target) } } }
                    }
                    (badges(row))
                    // Where there is no room beside the bars, the numbers stand here.
                    span.took {
                        (duration(span.duration))
                        @if let Some(note) = gap_note(row.gap) { span.(gap_class(row.gap)) { (note) } }
                    }
                }
                (bar(row))
            }
            (details(row, trace_start))
        }
    }
}

/// Service, operation and, of a call, whom it goes to.
fn whole_name(row: &Row<'_>) -> String {
    let mut name = format!("{} {}", row.span.service, row.span.operation);
    if let Some(target) = &row.target {
        name.push_str(" → ");
        name.push_str(target);
    }
    name
}

fn badges(row: &Row<'_>) -> Markup {
    html! {
        @if row.span.status == "error" { span.badge.bad { "error" } }
        @if row.parent_missing { span.badge.warn title="It names a parent span that has not come" { "parent missing" } }
        @if row.outside_parent {
            span.badge.warn title="It starts before or ends after its parent: clocks disagree, or it went on after the answer" {
                "outside parent"
            }
        }
    }
}

fn details(row: &Row<'_>, trace_start: u64) -> Markup {
    let span = row.span;
    html! {
        div.detail {
            @if span.status == "error" {
                p.failure { b { "Failed" } @if !span.status_message.is_empty() { ": " (span.status_message) } }
            } @else if !span.status_message.is_empty() {
                p { "Status: " (span.status_message) }
            }
            (facts(row, trace_start))
            (attributes("Attributes", &span.attributes))
            (events(span, trace_start))
            (links(span))
            (attributes("Resource", &span.resource))
        }
    }
}

fn facts(row: &Row<'_>, trace_start: u64) -> Markup {
    let span = row.span;
    let after = nanos(&span.start_unix_nano).saturating_sub(trace_start) as f64 / 1e9;
    html! {
        dl.facts {
            dt { "Service" } dd { (service_link(&span.service, &PageQuery::default())) }
            dt { "Kind" } dd { (span.kind) }
            dt { "Starts" } dd { (duration(after)) " into the trace" }
            dt { "Lasts" } dd { (duration(span.duration)) }
            dt { "Of it its own" } dd { (duration(span.self_time)) }
            @match row.gap {
                Gap::Known { seconds, .. } => { dt.gap { "Network gap" } dd.gap { (duration(seconds)) ", client less server" } }
                Gap::Negative(by) => { dt { "Network gap" } dd { "none: the server's span is longer by " (duration(by)) } }
                Gap::Retried(servers) => { dt { "Network gap" } dd { "none: " (servers) " server spans under this call" } }
                Gap::None => {}
            }
            dt { "Span" } dd { code { (span.span_id) } }
            @if let Some(parent) = &span.parent_span_id {
                dt { "Parent" } dd { code { (parent) } @if row.parent_missing { " (has not come)" } }
            }
            @if span.critical { dt { "Critical path" } dd { "yes" } }
        }
    }
}

fn attributes(title: &str, attributes: &Attributes) -> Markup {
    html! {
        @if !attributes.is_empty() {
            div.attributes {
                h3 { (title) }
                (pairs(attributes))
            }
        }
    }
}

fn pairs(attributes: &Attributes) -> Markup {
    html! { dl.pairs { @for (key, value) in attributes { dt { (key) } dd { (text(value)) } } } }
}

fn events(span: &TraceSpan, trace_start: u64) -> Markup {
    html! {
        @if !span.events.is_empty() {
            div.attributes {
                h3 { "Events" }
                @for event in &span.events {
                    p {
                        span.num { (duration(nanos(&event.time_unix_nano).saturating_sub(trace_start) as f64 / 1e9)) }
                        " " b { (event.name) }
                    }
                    @if !event.attributes.is_empty() { (pairs(&event.attributes)) }
                }
            }
        }
    }
}

fn links(span: &TraceSpan) -> Markup {
    html! {
        @if !span.links.is_empty() {
            div.attributes {
                h3 { "Links" }
                @for link in &span.links {
                    p {
                        a href={ "/traces/" (link.trace_id) "#span-" (link.span_id) } { code { (link.trace_id) } }
                        " span " code { (link.span_id) }
                    }
                }
            }
        }
    }
}

/// A string as it is; anything else as JSON, so that 1 and "1" differ only by their quotes in the API.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::{Page, assert_drawable};

    fn show(trace: &Trace) -> Page {
        let main = content(&PageQuery::default(), trace);
        let page = Page::parse(&html! { main { (main) } }.into_string());
        assert_drawable(&page);
        page
    }

    #[test]
    fn every_span_has_one_row_with_a_bar_and_details() {
        let page = show(&fixtures::trace());
        assert_eq!(page.class("span").count(), 3);
        assert_eq!(page.class("span-bar").count(), 3);
        assert_eq!(page.class("critical-row").count(), 3);
        let text = page.text();
        for part in [
            "card declined",
            "http.response.status_code",
            "502",
            "exception.type",
            "Resource",
        ] {
            assert!(text.contains(part), "{part}");
        }
        assert!(text.contains("clock skew of <1 ms>"));
        assert!(text.contains("↔ gap 10.0 ms"));
        assert_eq!(page.count("script"), 0);
        assert!(page.texts("bdi").contains(&fixtures::HOSTILE.to_owned()));
    }

    #[test]
    fn a_call_says_where_it_goes() {
        let page = show(&fixtures::trace());
        let targets: Vec<_> = page
            .class("target")
            .map(|target| target.text.clone())
            .collect();
        assert_eq!(targets, [" → checkout"]);
        let titles: Vec<_> = page
            .class("who")
            .filter_map(|who| who.get("title"))
            .collect();
        assert_eq!(titles[1], "gateway client of gateway → checkout");
    }

    #[test]
    fn failures_and_missing_parents_are_told_in_words() {
        let mut trace = fixtures::trace();
        trace
            .spans
            .push(fixtures::span("x", Some("gone"), "lost", "internal", 0, 5));
        let badges: Vec<_> = show(&trace)
            .class("badge")
            .map(|badge| badge.text.clone())
            .collect();
        assert_eq!(badges, ["error", "parent missing"]);
    }

    #[test]
    fn many_warnings_are_folded_not_lost() {
        let mut trace = fixtures::trace();
        trace.warnings = (0..9).map(|index| format!("warning {index}")).collect();
        let page = show(&trace);
        assert!(page.text().contains("5 more warnings") && page.text().contains("warning 8"));
    }

    #[test]
    fn the_time_spent_sums_to_the_whole() {
        let page = show(&fixtures::trace());
        let section = page
            .class("spent")
            .next()
            .unwrap()
            .text
            .replace('\u{a0}', " ");
        for part in [
            "checkout 50.0 ms 50.0 %",
            "gateway 40.0 ms 40.0 %",
            "network 10.0 ms 10.0 %",
        ] {
            assert!(section.contains(part), "{part} in {section}");
        }
    }

    #[test]
    fn an_empty_trace_and_a_deep_one_are_pages_too() {
        let mut trace = fixtures::trace();
        trace.spans.clear();
        trace.critical_path.clear();
        show(&trace);
        for depth in 0..2000_usize {
            let mut span = fixtures::span(&format!("{depth:016x}"), None, "deep", "internal", 0, 9);
            span.depth = depth;
            trace.spans.push(span);
        }
        let page = show(&trace);
        assert_eq!(page.class("span").count(), 2000);
        let deepest = format!("d{MAX_INDENT}");
        assert_eq!(page.class(&deepest).count(), 2000 - MAX_INDENT);
        assert!(include_str!("assets/bellwether.css").contains(&format!(".{deepest} ")));
    }

    #[test]
    fn trace_ids_are_read_strictly() {
        let check =
            |text: &str, want: bool| assert_eq!(parse_trace_id(text).is_some(), want, "{text}");
        check(&"a".repeat(32), true);
        check(&"AB".repeat(16), true);
        check(&"0".repeat(32), false);
        check(&"a".repeat(31), false);
        check(&format!("+{}", "a".repeat(31)), false);
        check(&"é".repeat(16), false);
    }
}
