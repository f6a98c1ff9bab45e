//! The receivers: OTLP over gRPC and over HTTP, and Zipkin, each a service that `net` serves. `pipeline` binds their
//! listeners and starts them.

mod access;
pub mod cors;
mod format;
mod http;
pub mod otlp_grpc;
pub mod otlp_http;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod zipkin;

use std::sync::Arc;

use crate::budget::Budget;
use crate::intake::{Intake, Refused};
use crate::net::body::Held;
use crate::net::grpc::RETRY_AFTER;
use crate::net::rpc_status::{Code, RpcStatus};
use crate::signal::{Signal, Signals};
use crate::status::{ReceiverStatus, add};
pub use access::{Access, REQUEST_BYTES};
use format::Format;

/// What a receiver works with; cheap to clone.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Where batches go.
    pub intake: Intake,
    /// What is taken over OTLP: traces, which are viewed, and what an exporter takes.
    pub takes: Signals,
    /// The memory for bodies under way.
    pub budget: Budget,
    /// The memory for requests under way, without their bodies. Apart from those: a body that is as large as there is room
    /// must not wait for the room that its own request takes.
    pub requests: Budget,
    /// What this listener counts.
    pub status: Arc<ReceiverStatus>,
    /// What it asks of requests.
    pub access: Arc<Access>,
    /// Where all receivers listen, told to who mixes them up.
    pub others: Arc<Others>,
}

/// `HOST:PORT` of each receiver's listener; `None` where there is none.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// OTLP over gRPC.
    pub otlp_grpc: Option<String>,
    /// OTLP over HTTP.
    pub otlp_http: Option<String>,
    /// Zipkin.
    pub zipkin: Option<String>,
}

impl Receiver {
    /// Takes a batch whose memory is given back when it is in the log.
    async fn admit(&self, signal: Signal, format: Format, body: Held) -> Result<(), RpcStatus> {
        let batch = format
            .into_otlp(signal, body, &self.budget)
            .inspect_err(|status| self.count_refusal(status))?;
        let admitted = self.intake.admit(signal, batch.bytes, &self.status);
        match admitted.await {
            Ok(_items) => Ok(()),
            Err(refused @ Refused::Malformed { .. }) => {
                Err(RpcStatus::new(Code::InvalidArgument, refused.to_string()))
            }
            Err(refused @ Refused::TooLarge(_)) => {
                Err(RpcStatus::new(Code::ResourceExhausted, refused.to_string()))
            }
            Err(refused @ Refused::Full(_)) => {
                Err(RpcStatus::unavailable(refused.to_string(), RETRY_AFTER))
            }
        }
    }

    /// What a sender of `signal` is told when nobody would get it; `None` when it is taken.
    fn not_taken(&self, signal: Signal) -> Option<String> {
        let name = signal.name();
        (!self.takes.has(signal)).then(|| {
            format!(
                "no exporter of this collector takes {name}, so they would go nowhere; give it one that does \
                 (--export otlp+grpc://HOST:4317 or otlp+http://HOST:4318)"
            )
        })
    }

    /// Counts a batch that did not get as far as the intake, which counts all others.
    fn count_refusal(&self, status: &RpcStatus) {
        let counter = match status.code {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
                &self.status.refused_batches
            }
            _ => &self.status.rejected_batches,
        };
        add(counter, 1);
        self.status.last_error.set(status.message.as_ref());
    }

    /// ` at HOST:PORT` of another listener, as far as there is one.
    fn place(other: &Option<String>) -> String {
        match other {
            Some(address) => format!(" at {address}"),
            None => ", which this collector does not listen for".to_owned(),
        }
    }
}
