//! The table of edges beside the map: a row for each, sorted as its headings say, and what its counts mean. Called by the
//! pages of the map and of an edge.

use std::cmp::Ordering;

use maud::{Markup, html};

use super::change::{Change, shown};
use super::charts::bars::{Part, stack};
use super::charts::graph::why_no_gap;
use super::columns::{about, told, what_is_estimated};
use super::edge_change::{Before, Percentile, SORTS};
use super::format::{count, counted, maybe_duration, rate, ratio};
use super::layout::{colour, edge_path, error_ratio, service_name, sort_heading};
use super::query::{BadParameter, Direction, PageQuery};
use crate::views::report::Edge;

/// What failed calls are.
pub(super) const ERRORS: &str = "Client spans that failed, as the caller saw it: by the HTTP conventions an answer of 4xx fails its caller, but not the service that gave it.";

/// The sorts of calls, and what they mean.
pub(super) const COUNTS: [(&str, &str); 5] = [
    (
        "paired",
        "The client's and the server's span of the same call both came: its gap is known.",
    ),
    (
        "unpaired",
        "Only the client's span came: the server sends no spans, sends them elsewhere, was never reached, or sampled differently.",
    ),
    (
        "negative",
        "The server's span lasts longer than the client's: the client stopped waiting, the server worked on after its answer, or the two are no pair. Not in the gap.",
    ),
    (
        "retried",
        "Several server spans under one client span: hidden retries or a fan-out. Not in the gap.",
    ),
    (
        "async",
        "Messages: the consumer takes them when it can, so there is no time on the network to tell. Not in the gap.",
    ),
];

/// An edge's counts in the order of [`COUNTS`].
pub(super) fn counts(edge: &Edge) -> [u64; 5] {
    [
        edge.paired,
        edge.unpaired,
        edge.negative,
        edge.retried,
        edge.asynchronous,
    ]
}

type Key = fn(&Edge, &Edge) -> Ordering;

/// How the rows are sorted.
#[derive(Clone, Copy)]
pub(super) struct Sorting {
    column: &'static str,
    by: By,
    direction: Direction,
}

/// What rows are sorted by.
#[derive(Clone, Copy)]
enum By {
    Column(Key),
    /// By how much the gap has grown.
    Change(Percentile),
}

/// A column that rows can be sorted by.
struct Column {
    name: &'static str,
    label: &'static str,
    class: &'static str,
    key: Key,
}

const fn column(name: &'static str, label: &'static str, class: &'static str, key: Key) -> Column {
    Column {
        name,
        label,
        class,
        key,
    }
}

/// In their order; the share of the gap stands after its percentiles.
const COLUMNS: [Column; 18] = [
    column("client", "Client", "", |a, b| a.client.cmp(&b.client)),
    column("server", "Server", "", |a, b| a.server.cmp(&b.server)),
    column("rate", "Rate", "", |a, b| a.rate.total_cmp(&b.rate)),
    column("errors", "Errors", "", |a, b| {
        a.error_ratio.total_cmp(&b.error_ratio)
    }),
    column("gap_p50", "p50", "gap first", |a, b| {
        known(gap(a)[0], gap(b)[0])
    }),
    column("gap_p90", "p90", "gap", |a, b| known(gap(a)[1], gap(b)[1])),
    column("gap_p99", "p99", "gap", |a, b| known(gap(a)[2], gap(b)[2])),
    column("client_p50", "p50", "first", |a, b| {
        known(a.client_p50, b.client_p50)
    }),
    column("client_p90", "p90", "", |a, b| {
        known(a.client_p90, b.client_p90)
    }),
    column("client_p99", "p99", "", |a, b| {
        known(a.client_p99, b.client_p99)
    }),
    column("server_p50", "p50", "first", |a, b| {
        known(a.server_p50, b.server_p50)
    }),
    column("server_p90", "p90", "", |a, b| {
        known(a.server_p90, b.server_p90)
    }),
    column("server_p99", "p99", "", |a, b| {
        known(a.server_p99, b.server_p99)
    }),
    column("paired", "paired", "first", |a, b| a.paired.cmp(&b.paired)),
    column("unpaired", "unpaired", "", |a, b| {
        a.unpaired.cmp(&b.unpaired)
    }),
    column("negative", "negative", "", |a, b| {
        a.negative.cmp(&b.negative)
    }),
    column("retried", "retried", "", |a, b| a.retried.cmp(&b.retried)),
    column("async", "async", "", |a, b| {
        a.asynchronous.cmp(&b.asynchronous)
    }),
];

