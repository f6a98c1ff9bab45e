//! A whole trace in little: a line for each span, where it stands in time and in the tree. Called by the page of a trace.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use maud::{Markup, html};

use crate::web::format::{coordinate, counted, duration};
use crate::web::layout::colour;
use crate::web::timeline::{Row, Timeline};

const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 48.0;
/// A span too short for that is drawn as long.
const LEAST_WIDTH: f64 = 2.0;

/// The lines: one path for each colour, one for the failed spans, one for the critical path.
pub(in crate::web) fn overview(timeline: &Timeline<'_>) -> Markup {
    let count = timeline.rows.len();
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    let (mut failed, mut critical) = (String::new(), String::new());
    for (index, row) in timeline.rows.iter().enumerate() {
        let y = (index as f64 + 0.5) / count as f64 * HEIGHT;
        let path = lines.entry(colour(&row.span.service)).or_default();
        line(path, row.from, row.to, y);
        if row.span.status == "error" {
            line(&mut failed, row.from, row.to, y);
        }
        for &(from, to) in &row.critical {
            line(&mut critical, from, to, HEIGHT + 3.0);
        }
    }
    // Lines of few spans are apart, those of many touch.
    let thick = coordinate((HEIGHT / count.max(1) as f64 * 0.8).clamp(0.6, 5.0));
    html! {
        svg.overview role="img" viewBox={ "0 0 " (WIDTH) " " (HEIGHT + 6.0) } preserveAspectRatio="none" {
            title { (sentence(timeline)) }
            @for (class, path) in &lines { path.(class) d=(path) stroke-width=(thick) {} }
            @if !failed.is_empty() { path.failed d=(failed) stroke-width=(thick) {} }
            @if !critical.is_empty() { path.critical d=(critical) stroke-width="3" {} }
        }
    }
}

fn line(path: &mut String, from: f64, to: f64, y: f64) {
    let start = (from * WIDTH).min(WIDTH - LEAST_WIDTH);
    let end = (to * WIDTH).max(start + LEAST_WIDTH);
    // Writing to a String cannot fail.
    let _ = write!(
        path,
        "M{} {}H{}",
        coordinate(start),
        coordinate(y),
        coordinate(end)
    );
}

fn sentence(timeline: &Timeline<'_>) -> String {
    let is_failed = |row: &&Row<'_>| row.span.status == "error";
    let failed = timeline.rows.iter().filter(is_failed).count();
    let failed = match failed {
        0 => String::new(),
        failed => format!(", {failed} of them failed"),
    };
    format!(
        "the whole trace in little: {} in {}{failed}",
        counted(timeline.rows.len() as u64, "span"),
        duration(timeline.seconds)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures::trace;
    use crate::web::testing::{Page, assert_drawable};

    #[test]
    fn every_span_has_a_line_and_the_critical_path_stands_below() {
        let trace = trace();
        let timeline = Timeline::new(&trace);
        let page = Page::parse(&overview(&timeline).into_string());
        assert_drawable(&page);
        let lines = |element: &crate::web::testing::Element| {
            element.get("d").unwrap_or_default().matches('M').count()
        };
        let classes = ["failed", "critical"];
        let (apart, by_service): (Vec<_>, Vec<_>) = page
            .all("path")
            .partition(|path| classes.contains(&path.get("class").unwrap_or_default()));
        assert_eq!(by_service.into_iter().map(lines).sum::<usize>(), 3);
        assert_eq!(apart.into_iter().map(lines).collect::<Vec<_>>(), [1, 5]);
        assert!(
            page.text().contains("3 spans in 100 ms, 1 of them failed"),
            "{}",
            page.text()
        );
    }

    #[test]
    fn an_empty_trace_and_one_of_thousands_can_be_drawn() {
        let mut trace = trace();
        let one = trace.spans[1].clone();
        trace.spans = vec![one; 5_000];
        let markup = overview(&Timeline::new(&trace)).into_string();
        assert!(markup.len() < 200_000, "{}", markup.len());
        assert_drawable(&Page::parse(&markup));
        trace.spans.clear();
        assert_drawable(&Page::parse(
            &overview(&Timeline::new(&trace)).into_string(),
        ));
    }
}
