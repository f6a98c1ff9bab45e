//! An OTLP peer over HTTP that keeps the bodies of all requests as they came, by path: for what must arrive byte for
//! byte.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use bytes::Bytes;
use tokio::sync::oneshot;

/// The running peer; it stops when dropped.
#[derive(Debug)]
pub struct Bodies {
    /// For `--export`.
    pub url: String,
    received: Received,
    _stop: oneshot::Sender<()>,
}

/// What came to each path, one body behind the other.
type Received = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

impl Bodies {
    /// Starts one on a thread of its own.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let port = listener.local_addr().expect("a bound address").port();
        let received = Received::default();
        let (stop, stopped) = oneshot::channel();
        let state = Arc::clone(&received);
        std::thread::spawn(move || serve(listener, state, stopped));
        Self {
            url: format!("otlp+http://127.0.0.1:{port}"),
            received,
            _stop: stop,
        }
    }

    /// What came to `path` so far, one body behind the other: two serialized requests are one.
    pub fn at(&self, path: &str) -> Vec<u8> {
        let received = self.received.lock();
        let received = received.unwrap_or_else(PoisonError::into_inner);
        received.get(path).cloned().unwrap_or_default()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(listener: TcpListener, received: Received, stopped: oneshot::Receiver<()>) {
    listener
        .set_nonblocking(true)
        .expect("a non-blocking listener");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let app = Router::new().fallback(take).with_state(received);
    // Resolves with an error when the peer is dropped, which is the signal.
    let stopped = async { drop(stopped.await) };
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await
        .expect("a running peer");
}

async fn take(State(received): State<Received>, uri: Uri, body: Bytes) {
    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
    let at = received.entry(uri.path().to_owned()).or_default();
    at.extend_from_slice(&body);
}
