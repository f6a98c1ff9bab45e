//! Tables of kept traces: all that a search found, and a few beside other things. Called by the pages that list traces.

use maud::{Markup, html};

use super::charts::bars::bar;
use super::format::{ago, count, counted, duration, utc};
use super::layout::{colour, service_name};
use super::timeline::nanos;
use crate::status::now_unix_nano;
use crate::views::report::TraceSummary;

/// The traces that a search found.
pub(super) fn long_table(traces: &[TraceSummary]) -> Markup {
    let longest = longest(traces);
    let now = now_unix_nano();
    html! {
        p.muted { (counted(traces.len() as u64, "trace")) ", bars against the longest, " (duration(longest)) }
        div.scroll {
            table.rows #traces {
                thead { tr {
                    th scope="col" { "Trace" }
                    th.num scope="col" { "Duration" }
                    th.wide scope="col" { span.sr { "Against the longest" } }
                    th.num scope="col" { "Spans" }
                    th.num scope="col" { "Services" }
                    th scope="col" { "Outcome" }
                    th.num scope="col" { "Started" }
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

fn started(trace: &TraceSummary, now: u64) -> Markup {
    let start = nanos(&trace.start_unix_nano);
    html! { td.num.muted title={ (utc(start)) " UTC" } { (ago(start, now)) } }
}

/// A few traces beside other things; `name` tells the tables of a page apart.
pub(super) fn short_table(traces: &[TraceSummary], name: &str) -> Markup {
    let longest = longest(traces);
    html! {
        @if traces.is_empty() {
            p.muted { "None kept in this range." }
        } @else {
            div.scroll { table.rows {
                thead { tr {
                    th scope="col" { "Trace" }
                    th.num scope="col" { "Duration" }
                    th.wide scope="col" { span.sr { "Against the longest" } }
                    th scope="col" { "Outcome" }
                } }
                tbody { @for trace in traces {
                    tr data-key={ (name) " " (trace.trace_id) } data-row {
                        th.name scope="row" { (link(trace)) }
                        td.num.strong { (duration(trace.duration)) }
                        td.wide { (length_bar(trace, longest)) }
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
    fn bars_stand_against_the_longest() {
        let page = drawn(&long_table(&fixtures::summaries()));
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
