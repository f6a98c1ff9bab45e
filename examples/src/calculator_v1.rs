//! `calculator.v1.Calculator`, the gRPC service of `frameworks/tonic.rs`: its messages, and what `build.rs`
//! generates of its methods.

#![allow(missing_docs, unused_qualifications, reason = "generated code")]

/// The numbers to add.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Operands {
    /// The first.
    #[prost(double, tag = "1")]
    pub left: f64,
    /// The second.
    #[prost(double, tag = "2")]
    pub right: f64,
}

/// What they make.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Sum {
    /// The value.
    #[prost(double, tag = "1")]
    pub value: f64,
}

include!(concat!(env!("OUT_DIR"), "/calculator.v1.Calculator.rs"));
