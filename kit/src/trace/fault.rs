//! What a failed export means: whether another try makes sense, and what to tell the operator.

use ::http::{StatusCode, Uri};

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

/// The gRPC client tells its status code only as text: `… gRPC code: Unavailable: tcp connect error …`.
#[cfg(feature = "otlp-grpc")]
pub(super) fn of_grpc(message: &str) -> Failure {
    let status = message
        .split_once("gRPC code: ")
        .map_or(message, |(_, status)| status);
    let code = status.split(':').next().unwrap_or(status).trim();
    let cause = format!("gRPC status {status}");
    match code {
        // OTLP/gRPC "Failures". A transport that breaks midway is reported as Unknown or Internal.
        "Cancelled" | "DeadlineExceeded" | "Aborted" | "OutOfRange" | "Unavailable"
        | "DataLoss" => Failure::Transient(cause),
        _ if status.contains("transport error") => Failure::Transient(cause),
        _ => Failure::Refused(cause),
    }
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
    let cut_off = cause.contains("transport error") && !cause.contains("connect error");
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
    fn grpc_codes_are_read_from_the_clients_text() {
        fn check(status: &str, again: bool) {
            let failure = of_grpc(&format!(
                "TonicTracesClient export failed with gRPC code: {status}"
            ));
            assert_eq!(matches!(failure, Failure::Transient(_)), again, "{status}");
        }
        check("Unavailable", true);
        check("Unavailable: tcp connect error: Connection refused", true);
        check("DeadlineExceeded", true);
        check("Unknown: transport error: connection reset", true);
        check("Unknown", false);
        check("InvalidArgument", false);
        check("ResourceExhausted", false);
        check("Unimplemented", false);
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
    }
}
