//! Counts what is still alive, and tells when nothing is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The count; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Count(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    live: AtomicUsize,
    none: Notify,
}

/// Counts as alive until dropped.
#[derive(Debug)]
pub(super) struct Live(Arc<Shared>);

impl Count {
    pub(super) fn enter(&self) -> Live {
        self.0.live.fetch_add(1, Ordering::AcqRel);
        Live(Arc::clone(&self.0))
    }

    /// Spawns a task that is alive until everything it held is dropped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let live = self.enter();
        tokio::spawn(async move {
            task.await;
            drop(live);
        });
    }

    pub(super) fn get(&self) -> usize {
        self.0.live.load(Ordering::Acquire)
    }

    /// Resolves when nothing is alive.
    pub(super) async fn none(&self) {
        loop {
            let mut none = std::pin::pin!(self.0.none.notified());
            // Listens before it looks: an end in between is not missed.
            none.as_mut().enable();
            if self.get() == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.0.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}
