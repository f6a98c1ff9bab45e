//! gRPC on top of HTTP/2, for both layers: what is a call, what it is named, how it ended. The server's
//! `exchange` and the client's `call` keep an [`Rpc`] beside what they know of any request.
//!
//! `application/grpc-web` is plain HTTP here: its status is within its body, which nobody here reads. Behind
//! tonic's `GrpcWebLayer` such calls are gRPC as any other.

mod methods;
mod refusal;
mod status;
mod told;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, HeaderName, Request, StatusCode};

pub(crate) use methods::Methods;
pub(super) use refusal::trailers;
pub(super) use status::GrpcStatus;
pub(super) use told::Told;

use super::Outcome;
use super::method::KnownMethod;
use super::text::clip;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// `rpc.system.name`.
pub(super) const SYSTEM: &str = "grpc";

/// `rpc.method` of what no server has (RPC semantic conventions).
pub(super) const OTHER_METHOD: &str = "_OTHER";

/// The longest method that is named, in bytes; no generated code has longer ones.
const MAX_METHOD: usize = 256;

/// When a caller gives up at its deadline, the server hears of it about then by a clock of its own, which began
/// when the request arrived: early by this at least, or by a part of the deadline.
const DEADLINE_TOLERANCE: Duration = Duration::from_millis(10);
const DEADLINE_TOLERANCE_PART: u32 = 20;

/// What is known of a gRPC call besides its HTTP request.
#[derive(Debug)]
pub(super) struct Rpc {
    /// `package.Service/Method`, once it is known to be a method of this server.
    method: Option<Arc<str>>,
    /// What the response's headers or trailers said.
    pub(super) status: Option<GrpcStatus>,
    /// How long the caller is ready to wait.
    deadline: Option<Duration>,
    /// Asks whether the server is well, of a server that says.
    pub(super) is_health: bool,
}

impl Rpc {
    /// `None` for what is not gRPC; only POST by HTTP/2 is looked at any closer.
    pub(super) fn of_server<B>(
        methods: &Methods,
        method: KnownMethod,
        request: &Request<B>,
    ) -> Option<Box<Self>> {
        if method != KnownMethod::Post || !is_call(request) {
            return None;
        }
        let method = method_name(request.uri().path()).and_then(|name| methods.get(name));
        Some(Box::new(Self {
            // Where nobody answers such questions, their path is a way around the limit for any request.
            is_health: method
                .as_deref()
                .is_some_and(|name| name.starts_with("grpc.health.v1.Health/")),
            method,
            status: None,
            deadline: deadline(request.headers()),
        }))
    }

    /// What headers of a response without a body, or trailers, say; gives the message of a call that failed.
    pub(super) fn read(&mut self, headers: &HeaderMap) -> Option<String> {
        self.status = GrpcStatus::of(headers).or(self.status);
        message(headers, self.status)
    }

    /// The outcome of a call answered to its last byte.
    pub(super) fn complete(&self, http: Option<StatusCode>) -> Outcome {
        if self.answered(http).is_server_error() {
            Outcome::Error
        } else {
            Outcome::Ok
        }
    }

    /// Whether the caller waits no longer.
    pub(super) fn is_overdue(&self, elapsed: Duration) -> bool {
        is_overdue(self.deadline, elapsed)
    }

    /// `rpc.response.status_code` of a call that ended so; `cut` when it was the end of the grace.
    pub(super) fn status_of(
        &self,
        outcome: Outcome,
        http: Option<StatusCode>,
        cut: bool,
    ) -> GrpcStatus {
        match outcome {
            Outcome::Ok | Outcome::Error | Outcome::Upgraded => self.answered(http),
            Outcome::ClientGone => self.status.unwrap_or(GrpcStatus::Cancelled),
            Outcome::Timeout if cut => GrpcStatus::Unavailable,
            Outcome::Timeout => GrpcStatus::DeadlineExceeded,
            Outcome::Rejected => GrpcStatus::Unavailable,
            // What HTTP/2 tells a caller whose stream fails.
            Outcome::Panic | Outcome::BodyError => GrpcStatus::Internal,
        }
    }

    /// `rpc.method`: `None`, hence `_OTHER`, unless a route of just this path matched or a method was seen to
    /// answer, or to panic.
    pub(super) fn settled_method(
        &self,
        methods: &Methods,
        path: &str,
        route: Option<&str>,
        outcome: Outcome,
    ) -> Option<Arc<str>> {
        if let Some(known) = &self.method {
            return Some(Arc::clone(known));
        }
        let name = method_name(path)?;
        // What is made of an HTTP status or of the caller's deadline is no answer: a page for every path that
        // nobody knows, or a caller in a hurry, would be enough to invent methods.
        let answered = self.status.is_some_and(GrpcStatus::proves_method);
        (route == Some(path) || answered || outcome == Outcome::Panic)
            .then(|| methods.learn(name))
            .flatten()
    }

    /// Without a `grpc-status` the HTTP status has to do.
    fn answered(&self, http: Option<StatusCode>) -> GrpcStatus {
        self.status.unwrap_or_else(|| GrpcStatus::of_http(http))
    }
}

/// Whether a request is a gRPC call (gRPC over HTTP/2, "Requests"): `application/grpc`, also with `+proto` or a
/// parameter behind it.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    const PREFIX: &[u8] = b"application/grpc";
    request.version() == ::http::Version::HTTP_2
        && request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.as_bytes().split_at_checked(PREFIX.len()))
            .is_some_and(|(prefix, rest)| {
                prefix.eq_ignore_ascii_case(PREFIX)
                    && matches!(rest.first(), None | Some(b'+' | b';'))
            })
}

