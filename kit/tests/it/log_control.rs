//! The log's control from outside: the recorder, the live filter, the rate limit.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::client::{Answer, Connection, get as fetch};
use crate::service::{OWN_FILTER, Service, text};

/// What the service does for these tests.
pub(crate) fn routes() -> Router {
    Router::new()
        .route("/work/{status}", get(work))
        .route("/work-stream/{good}", get(work_stream))
        .route("/flood/{lines}", get(flood))
}

/// Answers so after some work, some of which is a task's.
async fn work(Path(status): Path<u16>) -> StatusCode {
    let span = tracing::info_span!("work", status, step = tracing::field::Empty);
    let entered = span.clone().entered();
    tracing::debug!(first = true, "looked up");
    span.record("step", 2);
    tracing::debug!(value = ?Logs, "decided");
    let task = tracing::Instrument::instrument(async { tracing::debug!("in a task") }, span);
    drop(entered);
    tokio::spawn(task).await.unwrap();
    tracing::trace!("never");
    tracing::debug!(target: "hyper::proto", "infrastructure");
    tracing::info!("worked");
    StatusCode::from_u16(status).unwrap()
}

/// A value that logs while it is formatted.
struct Logs;

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::debug!("inside");
        f.write_str("a value")
    }
}

/// A body that logs, then ends or fails.
async fn work_stream(Path(good): Path<bool>) -> Body {
    tracing::debug!("head");
    let mut sent = false;
    Body::new(Chunks(move || {
        tracing::debug!(sent, "chunk");
        if std::mem::replace(&mut sent, true) {
            return (!good).then_some(Err("disk on fire"));
        }
        Some(Ok(Bytes::from_static(b"chunk\n")))
    }))
}

/// A body of what a function gives.
struct Chunks<F>(F);

impl<F> http_body::Body for Chunks<F>
where
    F: FnMut() -> Option<Result<Bytes, &'static str>> + Unpin,
{
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready((self.0)().map(|chunk| chunk.map(Frame::data)))
    }
}

async fn flood(Path(lines): Path<u32>) {
    for line in 0..lines {
        tracing::warn!(line, "out of stock");
    }
}

async fn level(admin: SocketAddr, method: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri("/loglevel")
        .header("host", "orders.test")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    let mut connection = Connection::http1(admin).await;
    connection.send(request).await.unwrap()
}

