//! `GET /traces/{trace_id}`: one trace: the tree on the left, bars on one axis of time on the right, every
//! span's details folded into its row.

mod details;
mod shown;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, PreEscaped, html};

use self::details::{details, text};
use self::shown::{Asked, Hit, MAX_ROWS, Shown, ShownRow};
use super::charts::bars::{Part, stack};
use super::charts::overview::overview;
use super::charts::waterfall::{axis, bar, gap_class, gap_note};
use super::format::{NONE, count, counted, duration, ratio, shorten, utc};
use super::layout::{Frame, Tab, colour, figure, page as frame_page, service_name};
use super::query::{BadParameter, PageQuery};
use super::timeline::{Gap, Outside, Row, Spent, Timeline};
use super::trace_link::TraceLink;
use super::{Web, layout, rendered};
use crate::views::report::Trace;

/// Levels that are drawn indented; deeper ones stand below the last.
const MAX_INDENT: usize = 16;

/// Warnings that are not folded.
const OPEN_WARNINGS: usize = 4;

/// Details of spans stand in the page up to so many bytes, those of the others are a click away.
const DETAILS_BYTES: usize = 1 << 20;

/// The handler.
pub(super) async fn page(
    State(web): State<Web>,
    Path(trace_id): Path<String>,
    query: PageQuery,
) -> Response {
    let Some(id) = parse_trace_id(&trace_id) else {
        return layout::failure(
            StatusCode::BAD_REQUEST,
            "This is no trace id",
            &format!(
                "{:?} is not 32 hexadecimal digits, not all of them zero.",
                shorten(&trace_id, 80)
            ),
        );
    };
    rendered(move || {
        let Some(trace) = web.views.trace(id) else {
            return Ok(not_kept(&web.trace_links, &trace_id.to_lowercase()));
        };
        let root = trace.spans.first();
        let title = root.map(|root| format!("{} {}", root.service, root.operation));
        let frame = Frame {
            title: title.as_deref().unwrap_or("Trace"),
            tab: Tab::Traces,
            live: None,
            query: &query,
        };
        let main = content(&query, &trace, &web.trace_links)?;
        Ok(frame_page(&frame, &main).into_response())
    })
    .await
}

fn not_kept(links: &[TraceLink], trace_id: &str) -> Response {
    let why = html! {
        p {
            "Kept are the newest, the slowest and the failed ones of every operation, and a random sample of all, as far as "
            "memory allows. It may also not have come yet: reload in a moment."
        }
        @if !links.is_empty() { p { "Look for it " (elsewhere(links, trace_id)) "." } }
    };
    layout::failure_with(StatusCode::NOT_FOUND, "This trace is not kept", &why)
}

/// Links to the trace with this id elsewhere.
fn elsewhere(links: &[TraceLink], trace_id: &str) -> Markup {
    html! {
        "in "
        @for (index, link) in links.iter().enumerate() {
            @if index > 0 { ", " }
            a.elsewhere href=(link.url(trace_id)) rel="noopener noreferrer" target="_blank" { bdi { (link.name()) } " ↗" }
        }
    }
}

/// 32 hex digits, in either case, not all zero (W3C Trace Context §3.2.2.3).
fn parse_trace_id(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(text, 16).ok()?;
    (number != 0).then(|| number.to_be_bytes())
}

fn content(query: &PageQuery, trace: &Trace, links: &[TraceLink]) -> Result<Markup, BadParameter> {
    let asked = Asked::read(query, format!("/traces/{}", trace.trace_id))?;
    let timeline = Timeline::new(trace);
    let shown = asked.choose(&timeline.rows);
    Ok(html! {
        (heading(trace, links))
        (figures(trace, &timeline))
        (warnings(&trace.warnings))
        (spent(&timeline))
        (overview(&timeline))
        (legend())
        (tools(&asked, &shown, timeline.rows.len()))
        div.waterfall #spans {
            div.axis-row { span { "Span" } (axis(timeline.seconds)) }
            (rows(&asked, &shown, timeline.start_unix_nano))
        }
        (other_rows(&asked, &shown))
    })
}

