//! The outgoing side: POSTs to one peer over kept connections, plain (then with prior knowledge) or in TLS. Over HTTP/2
//! those under way at once are streams of one connection, over HTTP/1.1 each has one of its own. Called by `export`.

mod error;
mod pieces;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use error::ClientError;
use error::plaintext_hint;
pub use pieces::Pieces;

use super::body::with_causes;
use super::client_tls::ClientTls;
use super::corked::Corked;

/// How long each step of making a connection may take, the resolution of its name included, unless the request has
/// less time.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A name may have several addresses, of which some do not answer: so long after one of them the next is tried beside it
/// (RFC 8305, section 5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Addresses of a name that are tried.
const MOST_ADDRESSES: usize = 16;

/// Answers are read up to here: they carry a status, not data.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Which protocol a peer is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, as gRPC uses it.
    Http2,
}

/// Where a peer is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// `None`: plaintext.
    pub tls: Option<ClientTls>,
    /// How long a request may take, from its first byte sent to its answer's last one read.
    pub timeout: Duration,
}

/// A peer and the connections to it, made when they are needed and again whenever they broke; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    /// Over HTTP/1.1 those that are idle; as many as there ever were requests at once, at most.
    kept: Mutex<Vec<Connection>>,
    tls: Mutex<LiveTls>,
}

/// What the files of TLS last said that could be used.
#[derive(Debug, Default)]
struct LiveTls {
    last_good: Option<Arc<ClientConfig>>,
    told: bool,
}

/// A peer's whole answer.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, cut at 64 KiB.
    pub body: Bytes,
    /// Its trailers; empty without any.
    pub trailers: HeaderMap,
}

#[derive(Debug)]
struct Connection {
    sender: Sender,
    driver: Arc<Driver>,
}

/// What moves a connection's bytes, for as long as somebody has it.
#[derive(Debug)]
struct Driver {
    task: JoinHandle<()>,
    /// A request was sent over it.
    used: AtomicBool,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Pieces>),
    Http2(http2::SendRequest<Pieces>),
}

impl Client {
    /// A client of `endpoint`; nothing is connected yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self(Arc::new(Shared {
            endpoint,
            kept: Mutex::default(),
            tls: Mutex::default(),
        }))
    }

    /// Keeps no connection any longer, so that the next request shows the certificate that there is then. Requests under way
    /// are not disturbed.
    pub fn disconnect(&self) {
        self.0.kept().clear();
    }

    /// Posts `body` to `path` and reads the answer, within [`CONNECT_TIMEOUT`] and the endpoint's own. A kept connection
    /// that the peer has closed meanwhile is made anew once, without a word.
    ///
    /// # Errors
    /// [`ClientError`]; the connection is given up then.
    pub async fn post(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: Pieces,
    ) -> Result<Reply, ClientError> {
        let request = self.0.request(path, headers, body.clone())?;
        let (reply, kept) = self.0.attempt(request).await;
        match reply {
            Err(ClientError::Broken { .. }) if kept => {
                // What closed one has closed the others, too.
                self.disconnect();
                let request = self.0.request(path, headers, body)?;
                self.0.attempt(request).await.0
            }
            reply => reply,
        }
    }
}

impl Shared {
    /// One attempt, and whether it went over a connection that earlier requests had used.
    async fn attempt(&self, request: Request<Pieces>) -> (Result<Reply, ClientError>, bool) {
        let mut connection = match self.connected().await {
            Ok(connection) => connection,
            Err(error) => return (Err(error), false),
        };
        let kept = connection.driver.used.swap(true, Ordering::Relaxed);
        let exchange = async {
            let response = connection.send(request).await?;
            read(response).await
        };
        let timeout = self.endpoint.timeout;
        let reply = match tokio::time::timeout(timeout, exchange).await {
            Ok(Ok((reply, whole))) => {
                // The rest of an answer that was cut would be read as the next one.
                if whole {
                    self.keep(connection);
                } else {
                    self.give_up(&connection);
                }
                return (Ok(reply), kept);
            }
            Ok(Err(error)) => self.broken(&error, kept),
            Err(_) => self.timed_out(timeout),
        };
        self.give_up(&connection);
        (Err(reply), kept)
    }