async fn in_force(admin: SocketAddr) -> Value {
    let answer = level(admin, "GET", "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    serde_json::from_str(&answer.body).unwrap()
}

/// The messages of the lines that belong to the request which closed with `closing`, in order.
fn messages(service: &Service, closing: &Value) -> Vec<String> {
    let lines = service.lines();
    let of_request = lines
        .iter()
        .filter(|line| line["request_id"] == closing["request_id"]);
    of_request
        .map(|line| text(line, "message").to_owned())
        .collect()
}

#[tokio::test]
async fn a_failed_request_prints_what_it_hid() {
    let service = Service::start(&[]).await;
    assert_eq!(fetch(service.addr, "/work/204").await.status, 204);
    let good = service.closing("/work/204").await;
    assert_eq!(messages(&service, &good), ["worked", "request"]);
    assert!(good.get("recorder.recorded").is_none());

    assert_eq!(fetch(service.addr, "/work/503").await.status, 503);
    let failed = service.closing("/work/503").await;
    assert_eq!(
        messages(&service, &failed),
        [
            "worked",
            "looked up",
            "inside",
            "decided",
            "in a task",
            "request failed"
        ]
    );
    assert_eq!(failed["recorder.recorded"], 4);
    let lines = service.lines();
    let line = |message: &str| {
        let same = |line: &&Value| {
            line["message"] == message && line["request_id"] == failed["request_id"]
        };
        lines.iter().find(same).unwrap()
    };
    let (before, after) = (line("looked up"), line("decided"));
    for line in [before, after, line("in a task")] {
        assert_eq!(
            (&line["recorded"], &line["status"]),
            (&true.into(), &503.into())
        );
        assert_eq!(line["trace_id"], failed["trace_id"]);
    }
    assert!(before.get("step").is_none(), "{before}");
    assert_eq!(
        (&after["step"], &after["value"]),
        (&2.into(), &"a value".into())
    );
    assert!(text(before, "timestamp") < text(line("worked"), "timestamp"));
}

#[tokio::test]
async fn a_stream_is_recorded_to_its_end() {
    let service = Service::start(&[]).await;
    assert_eq!(
        fetch(service.addr, "/work-stream/true").await.body,
        "chunk\n"
    );
    let good = service.closing("/work-stream/true").await;
    assert_eq!(messages(&service, &good), ["request"]);
    let mut connection = Connection::http1(service.addr).await;
    let request = crate::client::request("/work-stream/false", &[]);
    assert!(
        connection.send(request).await.is_err(),
        "the body breaks off"
    );
    let failed = service.closing("/work-stream/false").await;
    assert_eq!(
        messages(&service, &failed),
        ["head", "chunk", "chunk", "response body failed"]
    );
}

#[tokio::test]
async fn slow_requests_and_panics_print_theirs() {
    let service = Service::start(&[("BELLWETHER_RECORDER_SLOW", "1ms")]).await;
    fetch(service.addr, "/slow/2").await;
    fetch(service.addr, "/work/200").await;
    let slow = service.closing("/work/200").await;
    let duration = slow["http.server.request.duration"].as_f64().unwrap();
    assert_eq!(slow.get("recorder.recorded").is_some(), duration >= 0.001);
    let off = Service::start(&[("BELLWETHER_RECORDER", "off")]).await;
    fetch(off.addr, "/work/500").await;
    let failed = off.closing("/work/500").await;
    assert_eq!(messages(&off, &failed), ["worked", "request failed"]);
}

#[tokio::test]
async fn a_services_own_subscriber_has_a_recorder_too() {
    // Their filter is for all layers, so it says what can be recorded.
    for (filter, recorded) in [("debug", true), ("info", false)] {
        let service = Service::start(&[(OWN_FILTER, filter)]).await;
        fetch(service.addr, "/work/500").await;
        let failed = service.closing("/work/500").await;
        let expected = if recorded { 6 } else { 2 };
        assert_eq!(messages(&service, &failed).len(), expected, "{filter}");
    }
}

#[tokio::test]
async fn the_filter_is_read_and_changed_at_the_admin_address() {
    let service = Service::start(&[
        ("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0"),
        ("BELLWETHER_RECORDER", "off"),
    ])
    .await;
    let admin = service.admin().await;
    let configured =
        json!({"filter": "info", "configured_filter": "info", "expires_in_seconds": null});
    assert_eq!(in_force(admin).await, configured);

    let put = level(
        admin,
        "PUT",
        r#"{"filter":"info,it=debug","for_seconds":300}"#,
    )
    .await;
    assert_eq!(put.status, 200, "{put:?}");
    let shown = in_force(admin).await;
    assert_eq!(shown["filter"], "info,it=debug");
    assert_eq!(shown["configured_filter"], "info");
    let left = shown["expires_in_seconds"].as_f64().unwrap();
    assert!((200.0..=300.0).contains(&left), "{left}");
    let told = service
        .line(|line| line["message"] == "the log filter has changed")
        .await;
    assert_eq!(told["level"], "WARN");
    assert_eq!(
        (&told["filter.old"], &told["filter.new"]),
        (&"info".into(), &"info,it=debug".into())
    );

    fetch(service.addr, "/work/200").await;
    service.line(|line| line["message"] == "decided").await;

    let back = level(admin, "PUT", r#"{"filter":null}"#).await;
    assert_eq!(back.status, 200);
    assert_eq!(in_force(admin).await, configured);
    level(admin, "PUT", r#"{"filter":"warn"}"#).await;
    assert_eq!(level(admin, "DELETE", "").await.status, 200);
    assert_eq!(in_force(admin).await, configured);
}

#[tokio::test]
async fn what_cannot_be_a_filter_is_refused() {
    let service = Service::start(&[("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0")]).await;
    let admin = service.admin().await;
    let long = format!(r#"{{"filter":"{}"}}"#, "x".repeat(5_000));
    for (body, part) in [
        ("", "no JSON"),
        (r#"{"filter":"it=loud"}"#, "it=loud"),
        (r#"{"filter":"info","for_seconds":0}"#, "from 1 to 86400"),
        (long.as_str(), "4096 bytes"),
    ] {
        let answer = level(admin, "PUT", body).await;
        assert_eq!(answer.status, 400, "{body}");
        let error: Value = serde_json::from_str(&answer.body).unwrap();
        let message = text(&error["error"], "message");
        assert!(
            message.contains(part) && message.contains("for_seconds"),
            "{message}"
        );
    }
    assert_eq!(level(admin, "POST", "{}").await.status, 405);
    assert_eq!(in_force(admin).await["filter"], "info");
    // Callers have no say.
    assert_eq!(
        level(service.addr, "PUT", r#"{"filter":"off"}"#)
            .await
            .status,
        404
    );
    assert_eq!(level(service.addr, "GET", "").await.status, 404);
}

#[tokio::test]
async fn a_filter_ends_by_itself_while_nothing_happens() {
    let service = Service::start(&[("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0")]).await;
    let admin = service.admin().await;
    let began = Instant::now();
    level(admin, "PUT", r#"{"filter":"debug","for_seconds":1}"#).await;
    let expired = service.line(|line| line["reason"] == "expired").await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(expired["filter.new"], "info");
    assert_eq!(in_force(admin).await["filter"], "info");
}

#[tokio::test]
async fn changes_that_race_leave_one_filter_in_force() {
    let service = Service::start(&[("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0")]).await;
    let admin = service.admin().await;
    let puts = (0..20).map(|number| {
        tokio::spawn(async move {
            let body = format!(r#"{{"filter":"info,racer{number}=debug","for_seconds":60}}"#);
            assert_eq!(level(admin, "PUT", &body).await.status, 200);
        })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap();
    }
    let last = in_force(admin).await["filter"].clone();
    let is_change = |line: &Value| line["message"] == "the log filter has changed";
    service
        .line(|line| is_change(line) && line["filter.new"] == last)
        .await;
    let mut before = Value::from("info");
    for change in service.lines().iter().filter(|line| is_change(line)) {
        assert_eq!(change["filter.old"], before);
        before = change["filter.new"].clone();
    }
    assert_eq!(before, last);
}

#[tokio::test]
async fn a_flood_is_cut_told_and_counted() {
    let service = Service::start(&[
        ("BELLWETHER_LOG_RATE_LIMIT", "10"),
        ("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0"),
    ])
    .await;
    fetch(service.addr, "/flood/500").await;
    // Nobody logs any more; still it is told.
    let told = service.line(|line| line.get("repeated").is_some()).await;
    assert_eq!(told["level"], "WARN");
    assert!(text(&told, "message").ends_with("times: out of stock"));
    assert!(text(&told, "code.file.path").ends_with("log_control.rs"));
    let all = |lines: &[Value]| -> u64 {
        let written = lines
            .iter()
            .filter(|line| line["message"] == "out of stock");
        let told = lines.iter().filter_map(|line| line["repeated"].as_u64());
        written.count() as u64 + told.sum::<u64>()
    };
    service.line(|_| all(&service.lines()) == 500).await;
    let told: u64 = service
        .lines()
        .iter()
        .filter_map(|line| line["repeated"].as_u64())
        .sum();
    let admin = service.admin().await;
    let metrics = fetch(admin, "/metrics").await.body;
    let sample = r#"bellwether_telemetry_dropped_total{signal="logs",reason="rate_limited"}"#;
    let sample = metrics.lines().find(|line| line.starts_with(sample));
    assert!(
        sample.unwrap().ends_with(&format!(" {told}")),
        "{sample:?} {told}"
    );
}
