//! The rows of a trace: a span each, with its place in the tree, its name, its badges and its bar, and its details folded
//! into it as far as there is room. Called by the page.

use maud::{Markup, PreEscaped, html};

use super::details::details;
use super::shown::{Asked, Hit, MAX_ROWS, Shown, ShownRow};
use crate::web::charts::waterfall::{bar, gap_class, gap_note};
use crate::web::format::{count, counted, duration};
use crate::web::layout::colour;
use crate::web::timeline::{Outside, Row};

/// Levels that are drawn indented; deeper ones stand below the last.
pub(super) const MAX_INDENT: usize = 16;

/// Details of spans stand in the page up to so many bytes, those of the others come when their row is opened: in the page
/// of a large trace they would be most of what a browser has to read before it shows anything.
const DETAILS_BYTES: usize = 1 << 17;

/// The rows, with as many details as there is room for.
pub(super) fn rows(asked: &Asked<'_>, shown: &Shown<'_>, trace_start: u64) -> Markup {
    let mut room = Some(DETAILS_BYTES);
    let rows = shown.rows.iter().map(|shown| {
        let is_open = asked.open == Some(shown.row.span.span_id.as_str());
        let made = is_open || room.is_some();
        let details = made.then(|| details(shown.row, trace_start).into_string());
        if let Some(details) = &details {
            room = room.and_then(|room| room.checked_sub(details.len()));
        }
        let details = details.filter(|_| is_open || room.is_some());
        span_row(asked, shown, details.map(PreEscaped), is_open)
    });
    html! { @for row in rows { (row) } }
}

/// The way to the rows that the page has no room for.
pub(super) fn other_rows(asked: &Asked<'_>, shown: &Shown<'_>) -> Markup {
    let next = shown.first + shown.rows.len();
    html! {
        @if shown.rows.len() < shown.unfolded {
            p.other-rows {
                "Rows " (count(shown.first as u64 + 1)) " to " (count(next as u64)) " of " (count(shown.unfolded as u64)) ". "
                @if shown.first > 0 { a.button href=(asked.at_row(shown.first.saturating_sub(MAX_ROWS))) { "Earlier rows" } " " }
                @if next < shown.unfolded { a.button href=(asked.at_row(next)) { "Further rows" } }
            }
        }
    }
}

fn span_row(
    asked: &Asked<'_>,
    shown: &ShownRow<'_>,
    details: Option<PreEscaped<String>>,
    is_open: bool,
) -> Markup {
    let row = shown.row;
    let span = row.span;
    let find = asked.find();
    html! {
        details.span.critical-row[span.critical].hit[shown.hit.is_some()] #{ "span-" (span.span_id) } data-key=(span.span_id)
            data-row open[is_open] {
            summary {
                span.tree {
                    @if span.depth > 0 { i.indent.{ "d" (span.depth.min(MAX_INDENT)) } {} }
                    (fold(asked, shown))
                    span.who title=(whole_name(row)) {
                        i.swatch.(colour(&span.service)) {} bdi { (marked(&span.service, find)) }
                        " " bdi.operation { (marked(&span.operation, find)) }
                        @if let Some(target) = &row.target { span.target { " → " bdi { (marked(target, find)) } } }
                    }
                    (badges(row))
                    @if let Some(Hit::Detail(found)) = &shown.hit { span.found { (marked(found, find)) } }
                    // Where there is no room beside the bars, the numbers stand here.
                    span.took {
                        (duration(span.duration))
                        @if let Some(note) = gap_note(row.gap) { span.(gap_class(row.gap)) { (note) } }
                    }
                }
                (bar(row))
            }
            @match details {
                Some(details) => (details),
                None => div.detail { a href=(asked.opened(&span.span_id)) data-more { "Show the details" } },
            }
        }
    }
}

/// The link that folds away what is below a row, or shows it again.
fn fold(asked: &Asked<'_>, shown: &ShownRow<'_>) -> Markup {
    let below = counted(shown.below as u64, "span");
    let (mark, what) = if shown.folded {
        ("▸", "Show the ")
    } else {
        ("▾", "Fold the ")
    };
    html! {
        @if shown.below == 0 { i.fold {} }
        @else {
            a.fold href=(asked.toggled(&shown.row.span.span_id)) data-go aria-expanded=(!shown.folded)
                aria-label={ (what) (below) " below" } title={ (what) (below) " below" } { (mark) }
        }
        @if shown.folded { span.folded { "+" (count(shown.below as u64)) } }
    }
}

/// A text in which what is looked for is marked.
fn marked(text: &str, find: Option<&str>) -> Markup {
    let needle = find.unwrap_or_default();
    // Letters of ASCII alone, for lower case of others may be of another length.
    let found = text
        .to_ascii_lowercase()
        .find(&needle.to_ascii_lowercase())
        .filter(|_| !needle.is_empty());
    let split = found.and_then(|at| {
        let (before, rest) = text.split_at_checked(at)?;
        let (found, after) = rest.split_at_checked(needle.len())?;
        Some((before, found, after))
    });
    html! {
        @if let Some((before, found, after)) = split { (before) mark { (found) } (after) }
        @else { (text) }
    }
}

/// Service, operation and, of a call, whom it goes to.
fn whole_name(row: &Row<'_>) -> String {
    let mut name = format!("{} {}", row.span.service, row.span.operation);
    if let Some(target) = &row.target {
        name.push_str(" → ");
        name.push_str(target);
    }
    name
}

fn badges(row: &Row<'_>) -> Markup {
    html! {
        @if row.span.status == "error" { span.badge.bad { "error" } }
        @if row.parent_missing { span.badge.warn title="It names a parent span that has not come" { "parent missing" } }
        @match row.outside {
            Some(Outside::Before(by)) => {
                span.badge.warn title={ "It starts " (duration(by)) " before its parent: their clocks differ" } { "clock differs" }
            }
            Some(Outside::After(by)) => {
                span.badge.warn title={
                    "It ends " (duration(by)) " after its parent: their clocks differ, or the parent did not wait for it"
                } { "outside parent" }
            }
            None => {}
        }
    }
}
