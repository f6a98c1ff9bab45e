//! The exporters: one worker each, reading the batch log at its own pace. `pipeline` starts and drains them.

mod compress;
mod config;
mod doubt;
#[cfg(test)]
pub(crate) mod fault_peers;
#[cfg(test)]
mod fault_tests;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod headers;
mod outcome;
mod peer;
mod request;
mod retry;
mod sampling;
mod search;
#[cfg(test)]
mod several_tests;
#[cfg(test)]
mod signal_tests;
mod size;
mod split;
mod target;
mod telling;
#[cfg(test)]
mod tls_tests;
#[cfg(test)]
mod told_tests;
mod window;
mod words;
mod worker;
#[cfg(test)]
mod worker_tests;

pub use config::{
    Compression, Config, DEFAULT_RELOAD_INTERVAL, DEFAULT_REQUESTS_IN_FLIGHT, DEFAULT_TIMEOUT,
    Retry,
};
pub use headers::{Headers, value as header_value};
pub use sampling::{DEFAULT_DECISION_WAIT, Ratio, Sampling, Tail};
pub use target::{Target, TargetError, TargetKind};
pub use worker::Worker;
