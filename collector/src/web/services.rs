//! `GET /`: every service with rate, errors and latency, and the largest network gaps.

use std::cmp::Ordering;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use super::charts::spark::spark;
use super::format::{count, counted, duration, maybe_duration, rate};
use super::layout::{
    Frame, Tab, edge_path, error_ratio, figure, filter_box, overflow_note, page as frame_page,
    service_link, sort_heading, window_choice,
};
use super::query::{BadParameter, Direction, PageQuery};
use super::{Web, empty, live, rendered};
use crate::views::report::{Edge, ServiceReport, Window};

/// How a row is compared, smallest first; `None` (no data) is always last.
type Key = fn(&ServiceReport, &ServiceReport) -> Ordering;

const COLUMNS: [(&str, &str, bool); 7] = [
    ("name", "Service", false),
    ("rate", "Rate", true),
    ("errors", "Errors", true),
    ("p50", "p50", true),
    ("p95", "p95", true),
    ("p99", "p99", true),
    ("max", "Max", true),
];

/// The handler.
pub(super) async fn page(State(web): State<Web>, query: PageQuery) -> Response {
    rendered(move || Ok(render(&web, &query)?.into_response())).await
}

fn render(web: &Web, query: &PageQuery) -> Result<Markup, BadParameter> {
    // Read first: what arrives while the page is made is then told by the next event.
    let version = live::version(web);
    let range = query.range()?;
    let sorting = Sorting::read(query)?;
    let main = if web.views.spans_counted() == 0 {
        empty::nothing_ever(&web.status)
    } else {
        let (window, services) = web.views.services(range);
        let edges = web.views.map(range).edges;
        content(query, sorting, &window, services, &edges)
    };
    let frame = Frame {
        title: "Services",
        tab: Tab::Services,
        live: Some(version),
        query,
    };
    Ok(frame_page(&frame, &main))
}

/// The column the table is sorted by.
#[derive(Clone, Copy)]
struct Sorting {
    column: &'static str,
    key: Key,
    direction: Direction,
}

