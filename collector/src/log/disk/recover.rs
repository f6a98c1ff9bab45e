//! What a directory holds when the collector starts: every segment up to its last whole record, and where each
//! exporter left off. No bytes in it keep the collector from starting. A file that cannot be opened or read does: that
//! may pass, and who started without it would lose what it holds. Called by `disk`.
//!
//! Only headers are read, except of the newest segment, which a crash may have cut short: a full directory is
//! gone through in the time of a few thousand small reads, one window of them in memory. What is wrong with a payload
//! is found when it is read for an exporter.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::cursors::{self, Saved};
use super::files::Files;
use super::format::{HeaderError, MOST, RecordHeader, SEGMENT_HEADER, SegmentHeader};
use super::readers::{Place, Reader, Totals};
use super::recovery::{Note, Recovery};
use super::scan::{Depth, Scanner, Span};
use super::segments::Segment;
use super::tail::Tail;
use super::writer::SPARE;
use super::{DAMAGED, SEGMENT, damaged_name};
use crate::log::{OnFull, ReaderConfig, ReaderId};
use crate::signal::{Items, Signals};
use crate::status::{ExporterStatus, LogStatus, add, now_unix_nano};

/// Bytes read at once; a record's header and a small batch.
const WINDOW: usize = 16 * 1024;

/// The name of a backlog whose exporter is not known, for the file that tells is gone.
const UNKNOWN: &str = "(unknown)";

/// The log as it was left.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) segments: VecDeque<Segment>,
    /// Those of the configured exporters first, in their order; then what others left behind.
    pub(super) readers: Vec<Reader>,
    pub(super) next_sequence: u64,
    pub(super) next_id: u64,
    /// Names of segments set aside, oldest first.
    pub(super) damaged: Vec<String>,
    /// Of the newest segment.
    pub(super) tail: Option<Tail>,
    pub(super) recovery: Recovery,
}

/// A segment's file whose header is good. Not kept open: there may be more of them than a process may have open.
struct Candidate {
    header: SegmentHeader,
    name: String,
    length: u64,
}

/// Reads the directory for the exporters in `configured`.
///
/// # Errors
/// When the directory cannot be listed, or a file of the log cannot be opened or read.
pub(super) fn recover(
    files: &dyn Files,
    configured: Vec<ReaderConfig>,
    status: &LogStatus,
) -> io::Result<Found> {
    let mut recovery = Recovery::default();
    let names = files.list()?;
    let (mut candidates, damaged, greatest_id) = candidates(files, names, status, &mut recovery)?;
    candidates.sort_by_key(|candidate| candidate.header.id);
    let saved = cursors::load(files).map_err(|error| unreadable(cursors::FILE, &error))?;
    let saved = saved.unwrap_or_else(|reason| {
        recovery.note(Note::Cursors { reason });
        None
    });
    let (mut readers, ahead) = readers(configured, saved, !candidates.is_empty());
    let firsts: Vec<_> = candidates.iter().map(|c| c.header.first_sequence).collect();
    let mut next_sequence = ahead;
    let mut segments = VecDeque::new();
    let mut tail = None;
    for (index, candidate) in candidates.into_iter().enumerate() {
        let until = firsts.get(index + 1).copied();
        let wanted = readers.iter().map(|reader| reader.place.sequence).min();
        let is_wanted = |until| wanted.is_some_and(|wanted| wanted < until);
        let (segment, next) = if until.is_none_or(is_wanted) {
            let name = candidate.name.clone();
            let (segment, next, from) =
                go_through(files, candidate, until, &mut readers, &mut recovery)
                    .map_err(|error| unreadable(&name, &error))?;
            if until.is_none() {
                let end = segment.end;
                tail = Some(Tail { name, from, end });
            }
            (segment, next)
        } else {
            // Everybody is past it.
            (
                Segment::new(candidate.header.id, candidate.header.first_sequence),
                until.unwrap_or_default(),
            )
        };
        if segment.damaged {
            add(&status.damaged_segments, 1);
        }
        next_sequence = next_sequence.max(next);
        segments.push_back(segment);
    }
    readers.retain(|reader| reader.is_configured() || reader.unsent.records > 0);
    recovery.tell_of(&readers);
    Ok(Found {
        segments,
        readers,
        next_sequence,
        next_id: greatest_id.saturating_add(1),
        damaged,
        tail,
        recovery,
    })
}

