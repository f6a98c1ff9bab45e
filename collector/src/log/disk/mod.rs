//! The batch log on disk. Batches go to segment files through one thread that syncs many of them at once, and the
//! newest stay in memory for the readers that keep up; the others read them back. Used by `log`.
//!
//! ```text
//! DIRECTORY/lock                            held while a collector runs
//!           00000000000000000007.segment    header, then records; named by its id
//!           00000000000000000005.damaged    set aside: some of it could not be read
//!           spare                           becomes the next segment
//!           cursors.json                    how far each exporter has come
//! ```

mod cursor;
mod cursors;
#[cfg(test)]
mod fault_tests;
mod files;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hot;
#[cfg(test)]
mod model_tests;
mod readers;
mod recover;
mod recovery;
mod scan;
mod segments;
#[cfg(test)]
mod sim;
mod state;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, oneshot};

pub(super) use self::cursor::DiskCursor;
#[cfg(test)]
pub(crate) use self::fault_tests::broken_log;
use self::files::{Directory, Files};
pub use self::recovery::Recovery;
use self::state::{Limits, Pending, State};
use self::writer::Writer;
use super::{Full, ReaderConfig, ReaderId, tell};
use crate::signal::Signal;
use crate::status::{LogStatus, now_unix_nano};

/// When a batch is answered with success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once it outlasts a power cut.
    Synced,
    /// Once the system has it: it outlasts the collector, and about a second later a power cut.
    Received,
}

/// A log on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// Made unless it is there; for one collector at a time.
    pub directory: PathBuf,
    /// What success means.
    pub durability: Durability,
    /// Bytes that its files have together at most.
    pub limit: u64,
    /// How long the backlog of an exporter is kept that is not configured any more.
    pub retention: Duration,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two at once would write over each other.
    #[error(
        "--data-dir {}: another collector uses it; stop that one, or give this one a directory of its own",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be made, read or written.
    #[error("--data-dir {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

const MIB: u64 = 1 << 20;
const LEAST_SEGMENT: u64 = MIB;
const MOST_SEGMENT: u64 = 32 * MIB;
/// Of the limit, for what holds no records that anybody waits for: the unused rest of the segment being written, the
/// spare, and two that are set aside.
const SEGMENTS_ASIDE: u64 = 4;
/// Many starts, each with a segment of its own, must not make more files than can be gone through.
const LEAST_CHARGE: u64 = 64 * 1024;
/// A disk that has finished nothing for so long hangs. Senders do not wait longer for an answer: 10 s is the time-out of
/// OpenTelemetry's SDKs.
const HANGS: Duration = Duration::from_secs(10);
/// Most bytes that are synced together.
const MOST_GROUP: u64 = 4 * MIB;

/// The log; its thread ends when it is dropped.
#[derive(Debug)]
pub(super) struct DiskLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What appenders, readers and the writer share.
#[derive(Debug)]
struct Shared {
    // Held for a few moves of records at a time, never across an await or a file operation.
    state: Mutex<State>,
    /// There is something for the writer.
    work: Condvar,
    /// There is something for readers.
    changed: Notify,
    files: Arc<dyn Files>,
    status: Arc<LogStatus>,
    /// For a reader whose next record alone is larger than what is reckoned for it: one at a time.
    oversize: Arc<Semaphore>,
}

/// Tells what became of a batch.
type Answered = oneshot::Receiver<Result<(), Full>>;

/// How large everything may become, in bytes.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// A segment, unless one record alone has more.
    segment: u64,
    limits: Limits,
}

impl Sizes {
    /// For files of at most `limit` bytes together.
    fn of(limit: u64, memory: usize) -> Self {
        let segment = (limit / 32).clamp(LEAST_SEGMENT, MOST_SEGMENT);
        let group = MOST_GROUP.min(segment / 2);
        Self {
            segment,
            limits: Limits {
                capacity: limit.saturating_sub(SEGMENTS_ASIDE * segment),
                memory,
                group: usize::try_from(group).unwrap_or(usize::MAX),
                least_charge: LEAST_CHARGE,
            },
        }
    }
}

impl Durability {
    /// As flags and status spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Received => "received",
        }
    }
}

impl DiskLog {
    /// Reads what the directory holds, and starts the writer. `memory` bounds the bytes of records in memory.
    pub(super) fn open(
        config: &DiskConfig,
        memory: usize,
        readers: Vec<ReaderConfig>,
        status: Arc<LogStatus>,
    ) -> Result<(Self, Vec<DiskCursor>, Recovery), OpenError> {
        let files: Arc<dyn Files> = Arc::new(Directory::open(&config.directory)?);
        let fault = |source| OpenError::Io {
            path: config.directory.clone(),
            source,
        };
        let (shared, writer, cursors, recovery) = Shared::open(
            files,
            config,
            Sizes::of(config.limit, memory),
            readers,
            status,
        )
        .map_err(fault)?;
        let log = Self::start(shared, writer).map_err(fault)?;
        Ok((log, cursors, recovery))
    }

