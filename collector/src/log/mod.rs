//! The batch log: one append-only log in memory, many readers. `intake` appends, each exporter reads at
//! its own pace by a cursor of its own. At the cap the oldest records go, whoever still waits for them:
//! a dead exporter holds nobody else back, and what it loses is counted and told.

mod compact;
#[cfg(test)]
mod model_tests;
mod state;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

pub use compact::compact;
use state::{Notice, Read, ReaderId, State};

use crate::status::{ExporterStatus, now_unix_nano};

/// One accepted batch: the bytes of an `ExportTraceServiceRequest`, as received.
#[derive(Clone, Debug)]
pub struct Record {
    /// Position in the log; grows by one a record.
    pub sequence: u64,
    /// The request's bytes.
    pub bytes: Bytes,
    /// Spans in it.
    pub spans: u64,
    /// Arrival, Unix nanoseconds.
    pub arrived_unix_nano: u64,
}

/// The log; cheap to clone.
#[derive(Clone, Debug)]
pub struct BatchLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    // Held for a few moves of records at a time and never across an await.
    state: Mutex<State>,
    changed: Notify,
}

/// Why a batch was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// It would not fit even if nothing else waited to be sent.
    #[error(
        "a batch of {bytes} bytes exceeds the batch log's cap of {limit} bytes; raise --memory-limit"
    )]
    TooLarge {
        /// Its size, with what the log needs beside it.
        bytes: usize,
        /// The cap.
        limit: usize,
    },
    /// The collector is shutting down.
    #[error("the collector is shutting down")]
    Closed,
}

/// One reader's place in the log. Dropping it gives up what it has not acknowledged, which is counted as
/// dropped.
#[derive(Debug)]
pub struct Cursor {
    log: BatchLog,
    reader: ReaderId,
}

