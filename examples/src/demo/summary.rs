//! What the demo prints of the collector's answers: the live line and the closing tables.

use std::fmt::Write;

use super::collector::{Edge, Service};

/// `services 5 · 96 req/s · slowest p99 190 ms (api) · errors 1.2 %`
pub(super) fn line(services: &[Service]) -> String {
    let rate: f64 = services.iter().map(|service| service.rate).sum();
    let failed: f64 = services
        .iter()
        .map(|service| service.rate * service.error_ratio)
        .sum();
    let slowest = services
        .iter()
        .max_by(|a, b| a.p99.unwrap_or(0.0).total_cmp(&b.p99.unwrap_or(0.0)));
    let slowest = slowest.map_or_else(String::new, |service| {
        format!(
            " · slowest p99 {} ({})",
            milliseconds(service.p99),
            service.service
        )
    });
    let errors = if rate > 0.0 {
        failed / rate * 100.0
    } else {
        0.0
    };
    format!(
        "services {} · {rate:.0} req/s{slowest} · errors {errors:.1} %",
        services.len()
    )
}

/// Services, then the edges between them.
pub(super) fn tables(services: &[Service], edges: &[Edge], answered: u64) -> String {
    let mut text = format!("{answered} requests answered.\n\n");
    let rows = services.iter().map(|s| {
        [
            s.service.clone(),
            s.count.to_string(),
            format!("{:.1} %", s.error_ratio * 100.0),
            milliseconds(s.p50),
            milliseconds(s.p99),
        ]
    });
    table(
        &mut text,
        ["service", "requests", "errors", "p50", "p99"],
        rows,
    );
    text.push('\n');
    let rows = edges.iter().map(|e| {
        [
            format!("{} -> {}", e.client, e.server),
            e.count.to_string(),
            format!(
                "{} / {}",
                milliseconds(e.client_p50),
                milliseconds(e.server_p50)
            ),
            milliseconds(e.gap_p50),
            milliseconds(e.gap_p99),
        ]
    });
    table(
        &mut text,
        [
            "between services",
            "calls",
            "client / server p50",
            "gap p50",
            "gap p99",
        ],
        rows,
    );
    text
}

fn table<const N: usize>(
    text: &mut String,
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let rows: Vec<[String; N]> = std::iter::once(header.map(str::to_owned))
        .chain(rows)
        .collect();
    let width = |column: usize| {
        rows.iter()
            .map(|r| r[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Writing to a String cannot fail.
            let _ = match column {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
}

fn milliseconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(
        || "-".to_owned(),
        |seconds| format!("{:.2} ms", seconds * 1e3),
    )
}
