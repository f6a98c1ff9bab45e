//! Tables of kept traces: all that a search found, and a few beside other things. Called by the pages that list traces.

use std::iter::repeat;

use maud::{Markup, html};

use super::Web;
use super::charts::bars::bar;
use super::critical_path::part_name;
use super::format::{ago, count, counted, duration, ratio, utc};
use super::layout::{colour, service_name};
use super::query::PageQuery;
use super::timeline::nanos;
use super::waterfall::parse_trace_id;
use crate::status::now_unix_nano;
use crate::views::Order;
use crate::views::report::{LargestPart, TraceSummary};

/// Spans that are looked at, at most, to say what most of the time of the slowest traces was spent in.
const LOOKED_AT: usize = 10_000;

/// The traces that a search found.
pub(super) fn long_table(query: &PageQuery, order: Order, traces: &[TraceSummary]) -> Markup {
    let longest = longest(traces);
    let now = now_unix_nano();
    html! {
        p.muted { (counted(traces.len() as u64, "trace")) ", bars against the longest, " (duration(longest)) }
        div.scroll {
            table.rows #traces {
                thead { tr {
                    th scope="col" { "Trace" }
                    (order_heading(query, "Duration", "slowest", order == Order::Slowest))
                    th.wide scope="col" { span.sr { "Against the longest" } }
                    th.num scope="col" { "Spans" }
                    th.num scope="col" { "Services" }
                    th scope="col" { "Outcome" }
                    (order_heading(query, "Started", "newest", order == Order::Newest))
                } }
                tbody { @for trace in traces {
                    tr data-key=(trace.trace_id) data-row {
                        th.name scope="row" { (link(trace)) }
                        td.num.strong { (duration(trace.duration)) }
                        td.wide { (length_bar(trace, longest)) }
                        td.num { (count(trace.spans as u64)) }
                        td.num { (count(trace.services as u64)) }
                        td { (outcome(trace)) }
                        (started(trace, now))
                    }
                } }
            }
        }
    }
}

/// The heading of a column that the traces can be ordered by, the largest first.
fn order_heading(query: &PageQuery, label: &str, order: &str, current: bool) -> Markup {
    let link = query.link("/traces", &[("order", Some(order))]);
    html! {
        th.num scope="col" aria-sort=[current.then_some("descending")] { a href=(link) { (label) } }
    }
}

fn started(trace: &TraceSummary, now: u64) -> Markup {
    let start = nanos(&trace.start_unix_nano);
    html! { td.num.muted title={ (utc(start)) " UTC" } { (ago(start, now)) } }
}

/// What most of the time of each trace was spent in, as far as looking at them takes little time.
pub(super) fn mostly(web: &Web, traces: &[TraceSummary]) -> Vec<Option<LargestPart>> {
    let mut room = LOOKED_AT;
    let look = |trace: &TraceSummary| {
        room = room.checked_sub(trace.spans)?;
        web.views.largest_part(parse_trace_id(&trace.trace_id)?)
    };
    traces.iter().map(look).collect()
}

/// The slowest traces beside other things, each with what most of its time was spent in.
pub(super) fn slow_table(traces: &[TraceSummary], mostly: &[Option<LargestPart>]) -> Markup {
    let parts = mostly.iter().map(Option::as_ref).chain(repeat(None));
    let rows = traces.iter().zip(parts).map(|(trace, part)| {
        let cell = html! {
            td.mostly { @if let Some(part) = part {
                (part_name(part.kind, &part.service, &part.operation)) " "
                span.muted title=(duration(part.seconds)) { (ratio(part.share)) }
            } }
        };
        (trace, cell)
    });
    let heading = html! { th scope="col" { "Most of it in" } };
    short_table("slowest", &heading, rows)
}