impl Sorting {
    fn read(query: &PageQuery) -> Result<Self, BadParameter> {
        let choices: [(&str, (&'static str, Key)); 7] = [
            ("name", ("name", |a, b| a.service.cmp(&b.service))),
            ("rate", ("rate", |a, b| a.rate.total_cmp(&b.rate))),
            (
                "errors",
                ("errors", |a, b| a.error_ratio.total_cmp(&b.error_ratio)),
            ),
            ("p50", ("p50", |a, b| known(a.latency.p50, b.latency.p50))),
            ("p95", ("p95", |a, b| known(a.latency.p95, b.latency.p95))),
            ("p99", ("p99", |a, b| known(a.latency.p99, b.latency.p99))),
            ("max", ("max", |a, b| known(a.latency.max, b.latency.max))),
        ];
        let default = ("rate", choices[1].1.1);
        let (column, key) = query.choice(
            "sort",
            &choices,
            default,
            "say name, rate, errors, p50, p95, p99 or max",
        )?;
        let direction = query.direction(if column == "name" {
            Direction::Ascending
        } else {
            Direction::Descending
        })?;
        Ok(Self {
            column,
            key,
            direction,
        })
    }

    fn sort(&self, services: &mut [ServiceReport]) {
        services.sort_by(|a, b| {
            self.direction
                .apply((self.key)(a, b))
                .then_with(|| a.service.cmp(&b.service))
        });
    }
}

fn known(a: Option<f64>, b: Option<f64>) -> Ordering {
    a.unwrap_or(-1.0).total_cmp(&b.unwrap_or(-1.0))
}

fn content(
    query: &PageQuery,
    sorting: Sorting,
    window: &Window,
    mut services: Vec<ServiceReport>,
    edges: &[Edge],
) -> Markup {
    sorting.sort(&mut services);
    let needle = query.get("q").unwrap_or_default().to_lowercase();
    let shown: Vec<&ServiceReport> = services
        .iter()
        .filter(|service| service.service.to_lowercase().contains(&needle))
        .collect();
    html! {
        div.heading {
            h1 { "Services" }
            (window_choice(query, "/", window))
            (filter_box(query, "/", "Filter services", "services"))
        }
        @if services.is_empty() {
            (empty::nothing_in_range(query, "/", window))
        } @else {
            (summary(query, &services, edges))
            @if shown.is_empty() {
                (empty::filter_hides_all(query, "/", services.len(), "service"))
            } @else {
                (table(query, sorting, &shown))
                (overflow_note(shown.iter().map(|service| service.service.as_str())))
            }
            p.hidden-note data-empty-for="services" hidden { "The filter hides every service." }
        }
    }
}

fn summary(query: &PageQuery, services: &[ServiceReport], edges: &[Edge]) -> Markup {
    let total: f64 = services.iter().map(|service| service.rate).sum();
    let failed: f64 = services
        .iter()
        .map(|service| service.rate * service.error_ratio)
        .sum();
    let ratio = if total > 0.0 { failed / total } else { 0.0 };
    let widest = edges
        .iter()
        .filter_map(|edge| edge.gap_p99.map(|gap| (gap, edge)))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    html! {
        dl.figures {
            (figure("Services", &count(services.len() as u64), "", &html! {}))
            (figure("Requests", &rate(total), "", &html! { "into all services" }))
            (figure("Errors", &super::format::ratio(ratio), if ratio > 0.0 { "bad" } else { "" }, &html! { "of these" }))
            @if let Some((gap, edge)) = widest {
                (figure("Widest network gap, p99", &duration(gap), "gap", &html! {
                    a href=(edge_path(query, &edge.client, &edge.server)) { bdi { (edge.client) } " → " bdi { (edge.server) } }
                }))
            } @else {
                (figure("Widest network gap, p99", super::format::NONE, "gap", &html! { "no call with both sides yet" }))
            }
        }
    }
}

fn table(query: &PageQuery, sorting: Sorting, services: &[&ServiceReport]) -> Markup {
    let sorted = (sorting.column, sorting.direction);
    html! {
        div.scroll {
            table.rows #services {
                caption.sr { "Services, by their entry spans" }
                thead {
                    tr {
                        @for (key, label, numeric) in COLUMNS {
                            (sort_heading(query, "/", (key, label), sorted, numeric))
                            @if key == "rate" || key == "p99" { th.plot scope="col" { span.sr { "Course of " (label) } } }
                        }
                    }
                }
                tbody { @for service in services { (row(query, service)) } }
            }
        }
    }
}

fn row(query: &PageQuery, service: &ServiceReport) -> Markup {
    let latency = &service.latency;
    let rates: Vec<Option<f64>> = service.spark.rate.iter().copied().map(Some).collect();
    html! {
        tr data-key=(service.service) data-row data-text=(service.service.to_lowercase()) {
            th.name scope="row" {
                div.line {
                    (service_link(&service.service, query))
                    @if let Some(version) = &service.version { span.version { (version) } }
                }
            }
            td.num title=(counted(service.count, "request")) { (rate(service.rate)) }
            td.plot { (spark(&rates, "rate", rate)) }
            td.num { (error_ratio(service.error_ratio)) }
            td.num { (maybe_duration(latency.p50)) }
            td.num { (maybe_duration(latency.p95)) }
            td.num.strong { (maybe_duration(latency.p99)) }
            td.plot { (spark(&service.spark.p99, "p99", duration)) }
            td.num { (maybe_duration(latency.max)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::{Page, assert_drawable};

    fn query(pairs: &[(&str, &str)]) -> PageQuery {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        PageQuery::new(owned.collect())
    }

    fn show(query: &PageQuery, services: Vec<ServiceReport>) -> Page {
        let sorting = Sorting::read(query).unwrap();
        let main = content(
            query,
            sorting,
            &fixtures::window(),
            services,
            &fixtures::map().edges,
        );
        let page = Page::parse(&html! { main { (main) } }.into_string());
        assert_drawable(&page);
        page
    }

    fn names(page: &Page) -> Vec<String> {
        page.class("service")
            .map(|link| link.text.clone())
            .collect()
    }

    #[test]
    fn rows_are_sorted_as_asked_and_say_so() {
        let check = |pairs: &[(&str, &str)], want: [&str; 3], sorted: (&str, &str)| {
            let page = show(&query(pairs), fixtures::services());
            assert_eq!(names(&page), want, "{pairs:?}");
            let headings: Vec<_> = page
                .all("th")
                .filter_map(|th| Some((th.text.as_str(), th.get("aria-sort")?)))
                .collect();
            assert_eq!(headings, [sorted]);
        };
        check(
            &[],
            ["gateway", "checkout", "mailer"],
            ("Rate", "descending"),
        );
        check(
            &[("sort", "name")],
            ["checkout", "gateway", "mailer"],
            ("Service", "ascending"),
        );
        check(
            &[("sort", "errors"), ("dir", "desc")],
            ["checkout", "gateway", "mailer"],
            ("Errors", "descending"),
        );
        check(
            &[("sort", "p99"), ("dir", "asc")],
            ["mailer", "checkout", "gateway"],
            ("p99", "ascending"),
        );
        assert!(Sorting::read(&query(&[("sort", "colour")])).is_err());
        assert!(Sorting::read(&query(&[("dir", "up")])).is_err());
    }

    #[test]
    fn the_numbers_are_those_of_the_report() {
        let page = show(&query(&[]), vec![fixtures::service("gateway", 12.0, 0.020)]);
        let text = page.text();
        for number in ["12.0/s", "20.0 ms", "60.0 ms", "160 ms", "200 ms"] {
            assert!(text.contains(number), "{number} in {text}");
        }
        assert!(text.contains("9.80 ms"), "the widest gap of the map");
        let links: Vec<_> = page.all("a").filter_map(|a| a.get("href")).collect();
        assert!(
            links
                .iter()
                .any(|link| link.starts_with("/edges?client=gateway&server=checkout")),
            "{links:?}"
        );
    }

    #[test]
    fn the_three_kinds_of_emptiness_differ() {
        let in_range = show(&query(&[]), Vec::new()).text();
        assert!(in_range.contains("Nothing in the last 5 min"), "{in_range}");
        let filtered = show(&query(&[("q", "nowhere")]), fixtures::services()).text();
        assert!(filtered.contains("hides all 3 services"), "{filtered}");
        assert_eq!(
            names(&show(&query(&[("q", "CHECK")]), fixtures::services())),
            ["checkout"]
        );
    }

    #[test]
    fn a_hostile_name_stays_text() {
        let page = show(
            &query(&[]),
            vec![fixtures::service(fixtures::HOSTILE, 1.0, 0.1)],
        );
        assert_eq!(page.count("script"), 0);
        assert_eq!(names(&page), [fixtures::HOSTILE]);
    }
}
