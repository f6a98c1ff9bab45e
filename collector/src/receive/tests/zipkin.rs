//! Zipkin's senders, by a client and by raw bytes.

use std::sync::atomic::Ordering;

use prost::Message;
use serde_json::json;

use super::{
    Fixture, PROTOBUF, REQUEST_BYTES, decoded, gzip, post, raw, start, start_with, zlib, zstd,
};
use crate::budget::Budget;
use crate::net::client::{Protocol, Reply};
use crate::net::proto::put_bytes_field;
use crate::wire::zipkin_json;

const SPANS: &str = "/api/v2/spans";
const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const DEFLATE: (&str, &str) = ("content-encoding", "deflate");
const ZSTD: (&str, &str) = ("content-encoding", "zstd");

fn spans(count: u64) -> Vec<u8> {
    let span = |id: u64| {
        json!({"traceId": "463ac35c9f6413ad", "id": format!("{id:016x}"), "kind": "SERVER", "name": "get /",
               "timestamp": 1_700_000_000_000_000_u64, "duration": 1_000, "localEndpoint": {"serviceName": "shop"},
               "tags": {"http.path": "/"}})
    };
    let spans: Vec<_> = (1..=count).map(span).collect();
    serde_json::to_vec(&spans).unwrap()
}

/// One span in protobuf: trace id, id.
fn protobuf() -> Vec<u8> {
    let (mut span, mut list) = (Vec::new(), Vec::new());
    put_bytes_field(&mut span, 1, &7_u64.to_be_bytes());
    put_bytes_field(&mut span, 3, &2_u64.to_be_bytes());
    put_bytes_field(&mut list, 1, &span);
    list
}

