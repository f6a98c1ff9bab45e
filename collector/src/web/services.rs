//! `GET /`: every service with rate, errors and latency, what changed, and the largest network gaps. With `split` its
//! versions or instances apart.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use super::columns::{Column, Row, Sorting, cells, compared, footnote, heading, headings};
use super::format::{count, duration, rate};
use super::layout::{
    Frame, Tab, edge_path, figure, filter_box, overflow_note, page as frame_page, service_link,
    window_choice,
};
use super::query::{BadParameter, PageQuery};
use super::{Web, empty, live, parts, rendered};
use crate::views::report::{ServiceReport, Window};
use crate::views::{Split, WidestGap};

/// Everything that the page shows.
struct Content<'a> {
    window: &'a Window,
    previous: Option<&'a Window>,
    /// What its rows are apart by.
    split: Option<Split>,
    services: &'a [ServiceReport],
    silent: &'a [String],
    widest_gap: Option<&'a WidestGap>,
}

/// The handler.
pub(super) async fn page(State(web): State<Web>, query: PageQuery) -> Response {
    rendered(move || Ok(render(&web, &query)?.into_response())).await
}

fn render(web: &Web, query: &PageQuery) -> Result<Markup, BadParameter> {
    // Read first: what arrives while the page is made is then told by the next event.
    let version = live::version(web);
    let range = query.range()?;
    let sorting = Sorting::read(query, Column::Rate)?;
    let split = query.split()?;
    let main = if web.views.spans_counted() == 0 {
        empty::nothing_ever(&web.status)
    } else {
        let (window, services) = match split {
            None => web.views.services(range),
            Some(split) => web.views.split(split, None, range),
        };
        content(
            query,
            sorting,
            &Content {
                window: &window,
                previous: web.views.previous(range).as_ref(),
                split,
                services: &services,
                silent: &web.views.silent(range),
                widest_gap: web.views.widest_gap(range).as_ref(),
            },
        )
    };
    let frame = Frame {
        title: "Services",
        tab: Tab::Services,
        live: Some(version),
        query,
    };
    Ok(frame_page(&frame, &main))
}

fn content(query: &PageQuery, sorting: Sorting, page: &Content<'_>) -> Markup {
    let needle = query.get("q").unwrap_or_default().to_lowercase();
    let mut shown: Vec<&ServiceReport> = page
        .services
        .iter()
        .filter(|service| text_of(service).contains(&needle))
        .collect();
    shown.sort_by(|a, b| sorting.compare(&Row::of_service(a), &Row::of_service(b)));
    html! {
        div.heading {
            h1 { "Services" }
            (window_choice(query, "/", page.window))
            (split_choice(query, page.split))
            (filter_box(query, "/", "Filter services", "services"))
        }
        @if page.services.is_empty() {
            (empty::nothing_in_range(query, "/", page.window))
            (silent(query, page.silent))
        } @else {
            (summary(query, page))
            (compared(query, "/", sorting, page.window, page.previous))
            (silent(query, page.silent))
            @if shown.is_empty() {
                (empty::filter_hides_all(query, "/", page.services.len(), "service"))
            } @else {
                (table(query, sorting, page.split, &shown))
                (footnote(shown.iter().map(|service| &service.now)))
                (overflow_note(shown.iter().map(|service| service.service.as_str())))
                (parts::overflow_note(page.split, &shown))
            }
            p.hidden-note data-empty-for="services" hidden { "The filter hides every service." }
        }
    }
}

/// What the filter looks through.
fn text_of(service: &ServiceReport) -> String {
    let parts = [
        Some(&service.service),
        service.version.as_ref(),
        service.instance.as_ref(),
    ];
    let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    parts.join(" ").to_lowercase()
}

fn split_choice(query: &PageQuery, chosen: Option<Split>) -> Markup {
    let choices = [
        (None, None, "Services"),
        (Some(Split::Version), Some("version"), "Versions"),
        (Some(Split::Instance), Some("instance"), "Instances"),
    ];
    html! {
        nav.windows aria-label="One row for each" {
            @for (split, word, label) in choices {
                a href=(query.link("/", &[("split", word)])) aria-current=[(split == chosen).then_some("true")] { (label) }
            }
        }
    }
}

