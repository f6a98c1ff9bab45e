//! The batch log: one append-only log in memory, many readers. `intake` appends, each exporter reads at
//! its own pace by a cursor of its own.

use bytes::Bytes;

/// One accepted batch: the bytes of an `ExportTraceServiceRequest`, as received.
#[derive(Clone, Debug)]
pub struct Record {
    /// Position in the log; grows by one a record.
    pub sequence: u64,
    /// The request's bytes.
    pub bytes: Bytes,
    /// Spans in it.
    pub spans: u64,
    /// Arrival, Unix nanoseconds.
    pub arrived_unix_nano: u64,
}

/// The log; cheap to clone.
#[derive(Clone, Debug)]
pub struct BatchLog {}

/// Why a batch was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch log is full ({used} of {limit} bytes wait to be sent)")]
pub struct Full {
    /// Bytes waiting.
    pub used: usize,
    /// The cap.
    pub limit: usize,
}

/// One reader's place in the log.
#[derive(Debug)]
pub struct Cursor {}

impl BatchLog {
    /// A log that holds at most `limit` bytes.
    pub fn in_memory(_limit: usize) -> Self {
        unimplemented!()
    }

    /// Appends a batch for every reader; with no reader it is not kept.
    ///
    /// # Errors
    /// [`Full`] when a reader that must not lose batches lags by the whole cap.
    pub fn append(&self, _bytes: Bytes, _spans: u64) -> Result<(), Full> {
        unimplemented!()
    }

    /// A new reader, from the next batch on.
    pub fn reader(&self, _status: std::sync::Arc<crate::status::ExporterStatus>) -> Cursor {
        unimplemented!()
    }
}

impl Cursor {
    /// The next records, in order, as many as fit `max_bytes` together but at least one; waits for one. The
    /// cursor does not move: the same records come again until [`ack`](Self::ack). `None` once the log is
    /// closed and everything was read.
    pub async fn next(&mut self, _max_bytes: usize) -> Option<Vec<Record>> {
        unimplemented!()
    }

    /// Moves past every record up to and including `sequence`; what no reader needs any more is freed.
    pub fn ack(&mut self, _sequence: u64) {
        unimplemented!()
    }
}
