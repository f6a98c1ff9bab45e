//! An edge of the map: its arrow, and what is told beside it. Called by `charts::graph`.

use maud::{Markup, html};

use crate::views::report::Edge;
use crate::web::charts::layers::Point;
use crate::web::format::{coordinate, counted, duration, maybe_duration, rate, ratio};

/// From this share of failed calls on an arrow is red; any failure is told in red beside it.
const FAILING: f64 = 0.05;
/// The arrow.
pub(super) fn edge_line(edge: &Edge, path: &str, arrow: &str) -> Markup {
    let width = 1.2 + (1.0 + edge.rate.max(0.0)).log10().min(3.0);
    html! {
        path.edge.failing[edge.error_ratio >= FAILING].asynchronous[edge.asynchronous > edge.paired]
            d=(path) stroke-width=(coordinate(width)) marker-end={ "url(#" (arrow) ")" } {
            title { (edge.client) " → " (edge.server) }
        }
        // A thin line is hard to hit.
        path.hit d=(path) {}
    }
}

/// The gap above the line, how often and how well below it.
pub(super) fn edge_label(edge: &Edge, point: Point) -> Markup {
    let (x, y) = (coordinate(point.x), point.y);
    html! {
        g.label {
            title { (sentence(edge)) }
            text.gap x=(x) y=(coordinate(y - 7.0)) text-anchor="middle" {
                @if let (Some(p50), Some(p99)) = (edge.gap_p50, edge.gap_p99) {
                    tspan { "↔ " (duration(p50)) } tspan.p99 dx="7" { "p99 " (duration(p99)) }
                } @else if let Some(p50) = edge.told_gap_p50 {
                    tspan { "↔ " (duration(p50)) } tspan.muted dx="7" { "told" }
                } @else {
                    tspan.muted { (why_no_gap(edge)) }
                }
            }
            text x=(x) y=(coordinate(y + 16.0)) text-anchor="middle" {
                tspan { (rate(edge.rate)) }
                @if edge.error_ratio > 0.0 { tspan.bad dx="6" { (ratio(edge.error_ratio)) " errors" } }
            }
        }
    }
}

/// Why an edge has no network gap, in a word.
pub(in crate::web) fn why_no_gap(edge: &Edge) -> &'static str {
    if edge.asynchronous > 0 && edge.paired == 0 {
        "messages"
    } else if edge.paired == 0 {
        "no server span"
    } else if edge.negative > 0 {
        "server span longer"
    } else {
        "no gap yet"
    }
}

/// An edge in words, for those who hover or listen.
fn sentence(edge: &Edge) -> String {
    let told = match edge.told {
        0 => String::new(),
        told => format!(
            "; gap as told by the server in {}: p50 {}",
            counted(told, "call"),
            maybe_duration(edge.told_gap_p50)
        ),
    };
    format!(
        "{} calls {}: {}, errors {}; network gap p50 {}, p99 {}{told}; seen by the caller p99 {}, by the server p99 {}",
        edge.client,
        edge.server,
        rate(edge.rate),
        ratio(edge.error_ratio),
        maybe_duration(edge.gap_p50),
        maybe_duration(edge.gap_p99),
        maybe_duration(edge.client_p99),
        maybe_duration(edge.server_p99),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;

    #[test]
    fn an_edge_without_a_gap_says_why() {
        let check = |paired, asynchronous, negative, want: &str| {
            let mut edge = fixtures::edge("gateway", "checkout");
            (edge.paired, edge.asynchronous, edge.negative) = (paired, asynchronous, negative);
            (edge.gap_p50, edge.gap_p99) = (None, None);
            assert_eq!(why_no_gap(&edge), want);
            let label = edge_label(&edge, Point::default()).into_string();
            assert!(label.contains(want), "{want} in {label}");
        };
        check(0, 1, 0, "messages");
        check(0, 0, 0, "no server span");
        check(1, 1, 1, "server span longer");
        check(1, 1, 0, "no gap yet");
    }
}
