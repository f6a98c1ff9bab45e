//! How far each exporter has come, in a small file beside the segments that is replaced as a whole. Read by
//! `recover`, written by `writer`.

use std::io::{self, IoSlice};

use serde::{Deserialize, Serialize};

use super::files::Files;
use super::format::MOST;
use super::readers::Reader;
use crate::signal::Signals;

pub(super) const FILE: &str = "cursors.json";
/// The next one while it is written.
pub(super) const NEW: &str = "cursors.json.new";

const VERSION: u32 = 1;
/// Far more than the names of any number of exporters need.
const MAX_BYTES: u64 = 4 << 20;

/// One exporter's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// The exporter's.
    pub(super) name: String,
    /// The first record that it may still have to send.
    pub(super) next: u64,
    /// What it takes; all in a file that does not say.
    #[serde(default)]
    pub(super) signals: Signals,
    /// Since when it is not configured any more, Unix nanoseconds.
    pub(super) left_unix_nano: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    version: u32,
    cursors: Vec<Saved>,
}

/// What was saved last; `None` when nothing was, and what is wrong with a file that does not say.
///
/// # Errors
/// The file is there and cannot be read: it may say all the same.
pub(super) fn load(files: &dyn Files) -> io::Result<Result<Option<Vec<Saved>>, String>> {
    let mut file = match files.open(FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
        Err(error) => return Err(error),
    };
    let length = file.length()?;
    let length = usize::try_from(length.min(MAX_BYTES)).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let read = file.read(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(match serde_json::from_slice(&bytes) {
        Ok(Content { version, cursors }) if version == VERSION => {
            match cursors.iter().find(|saved| saved.next >= MOST) {
                Some(saved) => Err(format!("no record has the number {}", saved.next)),
                None => Ok(Some(cursors)),
            }
        }
        Ok(Content { version, .. }) => Err(format!("it is of version {version}, not {VERSION}")),
        Err(error) => Err(error.to_string()),
    })
}

/// What to save of `readers`.
pub(super) fn of(readers: &[Reader]) -> Vec<Saved> {
    let lasting = readers.iter().filter(|reader| !reader.scout);
    let saved = lasting.map(|reader| Saved {
        name: reader.status.name.clone(),
        next: reader.place.sequence,
        signals: reader.status.signals,
        left_unix_nano: reader.left_unix_nano,
    });
    saved.collect()
}

/// Replaces what was saved; after a power cut either the old or the new is there.
pub(super) fn save(files: &dyn Files, cursors: Vec<Saved>) -> io::Result<()> {
    files.check()?;
    let content = Content {
        version: VERSION,
        cursors,
    };
    let bytes = serde_json::to_vec(&content)?;
    match files.remove(NEW) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = files.create(NEW)?;
    file.write(&mut [IoSlice::new(&bytes)], 0)?;
    file.sync()?;
    files.rename(NEW, FILE)?;
    files.sync_names()
}
