//! Health: the lifecycle of a service, background dependency checks, and the endpoints probes read.

mod check;
pub mod checks;
#[cfg(feature = "axum")]
mod endpoints;
mod lifecycle;
mod liveness;
mod readiness;
mod report;
mod runner;
mod watchdog;

pub use check::{Check, check};
#[cfg(feature = "axum")]
pub(crate) use endpoints::{Audience, Probe, routes};
pub(crate) use lifecycle::{Lifecycle, State};
pub(crate) use liveness::Liveness;
pub(crate) use readiness::Health;
pub(crate) use runner::Checks;
pub(crate) use watchdog::watch;
