//! Admission of one batch: walk, append, count. Called by `receive` for every body, whatever its protocol.

use bytes::Bytes;

use crate::status::ReceiverStatus;
use crate::wire::WireError;

/// Takes batches; cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {}

/// Why a batch was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Malformed: never send it again. 400 / `INVALID_ARGUMENT`.
    #[error("malformed ExportTraceServiceRequest: {0}")]
    Malformed(#[from] WireError),
    /// No room now: send it again later. 503 / `UNAVAILABLE`.
    #[error(transparent)]
    Full(#[from] crate::log::Full),
}

impl Intake {
    /// Takes a batch into log and views; the number of spans in it.
    ///
    /// # Errors
    /// [`Refused`]; nothing was kept or counted then, except in `status`.
    pub fn admit(&self, _batch: Bytes, _status: &ReceiverStatus) -> Result<u64, Refused> {
        unimplemented!()
    }
}
