//! What happens in the log and is worth a line: found under its lock, told outside of it. Used by both logs.

use crate::signal::{Items, Signal};

/// What is worth a line in the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The cap begins to push out what an exporter has not sent.
    Dropping { exporter: String, items: Items },
    /// It does so no more; what that lost.
    Recovered { exporter: String, items: Items },
    /// A reader found that a part of a segment cannot be read.
    Damaged {
        segment: u64,
        offset: u64,
        records: u64,
    },
    /// What a reader gave up with it.
    Unreadable {
        exporter: String,
        segment: u64,
        records: u64,
        items: Items,
    },
    /// The backlog of an exporter that left.
    GivenUp { exporter: String, items: Items },
    /// The disk has finished nothing for a while.
    Hangs { directory: String, seconds: u64 },
}

/// Told outside the lock, for a log sink may be slow.
pub(super) fn tell(notices: &[Notice]) {
    for notice in notices {
        match notice {
            Notice::Dropping { exporter, items } => tracing::warn!(
                exporter,
                spans = items.traces,
                log_records = items.told(Signal::Logs),
                data_points = items.told(Signal::Metrics),
                "the batch log is full: its oldest batches are dropped before this exporter could send them"
            ),
            Notice::Recovered { exporter, items } => tracing::info!(
                exporter,
                spans = items.traces,
                log_records = items.told(Signal::Logs),
                data_points = items.told(Signal::Metrics),
                "the exporter caught up: nothing is dropped any more; this is what this episode lost"
            ),
            Notice::Damaged {
                segment,
                offset,
                records,
            } => tracing::error!(
                segment,
                offset,
                records,
                "a segment of the batch log is damaged: what can be read of it is sent, and it is set aside then"
            ),
            Notice::Unreadable {
                exporter,
                segment,
                records,
                items,
            } => tracing::error!(
                exporter,
                segment,
                records,
                spans = items.traces,
                log_records = items.told(Signal::Logs),
                data_points = items.told(Signal::Metrics),
                "records of a segment could not be read and are lost to this exporter"
            ),
            Notice::GivenUp { exporter, items } => tracing::warn!(
                exporter,
                spans = items.traces,
                log_records = items.told(Signal::Logs),
                data_points = items.told(Signal::Metrics),
                "what waited for an exporter that is not configured any more is given up"
            ),
            Notice::Hangs { directory, seconds } => tracing::error!(
                directory,
                seconds,
                "the data directory's disk hangs: batches are refused, and their senders retry, until it finishes what was begun"
            ),
        }
    }
}
