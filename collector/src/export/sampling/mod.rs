//! Sampling at export: which spans of the log one exporter sends. Asked by its worker instead of the cursor, where
//! there is anything to leave out; the views have counted everything before.
//!
//! Spans are not buffered: the log has them. Without rules about whole traces each span is decided by itself. With
//! them, `look_ahead` reads the log before the worker does and notes in a bounded index what was found of each trace
//! (`tail`, `slowest`, `index`); the worker follows by the time that traces are waited for, and sends of each record the
//! spans that are to be kept. A record is acknowledged as a whole once those were sent, so that after a crash what was
//! not decided yet is read and decided again.

mod by_ratio;
mod config;
mod index;
mod look_ahead;
#[cfg(test)]
mod model_tests;
mod slowest;
mod tail;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod unwanted;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use by_ratio::ByRatio;
pub use config::{DEFAULT_DECISION_WAIT, Ratio, Sampling, Tail};
use index::Found;
use look_ahead::{Early, LookAhead};
use tail::Traces;
use unwanted::{Spans, Unwanted};

use crate::log::{Cursor, Record};
use crate::signal::Signal;
use crate::status::{ExporterStatus, add};
use crate::wire::{Fate, SpanRef, retain};

/// Early decisions are told at most so often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Decides for one exporter.
#[derive(Debug)]
pub(super) struct Sampler {
    by_ratio: ByRatio,
    unwanted: Option<Unwanted>,
    whole_traces: Option<(LookAhead, Traces)>,
    status: Arc<ExporterStatus>,
    /// What was handed to the worker and is not settled.
    handed: VecDeque<(u64, Tally)>,
    told_early: Option<Instant>,
}

/// What became of the spans of one record.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    out_by_ratio: u64,
    out_by_route: u64,
    kept_errors: u64,
    kept_slow: u64,
    early: u64,
    forgotten: u64,
}

impl Sampler {
    /// One that does what `config` says to the records of `cursor`, and counts in `status`; `None` when everything is sent.
    pub(super) fn new(
        config: &Sampling,
        status: Arc<ExporterStatus>,
        cursor: &Cursor,
    ) -> Option<Self> {
        let whole_traces = |tail| (LookAhead::of(cursor, tail), Traces::new(tail));
        config.is_on().then(|| Self {
            by_ratio: ByRatio::keeping(config.ratio),
            unwanted: Unwanted::of(config),
            whole_traces: config.tail.as_ref().map(whole_traces),
            status,
            handed: VecDeque::new(),
            told_early: None,
        })
    }

    /// As [`Cursor::next`], of what was decided, with what is to be sent of it. A record of which nothing is has no spans
    /// and no bytes. Other signals come as late as traces do, and whole.
    pub(super) async fn next(
        &mut self,
        cursor: &mut Cursor,
        max_bytes: usize,
    ) -> Option<Vec<Record>> {
        loop {
            let due = match &mut self.whole_traces {
                Some((look_ahead, traces)) => {
                    look_ahead.due(cursor, traces, self.unwanted.as_ref()).await
                }
                None => None,
            };
            if let Some(due) = due
                && !cursor.has_more()
            {
                self.forget(due.sequence);
                continue;
            }
            let mut records = cursor.next(max_bytes).await?;
            let Some(first) = records.first().map(|record| record.sequence) else {
                continue;
            };
            if let Some(due) = due {
                records.retain(|record| record.sequence <= due.sequence);
            }
            if !records.is_empty() {
                let early = due.and_then(|due| due.early);
                self.tell(early);
                return Some(self.sample(records, max_bytes, early.is_some()));
            }
            // What was due is sent, or the log dropped it.
            self.forget(first.saturating_sub(1));
        }
    }

    /// Counts what became of the spans up to `sequence`, which were sent or set aside.
    pub(super) fn settled(&mut self, sequence: u64) {
        while let Some((handed, tally)) = self.handed.front().copied()
            && handed <= sequence
        {
            self.handed.pop_front();
            tally.count(&self.status);
        }
        // Of other signals earlier records may still have to be sent.
        if self.status.signals.iter().eq([Signal::Traces]) {
            self.forget(sequence);
        }
    }

