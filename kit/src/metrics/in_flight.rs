//! The time integral of requests in flight: `rate()` of it is the exact mean concurrency between two
//! scrapes, where a gauge only shows the moment of the scrape.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Enough that neighbouring threads seldom share one.
const STRIPES: usize = 16;

/// Nanoseconds since the integral began: enough for 584 years.
type Nanos = u64;

/// Sums of those, which any number of requests add to.
type Sum = i128;

/// The integral. For a request from `start` to `end` it grows by `end − start`; for one still in flight,
/// at `now`, by `now − start`. So with `n` requests in flight the whole is
/// `Σ ends − Σ starts + n × now`, and starting or ending one changes two numbers, whatever else is in
/// flight. Both numbers must be read together: hence a lock, and stripes so that it is hardly ever waited for.
#[derive(Debug)]
pub(super) struct InFlight {
    began: Instant,
    stripes: [Stripe; STRIPES],
    /// The highest value shown so far: a counter must not go backwards.
    shown: Mutex<Sum>,
}

/// On cache lines of its own, so that threads do not slow each other by neighbourhood.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(Mutex<Sums>);

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    in_flight: i64,
    ends_minus_starts: Sum,
}

/// Which stripe a request was counted in.
#[derive(Clone, Copy, Debug)]
struct StripeIndex(usize);

/// A request that was counted: where, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    stripe: StripeIndex,
    start: Nanos,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            stripes: Default::default(),
            shown: Mutex::new(0),
        }
    }

    /// A request starts; hand what this gives back to [`ended`](Self::ended).
    pub(super) fn started(&self, at: Instant) -> Counted {
        let counted = Counted {
            stripe: StripeIndex(this_thread() % STRIPES),
            start: self.nanos(at),
        };
        self.start(counted.stripe, counted.start);
        counted
    }

    /// It has ended now.
    pub(super) fn ended(&self, counted: Counted) {
        self.end(counted.stripe, self.now());
    }

    /// It has ended so long after it started.
    pub(super) fn ended_after(&self, counted: Counted, duration: Duration) {
        self.end(
            counted.stripe,
            counted.start.saturating_add(nanos(duration)),
        );
    }

    /// Request-seconds so far, those of unfinished requests included; never less than shown before.
    pub(super) fn seconds(&self) -> f64 {
        let nanos = self.shown_at(self.now());
        nanos as f64 / 1e9
    }

    fn now(&self) -> Nanos {
        self.nanos(Instant::now())
    }

    fn nanos(&self, at: Instant) -> Nanos {
        nanos(at.saturating_duration_since(self.began))
    }

    fn start(&self, index: StripeIndex, at: Nanos) {
        self.change(index, |sums| {
            sums.in_flight += 1;
            sums.ends_minus_starts -= Sum::from(at);
        });
    }

    fn end(&self, index: StripeIndex, at: Nanos) {
        self.change(index, |sums| {
            sums.in_flight -= 1;
            sums.ends_minus_starts += Sum::from(at);
        });
    }

    /// `now` is read before the stripes: a request that starts or ends while they are read counts to its
    /// own time, so the value can be off by the microseconds this takes, and the next one makes up for it.
    fn shown_at(&self, now: Nanos) -> Sum {
        let total: Sum = self
            .stripes
            .iter()
            .map(|stripe| {
                let sums = *stripe.0.lock().unwrap_or_else(PoisonError::into_inner);
                sums.ends_minus_starts + Sum::from(sums.in_flight) * Sum::from(now)
            })
            .sum();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = total.max(*shown);
        *shown
    }

    fn change(&self, StripeIndex(index): StripeIndex, act: impl FnOnce(&mut Sums)) {
        if let Some(stripe) = self.stripes.get(index) {
            act(&mut stripe.0.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

fn nanos(duration: Duration) -> Nanos {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(duration.subsec_nanos().into())
}

/// A small number of this thread's own.
fn this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: Cell<Option<usize>> = const { Cell::new(None) };
    }
    // While a thread is torn down any stripe will do.
    INDEX
        .try_with(|cell| {
            cell.get().unwrap_or_else(|| {
                let index = NEXT.fetch_add(1, Ordering::Relaxed);
                cell.set(Some(index));
                index
            })
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_integral_is_exact_for_finished_and_unfinished_requests() {
        let integral = InFlight::new();
        let (a, b) = (StripeIndex(0), StripeIndex(7));
        integral.start(a, 100);
        assert_eq!(integral.shown_at(150), 50);
        integral.start(b, 200);
        assert_eq!(integral.shown_at(300), 300);
        integral.end(a, 400);
        assert_eq!(integral.shown_at(400), 500);
        integral.end(b, 1_000);
        assert_eq!(integral.shown_at(1_000), 1_100);
        assert_eq!(integral.shown_at(9_000), 1_100);
    }

    #[test]
    fn a_request_of_a_known_duration_counts_for_just_that() {
        let integral = InFlight::new();
        let counted = integral.started(Instant::now());
        integral.ended_after(counted, Duration::new(3, 7));
        assert_eq!(integral.shown_at(integral.now()), 3_000_000_007);
        assert_eq!(integral.shown_at(Nanos::MAX / 2), 3_000_000_007);
    }

    #[test]
    fn it_never_goes_backwards() {
        let integral = InFlight::new();
        integral.start(StripeIndex(0), 0);
        assert_eq!(integral.shown_at(100), 100);
        // Started after `now` was read.
        integral.start(StripeIndex(1), 120);
        assert_eq!(integral.shown_at(101), 100);
        assert_eq!(integral.shown_at(200), 280);
    }

    #[test]
    fn stripes_take_what_threads_do_at_once() {
        let integral = InFlight::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let index = integral.started(Instant::now());
                        integral.ended(index);
                    }
                });
            }
        });
        let now = integral.now();
        let whole = integral.shown_at(now);
        assert_eq!(integral.shown_at(now + 1_000_000_000), whole);
        assert!(integral.seconds() > 0.0);
    }

    proptest! {
        #[test]
        fn any_requests_sum_to_their_durations(
            requests in prop::collection::vec((0..STRIPES, 0..1_000_u64, 0..1_000_u64), 0..50),
            now in 0..3_000_u64,
        ) {
            let integral = InFlight::new();
            let mut expected = 0;
            for (stripe, start, length) in requests {
                let end = start + length;
                if start <= now {
                    integral.start(StripeIndex(stripe), start);
                    expected += Sum::from(now.min(end) - start);
                }
                if end <= now {
                    integral.end(StripeIndex(stripe), end);
                }
            }
            prop_assert_eq!(integral.shown_at(now), expected);
        }
    }
}
