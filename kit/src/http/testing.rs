//! Test parts: telemetry that keeps what it is told, and services and bodies that follow a script.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ::http::{HeaderMap, HeaderName, Request, Response, Version};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use serde_json::Value as Json;
use tower_layer::Layer as _;
use tower_service::Service;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

use super::{
    BoxError, ClientLayer, HttpLayer, HttpService, Methods, PeerAddr, Propagation, Routes,
    Telemetry,
};
use crate::context::Trust;
use crate::health::Lifecycle;
use crate::log::{self, Captured, Format, Logger};
use crate::metrics::{ClientMetrics, RpcMetrics, ServerMetrics};
use crate::span;
use crate::trace::{
    ExportConfig, Sampler, SharedText, SpanAttributes, SpanQueue, SpanRecord, ValueRef,
};

/// Telemetry of one test, with this thread's events in its log.
pub(super) struct Bench {
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) spans: SpanQueue,
    log: Captured,
    _of_this_thread: (DefaultGuard, log::ToldHere),
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Telemetry)) -> Self {
        Self::made(Format::Json, change)
    }

    /// With lines of another format than `json`.
    pub(super) fn of(format: Format) -> Self {
        Self::made(format, |_| {})
    }

    fn made(format: Format, change: impl FnOnce(&mut Telemetry)) -> Self {
        let (logger, log) = Logger::capture(format, "test");
        let panics = log::tell_panics_here(&logger, false);
        let spans = SpanQueue::new(&ExportConfig::default());
        let subscriber = Registry::default().with(span::layer(&logger, Some(spans.clone())));
        let mut telemetry = Telemetry {
            logger,
            spans: Some(spans.clone()),
            sampler: Sampler::ParentBasedAlwaysOn,
            server: ServerMetrics::default(),
            client: ClientMetrics::default(),
            rpc: RpcMetrics::default(),
            methods: Methods::default(),
            lifecycle: Lifecycle::new(),
            trust: Trust::All,
            request_id_header: HeaderName::from_static("x-request-id"),
            propagation: Propagation::default(),
            request_timeout: None,
            concurrency_limit: None,
            routes: Routes::default(),
            allowed: None,
        };
        change(&mut telemetry);
        Self {
            telemetry: Arc::new(telemetry),
            spans,
            log,
            _of_this_thread: (tracing::subscriber::set_default(subscriber), panics),
        }
    }

    pub(super) fn layer(&self) -> HttpLayer {
        HttpLayer::new(Arc::clone(&self.telemetry))
    }

    pub(super) fn client_layer(&self) -> ClientLayer {
        ClientLayer::new(Arc::clone(&self.telemetry))
    }

    pub(super) fn service<F>(&self, handler: F) -> HttpService<Handler<F>> {
        self.layer().layer(Handler(handler))
    }

    /// Every line written so far.
    pub(super) fn lines(&self) -> Vec<Json> {
        self.log.json()
    }

    /// The closing lines written so far.
    pub(super) fn closing_lines(&self) -> Vec<Json> {
        let mut lines = self.lines();
        let named = |line: &Json, key| line[key] == "bellwether::request";
        lines.retain(|line| named(line, "target") || named(line, "log.logger"));
        lines
    }

    /// The one request so far, settled: its line, its span and its metrics exist once and agree.
    pub(super) fn settled(&self) -> (Json, SpanRecord) {
        let mut lines = self.closing_lines();
        let mut spans = self.spans.drain();
        assert_eq!((lines.len(), spans.len()), (1, 1), "{lines:?} {spans:?}");
        assert_eq!(self.active(), 0);
        assert_eq!(self.measured(), 1);
        let (line, span) = (lines.remove(0), spans.remove(0));
        assert_eq!(line["trace_id"], span.context.trace_id.to_string());
        assert_eq!(line["span_id"], span.span_id.to_string());
        let duration = line["http.server.request.duration"].as_f64().unwrap();
        assert!((duration - span.duration.as_secs_f64()).abs() < 1e-9);
        let outcome = text(&span.attributes, "bellwether.outcome");
        assert_eq!(line["outcome"], outcome.as_deref().unwrap_or("ok"));
        let status = line["http.response.status_code"].as_i64();
        assert_eq!(int(&span.attributes, "http.response.status_code"), status);
        (line, span)
    }

    /// Nothing has been told of any request, and none is in flight.
    pub(super) fn assert_silent(&self) {
        assert_eq!(self.closing_lines(), Vec::<Json>::new());
        assert!(self.spans.drain().is_empty());
        assert_eq!((self.active(), self.measured()), (0, 0));
    }

    pub(super) fn active(&self) -> i64 {
        self.telemetry.server.active_total()
    }

    /// Durations recorded on the server side.
    pub(super) fn measured(&self) -> u64 {
        self.telemetry.server.settled_total()
    }
}

