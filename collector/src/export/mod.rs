//! The exporters: one worker each, reading the batch log at its own pace. `pipeline` starts and drains them.

mod json;
mod outcome;
mod peer;
mod retry;
mod split;
mod target;
mod worker;
#[cfg(test)]
mod worker_tests;
mod zipkin;
mod zipkin_origin;

pub use target::{Target, TargetError, TargetKind};
pub use worker::Worker;
