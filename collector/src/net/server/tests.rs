//! Connections over loopback sockets: who is served, who has to go, and when.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::BodyExt;
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
