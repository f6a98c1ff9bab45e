//! OTLP as protobuf, over HTTP (the default) or gRPC: spans go to the wire as `encode` wrote them. Owned by
//! `transport`.

mod encode;
#[cfg(feature = "otlp-grpc")]
mod grpc;
mod http;
mod partial_success;
mod protobuf;
mod retries;

use std::time::Duration;

use bytes::Bytes;

pub(super) use encode::resource_value;
pub(super) use partial_success::read as read_partial_success;

use super::transport::{Accepted, Failure};
use super::{ExportConfig, Protocol, SpanRecord};
use encode::Encoder;

/// Who sends, as the other side is told.
const USER_AGENT: &str = concat!("bellwether/", env!("CARGO_PKG_VERSION"));

/// Sends spans to one endpoint.
#[derive(Debug)]
pub(super) struct Otlp {
    encoder: Encoder,
    sender: Sender,
    timeout: Duration,
}

#[derive(Debug)]
enum Sender {
    Http(Box<http::Sender>),
    #[cfg(feature = "otlp-grpc")]
    Grpc(Box<grpc::Sender>),
}

/// A try that failed, and how long the other side wants to be left alone, if it said so.
#[derive(Debug)]
struct Failed {
    failure: Failure,
    asked: Option<Duration>,
}

impl Otlp {
    /// Needs a runtime: the clients spawn their connections on it.
    ///
    /// # Errors
    ///
    /// What the clients cannot work with, as text.
    pub(super) fn new(
        config: &ExportConfig,
        resource: &[(String, String)],
    ) -> Result<Self, String> {
        let sender = match config.protocol {
            Protocol::HttpProtobuf | Protocol::HttpJson => {
                Sender::Http(Box::new(http::Sender::new(config)?))
            }
            #[cfg(feature = "otlp-grpc")]
            Protocol::Grpc => Sender::Grpc(Box::new(grpc::Sender::new(config)?)),
            #[cfg(not(feature = "otlp-grpc"))]
            Protocol::Grpc => return Err("built without gRPC".to_owned()),
        };
        Ok(Self {
            encoder: Encoder::new(resource),
            sender,
            timeout: config.timeout,
        })
    }

    /// Sends one batch, again within the configured time-out when OTLP calls that sensible.
    pub(super) async fn export<'a>(
        &mut self,
        records: impl Iterator<Item = &'a SpanRecord>,
    ) -> Result<Accepted, Failure> {
        let spans = self.encoder.request(records);
        let result = self.sender.send(&spans, self.timeout).await;
        self.encoder.recycle(spans);
        result
    }
}

impl Sender {
    async fn send(&mut self, spans: &Bytes, timeout: Duration) -> Result<Accepted, Failure> {
        match self {
            Self::Http(sender) => {
                let body = sender.body(spans)?;
                retries::send(timeout, async || sender.send(body.clone()).await).await
            }
            #[cfg(feature = "otlp-grpc")]
            Self::Grpc(sender) => {
                retries::send(timeout, async || sender.send(spans.clone()).await).await
            }
        }
    }
}
