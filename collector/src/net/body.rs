//! Bodies: one read whole under a limit and a reservation, and one that answers. Called by `receive` and by
//! the gRPC framing.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::budget::{Budget, Reservation};

/// How long a body may take from its first byte asked for to its last one read.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes that are counted against a budget until dropped.
#[derive(Debug)]
pub struct Held {
    /// The bytes, in an allocation of their own and of their own size.
    pub bytes: Bytes,
    /// Their reservation.
    pub reservation: Reservation,
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Larger than this listener takes; sending it again cannot help.
    #[error("the body is larger than the {limit} bytes taken here; send smaller batches")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// No memory for it now; send it again later.
    #[error("no room for {needed} bytes now ({used} of {limit} bytes for bodies are in use)")]
    NoRoom {
        /// Bytes asked for.
        needed: usize,
        /// Bytes in use.
        used: usize,
        /// The budget.
        limit: usize,
    },
    /// The sender took too long.
    #[error("the body was not complete after {0:?}")]
    TimedOut(Duration),
    /// Not what its encoding says; sending it again cannot help.
    #[error("the {encoding} body is corrupt: {reason}")]
    Corrupt {
        /// `gzip`, `deflate` or `zstd`.
        encoding: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The sender broke off, or its framing was wrong.
    #[error("the body ended early: {0}")]
    Broken(String),
}

/// Reads a body whole: at most `limit` bytes, each reserved from `budget` before it is kept, within
/// `timeout`.
///
/// # Errors
/// [`BodyError`]. What the sender still sends is discarded for a while then, so that it reads the answer
/// rather than a connection reset.
pub async fn read_body<B>(
    body: B,
    limit: usize,
    budget: &Budget,
    timeout: Duration,
) -> Result<Held, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    let mut body = pin!(body);
    let read = tokio::time::timeout(timeout, collect(body.as_mut(), limit, budget)).await;
    let refused = match read {
        Ok(Ok(held)) => return Ok(held),
        Ok(Err(error)) => error,
        Err(_) => return Err(BodyError::TimedOut(timeout)),
    };
    if !matches!(refused, BodyError::Broken(_)) {
        discard(body.as_mut(), limit).await;
    }
    Err(refused)
}

async fn collect<B>(mut body: Pin<&mut B>, limit: usize, budget: &Budget) -> Result<Held, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    // A length told beforehand is exact: the protocol layer fails a body that differs from it.
    let mut buffer = match body.size_hint().exact() {
        Some(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            Buffer::with_length(length, limit, budget)?
        }
        None => Buffer::growing(limit, budget)?,
    };
    while let Some(data) = next_data(body.as_mut()).await? {
        buffer.push(&data)?;
    }
    Ok(buffer.finish())
}

/// The next bytes of a body; `None` at its end. Trailers are skipped.
///
/// # Errors
/// [`BodyError::Broken`] when the sender breaks off.
pub async fn next_data<B>(mut body: Pin<&mut B>) -> Result<Option<Bytes>, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error,
{
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(with_causes(&error)))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// An error's text with those of its causes, which hyper does not repeat in its own.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Reads and drops what a refused sender still sends, within bounds: closing on it at once would reset the
/// connection before it has read why.
pub async fn discard<B: Body<Data = Bytes>>(mut body: Pin<&mut B>, limit: usize) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let mut left = limit.saturating_mul(4);
    let drained = async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(bytes) {
                Some(fewer) => left = fewer,
                None => return,
            }
        }
    };
    // Past the deadline the connection is simply closed.
    let _ = tokio::time::timeout(PATIENCE, drained).await;
}

/// A buffer whose capacity is reserved before it is allocated.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    reservation: Reservation,
    limit: usize,
    budget: Budget,
}

impl Buffer {
    /// A buffer for `length` bytes in all. When less than half of `budget` is free it begins small and grows with what
    /// comes: senders that only promise large bodies must not hold the room that others could use.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] over `limit`, or over all of `budget`, which waiting would not make larger;
    /// [`BodyError::NoRoom`] when `budget` is used up.
    pub fn with_length(length: usize, limit: usize, budget: &Budget) -> Result<Self, BodyError> {
        const FIRST: usize = 64 * 1024;
        let limit = limit.min(budget.limit());
        if length > limit {
            return Err(BodyError::TooLarge { limit });
        }
        // Growing means copying, so while half of the room is free a promise is believed.
        let half_is_free = budget.used().saturating_add(length) <= budget.limit() / 2;
        let capacity = if half_is_free {
            length
        } else {
            length.min(FIRST)
        };
        Self::new(capacity, length, budget)
    }

    /// A buffer that grows with what comes, up to `limit` bytes.
    ///
    /// # Errors
    /// [`BodyError::NoRoom`] when `budget` is used up.
    pub fn growing(limit: usize, budget: &Budget) -> Result<Self, BodyError> {
        const FIRST: usize = 8 * 1024;
        let limit = limit.min(budget.limit());
        Self::new(FIRST.min(limit), limit, budget)
    }

