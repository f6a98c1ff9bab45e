//! OTLP/JSON over the port that takes OTLP over HTTP.

use std::sync::atomic::Ordering;

use super::{decoded, gzip, post, start, start_with, zstd};
use crate::budget::Budget;
use crate::net::client::{Protocol, Reply};
use crate::net::rpc_status::Code;
use crate::wire::test_support;

const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

/// The same request in protobuf and in JSON.
fn batch(spans: u64) -> (Vec<u8>, Vec<u8>) {
    let protobuf = test_support::request("shop", spans);
    let json = serde_json::to_vec(&decoded(&protobuf)).unwrap();
    (protobuf, json)
}

async fn send(address: &str, headers: &[(&'static str, &str)], body: Vec<u8>) -> Reply {
    post(address, Protocol::Http1, "/v1/traces", headers, body).await
}

fn body_of(reply: &Reply) -> serde_json::Value {
    assert_eq!(reply.headers["content-type"], "application/json");
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn json_batches_are_taken_and_answered_in_json() {
    let mut fixture = start().await;
    let (protobuf, json) = batch(300);
    let charset = ("content-type", "Application/JSON; charset=utf-8");
    for (headers, body) in [
        (&[JSON][..], json.clone()),
        (&[charset], json.clone()),
        (&[JSON, GZIP], gzip(&json)),
        (&[JSON, ("content-encoding", "zstd")], zstd(&json)),
    ] {
        let reply = send(&fixture.http, headers, body).await;
        assert_eq!(reply.status.as_u16(), 200);
        assert_eq!(body_of(&reply), serde_json::json!({}));
        let taken = fixture.taken().await;
        assert!(decoded(&taken) == decoded(&protobuf));
    }
    let reply = send(&fixture.http, &[JSON], b"{}".to_vec()).await;
    assert_eq!(reply.status.as_u16(), 200);
    fixture.took_nothing();
    let taken = fixture.http_status.accepted_spans.load(Ordering::Relaxed);
    assert_eq!(taken, 1_200);
}

#[tokio::test]
async fn json_faults_are_a_status_in_json() {
    let fixture = start().await;
    let (_, json) = batch(3);
    let check = async |headers, body, status: u16, code: Code, part: &str| {
        let reply = send(&fixture.http, headers, body).await;
        assert_eq!(reply.status.as_u16(), status);
        let body = body_of(&reply);
        assert_eq!(body["code"], code as u8);
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
    };
    let invalid = Code::InvalidArgument;
    let cut = json[..json.len() - 2].to_vec();
    check(&[JSON][..], cut, 400, invalid, "line 1, column").await;
    let empty = Vec::new();
    check(&[JSON], empty, 400, invalid, "the text ends").await;
    let text = String::from_utf8(json.clone()).unwrap();
    let id = format!("\"traceId\":\"{:032x}\"", 1);
    assert!(text.contains(&id));
    let base64 = text.replace(&id, "\"traceId\":\"AAAAAAAAAAAAAAAAAAAAAQ==\"");
    check(
        &[JSON],
        base64.into_bytes(),
        400,
        invalid,
        "looks like base64",
    )
    .await;
    // What the text cannot tell, the walk does.
    let none = text.replace(&id, "\"traceId\":null");
    check(
        &[JSON],
        none.into_bytes(),
        400,
        invalid,
        "trace_id of 0 bytes",
    )
    .await;
    check(&[JSON, GZIP], json, 400, invalid, "gzip body is corrupt").await;
    let large = vec![b' '; (20 << 20) + 1];
    let too_large = Code::ResourceExhausted;
    check(&[JSON], large.clone(), 413, too_large, "20971520 bytes").await;
    check(
        &[JSON, GZIP],
        gzip(&large),
        413,
        too_large,
        "20971520 bytes",
    )
    .await;
    let rejected = fixture.http_status.rejected_batches.load(Ordering::Relaxed);
    assert_eq!(rejected, 7);
    fixture.took_nothing();
}

#[tokio::test]
async fn what_json_becomes_is_reserved_beside_it() {
    let (_, json) = batch(300);
    let budget = Budget::new(json.len() * 2 + 1_024);
    let mut fixture = start_with(budget.clone()).await;
    let other = budget.reserve(2_048).unwrap();
    let reply = send(&fixture.http, &[JSON], json.clone()).await;
    assert_eq!(reply.status.as_u16(), 503, "{reply:?}");
    assert_eq!(reply.headers["retry-after"], "1");
    assert_eq!(body_of(&reply)["code"], Code::Unavailable as u8);
    drop(other);
    let reply = send(&fixture.http, &[JSON], json.clone()).await;
    assert_eq!(reply.status.as_u16(), 200);
    fixture.taken().await;
    let refused = &fixture.http_status.refused_batches;
    assert_eq!(refused.load(Ordering::Relaxed), 1);

    // Beside itself, this will never have room: to send it again is of no use.
    let small = start_with(Budget::new(json.len() * 3 / 2)).await;
    let reply = send(&small.http, &[JSON], json).await;
    assert_eq!(reply.status.as_u16(), 413, "{reply:?}");
    small.took_nothing();
}
