//! A disk in memory for tests. A power cut leaves of what was not synced whatever chance has it: writes whole, torn or
//! not at all, whichever came first; names up to some point in their order. It can be full, and any operation can be
//! made to fail; a sync that fails has lost what it should have saved, although it can still be read until the cut.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::files::{File, Files};

#[derive(Clone, Debug, Default)]
pub(super) struct SimDisk(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    files: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// In order.
    unsynced_names: Vec<NameChange>,
    next_file: u64,
    /// Changes until one fails.
    fails_in: Option<u64>,
    /// Bytes that all files may have together.
    capacity: Option<u64>,
    /// Where reading any file fails.
    unreadable_from: Option<usize>,
    /// Whether no segment can be removed or renamed.
    keeps_segments: bool,
    /// Whether another directory is in its place.
    vanished: bool,
    /// Whether the next change panics.
    panics: bool,
    /// Whether writing takes until this is over.
    hangs: bool,
}

#[derive(Debug, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

#[derive(Debug)]
enum NameChange {
    Set(String, u64),
    Rename(String, String),
    Remove(String),
}

/// Small numbers that look random; the same for the same seed.
#[derive(Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// One of `0..n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

impl SimDisk {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The change after `changes` more fails.
    pub(super) fn fail_in(&self, changes: Option<u64>) {
        self.content().fails_in = changes;
    }

    /// From this offset on no file can be read.
    pub(super) fn unreadable_from(&self, offset: Option<usize>) {
        self.content().unreadable_from = offset;
    }

    /// From now on no segment can be removed or renamed.
    pub(super) fn keep_segments(&self, keep: bool) {
        self.content().keeps_segments = keep;
    }

    /// Whether another directory, an empty one, is in its place; files that are open stay so.
    pub(super) fn vanish(&self, vanished: bool) {
        self.content().vanished = vanished;
    }

    /// From now on writing neither succeeds nor fails.
    pub(super) fn hang(&self, hangs: bool) {
        self.content().hangs = hangs;
    }

    /// The next change panics, as a fault in the code that makes it would.
    pub(super) fn panic_next(&self) {
        self.content().panics = true;
    }

    /// From now on only `more` bytes fit beside those that are there.
    pub(super) fn fill_up(&self, more: Option<u64>) {
        let mut content = self.content();
        let used = content.used();
        content.capacity = more.map(|more| used + more);
    }

    /// What is there when the power comes back.
    pub(super) fn cut_power(&self, chance: &mut Chance) {
        let mut content = self.content();
        let kept = chance.below(content.unsynced_names.len() + 1);
        let changes: Vec<_> = content.unsynced_names.drain(..).take(kept).collect();
        let mut names = std::mem::take(&mut content.durable_names);
        for change in changes {
            change.apply(&mut names);
        }
        for file in content.files.values_mut() {
            for change in std::mem::take(&mut file.unsynced) {
                change.apply_by_chance(&mut file.durable, chance);
            }
            file.content = file.durable.clone();
        }
        content.names = names.clone();
        content.durable_names = names;
    }

    /// Changes a file behind the log's back.
    pub(super) fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut content = self.content();
        let id = content.names[name];
        let file = content.files.get_mut(&id).unwrap();
        change(&mut file.content);
        file.durable = file.content.clone();
    }

    /// Bytes in all files that have a name.
    pub(super) fn used(&self) -> u64 {
        self.content().used()
    }

    /// Files made so far.
    pub(super) fn files_made(&self) -> u64 {
        self.content().next_file
    }
}

impl Content {
    fn used(&self) -> u64 {
        let lengths = self.names.values().map(|id| self.files[id].content.len());
        lengths.sum::<usize>() as u64
    }

    fn fails(&mut self) -> bool {
        assert!(!std::mem::take(&mut self.panics), "a fault in the code");
        match &mut self.fails_in {
            None => false,
            Some(0) => {
                self.fails_in = None;
                true
            }
            Some(more) => {
                *more -= 1;
                false
            }
        }
    }

    fn check(&mut self) -> io::Result<()> {
        match self.fails() {
            true => Err(io::Error::other("the disk fails")),
            false => Ok(()),
        }
    }

