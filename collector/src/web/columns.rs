//! The columns that tables of services, of their versions and instances, and of operations have in common: rate, errors and
//! latency with what changed, how a table is sorted by them, and what stands below it. Called by these pages.

use std::cmp::Ordering;

use maud::{Markup, html};

use super::change::{change, estimated, shown};
use super::charts::spark::spark;
use super::format::{NONE, coarse, counted, duration, maybe_duration, rate, ratio};
use super::layout::{error_ratio, time_of_day};
use super::query::{BadParameter, Direction, PageQuery};
use crate::views::report::{Figures, Spark, Window};

/// A column that a table can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    Rate,
    Errors,
    P50,
    P90,
    P95,
    P99,
    P999,
    Max,
    Impact,
}

/// The columns of numbers, in their order.
const NUMBERS: [Column; 8] = [
    Column::Rate,
    Column::Errors,
    Column::P50,
    Column::P90,
    Column::P95,
    Column::P99,
    Column::P999,
    Column::Max,
];

/// What a table can be sorted by, as the URL says it; true for the change of a column.
const SORTS: [(&str, (Column, bool)); 15] = [
    ("name", (Column::Name, false)),
    ("rate", (Column::Rate, false)),
    ("errors", (Column::Errors, false)),
    ("p50", (Column::P50, false)),
    ("p90", (Column::P90, false)),
    ("p95", (Column::P95, false)),
    ("p99", (Column::P99, false)),
    ("p999", (Column::P999, false)),
    ("max", (Column::Max, false)),
    ("impact", (Column::Impact, false)),
    ("rate-change", (Column::Rate, true)),
    ("errors-change", (Column::Errors, true)),
    ("p50-change", (Column::P50, true)),
    ("p95-change", (Column::P95, true)),
    ("p99-change", (Column::P99, true)),
];

/// What a row of such a table shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    pub(super) now: &'a Figures,
    /// `None` when there is no window before.
    pub(super) before: Option<&'a Figures>,
    pub(super) impact: f64,
    pub(super) spark: &'a Spark,
}

/// What a table is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sorting {
    column: Column,
    /// By how much the column has changed.
    by_change: bool,
    direction: Direction,
}

impl Column {
    /// Its number in seconds, a second, or as a share; `None` without data and for what is no number of the spans.
    pub(super) fn number(self, figures: &Figures) -> Option<f64> {
        let latency = &figures.latency;
        match self {
            Self::Name | Self::Impact => None,
            Self::Rate => Some(figures.rate),
            Self::Errors => Some(figures.error_ratio),
            Self::P50 => latency.p50,
            Self::P90 => latency.p90,
            Self::P95 => latency.p95,
            Self::P99 => latency.p99,
            Self::P999 => latency.p999,
            Self::Max => latency.max,
        }
    }

    /// Its number as people read it.
    pub(super) fn text(self, figures: &Figures) -> String {
        match (self, self.number(figures)) {
            (_, None) => NONE.to_owned(),
            (Self::Rate, Some(number)) => rate(number),
            (Self::Errors, Some(number)) => ratio(number),
            (_, Some(number)) => duration(number),
        }
    }

    fn key(self) -> &'static str {
        let own = SORTS.iter().find(|(_, sort)| *sort == (self, false));
        own.map_or("", |(key, _)| key)
    }

    fn label(self) -> &'static str {
        match self {
            Self::Name => "Name",
            Self::Rate => "Rate",
            Self::Errors => "Errors",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Max => "Max",
            Self::Impact => "Impact",
        }
    }

    /// Numbers are looked at from the largest down.
    fn first_direction(self) -> Direction {
        match self {
            Self::Name => Direction::Ascending,
            _ => Direction::Descending,
        }
    }
}