impl BatchLog {
    /// A log that holds at most `limit` bytes, the records' own overhead included.
    pub fn in_memory(limit: usize) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State::new(limit)),
            changed: Notify::new(),
        }))
    }

    /// Appends a batch for every reader; with no reader it is not kept. Takes the batch as it is: see
    /// [`compact`] for bytes that may be a small part of a large allocation.
    ///
    /// # Errors
    /// [`Full`] when the batch alone exceeds the cap, or when the log is closed.
    pub fn append(&self, bytes: Bytes, spans: u64) -> Result<(), Full> {
        let notices = self.state().append(bytes, spans, now_unix_nano())?;
        self.0.changed.notify_waiters();
        tell(&notices);
        Ok(())
    }

    /// A new reader, from the next batch on.
    pub fn reader(&self, status: Arc<ExporterStatus>) -> Cursor {
        Cursor {
            reader: self.state().add_reader(status),
            log: self.clone(),
        }
    }

    /// Takes nothing more; readers get what is there and then the end.
    pub fn close(&self) {
        self.state().close();
        self.0.changed.notify_waiters();
    }

    /// Bytes kept now, the records' own overhead included.
    pub fn used(&self) -> usize {
        self.state().used()
    }

    /// The cap, in bytes.
    pub fn limit(&self) -> usize {
        self.state().limit()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cursor {
    /// The next records, in order, as many as fit `max_bytes` together but at least one; waits for one. The
    /// cursor does not move: the same records come again until [`ack`](Self::ack), unless the cap pushed
    /// them out meanwhile. `None` once the log is closed and everything was read. May be cancelled.
    pub async fn next(&mut self, max_bytes: usize) -> Option<Vec<Record>> {
        loop {
            let mut changed = pin!(self.log.0.changed.notified());
            // Listening starts before looking, so that a batch appended in between is not slept through.
            changed.as_mut().enable();
            let read = self.log.state().read(self.reader, max_bytes);
            match read {
                Read::Records(records) => return Some(records),
                Read::End => return None,
                Read::Nothing => changed.await,
            }
        }
    }

    /// Moves past every record up to and including `sequence`; what no reader needs any more is freed.
    /// Records that the cap pushed out while they were being sent are settled as sent.
    pub fn ack(&mut self, sequence: u64) {
        let notices = self.log.state().ack(self.reader, sequence);
        tell(&notices);
    }

    /// Spans that are neither acknowledged nor counted as dropped yet.
    pub fn unsent_spans(&self) -> u64 {
        self.log.state().unsent_spans(self.reader)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.log.state().remove_reader(self.reader);
    }
}

/// Told outside the lock, for a log sink may be slow.
fn tell(notices: &[Notice]) {
    for notice in notices {
        match notice {
            Notice::Dropping { exporter, spans } => tracing::warn!(
                exporter,
                spans,
                "the batch log is full: its oldest batches are dropped before this exporter could send them"
            ),
            Notice::Recovered { exporter, spans } => tracing::info!(
                exporter,
                spans,
                "the exporter caught up: nothing is dropped any more; spans is what this episode lost"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::*;

    fn log(limit: usize) -> (BatchLog, Cursor, Arc<ExporterStatus>) {
        let log = BatchLog::in_memory(limit);
        let status = Arc::new(ExporterStatus::default());
        let cursor = log.reader(Arc::clone(&status));
        (log, cursor, status)
    }

    fn batch(bytes: usize) -> Bytes {
        Bytes::from(vec![7; bytes])
    }

    async fn sequences(cursor: &mut Cursor, max_bytes: usize) -> Vec<u64> {
        let next = tokio::time::timeout(Duration::from_secs(10), cursor.next(max_bytes));
        let records = next.await.expect("a record in time").unwrap_or_default();
        records.iter().map(|record| record.sequence).collect()
    }

    #[tokio::test]
    async fn the_same_records_come_until_acknowledged() {
        let (log, mut cursor, status) = log(10_000);
        for _ in 0..3 {
            log.append(batch(100), 5).unwrap();
        }
        assert_eq!(sequences(&mut cursor, 200).await, [0, 1]);
        assert_eq!(sequences(&mut cursor, 1).await, [0]);
        cursor.ack(0);
        assert_eq!(sequences(&mut cursor, usize::MAX).await, [1, 2]);
        assert_eq!(status.queue_bytes.load(Ordering::Relaxed), 200);
        assert_ne!(status.oldest_unix_nano.load(Ordering::Relaxed), 0);
        cursor.ack(2);
        assert_eq!(status.queue_bytes.load(Ordering::Relaxed), 0);
        assert_eq!(status.oldest_unix_nano.load(Ordering::Relaxed), 0);
        assert_eq!(log.used(), 0);
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes_for_a_batch_and_for_the_end() {
        let (log, mut cursor, _status) = log(10_000);
        let (batches, ()) = tokio::join!(sequences(&mut cursor, 100), async {
            tokio::task::yield_now().await;
            log.append(batch(1), 1).unwrap();
        });
        assert_eq!(batches, [0]);
        cursor.ack(0);
        let (end, ()) = tokio::join!(cursor.next(100), async {
            tokio::task::yield_now().await;
            log.close();
        });
        assert!(end.is_none());
        assert_eq!(log.append(batch(1), 1), Err(Full::Closed));
    }

    #[tokio::test]
    async fn a_closed_log_is_read_to_its_end() {
        let (log, mut cursor, _status) = log(10_000);
        log.append(batch(1), 1).unwrap();
        log.close();
        assert_eq!(sequences(&mut cursor, 100).await, [0]);
        cursor.ack(0);
        assert!(cursor.next(100).await.is_none());
    }

    #[tokio::test]
    async fn what_is_pushed_out_while_being_sent_counts_once() {
        let (log, mut cursor, status) = log(1_100);
        log.append(batch(400), 1).unwrap();
        assert_eq!(sequences(&mut cursor, 1_000).await, [0]);
        log.append(batch(400), 2).unwrap();
        log.append(batch(400), 4).unwrap();
        let dropped = || status.dropped_spans.load(Ordering::Relaxed);
        assert_eq!(dropped(), 0, "record 0 is with the reader, 1 and 2 fit");
        cursor.ack(0);
        assert_eq!(dropped(), 0, "it was sent after all");
        // Handed out, pushed out, and asked for again instead of acknowledged: lost.
        assert_eq!(sequences(&mut cursor, 400).await, [1]);
        log.append(batch(400), 8).unwrap();
        assert_eq!(dropped(), 0);
        assert_eq!(sequences(&mut cursor, 400).await, [2]);
        assert_eq!(dropped(), 2);
        assert_eq!(cursor.unsent_spans(), 12);
        drop(cursor);
        assert_eq!(dropped(), 14, "giving up counts what was left");
        assert_eq!(log.used(), 0);
    }

    #[test]
    fn one_batch_beyond_the_cap_is_refused_and_costs_nobody() {
        let (log, cursor, status) = log(1_000);
        log.append(batch(100), 3).unwrap();
        let refused = log.append(batch(1_000), 1);
        assert!(matches!(refused, Err(Full::TooLarge { limit: 1_000, .. })));
        assert_eq!(cursor.unsent_spans(), 3);
        assert_eq!(status.dropped_spans.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn without_readers_nothing_is_kept() {
        let log = BatchLog::in_memory(1_000);
        log.append(batch(500), 1).unwrap();
        assert_eq!(log.used(), 0);
    }
}
