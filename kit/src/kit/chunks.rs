//! A long body in short pieces: `scrape` answers with one. Handing megabytes to the socket takes milliseconds, in
//! which a small service's only worker could not look at its requests.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Some ten microseconds of copying.
const PIECE: usize = 64 * 1024;

/// Lets the other tasks of its worker run after each piece.
#[derive(Debug)]
pub(super) struct Chunks {
    rest: Bytes,
    /// A piece has just been handed over.
    waits: bool,
}

impl Chunks {
    pub(super) fn new(body: Vec<u8>) -> Self {
        Self {
            rest: body.into(),
            waits: false,
        }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut self.waits) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.waits = true;
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn others_have_their_turn_between_two_pieces() {
        let body: Vec<u8> = (0..PIECE * 2 + 5).map(|at| at as u8).collect();
        let mut chunks = Chunks::new(body.clone());
        assert_eq!(chunks.size_hint().exact(), Some(body.len() as u64));
        let mut context = Context::from_waker(Waker::noop());
        let mut read = Vec::new();
        let mut turns = 0;
        while !chunks.is_end_stream() {
            match Pin::new(&mut chunks).poll_frame(&mut context) {
                Poll::Pending => turns += 1,
                Poll::Ready(frame) => {
                    let Ok(frame) = frame.unwrap();
                    read.extend_from_slice(frame.data_ref().unwrap());
                }
            }
        }
        assert_eq!((turns, read == body), (2, true));
        assert!(Chunks::new(Vec::new()).is_end_stream());
    }
}
