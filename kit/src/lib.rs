//! Drop-in observability for Rust services: structured logs, request ids, traces, metrics, health
//! endpoints and graceful drain.

mod config;
mod context;
mod error;
pub mod health;
mod http;
mod kit;
mod log;
mod metrics;
#[cfg(feature = "axum")]
mod serve;
mod shutdown;
mod trace;

pub use error::Error;
