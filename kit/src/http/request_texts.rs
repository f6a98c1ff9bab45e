//! The texts of a request that outlive it: copied once, together, when its exchange begins.

use std::net::IpAddr;
use std::time::Duration;

use ::http::header::{HOST, USER_AGENT};
use ::http::{HeaderValue, Request};
use bytes::Bytes;

use super::host::split_host_port;
use super::method::KnownMethod;
use super::server_timing;
use super::text::{MAX_TEXT, TextPacker};
use crate::context::RequestContext;

/// What the log line, the span and the response's headers say in the request's own words, each at most
/// [`MAX_TEXT`] bytes.
#[derive(Debug)]
pub(super) struct RequestTexts {
    request_id: Bytes,
    path: Bytes,
    user_agent: Option<Bytes>,
    /// `None` for a request that has no span.
    pub(super) span: Option<SpanTexts>,
    packer: TextPacker,
}

/// What only a span says.
#[derive(Debug)]
pub(super) struct SpanTexts {
    /// The method as received, when it is not a known one.
    pub(super) method_original: Option<Bytes>,
    pub(super) server_address: Option<Bytes>,
    pub(super) server_port: Option<u16>,
    pub(super) client_address: Option<Bytes>,
}

impl RequestTexts {
    pub(super) fn copy<B>(
        request: &Request<B>,
        context: &RequestContext,
        client: Option<IpAddr>,
        for_span: bool,
    ) -> Self {
        let path = request.uri().path();
        let user_agent = request.headers().get(USER_AGENT);
        let user_agent = user_agent.map(HeaderValue::as_bytes);
        let request_id = context.request_id.as_bytes();
        let bytes = request_id.len()
            + path.len().min(MAX_TEXT)
            + user_agent.map_or(0, |agent| agent.len().min(MAX_TEXT))
            + server_timing::MAX_LEN
            + if for_span {
                SpanTexts::room(request)
            } else {
                0
            };
        let mut packer = TextPacker::with_capacity(bytes);
        Self {
            request_id: packer.bytes(request_id),
            path: packer.text(path),
            user_agent: user_agent.map(|agent| packer.bytes(agent)),
            span: for_span.then(|| SpanTexts::copy(request, client, &mut packer)),
            packer,
        }
    }

    pub(super) fn path(&self) -> &str {
        std::str::from_utf8(&self.path).unwrap_or_default()
    }

    pub(super) fn path_bytes(&self) -> &Bytes {
        &self.path
    }

    pub(super) fn user_agent(&self) -> Option<&str> {
        let agent = self.user_agent.as_deref();
        agent.and_then(|agent| std::str::from_utf8(agent).ok())
    }

    pub(super) fn user_agent_bytes(&self) -> Option<&Bytes> {
        self.user_agent.as_ref()
    }

    pub(super) fn request_id(&self) -> &Bytes {
        &self.request_id
    }

    pub(super) fn request_id_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(self.request_id.clone()).ok()
    }

    pub(super) fn server_timing_header(&mut self, elapsed: Duration) -> Option<HeaderValue> {
        let mut text = [0; server_timing::MAX_LEN];
        let text = server_timing::write(elapsed, &mut text);
        HeaderValue::from_maybe_shared(self.packer.bytes(text)).ok()
    }
}

impl SpanTexts {
    fn room<B>(request: &Request<B>) -> usize {
        const ADDRESS: usize = 48;
        ADDRESS + authority(request).map_or(0, |authority| authority.len().min(MAX_TEXT))
    }

    fn copy<B>(request: &Request<B>, client: Option<IpAddr>, packer: &mut TextPacker) -> Self {
        let unknown = KnownMethod::of(request.method()) == KnownMethod::Other;
        let (host, port) = authority(request).map(split_host_port).unwrap_or_default();
        Self {
            method_original: unknown.then(|| packer.text(request.method().as_str())),
            server_address: (!host.is_empty()).then(|| packer.text(host)),
            server_port: port,
            client_address: client.map(|client| packer.display(client)),
        }
    }
}

/// What the caller asked for: `:authority` or an absolute URI, else `Host`.
fn authority<B>(request: &Request<B>) -> Option<&str> {
    let authority = request.uri().authority();
    let authority = authority.map(::http::uri::Authority::as_str);
    let host = request.headers().get(HOST);
    authority.or_else(|| host.and_then(|host| host.to_str().ok()))
}
