//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// Asks until there is an answer, for at most 30 s.
///
/// # Panics
/// When time ran out, naming `what` was waited for.
pub fn wait_for<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_at_most(Duration::from_secs(30), what, ask)
}

/// Asks until there is an answer, for at most `limit`.
///
/// # Panics
/// When time ran out, naming `what` was waited for.
pub fn wait_at_most<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "waited {limit:?} in vain for {what}"
        );
        #[expect(clippy::disallowed_methods, reason = "a test thread between two looks")]
        std::thread::sleep(Duration::from_millis(25));
    }
}
