//! Logs and metrics through a worker: each on its own path, in requests of their own, and with troubles of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceServiceServer;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use tokio_stream::wrappers::TcpListenerStream;

use super::worker_tests::{Fixture, GrpcPeer, HttpPeer, answer, bind};
use super::{Config, Target};
use crate::net::body::Answer;
use crate::signal::{Items, Signal};
use crate::wire::test_support::request_of;
use crate::wire::{count_data_points, count_log_records, walk};

/// Bodies by the path that they came to.
type Bodies = Arc<Mutex<BTreeMap<String, Vec<Bytes>>>>;

/// A peer that notes what comes, and answers each path by `script`.
async fn peer(
    bodies: &Bodies,
    script: impl Fn(&str, &Bytes) -> Response<Answer> + Send + Sync + 'static,
) -> HttpPeer {
    let (listener, _) = bind().await;
    let bodies = Arc::clone(bodies);
    HttpPeer::serve_heads(listener, move |_, head, body| {
        let path = head.uri.path();
        let answer = script(path, &body);
        if answer.status().is_success() {
            let mut bodies = bodies.lock().unwrap();
            bodies.entry(path.to_owned()).or_default().push(body);
        }
        answer
    })
}

fn taken(_: &str, _: &Bytes) -> Response<Answer> {
    Response::new(Answer::default())
}

/// Two batches of 3 items of each signal, in turn.
fn mixed() -> Vec<(Signal, Vec<u8>)> {
    let services = ["a", "b"].into_iter();
    let batches = services
        .flat_map(|service| Signal::ALL.map(|signal| (signal, request_of(signal, service, 3))));
    batches.collect()
}

/// A worker for `url` that finds these waiting.
fn start(url: &str, batches: &[(Signal, Vec<u8>)]) -> Fixture {
    let config = Config::to(Target::parse(url).unwrap());
    let fixture = Fixture::start_with(config, &[]);
    for (signal, batch) in batches {
        let items = match signal {
            Signal::Traces => walk(batch, |_| ()).unwrap() as u64,
            Signal::Logs => count_log_records(batch).unwrap(),
            Signal::Metrics => count_data_points(batch).unwrap(),
        };
        // The worker has not run yet: no await came in between.
        let appended = fixture.log.append(*signal, batch.clone().into(), items);
        appended.now_or_never().unwrap().unwrap();
    }
    fixture
}

fn items(spans: u64, log_records: u64, data_points: u64) -> Items {
    Items {
        traces: spans,
        logs: log_records,
        metrics: data_points,
    }
}

#[tokio::test]
async fn each_signal_goes_out_merged_on_its_own_path() {
    let bodies = Bodies::default();
    let peer = peer(&bodies, taken).await;
    let mut fixture = start(&format!("otlp+http://{}/base", peer.address), &mixed());
    fixture.finish().await;
    assert_eq!(fixture.status.sent().load(), items(6, 6, 6));
    assert_eq!(peer.requests(), 3);
    let bodies = bodies.lock().unwrap();
    for signal in Signal::ALL {
        // Byte for byte, one behind the other.
        let merged = ["a", "b"].map(|service| request_of(signal, service, 3));
        let path = format!("/base{}", signal.http_path());
        assert_eq!(bodies[&path], [merged.concat()], "{path}");
    }
}

#[tokio::test]
async fn what_a_peer_does_not_take_at_all_holds_nothing_else_back() {
    let bodies = Bodies::default();
    let script = |path: &str, _: &Bytes| match path {
        "/v1/logs" => answer(404, &[]),
        _ => Response::new(Answer::default()),
    };
    let peer = peer(&bodies, script).await;
    let mut fixture = start(&format!("otlp+http://{}", peer.address), &mixed());
    fixture.finish().await;
    assert_eq!(fixture.status.sent().load(), items(6, 0, 6));
    assert_eq!(fixture.status.set_aside().load(), items(0, 6, 0));
    assert_eq!(fixture.status.dropped().load(), items(0, 0, 0));
    let retries = fixture
        .status
        .retries
        .load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(retries, 0);
    let error = fixture.last_error();
    assert!(error.starts_with("logs: the peer answered 404"), "{error}");
}

