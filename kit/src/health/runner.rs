//! Runs the checks in the background and keeps their last results; started by `kit`, read by `report`.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::Check;
use crate::redact;

/// Failures in a row that turn a passing check to failing: one lost packet must not empty a service of
/// its replicas. The first result ever counts at once.
const FAILURES_TO_FAIL: u32 = 2;
/// The most of an error text that is kept, in bytes.
const MAX_ERROR_BYTES: usize = 1_024;

/// The checks of a service with their last results. Dropping it stops them.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    entries: Vec<Arc<Entry>>,
    _tasks: JoinSet<()>,
}

/// One check as `report` sees it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) critical: bool,
    /// How long a changed verdict is kept.
    dwell: Duration,
    last: Mutex<Option<Observed>>,
}

/// What the last run found.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// The verdict after hysteresis and dwell.
    pub(super) passing: bool,
    /// When it last changed; `None` while it is the first one.
    changed: Option<Instant>,
    /// The last run's own failure, if it failed.
    pub(super) error: Option<String>,
    pub(super) duration: Duration,
    pub(super) at: Instant,
    failures_in_a_row: u32,
}

impl Checks {
    /// Starts a background task for each check on `runtime`.
    pub(crate) fn start(checks: Vec<(String, Check)>, runtime: &Handle) -> Self {
        let mut tasks = JoinSet::new();
        let entries = checks
            .into_iter()
            .map(|(name, check)| {
                let entry = Arc::new(Entry {
                    name,
                    critical: check.is_critical(),
                    dwell: check.dwell(),
                    last: Mutex::new(None),
                });
                tasks.spawn_on(repeat(check, Arc::clone(&entry)), runtime);
                entry
            })
            .collect();
        Self {
            entries,
            _tasks: tasks,
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(Arc::as_ref)
    }
}

impl Entry {
    /// `None` until the first run has ended.
    pub(super) fn last(&self) -> Option<Observed> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes note of a run. Some time when its verdict must wait for the dwell of the one before: it is
    /// worth another run then.
    fn record(&self, outcome: Result<(), String>, duration: Duration) -> Option<Duration> {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let error = outcome.err().map(shortened);
        let failures_in_a_row = match (&error, last.as_ref()) {
            (None, _) => 0,
            (Some(_), None) => 1,
            (Some(_), Some(previous)) => previous.failures_in_a_row.saturating_add(1),
        };
        let was_passing = last.as_ref().is_some_and(|previous| previous.passing);
        let found = error.is_none() || (was_passing && failures_in_a_row < FAILURES_TO_FAIL);
        let first = last.is_none();
        let changed = last.as_ref().and_then(|previous| previous.changed);
        let differs = !first && found != was_passing;
        let held = changed
            .map(|at| self.dwell.saturating_sub(now.saturating_duration_since(at)))
            .filter(|left| differs && !left.is_zero());
        let changes = differs && held.is_none();
        if changes || (first && !found) {
            self.tell(found, first, error.as_deref());
        }
        *last = Some(Observed {
            passing: if first || changes { found } else { was_passing },
            changed: if changes { Some(now) } else { changed },
            error,
            duration,
            at: now,
            failures_in_a_row,
        });
        held
    }

