//! Latency over time as a grid whose cells open their traces. Called by the page of one service.

use maud::{Markup, html};

use crate::views::report::Heatmap;
use crate::web::format::{coordinate, count, counted, duration, percent};
use crate::web::layout::time_of_day;

const WIDTH: f64 = 1120.0;
const LEFT: f64 = 72.0;
const ROW: f64 = 12.0;
const BOTTOM: f64 = 22.0;
/// Labels of latency stand at least so many rows apart.
const LABEL_ROWS: usize = 4;

/// The grid, and folded away its table. `link` gives where the cell of a column and a row leads.
pub(in crate::web) fn heatmap(
    map: &Heatmap,
    title: &str,
    link: impl Fn(usize, usize) -> String,
) -> Markup {
    html! {
        figure.chart {
            figcaption { (title) }
            // On a small screen it is wider than its place, and can be scrolled.
            div.scroll tabindex="0" role="region" aria-label=(title) { (drawing(map, title, &link)) }
            details.numbers data-key={ "numbers " (title) } {
                summary { "as a table" }
                (table(map, link))
            }
        }
    }
}

fn drawing(map: &Heatmap, title: &str, link: &impl Fn(usize, usize) -> String) -> Markup {
    let rows = map.nanos.len();
    let most = map.counts.iter().flatten().copied().max().unwrap_or(0);
    let height = rows as f64 * ROW;
    let column = (WIDTH - LEFT) / map.times.len().max(1) as f64;
    html! {
        svg.heatmap role="img" viewBox={ "0 -8 " (WIDTH) " " (coordinate(height + BOTTOM + 8.0)) } {
            title { (title) ", " (summary(map)) }
            @for row in (0..=rows).step_by(LABEL_ROWS) {
                @if let Some(bound) = map.bounds.get(row) {
                    @let y = coordinate(height - row as f64 * ROW);
                    line.grid x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                    text.axis x=(LEFT - 8.0) y=(y) dy="4" text-anchor="end" { (duration(*bound)) }
                }
            }
            @for (at, cells) in map.counts.iter().enumerate() {
                @for (row, &cell) in cells.iter().enumerate().filter(|(_, cell)| **cell > 0) {
                    a href=(link(at, row)) tabindex="-1" {
                        rect x=(coordinate(LEFT + at as f64 * column)) y=(coordinate(height - (row + 1) as f64 * ROW))
                            width=(coordinate((column - 1.0).max(1.0))) height=(coordinate(ROW - 1.0))
                            fill-opacity=(coordinate(strength(cell, most))) {
                            title { (band(map, row)) ", " (column_begins(map, at)) " UTC: " (counted(cell, "span")) }
                        }
                    }
                }
            }
            @if let (Some(first), Some(last)) = (map.times.first(), map.times.last()) {
                text.axis x=(LEFT) y=(coordinate(height + BOTTOM - 4.0)) { (time_of_day(first)) " UTC" }
                text.axis x=(WIDTH) y=(coordinate(height + BOTTOM - 4.0)) text-anchor="end" { (time_of_day(last)) }
            }
        }
    }
}

fn table(map: &Heatmap, link: impl Fn(usize, usize) -> String) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th scope="col" { "latency" }
                th.num scope="col" { "all" }
                @for time in &map.times { th.num scope="col" { (time_of_day(time)) } }
            } }
            tbody { @for row in (0..map.nanos.len()).rev() {
                tr {
                    th scope="row" { (band(map, row)) }
                    td.num { (count(map.counts.iter().filter_map(|cells| cells.get(row)).sum())) }
                    @for (at, cells) in map.counts.iter().enumerate() {
                        td.num { @if let Some(&cell) = cells.get(row).filter(|cell| **cell > 0) {
                            a href=(link(at, row)) { (count(cell)) }
                        } }
                    }
                }
            } }
        } }
    }
}

/// How strong a cell is drawn, by the logarithm of its count: one slow request beside thousands is what people look for.
fn strength(cell: u64, most: u64) -> f64 {
    let share = (1.0 + cell as f64).ln() / (1.0 + most as f64).ln();
    0.15 + 0.85 * share.clamp(0.0, 1.0)
}

fn summary(map: &Heatmap) -> String {
    let all: u64 = map.counts.iter().flatten().sum();
    let slow = |row: &usize| {
        map.counts
            .iter()
            .filter_map(|cells| cells.get(*row))
            .sum::<u64>()
    };
    let Some(top) = (0..map.nanos.len()).rev().find(|row| slow(row) > 0) else {
        return "no data".to_owned();
    };
    format!(
        "{}, the slowest {} of them in {}",
        counted(all, "span"),
        percent(slow(&top) as f64 / all.max(1) as f64),
        band(map, top)
    )
}

/// `12.3 ms to 14.6 ms`.
fn band(map: &Heatmap, row: usize) -> String {
    let bound = |at: usize| {
        map.bounds
            .get(at)
            .copied()
            .map_or_else(String::new, duration)
    };
    format!("{} to {}", bound(row), bound(row + 1))
}

fn column_begins(map: &Heatmap, at: usize) -> &str {
    map.times.get(at).map_or("", |time| time_of_day(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::{Page, assert_drawable};

    fn show(map: &Heatmap) -> Page {
        let markup = heatmap(map, "Latency", |at, row| format!("/cell/{at}/{row}"));
        let page = Page::parse(&markup.into_string());
        assert_drawable(&page);
        page
    }

    #[test]
    fn every_cell_with_spans_is_drawn_once_and_opens_its_traces() {
        let page = show(&fixtures::heatmap());
        let cells: Vec<_> = page
            .all("rect")
            .map(|rect| rect.get("fill-opacity").unwrap().to_owned())
            .collect();
        assert_eq!(cells.len(), 3);
        assert_eq!(
            cells.iter().filter(|cell| *cell == "1").count(),
            1,
            "{cells:?}"
        );
        let links: Vec<_> = page.all("a").filter_map(|link| link.get("href")).collect();
        for cell in ["/cell/0/0", "/cell/1/0", "/cell/1/2"] {
            // In the drawing and in the table.
            assert_eq!(
                links.iter().filter(|link| **link == cell).count(),
                2,
                "{links:?}"
            );
        }
    }

    #[test]
    fn the_table_agrees_with_the_grid() {
        let text = show(&fixtures::heatmap()).text().replace('\u{a0}', " ");
        let at = |needle: &str| {
            text.find(needle)
                .unwrap_or_else(|| panic!("{needle} in {text}"))
        };
        assert!(at("4.00 ms to 8.00 ms") > at("as a table") || text.contains("110 spans"));
        assert!(text.contains("110 spans"), "{text}");
    }

    #[test]
    fn no_data_says_so() {
        let empty = Heatmap {
            bounds: Vec::new(),
            counts: vec![Vec::new(); 2],
            exemplars: vec![Vec::new(); 2],
            nanos: Vec::new(),
            ..fixtures::heatmap()
        };
        assert!(show(&empty).text().contains("no data"));
    }
}
