//! Notices a runtime that runs no task any more: handlers that block their threads, a deadlock, a loop without an
//! await. Started by `kit`; what it sees is in `liveness`.
//!
//! It lives on a thread of its own, and so do the log's sink and the admin address: while nothing of the
//! service can answer, a line still tells what is wrong, and `/livez` of the admin address answers 503.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::liveness::Liveness;
use super::{Lifecycle, State};

const TARGET: &str = "bellwether::liveness";
/// How often the runtime is asked, if the time-out leaves that much time.
const LONGEST_TICK: Duration = Duration::from_secs(1);
/// Short enough for any time-out, and no load.
const SHORTEST_TICK: Duration = Duration::from_millis(10);

/// Starts the thread that watches `runtime`, unless the time-out is off. It ends with the runtime, or once
/// nobody else holds the `liveness`.
///
/// # Errors
///
/// When the thread cannot be started.
pub(crate) fn watch(runtime: Handle, lifecycle: Lifecycle, liveness: Liveness) -> io::Result<()> {
    let Some(timeout) = liveness.timeout() else {
        return Ok(());
    };
    let watchdog = Watchdog::new(runtime, lifecycle, liveness, timeout);
    let thread = thread::Builder::new().name("bellwether-watchdog".to_owned());
    thread.spawn(move || watchdog.run()).map(drop)
}

struct Watchdog {
    runtime: Handle,
    lifecycle: Lifecycle,
    liveness: Liveness,
    workers: Workers,
    tick: Duration,
    /// Before probes turn: whoever probes the service itself gets no answer then, and restarts it soon.
    tell_after: Duration,
    stalled: Duration,
}

impl Watchdog {
    fn new(runtime: Handle, lifecycle: Lifecycle, liveness: Liveness, timeout: Duration) -> Self {
        Self {
            workers: Workers::of(&runtime),
            runtime,
            lifecycle,
            liveness,
            tick: (timeout / 10).clamp(SHORTEST_TICK, LONGEST_TICK),
            // Never nothing: a runtime that runs would be told of as one that runs again, at each look.
            tell_after: (timeout / 3).max(SHORTEST_TICK),
            stalled: Duration::ZERO,
        }
    }

    fn run(mut self) {
        let mut asked = self.ask();
        while !self.liveness.is_orphan() {
            let began = Instant::now();
            let answer = asked.recv_timeout(self.tick);
            if answer.is_ok() {
                thread::park_timeout(self.tick.saturating_sub(began.elapsed()));
            }
            let awake = self.awake(began.elapsed());
            match answer {
                Ok(()) => {
                    self.progressed();
                    asked = self.ask();
                }
                Err(RecvTimeoutError::Timeout) => self.stood_still(awake),
                // The task was dropped unrun: the runtime has shut down.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_at_workers(awake);
        }
    }

    /// A task that answers once it runs.
    fn ask(&self) -> mpsc::Receiver<()> {
        let (ran, answer) = mpsc::channel();
        self.runtime.spawn(async move {
            // Nobody listens once the watchdog has ended.
            let _ = ran.send(());
        });
        answer
    }

    /// What counts of the time since the last look: a process that was stopped (a debugger, a frozen
    /// container, a suspended machine) has not been blocked meanwhile.
    fn awake(&self, elapsed: Duration) -> Duration {
        elapsed.min(self.tick * 2)
    }

    fn stood_still(&mut self, awake: Duration) {
        // Before the service has started nobody may be driving the runtime, nor after it has stopped.
        if matches!(self.lifecycle.state(), State::Starting | State::Stopped) {
            return self.set(Duration::ZERO);
        }
        let told = self.stalled >= self.tell_after;
        self.set(self.stalled + awake);
        if !told && self.stalled >= self.tell_after {
            self.liveness.count_stall();
            tracing::error!(
                target: TARGET,
                stalled_seconds = self.stalled.as_secs_f64(),
                workers = self.workers.count(),
                "the runtime runs no task any more: its threads are blocked (a lock, blocking I/O, a loop \
                 without an await); requests and probes are not answered"
            );
        }
    }

    fn progressed(&mut self) {
        if self.stalled >= self.tell_after {
            tracing::warn!(
                target: TARGET,
                stalled_seconds = self.stalled.as_secs_f64(),
                "the runtime runs tasks again"
            );
        }
        self.set(Duration::ZERO);
    }

    fn set(&mut self, stalled: Duration) {
        self.stalled = stalled;
        self.liveness.stalled_for(stalled);
    }

    /// A part of the workers may be blocked while the others go on: that is told, and fails no probe.
    fn look_at_workers(&mut self, awake: Duration) {
        let before = self.liveness.seen().blocked_workers;
        let blocked = self.workers.look(&self.runtime, awake, self.tell_after);
        self.liveness.workers_blocked(blocked);
        let workers = self.workers.count();
        // When all of them are, that is a stall and told as one.
        if before == 0 && blocked > 0 && blocked < workers {
            tracing::warn!(
                target: TARGET,
                blocked,
                workers,
                "workers of the runtime are blocked, each in one task (a lock, blocking I/O, a loop without an \
                 await); the others go on with less"
            );
        } else if before > 0 && blocked == 0 {
            tracing::info!(target: TARGET, workers, "no worker of the runtime is blocked any more");
        }
    }
}

/// For each worker of a runtime, for how long it has been in one task.
struct Workers(Vec<Worker>);

#[derive(Clone, Copy, Default)]
struct Worker {
    activity: Activity,
    stuck: Duration,
}

/// Both numbers grow whenever a worker comes back from a task, at the latest after some dozens of them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Activity {
    /// Even while the worker is at work: it counts parking and unparking.
    parks: u64,
    busy: Duration,
}

