//! The one record of an outgoing call, and the guard that settles it exactly once.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ::http::header::HOST;
use ::http::{HeaderMap, Request, StatusCode, Uri};

use super::failure::Failure;
use super::rpc::{self, RpcCall};
use crate::context::{
    RequestContext, RequestId, SharedContext, SpanId, SpanIdentity, TraceId, TraceParent,
};
use crate::http::grpc::{self, GrpcStatus};
use crate::http::host::split_host_port;
use crate::http::method::KnownMethod;
use crate::http::status::status_text;
use crate::http::text::{MAX_TEXT, TextPacker, clip};
use crate::http::{Telemetry, server_timing};
use crate::metrics::{ClientLabels, Exemplar, RpcLabels};
use crate::trace::{
    Attribute, SharedText, SpanAttributes, SpanKind, SpanName, SpanQueue, SpanRecord, SpanStatus,
    Value,
};

/// What is known of a call.
#[derive(Debug)]
pub(super) struct Call {
    telemetry: Arc<Telemetry>,
    context: SharedContext,
    span_id: SpanId,
    parent: Option<SpanId>,
    start: Instant,
    started_at: SystemTime,
    method: KnownMethod,
    uri: Uri,
    /// Set when the call is gRPC.
    rpc: Option<RpcCall>,
    address: String,
    port: u16,
    status: Option<StatusCode>,
    gap: Option<Duration>,
    failure: Option<Failure>,
}

impl Call {
    pub(super) fn begin<B>(telemetry: &Arc<Telemetry>, request: &Request<B>) -> Box<Self> {
        let (start, started_at) = (Instant::now(), SystemTime::now());
        let (context, parent) = match SpanIdentity::nearest() {
            Some(nearest) => (nearest.context, Some(nearest.span_id)),
            None => (root(telemetry, started_at), None),
        };
        // A span that nobody will export must not stand between the caller's and the server's.
        let exported = telemetry.spans().is_some() && context.sampled();
        let span_id = match parent {
            Some(parent) if !exported => parent,
            _ => SpanId::random(),
        };
        let (address, port) = server(request);
        Box::new(Self {
            telemetry: Arc::clone(telemetry),
            context,
            span_id,
            parent,
            start,
            started_at,
            method: KnownMethod::of(request.method()),
            uri: request.uri().clone(),
            rpc: RpcCall::of(request),
            address,
            port,
            status: None,
            gap: None,
            failure: None,
        })
    }

    /// Writes the identity headers; a request id that the caller has set itself is left alone.
    pub(super) fn inject(&self, headers: &mut HeaderMap) {
        self.telemetry.inject(&self.context, self.span_id, headers);
    }

    fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        let elapsed = self.start.elapsed();
        self.status = Some(status);
        self.gap = server_timing::app_duration(headers).and_then(|app| elapsed.checked_sub(app));
        self.read_status(headers);
    }

    /// What headers or trailers say of how a gRPC call went.
    fn read_status(&mut self, headers: &HeaderMap) {
        if let Some(rpc) = &mut self.rpc {
            rpc.read(headers);
        }
    }

    /// Whether a drop now only leaves the rest of a body unread.
    fn is_answered(&self) -> bool {
        match &self.rpc {
            // Another HTTP status than 200 came from a proxy, and no `grpc-status` comes after it.
            Some(rpc) => {
                rpc.is_answered() || self.status.is_some_and(|status| status != StatusCode::OK)
            }
            None => self.status.is_some(),
        }
    }

    fn settle(self: Box<Self>) {
        let duration = self.start.elapsed();
        let failure = self.failure.as_ref();
        let status = self.rpc.as_ref();
        let status = status.map(|rpc| rpc.status(self.status, failure, duration));
        let error_type = match status {
            Some(status) => rpc::error_type(status, failure),
            None => self.error_type(),
        };
        let spans = self.exported_to();
        let exemplar = spans.map(|_| Exemplar {
            trace_id: self.context.trace_id,
            span_id: self.span_id,
        });
        self.measure(duration, status, error_type, exemplar);
        if let Some(spans) = spans {
            spans.push(self.span(duration, status, error_type));
        }
    }

    /// A gRPC call has a duration of its own kind; the network's gap is that of its HTTP request.
    fn measure(
        &self,
        duration: Duration,
        status: Option<GrpcStatus>,
        error_type: Option<&'static str>,
        exemplar: Option<Exemplar>,
    ) {
        let labels = ClientLabels {
            method: self.method.as_str(),
            server_address: &self.address,
            server_port: self.port,
            status: self.status.map(|status| status.as_u16()),
            error_type,
        };
        let Telemetry { client, rpc, .. } = &*self.telemetry;
        let Some(status) = status else {
            return client.settled(labels, duration, self.gap, exemplar);
        };
        let known = !self.address.is_empty();
        let labels_of_rpc = RpcLabels {
            system: grpc::SYSTEM,
            method: rpc::method(self.uri.path()),
            status: status.as_str(),
            error_type,
            server: known.then_some((&*self.address, self.port)),
        };
        rpc.called(labels_of_rpc, duration, exemplar);
        if let Some(gap) = self.gap {
            client.gap(labels, gap, exemplar);
        }
    }

    fn exported_to(&self) -> Option<&SpanQueue> {
        let sampled = self.context.sampled();
        self.telemetry.spans().filter(|_| sampled)
    }

    /// For a client, 4xx is a failed call too (HTTP semantic conventions, "Status").
    fn error_type(&self) -> Option<&'static str> {
        let failure = self.failure.as_ref().map(|failure| failure.kind);
        failure.or_else(|| {
            let failed = |status: &StatusCode| status.as_u16() >= 400;
            self.status.filter(failed).map(status_text)
        })
    }

    fn span(
        &self,
        duration: Duration,
        status: Option<GrpcStatus>,
        error_type: Option<&'static str>,
    ) -> SpanRecord {
        let told = self.rpc.as_ref().and_then(RpcCall::message);
        let text = told.or_else(|| self.failure.as_ref().map(|failure| failure.text.clone()));
        SpanRecord {
            context: Arc::clone(&self.context),
            span_id: self.span_id,
            parent: self.parent,
            parent_is_remote: false,
            link: None,
            kind: SpanKind::Client,
            name: self.span_name(),
            start: self.started_at,
            duration,
            attributes: SpanAttributes::Listed(self.attributes(status, error_type)),
            status: match error_type {
                Some(_) => SpanStatus::Error(text.unwrap_or_default()),
                None => SpanStatus::Unset,
            },
        }
    }

    fn span_name(&self) -> SpanName {
        match self.rpc {
            // Of the client's own code: no caller can invent it.
            Some(_) => SpanName::Owned(rpc::method(self.uri.path()).to_owned()),
            None => SpanName::Static(self.method.span_name()),
        }
    }

    fn attributes(
        &self,
        status: Option<GrpcStatus>,
        error_type: Option<&'static str>,
    ) -> Vec<Attribute> {
        let mut attributes = Vec::with_capacity(8);
        let mut texts = TextPacker::with_capacity(
            2 * self.address.len() + self.uri.path().len().min(MAX_TEXT) + 16,
        );
        let mut put = |key, value| attributes.push((key, value));
        let fixed = |text| Value::Text(SharedText::Static(text));

        match status {
            Some(status) => rpc::put_attributes(self.uri.path(), status, &mut texts, &mut put),
            None => put("http.request.method", fixed(self.method.as_str())),
        }
        if !self.address.is_empty() {
            put("server.address", Value::Bytes(texts.text(&self.address)));
            put("server.port", Value::Int(i64::from(self.port)));
        }
        if status.is_none() {
            put("url.full", Value::Bytes(texts.display(UrlFull(self))));
        }
        // 200 is what every gRPC response has; anything else came from a proxy.
        let usual = |http: &StatusCode| status.is_some() && *http == StatusCode::OK;
        if let Some(status) = self.status.filter(|http| !usual(http)) {
            let status = i64::from(status.as_u16());
            put("http.response.status_code", Value::Int(status));
        }
        if let Some(error_type) = error_type {
            put("error.type", fixed(error_type));
        }
        if let Some(gap) = self.gap {
            put("bellwether.network.gap", Value::Float(gap.as_secs_f64()));
        }
        attributes
    }
}

