//! Which traces a question asks for (`GET /api/v2/traces`; zipkin2.storage.QueryRequest), and finding them. Called by
//! `mod`.

use std::cmp::Reverse;

use super::answer::Array;
use super::span::{self, Span};
use super::trace::Text;
use crate::views::{KeptSpans, Views};
use crate::wire::SpanRef;
use crate::wire::zipkin::service_name;

/// A question. Names are in lower case, as they are in spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Search {
    /// Traces with a span of this service; the other conditions are then about its spans.
    pub(super) service: Option<String>,
    /// … with a span that calls this one, or was called by it.
    pub(super) remote_service: Option<String>,
    /// … with a span of this name.
    pub(super) span_name: Option<String>,
    /// … with each of these tags, or, where the value is empty, a tag or an annotation of that name.
    pub(super) annotations: Vec<(String, String)>,
    /// … with a span that took so long, in microseconds: at least, at most.
    pub(super) duration: Option<(u64, u64)>,
    /// The start of the root: no earlier, in Unix microseconds …
    pub(super) begin: u64,
    /// … and no later.
    pub(super) end: u64,
    /// At most so many traces.
    pub(super) limit: usize,
}

/// The traces that a question asks for as JSON, those with the newest spans first; fewer when they are more bytes than
/// an answer may have. A trace that is too large for Zipkin's form is left out.
pub(super) fn traces(views: &Views, search: &Search) -> Vec<u8> {
    let traces = views.every_kept_trace();
    let mut candidates: Vec<_> = traces
        .filter_map(|(id, kept)| Some((search.newest(&kept)?, id)))
        .collect();
    candidates.sort_unstable_by_key(|&candidate| Reverse(candidate));
    let found = candidates
        .into_iter()
        .filter_map(|(_, id)| matching(&views.kept_spans(id)?, search));
    let mut answer = Array::default();
    for trace in found.take(search.limit) {
        if answer.push(&trace).is_err() {
            break;
        }
    }
    answer.into_json()
}

fn matching(kept: &KeptSpans, search: &Search) -> Option<Vec<u8>> {
    let (mut matching, mut text) = (Matching::of(search), Text::default());
    let read = span::read(kept, |span| {
        matching.look_at(&span);
        text.push(&span)
    });
    read.ok().filter(|()| matching.fits())?;
    Some(text.into_json())
}

impl Search {
    /// The start of its newest span in milliseconds, which is what Zipkin orders traces by; `None` for a trace that
    /// cannot be meant, as far as can be told without reading attributes.
    fn newest(&self, kept: &KeptSpans) -> Option<u64> {
        let starts = kept.spans().map(|span| span.start_unix_nano / 1_000);
        let in_range = starts.filter(|start| (self.begin..=self.end).contains(start));
        let newest = in_range.max()?;
        let is_named = kept.spans().any(|span| self.is_named(&span));
        is_named.then_some(newest / 1_000)
    }

    fn is_named(&self, span: &SpanRef<'_>) -> bool {
        let is = |asked: &Option<String>, name: &str| {
            let same = |asked: &String| asked == name || *asked == name.to_lowercase();
            asked.as_ref().is_none_or(same)
        };
        is(&self.service, service_name(span.resource.service_name))
            && is(&self.span_name, span.name)
    }
}

/// What of a question the spans of a trace have not answered yet.
struct Matching<'a> {
    search: &'a Search,
    /// The start of the first root, or of the earliest span as long as there is none.
    start: Option<u64>,
    has_root: bool,
    /// No span of the service yet.
    service: bool,
    remote_service: Option<&'a str>,
    span_name: Option<&'a str>,
    annotations: Vec<&'a (String, String)>,
    duration: Option<(u64, u64)>,
}

impl<'a> Matching<'a> {
    fn of(search: &'a Search) -> Self {
        Self {
            search,
            start: None,
            has_root: false,
            service: search.service.is_some(),
            remote_service: search.remote_service.as_deref(),
            span_name: search.span_name.as_deref(),
            annotations: search.annotations.iter().collect(),
            duration: search.duration,
        }
    }

    fn look_at(&mut self, span: &Span) {
        self.look_at_start(span);
        let local = &span.local_endpoint.service_name;
        if self
            .search
            .service
            .as_ref()
            .is_some_and(|asked| asked != local)
        {
            return;
        }
        self.service = false;
        let remote = &span.remote_endpoint.service_name;
        self.remote_service = self.remote_service.filter(|asked| asked != remote);
        self.span_name = self.span_name.filter(|asked| *asked != span.name);
        self.annotations
            .retain(|(key, value)| !has(span, key, value));
        self.duration = self
            .duration
            .filter(|&(least, most)| !(least..=most).contains(&span.duration));
    }

    fn look_at_start(&mut self, span: &Span) {
        if self.has_root || span.timestamp == 0 {
            return;
        }
        self.has_root = span.parent_id.is_none();
        let earliest = self
            .start
            .filter(|&start| start < span.timestamp && !self.has_root);
        self.start = Some(earliest.unwrap_or(span.timestamp));
    }

    fn fits(&self) -> bool {
        let range = self.search.begin..=self.search.end;
        self.start.is_some_and(|start| range.contains(&start))
            && !self.service
            && self.remote_service.is_none()
            && self.span_name.is_none()
            && self.annotations.is_empty()
            && self.duration.is_none()
    }
}

fn has(span: &Span, key: &str, value: &str) -> bool {
    let annotated = || {
        span.annotations
            .iter()
            .any(|annotation| annotation.value == key)
    };
    let tagged = |tag: &String| value.is_empty() || tag == value;
    span.tags.get(key).is_some_and(tagged) || value.is_empty() && annotated()
}
