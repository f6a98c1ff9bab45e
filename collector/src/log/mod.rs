//! The batch log: one append-only log, many readers. `intake` appends, each exporter reads at its own pace by a
//! cursor of its own. At the cap a lagging reader either has senders refused, or loses its oldest records, which
//! is counted and told; the choice is each reader's own. It is in memory, or in a directory ([`disk`]). Each record is
//! of one signal; a reader is given those of the signals that it takes, and the others pass it by.

mod compact;
pub mod disk;
mod memory;
#[cfg(test)]
mod model_tests;
mod notice;

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

pub use compact::compact;
use disk::{DiskConfig, DiskCursor, DiskLog, OpenError, Recovery};
use memory::State;
use notice::{Notice, tell};

use crate::signal::{Items, Signal};
use crate::status::{ExporterStatus, LogStatus, now_unix_nano};

/// Charged for every record in memory beside its bytes: the record, its share of the queue and its allocation.
const RECORD_OVERHEAD: usize = 128;

/// Most records handed out at once, so that a flood of tiny batches makes no huge answer.
const MAX_RECORDS: usize = 4_096;

/// One accepted batch: the bytes of its signal's request, as received.
#[derive(Clone, Debug)]
pub struct Record {
    /// Position in the log; grows by one a record.
    pub sequence: u64,
    /// What it is of.
    pub signal: Signal,
    /// The request's bytes.
    pub bytes: Bytes,
    /// Spans, log records or data points in it.
    pub items: u64,
    /// Arrival, Unix nanoseconds.
    pub arrived_unix_nano: u64,
}

/// What gives way when the log is full and a reader still needs its oldest records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// Senders: their batches are refused until there is room, and they retry.
    Refuse,
    /// The reader: it loses its oldest records, which is counted and told.
    DropOldest,
}

/// A reader to be.
#[derive(Clone, Debug)]
pub struct ReaderConfig {
    /// What it counts and which signals it takes; its name is what a directory knows it by.
    pub status: Arc<ExporterStatus>,
    /// What gives way at the cap.
    pub on_full: OnFull,
}

/// The log; cheap to clone.
#[derive(Clone, Debug)]
pub struct BatchLog(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Memory(Arc<MemoryLog>),
    Disk(Arc<DiskLog>),
}

#[derive(Debug)]
struct MemoryLog {
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
    /// There is no room, and an exporter whose `on_full` is `refuse` has not sent the oldest batches yet.
    #[error("the batch log is full: its {limit} bytes wait for an exporter")]
    Now {
        /// The cap.
        limit: u64,
    },
    /// The disk is slower than batches come, and memory for those that wait for it is used up.
    #[error("batches come faster than the data directory's disk can write them")]
    Behind,
    /// The disk has finished nothing for a while, neither with success nor with an error.
    #[error("the data directory's disk has not finished a write for {seconds} s")]
    Hangs {
        /// For how long.
        seconds: u64,
    },
    /// The disk did not take it.
    #[error("the data directory cannot be written: {0}")]
    Disk(io::ErrorKind),
    /// The collector is shutting down.
    #[error("the collector is shutting down")]
    Closed,
}

/// One reader's place in the log. Dropping that of a log in memory gives up what it has not acknowledged, which is
/// counted as dropped; on disk it stays for the next start.
#[derive(Debug)]
pub struct Cursor(CursorKind);

#[derive(Debug)]
enum CursorKind {
    Memory(MemoryCursor),
    Disk(DiskCursor),
}

