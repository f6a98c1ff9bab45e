//! `GET /services/{name}`: one service: figures, course, operations, versions and instances, who calls it and whom it
//! calls, traces.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::change::{change, shown};
use super::charts::graph::why_no_gap;
use super::charts::heatmap::heatmap;
use super::charts::line::{Series, line};
use super::columns::{Column, Sorting, about, compared, told};
use super::format::{count, duration, maybe_duration, rate, shorten};
use super::layout::{
    Frame, Tab, edge_path, error_ratio, figure, filter_box, page as frame_page, service_link,
    service_name, service_path, window_choice,
};
use super::query::{BadParameter, PageQuery};
use super::trace_table::{latest_table, mostly, slow_table};
use super::{Web, critical_path, doctor, empty, layout, live, operations, parts, rendered};
use crate::views::report::{
    CriticalPathReport, Edge, Finding, Heatmap, LargestPart, OperationReport, ServiceReport,
    TraceSummary, Window,
};
use crate::views::{Order, Split, TraceQuery};

/// Traces in each of the two lists.
const TRACES: usize = 8;

/// Everything that the page shows.
struct Content<'a> {
    name: &'a str,
    window: &'a Window,
    previous: Option<&'a Window>,
    sorting: Sorting,
    /// `None` when it has no entry span in the window.
    report: Option<&'a ServiceReport>,
    operations: &'a [OperationReport],
    versions: &'a [ServiceReport],
    instances: &'a [ServiceReport],
    /// Of its entry spans, or of the operation asked for.
    heatmap: Option<&'a Heatmap>,
    critical_paths: &'a [CriticalPathReport],
    edges: &'a [Edge],
    findings: &'a [Finding],
    slowest: &'a [TraceSummary],
    /// What most of their time was spent in.
    mostly: &'a [Option<LargestPart>],
    newest: &'a [TraceSummary],
}

/// The handler.
pub(super) async fn page(
    State(web): State<Web>,
    Path(name): Path<String>,
    query: PageQuery,
) -> Response {
    rendered(move || {
        let page = render(&web, &name, &query)?;
        Ok(page.map_or_else(|| unknown(&name), IntoResponse::into_response))
    })
    .await
}

fn unknown(name: &str) -> Response {
    let name = shorten(name, 300);
    layout::failure(
        StatusCode::NOT_FOUND,
        "No such service",
        &format!("No span of a service {name:?} has come since the collector was started."),
    )
}

fn render(web: &Web, name: &str, query: &PageQuery) -> Result<Option<Markup>, BadParameter> {
    let version = live::version(web);
    let range = query.range()?;
    let sorting = Sorting::read(query, Column::Impact)?;
    let Some((window, operations)) = web.views.operations(name, range) else {
        return Ok(None);
    };
    let critical_paths = web
        .views
        .critical_paths(name, range)
        .map(|(_, paths)| paths);
    let heatmap = web.views.heatmap(name, query.name("operation"), range);
    let report = web.views.service(name, range);
    let parts = |split| web.views.split(split, Some(name), range).1;
    let map = web.views.map(range);
    let findings = web.views.findings(name, &map, range);
    let traces = |order| {
        let asked = TraceQuery {
            service: Some(name.to_owned()),
            order,
            limit: TRACES,
            ..TraceQuery::default()
        };
        web.views.traces(&asked, range).1
    };
    let slowest = traces(Order::Slowest);
    let main = content(
        query,
        &Content {
            name,
            window: &window,
            previous: web.views.previous(range).as_ref(),
            sorting,
            report: report.as_ref(),
            operations: &operations,
            versions: &parts(Split::Version),
            instances: &parts(Split::Instance),
            heatmap: heatmap.as_ref(),
            critical_paths: &critical_paths.unwrap_or_default(),
            edges: &map.edges,
            findings: &findings.unwrap_or_default(),
            slowest: &slowest,
            mostly: &mostly(web, &slowest),
            newest: &traces(Order::Newest),
        },
    );
    let frame = Frame {
        title: name,
        tab: Tab::Services,
        live: Some(version),
        query,
    };
    Ok(Some(frame_page(&frame, &main)))
}