#[tokio::test]
async fn the_one_batch_that_is_refused_is_found_among_its_signals() {
    let bodies = Bodies::default();
    let script = |_: &str, body: &Bytes| match memchr::memmem::find(body, b"poison") {
        Some(_) => answer(400, &[]),
        None => Response::new(Answer::default()),
    };
    let peer = peer(&bodies, script).await;
    let services = ["a", "b", "poison", "d", "e"].into_iter();
    let batches = services
        .flat_map(|service| Signal::ALL.map(|signal| (signal, request_of(signal, service, 3))));
    let batches: Vec<_> = batches.collect();
    let mut fixture = start(&format!("otlp+http://{}", peer.address), &batches);
    fixture.finish().await;
    assert_eq!(fixture.status.sent().load(), items(12, 12, 12));
    assert_eq!(fixture.status.set_aside().load(), items(3, 3, 3));
    let bodies = bodies.lock().unwrap();
    for signal in Signal::ALL {
        let good = ["a", "b", "d", "e"].map(|service| request_of(signal, service, 3));
        assert_eq!(bodies[signal.http_path()].concat(), good.concat());
    }
}

#[tokio::test]
async fn a_busy_peer_is_sent_the_same_again_and_nothing_else_twice() {
    let bodies = Bodies::default();
    let busy = Mutex::new(true);
    let script = move |path: &str, _: &Bytes| match path {
        "/v1/logs" if std::mem::take(&mut *busy.lock().unwrap()) => answer(503, &[]),
        _ => Response::new(Answer::default()),
    };
    let peer = peer(&bodies, script).await;
    let mut fixture = start(&format!("otlp+http://{}", peer.address), &mixed());
    fixture.finish().await;
    assert_eq!(fixture.status.sent().load(), items(6, 6, 6));
    assert_eq!(peer.requests(), 4);
}

#[tokio::test]
async fn a_metric_beyond_the_peers_limit_goes_out_in_parts() {
    let bodies = Bodies::default();
    let peer = peer(&bodies, taken).await;
    let large = request_of(Signal::Metrics, "shop", 200_000);
    assert!(large.len() > 4 << 20);
    let batches = [
        (Signal::Metrics, large),
        (Signal::Traces, request_of(Signal::Traces, "shop", 1)),
    ];
    let mut fixture = start(&format!("otlp+http://{}", peer.address), &batches);
    fixture.finish().await;
    assert_eq!(fixture.status.sent().load(), items(1, 0, 200_000));
    let bodies = bodies.lock().unwrap();
    let points = bodies["/v1/metrics"].iter();
    let points: u64 = points.map(|body| count_data_points(body).unwrap()).sum();
    assert_eq!(points, 200_000);
    assert!(
        bodies["/v1/metrics"]
            .iter()
            .all(|body| body.len() <= 4 << 20)
    );
}

/// Takes traces and logs over gRPC, and of each logs request all but one record.
#[derive(Clone, Default)]
struct LogsPeer {
    records: Arc<Mutex<Vec<LogRecord>>>,
}

#[tonic::async_trait]
impl LogsService for LogsPeer {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        let groups = request.into_inner().resource_logs.into_iter();
        let records = groups.flat_map(|group| group.scope_logs);
        let records = records.flat_map(|scope| scope.log_records);
        self.records.lock().unwrap().extend(records);
        Ok(tonic::Response::new(ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess {
                rejected_log_records: 1,
                error_message: "one was too old".to_owned(),
            }),
        }))
    }
}

#[tokio::test]
async fn a_grpc_peer_without_metrics_takes_the_rest() {
    let (traces, logs) = (GrpcPeer::default(), LogsPeer::default());
    let (listener, address) = bind().await;
    let serving = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(traces.clone()))
        .add_service(LogsServiceServer::new(logs.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    let mut fixture = start(&format!("otlp+grpc://{address}"), &mixed());
    fixture.finish().await;
    assert_eq!(fixture.status.sent().load(), items(6, 5, 0));
    assert_eq!(fixture.status.set_aside().load(), items(0, 1, 6));
    let error = fixture.last_error();
    assert!(
        error.starts_with("metrics: the peer answered UNIMPLEMENTED"),
        "{error}"
    );
    let expected = ["a", "b"].map(|service| request_of(Signal::Logs, service, 3));
    let expected = ExportLogsServiceRequest::decode(&expected.concat()[..]).unwrap();
    let expected = expected.resource_logs.into_iter();
    let expected: Vec<_> = expected
        .flat_map(|group| group.scope_logs)
        .flat_map(|scope| scope.log_records)
        .collect();
    assert_eq!(*logs.records.lock().unwrap(), expected);
}
