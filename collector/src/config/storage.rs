//! Where accepted batches are kept until they are sent: `--data-dir` and what belongs to it. Used by `config`.

use std::path::PathBuf;
use std::time::Duration;

use super::given::Given;
use super::source::Faults;
use super::value;
use crate::log::OnFull;
use crate::log::disk::{DiskConfig, Durability};

/// The batch log: where it is, and what gives way when it is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// A directory; `None` is memory.
    pub disk: Option<DiskConfig>,
    /// For every exporter that has no other choice of its own.
    pub on_full: OnFull,
}

const MIB: usize = 1 << 20;
const DEFAULT_LIMIT: usize = 1024 * MIB;
/// A quarter of what is left beside the segments in work holds the largest batch that any receiver takes.
const LEAST_LIMIT: usize = 128 * MIB;

impl Storage {
    pub(super) fn resolve(given: &Given, retention: Duration, faults: &mut Faults) -> Self {
        let directory = given.one("data_dir");
        if directory.is_none() {
            for setting in [given.one("durability"), given.one("data_limit")] {
                faults.checked::<()>(setting, |_| Err("only together with --data-dir".to_owned()));
            }
        }
        let directory = faults.checked(directory, directory_named);
        let durability = faults.checked(given.one("durability"), durability);
        let limit = faults.checked(given.one("data_limit"), limit);
        let by_default = match directory {
            Some(_) => OnFull::Refuse,
            None => OnFull::DropOldest,
        };
        Self {
            disk: directory.map(|directory| DiskConfig {
                directory,
                durability: durability.unwrap_or(Durability::Synced),
                limit: limit.unwrap_or(DEFAULT_LIMIT) as u64,
                retention,
            }),
            on_full: faults
                .checked(given.one("on_full"), on_full)
                .unwrap_or(by_default),
        }
    }
}

fn directory_named(text: &str) -> Result<PathBuf, String> {
    match text.trim() {
        "" => Err("name a directory, or leave it out".to_owned()),
        directory => Ok(PathBuf::from(directory)),
    }
}

fn durability(text: &str) -> Result<Durability, String> {
    match text.trim() {
        "synced" => Ok(Durability::Synced),
        "received" => Ok(Durability::Received),
        _ => Err("write synced or received".to_owned()),
    }
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = value::bytes(text)?;
    if limit < LEAST_LIMIT {
        return Err(format!("at least {}MiB are needed", LEAST_LIMIT / MIB));
    }
    Ok(limit)
}

pub(super) fn on_full(text: &str) -> Result<OnFull, String> {
    match text.trim() {
        "refuse" => Ok(OnFull::Refuse),
        "drop_oldest" => Ok(OnFull::DropOldest),
        _ => Err("write refuse or drop_oldest".to_owned()),
    }
}

pub(super) fn write_on_full(on_full: OnFull) -> &'static str {
    match on_full {
        OnFull::Refuse => "refuse",
        OnFull::DropOldest => "drop_oldest",
    }
}
