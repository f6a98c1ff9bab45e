//! The file operations that the log on disk is made of, behind a seam: the real ones here, and for tests a disk that
//! loses power, fills up and fails (`sim`). Called by `recover`, `writer` and readers.

use std::fmt::Debug;
use std::fs::{self, TryLockError};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::OpenError;

/// One directory. Names are plain file names.
pub(super) trait Files: Debug + Send + Sync {
    /// Whether it is still the directory that was opened.
    ///
    /// # Errors
    /// It was removed, or its file system is gone and another directory is in its place: what is written there now
    /// would be missing at the next start, and what is missing there now is not lost.
    fn check(&self) -> io::Result<()>;
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
    lock: fs::File,
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
        make(path).map_err(|error| fault(no_directory(error)))?;
        let lock = private(fs::File::options().create(true).write(true))
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
        Ok(Self { path, lock })
    }
}

/// Makes a directory for this user alone: what spans tell may be nobody else's business. One that is there is left
/// as it is.
fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// What the system calls a file that exists, said so that one knows what to do.
fn no_directory(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => io::Error::new(
            io::ErrorKind::NotADirectory,
            "it is not a directory; name one that is, or one that can be made",
        ),
        _ => error,
    }
}

/// What is made with these options is for this user alone.
fn private(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Whether both are the same file.
#[cfg(unix)]
fn same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Elsewhere the names of open files cannot be taken away.
#[cfg(not(unix))]
fn same(_one: &fs::Metadata, _other: &fs::Metadata) -> bool {
    true
}

impl Files for Directory {
    fn check(&self) -> io::Result<()> {
        let there = match fs::metadata(self.path.join(LOCK)) {
            Ok(found) => same(&found, &self.lock.metadata()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        there
            .then_some(())
            .ok_or_else(|| io::Error::other("it is not the directory any more that was opened: put that one back, or start the collector again to go on with \
                 what is there now"))
    }

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
        let mut options = fs::File::options();
        options.read(true).write(true).create_new(true);
        let file = private(&mut options).open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut options = fs::File::options();
        let file = options.read(true).write(true).open(self.path.join(name))?;
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