#[derive(Debug)]
struct MemoryCursor {
    log: Arc<MemoryLog>,
    reader: ReaderId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ReaderId(u64);

/// What a reader finds.
#[derive(Debug)]
enum Read {
    Records(Vec<Record>),
    Nothing,
    End,
}

impl Record {
    /// Its items as those of its signal.
    fn counted(&self) -> Items {
        Items::only(self.signal, self.items)
    }
}

impl BatchLog {
    /// A log that holds at most `limit` bytes, the records' own overhead included, and its readers, in the order of
    /// `readers`.
    pub fn in_memory(limit: usize, readers: Vec<ReaderConfig>) -> (Self, Vec<Cursor>) {
        let mut state = State::new(limit);
        let readers: Vec<_> = readers
            .into_iter()
            .map(|config| state.add_reader(config))
            .collect();
        let log = Arc::new(MemoryLog {
            state: Mutex::new(state),
            changed: Notify::new(),
        });
        let cursor = |reader| {
            Cursor(CursorKind::Memory(MemoryCursor {
                log: Arc::clone(&log),
                reader,
            }))
        };
        let cursors = readers.into_iter().map(cursor).collect();
        (Self(Kind::Memory(log)), cursors)
    }

    /// The log in a directory, as it was left, with at most `memory` bytes of it in memory; its readers, in the order
    /// of `readers`; and what was found, to be told. Blocks while the directory is read.
    ///
    /// # Errors
    /// [`OpenError`], when the directory cannot be used at all or is in use. Whatever its files hold is none.
    pub fn on_disk(
        config: &DiskConfig,
        memory: usize,
        readers: Vec<ReaderConfig>,
        status: Arc<LogStatus>,
    ) -> Result<(Self, Vec<Cursor>, Recovery), OpenError> {
        let (log, cursors, recovery) = DiskLog::open(config, memory, readers, status)?;
        let cursors = cursors.into_iter().map(CursorKind::Disk).map(Cursor);
        Ok((Self(Kind::Disk(Arc::new(log))), cursors.collect(), recovery))
    }

    /// Appends a batch for every reader that takes its signal; with none it is not kept. Returns when the batch is as
    /// safe as the log promises: at once in memory, once it is written, and perhaps synced, on disk. Who stops waiting
    /// may find it appended all the same. Takes the batch as it is: see [`compact`] for bytes that may be a small part
    /// of a large allocation.
    ///
    /// # Errors
    /// [`Full`]; nothing is kept then.
    pub async fn append(&self, signal: Signal, bytes: Bytes, items: u64) -> Result<(), Full> {
        match &self.0 {
            Kind::Memory(log) => log.append(signal, bytes, items),
            Kind::Disk(log) => log.append(signal, bytes, items).await,
        }
    }

    /// The same in memory, of a batch that arrived then.
    #[cfg(test)]
    pub(crate) fn append_at(
        &self,
        signal: Signal,
        bytes: Bytes,
        items: u64,
        arrived_unix_nano: u64,
    ) {
        let Kind::Memory(log) = &self.0 else {
            panic!("not in memory");
        };
        let appended = log.state().append(signal, bytes, items, arrived_unix_nano);
        tell(&appended.unwrap());
        log.changed.notify_waiters();
    }

    /// Whether [`append`](Self::append) waits for a disk.
    pub fn is_on_disk(&self) -> bool {
        matches!(self.0, Kind::Disk(_))
    }

    /// Takes nothing more; readers get what is there and then the end.
    pub fn close(&self) {
        match &self.0 {
            Kind::Memory(log) => {
                log.state().close();
                log.changed.notify_waiters();
            }
            Kind::Disk(log) => log.close(),
        }
    }

    /// Closes the log and has everything on disk that belongs there, how far readers have come included.
    pub async fn finish(&self) {
        self.close();
        if let Kind::Disk(log) = &self.0 {
            let log = Arc::clone(log);
            // Fails only when the runtime is going down, and dropping the log does the same.
            let _ = tokio::task::spawn_blocking(move || log.finish()).await;
        }
    }

    /// Returns when the log takes nothing any more because of a fault in its own code; what it has is still read and sent,
    /// and nothing that was answered with success is lost. In memory that does not happen.
    pub async fn broken(&self) {
        match &self.0 {
            Kind::Memory(_) => std::future::pending().await,
            Kind::Disk(log) => log.broken().await,
        }
    }

    /// Whether [`broken`](Self::broken) has returned, or would.
    pub fn is_broken(&self) -> bool {
        match &self.0 {
            Kind::Memory(_) => false,
            Kind::Disk(log) => log.is_broken(),
        }
    }

