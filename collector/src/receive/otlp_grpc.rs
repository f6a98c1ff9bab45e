//! OTLP over gRPC: `TraceService/Export` and those of logs and metrics (opentelemetry-proto, trace_service.proto and its
//! like). Served by `pipeline`.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, Version, header};
use http_body::Body;
use tokio::net::TcpListener;

use super::Receiver;
use super::access::{self, Port, Refusal};
use super::format::Format;
use super::http::{Failure, Form};
use crate::net::body::Answer;
use crate::net::grpc::MessageHead;
use crate::net::rpc_status::{Code, RpcStatus};
use crate::net::{grpc, server};
use crate::signal::Signal;

/// gRPC's own default, which peers rely on; of decompressed bytes.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// An empty `ExportTraceServiceResponse`, or one of its like, with its prefix: everything was taken.
const EMPTY_RESPONSE: &[u8] = &[0; grpc::PREFIX_BYTES];

const PORT: Port<(Signal, MessageHead)> = Port {
    form: Form::of,
    look,
    is_for_pages: true,
};

/// Serves OTLP over gRPC until `shutdown`, then drains; returns how many connections were cut off.
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
            let export = |(signal, head), body| export(receiver, signal, head, body);
            attended.answer(export).await
        }
    };
    server::serve(listener, handler, config, shutdown).await
}

/// What is exported, and how it comes.
fn look(receiver: &Receiver, head: &Parts) -> Result<(Signal, MessageHead), Refusal> {
    if !grpc::is_grpc_protobuf(&head.headers) || head.version != Version::HTTP_2 {
        return Err(not_grpc(receiver, head));
    }
    // Its end is not waited for: HTTP/2 has each request in a stream of its own.
    let refused = |status: &RpcStatus| Refusal::new(grpc::failure(status), 0);
    let path = head.uri.path();
    let Some(signal) = Signal::ALL
        .into_iter()
        .find(|signal| signal.grpc_path() == path)
    else {
        let traces = Signal::Traces.grpc_path();
        let text = format!(
            "unknown method {path}; this port takes {traces}, and the same of logs and metrics"
        );
        return Err(refused(&RpcStatus::new(Code::Unimplemented, text)));
    };
    if let Some(text) = receiver.not_taken(signal) {
        return Err(refused(&RpcStatus::new(Code::Unimplemented, text)));
    }
    match MessageHead::of(&head.headers) {
        Ok(message) => Ok((signal, message)),
        Err(status) => {
            receiver.count_refusal(&status);
            Err(refused(&status))
        }
    }
}

async fn export<B>(
    receiver: Receiver,
    signal: Signal,
    head: MessageHead,
    body: B,
) -> Response<Answer>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    let read = grpc::read_message(head, body, MAX_MESSAGE_BYTES, &receiver.budget).await;
    let exported = match read {
        Ok(message) => receiver.admit(signal, Format::OtlpProtobuf, message).await,
        Err(status) => {
            receiver.count_refusal(&status);
            Err(status)
        }
    };
    match exported {
        Ok(()) => grpc::success(Bytes::from_static(EMPTY_RESPONSE)),
        Err(status) => grpc::failure(&status),
    }
}

/// Refuses what is no gRPC, most likely OTLP over HTTP sent to the wrong port.
fn not_grpc(receiver: &Receiver, head: &Parts) -> Refusal {
    let mut text =
        "this port takes OTLP over gRPC (HTTP/2, content-type application/grpc)".to_owned();
    let mut form = Form::of(head);
    if grpc::is_grpc(&head.headers) {
        // Of another message format, or over HTTP/1: what would be gRPC's own answer to it is none it can read.
        form = Form::Text;
    } else {
        text.push_str("; OTLP over HTTP is taken");
        text.push_str(&Receiver::place(&receiver.others.otlp_http));
    }
    let failure = Failure::unsupported(text, header::ACCEPT, "application/grpc");
    if head.method == Method::POST {
        receiver.count_refusal(&failure.status);
    }
    Refusal::new(form.answer(&failure), MAX_MESSAGE_BYTES)
}
