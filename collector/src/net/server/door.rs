//! What a connection begins with: TLS where there is TLS, HTTP in one of its versions, and an answer to who came to the
//! wrong door. Called by `connection`.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Config, Tls};
use crate::net::body::{Answer, discard};
use crate::net::grpc;
use crate::net::rpc_status::RpcStatus;
use crate::net::seldom::Seldom;
use crate::net::server_tls::refusal;
use crate::status::{ReceiverStatus, add};

/// A listener's way in, shared by its connections.
pub(super) struct Door {
    tls: Option<Tls>,
    status: Option<Arc<ReceiverStatus>>,
    refused: Seldom,
}

/// A connection that can be spoken over.
pub(super) enum Opened {
    Plain(TcpStream, Version),
    Secure(Box<TlsStream<TcpStream>>, Version),
    /// It came in plaintext to a port of TLS, and is told so.
    WrongDoor(TcpStream, Version),
}

/// HTTP's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// What a peer's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Tls,
    Http(Version),
}

impl Door {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            tls: config.tls.clone(),
            status: config.status.clone(),
            refused: Seldom::default(),
        }
    }

    /// Whether a connection that is open is one of a peer that showed a certificate.
    pub(super) fn knows_peers(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_mutual)
    }

    /// Opens a new connection; `None` when it came to nothing, which is told.
    pub(super) async fn open(&self, stream: TcpStream, peer: SocketAddr) -> Option<Opened> {
        let Ok(Some(first)) = First::detect(&stream).await else {
            tracing::debug!("a peer connected and sent nothing");
            return None;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot turn off Nagle's algorithm");
        }
        match (first, &self.tls) {
            (First::Http(version), None) => Some(Opened::Plain(stream, version)),
            (First::Http(version), Some(_)) => {
                self.refuse(peer, "it came in plaintext, and this port takes TLS only");
                Some(Opened::WrongDoor(stream, version))
            }
            (First::Tls, None) => {
                self.refuse(peer, "it came in TLS, and this port is plaintext");
                answer_in_plaintext(stream).await;
                None
            }
            (First::Tls, Some(tls)) => match shake_hands(stream, tls).await {
                Ok(opened) => Some(opened),
                Err((error, stream)) => {
                    self.refuse(peer, &refusal(&error));
                    let_it_read(stream).await;
                    None
                }
            },
        }
    }

    /// Tells a peer that was too slow.
    pub(super) fn too_slow(&self, peer: SocketAddr, timeout: Duration) {
        if self.tls.is_some() {
            self.refuse(peer, &format!("it did not shake hands within {timeout:?}"));
        } else {
            tracing::debug!(%peer, "a peer connected and sent too little");
        }
    }

    fn refuse(&self, peer: SocketAddr, reason: &str) {
        let mut protocol = "web";
        if let Some(status) = &self.status {
            protocol = status.protocol;
            add(&status.failed_handshakes, 1);
            status.last_error.set(format!(
                "a connection from {} was refused: {reason}",
                peer.ip()
            ));
        }
        if let Some(connections) = self.refused.count() {
            tracing::warn!(protocol, %peer, reason, connections, "connections were refused, this one last");
        }
    }
}

/// The handshake; what went wrong with it otherwise, and what the peer may still have to read.
async fn shake_hands(stream: TcpStream, tls: &Tls) -> Result<Opened, (io::Error, TcpStream)> {
    let acceptors = tls.acceptors.now();
    let config = match &acceptors.mutual {
        Some(mutual) if tls.is_mutual => mutual,
        // Nobody is let in without a certificate because none can be asked for.
        None if tls.is_mutual => {
            return Err((io::Error::other("no client can be told here"), stream));
        }
        _ => &acceptors.server_only,
    };
    let accepting = TlsAcceptor::from(Arc::clone(config)).accept(stream);
    let stream = accepting.into_fallible().await?;
    let version = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Version::Http2,
        _ => Version::Http1,
    };
    Ok(Opened::Secure(Box::new(stream), version))
}

/// The answer to TLS on a plaintext port: no alert says that there is no TLS, but clients know HTTP's first word there and
/// say what is wrong.
async fn answer_in_plaintext(mut stream: TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.0 400 Bad Request\r\n\r\nthis port is plaintext: write http://\n";
    if stream.write_all(ANSWER).await.is_ok() {
        let_it_read(stream).await;
    }
}

/// Closes a connection behind the last word to its peer, which may be an alert that says why. In TLS 1.3 a client is done
/// before it is known, and sends; closing on what was not read would reset the connection before it has read why.
async fn let_it_read(mut stream: TcpStream) {
    const PATIENCE: Duration = Duration::from_secs(1);
    let read_out = async {
        stream.shutdown().await?;
        let mut unread = [0; 4096];
        while stream.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever is still sending then, or is gone already, reads nothing.
    let _ = tokio::time::timeout(PATIENCE, read_out).await;
}

/// The answer to plaintext on a port of TLS. Over gRPC the sender is told to come again, for it may be on its way to TLS, too.
pub(super) async fn wrong_door(request: Request<Incoming>) -> Response<Answer> {
    const TEXT: &str = "this port takes TLS only: write https://, or leave insecure out";
    const MOST_BYTES: usize = 64 * 1024;
    let (head, body) = request.into_parts();
    discard(pin!(body), MOST_BYTES).await;
    if grpc::is_grpc(&head.headers) {
        return grpc::failure(&RpcStatus::unavailable(TEXT, grpc::RETRY_AFTER));
    }
    let mut response = Response::new(Answer::data(format!("{TEXT}\n")));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

impl First {
    /// No HTTP/1 method starts like HTTP/2's connection preface (RFC 9113, section 3.4).
    const PREFACE: &'static [u8; 4] = b"PRI ";
    /// The type of a TLS record that has a handshake in it (RFC 8446, section 5.1), which begins no HTTP either.
    const HANDSHAKE: u8 = 22;

    /// Looks at a connection's first bytes without taking them; `None` when it was closed before any.
    async fn detect(stream: &TcpStream) -> io::Result<Option<Self>> {
        let mut first = [0; Self::PREFACE.len()];
        loop {
            let seen = stream.peek(&mut first).await?;
            let seen = first.get(..seen).unwrap_or_default();
            if seen.is_empty() {
                return Ok(None);
            }
            if seen.first() == Some(&Self::HANDSHAKE) {
                return Ok(Some(Self::Tls));
            }
            if seen == Self::PREFACE {
                return Ok(Some(Self::Http(Version::Http2)));
            }
            if !Self::PREFACE.starts_with(seen) {
                return Ok(Some(Self::Http(Version::Http1)));
            }
            // The socket stays readable with these few bytes, so only time can bring more.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
