//! What a call is besides HTTP when it is gRPC: its status, and its span by the RPC semantic conventions
//! (release candidate).

use std::borrow::Cow;
use std::time::Duration;

use ::http::{HeaderMap, Request, StatusCode};

use super::failure::Failure;
use crate::http::grpc::{self, GrpcStatus, OTHER_METHOD, SYSTEM};
use crate::http::text::TextPacker;
use crate::trace::{SharedText, Value};

/// What is known of a gRPC call besides its HTTP request.
#[derive(Debug)]
pub(super) struct RpcCall {
    /// What the response's headers or trailers said.
    status: Option<GrpcStatus>,
    /// Why it failed, in the server's words.
    message: Option<String>,
    /// How long the caller is ready to wait.
    deadline: Option<Duration>,
}

impl RpcCall {
    /// `None` for what is not gRPC.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        grpc::is_call(request).then(|| Self {
            status: None,
            message: None,
            deadline: grpc::deadline(request.headers()),
        })
    }

    /// What headers of a response without a body, or trailers, say.
    pub(super) fn read(&mut self, headers: &HeaderMap) {
        self.status = GrpcStatus::of(headers).or(self.status);
        self.message = grpc::message(headers, self.status).or(self.message.take());
    }

    pub(super) fn message(&self) -> Option<Cow<'static, str>> {
        self.message.clone().map(Cow::Owned)
    }

    /// Whether the server has said how the call went.
    pub(super) fn is_answered(&self) -> bool {
        self.status.is_some()
    }

    /// `rpc.response.status_code`: the server's word, else what is clear without it.
    pub(super) fn status(
        &self,
        http: Option<StatusCode>,
        failure: Option<&Failure>,
        duration: Duration,
    ) -> GrpcStatus {
        self.status.unwrap_or_else(|| match failure {
            None => GrpcStatus::of_http(http),
            Some(_) if grpc::is_overdue(self.deadline, duration) => GrpcStatus::DeadlineExceeded,
            Some(failure) if failure.is_cancelled() => GrpcStatus::Cancelled,
            Some(_) => GrpcStatus::Unavailable,
        })
    }
}

/// `error.type`: for a client every status but OK is an error. One that the client made itself gives way to
/// what it was made of.
pub(super) fn error_type(status: GrpcStatus, failure: Option<&Failure>) -> Option<&'static str> {
    match (status, failure) {
        (GrpcStatus::Ok, _) => None,
        (GrpcStatus::Unavailable, Some(failure)) => Some(failure.kind),
        (status, _) => Some(status.as_str()),
    }
}

/// `rpc.method`.
pub(super) fn method(path: &str) -> &str {
    grpc::method_name(path).unwrap_or(OTHER_METHOD)
}

/// Puts what is of RPC in place of what is of HTTP.
pub(super) fn put_attributes(
    path: &str,
    status: GrpcStatus,
    texts: &mut TextPacker,
    mut put: impl FnMut(&'static str, Value),
) {
    let fixed = |text| Value::Text(SharedText::Static(text));
    put("rpc.system.name", fixed(SYSTEM));
    put("rpc.method", Value::Bytes(texts.text(method(path))));
    put("rpc.response.status_code", fixed(status.as_str()));
}
