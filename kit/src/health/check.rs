//! Dependency checks, as users register them; `runner` runs them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// How long one run may take unless the check says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between two runs unless the check says otherwise.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// How long a verdict is kept once it has changed, unless the check says otherwise: a dependency that
/// comes and goes must not take a service out of its balancer and back every few seconds.
const DEFAULT_MIN_DWELL: Duration = Duration::from_secs(10);
/// The shortest pause between two runs: a check is no load test.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// One run of a check; the error is its text.
pub(super) type Run = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A dependency check: runs in the background, a probe only reads its last result.
///
/// A check is not critical unless told so: its failure is then shown as `warn` in `?verbose` and changes
/// nothing else. A run that fails, panics or outlives its time-out counts as a failure; one success makes a
/// check pass, two failures in a row make a passing check fail, and a verdict that has changed is kept for
/// [`min_dwell`](Self::min_dwell).
///
/// Runs share the service's runtime: a check awaits, it never blocks its thread.
pub struct Check {
    probe: Box<dyn Fn() -> Run + Send + Sync>,
    critical: bool,
    timeout: Duration,
    interval: Duration,
    min_dwell: Duration,
    /// What is wrong with what it was made of; told by `start`.
    fault: Option<String>,
}

/// A check from an async closure: `Ok` passes, `Err` fails with its text.
///
/// ```
/// use bellwether::check;
///
/// async fn ping_db() -> Result<(), std::io::Error> {
///     Ok(())
/// }
/// let db = check(ping_db).critical().timeout_ms(500);
/// ```
///
/// One that needs something of the service takes a clone into each run:
///
/// ```
/// use std::sync::Arc;
///
/// # struct Pool;
/// # impl Pool { async fn ping(&self) -> Result<(), std::io::Error> { Ok(()) } }
/// # let pool = Arc::new(Pool);
/// let db = bellwether::check({
///     let pool = Arc::clone(&pool);
///     move || {
///         let pool = Arc::clone(&pool);
///         async move { pool.ping().await }
///     }
/// });
/// # drop(db);
/// ```
pub fn check<F, Fut, E>(probe: F) -> Check
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: fmt::Display,
{
    Check {
        probe: Box::new(move || {
            let run = probe();
            Box::pin(async move { run.await.map_err(|error| error.to_string()) })
        }),
        critical: false,
        timeout: DEFAULT_TIMEOUT,
        interval: DEFAULT_INTERVAL,
        min_dwell: DEFAULT_MIN_DWELL,
        fault: None,
    }
}

impl Check {
    /// A check that cannot be made; `start` refuses it with this text.
    pub(super) fn faulty(fault: String) -> Self {
        let never = std::future::pending::<Result<(), String>>;
        Self {
            fault: Some(fault),
            ..check(never)
        }
    }

    /// Makes readiness depend on this check.
    #[must_use]
    pub fn critical(mut self) -> Self {
        self.critical = true;
        self
    }

    /// How long one run may take (default 1 s).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// As [`timeout`](Self::timeout), in milliseconds.
    #[must_use]
    pub fn timeout_ms(self, millis: u64) -> Self {
        self.timeout(Duration::from_millis(millis))
    }

    /// The pause between the end of a run and the next one (default 10 s, at least 10 ms); jittered by a
    /// tenth, so that replicas do not ask a dependency all at once.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(MIN_INTERVAL);
        self
    }

    /// How long a verdict is kept once it has changed (default 10 s), whatever later runs find: what a probe
    /// is told changes at most once in this time. The first verdict after the start is no change.
    #[must_use]
    pub fn min_dwell(mut self, dwell: Duration) -> Self {
        self.min_dwell = dwell;
        self
    }

    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    pub(super) fn dwell(&self) -> Duration {
        self.min_dwell
    }

    pub(super) fn is_critical(&self) -> bool {
        self.critical
    }

    pub(super) fn deadline(&self) -> Duration {
        self.timeout
    }

    pub(super) fn pause(&self) -> Duration {
        self.interval
    }

    pub(super) fn probe(&self) -> Run {
        (self.probe)()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("critical", &self.critical)
            .field("timeout", &self.timeout)
            .field("interval", &self.interval)
            .field("min_dwell", &self.min_dwell)
            .finish_non_exhaustive()
    }
}
