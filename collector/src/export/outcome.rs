//! What a peer's answer means: taken, to be sent again, to be sent in smaller requests, or refused for good (OTLP
//! specification, sections OTLP/gRPC Response and OTLP/HTTP Response). What is no answer of the protocol at all, as from a
//! proxy on the way, loses nothing: it is sent again. Called by `peer`.

use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::retry::LONGEST_TOLD;
use super::words;
use crate::net::client::Reply;
use crate::net::rpc_status::{
    Code, PartialSuccess, RpcStatus, partial_success, partial_success_in_json,
};

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
        /// Whether something in the request may be the cause, so that it would fail for ever.
        perhaps_by_content: bool,
    },
    /// Not with these credentials, which may be rotated and are mended by people: send the same again, with what they are
    /// then.
    Denied {
        /// What happened.
        reason: String,
        /// Whether something in the request may be the cause rather than who sends it.
        perhaps_by_content: bool,
    },
    /// More than a request may be, here or with the peer: fewer items have to go at once.
    TooLarge {
        /// What is larger than what.
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
    let is_no_answer = told.is_none();
    let status = told.unwrap_or_else(|| without_grpc_status(reply));
    let reason = || {
        let hint = match status.code {
            Code::Unimplemented | Code::NotFound => "; check host and port of the export URL",
            Code::Unauthenticated | Code::PermissionDenied => CHECK_CREDENTIALS,
            _ => "",
        };
        format!(
            "the peer answered {}: {}{hint}",
            status.code.name(),
            words::told(&status.message)
        )
    };
    let retry = || later(reason(), status.retry_after);
    let refused = |by_content| Outcome::Refused {
        reason: reason(),
        by_content,
    };
    match status.code {
        // The message's prefix tells nothing that the body's length does not.
        Code::Ok => taken(partial_success(
            &reply.body.slice(reply.body.len().min(5)..),
        )),
        Code::ResourceExhausted if status.retry_after.is_none() => {
            Outcome::TooLarge { reason: reason() }
        }
        // So tonic's servers say it, which would be asked the same for ever.
        Code::OutOfRange if status.message.contains("message length too large") => {
            Outcome::TooLarge { reason: reason() }
        }
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss
        | Code::ResourceExhausted => retry(),
        Code::Unknown if is_no_answer => retry(),
        Code::Unauthenticated | Code::PermissionDenied => Outcome::Denied {
            reason: reason(),
            perhaps_by_content: status.code == Code::PermissionDenied,
        },
        Code::Unimplemented | Code::NotFound => refused(false),
        Code::Unknown
        | Code::InvalidArgument
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Internal => refused(true),
    }
}

/// The meaning of an answer over HTTP, of OTLP and, but for [`of_zipkin`], Zipkin.
pub(super) fn of_http(reply: &Reply) -> Outcome {
    if reply.status.is_success() {
        return of_success(reply);
    }
    let mut reason = http_reason(reply);
    match reply.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            reason.push_str(CHECK_CREDENTIALS);
            Outcome::Denied {
                reason,
                perhaps_by_content: reply.status == StatusCode::FORBIDDEN,
            }
        }
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => later(reason, reply.retry_after(SystemTime::now())),
        status if is_of_a_proxy(status) => later(reason, reply.retry_after(SystemTime::now())),
        // Never followed: the headers may hold a secret that is not for everybody whom a peer names.
        status if status.is_redirection() => later(reason, None),
        StatusCode::PAYLOAD_TOO_LARGE => Outcome::TooLarge { reason },
        StatusCode::BAD_REQUEST
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

/// The meaning of a 2xx. A page for people is no receiver's answer: nobody has taken what was sent.
fn of_success(reply: &Reply) -> Outcome {
    if words::is_web_page(reply) {
        let reason = format!(
            "the peer answered {} with a web page, as a login, a proxy or another server does{CHECK_URL}",
            reply.status
        );
        return later(reason, None);
    }
    taken(if words::is_readable(reply, "application/x-protobuf") {
        partial_success(&reply.body)
    } else if words::is_readable(reply, "application/json") {
        // Not what was asked for, but some answer so whatever they get.
        partial_success_in_json(&reply.body)
    } else {
        PartialSuccess::default()
    })
}

fn taken(mut partial: PartialSuccess) -> Outcome {
    partial.error_message = words::told(&partial.error_message);
    Outcome::Taken(partial)
}

