//! What the kit answers or breaks off itself: panics, time-outs, the concurrency limit.

use std::convert::Infallible;
use std::time::Duration;

use ::http::{Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use tower_service::Service as _;

use crate::http::ConcurrencyLimit;
use crate::http::testing::{Bench, Script, Step, answers, get, text};
use crate::trace::SpanStatus;

#[tokio::test]
async fn a_handler_that_panics() {
    async fn midway(_: ::http::Request<()>) -> Result<Response<Empty<Bytes>>, Infallible> {
        tokio::task::yield_now().await;
        panic!("no such luck: {}", 7)
    }
    let bench = Bench::new();
    let mut service = bench.service(midway);
    let response = service.call(get("/")).await.unwrap();
    assert_internal_error(&bench, response).await;
    assert_eq!(bench.lines()[0]["exception.message"], "no such luck: 7");

    let bench = Bench::new();
    let mut service = bench.service(
        |_| -> std::future::Ready<Result<Response<Empty<Bytes>>, Infallible>> {
            panic!("in the call")
        },
    );
    let response = service.call(get("/")).await.unwrap();
    assert_internal_error(&bench, response).await;
}

async fn assert_internal_error<B>(bench: &Bench, response: Response<B>)
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["content-type"], "application/json");
    let id = response.headers()["x-request-id"].clone();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"error": {
            "code": "internal",
            "message": "internal server error",
            "request_id": id.to_str().unwrap(),
        }})
    );
    let (line, span) = bench.settled();
    assert_eq!(line["outcome"], "panic");
    assert_eq!(line["request_id"], id.to_str().unwrap());
    assert_eq!(line["http.response.body.size"], body.to_string().len());
    assert!(matches!(span.status, SpanStatus::Error(_)));
    assert_eq!(
        text(&span.attributes, "error.type").as_deref(),
        Some("panic")
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long() {
    let bench = Bench::with(|telemetry| telemetry.request_timeout = Some(Duration::from_secs(2)));
    let mut service =
        bench.service(|_| std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>());
    let response = service.call(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["code"], "timeout");
    let (line, span) = bench.settled();
    assert_eq!(line["outcome"], "timeout");
    assert_eq!(
        text(&span.attributes, "error.type").as_deref(),
        Some("timeout")
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_takes_too_long() {
    let bench = Bench::with(|telemetry| telemetry.request_timeout = Some(Duration::from_secs(2)));
    let endless = Script::new(&vec![Step::Pending; 1_000_000]);
    let mut service = bench.service(answers(endless));
    let response = service.call(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    tokio::time::advance(Duration::from_secs(3)).await;
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(error.to_string(), "the request took too long");
    let (line, _) = bench.settled();
    assert_eq!(line["outcome"], "timeout");
    assert_eq!(line["http.response.status_code"], 200);
}

#[tokio::test]
async fn beyond_the_concurrency_limit() {
    let limit = |telemetry: &mut crate::http::Telemetry| {
        telemetry.concurrency_limit = Some(ConcurrencyLimit::new(1));
    };
    let bench = Bench::with(limit);
    let mut service = bench.service(answers(Script::new(&[Step::Data("abc")])));
    let first = service.call(get("/")).await.unwrap();
    let refused = service.call(get("/")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(refused.headers().contains_key("x-request-id"));
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["code"], "overloaded");
    assert_eq!(bench.active(), 1, "the first one is still in flight");
    let line = bench.closing_lines().remove(0);
    assert_eq!(
        (&line["outcome"], &line["level"]),
        (&"rejected".into(), &"WARN".into())
    );
    assert_eq!(
        text(&bench.spans.drain()[0].attributes, "error.type").as_deref(),
        Some("rejected")
    );

    first.into_body().collect().await.unwrap();
    let third = service.call(get("/")).await.unwrap();
    assert_eq!(third.status(), StatusCode::OK, "the place was given back");
}