/// What is looked for in the trace, and everything folded or unfolded at once.
fn tools(asked: &Asked<'_>, shown: &Shown<'_>, spans: usize) -> Markup {
    html! {
        div.trace-tools {
            form.find role="search" method="get" data-find {
                @for (name, value) in asked.kept() { input type="hidden" name=(name) value=(value); }
                input #filter type="search" name="find" placeholder="Find in this trace  /" aria-label="Find in this trace"
                    autocomplete="off" value=(asked.find().unwrap_or_default());
            }
            span.hits role="status" {
                @match (shown.hits, shown.first_hit) {
                    (Some(hits), Some((id, number))) => {
                        (count(hits as u64)) " of " (counted(spans as u64, "span")) " match"
                        @if hits == 1 { "es" }
                        // Its page may be another one.
                        " " a.button href={ (asked.at_row(number / MAX_ROWS * MAX_ROWS)) "#span-" (id) } data-step="1" { "Next" }
                        " " button.js-only type="button" data-step="-1" { "Previous" }
                    }
                    (Some(_), None) => { "No span has it in its name, its attributes or its events" }
                    (None, _) => {}
                }
            }
            span.fold-all {
                a href=(asked.all_folded(true)) data-go data-key="[" { "Fold all" } " "
                a href=(asked.all_folded(false)) data-go data-key="]" { "Unfold all" }
            }
        }
    }
}

/// The rows, with as many details as there is room for.
fn rows(asked: &Asked<'_>, shown: &Shown<'_>, trace_start: u64) -> Markup {
    let mut room = DETAILS_BYTES;
    let rows = shown.rows.iter().map(|shown| {
        let id = shown.row.span.span_id.as_str();
        let is_open = asked.open == Some(id);
        let details = details(shown.row, trace_start).into_string();
        let left = room.checked_sub(details.len());
        room = left.unwrap_or(room);
        let details = (is_open || left.is_some()).then_some(PreEscaped(details));
        span_row(asked, shown, details, is_open)
    });
    html! { @for row in rows { (row) } }
}

