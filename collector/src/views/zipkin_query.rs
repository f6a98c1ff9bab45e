//! The kept traces' spans as they came, for Zipkin's query API: what its answers are made of. Called by `web::zipkin`.
//!
//! Each trace is copied when its turn comes, so that going through all of them holds up counting no longer than a page
//! of one trace does.

use super::kept::KeptTrace;
use super::{Views, lock};
use crate::wire::SpanRef;

/// A copy of one kept trace.
#[derive(Clone, Debug)]
pub struct KeptSpans(KeptTrace);

impl KeptSpans {
    /// The spans in order of arrival; one that was sent twice is there twice. At most 5,000.
    pub fn spans(&self) -> impl Iterator<Item = SpanRef<'_>> {
        self.0.spans()
    }
}

impl Views {
    /// The traces that are kept now, in no order.
    pub fn kept_trace_ids(&self) -> Vec<[u8; 16]> {
        lock(&self.traces).ids()
    }

    /// One of them; `None` when it is not kept, or not any more.
    pub fn kept_spans(&self, trace_id: [u8; 16]) -> Option<KeptSpans> {
        lock(&self.traces).get(trace_id).map(KeptSpans)
    }

    /// All of them, one after the other.
    pub fn every_kept_trace(&self) -> impl Iterator<Item = ([u8; 16], KeptSpans)> {
        let ids = self.kept_trace_ids().into_iter();
        ids.filter_map(|id| Some((id, self.kept_spans(id)?)))
    }

    /// The services with a span in a kept trace; some may be there more than once.
    pub fn kept_services(&self) -> Vec<String> {
        lock(&self.traces).services()
    }
}
