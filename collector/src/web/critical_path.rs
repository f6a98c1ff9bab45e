//! Where the requests of a service spend their time, the slow ones beside the typical ones. A section of the page of a
//! service, whose table of slow traces names parts alike.

use maud::{Markup, html};

use super::charts::bars::{Part as BarPart, stack};
use super::format::{counted, duration};
use super::layout::service_name;
use crate::views::report::{CriticalPathReport, PathPart};

/// Operations shown; the slowest come first.
const OPERATIONS: usize = 5;
/// Parts shown of each.
const PARTS: usize = 8;
/// Below so many slow requests their mean may be chance.
const FEW: usize = 5;
/// Differences below this share of the typical duration are no news.
const NEWS: f64 = 0.1;

/// The section; nothing without reports.
pub(super) fn section(reports: &[CriticalPathReport]) -> Markup {
    html! {
        @if !reports.is_empty() {
            section #critical-path {
                h2 { "Where the time goes" }
                p.muted {
                    "The critical path of its requests: what had to finish for the answer to leave, from a fair sample. \
                     Typical are the requests up to the median, slow are those from the 95th percentile on."
                }
                @for report in reports.iter().take(OPERATIONS) { (operation(report)) }
                @if reports.len() > OPERATIONS {
                    p.muted { (counted((reports.len() - OPERATIONS) as u64, "quicker operation")) " not shown; the JSON API tells all." }
                }
            }
        }
    }
}

fn operation(report: &CriticalPathReport) -> Markup {
    let whole = report.slow.seconds.max(f64::MIN_POSITIVE);
    let shown = report.parts.get(..PARTS).unwrap_or(&report.parts);
    let rest = report.parts.get(PARTS..).unwrap_or_default();
    html! {
        h3 { bdi { (report.operation) } }
        p { (sentence(report)) }
        div.scroll { table.rows.paths {
            thead { tr {
                th scope="col" { "Part of the path" }
                th.num scope="col" { "Typical" }
                th.num scope="col" { "Slow" }
                th.num scope="col" { "More" }
                th.wide scope="col" { span.sr { "Share of the slow requests" } }
            } }
            tbody {
                @for part in shown {
                    tr data-key={ (part.kind) " " (part.service) " " (part.operation) } data-row {
                        th.name scope="row" { (part_name(part.kind, &part.service, &part.operation)) }
                        (figures(part.typical, part.slow, part.difference))
                        td.wide { (bar(part, whole)) }
                    }
                }
                @if !rest.is_empty() {
                    tr data-key="rest" data-row {
                        th.name scope="row" { span.muted { (counted(rest.len() as u64, "smaller part")) } }
                        (figures(sum(rest, |part| part.typical), sum(rest, |part| part.slow), sum(rest, |part| part.difference)))
                        td.wide {}
                    }
                }
                tr data-key="all" data-row {
                    th.name.strong scope="row" { "All" }
                    (figures(report.typical.seconds, report.slow.seconds, report.slow.seconds - report.typical.seconds))
                    td.wide {}
                }
            }
        } }
        @if !report.slow.examples.is_empty() {
            p.muted {
                "Slow ones to look at: "
                @for (at, trace) in report.slow.examples.iter().enumerate() {
                    @if at > 0 { ", " }
                    a href={ "/traces/" (trace) } { code { (trace.get(..8).unwrap_or(trace)) } }
                }
            }
        }
    }
}

/// What there is to say, in one sentence.
fn sentence(report: &CriticalPathReport) -> Markup {
    let more = report.slow.seconds - report.typical.seconds;
    let requests = counted(report.requests as u64, "request");
    html! {
        @if more <= NEWS * report.typical.seconds {
            "Of " (requests) " the slow ones take about as long as the typical ones: "
            (duration(report.slow.seconds)) " and " (duration(report.typical.seconds)) "."
        } @else {
            "Of " (requests) " the slow ones take " b { (duration(report.slow.seconds)) } ", "
            (duration(more)) " more than the typical ones"
            @if let Some(first) = report.parts.first().filter(|part| part.difference > 0.0) {
                "; " b { (duration(first.difference)) } " of that in " (part_name(first.kind, &first.service, &first.operation))
            }
            "."
        }
        @if report.slow.requests < FEW {
            span.muted { " Only " (counted(report.slow.requests as u64, "slow request")) " so far: it may be chance." }
        }
    }
}

/// What time was spent in, as reports name it: work of a service, a call, or the network between two services.
pub(super) fn part_name(kind: &str, service: &str, operation: &str) -> Markup {
    html! {
        @match kind {
            "network" => span.gap { bdi { (service) } " → " bdi { (operation) } " network" },
            "call" => { "call to " (service_name(service)) " " bdi { (operation) } },
            _ => { (service_name(service)) " " bdi { (operation) } },
        }
    }
}

fn figures(typical: f64, slow: f64, difference: f64) -> Markup {
    html! {
        td.num { (duration(typical)) }
        td.num { (duration(slow)) }
        td.num.strong { (signed(difference)) }
    }
}

/// The slow requests' time in a part: what it is typically, and what comes on top.
fn bar(part: &PathPart, whole: f64) -> Markup {
    let class = if part.kind == "network" {
        "path-gap"
    } else {
        "path-work"
    };
    let usual = part.typical.min(part.slow);
    let parts = [
        BarPart {
            share: usual / whole,
            class: format!("{class} usual"),
        },
        BarPart {
            share: (part.slow - usual) / whole,
            class: class.to_owned(),
        },
    ];
    let title = format!(
        "{} of the slow requests' {}, {} of typical ones",
        duration(part.slow),
        duration(whole),
        duration(part.typical)
    );
    stack(&parts, &title)
}

fn signed(seconds: f64) -> String {
    if seconds < 0.0 {
        format!("−{}", duration(-seconds))
    } else {
        format!("+{}", duration(seconds))
    }
}

fn sum(parts: &[PathPart], column: impl Fn(&PathPart) -> f64) -> f64 {
    parts.iter().map(column).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::{Page, drawn};

    fn show(reports: &[CriticalPathReport]) -> Page {
        drawn(&section(reports))
    }

    #[test]
    fn the_part_that_makes_the_difference_is_told_first() {
        let page = show(&[fixtures::critical_path()]);
        let text = page.text();
        assert!(
            text.contains("the slow ones take 350 ms, 310 ms more"),
            "{text}"
        );
        assert!(
            text.contains("270 ms of that in call to postgres:orders SELECT"),
            "{text}"
        );
        assert!(text.contains("gateway → checkout network"), "{text}");
        assert!(text.contains("Only 2 slow requests so far"), "{text}");
        assert_eq!(page.count("script"), 0);
    }

    #[test]
    fn slow_requests_like_the_others_are_no_news() {
        let mut report = fixtures::critical_path();
        report.slow.seconds = report.typical.seconds;
        let text = show(&[report]).text();
        assert!(text.contains("about as long as the typical ones"), "{text}");
    }

    #[test]
    fn what_is_not_shown_is_counted() {
        let mut report = fixtures::critical_path();
        let small = report.parts[2].clone();
        report.parts.extend(vec![small; 9]);
        let text = show(&vec![report; 7]).text();
        assert!(text.contains("4 smaller parts"), "{text}");
        assert!(text.contains("2 quicker operations not shown"), "{text}");
    }

    #[test]
    fn without_requests_there_is_no_section() {
        assert_eq!(show(&[]).count("section"), 0);
    }
}
