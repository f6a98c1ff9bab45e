//! `google.rpc.Status`: the error answer of OTLP, in protobuf (gRPC trailer and HTTP body), JSON or text.
//! Written by `receive`, read by `export`.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

use super::proto::{Value, fields, put_bytes_field, put_varint_field};

/// gRPC status codes (`google.rpc.Code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcStatus {
    /// What kind of error.
    pub code: Code,
    /// What happened and what to do.
    pub message: Cow<'static, str>,
    /// When to send again (`google.rpc.RetryInfo`); `None` says nothing about it.
    pub retry_after: Option<Duration>,
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// gRPC's `Percent-Encoded` (PROTOCOL-HTTP2): everything but printable ASCII, and `%` itself.
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// Messages are cut here, so that trailers stay within every peer's header limit.
const MESSAGE_LIMIT_BYTES: usize = 1024;

/// `-bin` headers are written without padding and read with or without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Code {
    /// The code of a number; unknown ones are `Unknown`, as gRPC says.
    pub fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Cancelled,
            3 => Self::InvalidArgument,
            4 => Self::DeadlineExceeded,
            5 => Self::NotFound,
            6 => Self::AlreadyExists,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            10 => Self::Aborted,
            11 => Self::OutOfRange,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            15 => Self::DataLoss,
            16 => Self::Unauthenticated,
            _ => Self::Unknown,
        }
    }

    /// The specification's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

impl RpcStatus {
    /// An error that says nothing about sending again.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// `UNAVAILABLE`, to be sent again after `after`.
    pub fn unavailable(message: impl Into<Cow<'static, str>>, after: Duration) -> Self {
        Self {
            code: Code::Unavailable,
            message: message.into(),
            retry_after: Some(after),
        }
    }

    /// The protobuf message.
    pub fn to_protobuf(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.message.len() + 80);
        put_varint_field(&mut out, 1, self.code as u64);
        put_bytes_field(&mut out, 2, self.message().as_bytes());
        if let Some(after) = self.retry_after {
            let mut duration = Vec::with_capacity(16);
            put_varint_field(&mut duration, 1, after.as_secs());
            put_varint_field(&mut duration, 2, u64::from(after.subsec_nanos()));
            let mut retry_info = Vec::with_capacity(20);
            put_bytes_field(&mut retry_info, 1, &duration);
            let mut any = Vec::with_capacity(80);
            put_bytes_field(&mut any, 1, RETRY_INFO.as_bytes());
            put_bytes_field(&mut any, 2, &retry_info);
            put_bytes_field(&mut out, 3, &any);
        }
        out
    }

    /// The JSON mapping of the message, as OTLP/HTTP clients that send JSON read it.
    pub fn to_json(&self) -> Vec<u8> {
        let message = serde_json::Value::from(self.message());
        format!("{{\"code\":{},\"message\":{message}}}", self.code as u8).into_bytes()
    }

    /// Reads the protobuf message; what is unreadable stays at its default.
    pub fn from_protobuf(bytes: &[u8]) -> Self {
        let mut status = Self::new(Code::Ok, "");
        for field in fields(bytes) {
            match field {
                (1, Value::Varint(code)) => status.code = Code::from_number(code),
                (2, Value::Bytes(message)) => {
                    status.message = String::from_utf8_lossy(message).into_owned().into();
                }
                (3, Value::Bytes(any)) => {
                    status.retry_after = retry_info(any).or(status.retry_after);
                }
                _ => {}
            }
        }
        status
    }

    /// Writes the status as gRPC trailers: `grpc-status`, `grpc-message`, and with a retry time
    /// `grpc-status-details-bin`.
    pub fn put_trailers(&self, trailers: &mut HeaderMap) {
        trailers.insert("grpc-status", HeaderValue::from(self.code as u16));
        let message = utf8_percent_encode(self.message(), GRPC_MESSAGE).to_string();
        if let Ok(message) = HeaderValue::try_from(message) {
            trailers.insert("grpc-message", message);
        }
        if self.retry_after.is_some()
            && let Ok(details) = HeaderValue::try_from(BASE64.encode(self.to_protobuf()))
        {
            trailers.insert("grpc-status-details-bin", details);
        }
    }

    /// Reads gRPC trailers; `None` when they carry no `grpc-status`.
    pub fn from_trailers(trailers: &HeaderMap) -> Option<Self> {
        let code = trailers.get("grpc-status")?.to_str().ok()?;
        let message = trailers.get("grpc-message").map_or_else(String::new, |m| {
            percent_decode(m.as_bytes())
                .decode_utf8_lossy()
                .into_owned()
        });
        let details = trailers
            .get("grpc-status-details-bin")
            .and_then(|value| BASE64.decode(value.as_bytes()).ok());
        Some(Self {
            code: code.trim().parse().map_or(Code::Unknown, Code::from_number),
            message: message.into(),
            retry_after: details.and_then(|bytes| Self::from_protobuf(&bytes).retry_after),
        })
    }

    /// The message as it is sent, of 1 KiB at most.
    pub fn message(&self) -> &str {
        let limit = MESSAGE_LIMIT_BYTES.min(self.message.len());
        // A character is at most four bytes, so one of these is its start.
        (0..4)
            .find_map(|back| self.message.get(..limit.checked_sub(back)?))
            .unwrap_or_default()
    }
}

