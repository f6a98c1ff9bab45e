//! What the watchdog last saw of the runtime: written by `watchdog`, read by probes and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The shared view; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Liveness(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None`: nobody watches.
    timeout: Option<Duration>,
    stalled_millis: AtomicU64,
    stalls: AtomicU64,
    blocked_workers: AtomicU64,
}

/// For metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Times that the runtime ran no task for long enough to be told.
    pub(crate) stalls: u64,
    /// Workers that are in one task for long enough to be told.
    pub(crate) blocked_workers: u64,
}

impl Liveness {
    /// `timeout` is how long no task may run before liveness fails; `None` never lets it.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self(Arc::new(Shared {
            timeout,
            stalled_millis: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            blocked_workers: AtomicU64::new(0),
        }))
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.0.timeout
    }

    /// `Err` with a short reason once no task has run for the time-out.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        let stalled = Duration::from_millis(self.0.stalled_millis.load(Ordering::Relaxed));
        match self.0.timeout {
            Some(timeout) if stalled >= timeout => Err(format!(
                "the runtime has run no task for {} s",
                stalled.as_secs()
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            stalls: self.0.stalls.load(Ordering::Relaxed),
            blocked_workers: self.0.blocked_workers.load(Ordering::Relaxed),
        }
    }

    /// For how long no task has run.
    pub(super) fn stalled_for(&self, stalled: Duration) {
        let millis = u64::try_from(stalled.as_millis()).unwrap_or(u64::MAX);
        self.0.stalled_millis.store(millis, Ordering::Relaxed);
    }

    pub(super) fn count_stall(&self) {
        self.0.stalls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn workers_blocked(&self, workers: usize) {
        self.0
            .blocked_workers
            .store(workers as u64, Ordering::Relaxed);
    }

    /// Whether anyone but the watchdog still looks.
    pub(super) fn is_orphan(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}
