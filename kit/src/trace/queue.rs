//! The span queue: `http` and `span` push finished spans, the exporter's thread takes them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;

use super::counters::{DropReason, TelemetryCounters};
use super::{ExportConfig, ExporterKind, SpanRecord};

/// The request path's end of the span queue: bounded, never blocks, counts what it drops.
#[derive(Clone, Debug)]
pub(crate) struct SpanQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the exporter when a batch is full.
    full_batch: Notify,
    capacity: usize,
    batch: usize,
    enabled: AtomicBool,
    counters: TelemetryCounters,
}

#[derive(Debug, Default)]
struct State {
    spans: Vec<SpanRecord>,
    /// Spans that the exporter took and has not settled: they count against the capacity.
    in_hand: usize,
    closed: bool,
}

impl SpanQueue {
    /// A queue of the size `config` says; one that keeps nothing when its exporter is none.
    pub(crate) fn new(config: &ExportConfig) -> Self {
        Self::with(
            config.max_queue_size.max(1),
            config.max_export_batch_size,
            config.exporter != ExporterKind::None,
        )
    }

    /// False when spans go nowhere: the request path need not build any.
    pub(crate) fn is_enabled(&self) -> bool {
        self.0.enabled.load(Ordering::Relaxed)
    }

    /// What became of the spans so far.
    pub(crate) fn counters(&self) -> &TelemetryCounters {
        &self.0.counters
    }

    /// Hands a finished span to the exporter; drops and counts it when the queue is full.
    pub(crate) fn push(&self, span: SpanRecord) {
        if !self.is_enabled() {
            return;
        }
        let mut state = self.lock();
        if state.closed {
            return self.refuse(state, DropReason::Shutdown);
        }
        if state.spans.len() + state.in_hand >= self.0.capacity {
            return self.refuse(state, DropReason::QueueFull);
        }
        state.spans.push(span);
        let queued = state.spans.len();
        // Told under the lock, or a slower thread's older number could stay.
        self.0.counters.set_waiting(queued + state.in_hand);
        drop(state);
        // Only the push that fills the batch wakes: the others would be system calls for nothing.
        if queued == self.0.batch {
            self.0.full_batch.notify_one();
        }
    }

    /// Moves everything queued behind what `pending` holds; swapping the buffers keeps the lock short.
    pub(super) fn take_into(
        &self,
        pending: &mut VecDeque<SpanRecord>,
        spare: &mut Vec<SpanRecord>,
    ) {
        let mut state = self.lock();
        std::mem::swap(&mut state.spans, spare);
        state.in_hand += spare.len();
        drop(state);
        pending.extend(spare.drain(..));
    }

    /// Tells that `spans` taken before are sent or given up, so their places are free again.
    pub(super) fn settle(&self, spans: usize) {
        let mut state = self.lock();
        state.in_hand = state.in_hand.saturating_sub(spans);
        self.0
            .counters
            .set_waiting(state.spans.len() + state.in_hand);
    }

    /// Takes what is queued, for `testing`, where there is no exporter.
    pub(crate) fn drain(&self) -> Vec<SpanRecord> {
        let mut state = self.lock();
        self.0.counters.set_waiting(state.in_hand);
        std::mem::take(&mut state.spans)
    }

    /// From here on pushed spans are dropped and counted.
    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    /// Nothing will ever be exported: what waits is lost, and no more is built or kept.
    pub(super) fn switch_off(&self, cause: &str) {
        self.0.enabled.store(false, Ordering::Relaxed);
        let mut state = self.lock();
        let lost = std::mem::take(&mut state.spans).len() + state.in_hand;
        state.in_hand = 0;
        self.0.counters.set_waiting(0);
        drop(state);
        self.0.counters.add_failed(lost as u64);
        self.0.counters.faulted(SystemTime::now(), cause.to_owned());
    }

    /// Completes when a batch has filled since the last call.
    pub(super) async fn batch_full(&self) {
        self.0.full_batch.notified().await;
    }

    fn with(capacity: usize, batch: usize, enabled: bool) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            full_batch: Notify::new(),
            capacity,
            batch: batch.clamp(1, capacity),
            enabled: AtomicBool::new(enabled),
            counters: TelemetryCounters::default(),
        }))
    }

    /// The span that was refused is freed by the caller, outside the lock.
    fn refuse(&self, state: MutexGuard<'_, State>, reason: DropReason) {
        drop(state);
        self.0.counters.add_dropped(reason, 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::*;

    fn queue(capacity: usize, batch: usize) -> SpanQueue {
        SpanQueue::with(capacity, batch, true)
    }

    /// As the exporter takes: the spans stay in its hand.
    fn take(queue: &SpanQueue) -> usize {
        let mut pending = VecDeque::new();
        queue.take_into(&mut pending, &mut Vec::new());
        pending.len()
    }

    #[test]
    fn what_overflows_is_dropped_and_counted() {
        let queue = queue(3, 2);
        for _ in 0..5 {
            queue.push(record("span"));
        }
        assert_eq!(queue.counters().dropped(DropReason::QueueFull), 2);
        assert_eq!(queue.counters().waiting(), 3);
        assert_eq!(take(&queue), 3);
    }

    #[test]
    fn spans_in_the_exporters_hand_count_until_settled() {
        let queue = queue(2, 2);
        queue.push(record("a"));
        queue.push(record("b"));
        assert_eq!(take(&queue), 2);
        queue.push(record("c"));
        assert_eq!(queue.counters().dropped(DropReason::QueueFull), 1);
        queue.settle(2);
        assert_eq!(queue.counters().waiting(), 0);
        queue.push(record("d"));
        assert_eq!(take(&queue), 1);
    }

    #[test]
    fn a_closed_queue_counts_late_spans_as_lost_at_shutdown() {
        let queue = queue(2, 2);
        queue.close();
        queue.push(record("late"));
        assert_eq!(queue.counters().dropped(DropReason::Shutdown), 1);
        assert_eq!(take(&queue), 0);
    }

    #[test]
    fn a_queue_without_exporter_keeps_and_counts_nothing() {
        let config = ExportConfig {
            exporter: ExporterKind::None,
            ..ExportConfig::default()
        };
        let queue = SpanQueue::new(&config);
        queue.push(record("span"));
        assert!(!queue.is_enabled());
        assert_eq!(take(&queue), 0);
        assert_eq!(queue.counters().dropped(DropReason::QueueFull), 0);
    }

    #[tokio::test]
    async fn a_full_batch_wakes_the_exporter() {
        let queue = queue(10, 2);
        queue.push(record("a"));
        let waiting = {
            let queue = queue.clone();
            tokio::spawn(async move { queue.batch_full().await })
        };
        queue.push(record("b"));
        tokio::time::timeout(std::time::Duration::from_secs(5), waiting)
            .await
            .expect("woken in time")
            .unwrap();
    }
}
