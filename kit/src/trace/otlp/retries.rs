//! How often and when one batch is sent again before its export counts as failed: the pauses that
//! `opentelemetry-otlp` makes, for what does not go through it. Asked by `otlp` for each batch.
//!
//! These are the short pauses, within one export; a collector that is away for longer is `worker`'s matter.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Failed;
use crate::trace::transport::{Accepted, Failure};

const MAX_RETRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(1_600);
/// Many services that one collector turned away must not return in step.
const JITTER: Duration = Duration::from_millis(100);
/// A collector that asks for longer is not waited for longer.
const LONGEST_ASKED: Duration = Duration::from_secs(30);

/// Tries until a batch is accepted, refused for good, or not worth another try within `timeout`.
pub(super) async fn send(
    timeout: Duration,
    mut once: impl AsyncFnMut() -> Result<Accepted, Failed>,
) -> Result<Accepted, Failure> {
    let mut retries = Retries::within(timeout);
    loop {
        let Failed { failure, asked } = match once().await {
            Ok(accepted) => return Ok(accepted),
            Err(failed) => failed,
        };
        let pause = match failure {
            Failure::Transient(_) => retries.next_pause(asked),
            Failure::Refused(_) => None,
        };
        match pause {
            Some(pause) => sleep(pause).await,
            None => return Err(failure),
        }
    }
}

/// The pauses of one batch.
#[derive(Debug)]
struct Retries {
    left: u32,
    end: Instant,
    pause: Duration,
    longest: Duration,
}

impl Retries {
    /// All tries together may take as long as `timeout`.
    fn within(timeout: Duration) -> Self {
        Self {
            left: MAX_RETRIES,
            end: Instant::now() + timeout,
            pause: FIRST_PAUSE,
            longest: LONGEST_PAUSE,
        }
    }

    /// How long to wait before the next try; `None` when there is to be none. `asked` is what the collector wants
    /// waited: at least as long, and from then on doubled as any other pause.
    fn next_pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        if let Some(asked) = asked {
            let asked = asked.min(LONGEST_ASKED);
            if asked > self.longest {
                self.longest = LONGEST_ASKED;
            }
            self.pause = self.pause.max(asked);
        }
        let jitter = JITTER.mul_f64(rand::random_range(0.0..=1.0));
        let pause = (self.pause + jitter).min(self.longest);
        self.pause = (self.pause * 2).min(self.longest);
        let left = self.end.saturating_duration_since(Instant::now());
        (pause < left).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(100);

    fn millis(retries: &mut Retries, asked: Option<u64>) -> Option<u128> {
        let pause = retries.next_pause(asked.map(Duration::from_millis));
        pause.map(|pause| pause.as_millis())
    }

    /// Fails so often, then accepts; gives how often it was tried.
    async fn tries(failures: usize, failed: impl Fn() -> Failed) -> (usize, bool) {
        let mut tries = 0;
        let result = send(LONG, async || {
            tries += 1;
            if tries > failures {
                return Ok(Accepted::default());
            }
            Err(failed())
        });
        let accepted = result.await.is_ok();
        (tries, accepted)
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_sent_again_is_and_nothing_else() {
        let transient = || Failed {
            failure: Failure::Transient(String::new()),
            asked: None,
        };
        let refused = || Failed {
            failure: Failure::Refused(String::new()),
            asked: Some(Duration::ZERO),
        };
        assert_eq!(tries(0, transient).await, (1, true));
        assert_eq!(tries(3, transient).await, (4, true));
        assert_eq!(tries(4, transient).await, (4, false));
        assert_eq!(tries(1, refused).await, (1, false));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_three_times() {
        let mut retries = Retries::within(LONG);
        for range in [100..=200, 200..=300, 400..=500] {
            let pause = millis(&mut retries, None).unwrap();
            assert!(range.contains(&pause), "{range:?} {pause}");
        }
        assert_eq!(millis(&mut retries, None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_asks_for_longer_is_waited_for() {
        let mut retries = Retries::within(LONG);
        for (asked, range) in [
            (Some(5_000), 5_000..=5_100),
            (None, 10_000..=10_100),
            // Never shorter than it would have been.
            (Some(1), 20_000..=20_100),
        ] {
            let pause = millis(&mut retries, asked).unwrap();
            assert!(range.contains(&pause), "{range:?} {pause}");
        }
        let mut retries = Retries::within(LONG);
        assert_eq!(millis(&mut retries, Some(600_000)), Some(30_000));
    }

    #[tokio::test(start_paused = true)]
    async fn no_pause_outlasts_the_time_out() {
        let mut retries = Retries::within(Duration::from_millis(350));
        let pause = retries.next_pause(None).unwrap();
        tokio::time::advance(pause).await;
        assert_eq!(millis(&mut retries, Some(5_000)), None);
        tokio::time::advance(LONG).await;
        let mut over = Retries::within(Duration::ZERO);
        assert_eq!(millis(&mut over, None), None);
    }
}
