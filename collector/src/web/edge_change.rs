//! How the network gap of edges stands to that of the window before. Called by the map's table, which looks at that
//! window only when it is sorted by it, and by the page of an edge.

use std::collections::HashMap;

use maud::{Markup, html};

use super::change::{self, Change};
use super::columns::nothing_before;
use super::format::coarse;
use super::layout::time_of_day;
use super::query::PageQuery;
use crate::views::report::{Edge, Map, Window};

/// A percentile of the gap that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Percentile {
    P50,
    P99,
}

/// What the table can be sorted by, as the address says it, and its name.
pub(super) const SORTS: [(&str, Percentile, &str); 2] = [
    ("gap_p50-change", Percentile::P50, "p50"),
    ("gap_p99-change", Percentile::P99, "p99"),
];

/// The edges of the window before, by client and server; none where nothing is compared.
#[derive(Debug, Default)]
pub(super) struct Before<'a>(HashMap<(&'a str, &'a str), &'a Edge>);

impl<'a> Before<'a> {
    /// Of that window's map.
    pub(super) fn of(map: Option<&'a Map>) -> Self {
        let edges = map.into_iter().flat_map(|map| &map.edges);
        let by_ends = edges.map(|edge| ((edge.client.as_str(), edge.server.as_str()), edge));
        Self(by_ends.collect())
    }

    /// How a percentile of an edge's gap has changed; `None` where it is not known of both windows.
    pub(super) fn change(&self, percentile: Percentile, edge: &Edge) -> Option<Change> {
        let before = self.0.get(&(edge.client.as_str(), edge.server.as_str()))?;
        gap_change(percentile, edge, before)
    }
}

/// How a percentile of an edge's gap has changed, measured or told alike in both windows.
pub(super) fn gap_change(percentile: Percentile, now: &Edge, before: &Edge) -> Option<Change> {
    let measured = now.gap_p50.is_some();
    let gap = |edge: &Edge| match (percentile, measured) {
        (Percentile::P50, true) => edge.gap_p50,
        (Percentile::P99, true) => edge.gap_p99,
        (Percentile::P50, false) => edge.told_gap_p50,
        (Percentile::P99, false) => edge.told_gap_p99,
    };
    let calls = |edge: &Edge| if measured { edge.paired } else { edge.told };
    Some(change::of_gap(
        gap(before)?,
        gap(now)?,
        calls(now).min(calls(before)),
    ))
}

/// What the arrows in the table are changes from, with a way to sort by each; or why there is nothing to compare.
pub(super) fn compared(
    query: &PageQuery,
    sorted: Option<Percentile>,
    window: &Window,
    previous: Option<&Window>,
) -> Markup {
    html! {
        p.compared {
            @if let Some(before) = previous {
                "Whose network gap has grown since the " (coarse(before.seconds)) " before ("
                time datetime=(before.from) { (time_of_day(&before.from)) } " to "
                time datetime=(before.to) { (time_of_day(&before.to)) } " UTC)?"
                span.order {
                    " Most grown first: "
                    @for (key, percentile, label) in SORTS {
                        a href=(query.link("/map", &[("sort", Some(key)), ("dir", None)]))
                          aria-current=[(sorted == Some(percentile)).then_some("true")] { (label) } " "
                    }
                }
            } @else {
                (nothing_before(window))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;

    fn edge(p50: f64, paired: u64) -> Edge {
        Edge {
            gap_p50: Some(p50),
            paired,
            ..fixtures::edge("gateway", "checkout")
        }
    }

    fn text(now: &Edge, before: &Edge) -> Option<(String, f64)> {
        let change = gap_change(Percentile::P50, now, before)?;
        Some((change::shown(&change).into_string(), change.size))
    }

    #[test]
    fn a_gap_that_grew_stands_out_and_says_what_it_was() {
        let (text, size) = text(&edge(0.006, 100), &edge(0.002, 100)).unwrap();
        assert!(
            text.contains("▲\u{a0}3.0×") && text.contains("warn"),
            "{text}"
        );
        assert!(text.contains("was 2.00\u{a0}ms"), "{text}");
        assert!(size > 1.0);
    }

    #[test]
    fn a_handful_of_calls_says_nothing() {
        for (now, before) in [(100, 19), (19, 100)] {
            let (text, size) = text(&edge(0.006, now), &edge(0.002, before)).unwrap();
            assert!(text.contains('▲') && !text.contains("warn"), "{text}");
            assert_eq!(size, 0.0);
        }
    }

    #[test]
    fn a_told_gap_is_not_compared_with_a_measured_one() {
        let told = Edge {
            gap_p50: None,
            told_gap_p50: Some(0.004),
            told: 100,
            ..edge(0.0, 0)
        };
        assert_eq!(text(&told, &edge(0.002, 100)), None);
        assert_eq!(text(&edge(0.002, 100), &told), None);
        let before = Edge {
            told_gap_p50: Some(0.001),
            ..told.clone()
        };
        assert!(text(&told, &before).unwrap().0.contains("▲\u{a0}4.0×"));
    }

    #[test]
    fn edges_are_found_by_both_ends() {
        let map = Map {
            edges: vec![edge(0.002, 100)],
            ..fixtures::map()
        };
        let before = Before::of(Some(&map));
        assert!(before.change(Percentile::P50, &edge(0.006, 100)).is_some());
        let other = fixtures::edge("checkout", "gateway");
        assert_eq!(before.change(Percentile::P50, &other), None);
        let none = Before::of(None).change(Percentile::P50, &edge(0.006, 100));
        assert_eq!(none, None);
    }
}
