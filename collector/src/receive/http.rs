//! What the receivers over plain HTTP share: reading a batch, refusing one. Used by `otlp_http` and `zipkin`.

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use http_body::Body;

use super::Receiver;
use crate::net::body::{Answer, BODY_TIMEOUT, Held, read_body};
use crate::net::encoding::{ACCEPTED, Encoding};
use crate::net::grpc;
use crate::net::inflate::inflate;
use crate::net::rpc_status::{Code, RpcStatus};

/// The OpenTelemetry Collector's own limit; of decompressed bytes.
pub(super) const MAX_BODY_BYTES: usize = 20 * 1024 * 1024;

pub(super) const PROTOBUF: &str = "application/x-protobuf";
pub(super) const JSON: &str = "application/json";

/// An error of a port: what to answer with, and a header that says what is allowed or asked for instead.
pub(super) struct Failure {
    pub(super) http_status: StatusCode,
    pub(super) status: RpcStatus,
    allowed: Option<(header::HeaderName, &'static str)>,
}

/// How an answer says what went wrong: as the request's own protocol and encoding have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Headers of gRPC, and no body.
    Grpc,
    /// `google.rpc.Status` in protobuf.
    Protobuf,
    /// The same in JSON.
    Json,
    /// Plain text, for everybody else.
    Text,
}

impl Failure {
    pub(super) fn new(
        http_status: StatusCode,
        code: Code,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            http_status,
            status: RpcStatus::new(code, text),
            allowed: None,
        }
    }

    /// Nothing is there, or nothing that takes such a request.
    pub(super) fn not_found(text: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::Unimplemented, text)
    }

    /// A body of a type or encoding that is not taken; `allowed` are, as `name` says.
    pub(super) fn unsupported(
        text: String,
        name: header::HeaderName,
        allowed: &'static str,
    ) -> Self {
        let failure = Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::InvalidArgument,
            text,
        );
        failure.allow(name, allowed)
    }

    pub(super) fn allow(self, name: header::HeaderName, value: &'static str) -> Self {
        Self {
            allowed: Some((name, value)),
            ..self
        }
    }

    /// The answer, with `body` of `content_type`.
    fn answer(&self, content_type: &'static str, body: impl Into<Bytes>) -> Response<Answer> {
        let mut response = Response::new(Answer::data(body));
        *response.status_mut() = self.http_status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(after) = self.status.retry_after {
            let seconds = after.as_secs().max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((name, value)) = &self.allowed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn text_answer(&self) -> Response<Answer> {
        let text = format!("{}\n", self.status.message());
        self.answer("text/plain; charset=utf-8", text)
    }
}

impl Form {
    /// What a request asks for by what it is itself. gRPC is of HTTP/2 alone: elsewhere its answer would be a success to who
    /// looks at the HTTP status.
    pub(super) fn of(request: &Parts) -> Self {
        if grpc::is_grpc(&request.headers) && request.version == Version::HTTP_2 {
            return Self::Grpc;
        }
        match media_type(&request.headers).as_deref() {
            Some(PROTOBUF) => Self::Protobuf,
            Some(JSON) => Self::Json,
            _ => Self::Text,
        }
    }

    /// The answer that says `failure`.
    pub(super) fn answer(self, failure: &Failure) -> Response<Answer> {
        match self {
            Self::Grpc => grpc::failure(&failure.status),
            Self::Protobuf => failure.answer(PROTOBUF, failure.status.to_protobuf()),
            Self::Json => failure.answer(JSON, failure.status.to_json()),
            Self::Text => failure.text_answer(),
        }
    }
}

impl From<RpcStatus> for Failure {
    fn from(status: RpcStatus) -> Self {
        let http_status = match status.code {
            Code::ResourceExhausted => StatusCode::PAYLOAD_TOO_LARGE,
            // OTLP senders do not retry a 408, but a batch that was slow to come may well come again.
            Code::Unavailable | Code::DeadlineExceeded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self {
            http_status,
            status,
            allowed: None,
        }
    }
}

/// The content type without its parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next().unwrap_or_default();
    Some(media_type.trim().to_ascii_lowercase())
}

/// How a body is compressed.
///
/// # Errors
/// 415 for a way that is not taken.
pub(super) fn content_encoding(headers: &HeaderMap) -> Result<Encoding, Failure> {
    Encoding::of(headers, &header::CONTENT_ENCODING).map_err(|other| {
        let text =
            format!("content encoding `{other}` is not accepted; send {ACCEPTED} or identity");
        Failure::unsupported(text, header::ACCEPT_ENCODING, ACCEPTED)
    })
}

/// Reads a body whole and decompressed; a refusal is counted.
///
/// # Errors
/// What to answer with.
pub(super) async fn read_batch<B>(
    receiver: &Receiver,
    encoding: Encoding,
    body: B,
) -> Result<Held, RpcStatus>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    let read = async {
        let body = read_body(body, MAX_BODY_BYTES, &receiver.budget, BODY_TIMEOUT).await?;
        inflate(body, encoding, MAX_BODY_BYTES, &receiver.budget)
    };
    read.await.map_err(|error| {
        let status = RpcStatus::from(error);
        receiver.count_refusal(&status);
        status
    })
}
