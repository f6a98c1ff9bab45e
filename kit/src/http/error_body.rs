//! What the kit answers itself, when a handler panicked, ran out of time or was never asked: a status and
//! a JSON body that tells nothing of the inside.

use ::http::header::{CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::Bytes;

use super::Outcome;
use crate::context::RequestId;

/// Why the kit answers in the handler's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Panic,
    Timeout,
    Overloaded,
}

impl Answer {
    pub(super) const fn outcome(self) -> Outcome {
        match self {
            Self::Panic => Outcome::Panic,
            Self::Timeout => Outcome::Timeout,
            Self::Overloaded => Outcome::Rejected,
        }
    }

    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Panic => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Timeout | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn write_headers(self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self == Self::Overloaded {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
    }

    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Panic => "internal server error",
            Self::Timeout => "the request took too long",
            Self::Overloaded => "too many requests in flight, try again later",
        }
    }

    /// `{"error":{"code","message","request_id"}}`.
    pub(super) fn body(self, request_id: &RequestId) -> Bytes {
        let code = match self {
            Self::Panic => "internal",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
        };
        let message = self.message();
        let request_id = request_id.as_str();
        let body = serde_json::json!({
            "error": { "code": code, "message": message, "request_id": request_id }
        });
        Bytes::from(body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_cannot_break_the_body() {
        let id = RequestId::accept(&HeaderValue::from_static("a\"},\\b")).unwrap();
        for (answer, code) in [
            (Answer::Panic, "internal"),
            (Answer::Timeout, "timeout"),
            (Answer::Overloaded, "overloaded"),
        ] {
            let body: serde_json::Value = serde_json::from_slice(&answer.body(&id)).unwrap();
            assert_eq!(body["error"]["code"], code);
            assert_eq!(body["error"]["request_id"], "a\"},\\b");
            assert!(body["error"]["message"].is_string());
        }
    }
}
