//! The frame around every page: head, navigation, window choice, help; and the small parts that pages
//! share (service names, sortable headings, notices). Called by every page.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::format::{coarse, url_component};
use super::query::{BadParameter, Direction, PageQuery, TIME, WINDOWS};
use crate::views::report::Window;

/// A small picture for the browser's tab; a data URI, so that no browser asks for /favicon.ico.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E\
%3Crect width='32' height='32' rx='7' fill='%236d28d9'/%3E\
%3Cpath d='M5 11h22M5 21h8M19 21h8' stroke='%23fff' stroke-width='4' stroke-linecap='round'/%3E%3C/svg%3E";

/// How many service colours the style sheet has (`.s0` …).
const COLOURS: u64 = 18;

/// The entry of the navigation a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Services,
    Map,
    Traces,
    Status,
    /// Error pages belong nowhere.
    None,
}

/// What the frame needs to know of a page.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Of the document, before the product's name.
    pub(super) title: &'a str,
    /// Its entry of the navigation.
    pub(super) tab: Tab,
    /// The version of the window the page was made from; `None` for a page that stays as it is.
    pub(super) live: Option<u64>,
    /// Its parameters.
    pub(super) query: &'a PageQuery,
}

/// A whole document.
pub(super) fn page(frame: &Frame<'_>, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (frame.title) " · Bellwether" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href=(assets::style_path());
                // Not deferred: the chosen theme has to be set before the first paint.
                script src=(assets::script_path()) {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (header(frame))
                main #main tabindex="-1" data-live=[live(frame)] { (main) }
                (help())
            }
        }
    }
}

/// A page of a time that stays has nothing to follow.
fn live(frame: &Frame<'_>) -> Option<u64> {
    frame.live.filter(|_| !frame.query.is_fixed())
}

/// A page that says in words why there is nothing else.
pub(super) fn failure(status: StatusCode, title: &str, text: &str) -> Response {
    failure_with(status, title, &html! { p { (text) } })
}

/// The same, with more than words.
pub(super) fn failure_with(status: StatusCode, title: &str, why: &Markup) -> Response {
    let frame = Frame {
        title,
        tab: Tab::None,
        live: None,
        query: &PageQuery::default(),
    };
    let main = html! {
        section.empty {
            h1 { (title) }
            (why)
            p { a.button href="/" { "All services" } }
        }
    };
    (status, page(&frame, &main)).into_response()
}

/// The page for a parameter that cannot be read.
pub(super) fn bad_parameter(error: &BadParameter) -> Response {
    failure(
        StatusCode::BAD_REQUEST,
        "This address cannot be read",
        &format!("{error}."),
    )
}

/// The address of a service's page.
pub(super) fn service_path(name: &str) -> String {
    format!("/services/{}", url_component(name))
}

/// A service's name with its colour, linked to its page.
pub(super) fn service_link(name: &str, query: &PageQuery) -> Markup {
    let path = query.link_keeping_window(&service_path(name));
    html! { a.service href=(path) title=(name) { (service_name(name)) } }
}

/// A service's name with its colour.
pub(super) fn service_name(name: &str) -> Markup {
    html! { i.swatch.(colour(name)) {} bdi { (name) } }
}

/// The class of a service's colour: the same for a name on every page, in every run.
pub(super) fn colour(service: &str) -> String {
    // The lowest bits of this hash are its weakest.
    format!("s{}", (assets::fnv1a(service.as_bytes()) >> 4) % COLOURS)
}

/// The address of the page of an edge, at the same time as this one.
pub(super) fn edge_path(query: &PageQuery, client: &str, server: &str) -> String {
    query.link_elsewhere(
        "/edges",
        &[("client", Some(client)), ("server", Some(server))],
    )
}

/// A heading of a table that sorts by a link, and says to screen readers how it is sorted.
pub(super) fn sort_heading(
    query: &PageQuery,
    path: &str,
    (key, label): (&str, &str),
    (sorted, direction): (&str, Direction),
    numeric: bool,
    class: &str,
) -> Markup {
    let current = sorted == key;
    // A first click shows the largest numbers, or the names from A to Z.
    let first = if numeric {
        Direction::Descending
    } else {
        Direction::Ascending
    };
    let next = if current { direction.reversed() } else { first };
    let link = query.link(path, &[("sort", Some(key)), ("dir", Some(next.word()))]);
    html! {
        th scope="col" .num[numeric] .(class) aria-sort=[current.then(|| direction.aria())] {
            a href=(link) data-sort=(key) { (label) }
        }
    }
}

