//! The capture itself, through the public API alone.

use std::convert::Infallible;

use ::http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::*;
use crate::http::PeerAddr;

type Body = Full<bytes::Bytes>;

async fn order(_: Request<()>) -> Result<Response<Body>, Infallible> {
    let span = tracing::info_span!("pack", order = 7, gift = true);
    span.in_scope(|| tracing::info!(weight = 1.5, "packed"));
    Ok(Response::new(Full::from("shipped")))
}

fn trusted(path: &str) -> Request<()> {
    let mut request = Request::get(path).body(()).unwrap();
    let peer = PeerAddr(([127, 0, 0, 1], 4_000).into());
    request.extensions_mut().insert(peer);
    request
}

async fn serve(told: &Captured, request: Request<()>) {
    let service = ServiceBuilder::new()
        .layer(
            told.kit()
                .layer()
                .route_hook(|_| Some("/orders/{id}".into())),
        )
        .service(service_fn(order));
    let response = service.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn lines_spans_and_metrics_of_a_request_agree() {
    let told = capture("orders");
    serve(&told, trusted("/orders/7")).await;

    let line = told.log("request").unwrap();
    let server = told.span("GET /orders/{id}").unwrap();
    let handler = told.span("pack").unwrap();
    assert_eq!(
        (server.kind, handler.kind),
        (SpanKind::Server, SpanKind::Internal)
    );
    assert_eq!(server.trace_id, line["trace_id"]);
    assert_eq!(handler.parent_span_id, Some(server.span_id));
    assert_eq!(handler.attributes["order"], 7);
    assert_eq!(handler.attributes["gift"], true);
    assert_eq!(server.error, None);
    let packed = told.log("packed").unwrap();
    assert_eq!(packed["request_id"], line["request_id"]);
    assert_eq!(packed["weight"], 1.5);

    let requests = "http_server_request_duration_seconds_count";
    let route = [("http_route", "/orders/{id}")];
    assert_eq!(told.metric(requests, &route), Some(1.0));
    assert_eq!(told.metric(requests, &[("http_route", "/other")]), None);
    serve(&told, trusted("/orders/8")).await;
    assert_eq!(told.metric(requests, &route), Some(2.0));
    assert_eq!(told.spans().len(), 4);
    assert_eq!(told.spans().len(), 4, "asking takes nothing away");
}

#[tokio::test]
async fn captures_side_by_side_do_not_mix() {
    let first = capture("first");
    serve(&first, trusted("/orders/7")).await;
    let second = capture_with("second", |builder| builder.trust("none"));
    let mut request = trusted("/orders/8");
    let id = HeaderValue::from_static("abc");
    request.headers_mut().insert("x-request-id", id);
    serve(&second, request).await;
    let line = second.log("request").unwrap();
    assert_eq!(line["service.name"], "second");
    assert_ne!(line["request_id"], "abc", "the builder's trust is in force");
    let others = first.logs();
    assert!(others.iter().all(|line| line["service.name"] == "first"));
    assert_eq!((first.spans().len(), second.spans().len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_threads_join_by_the_dispatch() {
    use tracing::instrument::WithSubscriber;

    let told = capture("orders");
    let job = async { tracing::info!("packed") };
    tokio::spawn(job.with_subscriber(told.dispatch()))
        .await
        .unwrap();
    assert!(told.log("packed").is_some());
}

#[tokio::test]
async fn secrets_are_hidden_as_they_are_in_service() {
    let told = capture("orders");
    let service = told.kit().layer();
    let service =
        ServiceBuilder::new()
            .layer(service)
            .service(service_fn(|_: Request<()>| async {
                let span =
                    tracing::info_span!("pay", token = "hunter2", url = "http://me:hunter2@h");
                span.in_scope(|| tracing::info!("paid"));
                Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from("ok")))
            }));
    let response = service.oneshot(trusted("/pay")).await.unwrap();
    response.into_body().collect().await.unwrap();
    let span = told.span("pay").unwrap();
    assert_eq!(span.attributes["token"], "[redacted]");
    assert_eq!(span.attributes["url"], "http://[redacted]@h");
    assert_eq!(told.log("paid").unwrap()["token"], "[redacted]");
}

#[test]
fn names_of_secrets_are_those_of_the_builder() {
    // The first kit with names of its own: theirs are the process's.
    let told = capture_with("orders", |builder| builder.redact(["loyalty_card"]));
    let span = tracing::info_span!("pay", loyalty_card = "hunter2");
    span.in_scope(|| tracing::info!(loyalty_card = "hunter2", "paid"));
    assert_eq!(told.log("paid").unwrap()["loyalty_card"], "[redacted]");
}
