//! Span names without bound: what comes of them is bounded, adds up, and is told.

use opentelemetry_proto::tonic::trace::v1::Span;

use super::{SECOND, Subject, is_full, minutes_ago, request};

const SPANS_A_REQUEST: u64 = 500;

/// A SERVER span with a name of its own.
fn span(number: u64, at: u64) -> Span {
    Span {
        trace_id: u128::from(number + 1).to_be_bytes().into(),
        span_id: (number + 1).to_be_bytes().into(),
        kind: 2,
        name: format!("GET /orders/{number}"),
        start_time_unix_nano: at,
        end_time_unix_nano: at + 1_000_000,
        ..Span::default()
    }
}

#[test]
fn a_million_names_take_no_more_than_a_few_and_are_told() {
    let names: u64 = if is_full() { 1_000_000 } else { 40_000 };
    let subject = Subject::new();
    let begun = minutes_ago(1);
    let mut early = 0;
    for number in (0..names).step_by(SPANS_A_REQUEST as usize) {
        // All of them within half a minute.
        let at = begun + number * 30 * SECOND / names;
        let spans = (number..number + SPANS_A_REQUEST).map(|number| span(number, at));
        subject.take(&request([("shop".to_owned(), spans.collect())]), at);
        if number == names / 10 {
            early = subject.views.status().bytes;
        }
    }
    let told = subject.ask("/api/v1/services/shop/operations?window=5m");
    let rows = told["items"].as_array().unwrap();
    let counts = rows.iter().map(|row| row["count"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), names, "each span is counted once");
    let other = rows
        .iter()
        .find(|row| row["operation"] == "(other operations)");
    let other = other.unwrap()["count"].as_u64().unwrap();
    assert_eq!(
        rows.len() as u64 - 1,
        names - other,
        "the others have a row each"
    );
    assert!(rows.len() <= 201, "{}", rows.len());
    let status = subject.ask("/api/v1/status");
    let views = &status["views"];
    assert_eq!(views["spans_in_overflow_operations"], other);
    let bytes = views["bytes"].as_u64().unwrap();
    assert!(
        bytes < early as u64 + (256 << 10) && bytes < 8 << 20,
        "{bytes} bytes, {early} after a tenth of the names"
    );
    let page = subject.text("/services/shop?window=5m");
    assert!(
        page.contains("(other operations)")
            && page.contains("after the limit on different names was reached"),
        "{page}"
    );
}
