//! What the fuzz targets run of the log on disk: a directory of segments, damaged in any way. Called by `fuzzing`.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::cursors::{self, Saved};
use super::files::{File, Files};
use super::format::{RecordHeader, SegmentHeader};
use super::state::{Limits, Next, Pending};
use super::writer::Writer;
use super::{DiskConfig, Durability, Shared, Sizes, scan, segment_name};
use crate::log::{OnFull, Read, ReaderConfig, ReaderId};
use crate::signal::{Signal, Signals};
use crate::status::{ExporterStatus, LogStatus};

const SIZES: Sizes = Sizes {
    segment: 2_000,
    limits: Limits {
        capacity: 100_000,
        memory: 3_000,
        group: 1_200,
        least_charge: 0,
    },
};

const READERS: [&str; 2] = ["a", "b"];

/// Writes segments, spoils them, opens what is left and reads it: nothing comes but what was written, in order, and the
/// log goes on.
pub(crate) fn segments(data: &[u8]) {
    let mut input = Input(data);
    let files = Memory::default();
    let written = write(&mut input, &files);
    let max_bytes = usize::from(input.byte());
    let is_forged = spoil(&mut input, &files);
    let (shared, mut writer) = open(&files);
    for reader in 0..READERS.len() {
        for (sequence, payload) in drain(&shared, reader, max_bytes) {
            // Whoever writes whole files can have them say anything.
            assert!(
                is_forged || written.get(&sequence) == Some(&payload),
                "{sequence}"
            );
        }
    }
    let batch = Bytes::from_static(b"what comes next");
    let answer = shared
        .offer(Signal::Traces, batch.clone(), 1)
        .expect("there is room");
    writer.write_group(&shared);
    let answer = answer.map(|mut answer| answer.try_recv());
    assert_eq!(answer, Some(Ok(Ok(()))));
    for reader in 0..READERS.len() {
        let last = drain(&shared, reader, max_bytes).pop();
        assert_eq!(last.map(|(_, payload)| payload), Some(batch.clone()));
    }
}

/// Up to three segments of up to seven records; each record's payload by its sequence.
fn write(input: &mut Input<'_>, files: &Memory) -> BTreeMap<u64, Bytes> {
    let mut written = BTreeMap::new();
    let mut sequence = u64::from(input.byte());
    for id in 1..=u64::from(input.byte() % 4) {
        let header = SegmentHeader {
            id,
            nonce: id * 77,
            first_sequence: sequence,
            begun_unix_nano: 5,
        };
        let mut bytes = header.encode().to_vec();
        let mut group = sequence;
        for _ in 0..input.byte() % 8 {
            let (length, begins_group) = (input.byte() / 2, input.byte().is_multiple_of(2));
            if begins_group {
                group = sequence;
            }
            let payload = Bytes::from(vec![sequence as u8; usize::from(length)]);
            let (answer, _) = tokio::sync::oneshot::channel();
            let batch = Pending {
                bytes: payload.clone(),
                signal: Signal::Traces,
                items: 1,
                arrived_unix_nano: 7,
                answer,
            };
            let header_of = RecordHeader::of(&batch, sequence, group);
            let record = header_of.expect("it is short").encode(header.key());
            bytes.extend_from_slice(&record);
            bytes.extend_from_slice(&payload);
            written.insert(sequence, payload);
            sequence += 1;
        }
        files.put(&segment_name(id), bytes);
    }
    written
}

/// Does to the files what the rest of the input says; whether it made whole ones up.
fn spoil(input: &mut Input<'_>, files: &Memory) -> bool {
    while !input.0.is_empty() {
        let (what, id) = (input.byte(), u64::from(input.byte() % 4));
        let name = segment_name(id);
        let mut bytes = files.get(&name).unwrap_or_default();
        let length = bytes.len();
        let at = usize::from(input.short()) % (length + 1);
        match what % 8 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, input.byte()),
            2 => drop(bytes.drain(at..length.min(at + usize::from(input.byte())))),
            3 => {
                let from = usize::from(input.short()) % (length + 1);
                let to = length.min(from + usize::from(input.byte()));
                let copied = bytes.get(from..to).unwrap_or_default().to_vec();
                bytes.splice(at..length.min(at + copied.len()), copied);
            }
            4 => {
                let next = |next| Saved {
                    name: READERS[usize::from(next % 2)].to_owned(),
                    next: u64::from(next),
                    left_unix_nano: None,
                    signals: Signals::ALL,
                };
                let saved = [input.byte(), input.byte()].map(next).to_vec();
                cursors::save(files, saved).expect("memory takes it");
                continue;
            }
            5 => {
                let name = match id {
                    0 => cursors::FILE.to_owned(),
                    id => segment_name(id),
                };
                files.put(&name, input.0.to_vec());
                return true;
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= input.byte();
                }
            }
        }
        files.put(&name, bytes);
    }
    false
}

