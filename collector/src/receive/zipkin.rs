//! Zipkin's HTTP API: `POST /api/v2/spans` for senders, JSON v2 or protobuf, and beside it the questions that `web` answers
//! (zipkin-api, zipkin2-api.yaml). Served by `pipeline`.

mod questions;

use axum::Router;
use axum::body::Body as AnyBody;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::TcpListener;

use self::questions::{QUESTIONS, Question, is_question};
use super::Receiver;
use super::access::{self, Attended, Port, Refusal};
use super::format::Format;
use super::http::{
    Failure, Form, MAX_BODY_BYTES, PROTOBUF, content_encoding, media_type, read_batch,
};
use crate::net::body::Answer;
use crate::net::encoding::Encoding;
use crate::net::rpc_status::Code;
use crate::net::{grpc, server};
use crate::signal::Signal;

const SPANS: &str = "/api/v2/spans";
const TAKES: &str = "this port takes POST /api/v2/spans, Zipkin's JSON v2 or protobuf";

const PORT: Port<(Format, Encoding)> = Port {
    form,
    look: |receiver, head| {
        accept(receiver, head)
            .map_err(|failure| Refusal::new(form(head).answer(&failure), MAX_BODY_BYTES))
    },
    is_for_pages: true,
};

/// Serves Zipkin's senders, and whoever asks by `answers`, until `shutdown`, then drains; returns how many connections were
/// cut off.
pub async fn serve(
    listener: TcpListener,
    receiver: Receiver,
    answers: Router,
    config: server::Config,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let handler = move |request: Request<Incoming>, _peer| {
        let (receiver, answers) = (receiver.clone(), answers.clone());
        let asked = match is_question(&request) {
            true => Asked::Question(access::attend(&receiver, request, &QUESTIONS)),
            false => Asked::Spans(access::attend(&receiver, request, &PORT)),
        };
        async move {
            match asked {
                Asked::Question(attended) => {
                    let answer = |question: Question, _| question.answer(answers);
                    attended.answer(answer).await
                }
                Asked::Spans(attended) => {
                    let take = |(format, encoding), body| take(receiver, format, encoding, body);
                    attended.answer(take).await.map(AnyBody::new)
                }
            }
        }
    };
    server::serve(listener, handler, config, shutdown).await
}

enum Asked {
    Question(Attended<Question, Incoming>),
    Spans(Attended<(Format, Encoding), Incoming>),
}

/// Errors of Zipkin's are text, whatever its spans are written in.
fn form(head: &Parts) -> Form {
    match Form::of(head) {
        Form::Grpc => Form::Grpc,
        _ => Form::Text,
    }
}

/// Checks everything that can be told from the head of a request.
fn accept(receiver: &Receiver, request: &Parts) -> Result<(Format, Encoding), Failure> {
    let path = request.uri.path();
    let is_post = request.method == Method::POST;
    let checked = if path != SPANS {
        Err(no_such_path(receiver, request))
    } else if !is_post {
        let text = format!("{} is not taken; {TAKES}", request.method);
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Err(Failure::new(status, Code::Unimplemented, text).allow(header::ALLOW, "POST"))
    } else {
        check_batch(&request.headers)
    };
    // Whoever posts here may well be losing spans.
    checked.inspect_err(|failure| {
        if is_post {
            receiver.count_refusal(&failure.status);
        }
    })
}

/// Whoever has the path of something else is told where that is.
fn no_such_path(receiver: &Receiver, request: &Parts) -> Failure {
    let others = &receiver.others;
    let path = request.uri.path();
    Failure::not_found(if grpc::is_grpc(&request.headers) {
        format!(
            "{TAKES}; OTLP over gRPC is taken{}",
            Receiver::place(&others.otlp_grpc)
        )
    } else if path.starts_with("/v1/") {
        format!(
            "{TAKES}; OTLP over HTTP is taken{}",
            Receiver::place(&others.otlp_http)
        )
    } else if path == "/api/v1/spans" {
        format!("Zipkin's format v1 (JSON and Thrift) is not taken; {TAKES}")
    } else {
        format!("nothing is at {path}; {TAKES}")
    })
}

/// The type and encoding of a batch. JSON is what Zipkin takes a body for that says nothing else.
fn check_batch(headers: &HeaderMap) -> Result<(Format, Encoding), Failure> {
    let format = match media_type(headers).as_deref() {
        Some(PROTOBUF | "application/protobuf") => Format::ZipkinProtobuf,
        Some("application/x-thrift") => {
            let text = format!("Thrift is of Zipkin's format v1 and is not taken; {TAKES}");
            let allowed = "application/json, application/x-protobuf";
            return Err(Failure::unsupported(text, header::ACCEPT, allowed));
        }
        _ => Format::ZipkinJson,
    };
    Ok((format, content_encoding(headers)?))
}

async fn take<B>(
    receiver: Receiver,
    format: Format,
    encoding: Encoding,
    body: B,
) -> Response<Answer>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    let taken = match read_batch(&receiver, encoding, body).await {
        Ok(body) => receiver.admit(Signal::Traces, format, body).await,
        Err(status) => Err(status),
    };
    match taken {
        Ok(()) => {
            let mut response = Response::new(Answer::default());
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        }
        Err(status) => Form::Text.answer(&status.into()),
    }
}
