//! Behind a real HTTP/1 server: what hyper polls, drops and leaves unpolled still settles as it should.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::http::testing::{Bench, Script, Step};

/// Serves one connection with the handler behind the layer; gives the client's end.
fn connect<F, Fut, RB>(bench: &Bench, handler: F) -> DuplexStream
where
    F: FnMut(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Response<RB>, Infallible>> + Send + 'static,
    RB: http_body::Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<crate::http::BoxError>,
{
    let (client, server) = tokio::io::duplex(64 * 1024);
    let service = hyper_util::service::TowerToHyperService::new(bench.service(handler));
    tokio::spawn(
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service),
    );
    client
}

async fn wait_for_line(bench: &Bench) -> serde_json::Value {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(line) = bench.closing_lines().pop() {
            return line;
        }
        assert!(Instant::now() < deadline, "the request never settled");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Sends one request and reads until the response ends.
async fn exchange(client: &mut DuplexStream, method: &str, end: &str) -> String {
    let request = format!("{method} / HTTP/1.1\r\nhost: test\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if text.ends_with(end) {
            return text;
        }
        let read = client.read(&mut chunk).await.unwrap();
        assert!(read > 0, "closed after {text:?}");
        answer.extend_from_slice(&chunk[..read]);
    }
}

async fn check(
    response: impl Fn() -> Response<Script> + Clone + Send + 'static,
    method: &str,
    end: &str,
    sent: u64,
) {
    let bench = Bench::new();
    let mut client = connect(&bench, move |_| std::future::ready(Ok(response())));
    let answer = exchange(&mut client, method, end).await;
    assert!(answer.contains("x-request-id: "), "{answer}");
    let line = wait_for_line(&bench).await;
    assert_eq!(line["outcome"], "ok", "{method} {answer}");
    assert_eq!(line["http.response.body.size"], sent);
    bench.settled();
}

#[tokio::test]
async fn bodies_of_every_framing() {
    let script = || Script::new(&[Step::Data("abc"), Step::Pending, Step::Data("de")]);
    check(move || Response::new(script()), "GET", "0\r\n\r\n", 5).await;
    check(move || Response::new(script()), "HEAD", "\r\n\r\n", 0).await;
    let sized = move || {
        let exact_size = Some(5);
        Response::new(Script {
            exact_size,
            ..script()
        })
    };
    check(sized, "GET", "abcde", 5).await;
    let declared = move || {
        let mut response = Response::new(script());
        response.headers_mut().insert("content-length", 5.into());
        response
    };
    check(declared, "GET", "abcde", 5).await;
    let empty = || {
        Response::builder()
            .status(204)
            .body(Script::default())
            .unwrap()
    };
    check(empty, "GET", "\r\n\r\n", 0).await;
}

#[tokio::test]
async fn a_client_that_hangs_up() {
    let bench = Bench::new();
    let mut client = connect(&bench, |_| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while bench.active() == 0 {
        assert!(Instant::now() < deadline, "the request never began");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(client);
    assert_eq!(wait_for_line(&bench).await["outcome"], "client_gone");
    bench.settled();
}

#[tokio::test]
async fn a_panic_answers_500_and_keeps_the_connection() {
    let bench = Bench::new();
    let mut client = connect(&bench, |request: Request<Incoming>| async move {
        assert_eq!(request.method(), "GET", "only GET is wanted");
        Ok(Response::new(Full::new(Bytes::from_static(b"fine"))))
    });
    let answer = exchange(&mut client, "PUT", "}").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(!answer.contains("only GET is wanted"), "{answer}");
    assert_eq!(wait_for_line(&bench).await["outcome"], "panic");
    let answer = exchange(&mut client, "GET", "fine").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
