//! What the views promise, held against what is worked out apart from them, from all that happened: requests' bytes in,
//! answers of the API out. Results: `docs/views.md`.
//!
//! In short; at length by `BELLWETHER_FULL=1 cargo test --release -p bellwether-collector --test it proofs -- --nocapture`.

mod accuracy;
mod cohorts;
mod critical_path;
mod edges;
mod happened;
mod names;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bellwether_collector::status::now_unix_nano;
use bellwether_collector::views::{Config, Views, rfc3339};
use bellwether_collector::web::{self, Web};
use bellwether_collector::wire::walk;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AttributeValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use rand::rngs::SmallRng;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tower::ServiceExt as _;

pub(super) type Random = SmallRng;

const SECOND: u64 = 1_000_000_000;
/// The worst relative error of a percentile.
const BOUND: f64 = 0.011;

/// Whether the long forms were asked for.
fn is_full() -> bool {
    std::env::var("BELLWETHER_FULL").as_deref() == Ok("1")
}

/// Of a property's cases so many in short, sixteen times as many at length.
fn cases(short: u32) -> proptest::test_runner::Config {
    let cases = if is_full() { 16 * short } else { short };
    proptest::test_runner::Config::with_cases(cases)
}

/// Views and what asks them, as the collector has them; time is what the test says.
struct Subject {
    views: Arc<Views>,
    router: Router,
    runtime: Runtime,
    _close: watch::Sender<bool>,
}

impl Subject {
    fn new() -> Self {
        let views = Arc::new(Views::new(Config {
            retention: Duration::from_secs(3_600),
            trace_bytes: 64 << 20,
            view_bytes: 64 << 20,
        }));
        let (close, closing) = watch::channel(false);
        let router = web::router(Web::new(Arc::clone(&views), Arc::default(), closing));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        Self {
            views,
            router,
            runtime: runtime.unwrap(),
            _close: close,
        }
    }

    /// Takes a request that comes at a time, as intake does.
    fn take(&self, request: &[u8], arrived_unix_nano: u64) {
        let mut spans = Vec::new();
        walk(request, |span| spans.push(span)).unwrap();
        self.views.count(&spans, arrived_unix_nano);
    }

    /// The answer to a question of the API, which must be a good one.
    fn ask(&self, path: &str) -> Value {
        let text = self.text(path);
        serde_json::from_str(&text).unwrap()
    }

    /// A page, or an answer as it is.
    fn text(&self, path: &str) -> String {
        let request = http::Request::get(path).header("host", "localhost");
        let request = request.body(Body::empty()).unwrap();
        let answer = async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let status = response.status();
            let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await;
            let text = String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            assert_eq!(status, 200, "{path}: {text}");
            text
        };
        self.runtime.block_on(answer)
    }
}

/// A minute's beginning, so many minutes before now.
fn minutes_ago(minutes: u64) -> u64 {
    (now_unix_nano() / (60 * SECOND) - minutes) * 60 * SECOND
}

/// A question's parameters: from and to, Unix nanoseconds.
fn between(from: u64, to: u64) -> String {
    format!("from={}&to={}", rfc3339::format(from), rfc3339::format(to))
}

/// The ends of the window that an answer tells, Unix nanoseconds.
fn window(answer: &Value) -> (u64, u64) {
    let end = |name: &str| rfc3339::parse(answer["window"][name].as_str().unwrap()).unwrap();
    (end("from"), end("to"))
}

/// The bytes of a request with spans of some services, each group with its service's name.
fn request(groups: impl IntoIterator<Item = (String, Vec<Span>)>) -> Vec<u8> {
    let groups = groups.into_iter().map(|(service, spans)| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![text("service.name", &service)],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    });
    let resource_spans = groups.collect();
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = AttributeValue::StringValue(value.to_owned());
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// The value of nearest rank: of all that are not below `permille` of them the least.
fn exact(sorted: &[u64], permille: usize) -> Option<u64> {
    let rank = (sorted.len() * permille).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied()
}

/// Holds a percentile in seconds against nanoseconds in order.
fn check_near(told: &Value, sorted: &[u64], permille: usize, of: &dyn std::fmt::Debug) {
    let (Some(told), Some(exact)) = (told.as_f64(), exact(sorted, permille)) else {
        assert!(told.is_null() && sorted.is_empty(), "{told} of {of:?}");
        return;
    };
    let (told, exact) = (told * 1e9, exact as f64);
    assert!(
        (told - exact).abs() <= exact * BOUND + 1e-3,
        "{told} ns, exactly {exact} ns, {permille} permille of {of:?}"
    );
}
