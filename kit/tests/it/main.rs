//! The public API over real sockets. Services run as child processes: a global `tracing` subscriber is
//! set once per process, and signals and exit codes are part of what is tested.

mod client;
mod drain;
mod requests;
mod service;
mod startup;
mod telemetry;
