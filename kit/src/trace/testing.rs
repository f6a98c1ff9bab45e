//! Test parts: a span record, and a collector that decodes what it is sent.

use std::fmt::Write as _;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message as _;
use tokio::net::TcpListener;

use super::record::{SharedText, SpanAttributes, SpanKind, SpanRecord, SpanStatus};
use crate::context::{RequestContext, RequestId, SharedContext, SpanId, TraceId};

/// The context of a sampled request.
pub(crate) fn context() -> SharedContext {
    Arc::new(RequestContext {
        request_id: RequestId::generate(),
        trace_id: TraceId::random(),
        span_id: SpanId::random(),
        flags: 0b11,
        trace_state: None,
        baggage: None,
        recording: Default::default(),
    })
}

/// A server span of a request of its own.
pub(crate) fn record(name: &'static str) -> SpanRecord {
    let context = context();
    SpanRecord {
        span_id: context.span_id,
        context,
        parent: None,
        parent_is_remote: false,
        link: None,
        kind: SpanKind::Server,
        name: SharedText::Static(name),
        start: SystemTime::now(),
        duration: Duration::from_millis(3),
        attributes: SpanAttributes::Listed(Vec::new()),
        status: SpanStatus::Unset,
    }
}

/// An OTLP receiver over HTTP/1 and HTTP/2 that keeps what it accepts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collector(Arc<Mutex<Received>>);

#[derive(Debug, Default)]
struct Received {
    batches: Vec<Vec<ResourceSpans>>,
    headers: Vec<HeaderMap>,
    status: Option<StatusCode>,
    body: Vec<u8>,
    hang: bool,
}

impl Collector {
    /// Listens on a free port of its own; the URL for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        self.serve(listener);
        url
    }

    pub(crate) fn serve(&self, listener: TcpListener) {
        let collector = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let collector = collector.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| collector.clone().answer(request));
                    // A client that hangs up is the client's business.
                    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    }

    /// What every further request is answered with.
    pub(crate) fn answer_with(&self, status: StatusCode, body: Vec<u8>) {
        self.with(|received| (received.status, received.body) = (Some(status), body));
    }

    /// Answers nothing more.
    pub(crate) fn hang(&self) {
        self.with(|received| received.hang = true);
    }

    pub(crate) fn batches(&self) -> Vec<usize> {
        self.with(|received| {
            let batches = received.batches.iter();
            batches.map(|batch| spans_of(batch).count()).collect()
        })
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.with(|received| {
            received
                .batches
                .iter()
                .flat_map(|batch| spans_of(batch))
                .cloned()
                .collect()
        })
    }

    pub(crate) fn first_resource(&self) -> ResourceSpans {
        self.with(|received| received.batches[0][0].clone())
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        self.with(|received| received.headers[0].clone())
    }

    pub(crate) fn requests(&self) -> usize {
        self.with(|received| received.headers.len())
    }

    async fn answer(self, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let grpc = parts.headers["content-type"] == "application/grpc";
        let (hang, status, answer) = self.with(|received| {
            received.headers.push(parts.headers.clone());
            let status = received.status.unwrap_or(StatusCode::OK);
            if status.is_success() && !received.hang {
                received.batches.push(decode(&parts.headers, &body, grpc));
            }
            (received.hang, status, received.body.clone())
        });
        if hang {
            std::future::pending::<()>().await;
        }
        let response = Response::builder().status(status);
        let response = if grpc && status.is_success() {
            // The status as an answer without a message has it, and a message all the same.
            response
                .header("content-type", "application/grpc")
                .header("grpc-status", "0")
                .body(Full::from(framed(&answer)))
        } else {
            response.body(Full::from(answer))
        };
        Ok(response.unwrap())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Received) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A gRPC message has a prefix: one byte that says whether it is packed, four of length.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

fn decode(headers: &HeaderMap, body: &[u8], grpc: bool) -> Vec<ResourceSpans> {
    let (packed, body) = if grpc {
        (body[0] == 1, &body[5..])
    } else {
        (headers.contains_key("content-encoding"), body)
    };
    let mut plain = Vec::new();
    if packed {
        let mut reader = flate2::read::GzDecoder::new(body);
        reader.read_to_end(&mut plain).unwrap();
    } else {
        plain.extend_from_slice(body);
    }
    if headers["content-type"] == "application/json" {
        return json_names(&plain);
    }
    let request = ExportTraceServiceRequest::decode(plain.as_slice());
    request.unwrap().resource_spans
}

/// Of JSON only the names are looked at.
fn json_names(body: &[u8]) -> Vec<ResourceSpans> {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap();
    let spans = json["resourceSpans"][0]["scopeSpans"][0]["spans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|span| Span {
            name: span["name"].as_str().unwrap().to_owned(),
            ..Span::default()
        })
        .collect();
    vec![ResourceSpans {
        scope_spans: vec![opentelemetry_proto::tonic::trace::v1::ScopeSpans {
            spans,
            ..Default::default()
        }],
        ..ResourceSpans::default()
    }]
}

fn spans_of(batch: &[ResourceSpans]) -> impl Iterator<Item = &Span> {
    batch
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
}

/// Keeps every event as text: level, message, fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    /// Those that contain `part`.
    pub(crate) fn with(&self, part: &str) -> Vec<String> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let with_part = |event: &&String| event.contains(part);
        events.iter().filter(with_part).cloned().collect()
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Events {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut text = event.metadata().level().to_string();
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                let _ = write!(text, " {field}={value:?}");
            },
        );
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(text);
    }
}

/// Waits until `condition` holds; fails the test after 10 s.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within 10 s: {what}");
}
