//! `GET /edges?client=&server=`: one edge of the map: how its calls' durations are spread, what became of them, and
//! traces to look at.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::change::shown;
use super::charts::distribution::{Spread, distribution};
use super::charts::graph::{kind_name, why_no_gap};
use super::columns::told;
use super::edge_change::{Percentile, gap_change};
use super::edge_table::{COUNTS, ERRORS, counts};
use super::format::{NONE, count, maybe_duration, rate, ratio, shorten};
use super::layout::{
    Frame, Tab, figure, page as frame_page, service_link, service_name, window_choice,
};
use super::query::{BadParameter, PageQuery};
use super::{Web, empty, layout, live, rendered};
use crate::views::report::{Edge, EdgeReport, Example};

const PATH: &str = "/edges";

/// The handler.
pub(super) async fn page(State(web): State<Web>, query: PageQuery) -> Response {
    rendered(move || render(&web, &query)).await
}

fn render(web: &Web, query: &PageQuery) -> Result<Response, BadParameter> {
    let version = live::version(web);
    let range = query.range()?;
    let needed = "say whose edge it is: client=… and server=…";
    let client = query.required("client", needed)?;
    let server = query.required("server", needed)?;
    let Some(report) = web.views.edge(client, server, range) else {
        return Ok(unknown(client, server));
    };
    let frame = Frame {
        title: &format!("{client} → {server}"),
        tab: Tab::Map,
        live: Some(version),
        query,
    };
    let before = web.views.edge_before(client, server, range);
    Ok(frame_page(&frame, &content(query, &report, before.as_ref())).into_response())
}

fn unknown(client: &str, server: &str) -> Response {
    let (client, server) = (shorten(client, 300), shorten(server, 300));
    layout::failure(
        StatusCode::NOT_FOUND,
        "No such edge",
        &format!("No call from {client:?} to {server:?} has come since the collector was started."),
    )
}

fn content(query: &PageQuery, report: &EdgeReport, before: Option<&Edge>) -> Markup {
    let edge = &report.edge;
    html! {
        div.heading {
            h1 { (service_name(&edge.client)) " → " (service_name(&edge.server)) }
            (window_choice(query, PATH, &report.window))
        }
        p.focus-bar {
            (service_link(&edge.client, query)) " calls "
            @if report.server_kind == "service" { (service_link(&edge.server, query)) }
            @else { "the " (kind_name(report.server_kind)) " " b { bdi { (edge.server) } } }
            @if let Some(name) = &edge.called_as { ", by the name of " code { (name) } }
            a.button href=(query.link_elsewhere("/map", &[("focus", Some(&edge.client))])) { "On the map" }
        }
        @if edge.count == 0 {
            (empty::nothing_in_range(query, PATH, &report.window))
        } @else {
            (figures(edge, before))
            (spread(report))
            (calls(report))
            (examples(report))
        }
    }
}

fn figures(edge: &Edge, before: Option<&Edge>) -> Markup {
    let bad = if edge.error_ratio > 0.0 { "bad" } else { "" };
    let (gap, note) = match (edge.gap_p99, edge.told_gap_p99) {
        (Some(gap), _) => (Some(gap), "measured by both spans of each call"),
        (None, Some(told)) => (Some(told), "as the server told it in its answers"),
        (None, None) => (None, why_no_gap(edge)),
    };
    let change = before.and_then(|before| gap_change(Percentile::P99, edge, before));
    html! {
        dl.figures {
            (figure("Rate", &rate(edge.rate), "", &html! { (told(edge.count, edge.samples, "call")) }))
            (figure("Errors", &ratio(edge.error_ratio), bad, &html! { "as the client saw it" }))
            (figure("Seen by the client, p99", &maybe_duration(edge.client_p99), "", &html! {}))
            (figure("Seen by the server, p99", &maybe_duration(edge.server_p99), "", &html! {}))
            (figure("Network gap, p99", &maybe_duration(gap), "gap", &html! {
                @if let Some(change) = change { (shown(&change)) " " }
                (note)
            }))
        }
    }
}

