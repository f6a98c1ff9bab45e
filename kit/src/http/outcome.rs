//! How a request ended: the one word that its log line, span and metrics agree on.

/// The outcome of a settled request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// Answered to the last byte with a status below 500.
    Ok,
    /// Answered to the last byte with a 5xx status.
    Error,
    /// The caller hung up before the last byte.
    ClientGone,
    /// The kit's request time-out ended it.
    Timeout,
    /// The handler panicked.
    Panic,
    /// The response body failed midway.
    BodyError,
    /// Switched to another protocol (101); the connection lives on outside this request.
    Upgraded,
    /// Refused by the concurrency limit before the handler saw it.
    Rejected,
}

impl Outcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::ClientGone => "client_gone",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::BodyError => "body_error",
            Self::Upgraded => "upgraded",
            Self::Rejected => "rejected",
        }
    }
}
