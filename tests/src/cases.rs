//! A service with every way a request can end: `bin/part.rs` runs it, the outcome and drain tests call it.

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use bellwether::{Kit, checks};
use bytes::Bytes;
use futures_util::stream;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{
    Histogram, NativeHistogramConfig, exponential_buckets,
};
use prometheus_client::registry::Unit;
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
    let mut kit = Kit::from_env("cases")?;
    if let Ok(address) = std::env::var(CHECKED) {
        kit = kit.check("peer", checks::tcp(address).critical());
    }
    let kit = kit.start()?;
    register(&kit);
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

/// The variable with an address that a critical check of the service asks for; without it, there is no check.
pub const CHECKED: &str = "CASES_CHECKED";

/// Values that a format may stumble over.
pub const ODD_LABELS: [&str; 6] = [
    "plain",
    "",
    "\"quoted\" and \\escaped\\",
    "two\nlines",
    "a # {not=\"an exemplar\"} 1 2",
    "größe \u{1f600} \u{2028}",
];

/// What `order_value` has measured, in euros.
pub const ORDER_VALUES: [f64; 3] = [0.5, 9.75, 10_000.0];

/// The application's own metrics.
fn register(kit: &Kit) {
    let orders = Family::<Vec<(&str, &str)>, Counter>::default();
    for (kind, count) in ODD_LABELS.into_iter().zip(1..) {
        orders.get_or_create(&vec![("kind", kind)]).inc_by(count);
    }
    let bounds = exponential_buckets(1.0, 10.0, 4);
    let values = Histogram::new_classic_and_native(bounds, NativeHistogramConfig::default());
    for value in ORDER_VALUES {
        values.observe(value);
    }
    let mut registry = kit.registry();
    registry.register("orders", "Orders taken \\ by \"kind\"", orders);
    let euros = Unit::Other("euros".to_owned());
    registry.register_with_unit("order_value", "What orders are worth", euros, values);
    registry.register(
        "not_seen_yet",
        "A family without a series",
        Family::<Vec<(&str, &str)>, Counter>::default(),
    );
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
