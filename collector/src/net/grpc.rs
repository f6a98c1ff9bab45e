//! Unary gRPC over HTTP/2, framed by hand (grpc/doc/PROTOCOL-HTTP2.md): one message in, one answer out. The
//! server's half is called by `receive`, the message prefix by `export` too.

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::Body;

use super::body::{Answer, BODY_TIMEOUT, BodyError, Buffer, Held, next_data};
use super::encoding::{ACCEPTED, Encoding, GRPC_ACCEPTED};
use super::inflate::inflate;
use super::rpc_status::{Code, RpcStatus};
use crate::budget::Budget;

/// Bytes before each message: a compression flag and the message's length.
pub const PREFIX_BYTES: usize = 5;

/// What a sender told to come back later should wait.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The header that tells how a compressed message is compressed.
pub const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Whether a request or answer says it is gRPC, of whatever message format.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    value
        .and_then(|value| value.get(..GRPC.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(GRPC.as_bytes()))
}

/// Whether a request is gRPC with protobuf messages: `application/grpc` or `application/grpc+proto`.
pub fn is_grpc_protobuf(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = value
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    ["application/grpc", "application/grpc+proto"]
        .into_iter()
        .any(|grpc| media_type.is_some_and(|given| given.eq_ignore_ascii_case(grpc)))
}

/// The prefix of a message of `length` bytes as sent; `None` beyond 4 GiB.
pub fn prefix(length: usize, compressed: bool) -> Option<[u8; PREFIX_BYTES]> {
    let [a, b, c, d] = u32::try_from(length).ok()?.to_be_bytes();
    Some([compressed.into(), a, b, c, d])
}

/// What the head of a request says of its message.
#[derive(Clone, Copy, Debug)]
pub struct MessageHead {
    encoding: Encoding,
    timeout: Duration,
}

impl MessageHead {
    /// Reads `grpc-encoding` and `grpc-timeout`.
    ///
    /// # Errors
    /// The status to answer with.
    pub fn of(headers: &HeaderMap) -> Result<Self, RpcStatus> {
        let encoding = Encoding::of(headers, &ENCODING).map_err(|other| {
            let text = format!("grpc-encoding `{other}` is not taken; use {ACCEPTED} or identity");
            RpcStatus::new(Code::Unimplemented, text)
        })?;
        let timeout = timeout(headers)?.map_or(BODY_TIMEOUT, |t| t.min(BODY_TIMEOUT));
        Ok(Self { encoding, timeout })
    }
}

/// Reads a request's one message: at most `limit` bytes after decompression, reserved from `budget` first, within
/// the request's `grpc-timeout`.
///
/// # Errors
/// The status to answer with.
pub async fn read_message<B>(
    head: MessageHead,
    body: B,
    limit: usize,
    budget: &Budget,
) -> Result<Held, RpcStatus>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    let MessageHead { encoding, timeout } = head;
    let (flag, message) = tokio::time::timeout(timeout, one_message(pin!(body), limit, budget))
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
    headers.insert("grpc-accept-encoding", GRPC_ACCEPTED);
    status.put_trailers(headers);
    response
}

