//! Which traces a question asks for (`GET /api/v2/traces`; zipkin2.storage.QueryRequest), and finding them. Called by
//! `mod`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::RangeInclusive;

use memchr::memmem::Finder;

use super::answer::{Array, Full, Room};
use super::trace;
use crate::views::{KeptTrace, Views};
use crate::wire::SpanRef;
use crate::wire::zipkin::{
    TagFinder, Told, duration, is_annotated, is_named, is_written, service_name,
};

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

/// Traces that do not fit into an answer are passed over, but no more than so many: all of one is written before that is
/// known.
const MOST_PASSED_OVER: usize = 3;

/// The traces that a question asks for as JSON, those with the newest spans first; of more than an answer may have those
/// that fit.
///
/// # Errors
/// [`Full::NoRoom`].
pub(super) fn traces(views: &Views, search: &Search, room: Room) -> Result<Array, Full> {
    let mut passed_over = 0;
    let mut answer = Array::new(room)?;
    let found = find(views, search).into_iter();
    for kept in found.filter_map(|id| views.kept_trace(id)) {
        match answer.push_array(|spans| trace::put(&kept, spans)) {
            Ok(()) => {}
            Err(Full::TooLarge { .. }) if passed_over == MOST_PASSED_OVER => break,
            Err(Full::TooLarge { .. }) => passed_over += 1,
            Err(Full::NoRoom) => return Err(Full::NoRoom),
        }
    }
    Ok(answer.finished())
}

/// As many as are asked for, those with the newest spans first.
fn find(views: &Views, search: &Search) -> Vec<[u8; 16]> {
    let mut newest = BinaryHeap::new();
    let keys = search.annotations.iter().map(|(key, _)| key);
    let keys: Vec<_> = keys
        .filter(|key| is_written(key))
        .map(Finder::new)
        .collect();
    views.look_at_kept(views.kept_trace_ids(), |kept| {
        let may_fit = |_: &u64| keys.iter().all(|key| kept.holds(key)) && search.fits(kept);
        if let Some(at) = search.newest(kept).filter(may_fit) {
            newest.push(Reverse((at, kept.trace_id)));
            if newest.len() > search.limit {
                newest.pop();
            }
        }
    });
    let newest = newest.into_sorted_vec().into_iter();
    newest.map(|Reverse((_, trace_id))| trace_id).collect()
}

impl Search {
    /// The start of its newest span in milliseconds, which is what Zipkin orders traces by; `None` of a trace that is none
    /// of this time.
    fn newest(&self, kept: &KeptTrace) -> Option<u64> {
        let starts = kept.starts().map(|nanos| nanos / 1_000);
        let in_range = starts.filter(|start| self.range().contains(start));
        in_range.max().map(|micros| micros / 1_000)
    }

    fn range(&self) -> RangeInclusive<u64> {
        self.begin..=self.end
    }

    /// Whether its spans together are all that is asked for. The start comes last, for it takes most reading.
    fn fits(&self, kept: &KeptTrace) -> bool {
        let mut unanswered = Unanswered::of(self);
        let service = self.service.as_deref();
        let is_of = |name: &str| service.is_none_or(|asked| is_named(service_name(name), asked));
        kept.spans_of(is_of)
            .any(|span| unanswered.is_answered_with(&span))
            && start(kept).is_some_and(|start| self.range().contains(&start))
    }
}

/// The start of a trace's first root, or of its earliest span when it has none, in Unix microseconds.
fn start(kept: &KeptTrace) -> Option<u64> {
    let mut earliest = None;
    for span in kept.spans() {
        let micros = span.start_unix_nano / 1_000;
        if micros == 0 {
            continue;
        }
        if Told::by(&span).ids().parent.is_none() {
            return Some(micros);
        }
        earliest = Some(earliest.map_or(micros, |earliest| micros.min(earliest)));
    }
    earliest
}

/// What of a question about spans of a service those of a trace have not answered yet.
struct Unanswered<'a, 's> {
    remote_service: Option<&'a str>,
    span_name: Option<&'a str>,
    annotations: Vec<Condition<'a, 's>>,
    duration: Option<(u64, u64)>,
}

/// A tag, or, where no value is asked for, an annotation.
struct Condition<'a, 's> {
    tag: TagFinder<'a, 's>,
    key: &'a str,
    value: &'a str,
}

impl<'a, 's> Unanswered<'a, 's> {
    fn of(search: &'a Search) -> Self {
        let conditions = search.annotations.iter();
        let conditions = conditions.map(|(key, value)| Condition {
            tag: TagFinder::new(key),
            key,
            value,
        });
        Self {
            remote_service: search.remote_service.as_deref(),
            span_name: search.span_name.as_deref(),
            annotations: conditions.collect(),
            duration: search.duration,
        }
    }

    /// Whether nothing is unanswered any more once this span has been looked at, too.
    fn is_answered_with(&mut self, span: &SpanRef<'s>) -> bool {
        let remote_service = || Told::by(span).remote_service();
        self.remote_service = self
            .remote_service
            .filter(|asked| !remote_service().is_some_and(|name| is_named(name, asked)));
        self.span_name = self.span_name.filter(|asked| !is_named(span.name, asked));
        self.annotations
            .retain_mut(|condition| !condition.is_met_by(span));
        self.duration = self.duration.filter(|&(least, most)| {
            !duration(span).is_some_and(|micros| (least..=most).contains(&micros))
        });
        self.remote_service.is_none()
            && self.span_name.is_none()
            && self.annotations.is_empty()
            && self.duration.is_none()
    }
}

impl<'s> Condition<'_, 's> {
    fn is_met_by(&mut self, span: &SpanRef<'s>) -> bool {
        let is_any = self.value.is_empty();
        let tag = self.tag.find(span);
        tag.is_some_and(|text| is_any || text == self.value)
            || is_any && is_annotated(span, self.key)
    }
}