/// To be sent again, `after` that time if the peer told one.
pub(super) fn later(mut reason: String, after: Option<Duration>) -> Outcome {
    if let Some(after) = after.filter(|after| !after.is_zero()) {
        let waited = after.min(LONGEST_TOLD);
        reason.push_str(&format!("; it asks us to wait {after:?}"));
        if waited < after {
            reason.push_str(&format!(", of which we wait {waited:?}"));
        }
    }
    Outcome::Retry {
        reason,
        after,
        perhaps_by_content: false,
    }
}

/// A status that no standard has a meaning for, or that of a network that wants a login: it comes from something on the
/// way that did not reach the peer (as 520 to 530), not from a receiver that has read what was sent.
fn is_of_a_proxy(status: StatusCode) -> bool {
    status == StatusCode::NETWORK_AUTHENTICATION_REQUIRED
        || (status.is_server_error() && status.canonical_reason().is_none())
}

const CHECK_URL: &str = "; check host, port and path of the export URL";

const CHECK_CREDENTIALS: &str =
    "; check the exporter's headers and client certificate; all waits meanwhile";

/// The meaning of an answer of Zipkin. It answers 400 to what it cannot read, and 500 when its storage fails, which
/// passes, unless it is this request that the storage cannot take: only where a 500 says itself that the request is
/// malformed is it one for good.
pub(super) fn of_zipkin(reply: &Reply) -> Outcome {
    let storage_failed = reply.status == StatusCode::INTERNAL_SERVER_ERROR
        && !words::of_body(reply)
            .to_ascii_lowercase()
            .contains("malformed");
    if storage_failed {
        return Outcome::Retry {
            reason: http_reason(reply),
            after: reply.retry_after(SystemTime::now()),
            perhaps_by_content: true,
        };
    }
    of_http(reply)
}

fn http_reason(reply: &Reply) -> String {
    let mut reason = match words::of_body(reply) {
        text if text.is_empty() => format!("the peer answered {}", reply.status),
        text => format!("the peer answered {}: {text}", reply.status),
    };
    if WRONG_URL.contains(&reply.status) {
        reason.push_str(CHECK_URL);
    }
    reason.push_str(&redirect_hint(reply));
    reason
}

/// Where a peer wants to be asked instead, without what may be a secret in it.
fn redirect_hint(reply: &Reply) -> String {
    let location = reply.headers.get(http::header::LOCATION);
    let Some(location) = location.filter(|_| reply.status.is_redirection()) else {
        return String::new();
    };
    let location = String::from_utf8_lossy(location.as_bytes());
    let place = location.split(['?', '#']).next().unwrap_or_default();
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let place = words::told(place);
    format!(
        "; it sends us to {place}, which is not followed: write it into the export URL if it is right"
    )
}

/// With these a peer says that it takes no such thing at this address: the URL names another one, or another protocol.
const WRONG_URL: [StatusCode; 3] = [
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
];