    /// One line for each change of verdict; a first success is no news.
    fn tell(&self, passing: bool, first: bool, error: Option<&str>) {
        let (check, critical) = (self.name.as_str(), self.critical);
        match error {
            Some(error) => {
                tracing::warn!(target: "bellwether::health", check, critical, error, "health check failing");
            }
            None if passing && !first => {
                tracing::info!(target: "bellwether::health", check, critical, "health check passes again");
            }
            None => {}
        }
    }
}

/// Runs `check` for ever: at once, then after each pause. A run never overlaps the one before it, even
/// when that one had to be given up.
async fn repeat(check: Check, entry: Arc<Entry>) {
    let check = Arc::new(check);
    loop {
        let started = Instant::now();
        // A task of its own, the user's closure included: a panic stays in it, and one that blocks its thread
        // cannot stop the clock.
        let mut run = JoinSet::new();
        let of_run = Arc::clone(&check);
        run.spawn(async move { of_run.probe().await });
        let outcome = match tokio::time::timeout(check.deadline(), run.join_next()).await {
            Ok(Some(Ok(outcome))) => outcome,
            Ok(Some(Err(error))) => Err(panic_text(error)),
            Ok(None) => Err("did not run".to_owned()),
            Err(_) => Err(format!("no answer within {:?}", check.deadline())),
        };
        let mut held = entry.record(outcome, started.elapsed());
        // At once, unless the run blocks its thread: then each pause is one more run without an answer.
        while tokio::time::timeout(check.pause(), run.shutdown())
            .await
            .is_err()
        {
            let took = started.elapsed();
            let outcome = format!("blocks its thread, no answer for {} s", took.as_secs());
            held = entry.record(Err(outcome), took);
        }
        let pause = jittered(check.pause());
        tokio::time::sleep(held.map_or(pause, |left| left.min(pause))).await;
    }
}

fn panic_text(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => format!("panicked: {}", payload_text(panic.as_ref())),
        Err(_) => "cancelled".to_owned(),
    }
}

fn payload_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Within a tenth of `pause`, either way.
fn jittered(pause: Duration) -> Duration {
    let seconds = pause.as_secs_f64() * rand::random_range(0.9..=1.1);
    Duration::try_from_secs_f64(seconds).unwrap_or(pause)
}

