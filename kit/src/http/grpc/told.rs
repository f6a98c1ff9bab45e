//! How a settled call is told of, by the RPC semantic conventions (release candidate): asked by the server span,
//! the metrics and the closing line.

use std::sync::Arc;

use ::http::StatusCode;
use bytes::Bytes;

use super::{GrpcStatus, OTHER_METHOD, SYSTEM};
use crate::http::exchange::Exchange;
use crate::trace::{SharedText, SpanName, Value};

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
        exchange: &Exchange,
        path: &Bytes,
        mut put: impl FnMut(&'static str, Value),
    ) {
        let fixed = |text| Value::Text(SharedText::Static(text));
        put("rpc.system.name", fixed(SYSTEM));
        match &self.method {
            Some(method) => {
                let method = SharedText::Shared(Arc::clone(method));
                put("rpc.method", Value::Text(method));
            }
            None => {
                put("rpc.method", fixed(OTHER_METHOD));
                let slash = path.starts_with(b"/");
                let original = path.slice(usize::from(slash)..);
                put("rpc.method_original", Value::Bytes(original));
            }
        }
        put("rpc.response.status_code", fixed(self.status.as_str()));
        put("network.protocol.name", fixed("http"));
        // 200 is what every gRPC response has; anything else came from a proxy or a layer.
        if let Some(status) = exchange.status.filter(|status| *status != StatusCode::OK) {
            let status = i64::from(status.as_u16());
            put("http.response.status_code", Value::Int(status));
        }
    }
}