fn summary(query: &PageQuery, page: &Content<'_>) -> Markup {
    let all = page.services.iter().map(|service| &service.now);
    let total: f64 = all.clone().map(|now| now.rate).sum();
    let failed: f64 = all.map(|now| now.rate * now.error_ratio).sum();
    let ratio = if total > 0.0 { failed / total } else { 0.0 };
    let label = match page.split {
        None => "Services",
        Some(Split::Version) => "Versions",
        Some(Split::Instance) => "Instances",
    };
    html! {
        dl.figures {
            (figure(label, &count(page.services.len() as u64), "", &html! {}))
            (figure("Requests", &rate(total), "", &html! { "into all services" }))
            (figure("Errors", &super::format::ratio(ratio), if ratio > 0.0 { "bad" } else { "" }, &html! { "of these" }))
            @if let Some(edge) = page.widest_gap {
                (figure("Widest network gap, p99", &duration(edge.p99), "gap", &html! {
                    a href=(edge_path(query, &edge.client, &edge.server)) { bdi { (edge.client) } " → " bdi { (edge.server) } }
                }))
            } @else {
                (figure("Widest network gap, p99", super::format::NONE, "gap", &html! { "no call with both sides yet" }))
            }
        }
    }
}

/// What a table of what is there cannot show: who is not there any more.
fn silent(query: &PageQuery, services: &[String]) -> Markup {
    html! {
        @if !services.is_empty() {
            p.silent {
                b.warn { "Silent now: " }
                @for (index, service) in services.iter().enumerate() {
                    @if index > 0 { ", " }
                    (service_link(service, query))
                }
                ". They sent spans in the window before this one, and none in it."
            }
        }
    }
}

fn table(
    query: &PageQuery,
    sorting: Sorting,
    split: Option<Split>,
    services: &[&ServiceReport],
) -> Markup {
    html! {
        div.scroll {
            table.rows.figures-table #services {
                caption.sr { "Services, by their entry spans" }
                thead {
                    tr {
                        (heading(query, "/", sorting, Column::Name, "Service"))
                        (headings(Some((query, "/", sorting))))
                    }
                }
                tbody { @for service in services { (row(query, split, service)) } }
            }
        }
    }
}

fn row(query: &PageQuery, split: Option<Split>, service: &ServiceReport) -> Markup {
    html! {
        tr data-key=(key(split, service)) data-row data-text=(text_of(service)) {
            th.name scope="row" {
                div.line {
                    (service_link(&service.service, query))
                    (parts::origin(split, service))
                }
            }
            (cells(&Row::of_service(service), "request"))
        }
    }
}

/// Unlike that of any other row.
fn key(split: Option<Split>, service: &ServiceReport) -> String {
    let part = match split {
        None => return service.service.clone(),
        Some(Split::Version) => &service.version,
        Some(Split::Instance) => &service.instance,
    };
    format!(
        "{} {}",
        service.service,
        part.as_deref().unwrap_or_default()
    )
}

