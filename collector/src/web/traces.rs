//! `GET /traces`: the kept traces that match a form.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use super::format::duration;
use super::layout::{Frame, Tab, page as frame_page, window_choice};
use super::query::{BadParameter, MAX_ATTRIBUTES, PageQuery, TIME};
use super::trace_table::long_table;
use super::{Web, empty, live, rendered};
use crate::views::report::{TraceSummary, Window};
use crate::views::{Order, Range, TraceQuery};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 500;
/// The parameters that narrow the list, beside those of [`SPAN`].
const FILTERS: [&str; 6] = ["service", "operation", "attr", "min", "max", "error"];
/// The parameters of the latency of spans, which the cells of a heatmap set.
const SPAN: [&str; 2] = ["span_min", "span_max"];

/// The handler.
pub(super) async fn page(State(web): State<Web>, query: PageQuery) -> Response {
    rendered(move || Ok(render(&web, &query)?.into_response())).await
}

fn render(web: &Web, query: &PageQuery) -> Result<Markup, BadParameter> {
    let version = live::version(web);
    let range = query.range()?;
    let mut asked = read(query)?;
    let main = if web.views.spans_counted() == 0 {
        empty::nothing_ever(&web.status)
    } else {
        let (mut window, mut traces) = web.views.traces(&asked, range);
        if let Some(trimmed) = trimmed(&asked).filter(|_| traces.is_empty()) {
            asked = trimmed;
            (window, traces) = web.views.traces(&asked, range);
        }
        let found = Found {
            others: traces.is_empty() && is_filtered(query) && any_kept(web, range),
            window,
            traces,
        };
        content(query, &asked, &web.views.service_names(range), &found)
    };
    let frame = Frame {
        title: "Traces",
        tab: Tab::Traces,
        live: Some(version),
        query,
    };
    Ok(frame_page(&frame, &main))
}

/// What a search found.
struct Found {
    window: Window,
    traces: Vec<TraceSummary>,
    /// It found none, but there are others in this time.
    others: bool,
}

fn is_filtered(query: &PageQuery) -> bool {
    FILTERS
        .iter()
        .chain(&SPAN)
        .any(|name| query.get(name).is_some())
}

fn any_kept(web: &Web, range: Range) -> bool {
    let any = TraceQuery {
        limit: 1,
        ..TraceQuery::default()
    };
    !web.views.traces(&any, range).1.is_empty()
}

fn read(query: &PageQuery) -> Result<TraceQuery, BadParameter> {
    let asked = TraceQuery {
        service: query.name("service").map(str::to_owned),
        operation: query.name("operation").map(str::to_owned),
        min: query.latency("min")?,
        max: query.latency("max")?,
        span_min: query.latency("span_min")?,
        span_max: query.latency("span_max")?,
        error: query.choice(
            "error",
            &[("true", Some(true)), ("false", Some(false))],
            None,
            "say true or false",
        )?,
        attributes: query.attributes()?,
        order: query.choice(
            "order",
            &[("newest", Order::Newest), ("slowest", Order::Slowest)],
            Order::Newest,
            "say newest or slowest",
        )?,
        limit: query.number(
            "limit",
            DEFAULT_LIMIT,
            MAX_LIMIT,
            "say a whole number from 1 to 500",
        )?,
    };
    match asked.contradiction() {
        None => Ok(asked),
        Some(bounds) => Err(query.contradiction(bounds)),
    }
}

/// The same without spaces around the names, where there are any: names may have them, and keyboards put them behind words.
fn trimmed(asked: &TraceQuery) -> Option<TraceQuery> {
    let trim = |name: &Option<String>| {
        let name = name.as_deref().map(str::trim);
        name.filter(|name| !name.is_empty()).map(str::to_owned)
    };
    let (service, operation) = (trim(&asked.service), trim(&asked.operation));
    let same = service == asked.service && operation == asked.operation;
    (!same).then(|| TraceQuery {
        service,
        operation,
        ..asked.clone()
    })
}

