//! The client against tonic's own server, and what collectors say besides yes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use ::http::{HeaderName, HeaderValue};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use proptest::prelude::*;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Response, async_trait};

use super::super::Otlp;
use super::super::protobuf::{Expect, bytes_field, message, varint_field};
use super::*;
use crate::trace::testing::record;
use crate::trace::transport::Failure;
use crate::trace::{Endpoint as Where, Protocol};

type Answer = Result<ExportTraceServiceResponse, Status>;

/// A collector that answers as it was told to, in turn.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    answers: VecDeque<Answer>,
    requests: Vec<(MetadataMap, ExportTraceServiceRequest)>,
}

#[async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut seen = self.0.lock().unwrap();
        let (metadata, _, request) = request.into_parts();
        seen.requests.push((metadata, request));
        seen.answers.pop_front().unwrap().map(Response::new)
    }
}

impl Collector {
    /// Listens on a free port of its own; its URL.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(self.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        url
    }
}

#[tokio::test]
async fn a_server_of_tonics_takes_a_batch_when_it_is_asked_again() {
    for compression in [Compression::None, Compression::Gzip] {
        let collector = Collector::default();
        let overloaded = status(
            Code::ResourceExhausted,
            &[detail("RetryInfo", Some((0, 1)))],
        );
        let partly = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: 1,
                error_message: "too old".to_owned(),
            }),
        };
        collector.0.lock().unwrap().answers = [Err(overloaded), Ok(partly)].into();
        let config = ExportConfig {
            endpoint: Where::Base(collector.start().await),
            protocol: Protocol::Grpc,
            compression,
            headers: vec![(
                HeaderName::from_static("x-api-key"),
                HeaderValue::from_static("k"),
            )],
            ..ExportConfig::default()
        };
        let mut otlp = Otlp::new(&config, &[]).unwrap();
        let records = [record("a"), record("b")];
        let accepted = otlp.export(records.iter()).await;
        let expected = Accepted {
            rejected: 1,
            message: "too old".to_owned(),
        };
        assert_eq!(accepted, Ok(expected), "{compression:?}");

        let seen = collector.0.lock().unwrap();
        let [(_, first), (metadata, second)] = &seen.requests[..] else {
            panic!("{compression:?}: {} requests", seen.requests.len());
        };
        assert_eq!(first, second);
        let spans = &second.resource_spans[0].scope_spans[0].spans;
        let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(metadata.get("x-api-key").unwrap(), "k");
        let agent = metadata.get("user-agent").unwrap().to_str().unwrap();
        assert!(agent.starts_with("bellwether/"), "{agent}");
    }
}

/// A `google.protobuf.Any` of a `google.rpc.RetryInfo`, or of what looks like one.
fn detail(name: &str, delay: Option<(i64, i32)>) -> Vec<u8> {
    let mut any = Vec::new();
    let url = format!("type.googleapis.com/google.rpc.{name}");
    bytes_field(&mut any, 1, url.as_bytes());
    message(&mut any, 2, Expect::Short, |info| {
        if let Some((seconds, nanos)) = delay {
            message(info, 1, Expect::Short, |duration| {
                varint_field(duration, 1, seconds.cast_unsigned());
                varint_field(duration, 2, i64::from(nanos).cast_unsigned());
            });
        }
    });
    any
}

/// With the details of a `google.rpc.Status`.
fn status(code: Code, details: &[Vec<u8>]) -> Status {
    let mut status = Vec::new();
    varint_field(&mut status, 1, code as u64);
    bytes_field(&mut status, 2, b"try later");
    for detail in details {
        bytes_field(&mut status, 3, detail);
    }
    Status::with_details(code, "", status.into())
}

#[test]
fn an_overloaded_collector_tells_how_long_to_leave_it_alone() {
    fn check(code: Code, details: &[Vec<u8>], again: bool, millis: Option<u128>) {
        let Failed { failure, asked } = failed(&status(code, details));
        let transient = matches!(failure, Failure::Transient(_));
        assert_eq!(
            (transient, asked.map(|asked| asked.as_millis())),
            (again, millis),
            "{code}"
        );
    }
    let info = |seconds, nanos| detail("RetryInfo", Some((seconds, nanos)));
    let (exhausted, unavailable) = (Code::ResourceExhausted, Code::Unavailable);
    let second = Some((1, 0));
    check(unavailable, &[], true, None);
    check(unavailable, &[info(2, 500_000_000)], true, Some(2_500));
    check(exhausted, &[info(0, 0)], true, Some(0));
    check(exhausted, &[], false, None);
    check(exhausted, &[detail("RetryInfo", None)], false, None);
    check(exhausted, &[info(-1, 0)], false, None);
    check(exhausted, &[info(0, -1)], false, None);
    check(exhausted, &[detail("Help", second)], false, None);
    let both = [detail("Help", None), info(1, 0)];
    check(exhausted, &both, true, Some(1_000));
    // Not told to come back.
    check(Code::Internal, &[info(1, 0)], false, None);
}

proptest! {
    #[test]
    fn any_details_are_read_without_harm(details: Vec<u8>) {
        let _ = retry_delay(&details);
    }
}
