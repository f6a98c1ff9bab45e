//! The bar of one span and the axis above all of them. Called by the page of a trace.

use maud::{Markup, html};

use crate::web::format::{duration, percent};
use crate::web::layout::colour;
use crate::web::timeline::{Gap, Row};

const HEIGHT: f64 = 26.0;
/// The axis ends here, so that there is room for a label beside a bar that reaches its end; the style sheet
/// draws its quarters.
const AXIS_WIDTH: &str = "82%";

/// The axis: five times, evenly apart.
pub(in crate::web) fn axis(seconds: f64) -> Markup {
    html! {
        svg.axis role="img" width="100%" height="20" {
            title { "time axis, " (duration(seconds)) " long" }
            svg width=(AXIS_WIDTH) height="20" {
                @for step in 0..5_u8 {
                    @let share = f64::from(step) / 4.0;
                    @let anchor = if step == 0 { "start" } else { "middle" };
                    text x=(percent(share)) y="14" text-anchor=(anchor) { (duration(seconds * share)) }
                }
            }
        }
    }
}

/// One span's bar: in its service's colour where the service works, violet where the call is on the network,
/// underlined where the critical path runs.
pub(in crate::web) fn bar(row: &Row<'_>) -> Markup {
    let class = colour(&row.span.service);
    html! {
        svg.span-bar role="img" width="100%" height=(HEIGHT) {
            title { (sentence(row)) }
            svg width=(AXIS_WIDTH) height=(HEIGHT) {
                @if let Gap::Known { server: (from, to), .. } = row.gap {
                    (piece("network", row.from, from))
                    (piece(&format!("call {class}"), from, to))
                    (piece("network", to, row.to))
                } @else {
                    (piece(&format!("work {class}"), row.from, row.to))
                }
                // A span too short for a pixel still has its place.
                rect.tick.(class) x=(percent(row.from)) y="7" width="2" height="10" {}
                @if row.span.status == "error" {
                    rect.failed x=(percent(row.from)) y="6" width=(percent(row.to - row.from)) height="12" rx="2" {}
                }
                @for (from, to) in &row.critical {
                    rect.critical x=(percent(*from)) y="20" width=(percent(to - from)) height="2.5" {}
                }
                (label(row))
            }
        }
    }
}

fn piece(class: &str, from: f64, to: f64) -> Markup {
    html! { rect.(class) x=(percent(from)) y="7" width=(percent(to - from)) height="10" {} }
}

/// Beside the bar: its length, and the network in it.
fn label(row: &Row<'_>) -> Markup {
    let (x, anchor, shift) = if row.to > 0.8 && row.from > 0.3 {
        (row.from, "end", "-6")
    } else {
        (row.to, "start", "6")
    };
    html! {
        text.length x=(percent(x)) y="16" dx=(shift) text-anchor=(anchor) {
            (duration(row.span.duration))
            @if let Some(note) = gap_note(row.gap) { tspan.(gap_class(row.gap)) dx="6" { (note) } }
        }
    }
}

/// What is known of a call's network, in a few words.
pub(in crate::web) fn gap_note(gap: Gap) -> Option<String> {
    match gap {
        Gap::Known { seconds, .. } => Some(format!("↔ gap {}", duration(seconds))),
        Gap::Negative(by) => Some(format!("server span {} longer", duration(by))),
        Gap::Retried(servers) => Some(format!("↔ {servers} server spans")),
        Gap::None => None,
    }
}

/// Only a known gap has the gap's colour.
pub(in crate::web) fn gap_class(gap: Gap) -> &'static str {
    if matches!(gap, Gap::Known { .. }) {
        "gap"
    } else {
        "muted"
    }
}

fn sentence(row: &Row<'_>) -> String {
    let span = row.span;
    let mut text = format!(
        "{} {}{}: {}, {} of it its own",
        span.service,
        span.operation,
        row.target
            .as_ref()
            .map_or_else(String::new, |target| format!(" → {target}")),
        duration(span.duration),
        duration(span.self_time)
    );
    if let Gap::Known { seconds, .. } = row.gap {
        text.push_str(&format!(", network gap {}", duration(seconds)));
    }
    if span.critical {
        text.push_str(", on the critical path");
    }
    if span.status == "error" {
        text.push_str(", failed");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures::trace;
    use crate::web::testing::{Page, assert_drawable};
    use crate::web::timeline::Timeline;

    #[test]
    fn a_call_shows_its_network_and_stays_inside_the_axis() {
        let trace = trace();
        let timeline = Timeline::new(&trace);
        for row in &timeline.rows {
            let page = Page::parse(&bar(row).into_string());
            assert_drawable(&page);
            let is_call = row.span.span_id == "c1";
            assert_eq!(page.class("network").count(), 2 * usize::from(is_call));
            assert_eq!(page.text().contains("↔ gap 10.0 ms"), is_call);
            assert_eq!(
                page.class("failed").count(),
                usize::from(row.span.status == "error")
            );
            assert_eq!(page.class("critical").count(), row.critical.len());
        }
    }

    #[test]
    fn an_axis_without_length_can_be_drawn() {
        for seconds in [0.0, f64::NAN, 3600.0] {
            assert_drawable(&Page::parse(&axis(seconds).into_string()));
        }
    }
}
