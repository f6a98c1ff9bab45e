//! The cap of the log on disk: whether there is room for a batch, and what gives way when there is none.

use std::io;

use super::super::HANGS;
use super::super::hot::memory_cost;
use super::super::readers::Reader;
use super::{Pending, State, disk_cost};
use crate::log::{Full, Notice, OnFull};
use crate::status::add;

/// Used-up segments that are still there.
#[derive(Clone, Copy, Debug)]
pub(in crate::log::disk) struct Stuck {
    pub(in crate::log::disk) bytes: u64,
    /// Why they cannot be removed.
    pub(in crate::log::disk) reason: io::ErrorKind,
}

impl State {
    pub(super) fn make_room(
        &mut self,
        batch: &Pending,
        notices: &mut Vec<Notice>,
    ) -> Result<bool, Full> {
        if self.closed {
            return Err(Full::Closed);
        }
        self.check_progress(notices)?;
        let memory = memory_cost(&batch.bytes);
        let disk = disk_cost(&batch.bytes);
        let limit = (self.limits.capacity / 4).min(self.limits.memory as u64);
        if memory as u64 > limit {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            return Err(Full::TooLarge {
                bytes: memory,
                limit,
            });
        }
        let wants = |reader: &Reader| reader.is_configured() && reader.takes(batch.signal);
        if !self.readers.iter().any(wants) {
            return Ok(false);
        }
        if self.pending_bytes + memory > self.limits.memory {
            return Err(Full::Behind);
        }
        while self.used() + self.pending_bytes as u64 + disk > self.limits.capacity {
            // What is given up now could not be removed either.
            if let Some(stuck) = self.stuck {
                return Err(Full::Disk(stuck.reason));
            }
            if !self.drop_oldest(notices) {
                add(&self.status.full_refusals, 1);
                let limit = self.limits.capacity;
                return Err(Full::Now { limit });
            }
        }
        Ok(true)
    }

    /// While the disk finishes nothing, a batch is refused at once rather than after its sender has given up waiting.
    fn check_progress(&mut self, notices: &mut Vec<Notice>) -> Result<(), Full> {
        let waited = self.progress_at.elapsed();
        if self.pending_bytes == 0 || waited < HANGS {
            return Ok(());
        }
        let seconds = waited.as_secs();
        let refused = Full::Hangs { seconds };
        if !std::mem::replace(&mut self.hang_told, true) {
            self.status.last_error.set(refused.to_string());
            let directory = self.status.directory.clone();
            notices.push(Notice::Hangs { directory, seconds });
        }
        Err(refused)
    }

    /// Bytes that count towards the cap. The smallest segment counts as much as a batch: many starts must not make
    /// more files than can be gone through.
    fn used(&self) -> u64 {
        let stuck = self.stuck.map_or(0, |stuck| stuck.bytes);
        self.segments.bytes(self.limits.least_charge) + stuck
    }

    /// Reckons with used-up segments that cannot be removed, and why; `None` once all of them are.
    pub(in crate::log::disk) fn set_stuck(&mut self, stuck: Option<Stuck>) {
        self.stuck = stuck;
        self.publish();
    }

    /// Gives up the oldest segment, and moves on the readers that still needed it; false when one of them would
    /// rather have senders refused, or when there is but the segment being written.
    fn drop_oldest(&mut self, notices: &mut Vec<Notice>) -> bool {
        let needs = |reader: &Reader, id| reader.place.segment <= id && reader.unsent.records > 0;
        let Some(oldest) = self.segments.oldest() else {
            return false;
        };
        let id = oldest.id;
        let refuses = |reader: &Reader| reader.on_full == OnFull::Refuse && needs(reader, id);
        if self.readers.iter().any(refuses) {
            return false;
        }
        for reader in self
            .readers
            .iter_mut()
            .filter(|reader| reader.place.segment <= id)
        {
            notices.extend(reader.push_out(&self.segments));
        }
        let before = self.readers.len();
        self.readers.retain(|reader| {
            let gone = !reader.is_configured() && reader.unsent.records == 0;
            if gone {
                notices.push(reader.given_up());
            }
            !gone
        });
        self.unsaved |= self.readers.len() != before;
        self.free();
        self.publish();
        true
    }
}
