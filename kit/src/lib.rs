//! Drop-in observability for Rust services: structured logs, request ids, traces, metrics, health
//! endpoints and graceful drain.
//!
//! A new service is one call:
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use axum::{Router, routing::get};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), bellwether::Error> {
//! let app = Router::new().route("/hello/{name}", get(|| async { "hello" }));
//! bellwether::run("checkout", app).await
//! # }
//! ```
//!
//! An existing one keeps its `main` and gets three lines:
//!
#![cfg_attr(feature = "axum", doc = "```")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use axum::{Router, routing::get};
//! use bellwether::{Kit, check};
//!
//! async fn ping_db() -> Result<(), std::io::Error> {
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let kit = Kit::from_env("checkout")? // logs, traces, metrics and health from here on
//!     .check("db", check(ping_db).critical().timeout_ms(500))
//! #   .traces(false).grace(std::time::Duration::from_secs(1)).drain_delay(std::time::Duration::ZERO)
//!     .start()?;
//!
//! let app = Router::new().route("/hello/{name}", get(|| async { "hello" }));
//! let app = kit.wrap(app); // every request: ids, one log line, one span, metrics; and the probe routes
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # kit.shutdown();
//! kit.serve(listener, app).await?; // until SIGTERM; then drains and flushes
//! # Ok(())
//! # }
//! ```
//!
//! The [guide] has a page for each thing that a service gets; coming from tower-http, tracing-subscriber and
//! axum-prometheus, begin with [its migration](guide::migration).
//!
//! Everything is configured by the environment: the OpenTelemetry variables (`OTEL_SERVICE_NAME`,
//! `OTEL_EXPORTER_OTLP_ENDPOINT`, …), `PORT`, `RUST_LOG`, and a handful of `BELLWETHER_…`. With none set,
//! spans go to `http://localhost:4318`, and a service runs on when nobody listens there.
//!
//! Services that own their server take [`Kit::layer`],
#![cfg_attr(feature = "axum", doc = "[`Kit::routes`] (with an example),")]
#![cfg_attr(not(feature = "axum"), doc = "`Kit::routes` (of the `axum` feature),")]
//! [`Kit::shutdown_signal`] and [`Kit::finish`]; those that own their `tracing` subscriber take
//! [`KitBuilder::log_layer`]. Outgoing calls go through [`Kit::client_layer`]: [`ClientLayer`] has an example.
//!
//! # Tasks of a request
//!
//! Lines, spans and outgoing calls belong to a request while its handler and its response's body run. A task
//! that `tokio::spawn` starts is polled elsewhere and belongs to none: its lines have no `request_id`, its
//! calls start traces of their own. [`spawn`], [`spawn_blocking`] and [`in_request`] keep the request:
//!
//! ```
//! async fn handler() {
//!     bellwether::spawn(async {
//!         tracing::info!("mail sent"); // has the handler's request_id and trace_id
//!     });
//! }
//! ```
//!
//! # Features
//!
//! | feature | default | |
//! | --- | --- | --- |
//! | `axum` | yes | `Kit::wrap`, `Kit::serve`, `Kit::routes`, `run`, the admin address |
//! | `otlp-grpc` | yes | spans over gRPC, beside HTTP |
//! | `tls` | yes | `https://` endpoints for spans, and for checks by HTTP |
//! | `prometheus-protobuf` | no | native histograms of the application's own; takes a compiler of protobuf to build |
//! | `tonic` | no | `Kit::grpc_health`, and who calls tonic's own server |
//! | `reqwest` | no | `Kit::reqwest_middleware` |
#![doc = ""]
#![doc = include_str!("../docs/configuration.md")]
#![doc = ""]
#![doc = include_str!("../docs/log-control.md")]

mod config;
mod connector;
mod context;
mod digits;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(any(doc, doctest))]
pub mod guide;
mod health;
mod http;
mod kit;
mod log;
mod metrics;
mod redact;
#[cfg(feature = "axum")]
mod serve;
mod shutdown;
mod span;
mod task;
pub mod testing;
mod trace;

pub use config::{LogFormat, Source};
pub use context::CurrentRequest;
pub use error::Error;
#[cfg(feature = "tonic")]
pub use health::GrpcHealth;
pub use health::{Check, check, checks};
#[cfg(feature = "reqwest")]
pub use http::ReqwestMiddleware;
pub use http::{
    ClientBody, ClientFuture, ClientLayer, ClientService, HttpLayer, HttpService, PeerAddr,
    ResponseBody, ResponseFuture,
};
#[cfg(feature = "axum")]
pub use kit::run;
pub use kit::{Description, Kit, KitBuilder, Setting};
pub use metrics::{ClassicBucket, Distribution, Exposition, Measured};
/// The request that this thread works for: in its handler, in the body of its response, in what [`spawn`] and
/// [`in_request`] run, and within the `tracing` spans made there; `None` elsewhere. For request ids in a service's own
/// error bodies, or in rows that it writes.
///
/// ```
/// fn not_found(order: u64) -> String {
///     let request = bellwether::current();
///     let id = request.as_ref().map_or("-", |request| request.request_id());
///     format!("no order {order} (request {id})")
/// }
/// # assert_eq!(not_found(7), "no order 7 (request -)");
/// ```
#[must_use]
pub fn current() -> Option<CurrentRequest> {
    CurrentRequest::get()
}

/// The `prometheus-client` crate that [`Kit::registry`] is of.
pub use prometheus_client;
pub use shutdown::HookResult;
pub use task::{InRequest, in_request, in_request_with, spawn, spawn_blocking};