/// The distributions over each other, and their percentiles.
fn spread(report: &EdgeReport) -> Markup {
    let (edge, steps) = (&report.edge, &report.distribution);
    let both = edge.paired + edge.negative;
    // The percentiles of the client are those of its unpaired calls where there are no others.
    let unpaired = if both == 0 { edge.client_p50 } else { None };
    let client = if both > 0 { edge.client_p50 } else { None };
    let spreads = [
        ("Seen by the client", "of-client", &steps.client, client),
        (
            "Seen by the server",
            "of-server",
            &steps.server,
            edge.server_p50,
        ),
        ("Network gap", "of-gap", &steps.gap, edge.gap_p50),
        (
            "Without a server span, seen by the client",
            "of-unpaired",
            &steps.unpaired,
            unpaired,
        ),
        (
            "Network gap as told by the server",
            "of-told",
            &steps.told_gap,
            edge.told_gap_p50,
        ),
    ];
    let spreads = spreads.map(|(name, class, counts, median)| Spread {
        name,
        class,
        counts,
        median,
    });
    html! {
        section {
            (distribution("How long its calls take", &steps.bounds, &spreads))
            (percentiles(edge))
        }
    }
}

fn percentiles(edge: &Edge) -> Markup {
    let both = edge.paired + edge.negative;
    let client = [edge.client_p50, edge.client_p90, edge.client_p99];
    let server = [edge.server_p50, edge.server_p90, edge.server_p99];
    let gap = [edge.gap_p50, edge.gap_p90, edge.gap_p99];
    let told = [edge.told_gap_p50, edge.told_gap_p90, edge.told_gap_p99];
    let rows = [
        (
            "Seen by the client",
            if both > 0 { both } else { edge.unpaired },
            client,
            false,
        ),
        ("Seen by the server", both, server, false),
        ("Network gap", edge.paired, gap, true),
        ("Network gap as told by the server", edge.told, told, true),
    ];
    html! {
        div.scroll { table.rows.percentiles {
            thead { tr {
                th scope="col" { "Time" } th.num scope="col" { "p50" } th.num scope="col" { "p90" }
                th.num scope="col" { "p99" } th.num scope="col" { "Calls" } th.wide scope="col" {}
            } }
            tbody {
                @for (name, calls, times, gap) in rows.into_iter().filter(|(_, calls, ..)| *calls > 0) {
                    tr data-key=(name) {
                        th.name.gap[gap] scope="row" { (name) }
                        @for time in times { td.num.gap[gap] { (maybe_duration(time)) } }
                        td.num { (count(calls)) }
                        td {}
                    }
                }
            }
        } }
    }
}

/// What became of the calls, each sort with what it means.
fn calls(report: &EdgeReport) -> Markup {
    let edge = &report.edge;
    html! {
        section {
            h2 { "What became of its calls" }
            div.scroll { table.rows.sorts {
                thead { tr {
                    th scope="col" { "Sort" } th.num scope="col" { "Calls" } th.num scope="col" { "Share" }
                    th scope="col" { "What it means" }
                } }
                tbody {
                    @for ((name, meaning), number) in COUNTS.into_iter().zip(counts(edge)) {
                        tr data-key=(name) {
                            th.name.muted[number == 0] scope="row" { (name) }
                            td.num.muted[number == 0] { (count(number)) }
                            td.num.muted[number == 0] { (ratio(number as f64 / edge.count.max(1) as f64)) }
                            td.text.muted[number == 0] {
                                @if name == "unpaired" { (unpaired(report, meaning)) } @else { (meaning) }
                            }
                        }
                    }
                }
            } }
            p.muted { "Errors: " (ERRORS) }
        }
    }
}

/// What is known of calls without a server span.
fn unpaired(report: &EdgeReport, meaning: &str) -> Markup {
    let edge = &report.edge;
    html! {
        @if report.server_kind == "database" {
            "A database makes no spans: what the client sees is all there is to know."
        } @else {
            (meaning)
            @if edge.unpaired_failed > 0 {
                " Of these, " (count(edge.unpaired_failed)) " failed: most of them never reached the server."
            }
            @if edge.told > 0 {
                " In " (count(edge.told)) " of these the called service told its own time, so that their gap is known: \
                 it stands apart, as told by the server."
            }
        }
    }
}

