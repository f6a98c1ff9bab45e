//! The exporters: one worker each, reading the batch log at its own pace. `pipeline` starts and drains them.

mod compress;
mod config;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod json;
mod outcome;
mod peer;
mod retry;
mod split;
mod target;
#[cfg(test)]
mod tls_tests;
#[cfg(test)]
mod told_tests;
mod worker;
#[cfg(test)]
mod worker_tests;
mod zipkin;
mod zipkin_origin;

pub use config::{Compression, Config, DEFAULT_TIMEOUT, Retry};
pub use target::{Target, TargetError, TargetKind};
pub use worker::Worker;
