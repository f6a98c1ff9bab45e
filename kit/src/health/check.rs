//! Dependency checks, as users register them.

use std::future::Future;
use std::time::Duration;

/// A dependency check: runs in the background, a probe only reads its last result.
pub struct Check {}

/// A check from an async closure: `Ok` passes, `Err` fails with its text.
pub fn check<F, Fut, E>(_probe: F) -> Check
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display,
{
    unimplemented!()
}

impl Check {
    /// Makes readiness depend on this check.
    #[must_use]
    pub fn critical(self) -> Self {
        unimplemented!()
    }

    /// How long one run may take (default 1 s).
    #[must_use]
    pub fn timeout(self, _timeout: Duration) -> Self {
        unimplemented!()
    }

    /// As [`timeout`](Self::timeout), in milliseconds.
    #[must_use]
    pub fn timeout_ms(self, millis: u64) -> Self {
        self.timeout(Duration::from_millis(millis))
    }
}
