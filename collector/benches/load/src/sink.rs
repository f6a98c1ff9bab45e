//! The backend: takes OTLP over gRPC and HTTP and Zipkin JSON on one port, counts what arrives and looks at how it
//! was encoded. One thread on a processor of its own. Started by `run`.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use libdeflater::Decompressor;
use memchr::memmem;

use crate::machine;

/// What arrived.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) spans: AtomicU64,
    pub(crate) requests: AtomicU64,
    /// As it came, compressed or not.
    pub(crate) bytes: AtomicU64,
    /// Requests that were compressed, by their own bytes and not by what their headers say.
    pub(crate) compressed: AtomicU64,
    /// Requests whose headers say other than their bytes, or that hold no spans.
    pub(crate) wrong: AtomicU64,
}

/// Serves on a thread of its own until the process ends; each answer waits `delay`.
pub(crate) fn start(cpu: usize, delay: Duration) -> (SocketAddr, Arc<Arrived>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the sink");
    listener
        .set_nonblocking(true)
        .expect("a listener that does not block");
    let address = listener.local_addr().expect("the sink's address");
    let arrived = Arc::new(Arrived::default());
    let counting = Arc::clone(&arrived);
    std::thread::spawn(move || {
        machine::pin(&[cpu]);
        machine::block_on(serve(listener, counting, delay));
    });
    (address, arrived)
}

async fn serve(listener: TcpListener, arrived: Arc<Arrived>, delay: Duration) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("the sink's listener");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let arrived = Arc::clone(&arrived);
        let service = service_fn(move |request| answer(request, Arc::clone(&arrived), delay));
        tokio::spawn(async move {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder
                .http2()
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20);
            // A subject that is ended breaks off.
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

async fn answer(
    request: Request<Incoming>,
    arrived: Arc<Arrived>,
    delay: Duration,
) -> Result<Answer, hyper::Error> {
    let (head, mut body) = request.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    let is_grpc = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    arrived.count(
        &head.headers,
        is_grpc,
        head.uri.path() == "/api/v2/spans",
        &bytes,
    );
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    Ok(if is_grpc {
        grpc_success()
    } else {
        Response::new(Empty::new().boxed())
    })
}

fn grpc_success() -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let message = Full::new(Bytes::from_static(&[0; 5]));
    let body = message.with_trailers(async { Some(Ok(trailers)) }).boxed();
    let mut response = Response::new(body);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    response
}

impl Arrived {
    /// Spans so far.
    pub(crate) fn spans(&self) -> u64 {
        self.spans.load(Ordering::Relaxed)
    }

    fn count(&self, headers: &HeaderMap, is_grpc: bool, is_zipkin: bool, bytes: &[u8]) {
        let (said, message) = if is_grpc {
            let Some((prefix, message)) = bytes.split_at_checked(5) else {
                self.wrong.fetch_add(1, Ordering::Relaxed);
                return;
            };
            (prefix[0] == 1, message)
        } else {
            (headers.contains_key(header::CONTENT_ENCODING), bytes)
        };
        let compressed = message.starts_with(&[0x1f, 0x8b]);
        let spans = if compressed {
            gunzip(message, |plain| spans_of(plain, is_zipkin))
        } else {
            spans_of(message, is_zipkin)
        };
        let add = |counter: &AtomicU64, value| counter.fetch_add(value, Ordering::Relaxed);
        add(&self.requests, 1);
        add(&self.bytes, bytes.len() as u64);
        add(&self.compressed, compressed.into());
        add(
            &self.wrong,
            (compressed != said || spans.is_none_or(|spans| spans == 0)).into(),
        );
        add(&self.spans, spans.unwrap_or_default());
    }
}

fn gunzip(message: &[u8], read: impl FnOnce(&[u8]) -> Option<u64>) -> Option<u64> {
    thread_local! {
        static WITH: RefCell<(Decompressor, Vec<u8>)> = RefCell::new((Decompressor::new(), Vec::new()));
    }
    let size = u32::from_le_bytes(*message.last_chunk()?) as usize;
    WITH.with_borrow_mut(|(decompressor, plain)| {
        plain.resize(size.min(64 << 20), 0);
        let length = decompressor.gzip_decompress(message, plain).ok()?;
        read(plain.get(..length)?)
    })
}

fn spans_of(message: &[u8], is_zipkin: bool) -> Option<u64> {
    if is_zipkin {
        return Some(memmem::find_iter(message, b"\"traceId\"").count() as u64);
    }
    let mut spans = 0;
    fields(message, 1, &mut |resource_spans| {
        fields(resource_spans, 2, &mut |scope_spans| {
            fields(scope_spans, 2, &mut |_| {
                spans += 1;
                Some(())
            })
        })
    })?;
    Some(spans)
}

/// Visits a message's fields of this number; `None` when it is not framed as these messages are.
fn fields<'a>(
    mut message: &'a [u8],
    wanted: u64,
    visit: &mut dyn FnMut(&'a [u8]) -> Option<()>,
) -> Option<()> {
    while !message.is_empty() {
        let (tag, rest) = varint(message)?;
        let (length, rest) = varint(rest)?;
        let (field, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        // Everything on the way to the spans is length-delimited.
        if tag & 7 != 2 {
            return None;
        }
        if tag >> 3 == wanted {
            visit(field)?;
        }
        message = rest;
    }
    Some(())
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}
