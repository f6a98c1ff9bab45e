//! Health: the lifecycle of a service, background dependency checks, and the endpoints probes read.

mod check;
#[cfg(feature = "axum")]
mod endpoints;
#[cfg(feature = "tonic")]
mod grpc;
mod lifecycle;
mod readiness;
mod report;
mod runner;

pub use check::{Check, check};
#[cfg(feature = "axum")]
pub(crate) use endpoints::{Audience, Probe, routes};
#[cfg(feature = "tonic")]
pub use grpc::GrpcHealth;
pub(crate) use lifecycle::{Lifecycle, State};
pub(crate) use readiness::Health;
pub(crate) use runner::Checks;
