//! What a start found in its directory, kept until lines can be written. Filled by `recover`, told by `pipeline`.

use super::readers::{Reader, Totals};
use super::scan::Damage;
use crate::signal::Signal;

/// What a start found in its directory, to be told once lines can be written.
#[derive(Debug, Default)]
pub struct Recovery {
    notes: Vec<Note>,
}

#[derive(Debug)]
pub(super) enum Note {
    /// A file that is none of ours, or of a later version, or cannot be read.
    LeftAlone {
        file: String,
        reason: String,
    },
    /// A segment of which nothing can be read.
    SetAside {
        file: String,
        reason: String,
    },
    Damaged {
        file: String,
        damage: Damage,
    },
    /// The last write before a crash.
    Unfinished {
        file: String,
        at: u64,
        bytes: u64,
    },
    Missing {
        first: u64,
        records: u64,
    },
    Cursors {
        reason: String,
    },
    Waiting {
        exporter: String,
        unsent: Totals,
    },
    Left {
        exporter: String,
        unsent: Totals,
    },
}

impl Recovery {
    pub(super) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    pub(super) fn left_alone(&mut self, file: String, reason: &str) {
        let reason = reason.to_owned();
        self.notes.push(Note::LeftAlone { file, reason });
    }

    pub(super) fn tell_of(&mut self, readers: &[Reader]) {
        for reader in readers.iter().filter(|reader| reader.unsent.records > 0) {
            let exporter = reader.status.name.clone();
            let unsent = reader.unsent;
            self.notes.push(match reader.is_configured() {
                true => Note::Waiting { exporter, unsent },
                false => Note::Left { exporter, unsent },
            });
        }
    }

    /// Writes it all to the log.
    pub fn tell(&self) {
        for note in &self.notes {
            note.tell();
        }
    }

    /// Whether anything was lost or could not be used.
    #[cfg(test)]
    pub(super) fn found_damage(&self) -> bool {
        let harmless = |note: &Note| {
            matches!(
                note,
                Note::Unfinished { .. } | Note::Waiting { .. } | Note::Left { .. }
            )
        };
        !self.notes.iter().all(harmless)
    }
}

impl Note {
    fn tell(&self) {
        match self {
            Self::LeftAlone { file, reason } => {
                tracing::warn!(file, reason, "a file of the data directory is left alone");
            }
            Self::SetAside { file, reason } => tracing::error!(
                file,
                reason,
                "a segment of the batch log is set aside: nothing in it can be read"
            ),
            Self::Damaged { file, damage } => tracing::error!(
                file,
                offset = damage.at,
                bytes = damage.bytes,
                records = damage.records,
                "a segment of the batch log is damaged: what can be read of it is sent, and it is set aside then"
            ),
            Self::Unfinished { file, at, bytes } => tracing::info!(
                file,
                offset = at,
                bytes,
                "the last write before a crash was cut short: what its senders were not told of is left out"
            ),
            Self::Missing { first, records } => tracing::error!(
                first,
                records,
                "records are missing in the batch log: lost by a power cut, or their file is gone"
            ),
            Self::Cursors { reason } => tracing::error!(
                reason,
                "how far exporters had come cannot be read: everything that is kept is sent again"
            ),
            Self::Waiting { exporter, unsent } => tracing::info!(
                exporter,
                spans = unsent.items.traces,
                log_records = unsent.items.told(Signal::Logs),
                data_points = unsent.items.told(Signal::Metrics),
                bytes = unsent.bytes,
                "what came before the start waits for this exporter"
            ),
            Self::Left { exporter, unsent } => tracing::warn!(
                exporter,
                spans = unsent.items.traces,
                log_records = unsent.items.told(Signal::Logs),
                data_points = unsent.items.told(Signal::Metrics),
                bytes = unsent.bytes,
                "what waits for an exporter that is not configured any more is kept for the retention, unless its room is needed"
            ),
        }
    }
}