    async fn connected(&self) -> Result<Connection, ClientError> {
        match self.take() {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        }
    }

    /// A kept connection that is open.
    fn take(&self) -> Option<Connection> {
        let mut kept = self.kept();
        kept.retain(Connection::is_open);
        match kept.last().and_then(Connection::another) {
            None => kept.pop(),
            shared => shared,
        }
    }

    /// For the next requests, unless they have this one or as good a one already.
    fn keep(&self, connection: Connection) {
        let mut kept = self.kept();
        if kept.is_empty() || !connection.is_shared() {
            kept.push(connection);
        }
    }

    /// Requests under way may still go on over it, but no others.
    fn give_up(&self, connection: &Connection) {
        self.kept()
            .retain(|kept| !Arc::ptr_eq(&kept.driver, &connection.driver));
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Connection, ClientError> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let connecting = async {
            let addresses: Vec<_> = lookup_host((host.as_str(), *port)).await?.collect();
            connect_any(addresses).await
        };
        let connected = tokio::time::timeout(self.connect_timeout(), connecting).await;
        let stream = connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| ClientError::Connect {
                peer: self.peer(),
                error,
            })?;
        let tls = self.tls_now().await?;
        let handshakes = async {
            match tls {
                None => self.speak(stream).await,
                Some(tls) => self.speak(self.secure(stream, tls).await?).await,
            }
        };
        match tokio::time::timeout(self.connect_timeout(), handshakes).await {
            Ok(connection) => connection,
            Err(_) => Err(self.timed_out(self.connect_timeout())),
        }
    }

    /// TLS with the files as they are now, or as they were when they could last be used; `None` for plaintext.
    async fn tls_now(&self) -> Result<Option<Arc<ClientConfig>>, ClientError> {
        let Some(tls) = self.endpoint.tls.clone() else {
            return Ok(None);
        };
        let protocol = self.endpoint.protocol;
        let loaded = tokio::task::spawn_blocking(move || tls.load(protocol)).await;
        let mut live = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        let error = match loaded {
            Ok(Ok(tls)) => {
                live.told = false;
                live.last_good = Some(Arc::clone(&tls));
                return Ok(Some(tls));
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let Some(last_good) = live.last_good.clone() else {
            return Err(self.tls_failed(error, ""));
        };
        if !std::mem::replace(&mut live.told, true) {
            tracing::warn!(
                peer = self.peer(),
                error,
                "the files of TLS cannot be used now; the last good ones stay in force"
            );
        }
        Ok(Some(last_good))
    }

    async fn secure(
        &self,
        stream: TcpStream,
        tls: Arc<ClientConfig>,
    ) -> Result<TlsStream<TcpStream>, ClientError> {
        let name = ServerName::try_from(self.endpoint.host.clone())
            .map_err(|error| self.tls_failed(error.to_string(), ""))?;
        let connected = TlsConnector::from(tls).connect(name, stream).await;
        connected.map_err(|error| self.tls_failed(with_causes(&error), plaintext_hint(&error)))
    }

    fn tls_failed(&self, error: String, hint: &'static str) -> ClientError {
        ClientError::Tls {
            peer: self.peer(),
            error,
            hint,
        }
    }

    async fn speak<T>(&self, stream: T) -> Result<Connection, ClientError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connection = Connection::new(stream, self.endpoint.protocol).await;
        connection.map_err(|error| self.broken(&error, false))
    }

    fn connect_timeout(&self) -> Duration {
        CONNECT_TIMEOUT.min(self.endpoint.timeout)
    }

    fn timed_out(&self, timeout: Duration) -> ClientError {
        ClientError::TimedOut {
            peer: self.peer(),
            timeout,
        }
    }

    fn request(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: Pieces,
    ) -> Result<Request<Pieces>, ClientError> {
        let scheme = if self.endpoint.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let mut request = match self.endpoint.protocol {
            Protocol::Http1 => Request::post(path).header(header::HOST, self.peer()),
            Protocol::Http2 => Request::post(format!("{scheme}://{}{path}", self.peer())),
        }
        .body(body)?;
        request.headers_mut().extend(headers.clone());
        Ok(request)
    }

    fn peer(&self) -> String {
        let Endpoint { host, port, .. } = &self.endpoint;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }

    /// A broken connection; one that never served a request may have met another protocol.
    fn broken(&self, error: &hyper::Error, kept: bool) -> ClientError {
        let text = with_causes(error);
        let hint = match self.endpoint.protocol {
            Protocol::Http2 if !kept => {
                "; if it takes OTLP over HTTP, write otlp+http://, usually port 4318"
            }
            Protocol::Http1 if error.is_parse() => {
                "; if it takes OTLP over gRPC, write otlp+grpc://, usually port 4317"
            }
            _ => "",
        };
        ClientError::Broken {
            peer: self.peer(),
            error: text,
            hint,
        }
    }
}

