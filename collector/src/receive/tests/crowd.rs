//! More requests under way than there is room for.

use std::convert::Infallible;

use ::http::{Request, StatusCode};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Fixture, PROTOBUF, REQUEST_BYTES, REQUESTS, framed, start, until};
use crate::net::rpc_status::RpcStatus;
use crate::wire::test_support;

type Piece = Result<Frame<Bytes>, Infallible>;
type Body = StreamBody<ReceiverStream<Piece>>;

async fn connect(address: &str) -> http2::SendRequest<Body> {
    let stream = TcpStream::connect(address).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(path: &str, content_type: &str) -> (mpsc::Sender<Piece>, Request<Body>) {
    let (sender, pieces) = mpsc::channel(1);
    let body = StreamBody::new(ReceiverStream::new(pieces));
    let request = Request::post(format!("http://a{path}"))
        .header("content-type", content_type)
        // As large as a head may be, and of no use.
        .header("x", "y".repeat(15_000));
    (sender, request.body(body).unwrap())
}

fn piece(bytes: &[u8]) -> Piece {
    Ok(Frame::data(Bytes::copy_from_slice(bytes)))
}

/// Fills the room with requests that send nothing, and sees that one more is asked to come again, and is taken then.
async fn check(
    fixture: &mut Fixture,
    address: &str,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) {
    let mut client = connect(address).await;
    let mut waiting = Vec::new();
    for _ in 0..REQUESTS {
        let (sender, request) = request(path, content_type);
        waiting.push((sender, tokio::spawn(client.send_request(request))));
    }
    let full = REQUESTS * REQUEST_BYTES;
    until(|| fixture.requests.used() == full).await;

    // Its body has not even begun.
    let (_body, another) = request(path, content_type);
    let refused = client.send_request(another).await.unwrap();
    let status = match refused.headers().get("retry-after") {
        Some(after) => {
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(after, "1");
            None
        }
        None => RpcStatus::from_trailers(refused.headers()),
    };
    if let Some(status) = &status {
        assert!(
            status.message.contains("as many requests are under way"),
            "{}",
            status.message
        );
        assert_eq!(status.retry_after, Some(crate::net::grpc::RETRY_AFTER));
    }
    assert_eq!(status.is_some(), content_type == "application/grpc");

    let (sender, answer) = waiting.pop().unwrap();
    sender.send(piece(&body)).await.unwrap();
    drop(sender);
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
    let (sender, another) = request(path, content_type);
    let answer = client.send_request(another);
    sender.send(piece(&body)).await.unwrap();
    drop(sender);
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    for _ in 0..2 {
        let records = fixture.cursor.next(1).await.unwrap();
        fixture.cursor.ack(records[0].sequence);
    }
    drop((client, waiting));
    until(|| fixture.requests.used() == 0).await;
    fixture.took_nothing();
}

#[tokio::test]
async fn a_request_too_many_is_asked_to_come_again() {
    let mut fixture = start().await;
    let batch = test_support::request("shop", 3);
    let (http, grpc) = (fixture.http.clone(), fixture.grpc.clone());
    check(&mut fixture, &http, "/v1/traces", PROTOBUF.1, batch.clone()).await;
    let export = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    check(
        &mut fixture,
        &grpc,
        export,
        "application/grpc",
        framed(0, &batch),
    )
    .await;
}
