//! The one thread that writes: groups of batches with a single sync each, new segments, the end of old ones, and the
//! cursors. Started by `disk`.

mod retire;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::files::{File, Files};
use super::format::{Key, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, SegmentHeader};
use super::segments::Segment;
use super::state::{Pending, Written};
use super::tail::Tail;
use super::{Durability, Shared, cursors, segment_name};
use crate::episode::Episode;
use crate::log::{Full, tell};
use crate::status::{add, now_unix_nano};

/// A used-up segment on its way to become a new one. Blocks that are there already are written faster than new ones.
pub(super) const SPARE: &str = "spare";

/// Cursors are saved, and what `received` left unsynced is synced, at most so often and at least so soon.
const TICK: Duration = Duration::from_secs(1);
/// Cursors are saved sooner when peers have acknowledged so much: it would be sent again after a crash.
const UNSAVED_BYTES: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct Writer {
    files: Arc<dyn Files>,
    durability: Durability,
    segment_bytes: u64,
    /// How long the backlog of an exporter that left is kept, nanoseconds.
    retention_nanos: u64,
    active: Option<Active>,
    spare: bool,
    /// Used up, and not done away with yet; oldest first.
    retired: VecDeque<Segment>,
    next_id: u64,
    /// Names of damaged segments, oldest first.
    damaged: Vec<String>,
    /// What the start found written last, until it is sure to be on disk.
    unsettled: Option<Tail>,
    saved_at: Instant,
    writing: Episode,
    saving: Episode,
    retiring: Episode,
}

/// The segment that is written.
#[derive(Debug)]
struct Active {
    header: SegmentHeader,
    key: Key,
    file: Box<dyn File>,
    /// Where the last good record ends.
    end: u64,
    /// Where the file ends; what lies between is of an earlier use.
    length: u64,
    synced: bool,
}

impl Writer {
    pub(super) fn new(
        files: Arc<dyn Files>,
        durability: Durability,
        segment_bytes: u64,
        retention: Duration,
        next_id: u64,
        damaged: Vec<String>,
        unsettled: Option<Tail>,
    ) -> Self {
        Self {
            files,
            durability,
            segment_bytes,
            retention_nanos: u64::try_from(retention.as_nanos()).unwrap_or(u64::MAX),
            active: None,
            spare: false,
            retired: VecDeque::new(),
            next_id,
            damaged,
            unsettled,
            saved_at: Instant::now(),
            writing: Episode::default(),
            saving: Episode::default(),
            retiring: Episode::default(),
        }
    }

    /// Writes until the log is stopped and everything is written.
    pub(super) fn run(mut self, shared: &Shared) {
        // However it ends, nobody is left waiting for it.
        let _told = TellPanic(shared);
        loop {
            let to_tick = TICK.saturating_sub(self.saved_at.elapsed());
            let stopping = shared.wait_for_work(to_tick);
            self.retire(shared);
            let wrote = self.write_group(shared);
            self.tick(shared, stopping);
            if stopping && !wrote {
                return;
            }
        }
    }

    /// Writes one group of what waits; false when nothing did.
    pub(super) fn write_group(&mut self, shared: &Shared) -> bool {
        let (group, sequence) = {
            let mut state = shared.state();
            (state.take_group(), state.next_sequence())
        };
        if group.is_empty() {
            return false;
        }
        let written = self.write(&group, sequence);
        self.tell_whether(&written, shared);
        let (answers, answer) = match written {
            Ok(written) => (shared.state().committed(group, written), Ok(())),
            Err(error) => {
                let answer = Err(Full::Disk(error.kind()));
                (shared.state().not_written(group), answer)
            }
        };
        if shared.state().progressed() {
            tracing::info!("the data directory's disk finishes what is begun again");
        }
        shared.changed.notify_waiters();
        for sender in answers {
            // Who no longer waits has hung up.
            let _ = sender.send(answer);
        }
        true
    }

    fn write(&mut self, group: &[Pending], sequence: u64) -> io::Result<Written> {
        self.files.check()?;
        let bytes: usize = group.iter().map(|b| b.bytes.len() + RECORD_HEADER).sum();
        let mut active = match self.active.take() {
            Some(active)
                if active.end == SEGMENT_HEADER as u64
                    || active.end + bytes as u64 <= self.segment_bytes =>
            {
                active
            }
            full => {
                if let Some(full) = full {
                    full.seal()?;
                }
                self.settle()?;
                self.begin(sequence)?
            }
        };
        // After a failure the segment is not trusted with anything more: a second sync may say that all is well while
        // what the first one could not write is gone.
        match active.append(group, sequence, self.durability) {
            Ok(at) => {
                let segment = active.header;
                self.active = Some(active);
                Ok(Written { segment, at })
            }
            Err(error) => {
                self.abandon(active);
                Err(error)
            }
        }
    }

    /// Neither a segment nor anybody's place may come behind records that a power cut can still take: they would be
    /// missing then.
    fn settle(&mut self) -> io::Result<()> {
        if let Some(tail) = &self.unsettled {
            tail.settle(&*self.files)?;
            self.unsettled = None;
        }
        Ok(())
    }

    /// A new segment whose name and header outlast a power cut.
    fn begin(&mut self, first_sequence: u64) -> io::Result<Active> {
        let header = SegmentHeader {
            id: self.next_id,
            nonce: rand::random(),
            first_sequence,
            begun_unix_nano: now_unix_nano(),
        };
        let begun = self.begin_as(header);
        self.spare = false;
        self.next_id += 1;
        if begun.is_err() {
            // Neither name may be left to a file that holds nothing.
            let _ = self.files.remove(SPARE);
            self.take_back(header);
        }
        begun
    }