impl From<BodyError> for RpcStatus {
    fn from(error: BodyError) -> Self {
        let code = match error {
            // Never OUT_OF_RANGE, which OTLP clients retry for ever.
            BodyError::TooLarge { .. } => Code::ResourceExhausted,
            BodyError::NoRoom { .. } => return Self::unavailable(error.to_string(), RETRY_AFTER),
            BodyError::TimedOut(_) => {
                return Self {
                    code: Code::DeadlineExceeded,
                    ..Self::unavailable(error.to_string(), RETRY_AFTER)
                };
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use proptest::prelude::*;
    use std::convert::Infallible;

    const LIMIT: usize = 1000;

    /// Reads a message that comes in `pieces`; the sender goes on for ever when it does not `end`.
    async fn read(
        headers: &[(&'static str, &str)],
        pieces: Vec<Vec<u8>>,
        end: bool,
    ) -> Result<Vec<u8>, RpcStatus> {
        let frames = pieces
            .into_iter()
            .map(|piece| Ok::<_, Infallible>(Frame::data(piece.into())));
        let tail = if end { vec![] } else { vec![()] };
        let rest = stream::iter(tail).then(|()| std::future::pending());
        let body = StreamBody::new(stream::iter(frames).chain(rest));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let head = MessageHead::of(&map)?;
        let budget = Budget::new(10 * LIMIT);
        let read = read_message(head, body, LIMIT, &budget).await;
        let read = read.map(|held| held.bytes.to_vec());
        assert_eq!(budget.used(), 0);
        read
    }

    fn message(flag: u8, bytes: &[u8]) -> Vec<u8> {
        let mut message = prefix(bytes.len(), false).unwrap().to_vec();
        message[0] = flag;
        message.extend(bytes);
        message
    }

    async fn check(
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
        expected: Result<&[u8], (Code, &str)>,
    ) {
        let read = read(headers, vec![body], true).await;
        match (read, expected) {
            (Ok(read), Ok(expected)) => assert_eq!(read, expected),
            (Err(status), Err((code, part))) => {
                assert_eq!(status.code, code, "{}", status.message);
                assert!(
                    status.message.contains(part),
                    "`{}` lacks `{part}`",
                    status.message
                );
            }
            (read, expected) => panic!("{read:?}, expected {expected:?}"),
        }
    }

    #[tokio::test]
    async fn exactly_one_message_is_taken() {
        use Code::{Internal, InvalidArgument, ResourceExhausted, Unimplemented};
        check(&[], message(0, b"spans"), Ok(b"spans")).await;
        check(&[], message(0, b""), Ok(b"")).await;
        check(&[], vec![], Err((Unimplemented, "no message"))).await;
        check(
            &[],
            vec![0, 0, 0],
            Err((InvalidArgument, "after 3 of its 5")),
        )
        .await;
        let cut = message(0, b"spans")[..8].to_vec();
        check(&[], cut, Err((InvalidArgument, "after 3 of its 5 bytes"))).await;
        let two = [message(0, b"a"), message(0, b"b")].concat();
        check(&[], two, Err((Unimplemented, "more follows"))).await;
        check(&[], message(2, b"a"), Err((Internal, "flag is 2"))).await;
        check(&[], message(1, b"a"), Err((Internal, "does not say how"))).await;
        let large = message(0, &[0; LIMIT + 1]);
        check(&[], large, Err((ResourceExhausted, "larger than the 1000"))).await;
        let lie = vec![0, 255, 255, 255, 255];
        check(&[], lie, Err((ResourceExhausted, "larger than the 1000"))).await;
    }

    #[tokio::test]
    async fn encodings_that_are_not_taken() {
        for encoding in ["snappy", "gzip, gzip"] {
            let refused = Err((Code::Unimplemented, encoding));
            check(&[("grpc-encoding", encoding)], message(1, b"a"), refused).await;
        }
        let twice = [("grpc-encoding", "gzip"), ("grpc-encoding", "zstd")];
        let refused = Err((
            Code::Unimplemented,
            "`gzip, zstd` is not taken; use gzip, deflate, zstd or identity",
        ));
        check(&twice, message(1, b"a"), refused).await;
        let junk = Err((Code::InvalidArgument, "gzip body is corrupt"));
        check(&[("grpc-encoding", "gzip")], message(1, &[7; 30]), junk).await;
        check(
            &[("grpc-encoding", "gzip")],
            message(0, b"plain"),
            Ok(b"plain"),
        )
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_sender_is_given_up_in_its_own_time_or_ours() {
        let begun = tokio::time::Instant::now();
        let slow = read(&[("grpc-timeout", "200m")], vec![vec![0, 0]], false).await;
        assert_eq!(slow.unwrap_err().code, Code::DeadlineExceeded);
        assert_eq!(begun.elapsed().as_millis(), 200);
        let slow = read(&[("grpc-timeout", "1H")], vec![message(0, b"ab")], false).await;
        assert_eq!(slow.unwrap_err().code, Code::DeadlineExceeded);
        assert_eq!(begun.elapsed().as_secs(), BODY_TIMEOUT.as_secs());
    }

    #[test]
    fn timeouts() {
        let check = |text: &str, expected: Option<Duration>| {
            let parsed = parse_timeout(&text.parse().unwrap());
            assert_eq!(parsed, expected, "{text}");
        };
        check("1H", Some(Duration::from_secs(3600)));
        check("2M", Some(Duration::from_secs(120)));
        check("99999999S", Some(Duration::from_secs(99_999_999)));
        check("0m", Some(Duration::ZERO));
        check("7u", Some(Duration::from_micros(7)));
        check("7n", Some(Duration::from_nanos(7)));
        for bad in [
            "",
            "1",
            "S",
            "123456789S",
            "-1S",
            "+1S",
            "1s",
            "1.5S",
            "1 S",
        ] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn a_message_may_come_in_any_pieces(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let whole = message(0, &bytes);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for to in cuts.into_iter().chain([whole.len()]) {
                pieces.push(whole[from..to].to_vec());
                from = to;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            prop_assert_eq!(runtime.block_on(read(&[], pieces, true)).unwrap(), bytes);
        }
    }
}