fn content(query: &PageQuery, page: &Content<'_>) -> Markup {
    let path = service_path(page.name);
    let callers: Vec<&Edge> = page
        .edges
        .iter()
        .filter(|edge| edge.server == page.name)
        .collect();
    let callees: Vec<&Edge> = page
        .edges
        .iter()
        .filter(|edge| edge.client == page.name)
        .collect();
    let focus = query.link_elsewhere("/map", &[("focus", Some(page.name))]);
    html! {
        div.heading {
            h1 {
                (service_name(page.name))
                @if let Some(report) = page.report { (parts::versions(report)) }
            }
            (window_choice(query, &path, page.window))
            (filter_box(query, &path, "Filter operations", "operations"))
        }
        @if let Some(report) = page.report {
            (figures(report, &callers))
        }
        (compared(query, &path, page.sorting, page.window, page.previous))
        @if let Some(report) = page.report { (courses(query, report, page.window)) }
        (parts::section(Split::Version, page.versions))
        @if let Some(map) = page.heatmap.filter(|map| !map.nanos.is_empty()) { (latencies(query, page.name, map)) }
        @if page.operations.is_empty() { (empty::nothing_in_range(query, &path, page.window)) }
        @else { (operations::section(query, page.name, page.sorting, page.operations)) }
        (parts::section(Split::Instance, page.instances))
        (critical_path::section(page.critical_paths))
        (doctor::section(page.findings, query))
        div.two {
            (neighbours(("Called by", "Nobody that sends spans called it in this range."), &callers, |edge| &edge.client, query))
            (neighbours(("Calls", "It called nobody in this range."), &callees, |edge| &edge.server, query))
        }
        p { a href=(focus) { "Its neighbourhood on the map" } }
        div.two {
            section { h2 { "Slowest traces kept" } (slow_table(page.slowest, page.mostly)) }
            section { h2 { "Latest traces kept" } (latest_table(page.newest)) }
        }
    }
}

fn figures(report: &ServiceReport, callers: &[&Edge]) -> Markup {
    let now = &report.now;
    let bad = if now.error_ratio > 0.0 { "bad" } else { "" };
    let note = |column| {
        let before = report.previous.as_ref();
        let change = before.and_then(|before| change(column, now, before));
        html! { @if let Some(change) = change { (shown(&change)) } }
    };
    let latency = |column: Column, label| figure(label, &column.text(now), "", &note(column));
    let widest = callers
        .iter()
        .filter_map(|edge| edge.gap_p99)
        .reduce(f64::max);
    html! {
        dl.figures {
            (figure("Rate", &rate(now.rate), "", &html! { (note(Column::Rate)) " " (told(now.count, now.samples, "request")) }))
            (figure("Errors", &Column::Errors.text(now), bad, &note(Column::Errors)))
            (latency(Column::P50, "p50"))
            (latency(Column::P95, "p95"))
            (latency(Column::P99, "p99"))
            (latency(Column::Max, "Max"))
            (figure("Network gap in front of it, p99", &maybe_duration(widest), "gap", &html! {
                @if widest.is_some() { "of its slowest caller" }
                @else if callers.is_empty() { "entry: nobody that sends spans calls it" }
                @else { "no call with both sides yet" }
            }))
        }
    }
}

fn courses(query: &PageQuery, report: &ServiceReport, window: &Window) -> Markup {
    // The line of the rate falls at its end until that step is over, which nobody is to take for an outage.
    let note = if query.is_fixed() {
        ""
    } else {
        "its last step is not over yet"
    };
    let rates: Vec<Option<f64>> = report.spark.rate.iter().copied().map(Some).collect();
    html! {
        div.two {
            (line(&Series {
                title: "Requests per second",
                note,
                values: &rates,
                from: &window.from,
                step_seconds: report.spark.step_seconds,
                show: rate,
                class: "rate",
            }))
            (line(&Series {
                title: "p99 latency",
                note: "",
                values: &report.spark.p99,
                from: &window.from,
                step_seconds: report.spark.step_seconds,
                show: duration,
                class: "p99",
            }))
        }
    }
}

