//! Connections over loopback sockets: who is served, who has to go, and when.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::net::body::Answer;

const PATIENCE: Duration = Duration::from_secs(10);

struct Fixture {
    address: SocketAddr,
    arrived: Arc<Notify>,
    release: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<usize>,
}

/// A server whose `POST` waits to be released, and whose other requests are answered at once.
async fn start(config: Config) -> Fixture {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (arrive, wait) = (Arc::clone(&arrived), Arc::clone(&release));
    let handler = move |request: Request<Incoming>, _peer| {
        let (arrive, wait) = (Arc::clone(&arrive), Arc::clone(&wait));
        async move {
            if request.method() == http::Method::POST {
                arrive.notify_one();
                wait.notified().await;
            }
            let _ = request.into_body().collect().await;
            Response::new(Answer::data("done"))
        }
    };
    let shutdown = async {
        let _ = stopped.await;
    };
    let served = tokio::spawn(serve(listener, handler, config, shutdown));
    Fixture {
        address,
        arrived,
        release,
        stop: Some(stop),
        served,
    }
}

impl Fixture {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    async fn cut(self) -> usize {
        tokio::time::timeout(PATIENCE, self.served)
            .await
            .unwrap()
            .unwrap()
    }
}

async fn send(stream: &mut TcpStream, method: &str) {
    let head = format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
}

/// Reads until the answer's last word, or the end.
async fn read(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("done") {
        let mut bytes = [0; 1024];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes));
        match read.await.unwrap() {
            Ok(0) | Err(_) => break,
            Ok(count) => text.push_str(&String::from_utf8_lossy(&bytes[..count])),
        }
    }
    text
}

#[tokio::test]
async fn requests_under_way_are_finished_and_idle_connections_closed() {
    let mut fixture = start(Config::default()).await;
    let mut idle = fixture.connect().await;
    send(&mut idle, "GET").await;
    assert!(read(&mut idle).await.ends_with("done"));
    let mut silent = fixture.connect().await;
    let mut busy = fixture.connect().await;
    send(&mut busy, "POST").await;
    fixture.arrived.notified().await;
    fixture.stop();
    assert_eq!(read(&mut idle).await, "");
    assert_eq!(read(&mut silent).await, "");
    assert!(TcpStream::connect(fixture.address).await.is_err());
    fixture.release.notify_one();
    let answer = read(&mut busy).await;
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.ends_with("done"), "{answer}");
    assert_eq!(fixture.cut().await, 0);
}

#[tokio::test]
async fn the_drain_deadline_cuts_what_does_not_finish() {
    let config = Config {
        drain: Duration::from_millis(20),
        ..Config::default()
    };
    let mut fixture = start(config).await;
    let mut busy = fixture.connect().await;
    send(&mut busy, "POST").await;
    fixture.arrived.notified().await;
    fixture.stop();
    assert_eq!(fixture.cut().await, 1);
    assert_eq!(read(&mut busy).await, "");
}

