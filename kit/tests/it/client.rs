//! A small HTTP client: one connection, HTTP/1 or HTTP/2, that tells how it ended.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        let value = value.unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        value.to_str().unwrap()
    }

    pub(crate) fn closes(&self) -> bool {
        self.headers
            .get("connection")
            .is_some_and(|value| value == "close")
    }
}

/// One kept-alive connection.
pub(crate) struct Connection {
    sender: Sender,
    /// Ends when the connection does.
    pub(crate) closed: JoinHandle<Result<(), hyper::Error>>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    pub(crate) async fn http1(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap()).await
    }

    /// HTTP/1 over a stream of the caller's.
    pub(crate) async fn over(stream: TcpStream) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        Self {
            sender: Sender::Http1(sender),
            closed: tokio::spawn(connection),
        }
    }

    pub(crate) async fn http2(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        Self {
            sender: Sender::Http2(sender),
            closed: tokio::spawn(connection),
        }
    }

    /// The head of the answer, with its body still to come.
    pub(crate) async fn head(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, hyper::Error> {
        let (head, body) = self.head(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, hyper::Error> {
        self.send(request(path, &[])).await
    }
}

/// A GET with these headers.
pub(crate) fn request(path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let request = Request::get(path).header("host", "orders.test");
    headers
        .iter()
        .fold(request, |request, (name, value)| {
            request.header(*name, *value)
        })
        .body(Full::default())
        .unwrap()
}

/// One GET on a connection of its own.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    get_with(addr, path, &[]).await
}

/// As [`get`], with headers.
pub(crate) async fn get_with(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut connection = Connection::http1(addr).await;
    connection.send(request(path, headers)).await.unwrap()
}
