//! The least that a request can cost: ids, one JSON line, counters and a span's record, by hand, for this one
//! service. No product: one route, no errors, no bounds, no settings.

use std::cell::RefCell;
use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

/// What the floor needs to be kept alive.
pub(crate) struct Kept(
    #[expect(dead_code, reason = "dropped, the channel would refuse spans")] Receiver<Span>,
);

pub(crate) fn floor(app: Router) -> (Router, Kept) {
    let (spans, kept) = sync_channel(1_000_000);
    (app.layer(FloorLayer { spans }), Kept(kept))
}

struct Span {
    _trace_id: u128,
    _span_id: u64,
    _duration: Duration,
    _status: u16,
}

#[derive(Clone)]
struct FloorLayer {
    spans: SyncSender<Span>,
}

impl<S> Layer<S> for FloorLayer {
    type Service = Floor<S>;

    fn layer(&self, inner: S) -> Floor<S> {
        Floor {
            inner,
            spans: self.spans.clone(),
        }
    }
}

#[derive(Clone)]
struct Floor<S> {
    inner: S,
    spans: SyncSender<Span>,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Floor<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Settling<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let agent = request.headers().get(http::header::USER_AGENT).cloned();
        let path = request.uri().path().to_owned();
        IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
        Settling {
            start: Instant::now(),
            ids: (rand::random(), rand::random(), rand::random()),
            route,
            agent,
            path,
            spans: self.spans.clone(),
            future: self.inner.call(request),
        }
    }
}

pin_project! {
    struct Settling<F> {
        start: Instant,
        ids: (u128, u128, u64),
        route: Option<MatchedPath>,
        agent: Option<HeaderValue>,
        path: String,
        spans: SyncSender<Span>,
        #[pin]
        future: F,
    }
}

impl<F: Future<Output = Result<Response<Body>, E>>, E> Future for Settling<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.future.poll(cx))?;
        let duration = this.start.elapsed();
        let (request_id, trace_id, span_id) = *this.ids;
        let status = response.status().as_u16();
        let mut hex = [0; 32];
        let request_id = HeaderValue::from_bytes(write_hex(&mut hex, request_id));
        LINE.with_borrow_mut(|line| {
            line.clear();
            let agent = this.agent.as_ref().map(HeaderValue::as_bytes);
            let mut micros = itoa::Buffer::new();
            let mut code = itoa::Buffer::new();
            for part in [
                br#"{"level":"INFO","message":"request","service.name":"checkout","request_id":""#,
                &hex[..],
                br#"","trace_id":""#,
                write_hex(&mut [0; 32], trace_id),
                br#"","span_id":""#,
                write_hex(&mut [0; 16], span_id.into()),
                br#"","http.request.method":"GET","http.route":""#,
                this.route
                    .as_ref()
                    .map_or("", MatchedPath::as_str)
                    .as_bytes(),
                br#"","url.path":""#,
                this.path.as_bytes(),
                br#"","http.response.status_code":"#,
                code.format(status).as_bytes(),
                br#","duration_us":"#,
                micros.format(duration.as_micros() as u64).as_bytes(),
                br#","user_agent.original":""#,
                agent.unwrap_or_default(),
                b"\"}\n",
            ] {
                line.extend_from_slice(part);
            }
            // To a pipe that is read.
            let _ = std::io::stdout().lock().write_all(line);
        });
        let bucket = BOUNDS.partition_point(|bound| *bound < duration);
        if let Some(count) = BUCKETS.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        NANOS.fetch_add(duration.as_nanos() as u64, Ordering::Relaxed);
        IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
        if let Ok(id) = request_id {
            let name = HeaderName::from_static("x-request-id");
            response.headers_mut().insert(name, id);
        }
        // Full: the span is lost.
        let _ = this.spans.try_send(Span {
            _trace_id: trace_id,
            _span_id: span_id,
            _duration: duration,
            _status: status,
        });
        Poll::Ready(Ok(response))
    }
}

/// The lowest digits of `value` that fit.
fn write_hex<const N: usize>(digits: &mut [u8; N], mut value: u128) -> &[u8] {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[value as usize & 15];
        value >>= 4;
    }
    digits
}

static BOUNDS: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(50),
    Duration::from_millis(500),
    Duration::from_secs(5),
];
static BUCKETS: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];
static NANOS: AtomicU64 = AtomicU64::new(0);
static IN_FLIGHT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
