//! One accept loop for every listener: HTTP/1.1 and HTTP/2 on one port, plain (then with prior knowledge) or in TLS,
//! bounded and drained. Called by `receive`, and by `pipeline` for the web address.

mod accept;
mod connection;
mod door;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::reload::Live;
use super::server_tls::Acceptors;
use crate::status::ReceiverStatus;
use door::Door;

/// What a listener is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Connections open at once; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// How long a new connection may take until it can be spoken over: for its first bytes, and to shake hands in TLS.
    pub handshake_timeout: Duration,
    /// How long a connection may stay without a request. For HTTP/1.1 the time for the next request's head is in it.
    pub idle_timeout: Duration,
    /// How old a connection may get, give or take a tenth by chance. Then its peer is told to make another (GOAWAY,
    /// `Connection: close`), so that senders spread over new replicas and show who they are again. `None`: any age.
    pub max_age: Option<Duration>,
    /// How long requests under way may take to finish beyond that age.
    pub max_age_grace: Duration,
    /// Bytes of a request that HTTP/2 reads ahead of the handler, and a quarter of those of a connection: they are counted
    /// only when the handler takes them.
    pub stream_window_bytes: u32,
    /// Requests of one HTTP/2 connection under way at once. Their heads are all made when they have come, before a handler
    /// can look at the first one: up to 50 KiB for one whose few bytes stand for many lines.
    pub max_streams: u32,
    /// How long requests under way may take to finish once the listener is shut down.
    pub drain: Duration,
    /// What to shake hands by; `None`: plaintext.
    pub tls: Option<Tls>,
    /// Where peers are counted that did not get as far as a request.
    pub status: Option<Arc<ReceiverStatus>>,
}

/// TLS of a listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// In force for new connections.
    pub acceptors: Live<Acceptors>,
    /// Whether clients have to show a certificate.
    pub is_mutual: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            max_age: None,
            max_age_grace: Duration::from_secs(30),
            stream_window_bytes: 1024 * 1024,
            // The least that RFC 9113 recommends (section 6.5.2).
            max_streams: 100,
            drain: Duration::from_secs(10),
            tls: None,
            status: None,
        }
    }
}

/// Of a request's head, HTTP/1.1 and HTTP/2 alike.
const MAX_HEADER_BYTES: usize = 16 * 1024;

type BoxError = Box<dyn Error + Send + Sync>;

/// Serves `handler`, which is told each request's peer, until `shutdown`. Then it stops accepting, tells peers to
/// go (GOAWAY, `Connection: close`) and lets requests under way finish. Returns how many connections the drain
/// deadline cut off.
pub async fn serve<H, F, B>(
    listener: TcpListener,
    handler: H,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> usize
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let door = Arc::new(Door::new(&config));
    let (max_connections, drain) = (config.max_connections, config.drain);
    let config = Arc::new(config);
    tokio::select! {
        biased;
        () = shutdown => {}
        () = accept::accept(&listener, &mut connections, max_connections, |stream, peer, known| {
            let (door, config) = (Arc::clone(&door), Arc::clone(&config));
            let (handler, stopped) = (handler.clone(), stopped.clone());
            async move { connection::serve(stream, peer, known, &door, handler, &config, stopped).await }
        }) => {}
    }
    drop(listener);
    stop.send_replace(true);
    let all_done = async {
        while let Some(done) = connections.join_next().await {
            tell_panic(done);
        }
    };
    if tokio::time::timeout(drain, all_done).await.is_ok() {
        return 0;
    }
    let cut = connections.len();
    connections.shutdown().await;
    tracing::warn!(
        connections = cut,
        "drain deadline passed: connections with requests under way were cut"
    );
    cut
}

fn tell_panic(done: Result<(), JoinError>) {
    if let Err(error) = done
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's handler panicked");
    }
}
