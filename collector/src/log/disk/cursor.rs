//! One exporter's reading of the log on disk: from memory what is there, from the segments' files what is not. Made by
//! `disk` and held by the exporter's worker.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::scan::{self, Answer, Ask, Damage};
use super::state::Next;
use super::{Shared, segment_name};
use crate::log::{Read, ReaderId, Record, tell, until};
use crate::signal::Items;

/// Between two attempts to read a file that cannot be read.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// One exporter's place in the log.
#[derive(Debug)]
pub(in crate::log) struct DiskCursor {
    shared: Arc<Shared>,
    reader: ReaderId,
    is_scout: bool,
    oversize: Option<OwnedSemaphorePermit>,
    /// A failure is told when it begins and when it ends.
    failing: bool,
}

impl DiskCursor {
    pub(super) fn new(shared: Arc<Shared>, reader: ReaderId) -> Self {
        Self {
            shared,
            reader,
            is_scout: false,
            oversize: None,
            failing: false,
        }
    }

    pub(in crate::log) async fn next(&mut self, max_bytes: usize) -> Option<Vec<Record>> {
        loop {
            // Also of what a reading took that came to nothing: the next one may want it again.
            self.let_go();
            let shared = Arc::clone(&self.shared);
            let mut changed = pin!(shared.changed.notified());
            // Listening starts before looking, so that a batch written in between is not slept through.
            changed.as_mut().enable();
            let next = shared.state().read(self.reader, max_bytes);
            let ask = match next {
                Next::Here(Read::Records(records)) => return Some(records),
                Next::Here(Read::End) => return None,
                Next::Here(Read::Nothing) => {
                    changed.await;
                    continue;
                }
                Next::OnDisk(ask) => ask,
            };
            match self.read(&ask).await {
                Ok(records) => {
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("what waits for an exporter can be read back again");
                    }
                    if records.is_some() {
                        return records;
                    }
                }
                Err(error) => self.failed(&ask, &error).await,
            }
        }
    }

    /// What the disk has for `ask`; `None` when one has to ask anew.
    async fn read(&mut self, ask: &Ask) -> io::Result<Option<Vec<Record>>> {
        let mut ask = ask.clone();
        loop {
            let (files, asked) = (Arc::clone(&self.shared.files), ask.clone());
            let reading = tokio::task::spawn_blocking(move || scan::read(&*files, &asked));
            match reading.await.map_err(io::Error::other)?? {
                Answer::Records { records, damage } => {
                    let mut state = self.shared.state();
                    let (records, notices) = state.found(self.reader, &ask, records, damage);
                    let for_writer = state.has_retired();
                    drop(state);
                    if for_writer {
                        self.shared.work.notify_one();
                    }
                    tell(&notices);
                    return Ok(records);
                }
                Answer::Oversize(bytes) => {
                    let permit = Arc::clone(&self.shared.oversize).acquire_owned().await;
                    self.oversize = Some(permit.map_err(io::Error::other)?);
                    self.shared.state().hold_oversize(bytes);
                    ask.any_size = true;
                }
            }
        }
    }

    /// Whatever is not simply there to be read is left to [`next`](Self::next), which comes to it once all before it is sent.
    pub(in crate::log) async fn read_on(&mut self, after: u64, max_bytes: usize) -> Vec<Record> {
        let next = self.shared.state().read_on(self.reader, after, max_bytes);
        let ask = match next {
            Next::Here(Read::Records(records)) => return records,
            Next::Here(Read::Nothing | Read::End) => return Vec::new(),
            Next::OnDisk(ask) => ask,
        };
        let (files, asked) = (Arc::clone(&self.shared.files), ask.clone());
        let reading = tokio::task::spawn_blocking(move || scan::read(&*files, &asked));
        match reading.await {
            Ok(Ok(Answer::Records { records, damage })) if damage.bytes == 0 => {
                self.shared.state().found_on(self.reader, &ask, records)
            }
            _ => Vec::new(),
        }
    }

    pub(in crate::log) fn unsent_bytes(&self) -> u64 {
        self.shared.state().unsent_bytes(self.reader)
    }

    /// A file that is gone, or is none of ours, will not come back, and what it held is lost. Anything else may pass,
    /// however long that takes: a disk that is away, too many open files. Nothing is given up for that, unless the
    /// cap pushes it out; who wants the exporter to go on without it removes the file.
    async fn failed(&mut self, ask: &Ask, error: &io::Error) {
        self.shared.status.last_error.set(error.to_string());
        let segment = segment_name(ask.id);
        if [io::ErrorKind::NotFound, io::ErrorKind::InvalidData].contains(&error.kind()) {
            tracing::error!(%error, segment, "what waits for an exporter is not there any more");
            let nothing = Vec::new();
            let mut state = self.shared.state();
            let (_, notices) = state.found(self.reader, ask, nothing, Damage::default());
            drop(state);
            tell(&notices);
            return;
        }
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(
                %error,
                segment,
                directory = self.shared.status.directory,
                "what waits for an exporter cannot be read back: it is tried again until it can be, or until the file is removed"
            );
        }
        tokio::time::sleep(READ_PAUSE).await;
    }

    pub(in crate::log) fn ack(&mut self, sequence: u64) {
        self.let_go();
        self.shared.ack(self.reader, sequence);
    }

    pub(in crate::log) fn told(&mut self, sequence: u64, items: Items) {
        self.shared.state().told(self.reader, sequence, items);
    }

    pub(in crate::log) fn unsent(&self) -> Items {
        self.shared.state().unsent(self.reader)
    }

    pub(in crate::log) fn scout(&self) -> Self {
        let reader = self.shared.state().add_scout(self.reader);
        let mut scout = Self::new(Arc::clone(&self.shared), reader);
        scout.is_scout = true;
        scout
    }

    pub(in crate::log) fn has_more(&self) -> bool {
        self.shared.state().has_more(self.reader)
    }

    pub(in crate::log) fn is_pressed(&self) -> bool {
        self.shared.state().is_pressed(self.reader)
    }

    pub(in crate::log) async fn ready(&self) {
        let closed_or_more = || {
            let state = self.shared.state();
            state.is_closed() || state.has_more(self.reader)
        };
        until(&self.shared.changed, closed_or_more).await;
    }

    /// Lets another reader have a record of more than its share of memory.
    pub(in crate::log) fn let_go(&mut self) {
        if let Some(permit) = self.oversize.take() {
            self.shared.state().hold_oversize(0);
            // Only now: whoever has it next says how much that one holds.
            drop(permit);
        }
    }
}

impl Drop for DiskCursor {
    fn drop(&mut self) {
        self.let_go();
        if self.is_scout {
            self.shared.state().remove_scout(self.reader);
        }
    }
}
