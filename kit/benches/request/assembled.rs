//! What a user assembles today in place of the kit: the layers as their READMEs show them, and the
//! fastest assembly known that still makes a line, metrics and a span of each request.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum_prometheus::PrometheusMetricLayer;
use axum_tracing_opentelemetry::middleware::{OtelAxumLayer, OtelInResponseLayer};
use http::HeaderValue;
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_instrumentation_tower::http::server::Layer as OtelTower;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter,
};
use tower::ServiceBuilder;
use tower_http::ServiceBuilderExt as _;
use tower_http::request_id::{MakeRequestId, RequestId};
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer};
use tracing::{Instrument as _, Level, Subscriber};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};
use uuid::Uuid;

/// tower-http's request id and trace, tracing-subscriber's JSON, axum-prometheus, axum-tracing-opentelemetry:
/// each with its defaults.
pub(crate) fn usual(app: Router) -> Router {
    let provider = provider();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("checkout"));
    tracing_subscriber::registry()
        .with(EnvFilter::new("info,otel::tracing=trace"))
        .with(fmt::layer().json())
        .with(spans)
        .init();
    global::set_tracer_provider(provider);
    let (metrics, _handle) = PrometheusMetricLayer::pair();
    app.layer(OtelInResponseLayer)
        .layer(OtelAxumLayer::default())
        .layer(
            ServiceBuilder::new()
                .set_x_request_id(MakeUuid)
                .layer(
                    TraceLayer::new_for_http()
                        .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
                        .on_response(DefaultOnResponse::new().level(Level::INFO)),
                )
                .propagate_x_request_id(),
        )
        .layer(metrics)
}

/// json-subscriber without its list of spans, one span of known fields, no bridge from `tracing` to
/// OpenTelemetry: a handler's own spans are not exported.
pub(crate) fn best(app: Router) -> Router {
    json_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info"))
        .with_span_list(false)
        .init();
    global::set_tracer_provider(provider());
    let (metrics, _handle) = PrometheusMetricLayer::pair();
    app.layer(from_fn(logged))
        .layer(OtelTower::new())
        .layer(ServiceBuilder::new().set_x_request_id(MakeUuid))
        .layer(metrics)
}

/// Only the writer of lines: for the cases of events.
pub(crate) fn json_lines() {
    tracing_subscriber::registry()
        .with(EnvFilter::new("info"))
        .with(fmt::layer().json())
        .init();
}

/// As [`json_lines`], by json-subscriber.
pub(crate) fn json_subscriber_lines() {
    json_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info"))
        .init();
}

/// No more than what spans and their layers are built on.
pub(crate) fn registry_alone() {
    tracing_subscriber::registry().with(Nothing).init();
}

struct Nothing;

impl<S: Subscriber> tracing_subscriber::Layer<S> for Nothing {}

/// One span and one line a request.
async fn logged(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>();
    let id = id.and_then(|id| id.header_value().to_str().ok().map(str::to_owned));
    let span = tracing::info_span!(
        "request",
        method = request.method().as_str(),
        path = request.uri().path(),
        request_id = id.as_deref().unwrap_or_default(),
    );
    async {
        let mut response = next.run(request).await;
        tracing::info!(status = response.status().as_u16(), "request");
        if let Some(id) = id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
            response.headers_mut().insert("x-request-id", id);
        }
        response
    }
    .instrument(span)
    .await
}

/// Samples everything; batches as large as the kit's cases have them, thrown away where they would be sent.
fn provider() -> SdkTracerProvider {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(1_000_000)
        .with_max_export_batch_size(1_000_000)
        .with_scheduled_delay(Duration::from_secs(3_600))
        .build();
    let processor = BatchSpanProcessor::builder(Nowhere)
        .with_batch_config(batches)
        .build();
    SdkTracerProvider::builder()
        .with_span_processor(processor)
        .build()
}

#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _spans: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct MakeUuid;

impl MakeRequestId for MakeUuid {
    fn make_request_id<B>(&mut self, _: &http::Request<B>) -> Option<RequestId> {
        let id = Uuid::new_v4().to_string();
        Some(RequestId::new(HeaderValue::from_str(&id).ok()?))
    }
}
