//! The Bellwether collector: takes OpenTelemetry spans, sends them on, and shows the latency between
//! services.
//!
//! The modules in reading order follow one batch: it comes in over [`net`] to [`receive`], [`intake`]
//! walks it in place ([`wire`]), appends it to the [`log`] and counts it into the [`views`]; [`export`]
//! sends it on; [`web`] shows the views. [`pipeline`] is the only file that names every stage.

pub mod budget;
pub mod config;
pub mod export;
pub mod intake;
pub mod log;
pub mod metrics;
pub mod net;
pub mod pipeline;
pub mod receive;
pub mod status;
pub mod views;
pub mod web;
pub mod wire;
