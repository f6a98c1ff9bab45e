//! What tail sampling knows: the rules about whole traces, and what was found of each trace by them. Filled record by
//! record by `look_ahead`, asked by `Sampler`.

use std::time::Duration;

use super::config::Tail;
use super::index::{Found, Index};
use super::slowest::Slowest;
use super::unwanted::Unwanted;
use crate::log::Record;
use crate::wire::{SpanKind, SpanRef, StatusCode, walk};

/// Of the bytes for the index, the part that operations may take.
const OPERATIONS_SHARE: usize = 4;

/// The rules of one exporter and what they have found.
#[derive(Debug)]
pub(super) struct Traces {
    keep_errors: bool,
    slower_than_nanos: Option<u64>,
    slowest: Option<Slowest>,
    wait_nanos: u64,
    index: Index,
}

impl Traces {
    pub(super) fn new(tail: &Tail) -> Self {
        let of_operations = tail.index_bytes / OPERATIONS_SHARE;
        let (slowest, of_operations) = match tail.keep_slowest {
            Some(share) => (Some(Slowest::new(share, of_operations)), of_operations),
            None => (None, 0),
        };
        Self {
            keep_errors: tail.keep_errors,
            slower_than_nanos: tail.keep_slower_than.map(nanos),
            slowest,
            wait_nanos: nanos(tail.decision_wait),
            index: Index::new(tail.index_bytes - of_operations),
        }
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// Notes what a record tells of its traces. The record was walked when it came, so there is no fault to expect; what
    /// stands before one counts.
    pub(super) fn note(&mut self, record: &Record, unwanted: Option<&Unwanted>) {
        let arrived = record.arrived_unix_nano;
        let _ = walk(&record.bytes, |span| {
            let found = Found {
                error: self.keep_errors && span.status == StatusCode::Error,
                slow: self.is_slow(&span),
                unwanted: span.parent_span_id.is_none()
                    && unwanted.is_some_and(|unwanted| unwanted.has(&span)),
            };
            self.index
                .note(span.trace_id, found, arrived, self.wait_nanos);
        });
    }

    /// What was found of a trace, which is thereby decided; `None` when it is not known (any more).
    pub(super) fn decide(&mut self, trace_id: [u8; 16]) -> Option<Found> {
        self.index.decide(trace_id)
    }

    /// Only entry spans are slow: those inside them are for a part of the same time.
    fn is_slow(&mut self, span: &SpanRef<'_>) -> bool {
        let is_entry = matches!(span.kind, SpanKind::Server | SpanKind::Consumer)
            || span.parent_span_id.is_none();
        // Each operation has to see all its calls.
        is_entry
            && (self
                .slowest
                .as_mut()
                .is_some_and(|slowest| slowest.has(span))
                | self
                    .slower_than_nanos
                    .is_some_and(|than| span.duration_nanos() > than))
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
