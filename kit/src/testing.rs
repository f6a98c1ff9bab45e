//! Captures what a service tells, for its own tests: log lines, spans and metrics of a kit that writes nothing
//! out, sends nothing anywhere, and reads nothing of the environment. For services' tests, and this crate's.
//!
#![cfg_attr(feature = "axum", doc = "```")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use axum::{Router, body::Body, routing::get};
//! use bellwether::testing;
//! use http::Request;
//! use http_body_util::BodyExt;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let told = testing::capture("orders");
//! let app = Router::new().route("/orders/{id}", get(|| async { "shipped" }));
//! let app = told.kit().wrap(app);
//!
//! let request = Request::get("/orders/7").body(Body::empty()).unwrap();
//! let response = app.oneshot(request).await.unwrap();
//! response.into_body().collect().await.unwrap(); // the request ends where its response's body does
//!
//! let line = told.log("request").expect("a closing line");
//! assert_eq!(line["http.route"], "/orders/{id}");
//! let span = told.span("GET /orders/{id}").expect("a server span");
//! assert_eq!(span.trace_id, line["trace_id"]);
//! let requests = "http_server_request_duration_seconds_count";
//! assert_eq!(told.metric(requests, &[("http_route", "/orders/{id}")]), Some(1.0));
//! # }
//! ```
//!
//! [`capture`] takes the events and spans of the calling thread, so tests run side by side; `#[tokio::test]` runs
//! all of a test on it. What runs on other threads joins by [`Captured::dispatch`]:
//!
//! ```
//! use tracing::instrument::WithSubscriber;
//!
//! # #[tokio::main]
//! # async fn main() {
//! let told = bellwether::testing::capture("orders");
//! let job = async { tracing::info!("packed") }.with_subscriber(told.dispatch());
//! tokio::spawn(job).await.unwrap();
//! assert!(told.log("packed").is_some());
//! # }
//! ```

mod metrics;
mod spans;

use std::sync::{Mutex, PoisonError};

use ::http::HeaderValue;
use serde_json::Value;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

pub use metrics::Sample;
pub use spans::CapturedSpan;

use crate::kit::{Kit, KitBuilder};
use crate::log;
pub use crate::trace::SpanKind;
use crate::trace::SpanQueue;

/// A kit with its defaults that keeps what it is told; every trace that starts here is sampled.
///
/// # Panics
///
/// When the operating system refuses a thread.
#[must_use = "what is told is captured only while this lives"]
pub fn capture(service: &str) -> Captured {
    capture_with(service, |builder| builder)
}

/// As [`capture`], with the builder's settings: checks, trust, time-outs.
///
/// # Panics
///
/// When the kit does not start: settings that cannot be, or no thread from the operating system.
#[must_use = "what is told is captured only while this lives"]
pub fn capture_with(service: &str, set: impl FnOnce(KitBuilder) -> KitBuilder) -> Captured {
    set(KitBuilder::without_env(service))
        .start_captured()
        .unwrap_or_else(|error| panic!("the kit of this test does not start: {error}"))
}

/// What makes events, spans and panics of a thread those of a capture.
type OfThisThread = (DefaultGuard, log::ToldHere);

/// What a kit was told so far.
#[derive(Debug)]
pub struct Captured {
    kit: Kit,
    log: log::Captured,
    queue: SpanQueue,
    spans: Mutex<Vec<CapturedSpan>>,
    dispatch: Dispatch,
    _of_this_thread: OfThisThread,
}

impl Captured {
    pub(crate) fn new(
        kit: Kit,
        log: log::Captured,
        queue: SpanQueue,
        dispatch: Dispatch,
        of_this_thread: OfThisThread,
    ) -> Self {
        Self {
            kit,
            log,
            queue,
            spans: Mutex::default(),
            dispatch,
            _of_this_thread: of_this_thread,
        }
    }

    /// The kit, to take layers and routes from.
    #[must_use]
    pub fn kit(&self) -> &Kit {
        &self.kit
    }

    /// The subscriber, for what runs on other threads.
    #[must_use]
    pub fn dispatch(&self) -> Dispatch {
        self.dispatch.clone()
    }

    /// Every log line so far, oldest first: flat objects, as the format `json` has them.
    ///
    /// # Panics
    ///
    /// When the builder was told another format than JSON.
    #[must_use]
    pub fn logs(&self) -> Vec<Value> {
        self.log.json()
    }

    /// The first line with this `message`.
    ///
    /// # Panics
    ///
    /// As [`logs`](Self::logs).
    #[must_use]
    pub fn log(&self, message: &str) -> Option<Value> {
        self.logs()
            .into_iter()
            .find(|line| line["message"] == message)
    }

    /// Every span that has ended so far, in the order of their ends. At most 65,536 are kept between two
    /// calls; those beyond are dropped and counted as in production.
    #[must_use]
    pub fn spans(&self) -> Vec<CapturedSpan> {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.queue.drain();
        spans.extend(ended.iter().map(CapturedSpan::of));
        spans.clone()
    }

    /// The first span of this name.
    #[must_use]
    pub fn span(&self, name: &str) -> Option<CapturedSpan> {
        self.spans().into_iter().find(|span| span.name == name)
    }

    /// Every sample that a scrape would see now, but for `_created` times: `http_server_active_requests`,
    /// `http_server_request_duration_seconds_bucket` and so on.
    #[must_use]
    pub fn metrics(&self) -> Vec<Sample> {
        let accept = HeaderValue::from_static("text/plain");
        let (_, text) = self.kit.render_metrics(Some(&accept));
        metrics::parse(&String::from_utf8_lossy(&text))
    }

    /// The sum of the samples of this name that have these labels among theirs; `None` when there are none.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let samples = self.metrics();
        let mut found = samples
            .iter()
            .filter(|sample| sample.is(name, labels))
            .peekable();
        found.peek()?;
        Some(found.map(|sample| sample.value).sum())
    }
}

#[cfg(test)]
mod tests;
