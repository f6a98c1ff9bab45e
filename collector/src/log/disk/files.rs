//! The file operations that the log on disk is made of, behind a seam: the real ones here, and for tests a disk that
//! loses power, fills up and fails (`sim`). Called by `recover`, `writer` and readers.

use std::fmt::Debug;
use std::fs::{self, TryLockError};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::OpenError;

/// One directory. Names are plain file names.
pub(super) trait Files: Debug + Send + Sync {
    /// The names of the regular files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new file, for reading and writing.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// One that is there, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// Gives a file a new name, at once for whoever looks; what had that name is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Returns when names as they are now outlast a power cut.
    fn sync_names(&self) -> io::Result<()>;
}

/// One open file.
pub(super) trait File: Debug + Send {
    /// Bytes in it.
    fn length(&mut self) -> io::Result<u64>;
    /// Reads from `offset` on until `buffer` is full or the file ends; the number of bytes read.
    fn read(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `parts`, one behind the other, from `offset` on.
    fn write(&mut self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Returns when the content outlasts a power cut.
    fn sync(&mut self) -> io::Result<()>;
}

/// A real directory, locked for this process until dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: fs::File,
}

const LOCK: &str = "lock";

impl Directory {
    /// Makes the directory unless it is there, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let fault = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let made = path.ancestors().take_while(missing).count();
        fs::create_dir_all(path).map_err(fault)?;
        let lock = fs::File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(fault)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(fault(source)),
        }
        let path = path.canonicalize().map_err(fault)?;
        // What is in it would be gone with it.
        for parent in path.ancestors().skip(1).take(made) {
            sync_directory(parent).map_err(fault)?;
        }
        Ok(Self { path, _lock: lock })
    }

    fn options() -> fs::OpenOptions {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true);
        options
    }
}

impl Files for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_file() && name != LOCK {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let path = self.path.join(name);
        let file = Self::options().create_new(true).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = Self::options().open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Elsewhere a directory cannot be opened; names are as durable as the system makes them.
#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

impl File for fs::File {
    fn length(&mut self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&mut self, mut buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.seek(SeekFrom::Start(offset))?;
        let mut total = 0;
        while !buffer.is_empty() {
            match Read::read(self, buffer) {
                Ok(0) => break,
                Ok(read) => {
                    total += read;
                    buffer = buffer.get_mut(read..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    fn write(&mut self, mut parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match self.write_vectored(parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
