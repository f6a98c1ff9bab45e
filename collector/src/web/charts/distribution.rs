//! Durations over each other on one axis of latency: how the calls of an edge are spread for its client, its server and
//! the network between. Called by the page of an edge.

use maud::{Markup, html};

use crate::web::format::{coordinate, count, counted, duration};

const WIDTH: f64 = 1120.0;
const HEIGHT: f64 = 200.0;
const BOTTOM: f64 = 22.0;
/// Below the axis stand about so many durations.
const LABELS: usize = 8;

/// One of the distributions.
#[derive(Debug)]
pub(in crate::web) struct Spread<'a> {
    /// In the legend and above its column of the table.
    pub(in crate::web) name: &'a str,
    /// Its class of line.
    pub(in crate::web) class: &'a str,
    /// Calls by step.
    pub(in crate::web) counts: &'a [u64],
    /// Their median, seconds.
    pub(in crate::web) median: Option<f64>,
}

/// The chart and, folded away, its table; `bounds` are where the steps part, seconds, rising geometrically. Those without
/// calls are left out.
pub(in crate::web) fn distribution(title: &str, bounds: &[f64], spreads: &[Spread<'_>]) -> Markup {
    let shown: Vec<&Spread<'_>> = spreads.iter().filter(|spread| total(spread) > 0).collect();
    let counts = shown.iter().flat_map(|spread| spread.counts);
    let top = counts.copied().max().unwrap_or(0);
    html! {
        figure.chart {
            figcaption { (title) }
            p.legend {
                @for spread in &shown {
                    span {
                        svg.sample.spread.(spread.class) width="26" height="10" aria-hidden="true" { path d="M1 5H25" {} }
                        " " (spread.name)
                        @if let Some(median) = spread.median { ", half of them within " b { (duration(median)) } }
                    }
                }
            }
            div.scroll {
                svg.distribution role="img" viewBox={ "0 -8 " (WIDTH) " " (HEIGHT + BOTTOM + 8.0) } {
                    title { (title) ", " (summary(&shown)) }
                    line.grid x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
                    @for (x, bound) in labels(bounds) {
                        line.grid x1=(coordinate(x)) x2=(coordinate(x)) y1="0" y2=(HEIGHT) {}
                        text.axis x=(coordinate(x)) y=(HEIGHT + BOTTOM - 4.0) text-anchor="middle" { (duration(bound)) }
                    }
                    @for spread in &shown {
                        g.spread.(spread.class) {
                            title { (spread.name) }
                            path d=(outline(spread, top)) {}
                        }
                    }
                }
            }
            p.axis-name.muted { "The height is how many calls took so long. From line to line latency grows by the same factor." }
            details.numbers data-key={ "numbers " (title) } {
                summary { "as a table" }
                (table(bounds, &shown))
            }
        }
    }
}

/// Steps as an outline, closed along the axis.
fn outline(spread: &Spread<'_>, top: u64) -> String {
    let step = WIDTH / spread.counts.len().max(1) as f64;
    let mut path = format!("M0 {}", coordinate(HEIGHT));
    for (at, &calls) in spread.counts.iter().enumerate() {
        let share = calls as f64 / top.max(1) as f64;
        path.push('V');
        path.push_str(&coordinate(HEIGHT - share * HEIGHT));
        path.push('H');
        path.push_str(&coordinate((at + 1) as f64 * step));
    }
    path.push('V');
    path.push_str(&coordinate(HEIGHT));
    path
}

/// Where durations are written below the axis.
fn labels(bounds: &[f64]) -> Vec<(f64, f64)> {
    let steps = bounds.len().saturating_sub(1);
    let every = steps.div_ceil(LABELS).max(1);
    // Half a distance from either end: a label reaches beyond its line.
    let inner = bounds
        .iter()
        .enumerate()
        .take((steps + 1).saturating_sub(every.div_ceil(2)))
        .skip(every.div_ceil(2));
    inner
        .step_by(every)
        .map(|(at, &bound)| (at as f64 * WIDTH / steps as f64, bound))
        .collect()
}

fn table(bounds: &[f64], shown: &[&Spread<'_>]) -> Markup {
    let steps = bounds.iter().zip(bounds.iter().skip(1)).enumerate();
    let at = |spread: &Spread<'_>, step: usize| spread.counts.get(step).copied().unwrap_or(0);
    html! {
        div.scroll { table {
            thead { tr {
                th scope="col" { "latency" }
                @for spread in shown { th.num scope="col" { (spread.name) } }
            } }
            tbody { @for (step, (from, to)) in steps {
                @if shown.iter().any(|spread| at(spread, step) > 0) {
                    tr {
                        th scope="row" { (duration(*from)) " to " (duration(*to)) }
                        @for spread in shown { td.num { (count(at(spread, step))) } }
                    }
                }
            } }
        } }
    }
}

fn summary(shown: &[&Spread<'_>]) -> String {
    let told = shown.iter().map(|spread| {
        let median = spread.median.map_or_else(String::new, |median| {
            format!(", half of them within {}", duration(median))
        });
        format!(
            "{}: {}{median}",
            spread.name,
            counted(total(spread), "call")
        )
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() {
        return "no data".to_owned();
    }
    told.join("; ")
}

fn total(spread: &Spread<'_>) -> u64 {
    spread.counts.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::testing::{Page, assert_drawable};

    const BOUNDS: [f64; 4] = [0.001, 0.002, 0.004, 0.008];

    fn show(spreads: &[Spread<'_>]) -> Page {
        let page = Page::parse(&distribution("Durations", &BOUNDS, spreads).into_string());
        assert_drawable(&page);
        page
    }

    fn spread<'a>(name: &'a str, counts: &'a [u64]) -> Spread<'a> {
        Spread {
            name,
            class: "of-client",
            counts,
            median: Some(0.003),
        }
    }

    #[test]
    fn the_highest_step_of_all_reaches_the_top_and_the_table_agrees() {
        let page = show(&[spread("client", &[0, 30, 10]), spread("gap", &[40, 30, 0])]);
        let paths: Vec<_> = page
            .all("path")
            .filter_map(|path| path.get("d"))
            .filter(|d| d.contains('V'))
            .collect();
        assert_eq!(
            paths,
            [
                "M0 200V200H373.33V50H746.67V150H1120V200",
                "M0 200V0H373.33V50H746.67V200H1120V200"
            ]
        );
        let cells = page.texts("td").join("|");
        assert_eq!(cells, "0|40|30|30|10|0");
        let text = page.text();
        assert!(
            text.contains("client: 40 calls, half of them within 3.00 ms"),
            "{text}"
        );
        assert_eq!(page.count("svg"), 3, "the chart and a sample for each");
    }

    #[test]
    fn what_has_no_calls_is_left_out() {
        let page = show(&[spread("client", &[0, 0, 0]), spread("gap", &[0, 1, 0])]);
        assert!(!page.text().contains("client"));
        assert!(show(&[]).text().contains("no data"));
        let empty = distribution("Durations", &[], &[spread("gap", &[])]);
        assert_drawable(&Page::parse(&empty.into_string()));
    }

    #[test]
    fn labels_are_few_and_inside() {
        let bounds: Vec<f64> = (0..81).map(|step| 1e-6 * f64::from(step).exp2()).collect();
        let labels = labels(&bounds);
        assert!((4..=LABELS + 1).contains(&labels.len()), "{}", labels.len());
        assert!(labels.iter().all(|(x, _)| *x > 50.0 && *x < WIDTH - 50.0));
    }
}