/// What an HTTP status without a gRPC one stands for (grpc/doc/http-grpc-status-mapping.md).
fn without_grpc_status(reply: &Reply) -> RpcStatus {
    let status = reply.status;
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    let hint = redirect_hint(reply);
    RpcStatus {
        retry_after: reply.retry_after(SystemTime::now()),
        ..RpcStatus::new(code, format!("no grpc-status, HTTP status {status}{hint}"))
    }
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
        RetryOrSplit,
        Smaller,
        Wait,
        WaitOrSplit,
        Split,
        SetAside,
    }

    fn check(outcome: Outcome, expected: Kind, part: &str) {
        let (kind, reason) = match outcome {
            Outcome::Taken(partial) => (Kind::Taken, partial.error_message),
            Outcome::Retry {
                reason,
                perhaps_by_content: true,
                ..
            } => (Kind::RetryOrSplit, reason),
            Outcome::Retry { reason, after, .. } => {
                (Kind::Retry(after.map(|a| a.as_secs())), reason)
            }
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
            Outcome::TooLarge { reason } => (Kind::Smaller, reason),
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
            Kind::Smaller,
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
        let none = |status, headers: &[(&'static str, &str)]| of_grpc(&reply(status, headers, b""));
        check(none(503, &[]), Kind::Retry(None), "503");
        check(none(503, &[("retry-after", "7")]), Kind::Retry(Some(7)), "");
        check(none(404, &[]), Kind::SetAside, "404");
        check(none(400, &[]), Kind::Split, "no grpc-status");
        for status in [200, 204, 500] {
            check(none(status, &[]), Kind::Retry(None), "no grpc-status");
        }
        let elsewhere = [("location", "https://u:p@b/c?key=secret")];
        check(none(302, &elsewhere), Kind::Retry(None), "sends us to b/c,");
    }

    #[test]
    fn a_message_too_large_for_tonic_goes_in_parts() {
        let mut answer = reply(200, &[], b"");
        let text = "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes";
        RpcStatus::new(Code::OutOfRange, text).put_trailers(&mut answer.trailers);
        check(of_grpc(&answer), Kind::Smaller, "OUT_OF_RANGE");
    }

    #[test]
    fn every_http_status() {
        let http = |status, after: &str| of_http(&reply(status, &[("retry-after", after)], b"why"));
        check(http(200, ""), Kind::Taken, "");
        check(http(202, ""), Kind::Taken, "");
        for status in [408, 425, 429, 502, 503, 504] {
            check(http(status, ""), Kind::Retry(None), "why");
            check(http(status, "7"), Kind::Retry(Some(7)), "why");
            check(
                http(status, "Sun, 06 Nov 1994 08:49:37 GMT"),
                Kind::Retry(Some(0)),
                "why",
            );
        }
        for status in [400, 422, 500] {
            check(http(status, "7"), Kind::Split, "why");
        }
        check(http(413, "7"), Kind::Smaller, "why");
        for status in [404, 405, 415, 501, 505] {
            check(http(status, "7"), Kind::SetAside, "why");
        }
        for status in [511, 520, 524, 530, 599] {
            check(http(status, "7"), Kind::Retry(Some(7)), "why");
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
    fn a_redirect_is_told_and_not_followed() {
        for status in [301, 302, 303, 307, 308] {
            let away = |location| of_http(&reply(status, &[("location", location)], b""));
            let secret = away("https://user:pass@other:1/v1/traces?key=secret#x");
            check(
                secret.clone(),
                Kind::Retry(None),
                "sends us to other:1/v1/traces,",
            );
            for hidden in ["secret", "pass"] {
                assert!(!format!("{secret:?}").contains(hidden));
            }
            check(of_http(&reply(status, &[], b"")), Kind::Retry(None), "");
        }
    }

    #[test]
    fn zipkin_answers_500_when_its_storage_fails() {
        let zipkin = |status, text: &str| of_zipkin(&reply(status, &[], text.as_bytes()));
        let storage = "java.lang.IllegalStateException: could not connect";
        check(
            zipkin(500, storage),
            Kind::RetryOrSplit,
            "could not connect",
        );
        check(zipkin(500, ""), Kind::RetryOrSplit, "500");
        check(zipkin(503, ""), Kind::Retry(None), "503");
        let malformed = "Malformed reading List<Span> from json";
        check(zipkin(500, malformed), Kind::Split, malformed);
        check(zipkin(400, ""), Kind::Split, "400");
        check(zipkin(413, ""), Kind::Smaller, "413");
        check(zipkin(202, ""), Kind::Taken, "");
    }

    #[test]
    fn a_page_for_people_is_no_success() {
        let html = |body: &str| {
            let headers = [("content-type", "text/html")];
            of_http(&reply(200, &headers, body.as_bytes()))
        };
        check(html("<html>login"), Kind::Retry(None), "a web page");
        check(html(""), Kind::Taken, "");
    }

    #[test]
    fn what_was_taken_in_part_is_read_in_json_too() {
        let headers = [("content-type", "application/json; charset=utf-8")];
        let body = br#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too\nold"}}"#;
        let expected = Outcome::Taken(PartialSuccess {
            rejected: 2,
            error_message: "too old".to_owned(),
        });
        assert_eq!(of_http(&reply(200, &headers, body)), expected);
    }

    #[test]
    fn how_long_a_peer_asks_to_wait_is_told() {
        let busy = |after: &str| of_http(&reply(429, &[("retry-after", after)], b""));
        check(busy("7"), Kind::Retry(Some(7)), "asks us to wait 7s");
        let year = "asks us to wait 31536000s, of which we wait 300s";
        check(busy("31536000"), Kind::Retry(Some(31_536_000)), year);
        let endless = "9".repeat(40);
        check(busy(&endless), Kind::Retry(Some(u64::MAX)), "we wait 300s");
        for nonsense in ["-3", "+3", "2.5", "soon", ""] {
            check(busy(nonsense), Kind::Retry(None), "429 Too Many Requests");
        }
        let second = Some(Duration::from_secs(1));
        let asked = grpc(Code::Unavailable, second);
        check(asked, Kind::Retry(Some(1)), "asks us to wait 1s");
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
