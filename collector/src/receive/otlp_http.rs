//! OTLP over HTTP: `POST /v1/traces`, `/v1/logs` and `/v1/metrics`, protobuf or JSON (opentelemetry.io, OTLP specification,
//! section OTLP/HTTP). Served by `pipeline`.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body;
use tokio::net::TcpListener;

use super::Receiver;
use super::access::{self, Port, Refusal};
use super::format::Format;
use super::http::{
    Failure, Form, JSON, MAX_BODY_BYTES, PROTOBUF, content_encoding, media_type, read_batch,
};
use crate::net::body::Answer;
use crate::net::encoding::Encoding;
use crate::net::rpc_status::Code;
use crate::net::{grpc, server};
use crate::signal::Signal;

const TAKES: &str = "this port takes POST /v1/traces, /v1/logs and /v1/metrics";

const PORT: Port<Accepted> = Port {
    form: Form::of,
    look: |receiver, head| {
        accept(receiver, head).map_err(|failure| {
            let response = Form::of(head).answer(&failure);
            Refusal::new(response, MAX_BODY_BYTES)
        })
    },
    is_for_pages: true,
};

/// Serves OTLP over HTTP until `shutdown`, then drains; returns how many connections were cut off.
pub async fn serve(
    listener: TcpListener,
    receiver: Receiver,
    config: server::Config,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let handler = move |request, _peer| {
        let receiver = receiver.clone();
        let attended = access::attend(&receiver, request, &PORT);
        async move {
            let export = |accepted, body| export(receiver, accepted, body);
            attended.answer(export).await
        }
    };
    server::serve(listener, handler, config, shutdown).await
}

/// What the head of a request tells of its body.
struct Accepted {
    signal: Signal,
    format: Format,
    encoding: Encoding,
    form: Form,
}

/// Checks everything that can be told from the head of a request.
fn accept(receiver: &Receiver, request: &Parts) -> Result<Accepted, Failure> {
    let others = &receiver.others;
    if grpc::is_grpc(&request.headers) {
        let text = format!(
            "this port takes OTLP over HTTP; OTLP over gRPC is taken{}",
            Receiver::place(&others.otlp_grpc)
        );
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let failure = Failure::new(status, Code::Unimplemented, text);
        receiver.count_refusal(&failure.status);
        return Err(failure);
    }
    let path = request.uri.path();
    let Some(signal) = Signal::ALL
        .into_iter()
        .find(|signal| signal.http_path() == path)
    else {
        let mut text = format!("nothing is at {path}; {TAKES}");
        if let "/api/v2/spans" | "/api/v1/spans" = path {
            text.push_str("; Zipkin's format is taken");
            text.push_str(&Receiver::place(&others.zipkin));
        }
        return Err(Failure::not_found(text));
    };
    if let Some(text) = receiver.not_taken(signal) {
        return Err(Failure::not_found(text));
    }
    if request.method != Method::POST {
        let text = format!("{} is not taken; {TAKES}", request.method);
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Failure::new(status, Code::Unimplemented, text).allow(header::ALLOW, "POST"));
    }
    let checked = check_batch(&request.headers);
    let (format, encoding) =
        checked.inspect_err(|failure| receiver.count_refusal(&failure.status))?;
    Ok(Accepted {
        signal,
        format,
        encoding,
        form: Form::of(request),
    })
}

/// The type and encoding of a batch.
fn check_batch(headers: &HeaderMap) -> Result<(Format, Encoding), Failure> {
    let format = match media_type(headers).as_deref() {
        Some(PROTOBUF) => Format::OtlpProtobuf,
        Some(JSON) => Format::OtlpJson,
        other => {
            let other = other.unwrap_or("none");
            let text = format!("content type {other} is not accepted; send {PROTOBUF} or {JSON}");
            let allowed = "application/x-protobuf, application/json";
            return Err(Failure::unsupported(text, header::ACCEPT, allowed));
        }
    };
    Ok((format, content_encoding(headers)?))
}

async fn export<B>(receiver: Receiver, accepted: Accepted, body: B) -> Response<Answer>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    let Accepted {
        signal,
        format,
        encoding,
        form,
    } = accepted;
    let exported = match read_batch(&receiver, encoding, body).await {
        Ok(body) => receiver.admit(signal, format, body).await,
        Err(status) => Err(status),
    };
    match exported {
        Ok(()) => success(format),
        Err(status) => form.answer(&status.into()),
    }
}

/// An empty `ExportTraceServiceResponse`, or one of its like, in the encoding of the request, which is no byte at all in protobuf:
/// everything was taken.
fn success(format: Format) -> Response<Answer> {
    let (content_type, body) = match format {
        Format::OtlpJson => (JSON, &b"{}"[..]),
        _ => (PROTOBUF, &[][..]),
    };
    let mut response = Response::new(Answer::data(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
