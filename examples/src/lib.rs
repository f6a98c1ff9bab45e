//! The calculator of the examples: an API in front, the four operations behind it, as one process or as
//! five. `bin/calculator.rs` runs one part; `bin/demo.rs` runs them all beside a collector. `calculator_v1` is
//! the gRPC service that `frameworks/tonic.rs` answers for.

pub mod api;
pub mod calculator_v1;
#[cfg(feature = "demo")]
pub mod demo;
pub mod error;
pub mod expression;
pub mod operation;
pub mod operations;
pub mod service;