    fn id(&self, name: &str) -> io::Result<u64> {
        let id = self.names.get(name).filter(|_| !self.vanished).copied();
        id.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Whether what has this name may be removed or get another one.
    fn may_go(&self, name: &str) -> io::Result<()> {
        match self.keeps_segments && name.ends_with(".segment") {
            true => Err(io::ErrorKind::PermissionDenied.into()),
            false => Ok(()),
        }
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Set(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Rename(from, to) => {
                let id = names.remove(from).unwrap();
                names.insert(to.clone(), id);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Truncate(length) => content.resize(*length, 0),
        }
    }

    fn apply_by_chance(self, content: &mut Vec<u8>, chance: &mut Chance) {
        match (chance.below(3), self) {
            (0, _) => {}
            (1, Self::Write { offset, bytes }) if !bytes.is_empty() => {
                // Pages get there in any order: some of them, anywhere.
                let from = chance.below(bytes.len());
                let to = from + chance.below(bytes.len() - from) + 1;
                let bytes = bytes[from..to].to_vec();
                let offset = offset + from;
                Self::Write { offset, bytes }.apply(content);
            }
            (_, change) => change.apply(content),
        }
    }
}

impl Files for SimDisk {
    fn check(&self) -> io::Result<()> {
        match self.content().vanished {
            true => Err(io::Error::other("the directory is gone")),
            false => Ok(()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.content().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut content = self.content();
        content.check()?;
        if content.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = content.next_file;
        content.next_file += 1;
        content.files.insert(id, Inode::default());
        content.change_names(NameChange::Set(name.to_owned(), id));
        let disk = self.clone();
        Ok(Box::new(SimFile { disk, id }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let id = self.content().id(name)?;
        let disk = self.clone();
        Ok(Box::new(SimFile { disk, id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut content = self.content();
        content.check()?;
        content.id(from)?;
        content.may_go(from)?;
        content.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut content = self.content();
        content.id(name)?;
        content.may_go(name)?;
        content.check()?;
        content.change_names(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut content = self.content();
        content.check()?;
        content.unsynced_names.clear();
        content.durable_names = content.names.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: u64,
}

impl SimFile {
    fn change(&self, change: Change) {
        let mut content = self.disk.content();
        let file = content.files.get_mut(&self.id).unwrap();
        change.apply(&mut file.content);
        file.unsynced.push(change);
    }
}

impl File for SimFile {
    fn length(&mut self) -> io::Result<u64> {
        Ok(self.disk.content().files[&self.id].content.len() as u64)
    }

    fn read(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.content();
        let content = &disk.files[&self.id].content;
        let from = content.len().min(offset as usize);
        let length = buffer.len().min(content.len() - from);
        if disk.unreadable_from.is_some_and(|end| from + length > end) {
            return Err(io::Error::other("the disk cannot be read here"));
        }
        buffer[..length].copy_from_slice(&content[from..from + length]);
        Ok(length)
    }

    fn write(&mut self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let offset = offset as usize;
        while self.disk.content().hangs {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let mut content = self.disk.content();
        let (length, used) = (content.files[&self.id].content.len(), content.used());
        let more = (offset + bytes.len()).saturating_sub(length) as u64;
        let full = content
            .capacity
            .is_some_and(|capacity| used + more > capacity);
        let fails = content.fails();
        drop(content);
        if full || fails {
            // Some of it got there.
            bytes.truncate(bytes.len() / 2);
        }
        self.change(Change::Write { offset, bytes });
        match (full, fails) {
            (true, _) => Err(io::ErrorKind::StorageFull.into()),
            (_, true) => Err(io::Error::other("the disk fails")),
            _ => Ok(()),
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.disk.content().check()?;
        self.change(Change::Truncate(length as usize));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut content = self.disk.content();
        let fails = content.fails();
        let file = content.files.get_mut(&self.id).unwrap();
        for change in std::mem::take(&mut file.unsynced) {
            if !fails {
                change.apply(&mut file.durable);
            }
        }
        match fails {
            true => Err(io::Error::other("the disk fails")),
            false => Ok(()),
        }
    }
}
