//! An OTLP peer that keeps every span it is sent, decoded by the reference types: the whole truth that the
//! collector's answers are compared with.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::sync::oneshot;

/// A span with the service it came from.
#[derive(Clone, Debug)]
pub struct SinkSpan {
    /// `service.name`.
    pub service: String,
    /// As received.
    pub span: Span,
}

impl SinkSpan {
    /// End − start, nanoseconds.
    pub fn duration(&self) -> u64 {
        self.span.end_time_unix_nano - self.span.start_time_unix_nano
    }

    /// A floating-point attribute.
    pub fn float(&self, key: &str) -> Option<f64> {
        let value = self
            .span
            .attributes
            .iter()
            .find(|attribute| attribute.key == key)?;
        match value.value.as_ref()?.value.as_ref()? {
            any_value::Value::DoubleValue(number) => Some(*number),
            _ => None,
        }
    }
}

/// The running peer; it stops when dropped.
#[derive(Debug)]
pub struct Sink {
    /// For `--export`.
    pub url: String,
    spans: Arc<Mutex<Vec<SinkSpan>>>,
    _stop: oneshot::Sender<()>,
}

impl Sink {
    /// Starts one on a thread of its own.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let port = listener.local_addr().expect("a bound address").port();
        let spans = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let state = spans.clone();
        std::thread::spawn(move || serve(listener, state, stopped));
        Self {
            url: format!("otlp+http://127.0.0.1:{port}"),
            spans,
            _stop: stop,
        }
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<SinkSpan> {
        self.spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

type Spans = Arc<Mutex<Vec<SinkSpan>>>;

#[tokio::main(flavor = "current_thread")]
async fn serve(listener: std::net::TcpListener, spans: Spans, stopped: oneshot::Receiver<()>) {
    listener
        .set_nonblocking(true)
        .expect("a non-blocking listener");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let app = Router::new()
        .route("/v1/traces", post(take))
        .with_state(spans);
    // Resolves with an error when the sink is dropped, which is the signal.
    let stopped = async { drop(stopped.await) };
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await
        .expect("a running sink");
}

async fn take(State(spans): State<Spans>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("well-formed OTLP");
    let mut kept = spans.lock().unwrap_or_else(PoisonError::into_inner);
    for resource_spans in request.resource_spans {
        let resource = resource_spans.resource.unwrap_or_default();
        let service = resource.attributes.iter().find(|a| a.key == "service.name");
        let service = service.and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
        let Some(any_value::Value::StringValue(service)) = service else {
            panic!("a resource without service.name: {resource:?}")
        };
        let spans = resource_spans
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        kept.extend(spans.map(|span| SinkSpan {
            service: service.clone(),
            span,
        }));
    }
}
