//! Opens the batch log, in memory or in the data directory. Called by `pipeline` before anything is started.

use std::sync::Arc;

use crate::config::Config;
use crate::export;
use crate::log::disk::{OpenError, Recovery};
use crate::log::{BatchLog, Cursor, ReaderConfig};
use crate::status::{ExporterStatus, LogStatus};

/// The batch log with one cursor for each exporter, and what was found in it.
pub(super) struct OpenLog {
    pub(super) log: BatchLog,
    pub(super) exporters: Vec<Arc<ExporterStatus>>,
    pub(super) cursors: Vec<Cursor>,
    /// Of a log on disk.
    pub(super) status: Option<Arc<LogStatus>>,
    pub(super) recovery: Recovery,
}

impl OpenLog {
    /// # Errors
    /// [`OpenError`]: the data directory cannot be had.
    pub(super) fn open(config: &Config) -> Result<Self, OpenError> {
        let exporters: Vec<_> = config.export.iter().map(exporter_status).collect();
        let readers = exporters
            .iter()
            .zip(&config.export)
            .map(|(status, export)| ReaderConfig {
                status: Arc::clone(status),
                on_full: export.on_full,
            });
        let (readers, memory) = (readers.collect(), config.memory.log);
        let Some(disk) = &config.storage.disk else {
            let (log, cursors) = BatchLog::in_memory(memory, readers);
            return Ok(Self {
                log,
                exporters,
                cursors,
                status: None,
                recovery: Recovery::default(),
            });
        };
        let status = Arc::new(LogStatus {
            directory: disk.directory.display().to_string(),
            durability: disk.durability.name(),
            limit_bytes: disk.limit,
            ..LogStatus::default()
        });
        let (log, cursors, recovery) =
            BatchLog::on_disk(disk, memory, readers, Arc::clone(&status))?;
        Ok(Self {
            log,
            exporters,
            cursors,
            status: Some(status),
            recovery,
        })
    }
}

fn exporter_status(config: &export::Config) -> Arc<ExporterStatus> {
    let mut status = ExporterStatus {
        signals: config.signals,
        ..ExporterStatus::named(config.name.as_str())
    };
    if config.sampling.is_on() {
        status.sampling.rules = config.sampling.to_string();
    }
    Arc::new(status)
}
