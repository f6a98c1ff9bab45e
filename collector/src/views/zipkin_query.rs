//! The kept traces' spans as they came, for Zipkin's query API: what its answers are made of. Called by `web::zipkin`.
//!
//! Questions look at every span there is. They do so where the spans lie, a few traces at a time, and let whoever counts
//! go first in between: copies of all traces would cost more than looking at them.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::kept::KeptTrace;
use super::{Views, lock};

/// Spans that are looked at before others may have the traces: some 100 us.
const TURN_SPANS: usize = 1_000;
/// How long a question gives way after each turn: an answer takes its time, too, when spans never stop coming.
const GIVE_WAY: Duration = Duration::from_micros(200);

impl Views {
    /// The traces that are kept now, in no order.
    pub(crate) fn kept_trace_ids(&self) -> Vec<[u8; 16]> {
        lock(&self.traces).ids()
    }

    /// A copy of one of them; `None` when it is not kept, or not any more.
    pub(crate) fn kept_trace(&self, trace_id: [u8; 16]) -> Option<KeptTrace> {
        lock(&self.traces).get(trace_id)
    }

    /// Shows those of the traces that are kept to `look`, in this order; nobody counts while it looks.
    pub(crate) fn look_at_kept(&self, trace_ids: Vec<[u8; 16]>, look: impl FnMut(&KeptTrace)) {
        self.look_in_turns(trace_ids, TURN_SPANS, look);
    }

    /// The services with a span in a kept trace; some may be there more than once.
    pub(crate) fn kept_services(&self) -> Vec<String> {
        lock(&self.traces).services()
    }

    fn look_in_turns(
        &self,
        trace_ids: Vec<[u8; 16]>,
        turn_spans: usize,
        mut look: impl FnMut(&KeptTrace),
    ) {
        let mut trace_ids = trace_ids.into_iter().peekable();
        while trace_ids.peek().is_some() {
            let traces = lock(&self.traces);
            let mut spans = 0;
            while spans < turn_spans
                && let Some(trace_id) = trace_ids.next()
            {
                if let Some(trace) = traces.peek(trace_id) {
                    spans += trace.len();
                    look(trace);
                }
            }
            drop(traces);
            self.give_way();
        }
    }

    /// A mutex goes to whoever comes first, and who asks again at once is always that.
    pub(super) fn give_way(&self) {
        let until = Instant::now() + GIVE_WAY;
        while self.counting.load(Ordering::Relaxed) > 0 && Instant::now() < until {
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::Config;
    use crate::wire::{test_support, walk};

    fn count(views: &Views, traces: std::ops::Range<u128>) {
        for trace in traces {
            let span = test_support::span(trace, 1, 0);
            let group = test_support::resource_spans("shop", vec![span]);
            let bytes = test_support::encode(vec![group]);
            walk(&bytes, |span| views.count(&[span], 1_000_000_000)).unwrap();
        }
    }

    #[test]
    fn who_counts_waits_for_a_turn_and_not_for_the_whole_question() {
        const TRACES: u128 = 2_000;
        let views = Views::new(Config {
            retention: Duration::from_secs(3600),
            trace_bytes: 64 << 20,
            view_bytes: 1 << 20,
        });
        count(&views, 1..TRACES + 1);
        let (mut looked, mut counted_after) = (0, None);
        thread::scope(|scope| {
            views.look_in_turns(views.kept_trace_ids(), 10, |_| {
                if looked == 0 {
                    scope.spawn(|| count(&views, TRACES + 1..TRACES + 2));
                    while views.counting.load(Ordering::Relaxed) == 0 {
                        thread::yield_now();
                    }
                }
                looked += 1;
                let is_counted = views.spans_counted() > TRACES as u64;
                counted_after = counted_after.or(is_counted.then_some(looked));
            });
        });
        assert_eq!(looked, TRACES as usize);
        let after = counted_after.expect("counted meanwhile");
        assert!(after > 10, "nobody counts while a turn lasts: {after}");
    }
}
