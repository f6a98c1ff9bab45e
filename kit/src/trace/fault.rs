//! What a failed export means: whether another try makes sense, and what to tell the operator.

use std::error::Error;
use std::fmt::Write as _;

use ::http::{StatusCode, Uri};
#[cfg(feature = "otlp-grpc")]
use tonic::{Code, Status};

use super::transport::Failure;
use super::{ExportConfig, ExporterKind, Protocol};

/// OTLP/HTTP "Failures": these statuses may be retried, all others may not.
pub(super) fn of_status(status: StatusCode) -> Failure {
    let cause = format!("the collector answered {status}");
    match status.as_u16() {
        429 | 502 | 503 | 504 => Failure::Transient(cause),
        _ => Failure::Refused(cause),
    }
}

/// OTLP/gRPC "Failures": these codes may be retried, all others may not; `RESOURCE_EXHAUSTED` when the collector says
/// when, which `asked_back` tells. What the collector says in words may hold secrets and is not repeated.
#[cfg(feature = "otlp-grpc")]
pub(super) fn of_grpc(status: &Status, asked_back: bool) -> Failure {
    let mut cause = format!("gRPC status {:?}", status.code());
    let broken = status.source().map(chain);
    if let Some(broken) = &broken {
        cause.push_str(": ");
        cause.push_str(broken);
    }
    // A transport that breaks midway is reported as Unknown or Internal.
    let broken = broken.is_some_and(|cause| cause.contains("transport error"));
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Failure::Transient(cause),
        Code::ResourceExhausted if asked_back => Failure::Transient(cause),
        _ if broken => Failure::Transient(cause),
        _ => Failure::Refused(cause),
    }
}

/// The error and its causes, outermost first; a cause that an outer text already ends with is not repeated.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// What to do about a fault that says `cause`.
pub(super) fn advice(config: &ExportConfig, cause: &str) -> &'static str {
    if config.exporter != ExporterKind::Otlp {
        return "nothing else is affected";
    }
    if cause.contains("InvalidContentType") {
        return "that port speaks no TLS: write http:// in OTEL_EXPORTER_OTLP_ENDPOINT";
    }
    let port = config
        .url()
        .parse::<Uri>()
        .ok()
        .and_then(|uri| uri.port_u16());
    // An HTTP/1 client that is sent HTTP/2 frames, before or after its own bytes; an HTTP/2 client that is
    // sent an HTTP/1 status line, is cut off at its first bytes, or asks for a path that nobody knows.
    let grpc_answered = port == Some(4317)
        || cause.contains("invalid HTTP version")
        || cause.contains("unexpected message from connection");
    let cut_off = cause.contains("transport error")
        && (cause.contains("connection error") || cause.contains("http2 error"));
    let http_answered = port == Some(4318) || cut_off || cause.contains("Unimplemented");
    match config.protocol {
        Protocol::HttpProtobuf | Protocol::HttpJson if grpc_answered => {
            "this looks like OTLP over HTTP sent to a gRPC port (4317 is gRPC's): send to port 4318, or set \
             OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
        }
        Protocol::Grpc if http_answered => {
            "this looks like OTLP over gRPC sent to an HTTP port (4318 is HTTP's): send to port 4317, or set \
             OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        }
        Protocol::HttpProtobuf | Protocol::HttpJson | Protocol::Grpc => {
            "start a collector there, point OTEL_EXPORTER_OTLP_ENDPOINT at one, or set \
             OTEL_TRACES_EXPORTER=none"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Endpoint;
    use super::*;

    #[test]
    fn only_the_specified_statuses_are_tried_again() {
        fn check(status: u16, again: bool) {
            let failure = of_status(StatusCode::from_u16(status).unwrap());
            assert_eq!(matches!(failure, Failure::Transient(_)), again, "{status}");
        }
        for status in [429, 502, 503, 504] {
            check(status, true);
        }
        for status in [301, 400, 401, 404, 413, 415, 500, 501] {
            check(status, false);
        }
    }

    #[cfg(feature = "otlp-grpc")]
    #[test]
    fn only_the_specified_codes_are_tried_again() {
        fn check(code: Code, again: bool) {
            let failure = of_grpc(&Status::new(code, "transport error"), false);
            assert_eq!(matches!(failure, Failure::Transient(_)), again, "{code}");
        }
        for code in [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ] {
            check(code, true);
        }
        for code in [
            Code::Unknown,
            Code::InvalidArgument,
            Code::Unauthenticated,
            Code::ResourceExhausted,
            Code::Unimplemented,
            Code::Internal,
        ] {
            check(code, false);
        }
        let asked_back = of_grpc(&Status::resource_exhausted(""), true);
        assert!(matches!(asked_back, Failure::Transient(_)));
    }

    #[cfg(feature = "otlp-grpc")]
    #[test]
    fn a_transport_that_breaks_is_tried_again_and_named_but_no_words_of_the_collector_are() {
        let reset = std::io::Error::other("transport error: connection reset");
        let mut status = Status::unknown("token abc");
        status.set_source(std::sync::Arc::new(reset));
        let failure = of_grpc(&status, false);
        let cause = "gRPC status Unknown: transport error: connection reset";
        assert_eq!(failure, Failure::Transient(cause.to_owned()));
    }

    #[test]
    fn a_port_mix_up_is_named() {
        fn check(protocol: Protocol, url: &str, cause: &str, part: &str) {
            let config = ExportConfig {
                protocol,
                endpoint: Endpoint::Traces(url.to_owned()),
                ..ExportConfig::default()
            };
            let advice = advice(&config, cause);
            assert!(advice.contains(part), "{url} {cause}: {advice}");
        }
        let refused = "tcp connect error: Connection refused";
        let (http, grpc) = (Protocol::HttpProtobuf, Protocol::Grpc);
        check(
            http,
            "http://c:4318/v1/traces",
            refused,
            "start a collector",
        );
        check(http, "http://c:4317/v1/traces", refused, "PROTOCOL=grpc");
        check(
            http,
            "http://c:9/",
            "invalid HTTP version parsed",
            "PROTOCOL=grpc",
        );
        check(grpc, "http://c:4317", refused, "start a collector");
        check(grpc, "http://c:4318", refused, "PROTOCOL=http/protobuf");
        check(
            grpc,
            "http://c:9",
            "gRPC status Unknown: transport error: connection error: FRAME_SIZE_ERROR",
            "PROTOCOL=http/protobuf",
        );
        check(
            grpc,
            "http://c:9",
            "gRPC status Unavailable: transport error: tcp connect error: refused",
            "start a collector",
        );
        check(
            grpc,
            "http://c:9",
            "gRPC status Cancelled: transport error: Timeout expired",
            "start a collector",
        );
    }
}