/// The lengths of time to choose from, and what is shown now: less than was asked while nothing older is known.
pub(super) fn window_choice(query: &PageQuery, path: &str, window: &Window) -> Markup {
    let fixed = query.is_fixed();
    let chosen = query.get("window").unwrap_or("5m");
    let length = coarse(window.seconds);
    let short = query.is_shortened(window);
    html! {
        nav.windows aria-label="Time range" {
            @for (value, label, _) in WINDOWS {
                a href=(query.link(path, &[("window", Some(value)), ("from", None), ("to", None)]))
                  aria-current=[(value == chosen && !fixed).then_some("true")] { (label) }
            }
            span.asof title={ (window.from) " to " (window.to) @if short { ": nothing older is known" } } {
                @if fixed { (length) ", to " } @else if short { (length) " so far, to " } @else { "last " (length) ", to " }
                time datetime=(window.to) { (time_of_day(&window.to)) } " UTC"
            }
            @if !fixed {
                a.stay href=(query.link_to_stay(path, window)) title="A link to this time, to send to others" { "Keep this time" }
            }
        }
    }
}

/// The box that narrows a table: a form without script, immediate with it.
pub(super) fn filter_box(query: &PageQuery, path: &str, label: &str, rows: &str) -> Markup {
    html! {
        form.filter role="search" method="get" action=(path) {
            @for name in TIME.into_iter().chain(["sort", "dir", "focus", "edges", "split", "operation"]) {
                @if let Some(value) = query.name(name) { input type="hidden" name=(name) value=(value); }
            }
            input #filter type="search" name="q" value=(query.get("q").unwrap_or_default())
                placeholder={ (label) "  /" } aria-label=(label) autocomplete="off" data-filter=(rows);
        }
    }
}

/// A headline figure.
pub(super) fn figure(label: &str, value: &str, class: &str, note: &Markup) -> Markup {
    html! {
        div.figure.(class) {
            dt { (label) }
            dd { span.value { (value) } span.note { (note) } }
        }
    }
}

/// An error ratio: red, and only when there is one.
pub(super) fn error_ratio(ratio: f64) -> Markup {
    html! { span.bad[ratio > 0.0].muted[ratio <= 0.0] { (super::format::ratio(ratio)) } }
}

/// Explains the row that takes what is beyond a limit, when there is one.
pub(super) fn overflow_note<'a>(mut names: impl Iterator<Item = &'a str>) -> Markup {
    html! {
        @if let Some(name) = names.find(|name| name.starts_with("(other ")) {
            p.muted {
                b { (name) } " holds what came after the limit on different names was reached. "
                "Names that hold an id or an address fill it; a template such as " code { "GET /orders/{id}" } " does not."
            }
        }
    }
}

fn header(frame: &Frame<'_>) -> Markup {
    let entries = [
        (Tab::Services, "/", "Services", "s"),
        (Tab::Map, "/map", "Map", "m"),
        (Tab::Traces, "/traces", "Traces", "t"),
        (Tab::Status, "/status", "Status", "u"),
    ];
    html! {
        header.top {
            a.brand href=(frame.query.link_keeping_window("/")) { (logo()) "Bellwether" }
            nav.tabs aria-label="Pages" {
                @for (tab, path, label, key) in entries {
                    a href=(frame.query.link_keeping_window(path)) data-key=(key)
                      aria-current=[(tab == frame.tab).then_some("page")] { (label) }
                }
            }
            div.tools {
                @if live(frame).is_some() {
                    span #live.js-only role="status" { i.dot {} span { "live" } }
                    button #pause.js-only type="button" aria-pressed="false" { "Pause" }
                }
                button #theme.js-only type="button" title="Light, dark, or as the system says" { "Theme" }
                button #keys.js-only type="button" aria-label="Keyboard help" title="Keyboard help" { "?" }
            }
        }
    }
}

/// Two spans, a long and a broken one: the gap of the product.
fn logo() -> Markup {
    html! {
        svg.logo width="22" height="22" viewBox="0 0 32 32" aria-hidden="true" {
            rect width="32" height="32" rx="7" {}
            path d="M6 11h20M6 21h6M20 21h6" {}
        }
    }
}

