//! Reading a segment's file record by record, whatever is in it: what does not match its checksum is skipped up to
//! the next record that does. Used by `recover` and for readers whose records are no longer in memory.

use std::io;

use bytes::Bytes;

use super::files::{File, Files};
use super::format::{Key, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, SegmentHeader};
use super::segment_name;
use crate::log::{MAX_RECORDS, Record};

/// Bytes read at once while looking for a record behind damaged ones.
const SEARCH_WINDOW: usize = 256 * 1024;

/// Where to read in a segment's file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Byte to begin at.
    pub(super) at: u64,
    /// Byte to end before.
    pub(super) end: u64,
    /// The next record's sequence, unless it is lost.
    pub(super) expected: u64,
    /// Records from this sequence on are not the segment's any more.
    pub(super) until: u64,
}

/// Goes through one file.
#[derive(Debug)]
pub(super) struct Scanner {
    file: Box<dyn File>,
    key: Key,
    span: Span,
    /// Bytes read ahead.
    window_bytes: usize,
    window: Bytes,
    window_at: u64,
    damage: Damage,
}

/// One whole record.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) header: RecordHeader,
    /// Where it begins.
    pub(super) at: u64,
    /// Where it ends.
    pub(super) end: u64,
    /// Empty when only headers are read.
    pub(super) payload: Bytes,
}

/// What could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// The first damaged byte.
    pub(super) at: u64,
    pub(super) bytes: u64,
    /// Records lost in it.
    pub(super) records: u64,
    /// Whether any of them had been answered with success before a later one was written. What was not may be
    /// the rest of a write that a crash cut short.
    pub(super) settled: bool,
}

/// Whether payloads are read and checked, or headers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    Headers,
    Payloads,
}

impl Scanner {
    /// `window_bytes` are read at once, or as many as a record has.
    pub(super) fn new(file: Box<dyn File>, key: Key, span: Span, window_bytes: usize) -> Self {
        Self {
            file,
            key,
            span,
            window_bytes,
            window: Bytes::new(),
            window_at: 0,
            damage: Damage::default(),
        }
    }

    /// The next whole record, wherever it is; `None` behind the last one.
    pub(super) fn next(&mut self, depth: Depth) -> io::Result<Option<Entry>> {
        if let Some(entry) = self.next_in_place(depth)? {
            return Ok(Some(entry));
        }
        if self.span.expected >= self.span.until {
            return Ok(None);
        }
        Ok(self.search()?.and_then(|entry| self.pass(entry)))
    }

    /// The next record, if it is whole and begins where the last one ended.
    fn next_in_place(&mut self, depth: Depth) -> io::Result<Option<Entry>> {
        if self.span.expected >= self.span.until {
            return Ok(None);
        }
        let entry = self.entry(self.span.at, depth)?;
        Ok(entry.and_then(|entry| self.pass(entry)))
    }

    /// Goes on behind `entry`, unless it is not the segment's any more.
    fn pass(&mut self, entry: Entry) -> Option<Entry> {
        if entry.header.sequence >= self.span.until {
            self.span.expected = self.span.until;
            return None;
        }
        self.span.at = entry.end;
        self.span.expected = entry.header.sequence.saturating_add(1);
        Some(entry)
    }

    /// The next record, if it begins where the last one ended and has at most `most` bytes, its header included.
    fn next_within(&mut self, most: usize) -> io::Result<Option<Entry>> {
        let fits = |length: usize| length.saturating_add(RECORD_HEADER) <= most;
        match self.next_length()? {
            Some(length) if fits(length) => self.next_in_place(Depth::Payloads),
            _ => Ok(None),
        }
    }

    /// Bytes of the next record's payload, if its header is where the last one ended.
    pub(super) fn next_length(&mut self) -> io::Result<Option<usize>> {
        let entry = self.entry(self.span.at, Depth::Headers)?;
        let length = |entry: Entry| usize::try_from(entry.header.length).unwrap_or(usize::MAX);
        Ok(entry.map(length))
    }

    /// What was skipped so far.
    pub(super) fn damage(&self) -> Damage {
        self.damage
    }

    /// Where the last record ended, and what is read next.
    pub(super) fn rest(&self) -> Span {
        self.span
    }

    /// The record at `at`, if a whole one of this segment is there that has not come yet.
    fn entry(&mut self, at: u64, depth: Depth) -> io::Result<Option<Entry>> {
        let Some(bytes) = self.bytes(at, RECORD_HEADER)? else {
            return Ok(None);
        };
        let header = <&[u8; RECORD_HEADER]>::try_from(&bytes[..])
            .ok()
            .and_then(|bytes| RecordHeader::decode(bytes, self.key));
        let Some(header) = header.filter(|header| header.sequence >= self.span.expected) else {
            return Ok(None);
        };
        let end = at.saturating_add(header.whole());
        if end > self.span.end {
            return Ok(None);
        }
        let mut payload = Bytes::new();
        if depth == Depth::Payloads {
            let length = usize::try_from(header.length).unwrap_or(usize::MAX);
            match self.bytes(at + RECORD_HEADER as u64, length)? {
                Some(bytes) if header.matches(&bytes) => payload = bytes,
                _ => return Ok(None),
            }
        }
        Ok(Some(Entry {
            header,
            at,
            end,
            payload,
        }))
    }

