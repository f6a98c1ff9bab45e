//! The end of an upgraded connection: its bytes are the service's own task's, which no drain can reach but
//! through them. Used by `connection`.

use std::io;
use std::pin::Pin;
use std::task::Context;

use tokio::sync::watch;

use super::connection::{Phase, reached};

type Wait = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Fails reads and writes once the shutdown's time is up.
pub(super) struct Cutoff {
    phase: watch::Receiver<Phase>,
    /// One for each direction, since each may wait in a task of its own; made when first needed.
    reading: Option<Wait>,
    writing: Option<Wait>,
    /// Neither is polled again after its end.
    over: bool,
}

impl Cutoff {
    pub(super) fn new(phase: watch::Receiver<Phase>) -> Self {
        Self {
            phase,
            reading: None,
            writing: None,
            over: false,
        }
    }

    /// An error once the connection is cut; until then the task of a read is woken by the cut.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let wait = self.reading.get_or_insert_with(|| cut(&self.phase));
        self.over = self.over || wait.as_mut().poll(cx).is_ready();
        self.verdict()
    }

    /// As [`poll_read`](Self::poll_read), for a write.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let wait = self.writing.get_or_insert_with(|| cut(&self.phase));
        self.over = self.over || wait.as_mut().poll(cx).is_ready();
        self.verdict()
    }

    fn verdict(&self) -> io::Result<()> {
        if !self.over {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "cut: the time of the shutdown is up",
        ))
    }
}

fn cut(phase: &watch::Receiver<Phase>) -> Wait {
    let phase = phase.clone();
    Box::pin(async move { reached(phase, Phase::Cut).await })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Poll, Wake};

    use super::*;

    #[tokio::test]
    async fn reads_and_writes_fail_from_the_cut_on() {
        let phase = watch::Sender::new(Phase::Serving);
        let mut cutoff = Cutoff::new(phase.subscribe());
        let read = async |cutoff: &mut Cutoff| {
            std::future::poll_fn(|cx| Poll::Ready(cutoff.poll_read(cx))).await
        };
        read(&mut cutoff).await.unwrap();
        phase.send_replace(Phase::Stopping);
        read(&mut cutoff).await.unwrap();
        phase.send_replace(Phase::Cut);
        for _ in 0..2 {
            let error = read(&mut cutoff).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
            let write = std::future::poll_fn(|cx| Poll::Ready(cutoff.poll_write(cx)));
            assert!(write.await.is_err());
        }
    }

    #[tokio::test]
    async fn who_waits_in_either_direction_is_woken() {
        let phase = watch::Sender::new(Phase::Serving);
        let mut cutoff = Cutoff::new(phase.subscribe());
        let reader = waiting(&mut cutoff, Cutoff::poll_read);
        let writer = waiting(&mut cutoff, Cutoff::poll_write);
        assert!(!reader.woken() && !writer.woken());
        phase.send_replace(Phase::Cut);
        assert!(reader.woken() && writer.woken());
    }

    /// A task that has found nothing to do yet.
    struct Waiting(Arc<Flag>);

    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    impl Waiting {
        fn woken(&self) -> bool {
            self.0.0.load(Ordering::SeqCst)
        }
    }

    fn waiting(
        cutoff: &mut Cutoff,
        poll: fn(&mut Cutoff, &mut Context<'_>) -> io::Result<()>,
    ) -> Waiting {
        let flag = Arc::new(Flag(false.into()));
        let waker = Arc::clone(&flag).into();
        poll(cutoff, &mut Context::from_waker(&waker)).unwrap();
        Waiting(flag)
    }
}