    fn forget(&mut self, sequence: u64) {
        if let Some((look_ahead, _)) = &mut self.whole_traces {
            look_ahead.settled(sequence);
        }
    }

    /// The records with what is kept of them, as long as that fits `max_bytes`, but at least one.
    fn sample(&mut self, records: Vec<Record>, max_bytes: usize, early: bool) -> Vec<Record> {
        self.handed.clear();
        let mut bytes = 0;
        let mut sampled: Vec<Record> = Vec::with_capacity(records.len());
        for record in records {
            let mut tally = Tally::default();
            if early && record.signal == Signal::Traces {
                tally.early = record.items;
            }
            let record = match record.signal {
                Signal::Traces => self.sample_one(record, &mut tally),
                Signal::Logs | Signal::Metrics => record,
            };
            bytes += record.bytes.len();
            if bytes > max_bytes && !sampled.is_empty() {
                break;
            }
            self.handed.push_back((record.sequence, tally));
            sampled.push(record);
        }
        sampled
    }

    /// What was walked when it came has no fault; a record that has one all the same goes as it is, to lose nothing.
    fn sample_one(&mut self, record: Record, tally: &mut Tally) -> Record {
        let unwanted = self.unwanted.as_ref().map(|rule| rule.among(&record.bytes));
        let unwanted = unwanted.and_then(Result::ok).unwrap_or_default();
        let by_ratio = &self.by_ratio;
        let mut traces = self.whole_traces.as_mut().map(|(_, traces)| traces);
        let retained = retain(&record.bytes, |span| {
            let found = match &mut traces {
                Some(traces) => traces.decide(span.trace_id),
                None => Some(Found::default()),
            };
            fate(by_ratio, found, &unwanted, span, tally)
        });
        let Ok(retained) = retained else {
            return record;
        };
        let bytes = match retained.bytes {
            _ if retained.spans == 0 => Bytes::new(),
            Some(bytes) => bytes.into(),
            None => record.bytes,
        };
        Record {
            items: retained.spans,
            bytes,
            ..record
        }
    }

    /// Early decisions may cut traces in two, which somebody will wonder about.
    fn tell(&mut self, early: Option<Early>) {
        let why = match early {
            None | Some(Early::Stopping) => return,
            Some(Early::LogFills) => "what waits takes half of what the batch log may hold",
            Some(Early::IndexFills) => "undecided traces take most of the memory for them",
        };
        let now = Instant::now();
        if self.told_early.is_none_or(|told| now - told >= TELL_EVERY) {
            self.told_early = Some(now);
            tracing::warn!(
                exporter = self.status.name,
                why,
                "traces are decided before their decision_wait is over: shorten it, or raise the limit"
            );
        }
    }
}

/// What becomes of `span`, given what was `found` of its trace; a trace that is not known is like any other.
fn fate<'r>(
    by_ratio: &'r ByRatio,
    found: Option<Found>,
    unwanted: &Spans,
    span: &SpanRef<'_>,
    tally: &mut Tally,
) -> Fate<'r> {
    tally.forgotten += u64::from(found.is_none());
    let found = found.unwrap_or_default();
    let is_below = || !unwanted.is_empty() && unwanted.contains(&(span.trace_id, span.span_id));
    if found.unwanted || is_below() {
        tally.out_by_route += 1;
        return Fate::Drop;
    }
    if found.error || found.slow {
        // With certainty, so that nothing has to be told of a rate.
        tally.kept_errors += u64::from(found.error);
        tally.kept_slow += u64::from(found.slow && !found.error);
        return Fate::Keep;
    }
    let fate = by_ratio.fate(span);
    tally.out_by_ratio += u64::from(fate == Fate::Drop);
    fate
}

impl Tally {
    fn count(self, status: &ExporterStatus) {
        let sampling = &status.sampling;
        for (counter, spans) in [
            (&sampling.out_by_ratio_spans, self.out_by_ratio),
            (&sampling.out_by_route_spans, self.out_by_route),
            (&sampling.kept_errors_spans, self.kept_errors),
            (&sampling.kept_slow_spans, self.kept_slow),
            (&sampling.early_spans, self.early),
            (&sampling.forgotten_spans, self.forgotten),
        ] {
            if spans > 0 {
                add(counter, spans);
            }
        }
    }
}
