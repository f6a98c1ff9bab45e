//! How long to wait before the next attempt: exponential back-off with jitter, or what the peer asked for.
//! Called by the worker.

use std::time::Duration;

use super::config::Retry;

/// What a peer may ask for at most: a mistaken year must not silence an exporter for good.
pub(super) const LONGEST_TOLD: Duration = Duration::from_secs(300);

/// The state of one run of failures.
#[derive(Debug)]
pub(super) struct Backoff {
    bounds: Retry,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(bounds: Retry) -> Self {
        Self {
            bounds,
            next: bounds.first,
        }
    }

    /// The time to wait now. A peer that told a time gets at least that.
    pub(super) fn delay(&mut self, told: Option<Duration>) -> Duration {
        // Half of it is certain and half is chance, so that senders that failed together come back apart.
        let jittered = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = self.next.saturating_mul(2).min(self.bounds.longest);
        let told = told.unwrap_or_default().min(LONGEST_TOLD);
        // Everybody who was told the same would come back together, so it is chance up to a tenth later.
        jittered.max(told.mul_f64(rand::random_range(1.0..=1.1)))
    }

    /// Starts over, after a success.
    pub(super) fn reset(&mut self) {
        self.next = self.bounds.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound_and_start_over() {
        let bounds = Retry {
            first: Duration::from_millis(20),
            longest: Duration::from_secs(3),
        };
        let mut backoff = Backoff::new(bounds);
        for exponent in 0..12 {
            let whole = bounds
                .first
                .saturating_mul(1 << exponent)
                .min(bounds.longest);
            let delay = backoff.delay(None);
            assert!(
                (whole / 2..=whole).contains(&delay),
                "{exponent}: {delay:?}"
            );
        }
        backoff.reset();
        assert!(backoff.delay(None) <= bounds.first);
    }

    #[test]
    fn a_told_time_is_kept_within_reason() {
        for (told, expected) in [
            (Duration::from_secs(7), Duration::from_secs(7)),
            (Duration::MAX, LONGEST_TOLD),
        ] {
            let delay = |_| Backoff::new(Retry::default()).delay(Some(told));
            let delays: Vec<_> = (0..20).map(delay).collect();
            let (least, most) = (expected, expected.mul_f64(1.1));
            assert!(
                delays.iter().all(|delay| (least..=most).contains(delay)),
                "{delays:?}"
            );
            assert!(delays.iter().any(|delay| *delay != delays[0]), "no chance");
        }
        let mut backoff = Backoff::new(Retry::default());
        assert!(backoff.delay(Some(Duration::ZERO)) >= Retry::default().first / 2);
    }
}
