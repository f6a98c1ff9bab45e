//! A long body in short pieces: `scrape` answers with one. Handing megabytes to the socket takes milliseconds, in
//! which a small service's only worker could not look at its requests.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::yield_now;

/// Some ten microseconds of copying.
const PIECE: usize = 64 * 1024;

/// Lets the other tasks of its worker run after each piece, and those that the network has something for.
pub(super) struct Chunks {
    rest: Bytes,
    /// A piece has just been handed over. Tokio's own turn, as it looks at the network before it is over: a task
    /// that merely woke itself would keep a worker from looking there for 61 pieces.
    turn: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Chunks {
    pub(super) fn new(body: Vec<u8>) -> Self {
        Self {
            rest: body.into(),
            turn: None,
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
        if let Some(turn) = &mut self.turn {
            ready!(turn.as_mut().poll(context));
        }
        self.turn = Some(Box::pin(yield_now()));
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
    use std::io::Write as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use http_body_util::BodyExt as _;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

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

    #[tokio::test]
    async fn who_waits_for_the_network_has_a_turn_too() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let handed_over = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&handed_over);
        let scrape = tokio::spawn(async move {
            let mut chunks = Chunks::new(vec![0; PIECE * 50]);
            while chunks.frame().await.is_some() {
                if count.fetch_add(1, Ordering::Relaxed) == 0 {
                    (&client).write_all(b"a request").unwrap();
                }
            }
        });
        server.read_u8().await.unwrap();
        let handed_over = handed_over.load(Ordering::Relaxed);
        assert!(handed_over < 10, "answered after {handed_over} pieces");
        scrape.await.unwrap();
    }
}
