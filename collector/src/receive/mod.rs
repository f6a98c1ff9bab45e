//! The receivers: OTLP over gRPC and over HTTP, each a service that `net` serves. `pipeline` binds their
//! listeners and starts them.

pub mod otlp_grpc;
pub mod otlp_http;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use crate::budget::Budget;
use crate::intake::{Intake, Refused};
use crate::net::grpc::RETRY_AFTER;
use crate::net::rpc_status::{Code, RpcStatus};
use crate::status::{ReceiverStatus, add};

/// What a receiver works with; cheap to clone.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Where batches go.
    pub intake: Intake,
    /// The memory for bodies under way.
    pub budget: Budget,
    /// What this listener counts.
    pub status: Arc<ReceiverStatus>,
    /// `HOST:PORT` of the listener for the other OTLP protocol, told to who mixes them up; `None` when there is
    /// none.
    pub other: Option<Arc<str>>,
}

impl Receiver {
    async fn admit(&self, batch: Bytes) -> Result<(), RpcStatus> {
        match self.intake.admit(batch, &self.status).await {
            Ok(_spans) => Ok(()),
            Err(refused @ Refused::Malformed(_)) => {
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

    /// ` at HOST:PORT` of the other protocol's listener, as far as there is one.
    fn where_other(&self) -> String {
        match &self.other {
            Some(address) => format!(" at {address}"),
            None => ", which this collector does not listen for".to_owned(),
        }
    }
}