impl Sorting {
    /// `sort` and `dir`; the widest gap first when nothing is said.
    ///
    /// # Errors
    /// What is no column, or no direction.
    pub(super) fn read(query: &PageQuery) -> Result<Self, BadParameter> {
        let columns = COLUMNS.iter();
        let columns = columns.map(|column| (column.name, By::Column(column.key)));
        let changes = SORTS.map(|(name, percentile, _)| (name, By::Change(percentile)));
        let choices = columns.chain(changes).map(|(name, by)| (name, (name, by)));
        let choices: Vec<_> = choices.collect();
        let default = ("gap_p99", By::Column(|a, b| known(gap(a)[2], gap(b)[2])));
        let allowed = "say client, server, rate, errors, gap_p50 and so on, a sort of calls such as unpaired, or what \
                       changed: gap_p50-change or gap_p99-change";
        let (column, by) = query.choice("sort", &choices, default, allowed)?;
        let names = ["client", "server"];
        let direction = query.direction(if names.contains(&column) {
            Direction::Ascending
        } else {
            Direction::Descending
        })?;
        Ok(Self {
            column,
            by,
            direction,
        })
    }

    /// The percentile whose change they are sorted by.
    pub(super) fn by_change(&self) -> Option<Percentile> {
        match self.by {
            By::Column(_) => None,
            By::Change(percentile) => Some(percentile),
        }
    }

    /// Sorts them; equal ones by name.
    pub(super) fn sort(&self, edges: &mut [&Edge], before: &Before<'_>) {
        let size = |percentile, edge: &Edge| {
            let change = before.change(percentile, edge);
            change.map_or(0.0, |change| change.size)
        };
        edges.sort_by(|a, b| {
            let by_name = (&a.client, &a.server).cmp(&(&b.client, &b.server));
            let order = match self.by {
                By::Column(key) => key(a, b),
                By::Change(percentile) => size(percentile, a).total_cmp(&size(percentile, b)),
            };
            self.direction.apply(order).then(by_name)
        });
    }
}

/// Measured, or told where no server span came: p50, p90, p99.
fn gap(edge: &Edge) -> [Option<f64>; 3] {
    if edge.gap_p50.is_some() {
        [edge.gap_p50, edge.gap_p90, edge.gap_p99]
    } else {
        [edge.told_gap_p50, edge.told_gap_p90, edge.told_gap_p99]
    }
}

fn known(a: Option<f64>, b: Option<f64>) -> Ordering {
    a.unwrap_or(-1.0).total_cmp(&b.unwrap_or(-1.0))
}

/// What a filter looks for in an edge, in lower case.
pub(super) fn text_of(edge: &Edge) -> String {
    format!("{} → {}", edge.client, edge.server).to_lowercase()
}

/// The table, in the order of the edges.
pub(super) fn table(
    query: &PageQuery,
    sorting: Sorting,
    edges: &[&Edge],
    before: &Before<'_>,
) -> Markup {
    html! {
        div.scroll {
            table.rows.edges #edges {
                caption.sr { "Edges: who calls whom" }
                thead {
                    tr.groups {
                        th colspan="4" {}
                        th.gap colspan="3" scope="colgroup" { "Network gap" }
                        th scope="col" {}
                        th colspan="3" scope="colgroup" { "Seen by the client" }
                        th colspan="3" scope="colgroup" { "Seen by the server" }
                        th colspan="5" scope="colgroup" { "Calls" }
                    }
                    (headings(query, sorting))
                }
                tbody { @for edge in edges { (row(query, edge, before)) } }
            }
        }
        @if edges.iter().any(|edge| !about(edge.count, edge.samples).is_empty()) {
            p.muted.footnote { (what_is_estimated()) }
        }
    }
}

fn headings(query: &PageQuery, sorting: Sorting) -> Markup {
    let sorted = (sorting.column, sorting.direction);
    html! {
        tr {
            @for (index, column) in COLUMNS.iter().enumerate() {
                (sort_heading(query, "/map", (column.name, column.label), sorted, index >= 2, column.class))
                @if column.name == "gap_p99" { th.share scope="col" title="Gap p50 against client p50" { "Share" } }
            }
        }
    }
}