/// The latest traces beside other things.
pub(super) fn latest_table(traces: &[TraceSummary]) -> Markup {
    let longest = longest(traces);
    let bars = traces.iter();
    let rows = bars.map(|trace| (trace, html! { td.wide { (length_bar(trace, longest)) } }));
    let heading = html! { th.wide scope="col" { span.sr { "Against the longest" } } };
    short_table("latest", &heading, rows)
}

/// `name` tells the tables of a page apart; each trace comes with a cell of its own.
fn short_table<'a>(
    name: &str,
    heading: &Markup,
    rows: impl Iterator<Item = (&'a TraceSummary, Markup)>,
) -> Markup {
    let mut rows = rows.peekable();
    html! {
        @if rows.peek().is_none() {
            p.muted { "None kept in this range." }
        } @else {
            div.scroll { table.rows #(name) {
                thead { tr {
                    th scope="col" { "Trace" }
                    th.num scope="col" { "Duration" }
                    (heading)
                    th scope="col" { "Outcome" }
                } }
                tbody { @for (trace, cell) in rows {
                    tr data-key={ (name) " " (trace.trace_id) } data-row {
                        th.name scope="row" { (link(trace)) }
                        td.num.strong { (duration(trace.duration)) }
                        (cell)
                        td { (outcome(trace)) }
                    }
                } }
            } }
        }
    }
}

fn longest(traces: &[TraceSummary]) -> f64 {
    traces
        .iter()
        .map(|trace| trace.duration)
        .fold(0.0, f64::max)
}

fn link(trace: &TraceSummary) -> Markup {
    html! {
        a.service href={ "/traces/" (trace.trace_id) } title={ (trace.root_service) " " (trace.root_operation) } {
            (service_name(&trace.root_service)) " " bdi.operation { (trace.root_operation) }
        }
    }
}

fn length_bar(trace: &TraceSummary, longest: f64) -> Markup {
    let share = if longest > 0.0 {
        trace.duration / longest
    } else {
        0.0
    };
    let class = format!("work {}", colour(&trace.root_service));
    bar(share, &class, &duration(trace.duration))
}

fn outcome(trace: &TraceSummary) -> Markup {
    html! {
        @if trace.error { span.badge.bad { "error" } } @else { span.muted { "ok" } }
        @if trace.root_missing {
            " " span.muted title="The parent of its first span is not here: still on its way, or sent elsewhere." { "· no root" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::drawn;

    #[test]
    fn a_slow_trace_says_what_most_of_it_was_spent_in() {
        let part = LargestPart {
            kind: "network",
            service: "gateway".to_owned(),
            operation: fixtures::HOSTILE.to_owned(),
            seconds: 0.3,
            share: 0.75,
        };
        let table = slow_table(&fixtures::summaries(), &[Some(part)]);
        let page = drawn(&table);
        let cells: Vec<_> = page.class("mostly").map(|cell| cell.text.clone()).collect();
        assert_eq!(cells.len(), 2, "each trace has its cell");
        assert!(cells[0].starts_with("gateway → "), "{}", cells[0]);
        let figures = cells[0].replace('\u{a0}', " ");
        assert!(figures.ends_with("network 75.0 %"), "{figures}");
        assert_eq!(cells[1], "", "not looked at");
        assert_eq!(page.count("script"), 0);
        let none = slow_table(&[], &[]).into_string();
        assert!(none.contains("None kept in this range"));
    }

    #[test]
    fn bars_stand_against_the_longest() {
        let page = drawn(&long_table(
            &PageQuery::default(),
            Order::Newest,
            &fixtures::summaries(),
        ));
        let widths: Vec<_> = page
            .class("work")
            .filter_map(|rect| rect.get("width"))
            .collect();
        assert_eq!(widths, ["25.000%", "100.000%"]);
        assert_eq!(
            page.class("badge").count(),
            1,
            "the failed one says so in words"
        );
        assert_eq!(page.text().matches("no root").count(), 1);
        assert_eq!(page.count("script"), 0);
    }
}
