//! A service with every way a request can end: `bin/part.rs` runs it, the outcome and drain tests call it.

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use bellwether::Kit;
use bytes::Bytes;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio_stream::StreamExt;

/// Runs the service on a loopback port until it is told to stop.
pub fn main(port: &str) -> ExitCode {
    match run(port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cases: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(port: &str) -> Result<(), Box<dyn std::error::Error>> {
    let kit = Kit::from_env("cases")?.start()?;
    let app = Router::new()
        .route("/quick", get(async || "quick"))
        .route("/wait/{milliseconds}", get(wait))
        .route("/stream/{chunks}", get(stream_chunks))
        .route("/panic", get(panic))
        .route("/broken", get(broken));
    let app = kit.wrap(app);
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    kit.serve(listener, app).await?;
    Ok(())
}

async fn wait(axum::extract::Path(milliseconds): axum::extract::Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    "waited"
}

/// A chunk every 100 ms.
async fn stream_chunks(axum::extract::Path(chunks): axum::extract::Path<u32>) -> Response {
    let chunks = stream::iter(0..chunks)
        .throttle(Duration::from_millis(100))
        .map(|_| Ok::<_, Infallible>(Bytes::from_static(b"chunk\n")));
    Response::new(Body::from_stream(chunks))
}

async fn panic() -> &'static str {
    panic!("the handler's own fault")
}

/// A body that fails after its first chunk.
async fn broken() -> Response {
    let chunks = stream::iter([Ok(Bytes::from_static(b"half")), Err("the disk is gone")]);
    Response::new(Body::from_stream(chunks))
}
