//! Health: the lifecycle of a service, background dependency checks, and the endpoints probes read.

mod check;
pub mod checks;
#[cfg(feature = "axum")]
mod endpoints;
#[cfg(feature = "tonic")]
mod grpc;
mod lifecycle;
mod liveness;
mod readiness;
mod report;
mod runner;
mod watchdog;

pub use check::{Check, check};
#[cfg(feature = "axum")]
pub(crate) use endpoints::{Audience, Probe, routes};
#[cfg(feature = "tonic")]
pub use grpc::GrpcHealth;
pub(crate) use lifecycle::{Lifecycle, State};
pub(crate) use liveness::Liveness;
pub(crate) use readiness::Health;
pub(crate) use runner::Checks;
pub(crate) use watchdog::watch;
