//! Logs and metrics through both OTLP ports: the bytes that came are the bytes in the log.

use std::sync::atomic::{AtomicU64, Ordering};

use ::http::StatusCode;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use prost::Message;
use tonic::codec::CompressionEncoding;

use super::{Fixture, PROTOBUF, framed, gzip, post, start, start_taking};
use crate::budget::Budget;
use crate::net::client::{Protocol, Reply};
use crate::net::rpc_status::{Code, RpcStatus};
use crate::signal::{Signal, Signals};
use crate::wire::test_support;

const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const GRPC: (&str, &str) = ("content-type", "application/grpc");
const PASSED_ON: [Signal; 2] = [Signal::Logs, Signal::Metrics];

async fn send(
    fixture: &Fixture,
    signal: Signal,
    headers: &[(&'static str, &str)],
    body: Vec<u8>,
) -> Reply {
    let path = signal.http_path();
    post(&fixture.http, Protocol::Http1, path, headers, body).await
}

fn to_json(signal: Signal, batch: &[u8]) -> Vec<u8> {
    match signal {
        Signal::Logs => serde_json::to_vec(&ExportLogsServiceRequest::decode(batch).unwrap()),
        _ => serde_json::to_vec(&ExportMetricsServiceRequest::decode(batch).unwrap()),
    }
    .unwrap()
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[tokio::test]
async fn http_batches_are_taken_as_they_came_and_json_as_what_it_means() {
    let mut fixture = start().await;
    for signal in PASSED_ON {
        let batch = test_support::request_of(signal, "shop", 300);
        let json = to_json(signal, &batch);
        let bodies: [(&[(&'static str, &str)], _); 4] = [
            (&[PROTOBUF], batch.clone()),
            (&[PROTOBUF, GZIP], gzip(&batch)),
            (&[JSON], json.clone()),
            (&[JSON, GZIP], gzip(&json)),
        ];
        for (headers, body) in bodies {
            let reply = send(&fixture, signal, headers, body).await;
            assert_eq!(reply.status, StatusCode::OK, "{signal:?} {headers:?}");
            let is_json = headers.contains(&JSON);
            assert_eq!(&reply.body[..], if is_json { &b"{}"[..] } else { b"" });
            // Written by prost in the order of the fields, as the transcoder finds them in this JSON.
            fixture.took_alike(signal, &batch, is_json).await;
        }
    }
    let status = &fixture.http_status;
    assert_eq!(count(&status.accepted_batches), 8);
    let items = [Signal::Traces, Signal::Logs, Signal::Metrics]
        .map(|signal| count(status.accepted().of(signal)));
    assert_eq!(items, [0, 1_200, 1_200]);
}

impl Fixture {
    async fn took_alike(&mut self, signal: Signal, batch: &[u8], is_json: bool) {
        let taken = self.taken().await;
        if !is_json {
            assert!(taken == batch, "other bytes came");
        } else if signal == Signal::Logs {
            let decoded = |bytes: &[u8]| ExportLogsServiceRequest::decode(bytes).unwrap();
            assert_eq!(decoded(&taken), decoded(batch));
        } else {
            let decoded = |bytes: &[u8]| ExportMetricsServiceRequest::decode(bytes).unwrap();
            assert_eq!(decoded(&taken), decoded(batch));
        }
    }
}

#[tokio::test]
async fn generated_grpc_clients_are_served() {
    let mut fixture = start().await;
    let address = format!("http://{}", fixture.grpc);
    let batch = test_support::logs_request("shop", 500);
    let logs = || ExportLogsServiceRequest::decode(&batch[..]).unwrap();
    let mut client = LogsServiceClient::connect(address.clone()).await.unwrap();
    let answer = client.export(logs()).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);
    fixture.took(&batch).await;
    let mut compressing = client.send_compressed(CompressionEncoding::Gzip);
    compressing.export(logs()).await.unwrap();
    fixture.took(&batch).await;

    let batch = test_support::metrics_request("shop", 500);
    let metrics = ExportMetricsServiceRequest::decode(&batch[..]).unwrap();
    let mut client = MetricsServiceClient::connect(address).await.unwrap();
    let answer = client.export(metrics).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);
    fixture.took(&batch).await;
    let empty = ExportMetricsServiceRequest::default();
    client.export(empty).await.unwrap();
    fixture.took_nothing();
    let status = &fixture.grpc_status;
    assert_eq!(count(&status.accepted_log_records), 1_000);
    assert_eq!(count(&status.accepted_data_points), 500);
    assert_eq!(count(&status.accepted_batches), 4);
}

#[tokio::test]
async fn what_is_malformed_or_too_large_is_refused_as_of_traces() {
    let fixture = start().await;
    for signal in PASSED_ON {
        let mut cut = test_support::request_of(signal, "shop", 3);
        cut.pop();
        let reply = send(&fixture, signal, &[PROTOBUF], cut.clone()).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        let text = RpcStatus::from_protobuf(&reply.body).message;
        let name = match signal {
            Signal::Logs => "malformed ExportLogsServiceRequest: truncated",
            _ => "malformed ExportMetricsServiceRequest: truncated",
        };
        assert!(text.contains(name), "{text}");

        let path = signal.grpc_path();
        let body = framed(0, &cut);
        let reply = post(&fixture.grpc, Protocol::Http2, path, &[GRPC], body).await;
        let status = RpcStatus::from_trailers(&reply.headers)
            .or_else(|| RpcStatus::from_trailers(&reply.trailers));
        assert_eq!(status.unwrap().code, Code::InvalidArgument);

        let bomb = gzip(&vec![0; (20 << 20) + 1]);
        let reply = send(&fixture, signal, &[PROTOBUF, GZIP], bomb).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);

        let reply = send(&fixture, signal, &[JSON], b"{\"resource".to_vec()).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        let text = String::from_utf8_lossy(&reply.body);
        let place = format!("line 1, column 11 ({} 0", signal.item());
        assert!(text.contains(&place), "{text}");
    }
    fixture.took_nothing();
    assert_eq!(count(&fixture.http_status.rejected_batches), 6);
    assert_eq!(count(&fixture.grpc_status.rejected_batches), 2);
}

#[tokio::test]
async fn what_no_exporter_takes_is_refused_by_name() {
    let traces_and_logs: Signals = [Signal::Traces, Signal::Logs].into_iter().collect();
    let mut fixture = start_taking(traces_and_logs, Budget::new(64 << 20)).await;
    let logs = test_support::logs_request("shop", 3);
    let reply = send(&fixture, Signal::Logs, &[PROTOBUF], logs.clone()).await;
    assert_eq!(reply.status, StatusCode::OK);
    fixture.took(&logs).await;

    let metrics = test_support::metrics_request("shop", 3);
    let refusal = "no exporter of this collector takes metrics";
    let reply = send(&fixture, Signal::Metrics, &[PROTOBUF], metrics.clone()).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    let status = RpcStatus::from_protobuf(&reply.body);
    assert_eq!(status.code, Code::Unimplemented);
    assert!(status.message.contains(refusal), "{}", status.message);

    let path = Signal::Metrics.grpc_path();
    let body = framed(0, &metrics);
    let reply = post(&fixture.grpc, Protocol::Http2, path, &[GRPC], body).await;
    let status = RpcStatus::from_trailers(&reply.headers)
        .or_else(|| RpcStatus::from_trailers(&reply.trailers))
        .unwrap();
    assert_eq!(status.code, Code::Unimplemented);
    assert!(status.message.contains(refusal), "{}", status.message);
    fixture.took_nothing();
}