    fn start(shared: Arc<Shared>, writer: Writer) -> io::Result<Self> {
        let to_write = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("batch-log".to_owned())
            .spawn(move || writer.run(&to_write))?;
        Ok(Self {
            shared,
            writer: Mutex::new(Some(thread)),
        })
    }

    pub(super) async fn append(
        &self,
        signal: Signal,
        bytes: Bytes,
        items: u64,
    ) -> Result<(), Full> {
        let Some(answer) = self.shared.offer(signal, bytes, items)? else {
            return Ok(());
        };
        // The writer answers everything, unless it is gone.
        answer.await.unwrap_or(Err(Full::Closed))
    }

    pub(super) fn close(&self) {
        self.shared.state().close();
        self.shared.changed.notify_waiters();
    }

    /// Writes what waits and how far exporters have come, and ends the writer. Blocks for as long as that takes.
    pub(super) fn finish(&self) {
        self.shared.state().stop();
        self.shared.work.notify_all();
        let thread = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // It tells of a panic itself.
            let _ = thread.join();
        }
    }

    /// Returns when the writer has ended by a panic: nothing is taken any more.
    pub(super) async fn broken(&self) {
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            // Listening starts before looking.
            changed.as_mut().enable();
            if self.is_broken() {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.shared.state().is_broken()
    }

    pub(super) fn memory_used(&self) -> usize {
        self.shared.state().memory_used()
    }

    pub(super) fn memory_limit(&self) -> usize {
        self.shared.state().memory_limit()
    }
}

impl Drop for DiskLog {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    /// A log in `files` as it was left, and the writer to run for it.
    fn open(
        files: Arc<dyn Files>,
        config: &DiskConfig,
        sizes: Sizes,
        readers: Vec<ReaderConfig>,
        status: Arc<LogStatus>,
    ) -> io::Result<(Arc<Self>, Writer, Vec<DiskCursor>, Recovery)> {
        let configured = readers.len() as u64;
        let found = recover::recover(&*files, readers, &status)?;
        let mut state = State::new(
            sizes.limits,
            found.segments,
            found.readers,
            found.next_sequence,
            Arc::clone(&status),
        );
        // Nobody gets as far as what it holds before; what cannot be brought to the disk now is tried again.
        let unsettled = found.tail.filter(|tail| tail.settle(&*files).is_err());
        // From now on no exporter is a new one, whatever happens.
        let places = cursors::of(state.save());
        if unsettled.is_some() || cursors::save(&*files, places).is_err() {
            state.not_saved();
        }
        let shared = Arc::new(Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            changed: Notify::new(),
            files: Arc::clone(&files),
            status,
            oversize: Arc::new(Semaphore::new(1)),
        });
        let writer = Writer::new(
            files,
            config.durability,
            sizes.segment,
            config.retention,
            found.next_id,
            found.damaged,
            unsettled,
        );
        let cursor = |number| DiskCursor::new(Arc::clone(&shared), ReaderId(number));
        let cursors = (0..configured).map(cursor).collect();
        Ok((shared, writer, cursors, found.recovery))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a batch for the writer; where its answer comes, or nothing when nobody takes its signal.
    fn offer(&self, signal: Signal, bytes: Bytes, items: u64) -> Result<Option<Answered>, Full> {
        let (answer, answered) = oneshot::channel();
        let batch = Pending {
            signal,
            bytes,
            items,
            arrived_unix_nano: now_unix_nano(),
            answer,
        };
        let (taken, notices) = self.state().offer(batch);
        self.work.notify_one();
        tell(&notices);
        Ok(taken?.then_some(answered))
    }

    /// Waits until the writer has something to do, at most for `limit`; whether the log is being stopped.
    fn wait_for_work(&self, limit: Duration) -> bool {
        let idle = |state: &mut State| {
            !state.has_pending() && !state.has_retired() && !state.is_stopping()
        };
        let waited = self.work.wait_timeout_while(self.state(), limit, idle);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_stopping()
    }

    fn ack(&self, reader: ReaderId, sequence: u64) {
        let (notices, for_writer) = {
            let mut state = self.state();
            (state.ack(reader, sequence), state.has_retired())
        };
        if for_writer {
            self.work.notify_one();
        }
        tell(&notices);
    }
}

const SEGMENT: &str = ".segment";
const DAMAGED: &str = ".damaged";

fn segment_name(id: u64) -> String {
    format!("{id:020}{SEGMENT}")
}

fn damaged_name(id: u64) -> String {
    format!("{id:020}{DAMAGED}")
}
