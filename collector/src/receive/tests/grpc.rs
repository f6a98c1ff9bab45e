//! OTLP over gRPC, by a generated client and by hand.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ::http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tonic::codec::CompressionEncoding;

use super::{PROTOBUF, decoded, framed, gzip, post, start, start_with, tonic_client, zstd};
use crate::budget::Budget;
use crate::net::client::Protocol;
use crate::net::rpc_status::{Code, RpcStatus};
use crate::wire::test_support;

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const GRPC: (&str, &str) = ("content-type", "application/grpc");

#[tokio::test]
async fn a_generated_grpc_client_is_served() {
    let mut fixture = start().await;
    let batch = test_support::request("shop", 500);
    let client = tonic_client(&fixture.grpc).await;
    let answer = client.clone().export(decoded(&batch)).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);
    fixture.took(&batch).await;
    for encoding in [
        CompressionEncoding::Gzip,
        CompressionEncoding::Deflate,
        CompressionEncoding::Zstd,
    ] {
        let mut compressing = client.clone().send_compressed(encoding);
        compressing.export(decoded(&batch)).await.unwrap();
        fixture.took(&batch).await;
    }
    client
        .clone()
        .export(ExportTraceServiceRequest::default())
        .await
        .unwrap();
    fixture.took_nothing();
    assert_eq!(
        fixture.grpc_status.accepted_spans.load(Ordering::Relaxed),
        2000
    );
    assert_eq!(
        fixture.grpc_status.accepted_batches.load(Ordering::Relaxed),
        5
    );
}

#[tokio::test]
async fn a_generated_grpc_client_reads_its_errors() {
    let fixture = start().await;
    let mut large = test_support::span(1, 1, 0);
    large.name = "x".repeat(5 << 20);
    let large = test_support::encode(vec![test_support::resource_spans("shop", vec![large])]);
    let mut client = tonic_client(&fixture.grpc).await;
    let error = client.export(decoded(&large)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::ResourceExhausted);
    assert_eq!(
        error.details(),
        b"",
        "a RetryInfo would make the client send it again"
    );
    assert!(
        error.message().contains("larger than the 4194304 bytes"),
        "{error}"
    );

    let mut wrong_port = tonic_client(&fixture.http).await;
    let error = wrong_port.export(decoded(b"")).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unimplemented);
    let hint = format!("OTLP over gRPC is taken at {}", fixture.grpc);
    assert!(error.message().contains(&hint), "{error}");
    fixture.took_nothing();
}

#[tokio::test]
async fn no_room_is_unavailable_with_a_retry_time() {
    let fixture = start_with(Budget::new(100_000)).await;
    let others = fixture.budget.reserve(100_000).unwrap();
    let batch = test_support::request("shop", 50);
    let mut client = tonic_client(&fixture.grpc).await;
    let error = client.export(decoded(&batch)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable);
    let details = RpcStatus::from_protobuf(error.details());
    assert_eq!(details.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(details.code, Code::Unavailable);
    let reply = post(
        &fixture.http,
        Protocol::Http1,
        "/v1/traces",
        &[PROTOBUF],
        batch,
    )
    .await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.headers["retry-after"], "1");
    let status = RpcStatus::from_protobuf(&reply.body);
    assert!(status.message.contains("no room for"), "{}", status.message);
    drop(others);
    fixture.took_nothing();
    assert_eq!(
        fixture.grpc_status.refused_batches.load(Ordering::Relaxed),
        1
    );
    assert_eq!(
        fixture.http_status.refused_batches.load(Ordering::Relaxed),
        1
    );
}

#[tokio::test]
async fn what_will_never_have_room_is_too_large_and_not_to_be_sent_again() {
    let fixture = start_with(Budget::new(10_000)).await;
    let batch = test_support::request("shop", 500);
    let mut client = tonic_client(&fixture.grpc).await;
    let error = client.export(decoded(&batch)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::ResourceExhausted);
    assert_eq!(error.details(), b"");
    let zipped = gzip(&batch);
    for (body, headers) in [
        (batch, &[PROTOBUF][..]),
        (zipped, &[PROTOBUF, ("content-encoding", "gzip")][..]),
    ] {
        let reply = post(&fixture.http, Protocol::Http1, "/v1/traces", headers, body).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(!reply.headers.contains_key("retry-after"));
    }
    fixture.took_nothing();
}