impl Sorting {
    /// `sort` and `dir` of a table; by `default` when nothing is said.
    ///
    /// # Errors
    /// Anything else than a column of such a table, its change, and a direction.
    pub(super) fn read(query: &PageQuery, default: Column) -> Result<Self, BadParameter> {
        let (column, by_change) = query.choice(
            "sort",
            &SORTS,
            (default, false),
            "say name, rate, errors, p50, p90, p95, p99, p999, max or impact, or what changed: rate-change, \
             errors-change, p50-change, p95-change or p99-change",
        )?;
        Ok(Self {
            column,
            by_change,
            direction: query.direction(column.first_direction())?,
        })
    }

    /// Which of two rows stands first; equal ones by rate, then by name.
    pub(super) fn compare(&self, a: &Row<'_>, b: &Row<'_>) -> Ordering {
        let by_column = match self.column {
            Column::Name => a.name.cmp(b.name),
            _ => self.number(a).total_cmp(&self.number(b)),
        };
        let by_column = self.direction.apply(by_column);
        by_column
            .then_with(|| b.now.rate.total_cmp(&a.now.rate))
            .then_with(|| a.name.cmp(b.name))
    }

    /// What a row is sorted by; without data it is below all that have some.
    fn number(&self, row: &Row<'_>) -> f64 {
        if self.by_change {
            let change = row
                .before
                .and_then(|before| change(self.column, row.now, before));
            return change.map_or(0.0, |change| change.size);
        }
        match self.column {
            Column::Impact => row.impact,
            column => column.number(row.now).unwrap_or(-1.0),
        }
    }

    fn key(&self) -> &'static str {
        let own = SORTS
            .iter()
            .find(|(_, sort)| *sort == (self.column, self.by_change));
        own.map_or("", |(key, _)| key)
    }
}

/// The heading of a column, which sorts by a link and says to screen readers how the table is sorted.
pub(super) fn heading(
    query: &PageQuery,
    path: &str,
    sorting: Sorting,
    column: Column,
    label: &str,
) -> Markup {
    let current = sorting.column == column;
    let key = column.key();
    let next = if current && !sorting.by_change {
        sorting.direction.reversed()
    } else {
        column.first_direction()
    };
    let link = query.link(path, &[("sort", Some(key)), ("dir", Some(next.word()))]);
    html! {
        th scope="col" .num[column != Column::Name] .minor[is_minor(column)] aria-sort=[current.then(|| sorting.direction.aria())] {
            a href=(link) data-sort=(key) { (label) @if current && sorting.by_change { " change" } }
        }
    }
}

/// The headings of the columns of numbers; without a sorting they are plain.
pub(super) fn headings(sorted: Option<(&PageQuery, &str, Sorting)>) -> Markup {
    html! {
        @for column in NUMBERS {
            @match sorted {
                Some((query, path, sorting)) => (heading(query, path, sorting, column, column.label())),
                None => th.num.minor[is_minor(column)] scope="col" { (column.label()) },
            }
            @if is_drawn(column) { th.plot.minor[column == Column::Rate] scope="col" { span.sr { "Course of " (column.label()) } } }
        }
    }
}

/// The numbers of a row, of so many `unit`s.
pub(super) fn cells(row: &Row<'_>, unit: &str) -> Markup {
    html! {
        @for column in NUMBERS {
            td.num.minor[is_minor(column)].strong[column == Column::P99] title=[(column == Column::Rate).then(|| told(row.now.count, row.now.samples, unit))] {
                @if column == Column::Rate { (about(row.now.count, row.now.samples)) }
                (number(column, row.now))
                @if let Some(change) = row.before.and_then(|before| change(column, row.now, before)) { " " (shown(&change)) }
            }
            @if is_drawn(column) { td.plot.minor[column == Column::Rate] { (course(column, row.spark)) } }
        }
    }
}

/// How many there were, and from how many that is known.
pub(super) fn told(count: u64, samples: u64, unit: &str) -> String {
    let all = counted(count, unit);
    estimated(count, samples).map_or_else(|| all.clone(), |estimate| format!("{all}, {estimate}"))
}