fn examples(report: &EdgeReport) -> Markup {
    let (found, edge) = (&report.examples, &report.edge);
    let failed = (edge.error_ratio * edge.count as f64).round() as u64;
    let groups: [(&str, &str, &[Example], u64); 7] = [
        (
            "widest-gap",
            "Widest network gap",
            &found.widest_gap,
            edge.paired,
        ),
        (
            "slowest",
            "Slowest for the client",
            &found.slowest,
            edge.count,
        ),
        ("failed", "Failed, the latest", &found.failed, failed),
        (
            "unpaired",
            "Unpaired, the latest",
            &found.unpaired,
            edge.unpaired,
        ),
        (
            "negative",
            "Server span longest beyond the client's",
            &found.negative,
            edge.negative,
        ),
        (
            "retried",
            "Retried, the latest",
            &found.retried,
            edge.retried,
        ),
        (
            "async",
            "Messages, the latest",
            &found.asynchronous,
            edge.asynchronous,
        ),
    ];
    html! {
        section #calls {
            h2 { "Calls to look at" }
            div.scroll { table.rows.examples {
                thead { tr {
                    th scope="col" { "Call" } th scope="col" { "Trace" } th.num scope="col" { "Client" }
                    th.num scope="col" { "Server" } th.num.gap scope="col" { "Gap" } th scope="col" {} th.wide scope="col" {}
                } }
                @for (key, name, calls, _) in groups.into_iter().filter(|(.., number)| *number > 0) {
                    tbody data-key=(key) {
                        @for (at, call) in calls.iter().enumerate() { (example(if at == 0 { name } else { "" }, call)) }
                        @if calls.is_empty() {
                            tr { th.name scope="row" { (name) } td.muted colspan="6" { "none of their traces is kept" } }
                        }
                    }
                }
            } }
        }
    }
}