fn content(query: &PageQuery, asked: &TraceQuery, services: &[String], found: &Found) -> Markup {
    let Found { window, traces, .. } = found;
    html! {
        div.heading {
            h1 { "Traces" }
            (window_choice(query, "/traces", window))
        }
        (form(query, asked, services))
        (span_filter(query, asked))
        @if found.others {
            (empty::no_trace_matches(query, window))
        } @else if traces.is_empty() {
            (empty::nothing_in_range(query, "/traces", window))
        } @else {
            (long_table(query, asked.order, traces))
            @if traces.len() >= asked.limit && asked.limit < MAX_LIMIT {
                p { a.button href=(query.link("/traces", &[("limit", Some("500"))])) { "Show up to " (MAX_LIMIT) } }
            }
        }
    }
}

/// Which spans a cell of a heatmap asks for, in words.
fn span_filter(query: &PageQuery, asked: &TraceQuery) -> Markup {
    let told = |bound: Option<Duration>| bound.map(|bound| duration(bound.as_secs_f64()));
    let bounds = (told(asked.span_min), told(asked.span_max));
    html! {
        @if bounds != (None, None) {
            p {
                "With a span of " b { bdi { (asked.service.as_deref().unwrap_or("any service")) } }
                @if let Some(operation) = &asked.operation { " " b { bdi { (operation) } } }
                @if let Some(min) = bounds.0 { " from " (min) }
                @if let Some(max) = bounds.1 { " up to " (max) }
                " that came in this time. "
                a href=(query.link("/traces", &SPAN.map(|name| (name, None)))) { "Of any length" }
            }
        }
    }
}