/// What a receiver of OTLP reports about a request it took in part (`ExportTracePartialSuccess` and its like, which have
/// the same fields).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialSuccess {
    /// Spans, log records or data points refused for good.
    pub rejected: u64,
    /// Why, or a warning when none was refused; may be empty.
    pub error_message: String,
}

/// Reads an `ExportTraceServiceResponse` or one of its like; what is unreadable counts as full success, since the request was
/// taken.
pub fn partial_success(response: &Bytes) -> PartialSuccess {
    let mut partial = PartialSuccess::default();
    for field in fields(response) {
        let (1, Value::Bytes(message)) = field else {
            continue;
        };
        for field in fields(message) {
            match field {
                (1, Value::Varint(count)) => {
                    // A negative count is nonsense that must not become a huge one.
                    partial.rejected = u64::try_from(count as i64).unwrap_or(0);
                }
                (2, Value::Bytes(text)) => {
                    partial.error_message = String::from_utf8_lossy(text).into_owned();
                }
                _ => {}
            }
        }
    }
    partial
}

/// As [`partial_success`], in the JSON mapping, whose 64-bit numbers may be texts.
pub fn partial_success_in_json(response: &[u8]) -> PartialSuccess {
    let response: serde_json::Value = serde_json::from_slice(response).unwrap_or_default();
    let partial = &response["partialSuccess"];
    let rejected = ["rejectedSpans", "rejectedLogRecords", "rejectedDataPoints"]
        .into_iter()
        .find_map(|key| match &partial[key] {
            serde_json::Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        });
    PartialSuccess {
        rejected: rejected.unwrap_or(0),
        error_message: partial["errorMessage"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    }
}

fn retry_info(any: &[u8]) -> Option<Duration> {
    let bytes_of = |message, wanted| {
        fields(message).find_map(|field| match field {
            (number, Value::Bytes(bytes)) if number == wanted => Some(bytes),
            _ => None,
        })
    };
    if bytes_of(any, 1)? != RETRY_INFO.as_bytes() {
        return None;
    }
    let (mut seconds, mut nanos) = (0, 0);
    for field in fields(bytes_of(bytes_of(any, 2)?, 1).unwrap_or_default()) {
        match field {
            // A negative duration means now.
            (1, Value::Varint(value)) => seconds = u64::try_from(value as i64).unwrap_or(0),
            (2, Value::Varint(value)) => nanos = u32::try_from(value as i64).unwrap_or(0),
            _ => {}
        }
    }
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(u64::from(nanos))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(status: &RpcStatus) {
        assert_eq!(&RpcStatus::from_protobuf(&status.to_protobuf()), status);
        let mut trailers = HeaderMap::new();
        status.put_trailers(&mut trailers);
        assert_eq!(RpcStatus::from_trailers(&trailers).as_ref(), Some(status));
        let json: serde_json::Value = serde_json::from_slice(&status.to_json()).unwrap();
        assert_eq!(json["code"], status.code as u8);
        assert_eq!(json["message"], *status.message);
    }

    #[test]
    fn statuses_come_back_from_every_encoding() {
        check(&RpcStatus::new(Code::Ok, ""));
        check(&RpcStatus::new(
            Code::InvalidArgument,
            "100 % \"bad\"\n\u{7f} ü 漢",
        ));
        check(&RpcStatus::unavailable(
            "full",
            Duration::from_millis(1_500),
        ));
        check(&RpcStatus::unavailable("now", Duration::ZERO));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let status = RpcStatus::new(Code::Internal, "ü".repeat(MESSAGE_LIMIT_BYTES));
        let read = RpcStatus::from_protobuf(&status.to_protobuf());
        assert_eq!(read.message, "ü".repeat(MESSAGE_LIMIT_BYTES / 2));
    }

    #[test]
    fn every_code_has_its_number() {
        for number in 0..=16 {
            assert_eq!(Code::from_number(number) as u64, number);
        }
        assert_eq!(Code::from_number(17), Code::Unknown);
    }

    #[test]
    fn agrees_with_the_generated_types() {
        use prost::Message;
        let expected =
            opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse {
                partial_success: Some(
                    opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess {
                        rejected_spans: 7,
                        error_message: "no room".to_owned(),
                    },
                ),
            };
        let partial = partial_success(&expected.encode_to_vec().into());
        assert_eq!(partial.rejected, 7);
        assert_eq!(partial.error_message, "no room");
    }

    #[test]
    fn a_part_that_is_told_in_json_is_read() {
        let check = |text: &str, rejected| {
            assert_eq!(
                partial_success_in_json(text.as_bytes()).rejected,
                rejected,
                "{text}"
            );
        };
        check(r#"{"partialSuccess":{"rejectedSpans":"7"}}"#, 7);
        check(r#"{"partialSuccess":{"rejectedLogRecords":7}}"#, 7);
        check(r#"{"partialSuccess":{"rejectedDataPoints":7}}"#, 7);
        for none in [
            "",
            "{}",
            "[]",
            "null",
            "{\"partialSuccess\":null}",
            r#"{"partialSuccess":{"rejectedSpans":-7}}"#,
            r#"{"partialSuccess":{"rejectedSpans":"-7"}}"#,
            r#"{"partialSuccess":[7]}"#,
        ] {
            check(none, 0);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in any::<Vec<u8>>()) {
            RpcStatus::from_protobuf(&bytes);
            retry_info(&bytes);
            partial_success_in_json(&bytes);
            partial_success(&bytes.into());
        }
    }
}
