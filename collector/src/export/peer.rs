//! The peer of one exporter: turns records into a request in its protocol, sends it and says what became of
//! it. Called by the worker.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::outcome::{Outcome, of_grpc, of_http};
use super::target::{Target, TargetKind};
use super::zipkin::{self, EncodeError};
use crate::net::client::{Client, ClientError, Pieces, Protocol};
use crate::net::grpc;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const USER_AGENT: &str = concat!("bellwether-collector/", env!("CARGO_PKG_VERSION"));

/// gRPC's default limit is 4 MiB for a message; merged requests stay a little below.
const MAX_OTLP_BYTES: usize = 4 * 1024 * 1024 - 64 * 1024;

/// As JSON it usually becomes two to four times as large; Zipkin takes 10 MiB by default.
const MAX_ZIPKIN_BYTES: usize = 1024 * 1024;

/// Where it becomes more, less of it goes at once: `config` reckons with so much in each exporter's hand.
const MAX_JSON_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Peer {
    kind: TargetKind,
    path: String,
    headers: HeaderMap,
    client: Client,
    max_bytes: usize,
    max_spans: u64,
}

impl Peer {
    pub(super) fn new(target: Target) -> Self {
        let (protocol, path, content_type) = match target.kind {
            TargetKind::OtlpGrpc => (Protocol::Http2, EXPORT.to_owned(), "application/grpc"),
            TargetKind::OtlpHttp => (Protocol::Http1, target.path, "application/x-protobuf"),
            TargetKind::Zipkin => (Protocol::Http1, target.path, "application/json"),
        };
        let max_bytes = match target.kind {
            TargetKind::OtlpGrpc | TargetKind::OtlpHttp => MAX_OTLP_BYTES,
            TargetKind::Zipkin => MAX_ZIPKIN_BYTES,
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if target.kind == TargetKind::OtlpGrpc {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        Self {
            kind: target.kind,
            path,
            headers,
            client: Client::new(target.host, target.port, protocol),
            max_bytes,
            max_spans: u64::MAX,
        }
    }

    /// Bytes of OTLP that one request is made of at most.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Spans that one request has at most; fewer after [`Outcome::TooLarge`].
    pub(super) fn max_spans(&self) -> u64 {
        self.max_spans
    }

    /// Sends `batches` as one request.
    pub(super) async fn send(&mut self, batches: Vec<Bytes>) -> Outcome {
        let body = match self.body(batches) {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        match self.client.post(&self.path, &self.headers, body).await {
            Ok(reply) if self.kind == TargetKind::OtlpGrpc => of_grpc(&reply),
            Ok(reply) => of_http(&reply),
            Err(error @ ClientError::Request(_)) => Outcome::Refused {
                reason: error.to_string(),
                by_content: false,
            },
            Err(error) => Outcome::Retry {
                reason: error.to_string(),
                after: None,
            },
        }
    }

    /// Serialized requests one after another are one merged request, so OTLP goes out as it came in.
    fn body(&mut self, batches: Vec<Bytes>) -> Result<Pieces, Outcome> {
        match self.kind {
            TargetKind::OtlpHttp => Ok(Pieces::new(batches)),
            TargetKind::OtlpGrpc => {
                let length = batches.iter().map(Bytes::len).sum();
                let prefix = grpc::prefix(length)
                    .ok_or_else(|| refused(format!("{length} bytes are no gRPC message")))?;
                let prefix = Bytes::copy_from_slice(&prefix);
                Ok(Pieces::new(std::iter::once(prefix).chain(batches)))
            }
            TargetKind::Zipkin => self.zipkin(&batches),
        }
    }

    /// How many spans make a request of JSON is learnt: what would have fitted after one that was too large, and twice
    /// as many again where that leaves room.
    fn zipkin(&mut self, batches: &[Bytes]) -> Result<Pieces, Outcome> {
        match zipkin::encode(batches, MAX_JSON_BYTES) {
            Ok(json) => {
                if json.len() <= MAX_JSON_BYTES / 4 {
                    self.max_spans = self.max_spans.saturating_mul(2);
                }
                Ok(Pieces::new([json.into()]))
            }
            Err(error @ EncodeError::TooLarge { fits, .. }) => {
                self.max_spans = fits.max(1);
                let reason = error.to_string();
                Err(Outcome::TooLarge { reason })
            }
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

fn refused(reason: String) -> Outcome {
    Outcome::Refused {
        reason,
        by_content: true,
    }
}