#[tokio::test]
async fn silence_and_slow_heads_end_a_connection() {
    let config = Config {
        handshake_timeout: Duration::from_millis(20),
        idle_timeout: Duration::from_millis(20),
        ..Config::default()
    };
    let fixture = start(config).await;
    for start in [
        "",
        "P",
        "PRI",
        "GET / HT",
        "GET / HTTP/1.1\r\nhost: a\r\nx: ",
    ] {
        let mut slow = fixture.connect().await;
        slow.write_all(start.as_bytes()).await.unwrap();
        assert!(!read(&mut slow).await.contains("200 OK"), "{start}");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let config = Config {
        max_connections: 1,
        ..Config::default()
    };
    let fixture = start(config).await;
    let mut first = fixture.connect().await;
    send(&mut first, "POST").await;
    fixture.arrived.notified().await;
    let mut second = fixture.connect().await;
    send(&mut second, "GET").await;
    let early = tokio::time::timeout(Duration::from_millis(50), second.readable()).await;
    assert!(
        early.is_err(),
        "the second connection was served beside the first"
    );
    fixture.release.notify_one();
    assert!(read(&mut first).await.ends_with("done"));
    drop(first);
    assert!(read(&mut second).await.ends_with("done"));
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let fixture = start(Config::default()).await;
    let mut stream = fixture.connect().await;
    let head = format!(
        "GET / HTTP/1.1\r\nx: {}\r\n\r\n",
        "y".repeat(MAX_HEADER_BYTES)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

/// A connection over HTTP/2 by hyper's own client, and its end.
async fn http2(
    fixture: &Fixture,
) -> (
    hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
    JoinHandle<hyper::Result<()>>,
) {
    let io = TokioIo::new(fixture.connect().await);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    (sender, tokio::spawn(connection))
}

fn request(method: &str, headers: &[(&str, String)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri("http://a/");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.body(Empty::new()).unwrap()
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused_over_http2_too() {
    let fixture = start(Config::default()).await;
    let (mut sender, _connection) = http2(&fixture).await;
    // In several, for one alone has a limit of the client's own.
    let headers = ["a", "b", "c"].map(|name| (name, "y".repeat(MAX_HEADER_BYTES / 2)));
    let answer = sender.send_request(request("GET", &headers)).await;
    assert_eq!(answer.unwrap().status(), 431);
    let answer = sender.send_request(request("GET", &[])).await;
    assert_eq!(answer.unwrap().status(), 200, "the connection goes on");
}

/// Lets time pass until connections that began later have ended of age or idleness, twice.
async fn others_ended(fixture: &Fixture) {
    for _ in 0..2 {
        let (_sender, connection) = http2(fixture).await;
        let ended = tokio::time::timeout(PATIENCE, connection).await;
        ended.expect("an end").unwrap().unwrap();
    }
}

fn of_age(age: Duration, grace: Duration) -> Config {
    Config {
        max_age: Some(age),
        max_age_grace: grace,
        ..Config::default()
    }
}

#[tokio::test]
async fn an_old_connection_over_http2_is_told_to_go_and_its_requests_finish() {
    let fixture = start(of_age(Duration::from_millis(100), PATIENCE)).await;
    let (mut sender, connection) = http2(&fixture).await;
    let under_way = tokio::spawn(sender.send_request(request("POST", &[])));
    fixture.arrived.notified().await;
    others_ended(&fixture).await;
    fixture.release.notify_one();
    assert_eq!(under_way.await.unwrap().unwrap().status(), 200);
    let ended = tokio::time::timeout(PATIENCE, connection).await;
    ended.expect("an end").unwrap().unwrap();
}

#[tokio::test]
async fn what_outlasts_the_grace_is_cut() {
    let age = Duration::from_millis(50);
    let fixture = start(of_age(age, age)).await;
    let (mut sender, _connection) = http2(&fixture).await;
    let answer = sender.send_request(request("POST", &[]));
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    assert!(answer.expect("an end").is_err());
}

#[tokio::test]
async fn an_old_connection_over_http1_is_told_with_its_next_answer() {
    let fixture = start(of_age(Duration::from_millis(100), PATIENCE)).await;
    let mut stream = fixture.connect().await;
    let mut answers = 0;
    loop {
        send(&mut stream, "GET").await;
        let answer = read(&mut stream).await;
        assert!(answer.ends_with("done"), "{answer}");
        if answer.contains("connection: close") {
            break;
        }
        answers += 1;
    }
    assert!(answers > 0, "not the first one already");
    assert_eq!(read(&mut stream).await, "");
}

#[tokio::test]
async fn a_connection_without_requests_ends_and_one_with_a_long_one_does_not() {
    let config = Config {
        idle_timeout: Duration::from_millis(100),
        max_age_grace: Duration::from_millis(100),
        ..Config::default()
    };
    let fixture = start(config).await;
    let (mut sender, _connection) = http2(&fixture).await;
    let long = tokio::spawn(sender.send_request(request("POST", &[])));
    fixture.arrived.notified().await;
    others_ended(&fixture).await;
    fixture.release.notify_one();
    assert_eq!(long.await.unwrap().unwrap().status(), 200);
}

/// Live pages are one answer without an end.
#[tokio::test]
async fn an_answer_that_goes_on_keeps_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (more, rest) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let rest = Arc::new(std::sync::Mutex::new(Some(rest)));
    let handler = move |_: Request<Incoming>, _| {
        let rest = rest.lock().unwrap().take().unwrap();
        let stream = tokio_stream::wrappers::ReceiverStream::new(rest);
        async move { Response::new(StreamBody::new(stream)) }
    };
    let config = Config {
        idle_timeout: Duration::from_millis(50),
        max_age_grace: Duration::from_millis(50),
        ..Config::default()
    };
    tokio::spawn(serve(listener, handler, config, std::future::pending()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    send(&mut stream, "GET").await;
    // Meanwhile three without a request end, one after another.
    for _ in 0..3 {
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET").await.unwrap();
        read(&mut idle).await;
    }
    let last = Frame::data(Bytes::from_static(b"done"));
    more.send(Ok(last)).await.unwrap();
    drop(more);
    let answer = read(&mut stream).await;
    assert!(answer.contains("done"), "{answer}");
}

/// Whoever has a place and does not say who he is gives it to others, and nobody else does.
#[tokio::test]
async fn silent_connections_give_way_when_every_place_is_taken() {
    let config = Config {
        max_connections: 3,
        handshake_timeout: 3 * PATIENCE,
        ..Config::default()
    };
    let fixture = start(config).await;
    let mut known = fixture.connect().await;
    send(&mut known, "GET").await;
    assert!(read(&mut known).await.ends_with("done"));
    let mut silent = fixture.connect().await;
    let mut slow = fixture.connect().await;
    slow.write_all(b"GET / HT").await.unwrap();
    // Each keeps its place, so that the second needs the slow one's.
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut late = fixture.connect().await;
        send(&mut late, "GET").await;
        assert!(read(&mut late).await.ends_with("done"));
        kept.push(late);
    }
    assert_eq!(read(&mut silent).await, "");
    send(&mut known, "GET").await;
    assert!(read(&mut known).await.ends_with("done"));
}

/// Senders that follow it write a body in fewer frames.
#[tokio::test]
async fn larger_frames_of_http2_are_offered() {
    let fixture = start(Config::default()).await;
    let mut stream = fixture.connect().await;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "the first frame is of SETTINGS");
    let mut settings = vec![0; usize::from(head[2])];
    stream.read_exact(&mut settings).await.unwrap();
    // SETTINGS_MAX_FRAME_SIZE (RFC 9113, section 6.5.2).
    let offered = settings.chunks(6).find(|setting| setting[..2] == [0, 5]);
    assert_eq!(offered.unwrap()[2..], (64_u32 * 1024).to_be_bytes());
}