/// What `read` makes of the value of an attribute, if there is one.
fn attribute<T>(
    attributes: &SpanAttributes,
    key: &str,
    read: impl Fn(ValueRef<'_>) -> T,
) -> Option<T> {
    let mut found = None;
    attributes.each(&mut |name, value| {
        if name == key {
            assert!(found.replace(read(value)).is_none(), "{key} twice");
        }
    });
    found
}

pub(super) fn text(attributes: &SpanAttributes, key: &str) -> Option<String> {
    attribute(attributes, key, |value| match value {
        ValueRef::Word(text) | ValueRef::Text(text) => text.to_owned(),
        ValueRef::Bytes(text) => String::from_utf8(text.to_vec()).unwrap(),
        ValueRef::Address(address) => address.to_string(),
        other => panic!("{key} is {other:?}"),
    })
}

pub(super) fn shared_text(text: &SharedText) -> String {
    match text {
        SharedText::Static(text) => (*text).to_owned(),
        SharedText::Shared(text) => text.as_ref().to_owned(),
        SharedText::Owned(text) => text.clone(),
    }
}

pub(super) fn int(attributes: &SpanAttributes, key: &str) -> Option<i64> {
    attribute(attributes, key, |value| match value {
        ValueRef::Int(value) => value,
        other => panic!("{key} is {other:?}"),
    })
}

pub(super) fn float(attributes: &SpanAttributes, key: &str) -> Option<f64> {
    attribute(attributes, key, |value| match value {
        ValueRef::Float(value) => value,
        other => panic!("{key} is {other:?}"),
    })
}

/// A service from a closure.
#[derive(Clone, Debug)]
pub(super) struct Handler<F>(pub(super) F);

impl<F, Fut, B, RB, E> Service<Request<B>> for Handler<F>
where
    F: FnMut(Request<B>) -> Fut,
    Fut: Future<Output = Result<Response<RB>, E>>,
{
    type Response = Response<RB>;
    type Error = E;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Fut {
        (self.0)(request)
    }
}

/// What a scripted body does when it is polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Pending,
    Data(&'static str),
    Trailers,
    /// Trailers with this `grpc-status`, and a message.
    Status(&'static str),
    Error,
    Panic,
}

/// A body that follows its steps, then ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    pub(super) steps: VecDeque<Step>,
    /// Whether `is_end_stream` tells when nothing but the end is left.
    pub(super) tells_end: bool,
    pub(super) exact_size: Option<u64>,
}

impl Script {
    pub(super) fn new(steps: &[Step]) -> Self {
        Self {
            steps: steps.iter().cloned().collect(),
            ..Self::default()
        }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(step) = self.steps.pop_front() else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(match step {
            Step::Pending => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Step::Data(text) => Ok(Frame::data(Bytes::from_static(text.as_bytes()))),
            Step::Trailers => Ok(Frame::trailers(HeaderMap::new())),
            Step::Status(status) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", status.parse().unwrap());
                trailers.insert("grpc-message", "told%20why".parse().unwrap());
                Ok(Frame::trailers(trailers))
            }
            Step::Error => Err("disk on fire".into()),
            Step::Panic => panic!("body blew up"),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.tells_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.exact_size
            .map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// A GET request from a loopback peer.
pub(super) fn get(path: &str) -> Request<()> {
    request("GET", path)
}

pub(super) fn request(method: &str, path: &str) -> Request<()> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .body(())
        .unwrap();
    let peer = PeerAddr(([127, 0, 0, 1], 4000).into());
    request.extensions_mut().insert(peer);
    request
}

/// A gRPC call of `path` from a loopback peer.
pub(super) fn grpc_call(path: &str) -> Request<()> {
    let mut request = request("POST", path);
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    request
}

/// One poll, with nobody to wake.
pub(super) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What a body gave.
type Polled<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

pub(super) fn poll_body<B: Body + Unpin>(body: &mut B) -> Polled<B> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// A handler that answers 200 with the body given.
pub(super) fn answers<B: Clone>(
    body: B,
) -> impl FnMut(Request<()>) -> std::future::Ready<Result<Response<B>, Infallible>> + Clone {
    move |_| std::future::ready(Ok(Response::new(body.clone())))
}
