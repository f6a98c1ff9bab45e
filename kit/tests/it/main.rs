//! The public API over real sockets. Services run as child processes: a global `tracing` subscriber is
//! set once per process, and signals and exit codes are part of what is tested.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod client;
mod drain;
mod requests;
mod service;
mod startup;
mod telemetry;