fn row(query: &PageQuery, edge: &Edge, before: &Before<'_>) -> Markup {
    let link = edge_path(query, &edge.client, &edge.server);
    html! {
        tr data-key={ (edge.client) " → " (edge.server) } data-row data-text=(text_of(edge)) {
            th.name scope="row" { a.service href=(link) title=(edge.client) { (service_name(&edge.client)) } }
            td.name { a.service href=(link) title=(edge.server) tabindex="-1" { (service_name(&edge.server)) } }
            td.num title=(told(edge.count, edge.samples, "call")) { (about(edge.count, edge.samples)) (rate(edge.rate)) }
            td.num title=(ERRORS) { (error_ratio(edge.error_ratio)) }
            (gap_cells(edge, before))
            td.num.first { (maybe_duration(edge.client_p50)) }
            td.num { (maybe_duration(edge.client_p90)) }
            td.num { (maybe_duration(edge.client_p99)) }
            td.num.first { (maybe_duration(edge.server_p50)) }
            td.num { (maybe_duration(edge.server_p90)) }
            td.num { (maybe_duration(edge.server_p99)) }
            @for (index, number) in counts(edge).into_iter().enumerate() {
                td.num.first[index == 0].muted[number == 0] { (count(number)) }
            }
        }
    }
}

fn gap_cells(edge: &Edge, before: &Before<'_>) -> Markup {
    let [p50, p90, p99] = gap(edge);
    let changed = |percentile| beside(before.change(percentile, edge));
    html! {
        @if p50.is_some() {
            td.num.gap.first { (maybe_duration(p50)) (changed(Percentile::P50)) }
            td.num.gap { (maybe_duration(p90)) }
            td.num.gap.strong { (maybe_duration(p99)) (changed(Percentile::P99)) }
            @if edge.gap_p50.is_some() { td.share { (share(edge)) } }
            @else {
                td.muted title={ (counted(edge.told, "call")) " whose server told its own time" } { "told by server" }
            }
        } @else {
            td.muted.first colspan="4" { (why_no_gap(edge)) }
        }
    }
}

fn beside(change: Option<Change>) -> Markup {
    html! { @if let Some(change) = change { " " (shown(&change)) } }
}

/// How much of the median call is network.
fn share(edge: &Edge) -> Markup {
    let (Some(gap), Some(client)) = (edge.gap_p50, edge.client_p50) else {
        return html! {};
    };
    let share = if client > 0.0 {
        (gap / client).min(1.0)
    } else {
        0.0
    };
    let parts = [
        Part {
            share: 1.0 - share,
            class: format!("work {}", colour(&edge.server)),
        },
        Part {
            share,
            class: "network".to_owned(),
        },
    ];
    html! {
        div.measure { (stack(&parts, &format!("network: {} of the median call", ratio(share)))) span { (ratio(share)) } }
    }
}

/// What the counts mean.
pub(super) fn meaning() -> Markup {
    html! {
        dl.meaning {
            dt { "errors" } dd { (ERRORS) }
            @for (name, meaning) in COUNTS { dt { (name) } dd { (meaning) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::{Page, drawn};

    fn show(edges: &[&Edge]) -> Page {
        let query = PageQuery::default();
        let sorting = Sorting::read(&query).unwrap();
        drawn(&table(&query, sorting, edges, &Before::of(None)))
    }

    /// The rates of the rows, and what is said of them.
    fn rates(page: &Page) -> Vec<(String, String)> {
        let cells = page.all("td").filter_map(|cell| {
            let told = cell.get("title")?;
            told.contains("call").then_some((&cell.text, told))
        });
        let plain = |text: &str| text.replace('\u{a0}', " ");
        let told = cells.filter(|(_, told)| !told.starts_with("Client"));
        told.map(|(rate, told)| (plain(rate), plain(told)))
            .collect()
    }

    #[test]
    fn what_is_estimated_is_marked_and_explained() {
        let counted = fixtures::edge("gateway", "checkout");
        let mut estimated = fixtures::edge("checkout", "stock");
        estimated.samples = 90;
        let page = show(&[&counted, &estimated]);
        let own = |rate: &str, told: &str| (rate.to_owned(), told.to_owned());
        let want = [
            own("3.00/s", "900 calls"),
            own("≈ 3.00/s", "900 calls, estimated from 1 in 10 on average"),
        ];
        assert_eq!(rates(&page), want);
        assert!(page.text().contains("≈ is estimated"), "{}", page.text());
        let text = show(&[&counted]).text();
        assert!(!text.contains('≈'), "{text}");
    }
}