impl Connection {
    async fn new<T>(io: T, protocol: Protocol) -> hyper::Result<Self>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, driver) = match protocol {
            Protocol::Http1 => {
                let io = TokioIo::new(io);
                let (sender, connection) = http1::Builder::new().handshake(io).await?;
                (Sender::Http1(sender), tokio::spawn(drive(connection)))
            }
            Protocol::Http2 => {
                let (io, executor) = Corked::new(io);
                let (sender, connection) = http2::Builder::new(executor)
                    .timer(TokioTimer::new())
                    .max_header_list_size(MAX_HEADER_BYTES)
                    .handshake(TokioIo::new(io))
                    .await?;
                (Sender::Http2(sender), tokio::spawn(drive(connection)))
            }
        };
        Ok(Self {
            sender,
            driver: Arc::new(Driver {
                task: driver,
                used: AtomicBool::new(false),
            }),
        })
    }

    /// Whether it takes several requests at once.
    fn is_shared(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// The same for another request at once.
    fn another(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else {
            return None;
        };
        Some(Self {
            sender: Sender::Http2(sender.clone()),
            driver: Arc::clone(&self.driver),
        })
    }

    fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }

    async fn send(&mut self, request: Request<Pieces>) -> hyper::Result<Response<Incoming>> {
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
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reply {
    /// The reply's `Retry-After`: seconds, or a date counted from `now`.
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let value = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            // More than a number can be is for ever, too.
            return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
        }
        let date = httpdate::parse_http_date(value).ok()?;
        Some(date.duration_since(now).unwrap_or_default())
    }
}

/// A connection to the first of `addresses` that takes one; they are begun in their order.
async fn connect_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut untried = addresses.into_iter().take(MOST_ADDRESSES);
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = untried.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        let is_last = untried.len() == 0;
        tokio::select! {
            attempt = attempts.join_next() => match attempt {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => failure = error,
                Some(Err(error)) => failure = error.into(),
                None if is_last => return Err(failure),
                None => {}
            },
            () = tokio::time::sleep(NEXT_ADDRESS_AFTER), if !is_last => {}
        }
    }
}

/// Reads an answer, and whether it was read to its end.
async fn read(response: Response<Incoming>) -> hyper::Result<(Reply, bool)> {
    let (parts, mut body) = response.into_parts();
    let mut reply = Reply {
        status: parts.status,
        headers: parts.headers,
        body: Bytes::new(),
        trailers: HeaderMap::new(),
    };
    let mut bytes = Vec::new();
    let mut whole = true;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                let room = MAX_ANSWER_BYTES - bytes.len();
                bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
                if data.len() > room {
                    whole = false;
                    break;
                }
            }
            Err(frame) => reply.trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    reply.body = bytes.into();
    Ok((reply, whole))
}