    fn new(capacity: usize, limit: usize, budget: &Budget) -> Result<Self, BodyError> {
        let reservation = budget
            .reserve(capacity)
            .ok_or_else(|| no_room(capacity, budget))?;
        Ok(Self {
            bytes: Vec::with_capacity(capacity),
            reservation,
            limit,
            budget: budget.clone(),
        })
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends `data`.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] when it goes over the limit; [`BodyError::NoRoom`] when the budget has not enough.
    pub fn push(&mut self, data: &[u8]) -> Result<(), BodyError> {
        let total = self.bytes.len().saturating_add(data.len());
        if total > self.limit {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        let capacity = self.bytes.capacity();
        if total > capacity {
            let wanted = total.max(capacity.saturating_mul(2)).min(self.limit);
            if !self.reservation.grow_to(wanted) {
                return Err(no_room(wanted, &self.budget));
            }
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// The bytes, in an allocation of their own size.
    pub fn finish(mut self) -> Held {
        self.bytes.shrink_to_fit();
        Held {
            bytes: self.bytes.into(),
            reservation: self.reservation,
        }
    }
}

/// The refusal of `needed` bytes by `budget`.
pub fn no_room(needed: usize, budget: &Budget) -> BodyError {
    BodyError::NoRoom {
        needed,
        used: budget.used(),
        limit: budget.limit(),
    }
}

/// The body of an answer: one piece of data, then perhaps trailers.
#[derive(Debug, Default)]
pub struct Answer {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Answer {
    /// A body of `data` alone.
    pub fn data(data: impl Into<Bytes>) -> Self {
        Self {
            data: Some(data.into()).filter(|data| !data.is_empty()),
            trailers: None,
        }
    }

    /// A body of `data` and `trailers`, as a gRPC response has it.
    pub fn with_trailers(data: impl Into<Bytes>, trailers: HeaderMap) -> Self {
        Self {
            trailers: Some(trailers),
            ..Self::data(data)
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().map(Frame::data);
        let frame = data.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use futures_util::{StreamExt, stream};
    use http_body_util::{Full, StreamBody};

    const LIMIT: usize = 100_000;

    fn chunked(sizes: &[usize]) -> impl Body<Data = Bytes, Error = io::Error> + use<> {
        let chunks: Vec<_> = sizes
            .iter()
            .map(|&size| Ok(Frame::data(Bytes::from(vec![7; size]))))
            .collect();
        StreamBody::new(stream::iter(chunks))
    }

    async fn check<B>(body: B, room: usize, expected: Result<usize, &str>)
    where
        B: Body<Data = Bytes>,
        B::Error: std::error::Error,
    {
        let budget = Budget::new(room);
        let read = read_body(body, LIMIT, &budget, BODY_TIMEOUT).await;
        match (&read, expected) {
            (Ok(held), Ok(length)) => {
                assert_eq!(held.bytes.len(), length);
                assert!(held.reservation.bytes() >= length);
                assert!(budget.used() <= room);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            other => panic!("{other:?}"),
        }
        drop(read);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn bodies_of_known_and_unknown_length() {
        let whole = |size: usize| Full::new(Bytes::from(vec![7; size]));
        check(whole(0), LIMIT, Ok(0)).await;
        check(whole(LIMIT), LIMIT, Ok(LIMIT)).await;
        check(
            whole(LIMIT + 1),
            2 * LIMIT,
            Err("larger than the 100000 bytes"),
        )
        .await;
        check(whole(5000), 4999, Err("larger than the 4999 bytes")).await;
        check(chunked(&[]), LIMIT, Ok(0)).await;
        check(chunked(&[1, 9000, 60_000]), LIMIT, Ok(69_001)).await;
        check(
            chunked(&[LIMIT, 1]),
            2 * LIMIT,
            Err("larger than the 100000 bytes"),
        )
        .await;
        check(
            chunked(&[60_000]),
            50_000,
            Err("larger than the 50000 bytes"),
        )
        .await;
    }

    #[test]
    fn a_length_told_is_reserved_as_the_bytes_come() {
        let budget = Budget::new(LIMIT);
        let mut slow: Vec<_> = (0..2)
            .map(|_| Buffer::with_length(LIMIT, LIMIT, &budget))
            .collect();
        assert!(matches!(slow.pop(), Some(Err(BodyError::NoRoom { .. }))));
        let Some(Ok(mut slow)) = slow.pop() else {
            panic!("there is room for the first one");
        };
        let other = Buffer::with_length(30_000, LIMIT, &budget).unwrap();
        let refused = slow.push(&[7; LIMIT]);
        assert!(matches!(refused, Err(BodyError::NoRoom { .. })));
        drop(other);
        slow.push(&[7; LIMIT]).unwrap();
        assert_eq!(slow.finish().bytes.len(), LIMIT);
    }

    #[test]
    fn a_promise_is_believed_while_half_of_the_room_is_free() {
        let budget = Budget::new(4 * LIMIT);
        let believed: Vec<_> = (0..2)
            .map(|_| Buffer::with_length(LIMIT, LIMIT, &budget).unwrap())
            .collect();
        assert_eq!(budget.used(), 2 * LIMIT);
        let doubted = Buffer::with_length(LIMIT, LIMIT, &budget).unwrap();
        assert!(budget.used() < 3 * LIMIT, "{} bytes", budget.used());
        drop((believed, doubted));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_sender_that_breaks_off() {
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"a"))),
            Err(io::Error::other("reset")),
        ];
        let body = StreamBody::new(stream::iter(frames));
        check(body, LIMIT, Err("ended early: reset")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_given_up() {
        let frame = || async { Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"a"))) };
        let ticks = stream::repeat(()).then(move |()| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            frame().await
        });
        let body = StreamBody::new(ticks.boxed());
        check(body, LIMIT, Err("not complete after 30s")).await;
    }
}