fn open(files: &Memory) -> (Arc<Shared>, Writer) {
    let config = DiskConfig {
        directory: "memory".into(),
        durability: Durability::Synced,
        limit: 0,
        retention: Duration::from_secs(3_600),
    };
    let readers = READERS.map(|name| ReaderConfig {
        status: Arc::new(ExporterStatus::named(name)),
        on_full: OnFull::Refuse,
    });
    let status = Arc::new(LogStatus::default());
    let files = Arc::new(files.clone());
    let opened = Shared::open(files, &config, SIZES, readers.into(), status);
    let (shared, writer, cursors, recovery) =
        opened.expect("nothing in a directory keeps it from starting");
    recovery.tell();
    drop(cursors);
    (shared, writer)
}

/// Everything that a reader gets, with its sequence.
fn drain(shared: &Arc<Shared>, reader: usize, max_bytes: usize) -> Vec<(u64, Bytes)> {
    let id = ReaderId(reader as u64);
    let mut all: Vec<(u64, Bytes)> = Vec::new();
    loop {
        let next = shared.state().read(id, max_bytes);
        let records = match next {
            Next::Here(Read::Records(records)) => records,
            Next::Here(_) => return all,
            Next::OnDisk(mut ask) => {
                ask.any_size = true;
                let answer = scan::read(&*shared.files, &ask);
                let (records, damage) = match answer {
                    Ok(scan::Answer::Records { records, damage }) => (records, damage),
                    Ok(scan::Answer::Oversize(_)) => panic!("any size was asked for"),
                    Err(_) => (Vec::new(), scan::Damage::default()),
                };
                match shared.state().found(id, &ask, records, damage) {
                    (Some(records), _) => records,
                    (None, _) => continue,
                }
            }
        };
        let bytes: usize = records.iter().map(|record| record.bytes.len()).sum();
        assert!(records.len() == 1 || bytes <= max_bytes);
        for record in records {
            let is_next = all.last().is_none_or(|(last, _)| *last < record.sequence);
            assert!(is_next, "{} after {all:?}", record.sequence);
            all.push((record.sequence, record.bytes));
        }
        if let Some((last, _)) = all.last() {
            shared.ack(id, *last);
        }
    }
}

/// Numbers from the input; zeros behind its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *byte
    }

    fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
}

/// A directory that never fails.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, Content>>>);

#[derive(Clone, Debug, Default)]
struct Content(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Content>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, name: &str) -> Option<Vec<u8>> {
        let content = self.names().get(name).cloned()?;
        Some(content.bytes().clone())
    }

    fn put(&self, name: &str, bytes: Vec<u8>) {
        let content = Content(Arc::new(Mutex::new(bytes)));
        self.names().insert(name.to_owned(), content);
    }
}

impl Content {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for Memory {
    fn check(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        if self.names().contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.put(name, Vec::new());
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let content = self.names().get(name).cloned();
        let content = content.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(content))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = self.names();
        let content = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.names().remove(name);
        removed
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

impl File for Content {
    fn length(&mut self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = bytes.get(from..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(length)
    }

    fn write(&mut self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let mut bytes = self.bytes();
        let new: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let length = bytes.len().max(from + new.len());
        bytes.resize(length, 0);
        bytes.splice(from..from + new.len(), new);
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.bytes().resize(length, 0);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn records_that_the_start_did_not_count_hold_back_no_others() {
        // Three segments; a stretch cut out of the second makes one header lead past others, which are found all the same
        // when its payload turns out to be damaged.
        let sizes = [
            &[3][..],
            &[0xff; 18],
            &[2, 3, 20, 0, 30, 1, 0, 1, 2, 20, 98, 30, 1, 100, 5, 0, 0, 0],
        ]
        .concat();
        let damage = b"{\"versi(\x94\xffon\":1,@cu<:\0\x09\xff\xff\xff\xff";
        super::segments(&[&sizes[..], damage].concat());
    }
}
