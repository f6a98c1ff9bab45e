//! OTLP over HTTP, by a client and by raw bytes.

use std::io::Write;
use std::sync::atomic::Ordering;

use ::http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{PROTOBUF, bare_deflate, gzip, post, raw, start, until, zlib, zstd};
use crate::net::client::Protocol;
use crate::net::rpc_status::RpcStatus;
use crate::wire::test_support;

/// What is sent beside a batch, and the batch as sent.
type Sent<'a> = (&'a [(&'static str, &'a str)], Vec<u8>);

#[tokio::test]
async fn http_batches_are_taken_plain_and_compressed() {
    let mut fixture = start().await;
    let batch = test_support::request("shop", 300);
    let charset = ("content-type", "application/x-protobuf; charset=utf-8");
    let members = [gzip(&batch[..100]), gzip(&batch[100..])].concat();
    let frames = [zstd(&batch[..100]), zstd(&batch[100..])].concat();
    let deflate = ("content-encoding", "deflate");
    let bodies: [Sent<'_>; 8] = [
        (&[PROTOBUF], batch.clone()),
        (&[charset, ("content-encoding", "identity")], batch.clone()),
        (&[PROTOBUF, ("content-encoding", "gzip")], gzip(&batch)),
        (&[PROTOBUF, ("content-encoding", "gzip")], members),
        (&[PROTOBUF, deflate], zlib(&batch)),
        (&[PROTOBUF, deflate], bare_deflate(&batch)),
        (&[PROTOBUF, ("content-encoding", "zstd")], zstd(&batch)),
        (&[PROTOBUF, ("content-encoding", "ZSTD")], frames),
    ];
    for (headers, body) in bodies {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let reply = post(&fixture.http, protocol, "/v1/traces", headers, body.clone()).await;
            assert_eq!(reply.status, StatusCode::OK);
            assert_eq!(reply.headers["content-type"], "application/x-protobuf");
            assert!(reply.body.is_empty());
            fixture.took(&batch).await;
        }
    }
    assert_eq!(
        fixture.http_status.accepted_batches.load(Ordering::Relaxed),
        16
    );
}

#[tokio::test]
async fn every_other_http_request_is_told_what_is_wrong() {
    let fixture = start().await;
    let check =
        async |path, headers: &[(&'static str, &str)], body: Vec<u8>, status: u16, part: &str| {
            let reply = post(&fixture.http, Protocol::Http1, path, headers, body).await;
            assert_eq!(reply.status.as_u16(), status);
            let text = match reply.headers["content-type"].to_str().unwrap() {
                "application/x-protobuf" => {
                    RpcStatus::from_protobuf(&reply.body).message.into_owned()
                }
                _ => String::from_utf8(reply.body.to_vec()).unwrap(),
            };
            assert!(text.contains(part), "`{text}` lacks `{part}`");
            assert!(!reply.headers.contains_key("retry-after"));
            reply
        };
    let batch = test_support::request("shop", 2);
    let cut = batch[..batch.len() - 1].to_vec();
    check("/v1/traces", &[PROTOBUF], cut, 400, "truncated").await;
    check(
        "/v1/traces",
        &[PROTOBUF],
        b"spans, please".to_vec(),
        400,
        "malformed",
    )
    .await;
    let gzipped = [PROTOBUF, ("content-encoding", "gzip")];
    let bomb = gzip(&vec![0; (20 << 20) + 1]);
    check(
        "/v1/traces",
        &gzipped,
        bomb,
        413,
        "larger than the 20971520",
    )
    .await;
    check(
        "/v1/traces",
        &gzipped,
        batch.clone(),
        400,
        "gzip body is corrupt",
    )
    .await;
    let large = vec![0; (20 << 20) + 1];
    check(
        "/v1/traces",
        &[PROTOBUF],
        large,
        413,
        "larger than the 20971520",
    )
    .await;
    let zstd_encoded = [PROTOBUF, ("content-encoding", "zstd")];
    let bomb = zstd(&vec![0; (20 << 20) + 1]);
    check(
        "/v1/traces",
        &zstd_encoded,
        bomb,
        413,
        "larger than the 20971520",
    )
    .await;
    let broken = zstd(&batch)[..20].to_vec();
    check(
        "/v1/traces",
        &zstd_encoded,
        broken,
        400,
        "zstd body is corrupt",
    )
    .await;
    for (encodings, part) in [
        (
            &["br"][..],
            "`br` is not accepted; send gzip, deflate, zstd or identity",
        ),
        (&["gzip, zstd"], "`gzip, zstd` is not accepted"),
        (&["gzip", "gzip"], "`gzip, gzip` is not accepted"),
    ] {
        let encodings = encodings.iter().map(|name| ("content-encoding", *name));
        let headers: Vec<_> = [PROTOBUF].into_iter().chain(encodings).collect();
        let reply = check("/v1/traces", &headers, gzip(&batch), 415, part).await;
        assert_eq!(reply.headers["accept-encoding"], "gzip, deflate, zstd");
    }
    let text = [("content-type", "text/plain")];
    let reply = check(
        "/v1/traces",
        &text,
        batch.clone(),
        415,
        "send application/x-protobuf",
    )
    .await;
    assert_eq!(
        reply.headers["accept"],
        "application/x-protobuf, application/json"
    );
    check("/v1/traces", &[], batch.clone(), 415, "content type none").await;
    assert_eq!(
        fixture.http_status.rejected_batches.load(Ordering::Relaxed),
        12
    );

    check("/", &[], vec![], 404, "this port takes POST /v1/traces").await;
    let zipkin = format!("Zipkin's format is taken at {}", fixture.zipkin);
    check("/api/v2/spans", &[], vec![], 404, &zipkin).await;
    fixture.took_nothing();
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let fixture = start().await;
    let answer = raw(
        &fixture.http,
        b"GET /v1/traces HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert!(answer.contains("allow: POST"), "{answer}");
    assert!(answer.contains("GET is not taken"), "{answer}");
}

#[tokio::test]
async fn a_chunked_body_beyond_the_limit_is_refused_while_it_comes() {
    let fixture = start().await;
    let mut request = b"POST /v1/traces HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
        content-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_vec();
    let chunk = vec![0; 1 << 20];
    for _ in 0..22 {
        write!(request, "{:x}\r\n", chunk.len()).unwrap();
        request.extend(&chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    let answer = raw(&fixture.http, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    fixture.took_nothing();
}

#[tokio::test]
async fn a_body_that_is_cut_off_leaves_nothing_behind() {
    let fixture = start().await;
    let mut stream = TcpStream::connect(&fixture.http).await.unwrap();
    let head = b"POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\
        content-type: application/x-protobuf\r\n\r\nabc";
    stream.write_all(head).await.unwrap();
    let held = || fixture.budget.used() == 1000;
    until(held).await;
    drop(stream);
    until(|| fixture.budget.used() == 0).await;
    fixture.took_nothing();
}
