//! How a request ended: the one word that its log line, span and metrics agree on.

use ::http::StatusCode;

use super::status::status_text;

/// The outcome of a settled request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// Answered to the last byte with a status below 500.
    Ok,
    /// Answered to the last byte with a 5xx status.
    Error,
    /// The caller hung up before the last byte.
    ClientGone,
    /// The kit's request time-out ended it, or the end of the shutdown's grace.
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
    /// In the order of their numbers.
    pub(crate) const ALL: [Self; 8] = [
        Self::Ok,
        Self::Error,
        Self::ClientGone,
        Self::Timeout,
        Self::Panic,
        Self::BodyError,
        Self::Upgraded,
        Self::Rejected,
    ];

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

    /// Whether the request failed on this side once it was let in.
    pub(crate) const fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Error | Self::Timeout | Self::Panic | Self::BodyError
        )
    }

    /// `error.type` of a failed request: the status where that is what failed, else the outcome. A caller
    /// that hangs up is no failure of this side.
    pub(crate) fn error_type(self, status: Option<StatusCode>) -> Option<&'static str> {
        match self {
            Self::Ok | Self::ClientGone | Self::Upgraded => None,
            // No status: the inner service returned an error in place of a response.
            Self::Error => Some(status.map_or(self.as_str(), status_text)),
            Self::Timeout | Self::Panic | Self::BodyError | Self::Rejected => Some(self.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_a_type_and_nothing_else_has() {
        let status = Some(StatusCode::BAD_GATEWAY);
        for (outcome, expected) in [
            (Outcome::Ok, None),
            (Outcome::Error, Some("502")),
            (Outcome::ClientGone, None),
            (Outcome::Timeout, Some("timeout")),
            (Outcome::Panic, Some("panic")),
            (Outcome::BodyError, Some("body_error")),
            (Outcome::Upgraded, None),
            (Outcome::Rejected, Some("rejected")),
        ] {
            assert_eq!(outcome.error_type(status), expected, "{outcome:?}");
        }
        assert_eq!(Outcome::Error.error_type(None), Some("error"));
    }

    #[test]
    fn each_has_its_place_among_all() {
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
        }
    }
}