/// The way to the rows that the page has no room for.
fn other_rows(asked: &Asked<'_>, shown: &Shown<'_>) -> Markup {
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

/// The first few at a glance, the others folded.
fn warnings(warnings: &[String]) -> Markup {
    let (first, others) = warnings.split_at(warnings.len().min(OPEN_WARNINGS));
    html! {
        @if !first.is_empty() {
            div.warnings role="note" {
                ul { @for warning in first { li { (warning) } } }
                @if !others.is_empty() {
                    details {
                        summary { (counted(others.len() as u64, "more warning")) }
                        ul { @for warning in others { li { (warning) } } }
                    }
                }
            }
        }
    }
}

fn heading(trace: &Trace, links: &[TraceLink]) -> Markup {
    let root = trace.spans.first();
    html! {
        div.heading {
            h1 {
                @if let Some(root) = root { (service_name(&root.service)) " " bdi.operation { (root.operation) } }
                @else { "Trace" }
            }
        }
        p.ids {
            "trace " code #trace-id { (trace.trace_id) }
            " " button.js-only type="button" data-copy="trace-id" { "Copy" }
            " " a href={ "/api/v1/traces/" (trace.trace_id) } { "JSON" }
            @if !links.is_empty() { " · the same " (elsewhere(links, &trace.trace_id)) }
        }
    }
}

fn figures(trace: &Trace, timeline: &Timeline<'_>) -> Markup {
    let failed = trace
        .spans
        .iter()
        .filter(|span| span.status == "error")
        .count();
    let services: std::collections::BTreeSet<&str> = trace
        .spans
        .iter()
        .map(|span| span.service.as_str())
        .collect();
    let calls = timeline
        .rows
        .iter()
        .filter(|row| matches!(row.gap, Gap::Known { .. }))
        .count();
    let bad = if failed > 0 { "bad" } else { "" };
    let network = if calls > 0 {
        duration(timeline.network_seconds)
    } else {
        NONE.to_owned()
    };
    html! {
        dl.figures {
            (figure("Duration", &duration(trace.duration), "", &html! { (utc(timeline.start_unix_nano)) " UTC" }))
            (figure("Network gap", &network, "gap", &html! {
                "summed over " (counted(calls as u64, "call")) " with both sides"
            }))
            (figure("Spans", &count(trace.spans.len() as u64), "", &html! { (counted(services.len() as u64, "service")) }))
            (figure("Failed spans", &count(failed as u64), bad, &html! {}))
        }
    }
}

/// Where the time of the critical path went, as one bar and in words.
fn spent(timeline: &Timeline<'_>) -> Markup {
    let spent: &[Spent<'_>] = &timeline.spent;
    let clocks_differ = timeline
        .rows
        .iter()
        .any(|row| matches!(row.outside, Some(Outside::Before(_))));
    let parts: Vec<Part> = spent
        .iter()
        .map(|part| Part {
            share: part.share,
            class: part.service.map_or_else(
                || "network".to_owned(),
                |name| format!("work {}", colour(name)),
            ),
        })
        .collect();
    html! {
        @if !spent.is_empty() {
            section.spent {
                h2 { "Where the time went" }
                @if clocks_differ { p.warn { "Clocks differ in this trace, so these shares are rough; the network gap of each call is right." } }
                (stack(&parts, "share of the critical path by service and network"))
                ul {
                    @for part in spent {
                        li {
                            @if let Some(name) = part.service { (service_name(name)) }
                            @else { i.swatch.network {} b.gap { "network" } }
                            " " span.num { (duration(part.seconds)) } " " span.muted { (ratio(part.share)) }
                        }
                    }
                }
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        p.legend {
            span { i.key.network {} " network gap of a call" }
            span { i.key.critical-key {} " critical path" }
            span { i.key.failed-key {} " failed" }
            span { "A bar has the colour of its service. Open a row for attributes, events and links." }
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
                None => div.detail { p { a href=(asked.opened(&span.span_id)) data-go data-more { "Show the details" } } },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::{Page, assert_drawable};

    fn show(trace: &Trace) -> Page {
        show_asked(trace, &[])
    }

    fn show_asked(trace: &Trace, pairs: &[(&str, &str)]) -> Page {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let links = ["Jaeger=http://jaeger.example/trace/{trace_id}"
            .parse()
            .unwrap()];
        let main = content(&PageQuery::new(owned.collect()), trace, &links).unwrap();
        let page = Page::parse(&html! { main { (main) } }.into_string());
        assert_drawable(&page);
        page
    }

    #[test]
    fn every_span_has_one_row_with_a_bar_and_details() {
        let page = show(&fixtures::trace());
        assert_eq!(page.class("span").count(), 3);
        assert_eq!(page.class("span-bar").count(), 3);
        assert_eq!(page.class("critical-row").count(), 3);
        let text = page.text();
        for part in [
            "card declined",
            "http.response.status_code",
            "502",
            "exception.type",
            "Resource",
        ] {
            assert!(text.contains(part), "{part}");
        }
        assert!(text.contains("clock skew of <1 ms>"));
        assert!(text.contains("↔ gap 10.0 ms"));
        assert_eq!(page.count("script"), 0);
        assert!(page.texts("bdi").contains(&fixtures::HOSTILE.to_owned()));
    }

    #[test]
    fn a_call_says_where_it_goes() {
        let page = show(&fixtures::trace());
        let targets: Vec<_> = page
            .class("target")
            .map(|target| target.text.clone())
            .collect();
        assert_eq!(targets, [" → checkout"]);
        let titles: Vec<_> = page
            .class("who")
            .filter_map(|who| who.get("title"))
            .collect();
        assert_eq!(titles[1], "gateway client of gateway → checkout");
    }

    #[test]
    fn failures_and_missing_parents_are_told_in_words() {
        let mut trace = fixtures::trace();
        trace
            .spans
            .push(fixtures::span("x", Some("gone"), "lost", "internal", 0, 5));
        let badges: Vec<_> = show(&trace)
            .class("badge")
            .map(|badge| badge.text.clone())
            .collect();
        assert_eq!(badges, ["error", "parent missing"]);
    }

    #[test]
    fn many_warnings_are_folded_not_lost() {
        let mut trace = fixtures::trace();
        trace.warnings = (0..9).map(|index| format!("warning {index}")).collect();
        let page = show(&trace);
        assert!(page.text().contains("5 more warnings") && page.text().contains("warning 8"));
    }

    #[test]
    fn the_time_spent_sums_to_the_whole() {
        let page = show(&fixtures::trace());
        let section = page
            .class("spent")
            .next()
            .unwrap()
            .text
            .replace('\u{a0}', " ");
        for part in [
            "checkout 50.0 ms 50.0 %",
            "gateway 40.0 ms 40.0 %",
            "network 10.0 ms 10.0 %",
        ] {
            assert!(section.contains(part), "{part} in {section}");
        }
    }

    #[test]
    fn an_empty_trace_and_a_deep_one_are_pages_too() {
        let mut trace = fixtures::trace();
        trace.spans.clear();
        trace.critical_path.clear();
        show(&trace);
        for depth in 0..2000_usize {
            let mut span = fixtures::span(&format!("{depth:016x}"), None, "deep", "internal", 0, 9);
            span.depth = depth;
            span.span_id = format!("{depth:016x}");
            trace.spans.push(span);
        }
        let page = show(&trace);
        assert_eq!(page.class("span").count(), 2000);
        let deepest = format!("d{MAX_INDENT}");
        assert_eq!(page.class(&deepest).count(), 2000 - MAX_INDENT);
        assert!(include_str!("assets/bellwether.css").contains(&format!(".{deepest} ")));
    }

    /// A root with three children of three children each, and a root beside it.
    fn tree() -> Trace {
        let mut trace = fixtures::trace();
        trace.spans.clear();
        trace.critical_path.clear();
        let depths = [0, 1, 2, 2, 2, 1, 2, 2, 2, 1, 2, 2, 2, 0];
        for (number, depth) in (1..).zip(depths) {
            let id = format!("{number:016x}");
            let mut span = fixtures::span(&id, None, "shop", "internal", 0, 9);
            span.depth = depth;
            span.operation = format!("step {number}");
            trace.spans.push(span);
        }
        trace
    }

    /// The numbers of the rows that are shown.
    fn rows_of(page: &Page) -> Vec<u64> {
        let keys = page.class("span").filter_map(|row| row.get("data-key"));
        keys.map(|key| u64::from_str_radix(key, 16).unwrap())
            .collect()
    }

    fn href<'a>(page: &'a Page, text: &str) -> &'a str {
        let link = page.all("a").find(|link| link.text == text);
        link.and_then(|link| link.get("href")).unwrap_or_default()
    }

    #[test]
    fn rows_are_folded_and_unfolded_by_links() {
        let trace = tree();
        let id = |number: u64| format!("{number:016x}");
        let path = format!("/traces/{}", trace.trace_id);
        assert_eq!(rows_of(&show(&trace)), (1..=14).collect::<Vec<_>>());
        let two = format!("{},{}", id(2), id(6));
        let page = show_asked(&trace, &[("fold", &two)]);
        assert_eq!(rows_of(&page), [1, 2, 6, 10, 11, 12, 13, 14]);
        let folded: Vec<_> = page
            .class("folded")
            .map(|note| note.text.as_str())
            .collect();
        assert_eq!(folded, ["+3", "+3"]);
        let toggles: Vec<_> = page
            .class("fold")
            .filter_map(|link| Some((link.get("aria-expanded")?, link.get("href")?)))
            .collect();
        let comma = "%2C";
        let all_three = format!("{path}?fold={}{comma}{}{comma}{}", id(2), id(6), id(10));
        assert_eq!(
            toggles[1],
            ("false", format!("{path}?fold={}", id(6)).as_str())
        );
        assert_eq!(toggles[3], ("true", all_three.as_str()));
        let page = show_asked(&trace, &[("fold", "all")]);
        assert_eq!(rows_of(&page), [1, 14]);
        assert_eq!(
            href(&page, "▸"),
            format!("{path}?fold=all&unfold={}", id(1))
        );
        assert_eq!(href(&page, "Unfold all"), path);
        let page = show_asked(&trace, &[("fold", "all"), ("unfold", &id(1))]);
        assert_eq!(rows_of(&page), [1, 2, 6, 10, 14]);
        let many = vec![id(1); 201].join(",");
        for (name, value) in [("fold", "x"), ("fold", many.as_str()), ("first", "0")] {
            let query = PageQuery::new(vec![(name.to_owned(), value.to_owned())]);
            assert!(content(&query, &trace, &[]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn what_is_looked_for_is_counted_marked_and_never_folded_away() {
        let mut trace = tree();
        let page = show_asked(&trace, &[("find", "STEP 1"), ("fold", "all")]);
        // 1, and 10 to 14.
        assert_eq!(rows_of(&page), [1, 2, 6, 10, 11, 12, 13, 14]);
        assert_eq!(page.class("hit").count(), 6);
        assert_eq!(page.texts("mark"), ["step 1"; 6]);
        let text = page.text();
        assert!(text.contains("6 of 14 spans match "), "{text}");
        assert!(href(&page, "Next").ends_with(&format!("#span-{:016x}", 1)));
        let attributes = &mut trace.spans[7].attributes;
        attributes.insert("db.statement".to_owned(), "SELECT 1 FROM Carts".into());
        let page = show_asked(&trace, &[("find", "from carts")]);
        let found: Vec<_> = page
            .class("found")
            .map(|found| found.text.as_str())
            .collect();
        assert_eq!(found, ["db.statement: SELECT 1 FROM Carts"]);
        assert!(page.text().contains("1 of 14 spans matches"));
        let page = show_asked(&trace, &[("find", fixtures::HOSTILE)]);
        assert!(page.text().contains("No span has it"));
        assert_eq!(
            page.all("input").last().unwrap().get("value"),
            Some(fixtures::HOSTILE)
        );
    }

    #[test]
    fn a_page_is_bounded_in_rows_and_details_and_leads_to_the_rest() {
        let mut trace = tree();
        let one = trace.spans[13].clone();
        for number in 15..=5_000_u64 {
            let mut span = one.clone();
            span.span_id = format!("{number:016x}");
            span.attributes
                .insert("note".to_owned(), "x".repeat(1_000).into());
            trace.spans.push(span);
        }
        let markup = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()));
            let query = PageQuery::new(pairs.collect());
            content(&query, &trace, &[]).unwrap().into_string()
        };
        let first = markup(&[]);
        assert!(first.len() < 5_000_000, "{}", first.len());
        let page = Page::parse(&format!("<main>{first}</main>"));
        assert_eq!(rows_of(&page), (1..=2_000).collect::<Vec<_>>());
        let path = format!("/traces/{}", trace.trace_id);
        assert_eq!(href(&page, "Further rows"), format!("{path}?first=2001"));
        let more = format!("{path}?span={:016x}#span-{:016x}", 2_000, 2_000);
        let links: Vec<_> = page
            .all("a")
            .filter(|link| link.get("data-more").is_some())
            .collect();
        assert!(links.len() > 500 && links.len() < 1_900, "{}", links.len());
        assert_eq!(links.last().unwrap().get("href"), Some(more.as_str()));
        let last = format!("{:016x}", 5_000);
        let page = Page::parse(&format!(
            "<main>{}</main>",
            markup(&[("first", "4001"), ("span", &last)])
        ));
        assert_eq!(rows_of(&page), (4_001..=5_000).collect::<Vec<_>>());
        let open: Vec<_> = page
            .class("span")
            .filter(|row| row.get("open").is_some())
            .collect();
        assert_eq!(open.len(), 1);
        assert!(open[0].text.contains("xxx"));
        // What is found beyond the page is on the page that the link leads to.
        let page = Page::parse(&format!("<main>{}</main>", markup(&[("find", &last)])));
        assert_eq!(
            href(&page, "Next"),
            format!("{path}?find={last}&first=4001#span-{last}")
        );
    }

    #[test]
    fn a_trace_leads_to_the_same_one_elsewhere() {
        let trace = fixtures::trace();
        let page = show(&trace);
        let link = page.class("elsewhere").next().unwrap();
        assert_eq!(
            link.get("href"),
            Some(&*format!("http://jaeger.example/trace/{}", trace.trace_id))
        );
        assert_eq!(link.get("rel"), Some("noopener noreferrer"));
        assert!(link.text.contains("Jaeger"));
    }

    #[test]
    fn trace_ids_are_read_strictly() {
        let check =
            |text: &str, want: bool| assert_eq!(parse_trace_id(text).is_some(), want, "{text}");
        check(&"a".repeat(32), true);
        check(&"AB".repeat(16), true);
        check(&"0".repeat(32), false);
        check(&"a".repeat(31), false);
        check(&format!("+{}", "a".repeat(31)), false);
        check(&"é".repeat(16), false);
    }
}
