//! Lists of what there is to ask for: services, the names of a service's spans, whom it calls, values of a tag. In lower
//! case where Zipkin has it so, sorted, each once. Called by `mod`.

use std::collections::BTreeSet;

use super::answer::{Array, MOST_BYTES};
use super::span;
use crate::views::Views;
use crate::wire::SpanRef;
use crate::wire::zipkin::{remote_service, service_name};

/// Services with a span in a kept trace.
pub(super) fn services(views: &Views) -> Vec<u8> {
    let mut names = Names::default();
    for name in views.kept_services() {
        names.add(service_name(&name).to_lowercase());
    }
    names.json()
}

/// What the spans of a service are called.
pub(super) fn spans(views: &Views, service: &str) -> Vec<u8> {
    of_service(views, service, |span| Some(span.name))
}

/// Whom a service calls, and who calls it.
pub(super) fn remote_services(views: &Views, service: &str) -> Vec<u8> {
    of_service(views, service, remote_service)
}

/// The values of a tag, of whichever service.
pub(super) fn values(views: &Views, key: &str) -> Vec<u8> {
    let mut names = Names::default();
    for (_, kept) in views.every_kept_trace() {
        let read = span::read(&kept, |mut span| {
            span.tags
                .remove(key)
                .into_iter()
                .for_each(|value| names.add(value));
            Ok(())
        });
        // What is too large to be found is not asked for by its tags.
        if read.is_err() {
            continue;
        }
    }
    names.json()
}

fn of_service(
    views: &Views,
    service: &str,
    name: impl for<'a> Fn(&SpanRef<'a>) -> Option<&'a str>,
) -> Vec<u8> {
    let service = service.to_lowercase();
    let mut names = Names::default();
    for (_, kept) in views.every_kept_trace() {
        for span in kept.spans() {
            if service_name(span.resource.service_name).to_lowercase() == service
                && let Some(name) = name(&span)
            {
                names.add(name.to_lowercase());
            }
        }
    }
    names.json()
}

/// As many as an answer may have.
#[derive(Default)]
struct Names {
    names: BTreeSet<String>,
    bytes: usize,
}

impl Names {
    fn add(&mut self, name: String) {
        let bytes = self.bytes + size_of::<String>() + name.len();
        if !name.is_empty() && bytes <= MOST_BYTES && !self.names.contains(&name) {
            self.bytes = bytes;
            self.names.insert(name);
        }
    }

    fn json(&self) -> Vec<u8> {
        let mut answer = Array::default();
        for name in &self.names {
            let json = serde_json::to_vec(name).unwrap_or_default();
            if json.is_empty() || answer.push(&json).is_err() {
                break;
            }
        }
        answer.into_json()
    }
}