    fn begin_as(&self, header: SegmentHeader) -> io::Result<Active> {
        let mut file = if self.spare {
            // Under its old name it would look like a damaged segment if a power cut undid the renaming and not the
            // writing.
            self.files.sync_names()?;
            self.files.open(SPARE)?
        } else {
            self.files.create(SPARE)?
        };
        file.write(&mut [IoSlice::new(&header.encode())], 0)?;
        file.sync()?;
        self.files.rename(SPARE, &segment_name(header.id))?;
        self.files.sync_names()?;
        let length = file.length()?;
        Ok(Active {
            header,
            key: header.key(),
            file,
            end: SEGMENT_HEADER as u64,
            length,
            synced: true,
        })
    }

    /// Removes a segment that holds nothing. If that fails, it goes before those that are begun after it: without them
    /// it would look as if its records were missing.
    fn take_back(&mut self, header: SegmentHeader) {
        match self.files.remove(&segment_name(header.id)) {
            Ok(()) => {}
            // In another directory nothing is missing.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.files.check().is_ok() => {
            }
            Err(_) => {
                let left = Segment::new(header.id, header.first_sequence);
                self.retired.push_back(left);
            }
        }
    }

    /// Leaves a segment that could not be written to, with what is good in it.
    fn abandon(&mut self, mut active: Active) {
        // As far as the disk still lets us: reading does not depend on it.
        if active.end == SEGMENT_HEADER as u64 {
            self.take_back(active.header);
        } else {
            let _ = active.file.truncate(active.end);
            let _ = active.file.sync();
        }
    }

    fn tell_whether(&mut self, written: &io::Result<Written>, shared: &Shared) {
        match written {
            Ok(_) => self.writing.works(),
            Err(error) => {
                add(&shared.status.write_failures, 1);
                shared.status.last_error.set(error.to_string());
                if self.writing.fails(Instant::now()) {
                    tracing::error!(
                        %error,
                        directory = shared.status.directory,
                        "the batch log cannot be written: batches are refused, and their senders retry, until it can be"
                    );
                }
            }
        }
    }

    /// What is done once a second: nothing that a batch waits for.
    pub(super) fn tick(&mut self, shared: &Shared, stopping: bool) {
        let unsaved = shared.state().unsaved_bytes();
        let due = stopping || self.saved_at.elapsed() >= TICK;
        if !due && unsaved.is_none_or(|bytes| bytes < UNSAVED_BYTES) {
            return;
        }
        self.saved_at = Instant::now();
        self.retire(shared);
        self.sync_active(shared);
        let since = now_unix_nano().saturating_sub(self.retention_nanos);
        let notices = shared.state().expire(since);
        tell(&notices);
        self.save_cursors(shared);
        self.tell_what_is_over();
    }

    fn tell_what_is_over(&mut self) {
        let now = Instant::now();
        if self.writing.is_over(now) {
            tracing::info!("the batch log can be written again");
        }
        if self.saving.is_over(now) {
            tracing::info!("how far exporters have come can be saved again");
        }
        if self.retiring.is_over(now) {
            tracing::info!("used-up segments can be removed again");
        }
    }

    /// Syncs what `received` has answered for already.
    fn sync_active(&mut self, shared: &Shared) {
        let Some(mut active) = self.active.take_if(|active| !active.synced) else {
            return;
        };
        match active.file.sync() {
            Ok(()) => {
                active.synced = true;
                self.active = Some(active);
            }
            Err(error) => {
                self.abandon(active);
                self.tell_whether(&Err(error), shared);
            }
        }
    }

    pub(super) fn save_cursors(&mut self, shared: &Shared) {
        let cursors = {
            let mut state = shared.state();
            if state.unsaved_bytes().is_none() {
                return;
            }
            cursors::of(state.save())
        };
        let settled = self.settle();
        match settled.and_then(|()| cursors::save(&*self.files, cursors)) {
            Ok(()) => self.saving.works(),
            Err(error) => {
                shared.state().not_saved();
                if self.saving.fails(Instant::now()) {
                    tracing::warn!(
                        %error,
                        directory = shared.status.directory,
                        "cannot save how far exporters have come; after a crash more is sent again"
                    );
                }
            }
        }
    }
}

impl Active {
    /// Writes `group` behind the last record; where it begins.
    fn append(
        &mut self,
        group: &[Pending],
        sequence: u64,
        durability: Durability,
    ) -> io::Result<u64> {
        let mut headers = Vec::with_capacity(group.len());
        let mut bytes = 0;
        for (batch, number) in group.iter().zip(sequence..) {
            let header = RecordHeader::of(batch, number, sequence);
            let header = header.ok_or(io::ErrorKind::FileTooLarge)?;
            bytes += header.whole();
            headers.push(header.encode(self.key));
        }
        let mut parts: Vec<_> = headers
            .iter()
            .zip(group)
            .flat_map(|(header, batch)| [IoSlice::new(header), IoSlice::new(&batch.bytes)])
            .collect();
        self.file.write(&mut parts, self.end)?;
        self.synced = durability == Durability::Synced;
        if self.synced {
            self.file.sync()?;
        }
        let at = self.end;
        self.end += bytes;
        self.length = self.length.max(self.end);
        Ok(at)
    }

    /// Cuts off what an earlier use left behind the last record.
    fn seal(mut self) -> io::Result<()> {
        if self.length > self.end {
            self.file.truncate(self.end)?;
        }
        if self.synced {
            Ok(())
        } else {
            self.file.sync()
        }
    }
}

/// Has everybody know when the writer ends by a panic: nothing would be written any more.
struct TellPanic<'a>(&'a Shared);

impl Drop for TellPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().break_off();
            self.0.changed.notify_waiters();
        }
    }
}
