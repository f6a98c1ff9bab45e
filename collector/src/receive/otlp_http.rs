//! OTLP over HTTP: `POST /v1/traces`, binary protobuf (opentelemetry.io, OTLP specification, section OTLP/HTTP).
//! Served by `pipeline`.

use std::pin::pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use tokio::net::TcpListener;

use super::Receiver;
use crate::net::body::{Answer, BODY_TIMEOUT, discard, read_body};
use crate::net::inflate::{Encoding, inflate};
use crate::net::rpc_status::{Code, RpcStatus};
use crate::net::{grpc, server};

/// The OpenTelemetry Collector's own limit; of decompressed bytes.
pub const MAX_BODY_BYTES: usize = 20 * 1024 * 1024;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const TAKES: &str = "this port takes POST /v1/traces";

/// Serves OTLP over HTTP until `shutdown`, then drains; returns how many connections were cut off.
pub async fn serve(
    listener: TcpListener,
    receiver: Receiver,
    config: server::Config,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let handler = move |request, _peer| {
        let receiver = receiver.clone();
        async move { answer(&receiver, request).await }
    };
    server::serve(listener, handler, config, shutdown).await
}

/// Answers with an error as the request's own encoding has it: `google.rpc.Status` in protobuf or JSON, and
/// plain text for everybody else.
pub(super) fn failure(
    request: &HeaderMap,
    http_status: StatusCode,
    status: &RpcStatus,
) -> Response<Answer> {
    let (content_type, body) = match media_type(request).as_deref() {
        Some(PROTOBUF) => (PROTOBUF, status.to_protobuf()),
        Some(JSON) => (JSON, status.to_json()),
        _ => (
            "text/plain; charset=utf-8",
            format!("{}\n", status.message).into_bytes(),
        ),
    };
    let mut response = Response::new(Answer::data(body));
    *response.status_mut() = http_status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(after) = status.retry_after {
        let seconds = after.as_secs().max(1);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An error of this port: what to answer with, and a header that says what is allowed instead.
struct Failure {
    http_status: StatusCode,
    status: RpcStatus,
    allowed: Option<(header::HeaderName, &'static str)>,
}

async fn answer<B>(receiver: &Receiver, request: Request<B>) -> Response<Answer>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    let (parts, body) = request.into_parts();
    let mut body = pin!(body);
    let exported = match accept(receiver, &parts) {
        Ok(encoding) => export(receiver, encoding, body.as_mut()).await,
        Err(failure) => {
            discard(body.as_mut(), MAX_BODY_BYTES).await;
            Err(failure)
        }
    };
    match exported {
        Ok(()) => success(),
        Err(failure) if grpc::is_grpc(&parts.headers) => grpc::failure(&failure.status),
        Err(failure) => {
            let mut response = self::failure(&parts.headers, failure.http_status, &failure.status);
            if let Some((name, value)) = failure.allowed {
                let value = HeaderValue::from_static(value);
                response.headers_mut().insert(name, value);
            }
            response
        }
    }
}

/// Checks everything that can be told from the head of a request.
fn accept(receiver: &Receiver, request: &http::request::Parts) -> Result<Encoding, Failure> {
    let path = request.uri.path();
    if grpc::is_grpc(&request.headers) {
        let text = format!(
            "this port takes OTLP over HTTP; OTLP over gRPC is taken{}",
            receiver.where_other()
        );
        let failure = Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::Unimplemented,
            text,
        );
        receiver.count_refusal(&failure.status);
        return Err(failure);
    }
    match path {
        "/v1/traces" => {}
        "/v1/logs" | "/v1/metrics" => {
            let signal = path.trim_start_matches("/v1/");
            let text = format!("no exporter of this collector takes {signal}; {TAKES}");
            return Err(Failure::new(
                StatusCode::NOT_FOUND,
                Code::Unimplemented,
                text,
            ));
        }
        _ => {
            let text = format!("nothing is at {path}; {TAKES}");
            return Err(Failure::new(
                StatusCode::NOT_FOUND,
                Code::Unimplemented,
                text,
            ));
        }
    }
    if request.method != Method::POST {
        let text = format!("{} is not taken; {TAKES}", request.method);
        return Err(
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, text)
                .allow(header::ALLOW, "POST"),
        );
    }
    check_batch(&request.headers).inspect_err(|failure| receiver.count_refusal(&failure.status))
}

/// The type and encoding of a batch.
fn check_batch(headers: &HeaderMap) -> Result<Encoding, Failure> {
    let unsupported = |text, name, allowed| {
        Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::InvalidArgument,
            text,
        )
        .allow(name, allowed)
    };
    match media_type(headers).as_deref() {
        Some(PROTOBUF) => {}
        Some(JSON) => {
            let text = format!("OTLP in JSON is not accepted yet; send {PROTOBUF}");
            return Err(unsupported(text, header::ACCEPT, PROTOBUF));
        }
        other => {
            let other = other.unwrap_or("none");
            let text = format!("content type {other} is not accepted; send {PROTOBUF}");
            return Err(unsupported(text, header::ACCEPT, PROTOBUF));
        }
    }
    let encoding = headers.get(header::CONTENT_ENCODING);
    Encoding::parse(encoding).ok_or_else(|| {
        let name = encoding.map_or("".into(), |name| String::from_utf8_lossy(name.as_bytes()));
        let text =
            format!("content encoding `{name}` is not accepted; send gzip, deflate or identity");
        unsupported(text, header::ACCEPT_ENCODING, "gzip, deflate")
    })
}

async fn export<B>(receiver: &Receiver, encoding: Encoding, body: B) -> Result<(), Failure>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    let read = async {
        let body = read_body(body, MAX_BODY_BYTES, &receiver.budget, BODY_TIMEOUT).await?;
        inflate(body, encoding, MAX_BODY_BYTES, &receiver.budget)
    };
    let batch = read.await.map_err(|error| {
        let status = RpcStatus::from(error);
        receiver.count_refusal(&status);
        status
    })?;
    Ok(receiver.admit(batch.bytes).await?)
}

/// An empty `ExportTraceServiceResponse`, which is no byte at all: everything was taken.
fn success() -> Response<Answer> {
    let mut response = Response::new(Answer::default());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    response
}

/// The content type without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next().unwrap_or_default();
    Some(media_type.trim().to_ascii_lowercase())
}

impl Failure {
    fn new(http_status: StatusCode, code: Code, text: String) -> Self {
        Self {
            http_status,
            status: RpcStatus::new(code, text),
            allowed: None,
        }
    }

    fn allow(self, name: header::HeaderName, value: &'static str) -> Self {
        Self {
            allowed: Some((name, value)),
            ..self
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
