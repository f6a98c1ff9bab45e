//! A time series with its axis and a table of its numbers. Called by the page of one service.

use maud::{Markup, html};

use super::spark::{line_path, top};
use crate::views::rfc3339;
use crate::web::format::coordinate;
use crate::web::layout::time_of_day;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 120.0;
const LEFT: f64 = 72.0;
const BOTTOM: f64 = 22.0;

/// What one chart shows.
#[derive(Debug)]
pub(in crate::web) struct Series<'a> {
    /// Above the chart.
    pub(in crate::web) title: &'a str,
    /// What has to be known to read it, beside the title; nothing when empty.
    pub(in crate::web) note: &'a str,
    /// Oldest first; `None` where there is no data.
    pub(in crate::web) values: &'a [Option<f64>],
    /// When the first one begins, RFC 3339.
    pub(in crate::web) from: &'a str,
    /// Seconds between two values.
    pub(in crate::web) step_seconds: f64,
    /// Writes one value.
    pub(in crate::web) show: fn(f64) -> String,
    /// Its class of colour.
    pub(in crate::web) class: &'a str,
}

/// The chart and, folded away, its table.
pub(in crate::web) fn line(series: &Series<'_>) -> Markup {
    let top = round_up(top(series.values));
    let path = line_path(series.values, WIDTH - LEFT, HEIGHT, top);
    let last = series.values.len().saturating_sub(1);
    html! {
        figure.chart {
            figcaption {
                (series.title)
                @if !series.note.is_empty() { " " span.note { (series.note) } }
            }
            svg.line.(series.class) role="img" viewBox={ "0 -8 " (WIDTH + 4.0) " " (HEIGHT + BOTTOM + 8.0) } {
                title { (series.title) ", " (summary(series)) }
                @for share in [0.0, 0.5, 1.0] {
                    @let y = coordinate(HEIGHT - share * HEIGHT);
                    line.grid x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                    text.axis x=(LEFT - 8.0) y=(y) dy="4" text-anchor="end" { ((series.show)(top * share)) }
                }
                text.axis x=(LEFT) y=(HEIGHT + BOTTOM - 4.0) { (clock(series, 0)) " UTC" }
                text.axis x=(WIDTH) y=(HEIGHT + BOTTOM - 4.0) text-anchor="end" { (clock(series, last)) }
                g transform={ "translate(" (LEFT) " 0)" } {
                    @if path.is_empty() {
                        text.axis x=((WIDTH - LEFT) / 2.0) y=(HEIGHT / 2.0 - 6.0) text-anchor="middle" { "no data" }
                    } @else {
                        path d=(path) {}
                    }
                }
            }
            details.numbers data-key={ "numbers " (series.title) } {
                summary { "as a table" }
                (table(series))
            }
        }
    }
}

fn table(series: &Series<'_>) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "from (UTC)" } th.num scope="col" { (series.title) } } }
            tbody {
                @for (index, value) in series.values.iter().enumerate() {
                    tr {
                        td { (clock(series, index)) }
                        td.num { (shown(*value, series.show)) }
                    }
                }
            }
        }
    }
}

/// When a value begins, as a time of day: right also for a page of a time that is long over.
fn clock(series: &Series<'_>, index: usize) -> String {
    let after = (index as f64 * series.step_seconds * 1e9) as u64;
    let begins = rfc3339::parse(series.from)
        .unwrap_or(0)
        .saturating_add(after);
    time_of_day(&rfc3339::format(begins)).to_owned()
}

fn summary(series: &Series<'_>) -> String {
    let last = series.values.last().copied().flatten();
    let highest = series.values.iter().flatten().copied().reduce(f64::max);
    format!(
        "at last {}, at most {}",
        shown(last, series.show),
        shown(highest, series.show)
    )
}

fn shown(value: Option<f64>, show: fn(f64) -> String) -> String {
    value.map_or_else(|| crate::web::format::NONE.to_owned(), show)
}

/// The next 1, 2 or 5 times a power of ten: an axis people can read.
fn round_up(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|candidate| *candidate >= value)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::format::duration;
    use crate::web::testing::{Page, assert_drawable};

    #[test]
    fn the_table_agrees_with_the_line() {
        let values = [Some(0.010), None, Some(0.025)];
        let series = Series {
            title: "p99",
            note: "",
            values: &values,
            from: "2026-11-22T23:59:50Z",
            step_seconds: 10.0,
            show: duration,
            class: "p99",
        };
        let page = Page::parse(&line(&series).into_string());
        assert_drawable(&page);
        let cells = page.texts("td").join("|").replace('\u{a0}', " ");
        assert_eq!(cells, "23:59:50|10.0 ms|00:00:00|–|00:00:10|25.0 ms");
        let text = page.text().replace('\u{a0}', " ");
        assert!(
            text.contains("23:59:50 UTC") && text.contains("at last 25.0 ms"),
            "{text}"
        );
        assert_eq!(
            page.attribute("path", "d").as_deref(),
            Some("M0 96h0M488 60h0")
        );
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        let check = |value: f64, want: f64| {
            assert!((round_up(value) - want).abs() <= want * 1e-9, "{value}");
        };
        check(0.0, 1.0);
        check(f64::NAN, 1.0);
        check(0.0012, 0.002);
        check(3.0, 5.0);
        check(7.0, 10.0);
        check(10.0, 10.0);
    }

    #[test]
    fn no_data_says_so() {
        let series = Series {
            title: "rate",
            note: "",
            values: &[],
            from: "2026-11-22T23:59:50Z",
            step_seconds: 10.0,
            show: duration,
            class: "rate",
        };
        let page = Page::parse(&line(&series).into_string());
        assert_drawable(&page);
        assert!(page.text().contains("no data"));
    }
}
