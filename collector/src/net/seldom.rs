//! What happens often and is told seldom: one line now and then, with how many there were since the last. Used by
//! `server` and `receive`, where any peer could fill the log.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines of one kind are at least so far apart.
const EVERY: Duration = Duration::from_secs(10);

/// One kind of line.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told_at: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// Counts one more; how many there are to tell of, if now is the time.
    pub fn count(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold += 1;
        let now = Instant::now();
        let is_time = state.told_at.is_none_or(|told| now - told >= EVERY);
        is_time.then(|| {
            state.told_at = Some(now);
            std::mem::take(&mut state.untold)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_told_at_once_and_the_others_together() {
        let seldom = Seldom::default();
        assert_eq!(seldom.count(), Some(1));
        assert_eq!(seldom.count(), None);
        tokio::time::advance(EVERY - Duration::from_millis(1)).await;
        assert_eq!(seldom.count(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(seldom.count(), Some(3));
        assert_eq!(seldom.count(), None);
    }
}
