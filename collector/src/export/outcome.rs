//! What a peer's answer means: taken, to be sent again, or refused for good (OTLP specification, sections
//! OTLP/gRPC Response and OTLP/HTTP Response). Called by `peer`.

use std::time::{Duration, SystemTime};

use http::StatusCode;

use crate::net::client::Reply;
use crate::net::rpc_status::{Code, PartialSuccess, RpcStatus, partial_success};

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The peer took it, perhaps without some of its items.
    Taken(PartialSuccess),
    /// Not now: send the same again.
    Retry {
        /// What happened.
        reason: String,
        /// When, if the peer told.
        after: Option<Duration>,
    },
    /// Not with these credentials, which may be rotated and are mended by people: send the same again, with what they are
    /// then.
    Denied {
        /// What happened.
        reason: String,
        /// Whether something in the request may be the cause rather than who sends it.
        perhaps_by_content: bool,
    },
    /// Not sent at all: it would be larger than a request may be, so fewer items have to go at once.
    TooLarge {
        /// What would be larger than what.
        reason: String,
    },
    /// Never: sending the same again cannot help.
    Refused {
        /// What happened.
        reason: String,
        /// Whether a part of the request may be the cause, so that the rest of it may be taken.
        by_content: bool,
    },
}

/// The meaning of an answer over gRPC.
pub(super) fn of_grpc(reply: &Reply) -> Outcome {
    let told = RpcStatus::from_trailers(&reply.trailers)
        .or_else(|| RpcStatus::from_trailers(&reply.headers));
    let status = told.unwrap_or_else(|| without_grpc_status(reply.status));
    let reason = || {
        let hint = match status.code {
            Code::Unimplemented | Code::NotFound => "; check host and port of the export URL",
            Code::Unauthenticated | Code::PermissionDenied => CHECK_CREDENTIALS,
            _ => "",
        };
        format!(
            "the peer answered {}: {}{hint}",
            status.code.name(),
            status.message
        )
    };
    match status.code {
        // The message's prefix tells nothing that the body's length does not.
        Code::Ok => Outcome::Taken(partial_success(
            &reply.body.slice(reply.body.len().min(5)..),
        )),
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Outcome::Retry {
            reason: reason(),
            after: status.retry_after,
        },
        Code::ResourceExhausted if status.retry_after.is_some() => Outcome::Retry {
            reason: reason(),
            after: status.retry_after,
        },
        Code::Unauthenticated | Code::PermissionDenied => Outcome::Denied {
            reason: reason(),
            perhaps_by_content: status.code == Code::PermissionDenied,
        },
        Code::Unimplemented | Code::NotFound => Outcome::Refused {
            reason: reason(),
            by_content: false,
        },
        Code::Unknown
        | Code::InvalidArgument
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Internal => Outcome::Refused {
            reason: reason(),
            by_content: true,
        },
    }
}

/// The meaning of an answer over HTTP, of OTLP and Zipkin alike.
pub(super) fn of_http(reply: &Reply) -> Outcome {
    if reply.status.is_success() {
        return Outcome::Taken(if is_protobuf(reply) {
            partial_success(&reply.body)
        } else {
            PartialSuccess::default()
        });
    }
    let mut reason = match text_of(reply) {
        text if text.is_empty() => format!("the peer answered {}", reply.status),
        text => format!("the peer answered {}: {text}", reply.status),
    };
    if WRONG_URL.contains(&reply.status) {
        reason.push_str("; check host, port and path of the export URL");
    }
    match reply.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            reason.push_str(CHECK_CREDENTIALS);
            Outcome::Denied {
                reason,
                perhaps_by_content: reply.status == StatusCode::FORBIDDEN,
            }
        }
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Outcome::Retry {
            reason,
            after: reply.retry_after(SystemTime::now()),
        },
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY
        | StatusCode::INTERNAL_SERVER_ERROR => Outcome::Refused {
            reason,
            by_content: true,
        },
        _ => Outcome::Refused {
            reason,
            by_content: false,
        },
    }
}

const CHECK_CREDENTIALS: &str =
    "; check the exporter's headers and client certificate; all waits meanwhile";

/// With these a peer says that it takes no such thing at this address: the URL names another one, or another protocol.
const WRONG_URL: [StatusCode; 3] = [
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
];

/// What an HTTP status without a gRPC one stands for (grpc/doc/http-grpc-status-mapping.md).
fn without_grpc_status(status: StatusCode) -> RpcStatus {
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    RpcStatus::new(code, format!("no grpc-status, HTTP status {status}"))
}

/// The peer's own words, as far as there are any.
fn text_of(reply: &Reply) -> String {
    const LONGEST: usize = 300;
    let text = if is_protobuf(reply) {
        RpcStatus::from_protobuf(&reply.body).message.into_owned()
    } else {
        String::from_utf8_lossy(&reply.body).into_owned()
    };
    text.trim().chars().take(LONGEST).collect()
}

