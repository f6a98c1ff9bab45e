//! How a settled call is told of, by the RPC semantic conventions (release candidate): asked by the server span,
//! the metrics and the closing line.

use std::sync::Arc;

use ::http::StatusCode;

use super::{GrpcStatus, OTHER_METHOD, SYSTEM};
use crate::trace::{SpanName, TakeAttribute, ValueRef};

/// A settled call.
#[derive(Debug)]
pub(in crate::http) struct Told {
    /// `None`: `_OTHER`.
    pub(in crate::http) method: Option<Arc<str>>,
    pub(in crate::http) status: GrpcStatus,
}

impl Told {
    /// `rpc.method`.
    pub(in crate::http) fn method(&self) -> &str {
        self.method.as_deref().unwrap_or(OTHER_METHOD)
    }

    /// `{rpc.method}`, else `{rpc.system.name}`.
    pub(in crate::http) fn span_name(&self) -> SpanName {
        match &self.method {
            Some(method) => SpanName::Shared(Arc::clone(method)),
            None => SpanName::Static(SYSTEM),
        }
    }

    /// Puts what is of RPC in place of what is of HTTP.
    pub(in crate::http) fn put_attributes(
        &self,
        path: &str,
        http: Option<StatusCode>,
        put: &mut TakeAttribute<'_>,
    ) {
        put("rpc.system.name", ValueRef::Word(SYSTEM));
        match &self.method {
            Some(method) => put("rpc.method", ValueRef::Text(method)),
            None => {
                put("rpc.method", ValueRef::Word(OTHER_METHOD));
                let original = path.strip_prefix('/').unwrap_or(path);
                put("rpc.method_original", ValueRef::Text(original));
            }
        }
        let status = self.status.as_str();
        put("rpc.response.status_code", ValueRef::Word(status));
        put("network.protocol.name", ValueRef::Word("http"));
        // 200 is what every gRPC response has; anything else came from a proxy or a layer.
        if let Some(status) = http.filter(|status| *status != StatusCode::OK) {
            let status = status.as_u16().into();
            put("http.response.status_code", ValueRef::Int(status));
        }
    }
}