#[tokio::test]
async fn every_other_grpc_request_is_told_what_is_wrong() {
    let fixture = start().await;
    let check =
        async |path, headers: &[(&'static str, &str)], body: Vec<u8>, code: Code, part: &str| {
            let reply = post(&fixture.grpc, Protocol::Http2, path, headers, body).await;
            assert_eq!(reply.status, StatusCode::OK);
            assert_eq!(reply.headers["content-type"], "application/grpc");
            let accepted = &reply.headers["grpc-accept-encoding"];
            assert_eq!(accepted, "identity,gzip,deflate,zstd");
            let status = RpcStatus::from_trailers(&reply.headers).expect("a trailers-only answer");
            assert_eq!(status.code, code, "{}", status.message);
            assert!(
                status.message.contains(part),
                "`{}` lacks `{part}`",
                status.message
            );
            assert_eq!(status.retry_after, None);
        };
    let batch = test_support::request("shop", 2);
    let cut = framed(0, &batch[..batch.len() - 1]);
    check(TRACES, &[GRPC], cut, Code::InvalidArgument, "truncated").await;
    let text = framed(0, b"spans, please");
    check(TRACES, &[GRPC], text, Code::InvalidArgument, "malformed").await;
    let gzipped = [GRPC, ("grpc-encoding", "gzip")];
    let bomb = framed(1, &gzip(&vec![0; (4 << 20) + 1]));
    check(
        TRACES,
        &gzipped,
        bomb,
        Code::ResourceExhausted,
        "larger than the 4194304",
    )
    .await;
    let broken = framed(1, &gzip(&batch)[..30]);
    check(
        TRACES,
        &gzipped,
        broken,
        Code::InvalidArgument,
        "gzip body is corrupt",
    )
    .await;
    let bomb = framed(1, &zstd(&vec![0; (4 << 20) + 1]));
    check(
        TRACES,
        &[GRPC, ("grpc-encoding", "zstd")],
        bomb,
        Code::ResourceExhausted,
        "larger than the 4194304",
    )
    .await;
    check(
        TRACES,
        &[GRPC, ("grpc-encoding", "snappy")],
        framed(1, b"a"),
        Code::Unimplemented,
        "`snappy` is not taken; use gzip, deflate, zstd or identity",
    )
    .await;
    check(
        "/a.B/C",
        &[GRPC],
        framed(0, b""),
        Code::Unimplemented,
        "unknown method /a.B/C",
    )
    .await;
    fixture.took_nothing();
    assert_eq!(
        fixture.grpc_status.rejected_batches.load(Ordering::Relaxed),
        6
    );
    let last = fixture.grpc_status.last_error.get().unwrap().message;
    assert!(last.contains("snappy"), "{last}");
}

#[tokio::test]
async fn what_is_no_grpc_is_told_the_right_port() {
    let fixture = start().await;
    let batch = test_support::request("shop", 1);
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let headers = [PROTOBUF];
        let reply = post(
            &fixture.grpc,
            protocol,
            "/v1/traces",
            &headers,
            batch.clone(),
        )
        .await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let text = RpcStatus::from_protobuf(&reply.body).message;
        assert!(
            text.contains(&format!("OTLP over HTTP is taken at {}", fixture.http)),
            "{text}"
        );
    }
    let json = [("content-type", "application/grpc+json")];
    let reply = post(
        &fixture.grpc,
        Protocol::Http2,
        TRACES,
        &json,
        framed(0, b"{}"),
    )
    .await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let reply = post(
        &fixture.grpc,
        Protocol::Http1,
        TRACES,
        &[GRPC],
        framed(0, &batch),
    )
    .await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(String::from_utf8_lossy(&reply.body).contains("HTTP/2"));
    fixture.took_nothing();
    assert_eq!(
        fixture.grpc_status.rejected_batches.load(Ordering::Relaxed),
        4
    );
}

#[tokio::test]
async fn a_content_type_may_be_written_in_any_case() {
    let mut fixture = start().await;
    let batch = test_support::request("shop", 1);
    let headers = [("content-type", "Application/gRPC+Proto; charset=utf-8")];
    let message = framed(0, &batch);
    let reply = post(&fixture.grpc, Protocol::Http2, TRACES, &headers, message).await;
    assert_eq!(reply.trailers["grpc-status"], "0");
    fixture.took(&batch).await;
}

/// What gRPC would answer has the status 200, which elsewhere says that a batch was taken.
#[tokio::test]
async fn grpc_over_http1_is_refused_by_its_http_status() {
    let fixture = start().await;
    for address in [&fixture.http, &fixture.zipkin] {
        let message = framed(0, &test_support::request("shop", 1));
        let reply = post(address, Protocol::Http1, TRACES, &[GRPC], message).await;
        assert!(reply.status.is_client_error(), "{}", reply.status);
        let text = String::from_utf8_lossy(&reply.body);
        assert!(text.contains(&fixture.grpc), "{text}");
    }
    fixture.took_nothing();
}
