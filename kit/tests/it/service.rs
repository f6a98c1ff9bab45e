//! The service under test, and its handle: started as a child process, its lines collected.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request};
use axum::routing::{get, post};
use bellwether::{Kit, check};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// Nothing here takes longer, however busy the machine.
const DEADLINE: Duration = Duration::from_secs(20);
const CHILD: &str = "TEST_SERVICE";

/// The child's `main`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the service that the other tests start"]
async fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let kit = Kit::from_env("orders")
        .unwrap()
        .check("db", check(|| async { Ok::<(), Infallible>(()) }).critical())
        .check("mail", check(|| async { Err::<(), _>("no route to host") }))
        .start()
        .unwrap();
    let app = Router::new()
        .route("/hello/{name}", get(hello))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/slow/{millis}", get(slow))
        .route("/stream/{chunks}", get(stream))
        .route("/panic", get(|| async { panic!("the inside") as &'static str }))
        .route("/hang", get(std::future::pending::<&'static str>))
        .route("/livez", get(|| async { "the service's own" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = kit.wrap(app);
    kit.serve(listener, app).await.unwrap();
}

async fn hello(Path(name): Path<String>, request: Request) -> String {
    tracing::info!(version = ?request.version(), "greeting");
    format!("hello {name}")
}

async fn slow(Path(millis): Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    "done"
}

/// So many chunks, 50 ms apart.
async fn stream(Path(chunks): Path<u32>) -> Body {
    Body::new(http_body_util::StreamBody::new(Chunks {
        left: chunks,
        pause: Box::pin(tokio::time::sleep(Duration::ZERO)),
    }))
}

struct Chunks {
    left: u32,
    pause: std::pin::Pin<Box<tokio::time::Sleep>>,
}

impl futures_core::Stream for Chunks {
    type Item = Result<http_body::Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::ready!(self.pause.as_mut().poll(cx));
        if self.left == 0 {
            return std::task::Poll::Ready(None);
        }
        self.left -= 1;
        self.pause = Box::pin(tokio::time::sleep(Duration::from_millis(50)));
        let chunk = http_body::Frame::data(Bytes::from_static(b"chunk\n"));
        std::task::Poll::Ready(Some(Ok(chunk)))
    }
}
