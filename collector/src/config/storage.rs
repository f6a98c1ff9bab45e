//! Where accepted batches are kept until they are sent: `--data-dir` and what belongs to it. Used by `config`.

use std::path::PathBuf;
use std::time::Duration;

use super::value::{self, Fault, Setting};
use crate::log::OnFull;
use crate::log::disk::{DiskConfig, Durability};

/// The batch log: where it is, and what gives way when it is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// A directory; `None` is memory.
    pub disk: Option<DiskConfig>,
    /// For every exporter.
    pub on_full: OnFull,
}

/// Settings as they were found.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) data_dir: Option<Setting>,
    pub(super) durability: Option<Setting>,
    pub(super) data_limit: Option<Setting>,
    pub(super) on_full: Option<Setting>,
}

const MIB: usize = 1 << 20;
const DEFAULT_LIMIT: usize = 1024 * MIB;
/// A quarter of what is left beside the segments in work holds the largest batch that any receiver takes.
const LEAST_LIMIT: usize = 128 * MIB;

impl Storage {
    pub(super) fn resolve(
        settings: Settings,
        retention: Duration,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let Settings {
            data_dir,
            durability,
            data_limit,
            on_full,
        } = settings;
        if data_dir.is_none() {
            for setting in [&durability, &data_limit].into_iter().flatten() {
                let allowed = "only together with --data-dir";
                let Setting { source, value } = setting.clone();
                faults.push(Fault::new(source, value, allowed));
            }
        }
        let data_dir = value::checked(data_dir, faults, |setting| match setting.value.trim() {
            "" => Err("name a directory, or leave it out".to_owned()),
            directory => Ok(PathBuf::from(directory)),
        });
        let durability = value::checked(durability, faults, |setting| match setting.value.trim() {
            "synced" => Ok(Durability::Synced),
            "received" => Ok(Durability::Received),
            _ => Err("write synced or received".to_owned()),
        });
        let limit = value::checked(data_limit, faults, |setting| {
            let limit = value::bytes(&setting.value)?;
            if limit < LEAST_LIMIT {
                return Err(format!("at least {}MiB are needed", LEAST_LIMIT / MIB));
            }
            Ok(limit)
        });
        let on_full = value::checked(on_full, faults, |setting| match setting.value.trim() {
            "refuse" => Ok(OnFull::Refuse),
            "drop_oldest" => Ok(OnFull::DropOldest),
            _ => Err("write refuse or drop_oldest".to_owned()),
        });
        let by_default = match data_dir {
            Some(_) => OnFull::Refuse,
            None => OnFull::DropOldest,
        };
        Self {
            disk: data_dir.map(|directory| DiskConfig {
                directory,
                durability: durability.unwrap_or(Durability::Synced),
                limit: limit.unwrap_or(DEFAULT_LIMIT) as u64,
                retention,
            }),
            on_full: on_full.unwrap_or(by_default),
        }
    }
}
