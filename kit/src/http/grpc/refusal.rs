//! What the kit answers itself to a gRPC call: a status in place of the JSON body (gRPC over HTTP/2,
//! "Trailers-Only").

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, HeaderName, HeaderValue};

use super::{GRPC_MESSAGE, GRPC_STATUS, GrpcStatus};
use crate::http::Outcome;
use crate::http::error_body::Answer;

/// How long clients that retry shall wait, in milliseconds: `Retry-After` of gRPC (gRFC A6, "Pushback").
const RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

impl Answer {
    pub(in crate::http) const fn grpc_status(self) -> GrpcStatus {
        match self {
            Self::Panic => GrpcStatus::Internal,
            Self::Timeout => GrpcStatus::DeadlineExceeded,
            Self::Overloaded => GrpcStatus::Unavailable,
        }
    }

    /// The headers of a response that is nothing but headers.
    pub(in crate::http) fn write_grpc_headers(self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        self.write_grpc_trailers(headers);
    }

    fn write_grpc_trailers(self, trailers: &mut HeaderMap) {
        trailers.insert(GRPC_STATUS, self.grpc_status().header_value());
        // Plain words: nothing in them needs an escape.
        trailers.insert(GRPC_MESSAGE, HeaderValue::from_static(self.message()));
        if self == Self::Overloaded {
            trailers.insert(RETRY_PUSHBACK, HeaderValue::from_static("1000"));
        }
    }
}

/// The trailers that end a stream in the handler's place; `None` when the stream breaks off by itself.
pub(in crate::http) fn trailers(outcome: Outcome) -> Option<HeaderMap> {
    let answer = match outcome {
        Outcome::Timeout => Answer::Timeout,
        Outcome::Panic => Answer::Panic,
        _ => return None,
    };
    let mut trailers = HeaderMap::with_capacity(2);
    answer.write_grpc_trailers(&mut trailers);
    Some(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_need_no_escapes() {
        for answer in [Answer::Panic, Answer::Timeout, Answer::Overloaded] {
            let mut headers = HeaderMap::new();
            answer.write_grpc_headers(&mut headers);
            let message = headers[GRPC_MESSAGE].to_str().unwrap();
            assert!(message.is_ascii() && !message.contains('%'), "{message}");
            assert_eq!(GrpcStatus::of(&headers), Some(answer.grpc_status()));
        }
    }
}