fn example(name: &str, call: &Example) -> Markup {
    let short = call.trace_id.get(..8).unwrap_or(&call.trace_id);
    html! {
        tr data-key=(call.trace_id) data-row data-text=(call.trace_id) {
            th.name scope="row" { (name) }
            td { a href={ "/traces/" (call.trace_id) } title=(call.trace_id) { code { (short) } } }
            td.num { (maybe_duration(Some(call.client))) }
            td.num { (maybe_duration(call.server)) }
            td.num.gap { @if call.gap.is_some() { (maybe_duration(call.gap)) } @else { (NONE) } }
            td { @if call.error { span.badge.bad { "error" } } }
            td {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::report::{Distribution, Examples};
    use crate::web::fixtures;
    use crate::web::testing::{Page, drawn};

    fn report() -> EdgeReport {
        let call = |id: &str, gap| Example {
            trace_id: id.repeat(32),
            client: 0.012,
            server: Some(0.010),
            gap: Some(gap),
            error: id == "f",
        };
        EdgeReport {
            window: fixtures::window(),
            server_kind: "service",
            edge: fixtures::edge("gateway", "checkout"),
            distribution: Distribution {
                bounds: vec![0.001, 0.002, 0.004],
                client: vec![0, 880],
                server: vec![80, 800],
                gap: vec![880, 0],
                unpaired: vec![0, 12],
                told_gap: vec![0, 0],
            },
            examples: Examples {
                widest_gap: vec![call("a", 0.002), call("b", 0.001)],
                negative: vec![call("c", -0.003)],
                unpaired: vec![call("f", 0.001)],
                ..Examples::default()
            },
        }
    }

    fn show(report: &EdgeReport) -> Page {
        let query = fixtures::query(&[("client", "gateway"), ("server", "checkout")]);
        let main = content(&query, report, None);
        drawn(&main)
    }

    #[test]
    fn three_distributions_stand_over_each_other_with_their_percentiles() {
        let page = show(&report());
        let title = page.class("distribution").next().unwrap().text.clone();
        for name in ["Seen by the client", "Seen by the server", "Network gap"] {
            assert!(
                title.contains(&format!("{name}: 880\u{a0}calls")),
                "{name} in {title}"
            );
        }
        let table = page
            .class("percentiles")
            .next()
            .unwrap()
            .text
            .replace('\u{a0}', " ");
        for number in [
            "1.20 ms", "4.00 ms", "9.80 ms", "13.2 ms", "106 ms", "96.0 ms", "883",
        ] {
            assert!(table.contains(number), "{number} in {table}");
        }
        assert!(!table.contains("as told"));
    }

    #[test]
    fn every_sort_of_call_has_its_count_its_meaning_and_its_traces() {
        let page = show(&report());
        let rows: Vec<_> = page
            .all("tr")
            .map(|row| row.text.replace('\u{a0}', " "))
            .collect();
        let row = |start: &str| rows.iter().find(|row| row.starts_with(start)).unwrap();
        assert!(row("paired").contains("880") && row("paired").contains("its gap is known"));
        assert!(
            row("unpaired").contains("Of these, 2 failed"),
            "{}",
            row("unpaired")
        );
        assert!(row("negative").contains('3') && row("retried").contains("fan-out"));
        assert!(row("Widest network gap").contains("aaaaaaaa"));
        assert!(row("Server span longest").contains("−3.00 ms"));
        assert!(row("Retried").contains("none of their traces is kept"));
        assert!(
            !rows.iter().any(|row| row.starts_with("Messages")),
            "there are none"
        );
        let links: Vec<_> = page.all("a").filter_map(|link| link.get("href")).collect();
        assert!(
            links.contains(&format!("/traces/{}", "b".repeat(32)).as_str()),
            "{links:?}"
        );
    }

    #[test]
    fn a_told_gap_is_told_apart() {
        let mut report = report();
        let edge = &mut report.edge;
        (edge.told, edge.told_gap_p50, edge.told_gap_p99) = (7, Some(0.005), Some(0.006));
        let text = show(&report).text();
        assert!(
            text.contains("In 7 of these the called service told its own time"),
            "{text}"
        );
        assert!(text.contains("Network gap as told by the server"), "{text}");
        let edge = &mut report.edge;
        (edge.gap_p50, edge.gap_p90, edge.gap_p99) = (None, None, None);
        let figures = Page::parse(&figures(&report.edge, None).into_string());
        let gap = figures
            .class("gap")
            .next()
            .unwrap()
            .text
            .replace('\u{a0}', " ");
        assert!(
            gap.contains("6.00 ms") && gap.contains("as the server told it"),
            "{gap}"
        );
    }

    #[test]
    fn a_gap_that_has_grown_says_so() {
        let report = report();
        let before = Edge {
            gap_p99: Some(0.002),
            ..report.edge.clone()
        };
        let grown = figures(&report.edge, Some(&before)).into_string();
        assert!(grown.contains("▲\u{a0}4.9×") && grown.contains("was 2.00\u{a0}ms"));
        assert!(!figures(&report.edge, None).into_string().contains('▲'));
    }

    #[test]
    fn a_database_is_no_riddle() {
        let mut report = report();
        report.server_kind = "database";
        let text = show(&report).text();
        assert!(text.contains("calls the database checkout"), "{text}");
        assert!(text.contains("A database makes no spans"), "{text}");
        assert!(!text.contains("sends them elsewhere"));
    }

    #[test]
    fn without_calls_in_the_range_there_is_a_wider_one() {
        let mut report = report();
        report.edge.count = 0;
        let page = show(&report);
        assert!(page.text().contains("Nothing in the last 5 min"));
        let wider = page
            .all("a")
            .find(|link| link.text == "Show the last 15 min")
            .unwrap();
        assert_eq!(
            wider.get("href"),
            Some("/edges?client=gateway&server=checkout&window=15m")
        );
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut report = report();
        report.edge.client = fixtures::HOSTILE.to_owned();
        report.edge.server = fixtures::HOSTILE.to_owned();
        report.edge.called_as = Some(fixtures::HOSTILE.to_owned());
        let page = show(&report);
        assert_eq!(page.count("script"), 0);
        assert!(page.texts("bdi").contains(&fixtures::HOSTILE.to_owned()));
    }
}
