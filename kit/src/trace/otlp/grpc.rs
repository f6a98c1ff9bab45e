//! OTLP over gRPC: one unary call for each batch, by tonic's client with bytes as its messages.

use std::time::Duration;

use ::http::HeaderMap;
use ::http::uri::PathAndQuery;
use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::protobuf::{Field, for_each_field};
use super::{Failed, partial_success};
use crate::trace::transport::Accepted;
use crate::trace::{Compression, ExportConfig, fault};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Calls one endpoint.
#[derive(Debug)]
pub(super) struct Sender {
    client: Grpc<Channel>,
    headers: MetadataMap,
}

impl Sender {
    /// Needs a runtime: the channel connects on it, once there is something to send.
    ///
    /// # Errors
    ///
    /// What the client cannot work with, as text.
    pub(super) fn new(config: &ExportConfig) -> Result<Self, String> {
        let channel = channel(config).map_err(|error| fault::chain(&error))?;
        let mut client = Grpc::new(channel);
        if config.compression == Compression::Gzip {
            client = client
                .send_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Gzip);
        }
        let headers: HeaderMap = config.headers.iter().cloned().collect();
        Ok(Self {
            client,
            headers: MetadataMap::from_headers(headers),
        })
    }

    pub(super) async fn send(&mut self, spans: Bytes) -> Result<Accepted, Failed> {
        let mut request = Request::new(spans);
        *request.metadata_mut() = self.headers.clone();
        match self.call(request).await {
            Ok(answer) => {
                let (rejected, message) = partial_success::read(&answer, false).unwrap_or_default();
                Ok(Accepted { rejected, message })
            }
            Err(status) => Err(failed(&status)),
        }
    }

    async fn call(&mut self, request: Request<Bytes>) -> Result<Bytes, Status> {
        let ready = self.client.ready().await;
        ready.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static(EXPORT);
        let answer = self.client.unary(request, path, Bare).await?;
        Ok(answer.into_inner())
    }
}

fn channel(config: &ExportConfig) -> Result<Channel, tonic::transport::Error> {
    let url = config.url();
    let tls = url.starts_with("https://");
    let mut endpoint = Endpoint::from_shared(url)?
        .user_agent(super::USER_AGENT)?
        .timeout(config.timeout);
    if tls {
        endpoint = endpoint.tls_config(ClientTlsConfig::new().with_enabled_roots())?;
    }
    Ok(endpoint.connect_lazy())
}

/// OTLP/gRPC "Failures" and "OTLP/gRPC Throttling".
fn failed(status: &Status) -> Failed {
    let asked = match status.code() {
        Code::Unavailable | Code::ResourceExhausted => retry_delay(status.details()),
        _ => None,
    };
    Failed {
        failure: fault::of_grpc(status, asked.is_some()),
        asked,
    }
}

/// `retry_delay` of the `google.rpc.RetryInfo` among the details of a `google.rpc.Status`.
fn retry_delay(status: &[u8]) -> Option<Duration> {
    const DETAILS: u64 = 3;
    let mut delay = None;
    for_each_field(status, |field, value| {
        if let (DETAILS, Field::Bytes(any)) = (field, value) {
            delay = delay.or_else(|| retry_info(any));
        }
    })?;
    delay
}

/// From an `Any { type_url = 1; value = 2; }` of a `RetryInfo { retry_delay = 1; }`.
fn retry_info(any: &[u8]) -> Option<Duration> {
    const NAME: &[u8] = b"/google.rpc.RetryInfo";
    let (mut named, mut info) = (false, &[][..]);
    for_each_field(any, |field, value| match (field, value) {
        (1, Field::Bytes(url)) => named = url.ends_with(NAME),
        (2, Field::Bytes(value)) => info = value,
        _ => {}
    })?;
    let mut delay = None;
    for_each_field(info, |field, value| {
        if let (1, Field::Bytes(duration)) = (field, value) {
            delay = Some(duration);
        }
    })?;
    duration(delay.filter(|_| named)?)
}

/// `Duration { seconds = 1; nanos = 2; }`; a negative one is none.
fn duration(message: &[u8]) -> Option<Duration> {
    let (mut seconds, mut nanos) = (0, 0);
    for_each_field(message, |field, value| match (field, value) {
        (1, Field::Varint(number)) => seconds = number,
        (2, Field::Varint(number)) => nanos = number,
        _ => {}
    })?;
    let seconds = u64::try_from(seconds.cast_signed()).ok()?;
    let nanos = u32::try_from(nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(seconds, nanos))
}

/// Messages that are bytes already, and stay bytes.
#[derive(Clone, Copy, Debug)]
struct Bare;

impl Codec for Bare {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

#[cfg(test)]
mod tests;
