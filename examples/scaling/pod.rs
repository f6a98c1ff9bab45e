//! One pod: so many requests at a time, one processor that they share, and a dependency that each waits for. What comes
//! beyond that waits inside until its client gives up, or is refused. `simulation` moves it from event to event.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

/// Clients give up on a request that has not been begun in so many seconds.
pub(crate) const PATIENCE: f64 = 10.0;

/// A number as a key of a heap.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Key(f64);

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// What a request takes, in seconds: processor time, then waiting for the dependency.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) arrived: f64,
    pub(crate) cpu: f64,
    pub(crate) wait: f64,
}

/// How many requests a pod works on at a time, and what becomes of those beyond.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// They wait inside: for a connection to the database, or for a thread.
    Waits(usize),
    /// They are answered at once, with 503: `BELLWETHER_CONCURRENCY_LIMIT`.
    Refuses(usize),
}

impl Limit {
    pub(crate) fn requests(self) -> usize {
        match self {
            Self::Waits(requests) | Self::Refuses(requests) => requests,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Pod {
    /// From when on it takes requests.
    pub(crate) ready_at: f64,
    limit: Limit,
    now: f64,
    /// The processor time that each request in computation has had since the pod is there.
    had: f64,
    computing: BinaryHeap<Reverse<(Key, usize)>>,
    waiting: BinaryHeap<Reverse<(Key, usize)>>,
    queue: VecDeque<Request>,
    /// Requests that were given up and not told yet.
    given_up: usize,
    /// By number: those that have been begun; those that have ended are reused.
    begun: Vec<Request>,
    free: Vec<usize>,
    pub(crate) totals: Totals,
}

/// Time integrals since the pod is there, seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Requests inside, those that wait to begin included: `http_server_active_request_seconds_total`.
    pub(crate) in_flight: f64,
    /// The processor at work.
    pub(crate) busy: f64,
    /// Requests begun, as a share of the limit; nobody knows of one that does not refuse (a pool of connections), so that it
    /// stays 0 then.
    pub(crate) full: f64,
}

impl Pod {
    pub(crate) fn new(limit: Limit, now: f64, ready_at: f64) -> Self {
        Self {
            ready_at,
            limit,
            now,
            had: 0.0,
            computing: BinaryHeap::new(),
            waiting: BinaryHeap::new(),
            queue: VecDeque::new(),
            given_up: 0,
            begun: Vec::new(),
            free: Vec::new(),
            totals: Totals::default(),
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.under_way() + self.queue.len()
    }

    fn under_way(&self) -> usize {
        self.computing.len() + self.waiting.len()
    }

    /// When something happens next.
    pub(crate) fn next(&self) -> f64 {
        let computed = self.computing.peek().map(|Reverse((had, _))| {
            self.now + (had.0 - self.had).max(0.0) * self.computing.len() as f64
        });
        let waited = self.waiting.peek().map(|Reverse((at, _))| at.0);
        computed
            .unwrap_or(f64::INFINITY)
            .min(waited.unwrap_or(f64::INFINITY))
    }

    /// Lets time pass up to `now`, at most up to what happens next.
    pub(crate) fn pass(&mut self, now: f64) {
        let seconds = (now - self.now).max(0.0);
        self.totals.in_flight += self.in_flight() as f64 * seconds;
        if let Limit::Refuses(most) = self.limit {
            self.totals.full += self.under_way() as f64 / most as f64 * seconds;
        }
        if !self.computing.is_empty() {
            self.totals.busy += seconds;
            self.had += seconds / self.computing.len() as f64;
        }
        self.now = now;
        while self
            .queue
            .front()
            .is_some_and(|request| request.arrived < now - PATIENCE)
        {
            self.queue.pop_front();
            self.given_up += 1;
        }
    }

    /// How many requests were given up since this was asked last.
    pub(crate) fn given_up(&mut self) -> usize {
        std::mem::take(&mut self.given_up)
    }

    /// Whether it takes the request.
    pub(crate) fn take(&mut self, request: Request) -> bool {
        if let Limit::Refuses(most) = self.limit
            && self.under_way() >= most
        {
            return false;
        }
        self.queue.push_back(request);
        self.begin();
        true
    }

    /// What happens now; the request that ended by it.
    pub(crate) fn step(&mut self) -> Option<Request> {
        // Of the rounding of sums: a request that is done but for that is done.
        const SLACK: f64 = 1e-9;
        if let Some(&Reverse((at, number))) = self.waiting.peek()
            && at.0 <= self.now
        {
            self.waiting.pop();
            self.free.push(number);
            self.begin();
            return self.begun.get(number).copied();
        }
        if let Some(&Reverse((had, number))) = self.computing.peek()
            && had.0 <= self.had + SLACK
        {
            self.computing.pop();
            let wait = self.begun.get(number).map_or(0.0, |request| request.wait);
            self.waiting.push(Reverse((Key(self.now + wait), number)));
        }
        None
    }

    fn begin(&mut self) {
        while self.under_way() < self.limit.requests()
            && let Some(request) = self.queue.pop_front()
        {
            let number = self.free.pop().unwrap_or(self.begun.len());
            match self.begun.get_mut(number) {
                Some(place) => *place = request,
                None => self.begun.push(request),
            }
            self.computing
                .push(Reverse((Key(self.had + request.cpu), number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The mean time in the pod of Poisson arrivals at `rate`, and the mean number inside.
    fn mean(limit: usize, rate: f64, cpu: f64, wait: f64) -> (f64, f64) {
        let mut random = Random::new(1);
        let mut pod = Pod::new(Limit::Waits(limit), 0.0, 0.0);
        let (mut arrival, mut seconds, mut ended) = (0.0, 0.0, 0_u32);
        while ended < 200_000 {
            let next = pod.next();
            if arrival < next {
                pod.pass(arrival);
                pod.take(Request {
                    arrived: arrival,
                    cpu: random.exponential(cpu),
                    wait: random.exponential(wait),
                });
                arrival += random.exponential(1.0 / rate);
                continue;
            }
            pod.pass(next);
            if let Some(request) = pod.step() {
                seconds += next - request.arrived;
                ended += 1;
            }
        }
        (seconds / f64::from(ended), pod.totals.in_flight / pod.now)
    }

    #[test]
    fn a_shared_processor_takes_what_theory_says() {
        // M/M/1 with processor sharing: service time ÷ (1 − load).
        let (seconds, inside) = mean(1_000_000, 14.0, 0.05, 0.0);
        let theory = 0.05 / (1.0 - 0.7);
        assert!((seconds / theory - 1.0).abs() < 0.03, "{seconds}");
        assert!(
            (inside / (14.0 * seconds) - 1.0).abs() < 0.02,
            "Little: {inside}"
        );
    }

    #[test]
    fn who_waits_too_long_is_not_begun() {
        let mut pod = Pod::new(Limit::Waits(1), 0.0, 0.0);
        let request = Request {
            arrived: 0.0,
            cpu: 20.0,
            wait: 0.0,
        };
        pod.take(request);
        pod.take(request);
        pod.pass(9.0);
        assert_eq!((pod.in_flight(), pod.given_up()), (2, 0));
        pod.pass(11.0);
        assert_eq!((pod.in_flight(), pod.given_up(), pod.given_up()), (1, 1, 0));
    }

    #[test]
    fn who_is_beyond_a_limit_that_refuses_is_never_inside() {
        let mut pod = Pod::new(Limit::Refuses(2), 0.0, 0.0);
        let request = Request {
            arrived: 0.0,
            cpu: 0.0,
            wait: 3.0,
        };
        let taken: Vec<bool> = (0..3).map(|_| pod.take(request)).collect();
        assert_eq!((taken, pod.in_flight()), (vec![true, true, false], 2));
        // Both have been computed, and then waited for.
        for _ in 0..4 {
            pod.pass(pod.next());
            pod.step();
        }
        assert_eq!((pod.in_flight(), pod.totals.in_flight), (0, 6.0));
        assert!(pod.take(request));
    }

    /// The saturation ratio knows of `BELLWETHER_CONCURRENCY_LIMIT` alone, which refuses: it cannot see a pool that is empty.
    #[test]
    fn only_a_limit_that_refuses_is_known_to_be_full() {
        for (limit, full) in [(Limit::Refuses(1), 3.0), (Limit::Waits(1), 0.0)] {
            let mut pod = Pod::new(limit, 0.0, 0.0);
            pod.take(Request {
                arrived: 0.0,
                cpu: 0.0,
                wait: 3.0,
            });
            for _ in 0..2 {
                pod.pass(pod.next());
                pod.step();
            }
            assert_eq!(pod.totals.full, full, "{limit:?}");
        }
    }

    #[test]
    fn without_queueing_a_request_takes_its_own_time() {
        let (seconds, inside) = mean(64, 8.0, 0.002, 0.25);
        assert!((seconds - 0.252).abs() < 0.003, "{seconds}");
        assert!((inside / (8.0 * seconds) - 1.0).abs() < 0.02, "{inside}");
    }
}
