//! Health: the lifecycle of a service, background dependency checks, and the endpoints probes read.

mod check;
mod lifecycle;

pub use check::{Check, check};
pub(crate) use lifecycle::{Lifecycle, State};
