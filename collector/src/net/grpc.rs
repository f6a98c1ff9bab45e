//! Unary gRPC over HTTP/2, framed by hand (grpc/doc/PROTOCOL-HTTP2.md): one message in, one answer out. The
//! server's half is called by `receive`, the message prefix by `export` too.

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Body;

use super::body::{Answer, BODY_TIMEOUT, BodyError, Buffer, Held, next_data};
use super::inflate::{Encoding, inflate};
use super::rpc_status::{Code, RpcStatus};
use crate::budget::Budget;

/// Bytes before each message: a compression flag and the message's length.
pub const PREFIX_BYTES: usize = 5;

/// What a sender told to come back later should wait.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Whether a request or answer says it is gRPC, of whatever message format.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(GRPC.as_bytes()))
}

/// Whether a request is gRPC with protobuf messages: `application/grpc` or `application/grpc+proto`.
pub fn is_grpc_protobuf(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next());
    matches!(
        media_type.map(str::trim),
        Some("application/grpc" | "application/grpc+proto")
    )
}

/// The prefix of an uncompressed message of `length` bytes; `None` beyond 4 GiB.
pub fn prefix(length: usize) -> Option<[u8; PREFIX_BYTES]> {
    let [a, b, c, d] = u32::try_from(length).ok()?.to_be_bytes();
    Some([0, a, b, c, d])
}

/// Reads a request's one message: at most `limit` bytes after decompression, reserved from `budget` first, within
/// the request's `grpc-timeout`.
///
/// # Errors
/// The status to answer with.
pub async fn read_message<B>(
    request: Request<B>,
    limit: usize,
    budget: &Budget,
) -> Result<Held, RpcStatus>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    let name = request.headers().get("grpc-encoding");
    let encoding = Encoding::parse(name)
        .filter(|&encoding| encoding != Encoding::Deflate)
        .ok_or_else(|| unknown_encoding(name))?;
    let timeout = timeout(request.headers())?.map_or(BODY_TIMEOUT, |t| t.min(BODY_TIMEOUT));
    let body = pin!(request.into_body());
    let (flag, message) = tokio::time::timeout(timeout, one_message(body, limit, budget))
        .await
        .unwrap_or(Err(BodyError::TimedOut(timeout).into()))?;
    match flag {
        0 => Ok(message),
        1 if encoding == Encoding::Identity => Err(RpcStatus::new(
            Code::Internal,
            "the message's flag says it is compressed, but grpc-encoding does not say how",
        )),
        1 => Ok(inflate(message, encoding, limit, budget)?),
        other => Err(RpcStatus::new(
            Code::Internal,
            format!("the message's compression flag is {other}; allowed are 0 and 1"),
        )),
    }
}

/// Answers with success and a message of `message`, its prefix included.
pub fn success(message: Bytes) -> Response<Answer> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut response = Response::new(Answer::with_trailers(message, trailers));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

/// Answers with `status` and no message, which gRPC calls trailers-only.
pub fn failure(status: &RpcStatus) -> Response<Answer> {
    let mut response = Response::new(Answer::default());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, GRPC);
    headers.insert(
        "grpc-accept-encoding",
        HeaderValue::from_static("identity,gzip"),
    );
    status.put_trailers(headers);
    response
}

impl From<BodyError> for RpcStatus {
    fn from(error: BodyError) -> Self {
        let code = match error {
            // Never OUT_OF_RANGE, which OTLP clients retry for ever.
            BodyError::TooLarge { .. } => Code::ResourceExhausted,
            BodyError::NoRoom { .. } => return Self::unavailable(error.to_string(), RETRY_AFTER),
            BodyError::TimedOut(_) => Code::DeadlineExceeded,
            BodyError::Corrupt { .. } => Code::InvalidArgument,
            BodyError::Broken(_) => Code::Cancelled,
        };
        Self::new(code, error.to_string())
    }
}

async fn one_message<B>(
    mut body: Pin<&mut B>,
    limit: usize,
    budget: &Budget,
) -> Result<(u8, Held), RpcStatus>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    let mut prefix = Prefix::default();
    let mut rest = loop {
        let Some(data) = next_data(body.as_mut()).await? else {
            return Err(prefix.missing());
        };
        if let Some(rest) = prefix.take(data) {
            break rest;
        }
    };
    let mut message = Buffer::with_length(prefix.length(), limit, budget)?;
    loop {
        if rest.len() > prefix.length() - message.len() {
            return Err(RpcStatus::new(
                Code::Unimplemented,
                "more follows the first message; Export takes exactly one",
            ));
        }
        message.push(&rest)?;
        match next_data(body.as_mut()).await? {
            Some(data) => rest = data,
            None if message.len() == prefix.length() => {
                return Ok((prefix.flag(), message.finish()));
            }
            None => {
                return Err(RpcStatus::new(
                    Code::InvalidArgument,
                    format!(
                        "the message ends after {} of its {} bytes",
                        message.len(),
                        prefix.length()
                    ),
                ));
            }
        }
    }
}

/// The first bytes of a body, which may come in any pieces.
#[derive(Default)]
struct Prefix {
    bytes: [u8; PREFIX_BYTES],
    have: usize,
}

impl Prefix {
    /// Takes what is missing from `data`; the rest of it once the prefix is whole.
    fn take(&mut self, mut data: Bytes) -> Option<Bytes> {
        let missing = self.bytes.get_mut(self.have..).unwrap_or_default();
        let taken = data.split_to(missing.len().min(data.len()));
        for (to, from) in missing.iter_mut().zip(&taken) {
            *to = *from;
        }
        self.have += taken.len();
        (self.have == PREFIX_BYTES).then_some(data)
    }

    fn flag(&self) -> u8 {
        self.bytes[0]
    }

    fn length(&self) -> usize {
        let [_, length @ ..] = self.bytes;
        u32::from_be_bytes(length) as usize
    }

    fn missing(&self) -> RpcStatus {
        match self.have {
            0 => RpcStatus::new(
                Code::Unimplemented,
                "the request has no message; Export takes exactly one",
            ),
            have => RpcStatus::new(
                Code::InvalidArgument,
                format!("the message's prefix ends after {have} of its {PREFIX_BYTES} bytes"),
            ),
        }
    }
}

/// The request's `grpc-timeout`: at most eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, RpcStatus> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    parse_timeout(value).map(Some).ok_or_else(|| {
        RpcStatus::new(
            Code::InvalidArgument,
            format!("grpc-timeout {value:?} is not up to eight digits and one of H, M, S, m, u, n"),
        )
    })
}

fn parse_timeout(value: &HeaderValue) -> Option<Duration> {
    let (digits, unit) = value
        .to_str()
        .ok()?
        .split_at_checked(value.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

fn unknown_encoding(name: Option<&HeaderValue>) -> RpcStatus {
    let name = name.map_or("".into(), |name| String::from_utf8_lossy(name.as_bytes()));
    RpcStatus::new(
        Code::Unimplemented,
        format!("grpc-encoding `{name}` is not taken; use gzip or identity"),
    )
}
