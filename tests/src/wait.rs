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
pub fn wait_at_most<T>(limit: Duration, what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait(limit, || what.to_owned(), ask)
}

/// As [`wait_for`], with what was waited for told only when time ran out.
///
/// # Panics
/// When time ran out.
pub fn wait_telling<T>(what: impl Fn() -> String, ask: impl FnMut() -> Option<T>) -> T {
    wait(Duration::from_secs(30), what, ask)
}

fn wait<T>(limit: Duration, what: impl Fn() -> String, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "waited {limit:?} in vain for {}",
            what()
        );
        #[expect(clippy::disallowed_methods, reason = "a test thread between two looks")]
        std::thread::sleep(Duration::from_millis(25));
    }
}