fn form(query: &PageQuery, asked: &TraceQuery, services: &[String]) -> Markup {
    let value = |name| query.get(name).unwrap_or_default();
    let name = |name| query.name(name).unwrap_or_default();
    let errors = [("", "any"), ("true", "failed"), ("false", "good")];
    let orders = [("newest", Order::Newest), ("slowest", Order::Slowest)];
    html! {
        form.search role="search" method="get" action="/traces" {
            @for name in TIME.into_iter().chain(SPAN) {
                @if let Some(value) = query.get(name) { input type="hidden" name=(name) value=(value); }
            }
            label {
                "Service"
                input #filter name="service" list="known-services" value=(name("service")) placeholder="any  /"
                    autocomplete="off";
            }
            datalist #known-services { @for name in services { option value=(name) {} } }
            label { "Operation" input name="operation" value=(name("operation")) placeholder="any" autocomplete="off"; }
            // One more than are filled in: whoever needs several gets another field with each search.
            @for attribute in query.all("attr").chain([""]).take(MAX_ATTRIBUTES) {
                label { "Attribute" input name="attr" value=(attribute) placeholder="key:value" autocomplete="off"; }
            }
            label.short { "At least" input name="min" value=(value("min")) placeholder="100ms" autocomplete="off"; }
            label.short { "At most" input name="max" value=(value("max")) placeholder="2s" autocomplete="off"; }
            label.short { "Outcome" select name="error" {
                @for (word, label) in errors { option value=(word) selected[value("error") == word] { (label) } }
            } }
            label.short { "Order" select name="order" {
                @for (word, order) in orders { option value=(word) selected[asked.order == order] { (word) } }
            } }
            button.primary type="submit" { "Search" }
            @if is_filtered(query) { a.button href=(query.link_keeping_window("/traces")) { "Clear" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures::{self, query};
    use crate::web::testing::{Page, drawn};

    fn show(pairs: &[(&str, &str)], traces: &[TraceSummary]) -> Page {
        let query = query(pairs);
        let main = content(
            &query,
            &read(&query).unwrap(),
            &["gateway", fixtures::HOSTILE].map(str::to_owned),
            &Found {
                window: fixtures::window(),
                traces: traces.to_vec(),
                others: traces.is_empty() && is_filtered(&query),
            },
        );
        drawn(&main)
    }

    #[test]
    fn the_form_is_read_and_written_back() {
        let pairs = [
            ("service", "gateway"),
            ("operation", "GET /"),
            ("min", "100ms"),
            ("max", "2"),
            ("error", "true"),
            ("attr", "url.full:http://x/"),
            ("attr", ""),
            ("attr", "tier:gold"),
            ("order", "slowest"),
            ("limit", "7"),
        ];
        let asked = read(&query(&pairs)).unwrap();
        assert_eq!(asked.service.as_deref(), Some("gateway"));
        assert_eq!(asked.operation.as_deref(), Some("GET /"));
        assert_eq!(asked.min, Some(Duration::from_millis(100)));
        assert_eq!(asked.max, Some(Duration::from_secs(2)));
        assert_eq!(asked.error, Some(true));
        assert_eq!(
            asked.attributes,
            [
                ("url.full".to_owned(), "http://x/".to_owned()),
                ("tier".to_owned(), "gold".to_owned()),
            ]
        );
        assert_eq!(asked.order, Order::Slowest);
        assert_eq!(asked.limit, 7);
        let page = show(&pairs, &fixtures::summaries());
        let attributes: Vec<_> = page
            .all("input")
            .filter(|input| input.get("name") == Some("attr"))
            .filter_map(|input| input.get("value"))
            .collect();
        assert_eq!(attributes, ["url.full:http://x/", "tier:gold", ""]);
        let selected: Vec<_> = page
            .all("option")
            .filter(|option| option.get("selected").is_some())
            .map(|option| option.text.clone())
            .collect();
        assert_eq!(selected, ["failed", "slowest"]);
    }

    #[test]
    fn the_cell_of_a_heatmap_is_told_in_words_and_can_be_left() {
        let pairs = [
            ("service", "gateway"),
            ("span_min", "4000001ns"),
            ("span_max", "8ms"),
        ];
        let page = show(&pairs, &fixtures::summaries());
        let text = page.text().replace('\u{a0}', " ");
        assert!(
            text.contains("span of gateway from 4.00 ms up to 8.00 ms"),
            "{text}"
        );
        let leave = page.all("a").find(|link| link.text == "Of any length");
        assert_eq!(leave.unwrap().get("href"), Some("/traces?service=gateway"));
        assert!(show(&pairs, &[]).text().contains("No kept trace matches"));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for pair in [
            ("min", "fast"),
            ("error", "maybe"),
            ("order", "random"),
            ("limit", "0"),
            ("attr", "key"),
            ("attr", ":value"),
        ] {
            assert!(read(&query(&[pair])).is_err(), "{pair:?}");
        }
        assert!(read(&query(&[("attr", "a:1"); MAX_ATTRIBUTES])).is_ok());
        assert!(read(&query(&[("attr", "a:1"); MAX_ATTRIBUTES + 1])).is_err());
        let crossed = read(&query(&[("min", "2s"), ("max", "1s")])).unwrap_err();
        assert!(
            crossed.to_string().contains("min cannot be \"2s\""),
            "{crossed}"
        );
    }

    #[test]
    fn headings_order_as_the_form_does() {
        let pairs = [("service", "gateway"), ("order", "slowest")];
        let page = show(&pairs, &fixtures::summaries());
        let sorted = page.all("th").filter(|th| th.get("aria-sort").is_some());
        let sorted: Vec<_> = sorted.map(|th| th.text.clone()).collect();
        assert_eq!(sorted, ["Duration"]);
        let started = page.all("a").find(|link| link.text == "Started").unwrap();
        let newest = "/traces?service=gateway&order=newest";
        assert_eq!(started.get("href"), Some(newest));
        assert!(read(&query(&[("order", "newest")])).is_ok());
    }

    #[test]
    fn no_match_and_no_traces_differ() {
        let hidden = show(&[("service", "x"), ("window", "5m")], &[]);
        let links: Vec<_> = hidden
            .class("button")
            .filter_map(|a| a.get("href"))
            .collect();
        let wider = "/traces?service=x&window=15m";
        assert_eq!(links, ["/traces?window=5m", "/traces?window=5m", wider]);
        assert!(
            show(&[("service", "x")], &[])
                .text()
                .contains("No kept trace matches")
        );
        assert!(show(&[], &[]).text().contains("Nothing in the last 5 min"));
    }
}