fn is_protobuf(reply: &Reply) -> bool {
    reply
        .headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/x-protobuf"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::HeaderMap;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Kind {
        Taken,
        Retry(Option<u64>),
        Wait,
        WaitOrSplit,
        Split,
        SetAside,
    }

    fn check(outcome: Outcome, expected: Kind, part: &str) {
        let (kind, reason) = match outcome {
            Outcome::Taken(partial) => (Kind::Taken, partial.error_message),
            Outcome::Retry { reason, after } => (Kind::Retry(after.map(|a| a.as_secs())), reason),
            Outcome::Refused {
                reason,
                by_content: true,
            } => (Kind::Split, reason),
            Outcome::Refused {
                reason,
                by_content: false,
            } => (Kind::SetAside, reason),
            Outcome::Denied {
                reason,
                perhaps_by_content: false,
            } => (Kind::Wait, reason),
            Outcome::Denied {
                reason,
                perhaps_by_content: true,
            } => (Kind::WaitOrSplit, reason),
            Outcome::TooLarge { reason } => panic!("no answer means that: {reason}"),
        };
        assert_eq!(kind, expected, "{reason}");
        assert!(reason.contains(part), "`{reason}` lacks `{part}`");
    }

    fn reply(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Reply {
        let mut reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body),
            trailers: HeaderMap::new(),
        };
        for (name, value) in headers {
            reply.headers.insert(*name, value.parse().unwrap());
        }
        reply
    }

    fn grpc(code: Code, after: Option<Duration>) -> Outcome {
        let mut reply = reply(200, &[("content-type", "application/grpc")], b"");
        let mut status = RpcStatus::new(code, "why");
        status.retry_after = after;
        status.put_trailers(&mut reply.trailers);
        of_grpc(&reply)
    }

    #[test]
    fn every_grpc_code() {
        let second = Some(Duration::from_secs(1));
        check(grpc(Code::Ok, None), Kind::Taken, "");
        for code in [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ] {
            check(grpc(code, None), Kind::Retry(None), "why");
            check(grpc(code, second), Kind::Retry(Some(1)), "why");
        }
        check(
            grpc(Code::ResourceExhausted, second),
            Kind::Retry(Some(1)),
            "why",
        );
        check(
            grpc(Code::ResourceExhausted, None),
            Kind::Split,
            "RESOURCE_EXHAUSTED: why",
        );
        check(
            grpc(Code::InvalidArgument, None),
            Kind::Split,
            "INVALID_ARGUMENT: why",
        );
        check(grpc(Code::InvalidArgument, second), Kind::Split, "why");
        check(grpc(Code::Internal, None), Kind::Split, "why");
        check(grpc(Code::Unimplemented, None), Kind::SetAside, "why");
        let hint = "check the exporter's headers";
        check(grpc(Code::Unauthenticated, None), Kind::Wait, hint);
        check(grpc(Code::PermissionDenied, None), Kind::WaitOrSplit, hint);
    }

    #[test]
    fn a_trailers_only_answer_and_none_at_all() {
        let only = reply(
            200,
            &[("grpc-status", "14"), ("grpc-message", "a%20b")],
            b"",
        );
        check(of_grpc(&only), Kind::Retry(None), "UNAVAILABLE: a b");
        check(of_grpc(&reply(503, &[], b"")), Kind::Retry(None), "503");
        check(of_grpc(&reply(404, &[], b"")), Kind::SetAside, "404");
        check(
            of_grpc(&reply(200, &[], b"")),
            Kind::Split,
            "no grpc-status",
        );
    }

    #[test]
    fn every_http_status() {
        let http = |status, after: &str| of_http(&reply(status, &[("retry-after", after)], b"why"));
        check(http(200, ""), Kind::Taken, "");
        check(http(202, ""), Kind::Taken, "");
        for status in [429, 502, 503, 504] {
            check(http(status, ""), Kind::Retry(None), "why");
            check(http(status, "7"), Kind::Retry(Some(7)), "why");
            check(
                http(status, "Sun, 06 Nov 1994 08:49:37 GMT"),
                Kind::Retry(Some(0)),
                "why",
            );
        }
        for status in [400, 413, 422, 500] {
            check(http(status, "7"), Kind::Split, "why");
        }
        for status in [301, 404, 405, 415, 501] {
            check(http(status, "7"), Kind::SetAside, "why");
        }
        let hint = "why; check the exporter's headers";
        check(http(401, ""), Kind::Wait, hint);
        check(http(403, ""), Kind::WaitOrSplit, hint);
        check(
            of_grpc(&reply(401, &[], b"")),
            Kind::Wait,
            "check the exporter's headers",
        );
        let hint = "check host, port and path of the export URL";
        check(http(404, ""), Kind::SetAside, hint);
        check(http(415, ""), Kind::SetAside, hint);
        check(
            of_grpc(&reply(404, &[], b"")),
            Kind::SetAside,
            "check host and port",
        );
    }

    #[test]
    fn a_date_is_waited_for() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let later = reply(
            503,
            &[("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")],
            b"",
        );
        assert_eq!(later.retry_after(now), Some(Duration::from_secs(10)));
    }

    #[test]
    fn a_protobuf_status_is_read() {
        let body = RpcStatus::new(Code::InvalidArgument, "truncated").to_protobuf();
        let refused = reply(400, &[("content-type", "application/x-protobuf")], &body);
        check(of_http(&refused), Kind::Split, "400 Bad Request: truncated");
    }
}