/// The segments among `names`, those set aside, and the greatest id of all. Leftovers of ours are removed.
fn candidates(
    files: &dyn Files,
    names: Vec<String>,
    status: &LogStatus,
    recovery: &mut Recovery,
) -> io::Result<(Vec<Candidate>, Vec<String>, u64)> {
    let (mut candidates, mut damaged, mut greatest_id) = (Vec::new(), Vec::new(), 0);
    for name in names {
        if [SPARE, cursors::NEW].contains(&name.as_str()) {
            // Of no use any more; it is in nobody's way if it cannot be removed.
            let _ = files.remove(&name);
            continue;
        }
        let Some((id, kind)) = parse(&name) else {
            if name != cursors::FILE {
                recovery.left_alone(name, "it is no file of a batch log");
            }
            continue;
        };
        greatest_id = greatest_id.max(id);
        if kind == DAMAGED {
            damaged.push(name);
            continue;
        }
        match candidate(files, &name).map_err(|error| unreadable(&name, &error))? {
            Ok(candidate) if candidate.header.id == id => candidates.push(candidate),
            Ok(_) => recovery.left_alone(name, "its header names another file"),
            // By its name it is a segment, whatever became of its first bytes.
            Err(error @ (HeaderError::Damaged | HeaderError::Foreign)) => {
                add(&status.damaged_segments, 1);
                let aside = damaged_name(id);
                let reason = error.to_string();
                match files.rename(&name, &aside) {
                    Ok(()) => {
                        damaged.push(aside.clone());
                        recovery.note(Note::SetAside {
                            file: aside,
                            reason,
                        });
                    }
                    Err(_) => recovery.left_alone(name, &reason),
                }
            }
            Err(error) => recovery.left_alone(name, &error.to_string()),
        }
    }
    damaged.sort();
    Ok((candidates, damaged, greatest_id))
}

/// What is told when a file of the log cannot be read, and what to do when that does not pass.
fn unreadable(name: &str, error: &io::Error) -> io::Error {
    let text = format!(
        "cannot read {name}: {error}; if that stays so, move the file away to start without it"
    );
    io::Error::new(error.kind(), text)
}

/// The id in a file's name, and the name's ending.
fn parse(name: &str) -> Option<(u64, &'static str)> {
    [SEGMENT, DAMAGED].into_iter().find_map(|ending| {
        let id = name.strip_suffix(ending)?;
        let digits = id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_digit());
        let id = id.parse().ok().filter(|&id: &u64| digits && id < MOST)?;
        Some((id, ending))
    })
}

fn candidate(files: &dyn Files, name: &str) -> io::Result<Result<Candidate, HeaderError>> {
    let mut file = files.open(name)?;
    let mut bytes = [0; SEGMENT_HEADER];
    let read = file.read(&mut bytes, 0)?;
    let length = file.length()?;
    let header = match SegmentHeader::decode(&bytes) {
        // One of ours is never as short.
        Ok(_) if read < SEGMENT_HEADER => Err(HeaderError::Damaged),
        header => header,
    };
    Ok(header.map(|header| Candidate {
        header,
        name: name.to_owned(),
        length,
    }))
}

