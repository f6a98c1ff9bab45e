//! The table of a service's operations. Called by the page of the service.

use maud::{Markup, html};

use super::charts::bars::bar;
use super::columns::{Column, Row, Sorting, cells, footnote, heading, headings};
use super::empty;
use super::format::{NONE, ratio};
use super::layout::{overflow_note, service_path};
use super::query::PageQuery;
use crate::views::report::OperationReport;

/// The operations that the filter leaves, sorted; by impact, what costs the service most stands first, and what it calls,
/// which has no impact of its own, by rate.
pub(super) fn section(
    query: &PageQuery,
    service: &str,
    sorting: Sorting,
    operations: &[OperationReport],
) -> Markup {
    let path = service_path(service);
    let needle = query.get("q").unwrap_or_default().to_lowercase();
    let mut rows: Vec<&OperationReport> = operations
        .iter()
        .filter(|row| row.operation.to_lowercase().contains(&needle))
        .collect();
    rows.sort_by(|a, b| sorting.compare(&Row::of_operation(a), &Row::of_operation(b)));
    html! {
        section {
            h2 { "Operations" }
            div.scroll {
                table.rows.figures-table #operations {
                    caption.sr { "Operations" }
                    thead { tr {
                        (heading(query, &path, sorting, Column::Name, "Operation"))
                        th scope="col" { "Kind" }
                        (headings(Some((query, &path, sorting))))
                        (heading(query, &path, sorting, Column::Impact, "Impact"))
                    } }
                    tbody { @for row in &rows { (operation_row(query, service, row)) } }
                }
            }
            @if rows.is_empty() {
                (empty::filter_hides_all(query, &path, operations.len(), "operation"))
            } @else {
                (footnote(rows.iter().map(|row| &row.now)))
            }
            (overflow_note(rows.iter().map(|row| row.operation.as_str())))
        }
    }
}

fn operation_row(query: &PageQuery, service: &str, row: &OperationReport) -> Markup {
    let link = query.link_elsewhere(
        "/traces",
        &[
            ("service", Some(service)),
            ("operation", Some(&row.operation)),
            ("order", Some("slowest")),
        ],
    );
    let over_time = query.link(
        &service_path(service),
        &[("operation", Some(&row.operation))],
    );
    html! {
        tr data-key={ (row.kind) " " (row.operation) } data-row data-text=(row.operation.to_lowercase()) {
            th.name scope="row" { a href=(link) title=(row.operation) { bdi { (row.operation) } } }
            td {
                span.kind { (row.kind) } " "
                a.over-time href={ (over_time) "#heatmap" } title="Its latency over time" { "over time" }
            }
            (cells(&Row::of_operation(row), "span"))
            td.wide title="Share of the time of the service's entry spans" {
                @if row.impact > 0.0 {
                    div.measure { (bar(row.impact, "impact", &format!("impact {}", ratio(row.impact)))) span { (ratio(row.impact)) } }
                } @else { span.muted { (NONE) } }
            }
        }
    }
}

impl<'a> Row<'a> {
    fn of_operation(operation: &'a OperationReport) -> Self {
        Self {
            name: &operation.operation,
            now: &operation.now,
            before: operation.previous.as_ref(),
            impact: operation.impact,
            spark: &operation.spark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::{Page, drawn};

    fn show(pairs: &[(&str, &str)]) -> Page {
        let query = fixtures::query(pairs);
        let sorting = Sorting::read(&query, Column::Impact).unwrap();
        let section = section(&query, "checkout", sorting, &fixtures::operations());
        drawn(&section)
    }

    fn names(page: &Page) -> Vec<&str> {
        let rows = page.all("tr").filter_map(|tr| tr.get("data-key"));
        rows.collect()
    }

    #[test]
    fn operations_stand_by_impact_with_their_bar() {
        let page = show(&[]);
        let first = [
            "server POST /orders",
            &format!("server {}", fixtures::HOSTILE),
        ];
        assert_eq!(names(&page)[..2], first);
        let widths: Vec<_> = page
            .class("impact")
            .filter_map(|rect| rect.get("width"))
            .collect();
        assert_eq!(widths, ["80.000%", "20.000%"]);
        let text = page.text();
        assert!(text.contains("80.0 %"), "the bar's number is in the table");
        assert!(text.contains("p99.9") && text.contains("108 ms"), "{text}");
        assert_eq!(page.count("script"), 0);
    }

    #[test]
    fn they_are_sorted_and_filtered_as_asked() {
        let page = show(&[("sort", "name"), ("dir", "desc")]);
        assert_eq!(names(&page)[0], "client SELECT orders");
        let headings = page
            .all("th")
            .filter_map(|th| Some((th.text.as_str(), th.get("aria-sort")?)));
        assert_eq!(headings.collect::<Vec<_>>(), [("Operation", "descending")]);
        let link = page.all("a").find(|link| link.text == "p95").unwrap();
        assert_eq!(
            link.get("href"),
            Some("/services/checkout?sort=p95&dir=desc")
        );
        assert_eq!(names(&show(&[("q", "select")])), ["client SELECT orders"]);
    }
}
