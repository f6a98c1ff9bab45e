//! OTLP over gRPC: `TraceService/Export` and those of logs and metrics (opentelemetry-proto, trace_service.proto and its
//! like). Served by `pipeline`.

use std::pin::pin;

use bytes::Bytes;
use http::{Method, Request, Response, Version, header};
use http_body::Body;
use tokio::net::TcpListener;

use super::format::Format;
use super::http::Failure;
use super::{Receiver, access, otlp_http};
use crate::net::body::{Answer, discard};
use crate::net::rpc_status::{Code, RpcStatus};
use crate::net::{grpc, server};
use crate::signal::Signal;

/// gRPC's own default, which peers rely on; of decompressed bytes.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// An empty `ExportTraceServiceResponse`, or one of its like, with its prefix: everything was taken.
const EMPTY_RESPONSE: &[u8] = &[0; grpc::PREFIX_BYTES];

/// Serves OTLP over gRPC until `shutdown`, then drains; returns how many connections were cut off.
pub async fn serve(
    listener: TcpListener,
    receiver: Receiver,
    config: server::Config,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let handler = move |request, _peer| {
        let receiver = receiver.clone();
        async move {
            access::guard(&receiver, request, otlp_http::failure, |request| {
                answer(&receiver, request)
            })
            .await
        }
    };
    server::serve(listener, handler, config, shutdown).await
}

async fn answer<B>(receiver: &Receiver, request: Request<B>) -> Response<Answer>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    if !grpc::is_grpc_protobuf(request.headers()) || request.version() != Version::HTTP_2 {
        return not_grpc(receiver, request).await;
    }
    let path = request.uri().path();
    let exported = match Signal::ALL
        .into_iter()
        .find(|&signal| signal.grpc_path() == path)
    {
        Some(signal) => export(receiver, signal, request).await,
        None => {
            let traces = Signal::Traces.grpc_path();
            let text = format!(
                "unknown method {path}; this port takes {traces}, and the same of logs and metrics"
            );
            Err(RpcStatus::new(Code::Unimplemented, text))
        }
    };
    match exported {
        Ok(()) => grpc::success(Bytes::from_static(EMPTY_RESPONSE)),
        Err(status) => grpc::failure(&status),
    }
}

async fn export<B>(
    receiver: &Receiver,
    signal: Signal,
    request: Request<B>,
) -> Result<(), RpcStatus>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    if let Some(text) = receiver.not_taken(signal) {
        return Err(RpcStatus::new(Code::Unimplemented, text));
    }
    let message = grpc::read_message(request, MAX_MESSAGE_BYTES, &receiver.budget)
        .await
        .inspect_err(|status| receiver.count_refusal(status))?;
    receiver.admit(signal, Format::OtlpProtobuf, message).await
}

/// Answers what is no gRPC, most likely OTLP over HTTP sent to the wrong port.
async fn not_grpc<B>(receiver: &Receiver, request: Request<B>) -> Response<Answer>
where
    B: Body<Data = Bytes>,
{
    let mut text =
        "this port takes OTLP over gRPC (HTTP/2, content-type application/grpc)".to_owned();
    if !grpc::is_grpc(request.headers()) {
        text.push_str("; OTLP over HTTP is taken");
        text.push_str(&Receiver::place(&receiver.others.otlp_http));
    }
    let failure = Failure::unsupported(text, header::ACCEPT, "application/grpc");
    if request.method() == Method::POST {
        receiver.count_refusal(&failure.status);
    }
    let (parts, body) = request.into_parts();
    discard(pin!(body), MAX_MESSAGE_BYTES).await;
    otlp_http::failure(&parts.headers, &failure)
}