fn help() -> Markup {
    let keys = [
        ("/", "filter"),
        ("j  k", "next, previous row"),
        ("Enter", "open the row"),
        ("s  m  t  u", "services, map, traces, status"),
        ("p", "pause or go on"),
        ("n  N", "next, previous match in a trace"),
        ("[  ]", "fold, unfold a whole trace"),
        ("←  →", "fold, unfold a row of it"),
        ("Esc", "close, leave the field"),
        ("?", "this help"),
    ];
    html! {
        dialog #help aria-labelledby="help-title" {
            h2 #help-title { "Keys" }
            dl {
                @for (key, meaning) in keys { dt { kbd { (key) } } dd { (meaning) } }
            }
            form method="dialog" { button { "Close" } }
        }
    }
}

/// `15:46:19` of an RFC 3339 time.
pub(super) fn time_of_day(rfc3339: &str) -> &str {
    rfc3339.get(11..19).unwrap_or(rfc3339)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::testing::Page;

    #[test]
    fn a_hostile_name_stays_text() {
        let name = "<script>alert(1)</script>\"'&";
        let page = Page::parse(&service_link(name, &PageQuery::default()).into_string());
        assert_eq!(page.count("script"), 0);
        assert_eq!(page.texts("bdi"), [name]);
        assert_eq!(page.attribute("a", "title"), Some(name.to_owned()));
    }

    #[test]
    fn a_colour_is_stable_and_in_the_palette() {
        assert_eq!(colour("checkout"), colour("checkout"));
        let names = (0..1000).map(|index| colour(&format!("service-{index}")));
        let seen: std::collections::BTreeSet<_> = names.collect();
        assert_eq!(seen.len() as u64, COLOURS);
        assert!(
            (0..COLOURS).all(|index| include_str!("assets/bellwether.css")
                .contains(&format!(".s{index} ")))
        );
    }

    #[test]
    fn a_window_shorter_than_asked_says_so() {
        let check = |asked: &str, seconds: f64, want: &str| {
            let query = crate::web::fixtures::query(&[("window", asked)]);
            let window = Window {
                seconds,
                ..crate::web::fixtures::window()
            };
            let text = Page::parse(&window_choice(&query, "/", &window).into_string()).text();
            assert!(text.contains(want), "{want} in {text}");
        };
        check("5m", 40.0, "40 s so far, to 15:46:20");
        check("5m", 290.0, "5 min so far");
        check("5m", 300.0, "last 5 min, to 15:46:20");
        // Windows are rounded outward.
        check("5m", 310.0, "last 5 min");
        check("1h", 310.0, "5 min so far");
    }

    #[test]
    fn a_filter_keeps_what_else_the_page_shows() {
        let query = crate::web::fixtures::query(&[
            ("operation", "GET /x "),
            ("q", "x"),
            ("sort", "p99"),
            ("from", "2026-01-31T12:00:00Z"),
        ]);
        let form = filter_box(&query, "/services/cart", "Filter operations", "operations");
        let form = Page::parse(&form.into_string());
        let fields = form
            .all("input")
            .filter_map(|input| input.get("name").zip(input.get("value")));
        let fields: Vec<_> = fields.collect();
        assert_eq!(
            fields,
            [
                ("from", "2026-01-31T12:00:00Z"),
                ("sort", "p99"),
                ("operation", "GET /x "),
                ("q", "x")
            ]
        );
    }

    #[test]
    fn only_an_overflow_row_is_explained() {
        let note = |names: &[&str]| overflow_note(names.iter().copied()).into_string();
        assert!(note(&["GET /", "(other operations)"]).contains("<b>(other operations)</b>"));
        assert_eq!(note(&["GET /", "other"]), "");
    }

    #[test]
    fn the_frame_has_no_inline_script_or_style() {
        let frame = Frame {
            title: "<x>",
            tab: Tab::Map,
            live: Some(7),
            query: &PageQuery::default(),
        };
        let page = Page::parse(&page(&frame, &html! { p { "hello" } }).into_string());
        assert_eq!(page.texts("title"), ["<x> · Bellwether"]);
        assert_eq!(page.texts("script"), [""]);
        assert_eq!(page.count("style"), 0);
        assert!(!page.has_attribute("style") && !page.has_attribute("onclick"));
        assert_eq!(page.attribute("main", "data-live").as_deref(), Some("7"));
    }
}
