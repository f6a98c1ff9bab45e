//! A sender of batches in each protocol, plain or in TLS, with or without a token, over a connection that it keeps.

use std::time::Duration;

use bellwether_collector::net::client::{Client, ClientError, Endpoint, Pieces, Protocol, Reply};
use bellwether_collector::net::client_tls::ClientTls;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tokio::runtime::Runtime;

use super::batch;
use super::process::Collector;

/// The receivers' protocols.
pub(crate) const ALL: [Kind; 3] = [Kind::Grpc, Kind::Http, Kind::Zipkin];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Grpc,
    Http,
    Zipkin,
}

pub(crate) struct Sender {
    kind: Kind,
    client: Client,
    token: Option<String>,
    runtime: Runtime,
}

impl Kind {
    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::Grpc => "otlp-grpc",
            Self::Http => "otlp-http",
            Self::Zipkin => "zipkin",
        }
    }

    pub(crate) fn address(self, collector: &Collector) -> &str {
        match self {
            Self::Grpc => collector.grpc_address(),
            Self::Http => collector.http_address(),
            Self::Zipkin => collector.zipkin_address(),
        }
    }
}

impl Sender {
    pub(crate) fn new(kind: Kind, collector: &Collector, tls: Option<ClientTls>) -> Self {
        let (host, port) = kind.address(collector).rsplit_once(':').unwrap();
        let protocol = match kind {
            Kind::Grpc => Protocol::Http2,
            Kind::Http | Kind::Zipkin => Protocol::Http1,
        };
        Self {
            kind,
            client: Client::new(Endpoint {
                host: host.to_owned(),
                port: port.parse().unwrap(),
                protocol,
                tls,
                timeout: Duration::from_secs(10),
            }),
            token: None,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    pub(crate) fn token(mut self, token: &str) -> Self {
        self.token = Some(format!("Bearer {token}"));
        self
    }

    /// Sends three spans of `service`.
    pub(crate) fn try_send(&mut self, service: &str) -> Result<Reply, ClientError> {
        let (path, content_type, body) = match self.kind {
            Kind::Grpc => {
                let message = batch(service, 3);
                let mut body = vec![0];
                body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
                body.extend(message);
                let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
                (path, "application/grpc", body)
            }
            Kind::Http => ("/v1/traces", "application/x-protobuf", batch(service, 3)),
            Kind::Zipkin => {
                let span = |id| {
                    format!(
                        r#"{{"traceId":"a","id":"{id}","localEndpoint":{{"serviceName":"{service}"}}}}"#
                    )
                };
                let spans = [span(1), span(2), span(3)].join(",");
                (
                    "/api/v2/spans",
                    "application/json",
                    format!("[{spans}]").into_bytes(),
                )
            }
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(token) = &self.token {
            headers.insert(header::AUTHORIZATION, token.parse().unwrap());
        }
        let body = Pieces::new([Bytes::from(body)]);
        self.runtime
            .block_on(self.client.post(path, &headers, body))
    }

    /// The same; fails the test unless it was taken.
    pub(crate) fn send(&mut self, service: &str) {
        let reply = self.try_send(service).unwrap();
        assert!(was_taken(self.kind, &reply), "{reply:?}");
    }

    /// Whether it was taken; no connection is a no.
    pub(crate) fn is_let_in(&mut self, service: &str) -> bool {
        let reply = self.try_send(service);
        reply.is_ok_and(|reply| was_taken(self.kind, &reply))
    }
}

fn was_taken(kind: Kind, reply: &Reply) -> bool {
    match kind {
        Kind::Grpc => reply
            .trailers
            .get("grpc-status")
            .is_some_and(|status| status == "0"),
        Kind::Http => reply.status == 200,
        Kind::Zipkin => reply.status == 202,
    }
}
