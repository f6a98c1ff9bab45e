//! The search for the items of one batch that make a peer refuse it: it is sent in halves, down to the ones that are
//! refused alone, so that one span costs none of the thousands that came with it. What searching may cost is bounded, for
//! a peer may refuse everything. Called by the worker.

use std::time::Duration;

use tokio::time::Instant;

/// Requests that are refused in the search through one batch, at most: enough for a few offenders among ten thousand.
/// What is refused after that is set aside as it is.
const MOST_REFUSALS: u32 = 64;

/// The same as long as nothing of the batch was taken: enough to get down to one item of a hundred thousand and some of
/// its neighbours. A peer that refuses all of a batch is asked no more often.
const MOST_BEFORE_TAKEN: u32 = 24;

/// Time that requests may take which are refused: so much at once, and then one part in so many of all time. The rest is
/// for what the peer takes.
const MOST_TIME: Duration = Duration::from_secs(2);
const ONE_PART_IN: u32 = 10;

/// The search through one batch.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Numbers of the items at which parts end that are still to be tried, the nearest last.
    ends: Vec<u64>,
    refusals: u32,
    some_taken: bool,
}

impl Search {
    /// How many items to send at once, of those from number `from` on.
    pub(super) fn most(&mut self, from: u64) -> u64 {
        while self.ends.last().is_some_and(|&end| end <= from) {
            self.ends.pop();
        }
        self.ends.last().map_or(u64::MAX, |end| end - from)
    }

    /// A part was taken.
    pub(super) fn taken(&mut self) {
        self.some_taken = true;
    }

    /// `items` from number `from` on were refused together: whether to send them in halves.
    pub(super) fn halve(&mut self, from: u64, items: u64) -> bool {
        let most = if self.some_taken {
            MOST_REFUSALS
        } else {
            MOST_BEFORE_TAKEN
        };
        if items < 2 || self.refusals >= most {
            return false;
        }
        self.refusals += 1;
        for end in [from + items, from + items / 2] {
            if self.ends.last() != Some(&end) {
                self.ends.push(end);
            }
        }
        true
    }
}

/// The time that is left for searching.
#[derive(Debug)]
pub(super) struct SearchTime {
    spent: Duration,
    at: Instant,
}

impl SearchTime {
    pub(super) fn new() -> Self {
        Self {
            spent: Duration::ZERO,
            at: Instant::now(),
        }
    }

    /// Whether there is some.
    pub(super) fn is_left(&mut self) -> bool {
        let now = Instant::now();
        let regained = (now - self.at) / ONE_PART_IN;
        self.spent = self.spent.saturating_sub(regained);
        self.at = now;
        self.spent < MOST_TIME
    }

    /// A request took so long and was refused.
    pub(super) fn spend(&mut self, took: Duration) {
        self.spent = self.spent.saturating_add(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is set aside of `items`, and how many requests that takes, with a peer that refuses requests with one of
    /// `offenders` in them.
    fn search(items: u64, offenders: &[u64]) -> (Vec<u64>, u32) {
        let mut search = Search::default();
        let (mut from, mut set_aside, mut requests) = (0, Vec::new(), 0);
        while from < items {
            let to = items.min(from.saturating_add(search.most(from)));
            requests += 1;
            let refused = offenders
                .iter()
                .any(|offender| (from..to).contains(offender));
            if refused && search.halve(from, to - from) {
                continue;
            }
            if refused {
                set_aside.extend(from..to);
            } else {
                search.taken();
            }
            from = to;
        }
        (set_aside, requests)
    }

    #[test]
    fn one_among_ten_thousand_is_found() {
        for offender in [0, 1, 4_999, 5_000, 9_999] {
            let (set_aside, requests) = search(10_000, &[offender]);
            assert_eq!(set_aside, [offender]);
            assert!(requests <= 30, "{requests}");
        }
    }

    #[test]
    fn a_batch_that_is_refused_all_over_costs_so_many_requests() {
        let all: Vec<_> = (0..10_000).collect();
        let (set_aside, requests) = search(10_000, &all);
        assert_eq!(set_aside, all);
        assert!(requests <= 2 * MOST_BEFORE_TAKEN + 1, "{requests}");
        let (_, requests) = search(10_001, &all);
        assert!(requests <= 2 * MOST_REFUSALS + 1, "{requests}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_comes_back_in_part() {
        let second = Duration::from_secs(1);
        let mut time = SearchTime::new();
        assert!(time.is_left());
        time.spend(MOST_TIME + second);
        assert!(!time.is_left());
        tokio::time::advance(ONE_PART_IN * second).await;
        assert!(!time.is_left());
        tokio::time::advance(ONE_PART_IN * second).await;
        assert!(time.is_left());
        // A little is regained between requests that take more than that.
        let mut searched = 0;
        for _ in 0..100 {
            searched += u32::from(time.is_left());
            time.spend(second);
            tokio::time::advance(second).await;
        }
        assert!(searched <= 2, "{searched}");
    }

    proptest! {
        #[test]
        fn offenders_are_set_aside_and_few_others(
            items in 1..3_000_u64,
            offenders in prop::collection::btree_set(0..3_000_u64, 0..40),
        ) {
            let offenders: Vec<_> = offenders.into_iter().filter(|&offender| offender < items).collect();
            let (set_aside, _) = search(items, &offenders);
            for offender in &offenders {
                prop_assert!(set_aside.contains(offender));
            }
            // Each of so few is found within the bound.
            if offenders.len() <= 5 {
                prop_assert_eq!(set_aside, offenders);
            }
        }
    }
}
