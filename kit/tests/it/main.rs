//! The public API over real sockets. Services run as child processes: a global `tracing` subscriber is
//! set once per process, and signals and exit codes are part of what is tested.

#![cfg_attr(
    feature = "axum",
    expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")
)]

#[cfg(feature = "axum")]
mod cardinality;
#[cfg(feature = "axum")]
mod client;
#[cfg(feature = "axum")]
mod dialects;
#[cfg(feature = "axum")]
mod drain;
mod early_end;
#[cfg(feature = "axum")]
mod families;
#[cfg(feature = "axum")]
mod hooks;
#[cfg(feature = "axum")]
mod log_control;
#[cfg(feature = "axum")]
mod panics;
#[cfg(feature = "axum")]
mod probes;
#[cfg(feature = "axum")]
mod propagation;
#[cfg(feature = "axum")]
mod requests;
#[cfg(feature = "axum")]
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "axum")]
mod secrets;
#[cfg(feature = "axum")]
mod service;
#[cfg(feature = "axum")]
mod started;
mod startup;
#[cfg(feature = "axum")]
mod telemetry;
#[cfg(feature = "axum")]
mod websocket;
