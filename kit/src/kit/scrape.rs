//! `/metrics`: mounted by `server` beside a service's routes, or by `admin`.

use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::chunks::Chunks;
use crate::http::NotTraffic;
use crate::metrics::{Metrics, accepts_gzip};

/// Below this many bytes a packet holds the body as it is.
const GZIP_FROM: usize = 1024;

/// A body and what it is.
struct Exposition {
    content_type: &'static str,
    gzipped: bool,
    body: Vec<u8>,
}

/// Answers in the format and the encoding that the scraper prefers; HEAD too.
///
/// Rendering a large registry takes long, so a thread of its own does it: on a worker it would hold up the
/// requests there. One at a time, whoever asks how often: memory and time are those of one exposition.
pub(super) fn handler(metrics: Metrics) -> MethodRouter {
    let turn = Arc::new(Semaphore::new(1));
    get(move |headers: HeaderMap| answer(metrics.clone(), Arc::clone(&turn), headers))
}

async fn answer(metrics: Metrics, turn: Arc<Semaphore>, headers: HeaderMap) -> Response {
    let turn = turn.acquire_owned().await;
    let rendered = spawn_blocking(move || {
        // Held to the end of the work, also when the scraper does not wait for it.
        let _turn = turn;
        render(&metrics, &headers)
    });
    let mut response = match rendered.await {
        Ok(exposition) => exposition.into_response(),
        Err(error) => {
            // A panic in an application's own collector, or the end of the runtime.
            tracing::error!(target: "bellwether::metrics", %error, "the metrics cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    response.extensions_mut().insert(NotTraffic);
    response
}

fn render(metrics: &Metrics, headers: &HeaderMap) -> Exposition {
    let (content_type, body) = metrics.render(headers.get(ACCEPT));
    let compressed = (body.len() >= GZIP_FROM && accepts_gzip(headers.get(ACCEPT_ENCODING)))
        .then(|| gzip(&body))
        .flatten();
    Exposition {
        content_type,
        gzipped: compressed.is_some(),
        body: compressed.unwrap_or(body),
    }
}

/// Fast: a scraper is near, and text this repetitive shrinks to a tenth at any level.
fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let out = Vec::with_capacity(body.len() / 8);
    let mut encoder = GzEncoder::new(out, Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::new(Chunks::new(self.body)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        if self.gzipped {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::io::Read;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::time::Duration;

    use flate2::read::GzDecoder;
    use http::{Method, Request};
    use http_body_util::BodyExt;
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::DescriptorEncoder;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::registry::Registry;
    use tower::ServiceExt;

    use super::*;
    use crate::log::LineCounts;
    use crate::trace::{ExportConfig, SpanQueue};

    fn metrics() -> Metrics {
        let queue = SpanQueue::new(&ExportConfig::default());
        let line_counts = LineCounts::default;
        Metrics::new(&[], queue.counters().clone(), line_counts)
    }

    async fn scraped(
        handler: MethodRouter,
        method: Method,
        accepted: &[(&'static str, &'static str)],
    ) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        for (name, value) in accepted {
            let value = HeaderValue::from_static(value);
            request.headers_mut().append(*name, value);
        }
        let response = handler.oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        assert!(head.extensions.get::<NotTraffic>().is_some());
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, body.into())
    }

    #[tokio::test]
    async fn a_long_answer_is_compressed_for_who_accepts_that() {
        let handler = handler(metrics());
        let (_, headers, plain) = scraped(handler.clone(), Method::GET, &[]).await;
        assert!(!headers.contains_key(CONTENT_ENCODING));
        assert_eq!(headers[VARY], "accept, accept-encoding");
        assert!(plain.len() >= GZIP_FROM, "{}", plain.len());
        let gzip = ("accept-encoding", "deflate, gzip;q=0.9");
        let (status, headers, body) = scraped(handler, Method::GET, &[gzip]).await;
        assert_eq!(
            (status, &headers[CONTENT_ENCODING]),
            (StatusCode::OK, &HeaderValue::from_static("gzip"))
        );
        assert!(body.len() < plain.len() / 2);
        let mut unpacked = Vec::new();
        GzDecoder::new(body.as_slice())
            .read_to_end(&mut unpacked)
            .unwrap();
        let families = |body: Vec<u8>| {
            let text = String::from_utf8(body).unwrap();
            text.lines().filter(|line| line.starts_with('#')).count()
        };
        assert_eq!(families(unpacked), families(plain));
    }

    #[tokio::test]
    async fn head_tells_what_get_would() {
        let handler = handler(metrics());
        let protobuf = "application/vnd.google.protobuf;\
                        proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let accept = [("accept", protobuf)];
        let (_, of_get, body) = scraped(handler.clone(), Method::GET, &accept).await;
        assert!(!body.is_empty());
        let (status, of_head, body) = scraped(handler, Method::HEAD, &accept).await;
        assert_eq!((status, body.len()), (StatusCode::OK, 0));
        assert_eq!(of_head[CONTENT_TYPE], of_get[CONTENT_TYPE]);
    }

    /// An application's collector that waits to be let go, or panics.
    #[derive(Debug)]
    enum Odd {
        Waits(Mutex<Receiver<()>>),
        Panics,
    }

    impl Collector for Odd {
        fn encode(&self, _: DescriptorEncoder<'_>) -> fmt::Result {
            match self {
                Self::Waits(let_go) => {
                    let let_go = let_go.lock().unwrap();
                    let_go
                        .recv_timeout(Duration::from_secs(20))
                        .map_err(|_| fmt::Error)
                }
                Self::Panics => panic!("a collector's own fault"),
            }
        }
    }

    #[tokio::test]
    async fn a_long_scrape_leaves_the_only_worker_to_the_requests() {
        let metrics = metrics();
        let (let_go, wait) = sync_channel(1);
        let collector = Odd::Waits(Mutex::new(wait));
        metrics.registry().register_collector(Box::new(collector));
        let shown_unless_the_collector_fails = Counter::<u64>::default();
        metrics
            .registry()
            .register("orders", "Orders", shown_unless_the_collector_fails);
        let scrape = tokio::spawn(scraped(handler(metrics), Method::GET, &[]));
        // This task shares the one thread of the runtime with the scrape's.
        while !scrape.is_finished() {
            tokio::task::yield_now().await;
            // Fails when there is word already, or nobody left to read it.
            let _ = let_go.try_send(());
        }
        let (status, _, body) = scrape.await.unwrap();
        assert_eq!(status, StatusCode::OK);
        assert!(String::from_utf8(body).unwrap().contains("orders_total 0"));
    }

    #[tokio::test]
    async fn a_collector_that_panics_spoils_its_scrape_alone() {
        let metrics = metrics();
        let handler = handler(metrics.clone());
        metrics.registry().register_collector(Box::new(Odd::Panics));
        for _ in 0..2 {
            let (status, ..) = scraped(handler.clone(), Method::GET, &[]).await;
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        }
        *metrics.registry() = Registry::default();
        let (status, ..) = scraped(handler, Method::GET, &[]).await;
        assert_eq!(status, StatusCode::OK);
    }
}