async fn send(address: &str, headers: &[(&'static str, &str)], body: Vec<u8>) -> Reply {
    post(address, Protocol::Http1, SPANS, headers, body).await
}

#[tokio::test]
async fn spans_are_taken_in_json_and_protobuf() {
    let mut fixture = start().await;
    let json = spans(300);
    let expected = decoded(&zipkin_json(&json, 1 << 20).unwrap());
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (headers, body) in [
        (&[][..], json.clone()),
        (&[JSON], json.clone()),
        (&[form], json.clone()),
        (&[JSON, GZIP], gzip(&json)),
        (&[JSON, DEFLATE], zlib(&json)),
        (&[JSON, ZSTD], zstd(&json)),
    ] {
        let reply = send(&fixture.zipkin, headers, body).await;
        assert_eq!(reply.status.as_u16(), 202);
        assert!(reply.body.is_empty());
        assert_eq!(decoded(&fixture.taken().await), expected);
    }
    let reply = send(&fixture.zipkin, &[PROTOBUF], protobuf()).await;
    assert_eq!(reply.status.as_u16(), 202);
    let taken = decoded(&fixture.taken().await);
    let span = &taken.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.trace_id, 7_u128.to_be_bytes());
    // What senders ask with whether anybody is there.
    let reply = send(&fixture.zipkin, &[JSON], b"[]".to_vec()).await;
    assert_eq!(reply.status.as_u16(), 202);
    fixture.took_nothing();
    let taken = fixture.zipkin_status.accepted_spans.load(Ordering::Relaxed);
    assert_eq!(taken, 1_801);
}

#[tokio::test]
async fn everything_else_is_told_what_is_wrong() {
    let fixture = start().await;
    let check =
        async |path, headers: &[(&'static str, &str)], body: Vec<u8>, status: u16, part: &str| {
            let reply = post(&fixture.zipkin, Protocol::Http1, path, headers, body).await;
            assert_eq!(reply.status.as_u16(), status, "{part}");
            assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
            let text = String::from_utf8(reply.body.to_vec()).unwrap();
            assert!(text.contains(part), "`{text}` lacks `{part}`");
            reply
        };
    let json = spans(2);
    let cut = json[..json.len() - 1].to_vec();
    check(
        SPANS,
        &[JSON],
        cut,
        400,
        "(span 2, counted from 0): the text ends",
    )
    .await;
    check(
        SPANS,
        &[JSON],
        protobuf(),
        400,
        "where an array is expected",
    )
    .await;
    check(
        SPANS,
        &[PROTOBUF],
        json.clone(),
        400,
        "span 0 (counted from 0)",
    )
    .await;
    check(SPANS, &[GZIP], json.clone(), 400, "gzip body is corrupt").await;
    check(
        SPANS,
        &[],
        vec![b' '; (20 << 20) + 1],
        413,
        "20971520 bytes",
    )
    .await;
    check(
        SPANS,
        &[("content-encoding", "br")],
        json.clone(),
        415,
        "`br` is not accepted",
    )
    .await;
    let thrift = [("content-type", "application/x-thrift")];
    check(
        SPANS,
        &thrift,
        vec![],
        415,
        "Thrift is of Zipkin's format v1",
    )
    .await;
    let v1 =
        "Zipkin's format v1 (JSON and Thrift) is not taken; this port takes POST /api/v2/spans";
    check("/api/v1/spans", &[JSON], json.clone(), 404, v1).await;
    let otlp = format!("OTLP over HTTP is taken at {}", fixture.http);
    check("/v1/traces", &[PROTOBUF], vec![], 404, &otlp).await;
    check("/", &[], vec![], 404, "nothing is at /").await;
    let rejected = fixture
        .zipkin_status
        .rejected_batches
        .load(Ordering::Relaxed);
    assert_eq!(rejected, 10);
    let grpc = [("content-type", "application/grpc")];
    let reply = post(&fixture.zipkin, Protocol::Http2, "/a/b", &grpc, vec![]).await;
    let message = reply.headers["grpc-message"].to_str().unwrap();
    assert!(message.contains(&fixture.grpc), "{message}");
    let answer = raw(
        &fixture.zipkin,
        b"PUT /api/v2/spans HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert!(answer.contains("allow: POST"), "{answer}");
    fixture.took_nothing();
}

#[tokio::test]
async fn spans_that_need_more_memory_than_usual_get_it_when_there_is_some() {
    let body = format!("[{}]", vec![r#"{"traceId":"1","id":"1"}"#; 5_000].join(","));
    let mut roomy = start().await;
    let reply = send(&roomy.zipkin, &[], body.clone().into_bytes()).await;
    assert_eq!(reply.status.as_u16(), 202);
    let taken = decoded(&roomy.taken().await);
    assert!(taken.encoded_len() > body.len());

    let small = start_with(Budget::new(body.len() * 4)).await;
    let reply = send(&small.zipkin, &[], body.clone().into_bytes()).await;
    assert_eq!(reply.status.as_u16(), 413);
    small.took_nothing();

    let budget = Budget::new(body.len() * 4);
    let busy = start_with(budget.clone()).await;
    let _other = budget.reserve(body.len() * 2).unwrap();
    let reply = send(&busy.zipkin, &[], body.into_bytes()).await;
    assert_eq!(reply.status.as_u16(), 503);
    assert_eq!(reply.headers["retry-after"], "1");
}

async fn ask(fixture: &Fixture, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}connection: close\r\n\r\n");
    raw(&fixture.zipkin, request.as_bytes()).await
}

#[tokio::test]
async fn questions_are_handed_to_who_answers_them() {
    let fixture = start().await;
    let answer = ask(&fixture, "/api/v2/services?x=%20y", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let asked = "/api/v2/services?x=%20y asked of [\"a\"]";
    assert!(answer.ends_with(asked), "{answer}");
    let answer = ask(&fixture, "/api/v2/services", "host: b\r\nhost: c\r\n").await;
    let asked = "/api/v2/services asked of [\"a\", \"b\"]";
    assert!(answer.ends_with(asked), "{answer}");
    let answer = ask(&fixture, "/api/v2/nothing", "").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let answer = ask(&fixture, "/v1/traces", "").await;
    assert!(answer.contains("OTLP over HTTP is taken at"), "{answer}");
    let head = raw(
        &fixture.zipkin,
        b"HEAD /api/v2/services HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    );
    let answer = head.await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    fixture.took_nothing();
    let refused = fixture
        .zipkin_status
        .rejected_batches
        .load(Ordering::Relaxed);
    assert_eq!(refused, 0, "nobody lost spans");
}

#[tokio::test]
async fn a_question_for_which_there_is_no_room_is_to_come_again_and_is_no_lost_batch() {
    let fixture = start().await;
    let room = fixture.requests.limit() - REQUEST_BYTES;
    let held = fixture.requests.reserve(room).unwrap();
    // There is room for it, but not for what it asks.
    let long = format!("/api/v2/services?{}", "x".repeat(100));
    let answer = ask(&fixture, &long, "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    drop(held);
    let answer = ask(&fixture, &long, "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    fixture.took_nothing();
    let refused = fixture
        .zipkin_status
        .refused_batches
        .load(Ordering::Relaxed);
    assert_eq!(refused, 0);
}