/// The heatmap; a cell opens the traces whose spans it counts.
fn latencies(query: &PageQuery, service: &str, map: &Heatmap) -> Markup {
    let operation = query.name("operation");
    let link = |at: usize, row: usize| {
        let from = map.times.get(at).map(String::as_str);
        let to = map.times.get(at + 1).unwrap_or(&map.window.to);
        let (min, max) = map.nanos.get(row).copied().unwrap_or_default();
        let (min, max) = (format!("{min}ns"), format!("{max}ns"));
        let cell = [
            ("service", Some(service)),
            ("operation", operation),
            ("span_min", Some(min.as_str())),
            ("span_max", Some(max.as_str())),
            ("from", from),
            ("to", Some(to.as_str())),
        ];
        PageQuery::default().link("/traces", &cell)
    };
    let title = operation.map_or_else(
        || "Latency of its requests".to_owned(),
        |operation| format!("Latency of {operation}"),
    );
    html! {
        section #heatmap {
            (heatmap(map, &title, link))
            @if operation.is_some() {
                p { a href=(query.link(&service_path(service), &[("operation", None)])) { "All its requests" } }
            }
        }
    }
}

fn neighbours(
    (title, none): (&str, &str),
    edges: &[&Edge],
    other: impl Fn(&Edge) -> &String,
    query: &PageQuery,
) -> Markup {
    html! {
        section {
            h2 { (title) }
            @if edges.is_empty() {
                p.muted { (none) }
            } @else {
                div.scroll { table.rows {
                    thead { tr {
                        th scope="col" { "Service" }
                        th.num scope="col" { "Rate" }
                        th.num scope="col" { "Errors" }
                        th.num scope="col" { "Client p99" }
                        th.num scope="col" { "Server p99" }
                        th.num.gap scope="col" { "Gap p50" }
                        th.num.gap scope="col" { "Gap p99" }
                    } }
                    tbody { @for edge in edges {
                        @let calls = edge_path(query, &edge.client, &edge.server);
                        tr data-key=(other(edge)) data-row {
                            th.name scope="row" { (service_link(other(edge), query)) }
                            td.num title=(told(edge.count, edge.samples, "call")) { (about(edge.count, edge.samples)) (rate(edge.rate)) }
                            td.num { (error_ratio(edge.error_ratio)) }
                            td.num { (maybe_duration(edge.client_p99)) }
                            td.num { (maybe_duration(edge.server_p99)) }
                            @if edge.gap_p50.is_some() {
                                td.num.gap { (maybe_duration(edge.gap_p50)) }
                                td.num.gap.strong { a.calls href=(calls) title="Its calls" { (maybe_duration(edge.gap_p99)) } }
                            } @else {
                                td.num.muted colspan="2" title={ (count(edge.paired)) " calls with both sides" } {
                                    a.calls href=(calls) title="Its calls" { (why_no_gap(edge)) }
                                }
                            }
                        }
                    } }
                } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::{Page, drawn};

    fn show(query: &PageQuery, operations: &[OperationReport]) -> Page {
        let mut services = fixtures::services();
        services[1].previous = Some(fixtures::figures(2.0, 0.012));
        let main = content(
            query,
            &Content {
                name: "checkout",
                window: &fixtures::window(),
                previous: Some(&fixtures::previous()),
                sorting: Sorting::read(query, Column::Impact).unwrap(),
                report: services.get(1),
                operations,
                versions: &[
                    fixtures::service("checkout", 1.0, 0.1),
                    fixtures::service("checkout", 2.0, 0.1),
                ],
                instances: &[],
                heatmap: Some(&fixtures::heatmap()),
                critical_paths: &[fixtures::critical_path()],
                edges: &fixtures::map().edges,
                findings: &[],
                slowest: &fixtures::summaries(),
                mostly: &[],
                newest: &[],
            },
        );
        drawn(&main)
    }

    #[test]
    fn what_changed_and_which_version_is_seen_at_once() {
        let page = show(&PageQuery::default(), &fixtures::operations());
        let rate = page.all("dd").next().unwrap().text.replace('\u{a0}', " ");
        assert_eq!(rate, "4.00/s▲ 2.0× 1,200 requests");
        assert!(page.text().contains("What changed since the 5"));
        let ids: Vec<_> = page
            .all("table")
            .filter_map(|table| table.get("id"))
            .collect();
        let known = ["versions", "operations", "slowest"];
        assert_eq!(ids[..3], known, "one instance is no table");
    }

    #[test]
    fn a_cell_opens_its_traces_and_a_row_its_heatmap() {
        let query = fixtures::query(&[("operation", "GET /")]);
        let page = show(&query, &fixtures::operations());
        let links: Vec<_> = page.all("a").filter_map(|link| link.get("href")).collect();
        let cell = "/traces?service=checkout&operation=GET%20%2F&span_min=4000001ns&span_max=8000000ns\
                    &from=2026-11-22T15%3A46%3A10Z&to=2026-11-22T15%3A46%3A20Z";
        assert!(links.contains(&cell), "{links:#?}");
        let row = "/services/checkout?operation=POST%20%2Forders#heatmap";
        assert!(links.contains(&row), "{links:#?}");
        assert!(page.text().contains("Latency of GET /"));
    }

    #[test]
    fn callers_and_callees_show_the_gap_or_why_there_is_none() {
        let text = show(&PageQuery::default(), &fixtures::operations()).text();
        assert!(text.contains("gateway") && text.contains("1.20 ms") && text.contains("9.80 ms"));
        assert!(text.contains("postgres:orders") && text.contains("no server span"));
        let page = show(&PageQuery::default(), &fixtures::operations());
        let calls: Vec<_> = page
            .class("calls")
            .filter_map(|link| link.get("href"))
            .collect();
        let want = [
            "/edges?client=gateway&server=checkout",
            "/edges?client=checkout&server=postgres%3Aorders",
        ];
        assert_eq!(calls, want);
    }

    #[test]
    fn a_service_that_nobody_calls_is_an_entry_not_a_fault() {
        let services = fixtures::services();
        let note = |callers: &[&Edge]| {
            let page = Page::parse(&figures(&services[0], callers).into_string());
            page.class("gap").next().unwrap().text.clone()
        };
        let mut unpaired = fixtures::edge("gateway", "checkout");
        unpaired.gap_p99 = None;
        assert!(note(&[]).contains("entry: nobody that sends spans calls it"));
        assert!(note(&[&unpaired]).contains("no call with both sides yet"));
        assert!(note(&[&fixtures::edge("gateway", "checkout")]).contains("of its slowest caller"));
    }

    #[test]
    fn a_filter_that_hides_all_can_be_cleared() {
        let query = fixtures::query(&[("q", "zzz")]);
        let page = show(&query, &fixtures::operations());
        assert!(page.text().contains("hides all 3 operations"));
        let clear = page.all("a").find(|link| link.text == "Clear the filter");
        assert_eq!(clear.unwrap().get("href"), Some("/services/checkout"));
    }

    #[test]
    fn the_end_of_a_rate_that_goes_on_is_explained() {
        let text = show(&PageQuery::default(), &[]).text();
        assert_eq!(text.matches("its last step is not over yet").count(), 1);
        let fixed = fixtures::query(&[
            ("from", "2026-11-22T15:41:20Z"),
            ("to", "2026-11-22T15:46:20Z"),
        ]);
        assert!(!show(&fixed, &[]).text().contains("not over yet"));
    }

    #[test]
    fn nothing_in_the_range_offers_a_wider_one() {
        let page = show(&PageQuery::default(), &[]);
        assert!(page.text().contains("Show the last 15 min"));
    }
}
