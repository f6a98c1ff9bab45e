//! What a row of a trace holds beside its bar: facts, attributes, events and links of the span. Called by the page.

use maud::{Markup, html};
use serde_json::Value;

use crate::views::report::TraceSpan;
use crate::web::format::duration;
use crate::web::layout::service_link;
use crate::web::query::PageQuery;
use crate::web::timeline::{Gap, Outside, Row, nanos};

type Attributes = serde_json::Map<String, Value>;

pub(super) fn details(row: &Row<'_>, trace_start: u64) -> Markup {
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
            @match row.outside {
                Some(Outside::Before(by)) => { dt.warn { "Clock" } dd { "starts " (duration(by)) " before its parent: the clocks differ" } }
                Some(Outside::After(by)) => {
                    dt.warn { "Clock" }
                    dd { "ends " (duration(by)) " after its parent: the clocks differ, or the parent did not wait" }
                }
                None => {}
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
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