async fn drive(connection: impl Future<Output = hyper::Result<()>>) {
    if let Err(error) = connection.await {
        // The request under way fails with the same error; between requests nobody waits for this one.
        tracing::debug!(%error, "an outgoing connection ended");
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use hyper::service::service_fn;
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
    use tokio::net::TcpListener;

    use super::*;

    /// A peer that answers the first bytes of each connection with one of `answers` and closes.
    async fn peer(answers: &'static [&'static str]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    fn client(port: u16, protocol: Protocol) -> Client {
        Client::new(Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
            protocol,
            tls: None,
            timeout: Duration::from_secs(10),
        })
    }

    async fn post(client: &Client) -> Result<Reply, ClientError> {
        let body = Pieces::new([
            Bytes::from_static(b"a"),
            Bytes::new(),
            Bytes::from_static(b"b"),
        ]);
        client.post("/p", &HeaderMap::new(), body).await
    }

    async fn check(protocol: Protocol, answer: &'static [&'static str], part: &str) {
        let error = post(&client(peer(answer).await, protocol))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(part), "`{error}` lacks `{part}`");
    }

    #[tokio::test]
    async fn a_peer_of_another_protocol_is_named() {
        let http1 = &["HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"];
        check(Protocol::Http2, http1, "otlp+http://, usually port 4318").await;
        let http2 = &["\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0"];
        check(Protocol::Http1, http2, "otlp+grpc://, usually port 4317").await;
    }

    #[tokio::test]
    async fn a_connection_that_the_peer_closed_meanwhile_is_made_anew() {
        let taken = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let answers: &[&str] = Box::leak(Box::new([taken, taken, ""]));
        let client = client(peer(answers).await, Protocol::Http1);
        for _ in 0..2 {
            let reply = post(&client).await.unwrap();
            assert_eq!(reply.body, "ok");
        }
        // The third connection ends without an answer, and there is none after it.
        assert!(post(&client).await.is_err());
    }

    /// An address that takes no connection and refuses none, as one behind a firewall: its queue is full.
    async fn silent() -> (SocketAddr, impl Sized) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        let hangs = Duration::from_millis(200);
        while let Ok(stream) = tokio::time::timeout(hangs, TcpStream::connect(address)).await {
            queue.push(stream.unwrap());
        }
        (address, (listener, queue))
    }

    #[tokio::test]
    async fn of_several_addresses_one_that_answers_is_found() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = open.local_addr().map(|address| (address, open)).unwrap();
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let (silent, _queue) = silent().await;
        for addresses in [
            vec![open.0],
            vec![silent, open.0],
            vec![closed, open.0],
            vec![silent, closed, silent, open.0],
        ] {
            let connecting = tokio::time::timeout(CONNECT_TIMEOUT, connect_any(addresses.clone()));
            let connected = connecting.await.unwrap().unwrap();
            assert_eq!(connected.peer_addr().unwrap(), open.0, "{addresses:?}");
        }
        let refused = connect_any(vec![closed, closed]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let nowhere = connect_any(Vec::new()).await.unwrap_err();
        assert_eq!(nowhere.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_long_answer_is_cut() {
        let long = "x".repeat(2 * MAX_ANSWER_BYTES);
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{long}",
            long.len()
        );
        let answers: &[&str] = Box::leak(Box::new([&*answer.leak()]));
        let reply = post(&client(peer(answers).await, Protocol::Http1))
            .await
            .unwrap();
        assert_eq!(reply.body.len(), MAX_ANSWER_BYTES);
    }

    /// One end of a pipe, counting what is written to it at once.
    struct Counting {
        io: tokio::io::DuplexStream,
        writes: Arc<AtomicUsize>,
    }

    impl AsyncRead for Counting {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_read(context, into)
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.writes.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.io).poll_write(context, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_flush(context)
        }

        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_shutdown(context)
        }
    }

    #[tokio::test]
    async fn frames_of_http2_leave_several_at_once() {
        const FRAMES: usize = 32;
        let (near, far) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move {
            let answer = service_fn(async |request: Request<Incoming>| {
                let body = request.into_body().collect().await?.to_bytes();
                assert_eq!(body, vec![7; FRAMES * 16 * 1024]);
                Ok::<_, hyper::Error>(Response::new(String::new()))
            });
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(1 << 20)
                .serve_connection(TokioIo::new(far), answer)
                .await
        });
        let writes = Arc::new(AtomicUsize::new(0));
        let counting = Counting {
            io: near,
            writes: Arc::clone(&writes),
        };
        let mut connection = Connection::new(counting, Protocol::Http2).await.unwrap();
        let body = Pieces::new([Bytes::from(vec![7; FRAMES * 16 * 1024])]);
        let request = Request::post("http://a/p").body(body).unwrap();
        let response = connection.send(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let writes = writes.load(Ordering::Relaxed);
        assert!(writes < FRAMES / 2, "{writes} writes of {FRAMES} frames");
    }
}