/// Readers that know their sequence and not their place yet, and the greatest sequence that any of them has seen.
fn readers(
    configured: Vec<ReaderConfig>,
    saved: Option<Vec<Saved>>,
    has_segments: bool,
) -> (Vec<Reader>, u64) {
    let without_configuration = configured.is_empty() && has_segments;
    let mut saved = saved.unwrap_or_else(|| {
        // Whose it was is not known: it is kept as what an exporter left behind.
        let unknown = Saved {
            name: UNKNOWN.to_owned(),
            next: 0,
            signals: Signals::ALL,
            left_unix_nano: None,
        };
        without_configuration
            .then_some(unknown)
            .into_iter()
            .collect()
    });
    let ahead = saved.iter().map(|saved| saved.next).max().unwrap_or(0);
    let mut readers = Vec::new();
    for config in configured {
        // One that is new here begins with the oldest that is kept: it may be an old one with a new name.
        let known = saved
            .iter()
            .position(|saved| saved.name == config.status.name);
        let next = known.map_or(0, |index| saved.swap_remove(index).next);
        let id = ReaderId(readers.len() as u64);
        readers.push((id, config.status, config.on_full, None, next));
    }
    let now = now_unix_nano();
    for saved in saved {
        let id = ReaderId(readers.len() as u64);
        let status = Arc::new(ExporterStatus {
            signals: saved.signals,
            ..ExporterStatus::named(saved.name)
        });
        let left = saved.left_unix_nano.unwrap_or(now);
        readers.push((id, status, OnFull::DropOldest, Some(left), saved.next));
    }
    let readers = readers
        .into_iter()
        .map(|(id, status, on_full, left, next)| {
            let mut reader = Reader::new(id, status, on_full, left);
            reader.place.sequence = next;
            reader
        });
    (readers.collect(), ahead)
}

/// Counts what is in a segment, for each reader that wants some of it, and puts those there whose next record is in
/// it; the sequence behind its last record, and where the last write to it begins. `until` is the first sequence of the
/// segment after it.
fn go_through(
    files: &dyn Files,
    candidate: Candidate,
    until: Option<u64>,
    readers: &mut [Reader],
    recovery: &mut Recovery,
) -> io::Result<(Segment, u64, u64)> {
    let Candidate {
        header,
        name,
        length,
    } = candidate;
    let file = files.open(&name)?;
    let mut segment = Segment::new(header.id, header.first_sequence);
    let span = Span {
        at: SEGMENT_HEADER as u64,
        end: length,
        expected: header.first_sequence,
        until: until.unwrap_or(u64::MAX),
    };
    for reader in readers.iter_mut() {
        let begins_later = until.is_some_and(|until| reader.place.sequence >= until);
        if !begins_later && reader.place.segment == 0 {
            reader.place = Place {
                sequence: reader.place.sequence.max(header.first_sequence),
                segment: header.id,
                offset: SEGMENT_HEADER as u64,
            };
        }
    }
    let depth = match until {
        Some(_) => Depth::Headers,
        None => Depth::Payloads,
    };
    let mut scanner = Scanner::new(file, header.key(), span, WINDOW);
    let (mut last_group, mut last_write) = (None, span.at);
    while let Some(entry) = scanner.next(depth)? {
        if last_group.replace(entry.header.group) != Some(entry.header.group) {
            last_write = entry.at;
        }
        let length = usize::try_from(entry.header.length).unwrap_or(usize::MAX);
        let RecordHeader { signal, items, .. } = entry.header;
        let totals = Totals::of(Items::only(signal, items), length);
        *segment.totals.of_mut(signal) += totals;
        for reader in readers.iter_mut() {
            reader.met(&entry, header.id, totals);
        }
    }
    let rest = scanner.rest();
    segment.end = rest.at;
    let damage = scanner.damage();
    if damage.bytes > 0 && damage.settled {
        segment.damaged = true;
        let file = name.clone();
        recovery.note(Note::Damaged { file, damage });
    } else if damage.bytes > 0 {
        let (at, bytes) = (damage.at, damage.bytes);
        let file = name.clone();
        recovery.note(Note::Unfinished { file, at, bytes });
    }
    match until {
        Some(until) if rest.expected < until => {
            // A gap without bytes is what `received` may leave of a power cut.
            segment.damaged |= rest.at < length;
            let (first, records) = (rest.expected, until - rest.expected);
            recovery.note(Note::Missing { first, records });
        }
        None => note_rest(scanner, length, name, recovery),
        Some(_) => {}
    }
    Ok((segment, rest.expected, last_write))
}

/// Tells of what lies behind the last whole record when it is of a write that a crash cut short, which nobody was told
/// of, and not of an earlier use of the file. Settling the tail cuts it off.
fn note_rest(mut scanner: Scanner, length: u64, file: String, recovery: &mut Recovery) {
    let at = scanner.rest().at;
    if at < length && matches!(scanner.next_length(), Ok(Some(_))) {
        let bytes = length - at;
        recovery.note(Note::Unfinished { file, at, bytes });
    }
}
