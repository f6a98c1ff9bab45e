//! The last write that a start finds. It was answered with success, or a crash or a failure came first: then it may be
//! there to be read and not be on the disk, and nobody knows. What follows it must not, for after a power cut it would
//! look as if something between were missing. Found by `recover`, settled before `writer` goes on behind it.

use std::io::{self, IoSlice};

use super::files::Files;

/// Bytes read and written at once.
const WINDOW: usize = 256 * 1024;

/// The end of the newest segment.
#[derive(Debug)]
pub(super) struct Tail {
    /// The segment's file.
    pub(super) name: String,
    /// Where the last write begins: what is before it was synced, or there would have been no later one.
    pub(super) from: u64,
    /// Where the last whole record ends.
    pub(super) end: u64,
}

impl Tail {
    /// Returns when it outlasts a power cut, and what lies behind it is cut off.
    pub(super) fn settle(&self, files: &dyn Files) -> io::Result<()> {
        files.check()?;
        let mut file = match files.open(&self.name) {
            // Who took it away needs none of it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        // A sync alone may say that all is well when one that failed before has lost what the system still shows: it is
        // written once more, as it is.
        let mut window = Vec::new();
        let mut at = self.from;
        while at < self.end {
            let left = usize::try_from(self.end - at).unwrap_or(usize::MAX);
            window.resize(left.min(WINDOW), 0);
            let read = file.read(&mut window, at)?;
            if read == 0 {
                break;
            }
            window.truncate(read);
            file.write(&mut [IoSlice::new(&window)], at)?;
            at += read as u64;
        }
        if file.length()? > self.end {
            file.truncate(self.end)?;
        }
        file.sync()
    }
}