impl Workers {
    fn of(runtime: &Handle) -> Self {
        Self(vec![Worker::default(); runtime.metrics().num_workers()])
    }

    fn count(&self) -> usize {
        self.0.len()
    }

    /// How many have been in one task for as long as `limit`, `awake` after the last look.
    fn look(&mut self, runtime: &Handle, awake: Duration, limit: Duration) -> usize {
        for (index, worker) in self.0.iter_mut().enumerate() {
            worker.see(activity(runtime, index), awake);
        }
        self.0.iter().filter(|worker| worker.stuck >= limit).count()
    }
}

impl Worker {
    fn see(&mut self, activity: Activity, awake: Duration) {
        let stuck = activity == self.activity && activity.parks.is_multiple_of(2);
        self.stuck = if stuck {
            self.stuck + awake
        } else {
            Duration::ZERO
        };
        self.activity = activity;
    }
}

#[cfg(target_has_atomic = "64")]
fn activity(runtime: &Handle, worker: usize) -> Activity {
    let metrics = runtime.metrics();
    Activity {
        parks: metrics.worker_park_unpark_count(worker),
        busy: metrics.worker_total_busy_duration(worker),
    }
}

/// Tokio counts neither here: no worker is ever seen as blocked.
#[cfg(not(target_has_atomic = "64"))]
fn activity(_: &Handle, _: usize) -> Activity {
    Activity {
        parks: 1,
        busy: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn watchdog(timeout: Duration) -> Watchdog {
        let liveness = Liveness::new(Some(timeout));
        Watchdog::new(Handle::current(), Lifecycle::new(), liveness, timeout)
    }

    #[tokio::test]
    async fn a_runtime_that_runs_is_no_news_however_short_the_timeout() {
        for timeout in [Duration::ZERO, Duration::from_nanos(2), TIMEOUT] {
            let watchdog = watchdog(timeout);
            assert!(watchdog.stalled < watchdog.tell_after, "{timeout:?}");
        }
    }

    #[tokio::test]
    async fn standing_still_is_counted_from_the_start_to_the_stop() {
        let mut watchdog = watchdog(TIMEOUT);
        let liveness = watchdog.liveness.clone();
        watchdog.stood_still(TIMEOUT);
        assert_eq!(liveness.verdict(), Ok(()));
        watchdog.lifecycle.advance(State::Ready);
        watchdog.stood_still(TIMEOUT / 2);
        assert_eq!((liveness.verdict(), liveness.seen().stalls), (Ok(()), 1));
        watchdog.stood_still(TIMEOUT / 2);
        let reason = "the runtime has run no task for 30 s".to_owned();
        assert_eq!(liveness.verdict(), Err(reason));
        // Still the same time.
        assert_eq!(liveness.seen().stalls, 1);
        watchdog.progressed();
        assert_eq!(liveness.verdict(), Ok(()));
        watchdog.stood_still(TIMEOUT);
        assert_eq!(liveness.seen().stalls, 2);
        watchdog.lifecycle.advance(State::Stopped);
        watchdog.stood_still(TIMEOUT);
        assert_eq!(liveness.verdict(), Ok(()));
    }

    #[tokio::test]
    async fn a_process_that_was_stopped_was_not_blocked() {
        let watchdog = watchdog(TIMEOUT);
        let hour = Duration::from_secs(3_600);
        assert_eq!(watchdog.awake(hour), LONGEST_TICK * 2);
        assert_eq!(watchdog.awake(LONGEST_TICK), LONGEST_TICK);
    }

    #[test]
    fn a_worker_is_stuck_while_it_is_at_work_and_nothing_moves() {
        fn check(seen: &[(u64, u64)], expected: u64) {
            let mut worker = Worker::default();
            for &(parks, busy) in seen {
                let busy = Duration::from_secs(busy);
                worker.see(Activity { parks, busy }, Duration::from_secs(1));
            }
            assert_eq!(worker.stuck, Duration::from_secs(expected), "{seen:?}");
        }
        check(&[(2, 1)], 0);
        check(&[(2, 1), (2, 1), (2, 1)], 2);
        // Parked, busy, or back from its task.
        check(&[(3, 1), (3, 1), (3, 1)], 0);
        check(&[(2, 1), (2, 2), (2, 3)], 0);
        check(&[(2, 1), (2, 1), (4, 1)], 0);
    }

    #[test]
    fn it_ends_with_its_runtime() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let liveness = Liveness::new(Some(Duration::from_millis(100)));
        let lifecycle = Lifecycle::new();
        watch(runtime.handle().clone(), lifecycle, liveness.clone()).unwrap();
        assert!(!liveness.is_orphan());
        drop(runtime);
        let began = Instant::now();
        while !liveness.is_orphan() {
            assert!(began.elapsed() < Duration::from_secs(20));
            thread::yield_now();
        }
    }
}