impl<'a> Row<'a> {
    /// A service, or a part of one.
    pub(super) fn of_service(service: &'a ServiceReport) -> Self {
        Self {
            name: &service.service,
            now: &service.now,
            before: service.previous.as_ref(),
            impact: 0.0,
            spark: &service.spark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures::{self, query};
    use crate::web::testing::{Page, drawn};

    fn show(query: &PageQuery, services: &[ServiceReport]) -> Page {
        let sorting = Sorting::read(query, Column::Rate).unwrap();
        let page = Content {
            window: &fixtures::window(),
            previous: Some(&fixtures::previous()),
            split: query.split().unwrap(),
            services,
            silent: &["cron".to_owned()],
            widest_gap: Some(&fixtures::widest_gap()),
        };
        let main = content(query, sorting, &page);
        drawn(&main)
    }

    fn names(page: &Page) -> Vec<String> {
        let rows = page.all("tr").filter_map(|tr| tr.get("data-key"));
        rows.map(str::to_owned).collect()
    }

    #[test]
    fn rows_are_sorted_as_asked_and_say_so() {
        let check = |pairs: &[(&str, &str)], want: [&str; 3], sorted: (&str, &str)| {
            let page = show(&query(pairs), &fixtures::services());
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
        assert!(Sorting::read(&query(&[("sort", "colour")]), Column::Rate).is_err());
        assert!(Sorting::read(&query(&[("dir", "up")]), Column::Rate).is_err());
    }

    #[test]
    fn the_numbers_are_those_of_the_report() {
        let page = show(&query(&[]), &[fixtures::service("gateway", 12.0, 0.020)]);
        let text = page.text();
        for number in [
            "12.0/s", "20.0 ms", "40.0 ms", "60.0 ms", "160 ms", "180 ms", "200 ms",
        ] {
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
        let in_range = show(&query(&[]), &[]).text();
        assert!(in_range.contains("Nothing in the last 5 min"), "{in_range}");
        let filtered = show(&query(&[("q", "nowhere")]), &fixtures::services()).text();
        assert!(filtered.contains("hides all 3 services"), "{filtered}");
        assert_eq!(
            names(&show(&query(&[("q", "CHECK")]), &fixtures::services())),
            ["checkout"]
        );
    }

    #[test]
    fn what_changed_stands_beside_the_numbers_and_can_be_sorted_by() {
        let mut services = fixtures::services();
        for service in &mut services {
            service.previous = Some(service.now);
        }
        services[1].previous = Some(fixtures::figures(2.0, 0.004));
        let page = show(&query(&[("sort", "p99-change")]), &services);
        assert_eq!(names(&page)[0], "checkout");
        let changes: Vec<_> = page.class("change").map(|c| c.text.clone()).collect();
        let want = [
            "▲\u{a0}2.0×",
            "▲ was\u{a0}0\u{a0}%",
            "▲\u{a0}3.0×",
            "▲\u{a0}3.0×",
            "▲\u{a0}3.0×",
        ];
        assert_eq!(changes[..5], want);
        let text = page.text();
        assert!(
            text.contains("since the 5 min before (15:36:20 to 15:41:20 UTC)"),
            "{text}"
        );
        assert!(text.contains("Silent now: cron"), "{text}");
    }

    #[test]
    fn versions_and_instances_are_rows_of_their_own() {
        let part = |version: Option<&str>, instance: Option<&str>| ServiceReport {
            version: version.map(str::to_owned),
            instance: instance.map(str::to_owned),
            ..fixtures::service("shop", 1.0, 0.1)
        };
        let services = [
            part(Some("2"), Some("pod-1")),
            part(None, Some("(other instances)")),
        ];
        let page = show(&query(&[("split", "instance")]), &services);
        let keys: Vec<_> = page.all("tr").filter_map(|tr| tr.get("data-key")).collect();
        assert_eq!(keys, ["shop pod-1", "shop (other instances)"]);
        assert!(page.text().contains("pod-1") && page.text().contains("Instances"));
        assert!(
            page.text().contains("20 instances"),
            "the overflow row is explained"
        );
        let page = show(&query(&[("split", "version"), ("q", "2")]), &services);
        let keys: Vec<_> = page.all("tr").filter_map(|tr| tr.get("data-key")).collect();
        assert_eq!(keys, ["shop 2"], "the filter looks at versions, too");
        assert!(query(&[("split", "colour")]).split().is_err());
    }

    #[test]
    fn a_hostile_name_stays_text() {
        let page = show(
            &query(&[]),
            &[fixtures::service(fixtures::HOSTILE, 1.0, 0.1)],
        );
        assert_eq!(page.count("script"), 0);
        assert_eq!(names(&page), [fixtures::HOSTILE]);
    }
}