/// The mark before a rate that is estimated.
pub(super) fn about(count: u64, samples: u64) -> &'static str {
    estimated(count, samples).map_or("", |_| "≈\u{a0}")
}

/// What arrows in a table are changes from, with a way to sort by each; or why there are none.
pub(super) fn compared(
    query: &PageQuery,
    path: &str,
    sorting: Sorting,
    window: &Window,
    previous: Option<&Window>,
) -> Markup {
    let changes = SORTS.iter().filter(|(_, (_, by_change))| *by_change);
    html! {
        p.compared {
            @if let Some(before) = previous {
                "What changed since the " (coarse(before.seconds)) " before ("
                time datetime=(before.from) { (time_of_day(&before.from)) } " to "
                time datetime=(before.to) { (time_of_day(&before.to)) } " UTC)?"
                span.order {
                    " Most changed first: "
                    @for (key, (column, _)) in changes {
                        a href=(query.link(path, &[("sort", Some(key)), ("dir", None)]))
                          aria-current=[(sorting.key() == *key).then_some("true")] { (column.label()) } " "
                    }
                }
            } @else {
                (nothing_before(window))
            }
        }
    }
}

/// Why no number says how it has changed.
pub(super) fn nothing_before(window: &Window) -> Markup {
    html! { "What changed is not known: the collector has nothing from the " (coarse(window.seconds)) " before." }
}

/// What holds for every number of a table.
pub(super) fn footnote<'a>(mut rows: impl Iterator<Item = &'a Figures>) -> Markup {
    html! {
        p.muted.footnote {
            "Percentiles are within 1.1\u{a0}% of the exact ones."
            @if rows.any(|now| estimated(now.count, now.samples).is_some()) { (what_is_estimated()) }
        }
    }
}

/// What [`about`]'s mark says.
pub(super) fn what_is_estimated() -> Markup {
    html! {
        " ≈ is estimated: the sender keeps only some of its traces and says how many (" code { "ot=th" }
        "), so each of them counts for several."
    }
}

fn number(column: Column, figures: &Figures) -> Markup {
    match column {
        Column::Errors => error_ratio(figures.error_ratio),
        Column::Rate => html! { (rate(figures.rate)) },
        column => html! { (maybe_duration(column.number(figures))) },
    }
}

/// What gives way on a narrow screen, so that it shows the 99th percentile.
fn is_minor(column: Column) -> bool {
    matches!(column, Column::P90 | Column::P95)
}

fn is_drawn(column: Column) -> bool {
    matches!(column, Column::Rate | Column::P99)
}