    /// Looks at every byte from here on for the next whole record, and notes what lies before it as damaged.
    fn search(&mut self) -> io::Result<Option<Entry>> {
        let mut from = self.span.at + 1;
        // More records than bytes for them cannot be missing: few positions get as far as a checksum.
        let most = self.span.end.saturating_sub(self.span.at) / RECORD_HEADER as u64;
        let plausible =
            self.span.expected..self.span.until.min(self.span.expected.saturating_add(most));
        loop {
            let left = self.span.end.saturating_sub(from);
            if left < RECORD_HEADER as u64 {
                return Ok(None);
            }
            let length =
                usize::try_from(left).map_or(SEARCH_WINDOW, |left| left.min(SEARCH_WINDOW));
            let Some(window) = self.bytes(from, length)? else {
                return Ok(None);
            };
            for (offset, bytes) in (0..).zip(window.windows(RECORD_HEADER)) {
                let claimed = <&[u8; RECORD_HEADER]>::try_from(bytes)
                    .map_or(u64::MAX, RecordHeader::claimed_sequence);
                if !plausible.contains(&claimed) {
                    continue;
                }
                if let Some(entry) = self.entry(from + offset, Depth::Payloads)? {
                    self.note(&entry);
                    return Ok(Some(entry));
                }
            }
            from += (length - (RECORD_HEADER - 1)) as u64;
        }
    }

    fn note(&mut self, found: &Entry) {
        let damage = &mut self.damage;
        if damage.bytes == 0 {
            damage.at = self.span.at;
        }
        damage.bytes += found.at - self.span.at;
        damage.records += found.header.sequence - self.span.expected;
        damage.settled |= found.header.group > self.span.expected;
    }

    /// `length` bytes from `at` on; `None` when the file, or the part of it that is read, ends before.
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<Option<Bytes>> {
        let end = at.saturating_add(length as u64);
        if end > self.span.end {
            return Ok(None);
        }
        let window_end = self.window_at + self.window.len() as u64;
        if at < self.window_at || end > window_end {
            let most = usize::try_from(self.span.end - at).unwrap_or(usize::MAX);
            // Freed before the new one is made: only one is held.
            self.window = Bytes::new();
            let mut window = vec![0; self.window_bytes.max(length).min(most)];
            let read = self.file.read(&mut window, at)?;
            window.truncate(read);
            self.window = window.into();
            self.window_at = at;
        }
        let from = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        let to = from.saturating_add(length);
        Ok((to <= self.window.len()).then(|| self.window.slice(from..to)))
    }
}

/// What a reader wants from a segment's file.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// The segment.
    pub(super) id: u64,
    pub(super) span: Span,
    /// Bytes of payload at most, unless the first record alone has more.
    pub(super) max_bytes: usize,
    /// Whether the first record may have more than that.
    pub(super) any_size: bool,
}

/// What was read for an [`Ask`].
#[derive(Debug)]
pub(super) enum Answer {
    Records {
        /// Each with where it ends; none behind the last one that can be read.
        records: Vec<(Record, u64)>,
        damage: Damage,
    },
    /// The first record has this many bytes: more than was asked for.
    Oversize(usize),
}

/// Reads for a reader. Holds `max_bytes`, or one record that is larger.
///
/// # Errors
/// `NotFound` or `InvalidData` when the file is gone or is none of ours: it will not come back. Anything else may pass.
pub(super) fn read(files: &dyn Files, ask: &Ask) -> io::Result<Answer> {
    let file = files.open(&segment_name(ask.id));
    if file.is_err() {
        // In another directory nothing is missing.
        files.check()?;
    }
    let mut file = file?;
    let header = segment_header(&mut *file)?;
    let header = header.filter(|header| header.id == ask.id);
    let Some(header) = header else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let window = ask.max_bytes.max(RECORD_HEADER);
    let mut scanner = Scanner::new(file, header.key(), ask.span, window);
    if let Some(length) = scanner.next_length()?
        && length > ask.max_bytes
        && !ask.any_size
    {
        return Ok(Answer::Oversize(length));
    }
    let mut records = Vec::new();
    let mut left = ask.max_bytes;
    let mut next = scanner.next(Depth::Payloads)?;
    while let Some(Entry {
        header,
        end,
        payload,
        ..
    }) = next
    {
        // With its header: no more than was read at once, so that what is handed out pins no second window.
        left = left.saturating_sub(payload.len() + RECORD_HEADER);
        let record = Record {
            sequence: header.sequence,
            signal: header.signal,
            bytes: payload,
            items: header.items,
            arrived_unix_nano: header.arrived_unix_nano,
        };
        records.push((record, end));
        // Behind a gap nothing is looked for: the next question does.
        next = if records.len() < MAX_RECORDS && left > RECORD_HEADER {
            scanner.next_within(left)?
        } else {
            None
        };
    }
    let damage = scanner.damage();
    Ok(Answer::Records { records, damage })
}

/// The first bytes of a file; `None` when they are no good header, whatever the reason.
fn segment_header(file: &mut dyn File) -> io::Result<Option<SegmentHeader>> {
    let mut bytes = [0; SEGMENT_HEADER];
    let read = file.read(&mut bytes, 0)?;
    Ok((read == SEGMENT_HEADER)
        .then(|| SegmentHeader::decode(&bytes).ok())
        .flatten())
}
