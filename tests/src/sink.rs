//! An OTLP peer that keeps every span it is sent, decoded by the reference types: the whole truth that the
//! collector's answers are compared with.

use std::sync::atomic::{AtomicU64, Ordering};
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

#[derive(Debug)]
struct Received {
    count: AtomicU64,
    /// `None`: they are only counted.
    kept: Option<Mutex<Vec<SinkSpan>>>,
}

/// The running peer; it stops when dropped.
#[derive(Debug)]
pub struct Sink {
    /// For `--export`.
    pub url: String,
    received: Arc<Received>,
    _stop: oneshot::Sender<()>,
}

impl Sink {
    /// Starts one on a thread of its own.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start() -> Self {
        Self::start_with(Some(Mutex::default()))
    }

    /// Starts one that only counts.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn counting() -> Self {
        Self::start_with(None)
    }

    fn start_with(kept: Option<Mutex<Vec<SinkSpan>>>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let port = listener.local_addr().expect("a bound address").port();
        let received = Arc::new(Received {
            count: AtomicU64::new(0),
            kept,
        });
        let (stop, stopped) = oneshot::channel();
        let state = Arc::clone(&received);
        std::thread::spawn(move || serve(listener, state, stopped));
        Self {
            url: format!("otlp+http://127.0.0.1:{port}"),
            received,
            _stop: stop,
        }
    }

    /// Every span so far; none when they are only counted.
    pub fn spans(&self) -> Vec<SinkSpan> {
        let kept = self.received.kept.as_ref();
        kept.map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .unwrap_or_default()
    }

    /// How many spans so far.
    pub fn count(&self) -> u64 {
        self.received.count.load(Ordering::Relaxed)
    }

    /// The endpoint for a service that sends here itself.
    ///
    /// # Panics
    /// Never: the URL is of its own making.
    pub fn endpoint(&self) -> &str {
        self.url.strip_prefix("otlp+").expect("an OTLP URL")
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(
    listener: std::net::TcpListener,
    received: Arc<Received>,
    stopped: oneshot::Receiver<()>,
) {
    listener
        .set_nonblocking(true)
        .expect("a non-blocking listener");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let app = Router::new()
        .route("/v1/traces", post(take))
        .with_state(received);
    // Resolves with an error when the sink is dropped, which is the signal.
    let stopped = async { drop(stopped.await) };
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await
        .expect("a running sink");
}

async fn take(State(received): State<Arc<Received>>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("well-formed OTLP");
    let scopes = request.resource_spans.iter().flat_map(|of| &of.scope_spans);
    let count: usize = scopes.map(|scope| scope.spans.len()).sum();
    received.count.fetch_add(count as u64, Ordering::Relaxed);
    let Some(kept) = &received.kept else {
        return;
    };
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
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
