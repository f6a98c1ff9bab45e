//! gRPC status codes, as responses carry them and as spans, metrics and lines name them.

use ::http::{HeaderMap, HeaderValue, StatusCode};

use super::GRPC_STATUS;

/// The status of a call (gRPC, "Status codes and their use in gRPC").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::http) enum GrpcStatus {
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl GrpcStatus {
    /// Each at the place of its code.
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// `grpc-status` of headers or trailers; a code that nobody knows is UNKNOWN.
    pub(in crate::http) fn of(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get(GRPC_STATUS)?;
        let code = code
            .to_str()
            .ok()
            .and_then(|code| code.parse::<usize>().ok());
        let known = code.and_then(|code| Self::ALL.get(code).copied());
        Some(known.unwrap_or(Self::Unknown))
    }

    /// What a response without a `grpc-status` means (gRPC, "HTTP to gRPC Status Code Mapping").
    pub(in crate::http) fn of_http(status: Option<StatusCode>) -> Self {
        match status.map_or(0, |status| status.as_u16()) {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502..=504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// `rpc.response.status_code`.
    pub(in crate::http) const fn as_str(self) -> &'static str {
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

    /// `grpc-status`.
    pub(super) fn header_value(self) -> HeaderValue {
        HeaderValue::from(self as u16)
    }

    /// Whether it is the server that failed (gRPC semantic conventions, "gRPC status"); the other codes are
    /// answers to callers that asked for too much, or the wrong thing.
    pub(super) const fn is_server_error(self) -> bool {
        matches!(
            self,
            Self::Unknown
                | Self::DeadlineExceeded
                | Self::Unimplemented
                | Self::Internal
                | Self::Unavailable
                | Self::DataLoss
        )
    }

    /// Whether only a method that exists answers so. The rest is said before a method is looked for, or
    /// because none was found.
    pub(super) const fn proves_method(self) -> bool {
        !matches!(
            self,
            Self::Unimplemented
                | Self::Unauthenticated
                | Self::PermissionDenied
                | Self::ResourceExhausted
                | Self::Cancelled
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(value: &[u8]) -> Option<GrpcStatus> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_STATUS, HeaderValue::from_bytes(value).unwrap());
        GrpcStatus::of(&headers)
    }

    #[test]
    fn every_code_is_read_as_it_is_written() {
        for (code, status) in GrpcStatus::ALL.into_iter().enumerate() {
            assert_eq!(status as usize, code);
            assert_eq!(status.header_value(), code.to_string());
            assert_eq!(status_of(code.to_string().as_bytes()), Some(status));
        }
        for odd in [
            &b"17"[..],
            b"-1",
            b"",
            b"OK",
            b"99999999999999999999",
            b"\xff",
        ] {
            assert_eq!(status_of(odd), Some(GrpcStatus::Unknown), "{odd:?}");
        }
        assert_eq!(GrpcStatus::of(&HeaderMap::new()), None);
    }

    #[test]
    fn http_statuses_of_proxies_have_a_code() {
        for (http, expected) in [
            (200, GrpcStatus::Unknown),
            (400, GrpcStatus::Internal),
            (401, GrpcStatus::Unauthenticated),
            (403, GrpcStatus::PermissionDenied),
            (404, GrpcStatus::Unimplemented),
            (429, GrpcStatus::Unavailable),
            (500, GrpcStatus::Unknown),
            (503, GrpcStatus::Unavailable),
        ] {
            let http = StatusCode::from_u16(http).ok();
            assert_eq!(GrpcStatus::of_http(http), expected, "{http:?}");
        }
        assert_eq!(GrpcStatus::of_http(None), GrpcStatus::Unknown);
    }
}
