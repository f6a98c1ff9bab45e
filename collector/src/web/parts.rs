//! Versions and instances of services: how a row says which one it is, and the tables of them on a service's page. Called
//! by `services` and `service`.

use maud::{Markup, html};

use super::columns::{Row, cells, headings};
use crate::views::report::ServiceReport;
use crate::views::{MAX_PARTS, Split};

/// Stands for a version or an instance that its sender does not tell.
const UNSAID: &str = "(not told)";

/// Which part of its service a row is, behind the service's name.
pub(super) fn origin(split: Option<Split>, service: &ServiceReport) -> Markup {
    let (version, instance) = (service.version.as_deref(), service.instance.as_deref());
    html! {
        @match split {
            None => (versions(service)),
            Some(Split::Version) => span.version { bdi { (version.unwrap_or(UNSAID)) } },
            Some(Split::Instance) => {
                span.version { bdi { (instance.unwrap_or(UNSAID)) } }
                @if let Some(version) = version { span.version { (version) } }
            }
        }
    }
}

/// The version of a service; where it has several the newest span's would change from one look to the next.
pub(super) fn versions(service: &ServiceReport) -> Markup {
    html! {
        @if service.versions > 1 { span.version { (service.versions) " versions" } }
        @else if let Some(version) = &service.version { span.version { (version) } }
    }
}

/// The parts of one service; nothing while there is only one.
pub(super) fn section(split: Split, parts: &[ServiceReport]) -> Markup {
    let (title, heading, id) = match split {
        Split::Version => ("Versions", "Version", "versions"),
        Split::Instance => ("Instances", "Instance", "instances"),
    };
    html! {
        @if parts.len() > 1 {
            section {
                h2 { (title) }
                div.scroll { table.rows.figures-table id=(id) {
                    caption.sr { (title) ", by their entry spans" }
                    thead { tr { th scope="col" { (heading) } (headings(None)) } }
                    tbody { @for part in parts { (row(split, part)) } }
                } }
                (overflow_note(Some(split), &parts.iter().collect::<Vec<_>>()))
            }
        }
    }
}

/// Explains the row of what has none of its own, when there is one.
pub(super) fn overflow_note(split: Option<Split>, parts: &[&ServiceReport]) -> Markup {
    let split = split.filter(|split| parts.iter().any(|part| split.is_other(part)));
    html! {
        @match split {
            None => {},
            Some(Split::Version) => p.muted {
                "At most " (MAX_PARTS) " versions of a service have rows of their own, and fewer when many services have "
                "several: " b { "(other versions)" } " holds the rest."
            },
            Some(Split::Instance) => p.muted {
                "At most " (MAX_PARTS) " instances of a service have rows of their own, and fewer when many services have "
                "several: " b { "(other instances)" } " holds the rest."
            },
        }
    }
}

fn row(split: Split, part: &ServiceReport) -> Markup {
    let (name, version) = match split {
        Split::Version => (part.version.as_deref(), None),
        Split::Instance => (part.instance.as_deref(), part.version.as_deref()),
    };
    let name = name.unwrap_or(UNSAID);
    html! {
        tr data-key=(name) {
            th.name scope="row" title=(name) {
                bdi { (name) }
                @if let Some(version) = version { span.version { (version) } }
            }
            (cells(&Row::of_service(part), "request"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::{Page, assert_drawable};

    fn instance(name: Option<&str>) -> ServiceReport {
        ServiceReport {
            instance: name.map(str::to_owned),
            ..fixtures::service("shop", 1.0, 0.1)
        }
    }

    #[test]
    fn one_part_is_the_service_and_several_are_a_table() {
        assert_eq!(
            section(Split::Instance, &[instance(None)]).into_string(),
            ""
        );
        let mut service = instance(None);
        assert!(versions(&service).into_string().contains("1.4.2"));
        service.versions = 3;
        assert!(versions(&service).into_string().contains("3 versions"));
        let parts = [instance(Some(fixtures::HOSTILE)), instance(None)];
        let page = Page::parse(&section(Split::Instance, &parts).into_string());
        assert_drawable(&page);
        assert_eq!(page.count("script"), 0);
        assert_eq!(page.texts("bdi"), [fixtures::HOSTILE, "(not told)"]);
        assert!(page.text().contains("1.4.2") && !page.text().contains("the rest"));
    }

    #[test]
    fn what_has_no_row_of_its_own_is_explained() {
        let parts = [instance(Some("a")), instance(Some("(other instances)"))];
        let text = section(Split::Instance, &parts).into_string();
        assert!(text.contains("At most 20 instances"), "{text}");
    }
}
