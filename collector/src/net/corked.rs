//! What an HTTP/2 connection writes, gathered while its task has its turn and sent when that ends. The library flushes
//! after every frame, and each flush would be a system call and a run through the network's stack, which costs more than
//! copying a few frames together. Called by `client`.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::rt::Executor;
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};

/// Gathered before it is sent all the same: four data frames of the size that nearly every peer takes, with their heads.
const GATHERED_BYTES: usize = 4 * (16 * 1024 + 9);

/// A connection whose flushes wait for [`Uncorking`].
#[derive(Debug)]
pub(super) struct Corked<T>(Arc<Mutex<State<T>>>);

/// Runs tasks, and sends what they have written whenever they wait.
#[derive(Debug)]
pub(super) struct Uncorking<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
struct State<T> {
    io: BufWriter<T>,
    /// Why nothing can be sent any more; told by the next flush.
    failed: Option<io::Error>,
}

impl<T: AsyncWrite> Corked<T> {
    /// A connection over `io`, and what its tasks have to run on.
    pub(super) fn new(io: T) -> (Self, Uncorking<T>) {
        let state = Arc::new(Mutex::new(State {
            io: BufWriter::with_capacity(GATHERED_BYTES, io),
            failed: None,
        }));
        (Self(Arc::clone(&state)), Uncorking(state))
    }
}

impl<T> Clone for Uncorking<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T, F> Executor<F> for Uncorking<T>
where
    T: AsyncWrite + Send + Unpin + 'static,
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        let state = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut future = pin!(future);
            std::future::poll_fn(|context| {
                let polled = future.as_mut().poll(context);
                lock(&state).uncork(context);
                polled
            })
            .await
        });
    }
}

impl<T: AsyncWrite + Unpin> State<T> {
    fn uncork(&mut self, context: &mut Context<'_>) {
        // What cannot be sent yet wakes the task again once it can.
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.io).poll_flush(context) {
            self.failed = Some(error);
            context.waker().wake_by_ref();
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Corked<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).io).poll_read(context, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Corked<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut lock(&self.0).io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut lock(&self.0).io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(lock(&self.0).failed.take().map_or(Ok(()), Err))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        ready!(Pin::new(&mut state.io).poll_flush(context))?;
        Pin::new(&mut state.io).poll_shutdown(context)
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_cannot_be_sent_after_a_turn_wakes_the_task_and_is_told_by_its_next_flush() {
        let (near, far) = tokio::io::duplex(64);
        drop(far);
        let (mut corked, executor) = Corked::new(near);
        let (tell, told) = oneshot::channel();
        executor.execute(async move {
            corked.write_all(b"a frame").await.unwrap();
            corked.flush().await.unwrap();
            // Nothing but the failure wakes this.
            let mut waited = false;
            let failed = std::future::poll_fn(|context| {
                if std::mem::replace(&mut waited, true) {
                    Pin::new(&mut corked).poll_flush(context)
                } else {
                    Poll::Pending
                }
            });
            let _ = tell.send(failed.await);
        });
        let told = tokio::time::timeout(Duration::from_secs(10), told).await;
        let failed = told.unwrap().unwrap().unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn what_a_task_writes_leaves_when_it_waits_or_ends() {
        use tokio::io::AsyncReadExt;
        let (near, mut far) = tokio::io::duplex(64);
        let (mut corked, executor) = Corked::new(near);
        let (go, gone) = oneshot::channel::<()>();
        executor.execute(async move {
            corked.write_all(b"1").await.unwrap();
            let _ = gone.await;
            corked.write_all(b"2").await.unwrap();
        });
        assert_eq!(far.read_u8().await.unwrap(), b'1');
        go.send(()).unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'2');
    }
}