fn course(column: Column, of: &Spark) -> Markup {
    if column == Column::Rate {
        let rates: Vec<Option<f64>> = of.rate.iter().copied().map(Some).collect();
        spark(&rates, "rate", rate)
    } else {
        spark(&of.p99, "p99", duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures::{self, query};
    use crate::web::testing::Page;

    fn sorted(pairs: &[(&str, &str)]) -> Sorting {
        Sorting::read(&query(pairs), Column::Rate).unwrap()
    }

    #[test]
    fn every_column_and_change_that_is_offered_can_be_sorted_by() {
        for (key, (column, by_change)) in SORTS {
            let sorting = sorted(&[("sort", key)]);
            assert_eq!((sorting.column, sorting.by_change), (column, by_change));
            assert_eq!(sorting.key(), key);
        }
        let default = sorted(&[]);
        assert_eq!(default.direction, Direction::Descending);
        assert_eq!(sorted(&[("sort", "name")]).direction, Direction::Ascending);
        let refused = Sorting::read(&query(&[("sort", "p90-change")]), Column::Rate);
        assert!(refused.unwrap_err().to_string().contains("p95-change"));
    }

    #[test]
    fn a_sorted_column_says_so_and_turns_round() {
        let query = query(&[("window", "1h"), ("sort", "p99"), ("dir", "desc")]);
        let sorting = Sorting::read(&query, Column::Rate).unwrap();
        let shown = |sorting, column: Column| {
            let markup = heading(&query, "/", sorting, column, column.label());
            let page = Page::parse(&markup.into_string());
            let link = page.attribute("a", "href").unwrap();
            (page.attribute("th", "aria-sort"), link, page.text())
        };
        let (aria, link, text) = shown(sorting, Column::P99);
        assert_eq!(aria.as_deref(), Some("descending"));
        assert_eq!(link, "/?window=1h&sort=p99&dir=asc");
        assert_eq!(text.trim(), "p99");
        let (aria, link, _) = shown(sorting, Column::Rate);
        assert_eq!(aria, None);
        assert_eq!(link, "/?window=1h&sort=rate&dir=desc");
        let by_change = sorted(&[("sort", "p99-change")]);
        let (aria, link, text) = shown(by_change, Column::P99);
        assert_eq!(aria.as_deref(), Some("descending"));
        assert_eq!(link, "/?window=1h&sort=p99&dir=desc", "back to the numbers");
        assert_eq!(text.trim(), "p99 change");
    }

    #[test]
    fn rows_stand_by_what_changed_most() {
        let spark = fixtures::spark();
        let (usual, before) = (fixtures::figures(4.0, 0.1), fixtures::figures(4.0, 0.1));
        let slower = fixtures::figures(4.0, 0.3);
        let fewer = fixtures::figures(1.0, 0.1);
        let row = |name, now| Row {
            name,
            now,
            before: Some(&before),
            impact: 0.0,
            spark: &spark,
        };
        let rows = [
            row("usual", &usual),
            row("slower", &slower),
            row("fewer", &fewer),
        ];
        let first = |key| {
            let sorting = sorted(&[("sort", key)]);
            let mut rows = rows;
            rows.sort_by(|a, b| sorting.compare(a, b));
            rows[0].name
        };
        assert_eq!(first("p99-change"), "slower");
        assert_eq!(
            first("rate-change"),
            "fewer",
            "less is a change as well as more"
        );
        assert_eq!(first("name"), "fewer");
        assert_eq!(
            first("errors-change"),
            "slower",
            "equal ones by rate, then by name"
        );
    }

    #[test]
    fn an_estimate_is_marked_and_explained() {
        let mut now = fixtures::figures(4.0, 0.1);
        now.samples = now.count / 10;
        let spark = fixtures::spark();
        let row = Row {
            name: "x",
            now: &now,
            before: None,
            impact: 0.0,
            spark: &spark,
        };
        let page = Page::parse(&html! { tr { (cells(&row, "request")) } }.into_string());
        let rate = page.all("td").next().unwrap();
        assert_eq!(rate.text, "≈\u{a0}4.00/s");
        let title = rate.get("title").unwrap().replace('\u{a0}', " ");
        assert_eq!(title, "1,200 requests, estimated from 1 in 10 on average");
        let text = |now: Figures| footnote([now].iter()).into_string();
        assert!(text(now).contains("≈ is estimated"));
        now.samples = now.count;
        assert!(!text(now).contains('≈') && text(now).contains("within 1.1"));
    }

    #[test]
    fn without_a_window_before_that_is_told() {
        let text = |previous: Option<&Window>| {
            let line = compared(&query(&[]), "/", sorted(&[]), &fixtures::window(), previous);
            let page = Page::parse(&line.into_string());
            (page.text(), page.count("a"))
        };
        let (none, links) = text(None);
        assert!(
            none.contains("What changed is not known") && none.contains("5 min before"),
            "{none}"
        );
        assert_eq!(links, 0);
        let before = Window {
            from: "2026-11-22T15:36:10Z".to_owned(),
            to: "2026-11-22T15:41:20Z".to_owned(),
            seconds: 310.0,
        };
        let (some, links) = text(Some(&before));
        assert!(some.contains("15:36:10 to 15:41:20 UTC"), "{some}");
        assert_eq!(links, 5);
    }
}