    /// Bytes kept in memory now, the records' own overhead included.
    pub fn used(&self) -> usize {
        match &self.0 {
            Kind::Memory(log) => log.state().used(),
            Kind::Disk(log) => log.memory_used(),
        }
    }

    /// The cap on [`used`](Self::used), in bytes.
    pub fn limit(&self) -> usize {
        match &self.0 {
            Kind::Memory(log) => log.state().limit(),
            Kind::Disk(log) => log.memory_limit(),
        }
    }
}

impl MemoryLog {
    fn append(&self, signal: Signal, bytes: Bytes, items: u64) -> Result<(), Full> {
        let notices = self.state().append(signal, bytes, items, now_unix_nano())?;
        self.changed.notify_waiters();
        tell(&notices);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cursor {
    /// The next records, in order and all of one signal, as many as fit `max_bytes` together but at least one; waits
    /// for one. The cursor does not move: the same records come again until [`ack`](Self::ack), unless the cap pushed
    /// them out meanwhile. Records of another signal that lie between come after them. `None` once the log is closed
    /// and everything was read. May be cancelled.
    pub async fn next(&mut self, max_bytes: usize) -> Option<Vec<Record>> {
        match &mut self.0 {
            CursorKind::Memory(cursor) => cursor.next(max_bytes).await,
            CursorKind::Disk(cursor) => cursor.next(max_bytes).await,
        }
    }

    /// Further records to send beside those that came last: of the same signal and behind record `after` of them, as
    /// many as fit `max_bytes` together. What came up to `after` stays handed out, until [`ack`](Self::ack) or until
    /// [`next`](Self::next) begins anew; what came behind it comes again. Waits for nothing but the disk. Empty where there
    /// is nothing more, and where only `next` can tell what there is: at damage, and at a record that alone is larger
    /// on disk. Other signals wait meanwhile: whoever reads on lets them have their turn.
    pub async fn read_on(&mut self, after: u64, max_bytes: usize) -> Vec<Record> {
        match &mut self.0 {
            CursorKind::Memory(cursor) => {
                let mut state = cursor.log.state();
                state.read_on(cursor.reader, after, max_bytes)
            }
            CursorKind::Disk(cursor) => cursor.read_on(after, max_bytes).await,
        }
    }

    /// Bytes of records that are not acknowledged, those that were handed out included.
    pub fn unsent_bytes(&self) -> u64 {
        match &self.0 {
            CursorKind::Memory(cursor) => cursor.log.state().unsent_bytes(cursor.reader),
            CursorKind::Disk(cursor) => cursor.unsent_bytes(),
        }
    }

    /// Moves past every record up to and including `sequence`, of the signal that came last; what no reader needs any
    /// more is freed.
    /// Records that the cap pushed out while they were being sent are settled as sent.
    pub fn ack(&mut self, sequence: u64) {
        match &mut self.0 {
            CursorKind::Memory(cursor) => {
                let notices = cursor.log.state().ack(cursor.reader, sequence);
                tell(&notices);
            }
            CursorKind::Disk(cursor) => cursor.ack(sequence),
        }
    }

    /// `items` more of record `sequence`, which was handed out and goes out in parts, are counted already, as sent or refused:
    /// if the record is lost, these are not lost with it.
    pub fn told(&mut self, sequence: u64, items: Items) {
        match &mut self.0 {
            CursorKind::Memory(cursor) => cursor.log.state().told(cursor.reader, sequence, items),
            CursorKind::Disk(cursor) => cursor.told(sequence, items),
        }
    }

    /// Gives up what was handed out last, for a while: the same records come again when asked for. On disk one reader at a
    /// time may have a record of more than its share of memory, and the next one need not wait any longer then.
    pub fn let_go(&mut self) {
        match &mut self.0 {
            CursorKind::Memory(_) => {}
            CursorKind::Disk(cursor) => cursor.let_go(),
        }
    }

    /// Items that are neither acknowledged nor counted as dropped yet.
    pub fn unsent(&self) -> Items {
        match &self.0 {
            CursorKind::Memory(cursor) => cursor.log.state().unsent(cursor.reader),
            CursorKind::Disk(cursor) => cursor.unsent(),
        }
    }

    /// A second cursor at the same place, to look ahead with: it is not known to the next start, nobody is refused for
    /// it, and what it misses counts nowhere. What it has not acknowledged stays in the log, so it has to stay ahead.
    pub fn scout(&self) -> Self {
        Self(match &self.0 {
            CursorKind::Memory(cursor) => CursorKind::Memory(MemoryCursor {
                reader: cursor.log.state().add_scout(cursor.reader),
                log: Arc::clone(&cursor.log),
            }),
            CursorKind::Disk(cursor) => CursorKind::Disk(cursor.scout()),
        })
    }

    /// Whether there are records that are not acknowledged.
    pub fn has_more(&self) -> bool {
        match &self.0 {
            CursorKind::Memory(cursor) => cursor.log.state().has_more(cursor.reader),
            CursorKind::Disk(cursor) => cursor.has_more(),
        }
    }

    /// Whether what waits for this reader takes more than half of what the log may hold: it should hurry.
    pub fn is_pressed(&self) -> bool {
        match &self.0 {
            CursorKind::Memory(cursor) => cursor.log.state().is_pressed(cursor.reader),
            CursorKind::Disk(cursor) => cursor.is_pressed(),
        }
    }

    /// Waits until there are records that are not acknowledged, or until the log is closed. Hands nothing out and may
    /// be cancelled at any time.
    pub async fn ready(&self) {
        match &self.0 {
            CursorKind::Memory(cursor) => {
                let closed_or_more = || {
                    let state = cursor.log.state();
                    state.is_closed() || state.has_more(cursor.reader)
                };
                until(&cursor.log.changed, closed_or_more).await;
            }
            CursorKind::Disk(cursor) => cursor.ready().await,
        }
    }

    /// Whether what is unsent at the end is there again at the next start.
    pub fn is_on_disk(&self) -> bool {
        matches!(self.0, CursorKind::Disk(_))
    }
}

impl MemoryCursor {
    async fn next(&mut self, max_bytes: usize) -> Option<Vec<Record>> {
        loop {
            let mut changed = pin!(self.log.changed.notified());
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
}

impl Drop for MemoryCursor {
    fn drop(&mut self) {
        self.log.state().remove_reader(self.reader);
    }
}

/// Waits for a change after which `condition` holds.
async fn until(changed: &Notify, condition: impl Fn() -> bool) {
    loop {
        let mut change = pin!(changed.notified());
        // Listening starts before looking, so that a change in between is not slept through.
        change.as_mut().enable();
        if condition() {
            return;
        }
        change.await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::signal::Signals;

    fn log(limit: usize) -> (BatchLog, Cursor, Arc<ExporterStatus>) {
        let status = Arc::new(ExporterStatus::default());
        let (log, cursor) = log_with(limit, &status, OnFull::DropOldest);
        (log, cursor, status)
    }

    fn log_with(limit: usize, status: &Arc<ExporterStatus>, on_full: OnFull) -> (BatchLog, Cursor) {
        let status = Arc::clone(status);
        let (log, mut cursors) = BatchLog::in_memory(limit, vec![ReaderConfig { status, on_full }]);
        (log, cursors.pop().unwrap())
    }

    /// In memory an append never waits.
    fn append(log: &BatchLog, bytes: Bytes, spans: u64) -> Result<(), Full> {
        let appended = log.append(Signal::Traces, bytes, spans);
        appended.now_or_never().unwrap()
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
            append(&log, batch(100), 5).unwrap();
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
            append(&log, batch(1), 1).unwrap();
        });
        assert_eq!(batches, [0]);
        cursor.ack(0);
        let (end, ()) = tokio::join!(cursor.next(100), async {
            tokio::task::yield_now().await;
            log.close();
        });
        assert!(end.is_none());
        assert_eq!(append(&log, batch(1), 1), Err(Full::Closed));
    }

    #[tokio::test]
    async fn a_closed_log_is_read_to_its_end() {
        let (log, mut cursor, _status) = log(10_000);
        append(&log, batch(1), 1).unwrap();
        log.close();
        assert_eq!(sequences(&mut cursor, 100).await, [0]);
        cursor.ack(0);
        assert!(cursor.next(100).await.is_none());
    }

    #[tokio::test]
    async fn what_is_pushed_out_while_being_sent_counts_once() {
        let (log, mut cursor, status) = log(1_100);
        append(&log, batch(400), 1).unwrap();
        assert_eq!(sequences(&mut cursor, 1_000).await, [0]);
        append(&log, batch(400), 2).unwrap();
        append(&log, batch(400), 4).unwrap();
        let dropped = || status.dropped_spans.load(Ordering::Relaxed);
        assert_eq!(dropped(), 0, "record 0 is with the reader, 1 and 2 fit");
        cursor.ack(0);
        assert_eq!(dropped(), 0, "it was sent after all");
        // Handed out, pushed out, and asked for again instead of acknowledged: lost.
        assert_eq!(sequences(&mut cursor, 400).await, [1]);
        append(&log, batch(400), 8).unwrap();
        assert_eq!(dropped(), 0);
        assert_eq!(sequences(&mut cursor, 400).await, [2]);
        assert_eq!(dropped(), 2);
        assert_eq!(cursor.unsent().traces, 12);
        drop(cursor);
        assert_eq!(dropped(), 14, "giving up counts what was left");
        assert_eq!(log.used(), 0);
    }

    #[tokio::test]
    async fn a_scout_is_ahead_and_counts_nowhere() {
        let (log, mut cursor, status) = log(1_100);
        append(&log, batch(400), 1).unwrap();
        let mut scout = cursor.scout();
        assert!(scout.has_more() && !cursor.is_pressed());
        append(&log, batch(400), 2).unwrap();
        assert!(cursor.is_pressed());
        assert_eq!(sequences(&mut scout, 1_000).await, [0, 1]);
        scout.ack(1);
        assert!(!scout.has_more() && cursor.has_more());
        assert_eq!(cursor.unsent().traces, 3);
        assert_eq!(sequences(&mut cursor, 1_000).await, [0, 1]);
        cursor.ack(1);
        assert_eq!(log.used(), 0);
        // Both are pushed on, and one is counted.
        for _ in 0..4 {
            append(&log, batch(400), 1).unwrap();
        }
        assert_eq!(status.dropped_spans.load(Ordering::Relaxed), 2);
        assert_eq!(sequences(&mut scout, 1_000).await, [4, 5]);
        assert_eq!(sequences(&mut cursor, 1_000).await, [4, 5]);
        drop(scout);
        cursor.ack(5);
        assert_eq!((log.used(), cursor.unsent().traces), (0, 0));
    }

    #[tokio::test]
    async fn waiting_for_a_record_takes_none() {
        let (log, cursor, _status) = log(10_000);
        assert!(cursor.ready().now_or_never().is_none());
        let ((), ()) = tokio::join!(cursor.ready(), async {
            tokio::task::yield_now().await;
            append(&log, batch(1), 1).unwrap();
        });
        assert_eq!(cursor.ready().now_or_never(), Some(()));
        assert_eq!(cursor.unsent().traces, 1);
        let (log, cursor, _status) = log_closed();
        assert_eq!(cursor.ready().now_or_never(), Some(()));
        drop(log);
    }

    fn log_closed() -> (BatchLog, Cursor, Arc<ExporterStatus>) {
        let closed = log(1_000);
        closed.0.close();
        closed
    }

    #[test]
    fn one_batch_beyond_the_cap_is_refused_and_costs_nobody() {
        let (log, cursor, status) = log(1_000);
        append(&log, batch(100), 3).unwrap();
        let refused = append(&log, batch(1_000), 1);
        assert!(matches!(refused, Err(Full::TooLarge { limit: 1_000, .. })));
        assert_eq!(cursor.unsent().traces, 3);
        assert_eq!(status.dropped_spans.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn signals_come_apart_and_what_is_not_taken_passes_by() {
        let statuses = [Signals::ALL, [Signal::Traces].into_iter().collect()].map(|signals| {
            Arc::new(ExporterStatus {
                signals,
                ..ExporterStatus::default()
            })
        });
        let readers = statuses.iter().map(|status| ReaderConfig {
            status: Arc::clone(status),
            on_full: OnFull::Refuse,
        });
        let (log, mut cursors) = BatchLog::in_memory(10_000, readers.collect());
        let signals = [Signal::Logs, Signal::Traces, Signal::Logs, Signal::Traces];
        for signal in signals {
            let appended = log.append(signal, batch(100), 1);
            appended.now_or_never().unwrap().unwrap();
        }
        let [all, traces] = &mut cursors[..] else {
            panic!("two readers")
        };
        // In order within a signal, the signal of the oldest first.
        assert_eq!(sequences(all, 1_000).await, [0, 2]);
        all.ack(0);
        assert_eq!(sequences(all, 1_000).await, [1, 3]);
        all.ack(3);
        assert_eq!(sequences(all, 1_000).await, [2]);
        assert_eq!(all.unsent(), Items::only(Signal::Logs, 1));
        assert_eq!(sequences(traces, 1_000).await, [1, 3]);
        traces.ack(3);
        assert_eq!(
            log.used(),
            2 * (100 + RECORD_OVERHEAD),
            "one log waits, and what is behind it"
        );
        all.ack(2);
        assert_eq!(log.used(), 0);
        // What nobody takes is not kept, and what one takes is held for that one alone.
        let appended = log.append(Signal::Metrics, batch(100), 1);
        appended.now_or_never().unwrap().unwrap();
        assert!(traces.unsent().is_empty());
        assert_eq!(sequences(all, 1).await, [4]);
        all.ack(4);
        assert_eq!(log.used(), 0);
        drop(cursors.remove(0));
        let appended = log.append(Signal::Metrics, batch(100), 1);
        appended.now_or_never().unwrap().unwrap();
        assert_eq!(log.used(), 0);
    }

    #[test]
    fn without_readers_nothing_is_kept() {
        let (log, _) = BatchLog::in_memory(1_000, Vec::new());
        append(&log, batch(500), 1).unwrap();
        assert_eq!(log.used(), 0);
    }

    #[test]
    fn a_full_log_refuses_for_a_reader_that_asks_for_it_and_for_nobody_else() {
        let statuses = [(); 2].map(|()| Arc::new(ExporterStatus::default()));
        let [refusing, dropping] = &statuses;
        let readers = [(refusing, OnFull::Refuse), (dropping, OnFull::DropOldest)];
        let readers = readers.map(|(status, on_full)| ReaderConfig {
            status: Arc::clone(status),
            on_full,
        });
        let (log, mut cursors) = BatchLog::in_memory(1_100, readers.to_vec());
        append(&log, batch(400), 1).unwrap();
        append(&log, batch(400), 2).unwrap();
        assert_eq!(append(&log, batch(400), 4), Err(Full::Now { limit: 1_100 }));
        // Only what the refusing one has sent may be pushed out, whoever else still waits for it.
        let first = cursors[0].next(1).now_or_never().unwrap().unwrap();
        cursors[0].ack(first[0].sequence);
        append(&log, batch(400), 4).unwrap();
        assert_eq!(append(&log, batch(400), 8), Err(Full::Now { limit: 1_100 }));
        let unsent: Vec<_> = cursors
            .iter()
            .map(|cursor| cursor.unsent().traces)
            .collect();
        assert_eq!(unsent, [6, 6]);
        let dropped = statuses.map(|status| status.dropped_spans.load(Ordering::Relaxed));
        assert_eq!(dropped, [0, 1]);
    }
}