/// What is shown of an error: without the secrets in it, and not all of a long one.
fn shortened(text: String) -> String {
    let text = redact::in_text(&text).unwrap_or(text);
    let cut = redact::cut(&text, MAX_ERROR_BYTES);
    if cut.len() < text.len() {
        format!("{cut}…")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::check;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    fn entry() -> Entry {
        Entry {
            name: "db".to_owned(),
            critical: true,
            dwell: Duration::ZERO,
            last: Mutex::new(None),
        }
    }

    #[test]
    fn verdict_has_hysteresis() {
        fn check(runs: &[bool], expected: &[bool]) {
            let entry = entry();
            let verdicts: Vec<bool> = runs
                .iter()
                .map(|&ok| {
                    let outcome = if ok { Ok(()) } else { Err("down".to_owned()) };
                    entry.record(outcome, Duration::ZERO);
                    entry.last().unwrap().passing
                })
                .collect();
            assert_eq!(verdicts, expected, "{runs:?}");
        }
        check(&[true], &[true]);
        check(&[false], &[false]);
        check(&[true, false, true, false], &[true, true, true, true]);
        check(&[true, false, false, true], &[true, true, false, true]);
        check(&[false, true, false, false], &[false, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_verdict_is_kept_for_its_dwell() {
        let second = Duration::from_secs(1);
        let mut entry = entry();
        entry.dwell = second * 5;
        let down = || Err("down".to_owned());
        let passing = |entry: &Entry| entry.last().unwrap().passing;
        // The first verdict is no change: what fails at the start may pass at once.
        assert_eq!(entry.record(down(), second), None);
        assert_eq!(entry.record(Ok(()), second), None);
        assert!(passing(&entry));
        // That was a change, so it stays, and the next run comes when it may go.
        tokio::time::sleep(second).await;
        entry.record(down(), second);
        assert_eq!(entry.record(down(), second), Some(second * 4));
        assert!(passing(&entry));
        tokio::time::sleep(second * 4).await;
        assert_eq!(entry.record(down(), second), None);
        assert!(!passing(&entry));
        // The other way as well.
        assert_eq!(entry.record(Ok(()), second), Some(second * 5));
        assert!(!passing(&entry));
        tokio::time::sleep(second * 5).await;
        assert_eq!(entry.record(Ok(()), second), None);
        assert!(passing(&entry));
    }

    #[test]
    fn a_single_failure_still_shows_its_error() {
        let entry = entry();
        entry.record(Ok(()), Duration::ZERO);
        entry.record(Err("down".to_owned()), Duration::ZERO);
        let last = entry.last().unwrap();
        assert!(last.passing);
        assert_eq!(last.error.as_deref(), Some("down"));
    }

    #[test]
    fn errors_are_shown_without_their_secrets() {
        let text = shortened("connect to postgres://shop:s3cret@db/shop failed".to_owned());
        assert_eq!(text, "connect to postgres://[redacted]@db/shop failed");
    }

    #[test]
    fn long_errors_are_cut_at_a_character() {
        let text = shortened("é".repeat(2_000));
        assert!(text.len() <= MAX_ERROR_BYTES + '…'.len_utf8());
        assert!(text.ends_with('…'));
    }

    /// Starts `check`, and returns what its first run left.
    async fn first(check: Check) -> Observed {
        let checks = Checks::start(vec![("db".to_owned(), check)], &Handle::current());
        loop {
            if let Some(observed) = checks.entries().next().unwrap().last() {
                return observed;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_check_fails_at_its_deadline() {
        let hanging = check(std::future::pending::<Result<(), String>>).timeout_ms(250);
        let observed = first(hanging).await;
        assert!(!observed.passing);
        assert_eq!(observed.error.as_deref(), Some("no answer within 250ms"));
        assert!(observed.duration >= Duration::from_millis(250));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_failure_with_its_text() {
        let in_future = check(|| async { panic!("no {}", "luck") as Result<(), String> });
        let error = first(in_future).await.error.unwrap();
        assert_eq!(error, "panicked: no luck");

        #[expect(
            unreachable_code,
            reason = "the closure panics before it makes its future"
        )]
        let in_closure = check(|| {
            panic!("at once");
            std::future::ready(Ok::<(), String>(()))
        });
        let error = first(in_closure).await.error.unwrap();
        assert_eq!(error, "panicked: at once");
    }

    /// Passes at first, then blocks its thread, in the closure or in what that made, until it is let go.
    fn blocking(in_closure: bool) -> (Check, mpsc::Sender<()>) {
        let (let_go, wait) = mpsc::channel();
        let wait = Arc::new(Mutex::new(wait));
        let runs = AtomicU32::new(0);
        let blocks = check(move || {
            let first = runs.fetch_add(1, Ordering::SeqCst) == 0;
            let wait = Arc::clone(&wait);
            let block = move || {
                // Fails when it is let go by the end of the test.
                let _ = wait.lock().unwrap().recv();
            };
            if in_closure && !first {
                block();
            }
            async move {
                if !in_closure && !first {
                    block();
                }
                Ok::<(), String>(())
            }
        });
        let soon = Duration::from_millis(20);
        let blocks = blocks.timeout(soon).interval(soon);
        (blocks.min_dwell(Duration::ZERO), let_go)
    }

    #[test]
    fn a_run_that_blocks_its_thread_fails_as_one_that_hangs() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        for in_closure in [true, false] {
            let (blocks, let_go) = blocking(in_closure);
            let checks = Checks::start(vec![("db".to_owned(), blocks)], runtime.handle());
            let wait_for = |passing: bool| {
                let began = std::time::Instant::now();
                while checks
                    .entries()
                    .all(|entry| entry.last().is_none_or(|last| last.passing != passing))
                {
                    assert!(began.elapsed() < Duration::from_secs(20), "{in_closure}");
                    // As the watchdog does: a worker that sleeps takes the clock over from the blocked one.
                    runtime.spawn(async {});
                    std::thread::park_timeout(Duration::from_millis(1));
                }
            };
            wait_for(true);
            wait_for(false);
            drop(let_go);
            wait_for(true);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn runs_repeat_and_never_overlap() {
        let (running, runs) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (in_probe, counted) = (Arc::clone(&running), Arc::clone(&runs));
        let slow = check(move || {
            let (running, runs) = (Arc::clone(&in_probe), Arc::clone(&counted));
            async move {
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "overlapping run");
                tokio::time::sleep(Duration::from_millis(50)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                runs.fetch_add(1, Ordering::SeqCst);
                Ok::<(), String>(())
            }
        })
        .interval(Duration::from_millis(10));
        let checks = Checks::start(vec![("slow".to_owned(), slow)], &Handle::current());
        while runs.load(Ordering::SeqCst) < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(checks.entries().all(|entry| entry.last().unwrap().passing));
    }
}