/// `package.Service/Method` of a path, which is that behind a slash.
pub(super) fn method_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix('/')?;
    let (service, method) = name.split_once('/')?;
    let whole = !service.is_empty() && !method.is_empty() && !method.contains('/');
    (whole && name.len() <= MAX_METHOD).then_some(name)
}

/// Whether a call with this deadline has ended because of it.
pub(super) fn is_overdue(deadline: Option<Duration>, elapsed: Duration) -> bool {
    deadline.is_some_and(|deadline| {
        let tolerance = DEADLINE_TOLERANCE.max(deadline / DEADLINE_TOLERANCE_PART);
        elapsed + tolerance >= deadline
    })
}

/// `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Requests"); `None` for anything else.
pub(super) fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.len() <= 8;
    let amount: u64 = number.then(|| digits.parse().ok()).flatten()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3_600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// `grpc-message` of a call that failed, decoded where it can be (gRPC over HTTP/2, "Percent-Encoded").
pub(super) fn message(headers: &HeaderMap, status: Option<GrpcStatus>) -> Option<String> {
    if status == Some(GrpcStatus::Ok) {
        return None;
    }
    let received = headers.get(GRPC_MESSAGE)?.as_bytes();
    let received: Cow<'_, str> = String::from_utf8_lossy(received);
    let decoded = crate::config::percent_decode(&received).map_or(received, Cow::Owned);
    (!decoded.is_empty()).then(|| clip(&decoded).to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use ::http::{HeaderValue, Version};

    use super::*;
    use crate::http::text::MAX_TEXT;

    #[test]
    fn what_is_a_call() {
        fn check(version: Version, content_type: &str, expected: bool) {
            let request = Request::builder()
                .version(version)
                .header(CONTENT_TYPE, content_type)
                .body(())
                .unwrap();
            assert_eq!(is_call(&request), expected, "{content_type}");
        }
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcs", false),
            ("application/json", false),
            ("", false),
        ] {
            check(Version::HTTP_2, content_type, expected);
        }
        check(Version::HTTP_11, "application/grpc", false);
        let bare = Request::builder()
            .version(Version::HTTP_2)
            .body(())
            .unwrap();
        assert!(!is_call(&bare));
    }

    #[test]
    fn method_names_are_of_two_parts() {
        for (path, expected) in [
            ("/shop.v1.Cart/Add", Some("shop.v1.Cart/Add")),
            ("/Cart/Add", Some("Cart/Add")),
            ("/Cart", None),
            ("/Cart/", None),
            ("//Add", None),
            ("/a/b/c", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(method_name(path), expected, "{path}");
        }
        assert_eq!(method_name(&format!("/a/{}", "b".repeat(MAX_METHOD))), None);
    }

    fn deadline_of(value: &HeaderValue) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, value.clone());
        deadline(&headers)
    }

    #[test]
    fn deadlines_have_a_unit() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("5n", Some(Duration::from_nanos(5))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("100000000n", None),
            ("5", None),
            ("m", None),
            ("", None),
            ("-5m", None),
            ("5 m", None),
            ("5s", None),
        ] {
            let value = HeaderValue::from_static(value);
            assert_eq!(deadline_of(&value), expected, "{value:?}");
        }
    }

    #[test]
    fn a_deadline_has_passed_about_when_it_is_due() {
        let ms = Duration::from_millis;
        for (deadline, elapsed, expected) in [
            (Some(ms(10)), ms(0), true),
            (Some(ms(100)), ms(89), false),
            (Some(ms(100)), ms(90), true),
            (Some(ms(10_000)), ms(9_400), false),
            (Some(ms(10_000)), ms(9_500), true),
            (None, Duration::MAX / 2, false),
        ] {
            assert_eq!(
                is_overdue(deadline, elapsed),
                expected,
                "{deadline:?} {elapsed:?}"
            );
        }
    }

    fn message_of(value: &[u8], status: GrpcStatus) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_MESSAGE, HeaderValue::from_bytes(value).unwrap());
        message(&headers, Some(status))
    }

    #[test]
    fn messages_are_decoded_where_they_can_be() {
        let message = |value: &str| message_of(value.as_bytes(), GrpcStatus::NotFound);
        assert_eq!(message("no caf%C3%A9").as_deref(), Some("no café"));
        assert_eq!(message("50% off").as_deref(), Some("50% off"));
        assert_eq!(message(""), None);
        assert_eq!(message(&"x".repeat(9_999)).unwrap().len(), MAX_TEXT);
        assert_eq!(message_of(b"fine", GrpcStatus::Ok), None);
        assert_eq!(
            message_of(b"\xff", GrpcStatus::Unknown).as_deref(),
            Some("\u{fffd}")
        );
    }

    proptest! {
        #[test]
        fn any_header_is_read(value in prop::collection::vec(0x20_u8..=0xff, 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let _ = deadline_of(&value);
                let _ = message_of(value.as_bytes(), GrpcStatus::Internal);
            }
        }

        #[test]
        fn any_path_is_read(path in "\\PC{0,300}|(/|a|é){0,9}") {
            let name = method_name(&path);
            prop_assert!(name.is_none_or(|name| name.len() <= MAX_METHOD && name.matches('/').count() == 1));
        }
    }
}