/// A call that has not settled yet, or that has. Dropped while open, it settles.
#[derive(Debug)]
pub(super) struct OpenCall(Option<Box<Call>>);

impl OpenCall {
    pub(super) fn new(call: Box<Call>) -> Self {
        Self(Some(call))
    }

    pub(super) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    pub(super) fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        if let Some(call) = &mut self.0 {
            call.head(status, headers);
        }
    }

    /// What the trailers say of how a gRPC call went.
    pub(super) fn read_status(&mut self, trailers: &HeaderMap) {
        if let Some(call) = &mut self.0 {
            call.read_status(trailers);
        }
    }

    /// The response is here to its last byte.
    pub(super) fn complete(&mut self) {
        if let Some(call) = self.0.take() {
            call.settle();
        }
    }

    /// No response came.
    pub(super) fn fail(&mut self, error: &(impl fmt::Display + 'static)) {
        self.settle_failed(Failure::of_client(error));
    }

    /// The response broke off.
    pub(super) fn body_failed(&mut self) {
        self.settle_failed(Failure::of_body());
    }

    /// No response came, or not all of it.
    pub(super) fn settle_failed(&mut self, failure: Failure) {
        if let Some(mut call) = self.0.take() {
            call.failure = Some(failure);
            call.settle();
        }
    }
}

impl Drop for OpenCall {
    /// Before the response head the call was given up (a time-out around it, say), which is a failure. After
    /// it, the caller had what it wanted of the body; a gRPC call is cancelled by it until its status is here.
    fn drop(&mut self) {
        if self.0.as_ref().is_some_and(|call| call.is_answered()) {
            self.complete();
        } else {
            self.settle_failed(Failure::cancelled());
        }
    }
}

/// A call outside of any request starts a trace.
fn root(telemetry: &Telemetry, at: SystemTime) -> SharedContext {
    let trace_id = TraceId::random();
    let (sampled, trace_state) = match telemetry.spans() {
        Some(_) => telemetry.sampler.sample(None, trace_id, None),
        None => (false, None),
    };
    Arc::new(RequestContext {
        request_id: RequestId::generate_at(at),
        trace_id,
        span_id: SpanId::random(),
        flags: TraceParent::RANDOM | u8::from(sampled),
        trace_state,
        baggage: None,
        recording: Default::default(),
    })
}

/// `server.address` and `server.port`, the scheme's port when none is given.
fn server<B>(request: &Request<B>) -> (String, u16) {
    let uri = request.uri();
    let authority = uri.authority().map(|authority| authority.as_str());
    let host = request.headers().get(HOST);
    let authority = authority.or_else(|| host.and_then(|host| host.to_str().ok()));
    let (host, port) = split_host_port(authority.unwrap_or_default());
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    (clip(host).to_owned(), port.unwrap_or(default))
}

/// `url.full` without credentials and query: both may hold secrets.
struct UrlFull<'a>(&'a Call);

impl fmt::Display for UrlFull<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Call {
            uri, address, port, ..
        } = self.0;
        let scheme = uri.scheme_str().unwrap_or("http");
        if address.contains(':') {
            write!(f, "{scheme}://[{address}]:{port}{}", uri.path())
        } else {
            write!(f, "{scheme}://{address}:{port}{}", uri.path())
        }
    }
}
