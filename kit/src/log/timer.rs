//! A thread that waits for the next thing due: the end of a filter's time, the end of a second in which lines
//! were held back. Asleep while there is neither. Used by `control`.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The thread's owner; dropping it ends the thread.
#[derive(Debug, Default)]
pub(super) struct Timer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    due: Option<Instant>,
    closed: bool,
}

impl Timer {
    /// Starts the thread, which calls `tick` whenever something is due, until that says that it is over.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(&self, tick: impl Fn() -> Next + Send + 'static) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        std::thread::Builder::new()
            .name("bellwether-log-timer".to_owned())
            .spawn(move || while shared.wait() && tick() == Next::Wait {})?;
        Ok(())
    }

    /// Something is due at `at`; what is due earlier stays so.
    pub(super) fn at(&self, at: Instant) {
        let mut state = self.0.lock();
        if state.due.is_none_or(|due| at < due) {
            state.due = Some(at);
            self.0.changed.notify_one();
        }
    }
}

/// What the thread does after a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Wait,
    End,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what is due next; false when the timer is gone.
    fn wait(&self) -> bool {
        let mut state = self.lock();
        while !state.closed {
            let left = state
                .due
                .map(|due| due.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => {
                    state.due = None;
                    return true;
                }
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn ticks_when_something_is_due_and_ends_with_its_owner() {
        let timer = Timer::default();
        let (ticked, ticks) = channel();
        timer
            .start(move || {
                ticked.send(Instant::now()).unwrap();
                Next::Wait
            })
            .unwrap();
        let began = Instant::now();
        timer.at(began + LONG);
        timer.at(began + Duration::from_millis(20));
        let tick = ticks.recv_timeout(LONG).unwrap();
        assert!(tick >= began + Duration::from_millis(20));
        timer.at(Instant::now());
        ticks.recv_timeout(LONG).unwrap();
        drop(timer);
        assert_eq!(
            ticks.recv_timeout(LONG),
            Err(RecvTimeoutError::Disconnected)
        );
    }
}
