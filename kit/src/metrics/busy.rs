//! How long a worker of the runtime has been busy, blocked ones included: for `saturation`, once a second.

use std::time::Duration;

/// A worker's busy time as it can be told at any moment.
///
/// Tokio adds a stretch of work to its total when the stretch is over. A worker that a handler blocks for ten
/// seconds would so be idle for ten seconds and then, all at once, have been busy. Two samples between which the
/// worker has neither gone to sleep nor told of any work, and finds itself awake, are such a stretch: all of the
/// time between is credited, and the credit ends when the work is told of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WorkerBusy {
    told: Told,
    /// Busy time that is not told of yet.
    credit: Duration,
}

/// What tokio tells of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// `worker_total_busy_duration`.
    pub(super) busy: Duration,
    /// `worker_park_unpark_count`: odd while it sleeps.
    pub(super) parks_and_unparks: u64,
}

impl WorkerBusy {
    /// All busy time until now, `elapsed` after the sample before.
    pub(super) fn total(&mut self, told: Told, elapsed: Duration) -> Duration {
        let asleep = told.parks_and_unparks % 2 == 1;
        if told != self.told || asleep {
            self.credit = Duration::ZERO;
        } else {
            self.credit = self.credit.saturating_add(elapsed);
        }
        self.told = told;
        told.busy.saturating_add(self.credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The totals of samples a second apart, each given as what tokio tells: busy milliseconds, parks and unparks.
    fn totals(told: &[(u64, u64)]) -> Vec<u128> {
        let mut worker = WorkerBusy::default();
        let total = |&(busy, parks_and_unparks): &(u64, u64)| {
            let busy = Duration::from_millis(busy);
            let told = Told {
                busy,
                parks_and_unparks,
            };
            worker.total(told, SECOND).as_millis()
        };
        told.iter().map(total).collect()
    }

    #[test]
    fn a_sleeping_worker_is_idle_and_a_working_one_as_busy_as_it_tells() {
        assert_eq!(totals(&[(5, 7), (5, 7), (5, 7)]), [5, 5, 5]);
        assert_eq!(totals(&[(5, 7), (305, 9), (605, 10)]), [5, 305, 605]);
        // It works from batch to batch and never sleeps.
        assert_eq!(totals(&[(5, 8), (1_005, 8), (2_005, 8)]), [5, 1_005, 2_005]);
    }

    #[test]
    fn a_blocked_worker_is_busy_before_it_tells() {
        // Woken and blocked at 0.5 s; at 3.7 s it is through and sleeps: 3.2 s in all, told at once.
        let told = [(5, 7), (5, 8), (5, 8), (5, 8), (3_205, 9), (3_205, 9)];
        assert_eq!(totals(&told), [5, 5, 1_005, 2_005, 3_205, 3_205]);
    }
}
