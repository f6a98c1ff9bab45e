//! One request as it leaves, and what its answer means; sent beside others or alone. Made by `peer`.

use http::{HeaderMap, StatusCode};

use super::outcome::{Outcome, later, of_grpc, of_http, of_zipkin};
use super::target::TargetKind;
use super::words;
use crate::net::client::{Client, ClientError, Pieces, Reply};
use crate::net::rpc_status::{Code, RpcStatus};

/// A request that is ready to be sent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) client: Client,
    pub(super) kind: TargetKind,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Pieces,
    /// Bytes that it is made of, before they are compressed.
    pub(super) length: usize,
}

impl Request {
    /// Sends it: what became of it, and whether the peer may have read its encoding.
    pub(super) async fn send(self) -> (Outcome, bool) {
        match self.client.post(&self.path, &self.headers, self.body).await {
            Ok(mut reply) => {
                words::hide(&self.headers, &mut reply);
                match self.kind {
                    TargetKind::OtlpGrpc => (of_grpc(&reply), !is_unimplemented(&reply)),
                    TargetKind::OtlpHttp => (of_http(&reply), is_supported(&reply)),
                    TargetKind::Zipkin => (of_zipkin(&reply), is_supported(&reply)),
                }
            }
            Err(error @ ClientError::Request(_)) => {
                let reason = error.to_string();
                let by_content = false;
                (Outcome::Refused { reason, by_content }, true)
            }
            Err(error) => (later(error.to_string(), None), true),
        }
    }
}

/// Whether an HTTP server may have read a body as it is encoded.
fn is_supported(reply: &Reply) -> bool {
    reply.status != StatusCode::UNSUPPORTED_MEDIA_TYPE
}

/// What a gRPC server answers to an encoding that it cannot read, and to a method that it does not have.
fn is_unimplemented(reply: &Reply) -> bool {
    let told = RpcStatus::from_trailers(&reply.trailers)
        .or_else(|| RpcStatus::from_trailers(&reply.headers));
    told.is_some_and(|status| status.code == Code::Unimplemented)
}
