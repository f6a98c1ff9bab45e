//! A service of several pods behind a balancer that picks any of them, under an open loop of arrivals: nobody waits for
//! answers before asking again. Every 15 s its metrics are scraped and the autoscaler looks at them.

use std::collections::VecDeque;

use crate::hpa::{Autoscaler, Metric, Reading};
use crate::pod::{PATIENCE, Pod, Request, Totals};
use crate::random::Random;
use crate::scenario::{Scenario, Signal};

/// Between two looks of the autoscaler, and two scrapes.
pub(crate) const STEP: f64 = 15.0;
/// What the rate of the concurrency and the p95 are taken over, as the queries of the examples do.
const MINUTE: f64 = 60.0;
/// What the processor time is taken over, as metrics-server does.
const TWO_STEPS: f64 = 30.0;

/// The service every 15 s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moment {
    pub(crate) at: f64,
    pub(crate) pods: usize,
    /// Share of those that ended in these 15 s that took longer than a second, were given up or refused.
    pub(crate) bad: f64,
}

/// What became of a run.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) course: Vec<Moment>,
    pub(crate) requests: u64,
    /// Of these, those that took longer than a second, were given up or refused.
    pub(crate) bad: u64,
    pub(crate) pod_seconds: f64,
    pub(crate) changes: u32,
    /// The means of all scrapes of each signal, in the order of `SIGNALS`: what targets are made of.
    pub(crate) means: [f64; 4],
}

struct Running<'a> {
    scenario: &'a Scenario,
    random: Random,
    pods: Vec<Scraped>,
    /// No longer asked, but with requests inside.
    leaving: Vec<Pod>,
    ended: VecDeque<(f64, f64)>,
    outcome: Outcome,
    /// Requests, and the bad ones, at the last scrape.
    looked: (u64, u64),
    sums: [(f64, u32); 4],
}

struct Scraped {
    pod: Pod,
    /// By time, the newest last.
    scrapes: VecDeque<(f64, Totals)>,
}

/// Runs the scenario, scaled on a signal to a target; on none its pods stay as many as there are.
pub(crate) fn run(scenario: &Scenario, scaled: Option<(Signal, f64)>, seed: u64) -> Outcome {
    let mut running = Running::new(scenario, seed);
    let mut autoscaler = Autoscaler::new(scenario.least, scenario.most);
    let mut arrival = 0.0;
    let mut look = STEP;
    while look <= scenario.seconds {
        let (next, which) = running.next();
        if look <= arrival && look <= next {
            running.scrape(look);
            if let Some((signal, target)) = scaled {
                let current = running.pods.len();
                let desired = running.metric(signal, look).desired(current, target);
                running.scale(autoscaler.decide(look, current, desired), look);
            }
            look += STEP;
        } else if arrival <= next {
            running.arrive(arrival);
            arrival += running.random.exponential(1.0 / scenario.rate(arrival));
        } else {
            running.step(which, next);
        }
    }
    for (mean, (sum, count)) in running.outcome.means.iter_mut().zip(running.sums) {
        *mean = sum / f64::from(count.max(1));
    }
    running.outcome
}

impl<'a> Running<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let pod = || Scraped {
            pod: Pod::new(scenario.limit, 0.0, 0.0),
            scrapes: VecDeque::from([(0.0, Totals::default())]),
        };
        Self {
            scenario,
            random: Random::new(seed),
            pods: (0..scenario.pods).map(|_| pod()).collect(),
            leaving: Vec::new(),
            ended: VecDeque::new(),
            outcome: Outcome {
                course: Vec::new(),
                requests: 0,
                bad: 0,
                pod_seconds: 0.0,
                changes: 0,
                means: [0.0; 4],
            },
            looked: (0, 0),
            sums: [(0.0, 0); 4],
        }
    }

    /// When the next thing happens in a pod, and in which: those that leave come behind the others.
    fn next(&self) -> (f64, usize) {
        let pods = self.pods.iter().map(|scraped| &scraped.pod);
        let nexts = pods.chain(&self.leaving).map(Pod::next).enumerate();
        nexts.fold((f64::INFINITY, 0), |least, (which, next)| {
            if next < least.0 { (next, which) } else { least }
        })
    }

    fn step(&mut self, which: usize, now: f64) {
        let others = which.saturating_sub(self.pods.len());
        let pod = match self.pods.get_mut(which) {
            Some(scraped) => Some(&mut scraped.pod),
            None => self.leaving.get_mut(others),
        };
        let Some(pod) = pod else { return };
        pod.pass(now);
        let answered = pod.step().map(|request| now - request.arrived);
        let given_up = pod.given_up();
        for seconds in answered
            .into_iter()
            .chain(std::iter::repeat_n(PATIENCE, given_up))
        {
            self.end(now, seconds, seconds > 1.0);
        }
        self.leaving.retain(|pod| pod.in_flight() > 0);
    }

    fn end(&mut self, now: f64, seconds: f64, bad: bool) {
        self.outcome.requests += 1;
        self.outcome.bad += u64::from(bad);
        self.ended.push_back((now, seconds));
    }

    fn arrive(&mut self, now: f64) {
        let ready: Vec<usize> = (0..self.pods.len())
            .filter(|&at| {
                self.pods
                    .get(at)
                    .is_some_and(|scraped| scraped.pod.ready_at <= now)
            })
            .collect();
        let request = Request {
            arrived: now,
            cpu: self.random.exponential(self.scenario.cpu),
            wait: self.random.exponential(self.scenario.wait(now)),
        };
        let at = ready.get(self.random.below(ready.len().max(1))).copied();
        if let Some(scraped) = at.and_then(|at| self.pods.get_mut(at)) {
            scraped.pod.pass(now);
            if !scraped.pod.take(request) {
                // A refusal is an answer like any other to who measures how long answers take.
                self.end(now, 0.0, true);
            }
        }
    }

    fn scrape(&mut self, now: f64) {
        self.outcome.pod_seconds += STEP * (self.pods.len() + self.leaving.len()) as f64;
        for scraped in &mut self.pods {
            scraped.pod.pass(now);
            if scraped.pod.ready_at <= now {
                scraped.scrapes.push_back((now, scraped.pod.totals));
            }
            while scraped
                .scrapes
                .front()
                .is_some_and(|(at, _)| *at < now - MINUTE - 1.0)
            {
                scraped.scrapes.pop_front();
            }
        }
        while self.ended.front().is_some_and(|(at, _)| *at < now - MINUTE) {
            self.ended.pop_front();
        }
        for (signal, sum) in crate::scenario::SIGNALS.into_iter().zip(&mut self.sums) {
            let value = match metric(&self.pods, &self.ended, signal, now) {
                Metric::Whole(value, _) => value,
                Metric::Pods(readings) => mean(&readings),
            };
            if let Some(value) = value {
                *sum = (sum.0 + value, sum.1 + 1);
            }
        }
        let (requests, bad) = (self.outcome.requests, self.outcome.bad);
        let (requests_before, bad_before) = std::mem::replace(&mut self.looked, (requests, bad));
        self.outcome.course.push(Moment {
            at: now,
            pods: self.pods.len(),
            bad: (bad - bad_before) as f64 / (requests - requests_before).max(1) as f64,
        });
    }

    fn metric(&self, signal: Signal, now: f64) -> Metric {
        metric(&self.pods, &self.ended, signal, now)
    }

    fn scale(&mut self, wanted: usize, now: f64) {
        if wanted != self.pods.len() {
            self.outcome.changes += 1;
        }
        while self.pods.len() < wanted {
            self.pods.push(Scraped {
                pod: Pod::new(self.scenario.limit, now, now + self.scenario.start),
                scrapes: VecDeque::new(),
            });
        }
        // The newest go first, as a ReplicaSet has it.
        for scraped in self.pods.drain(wanted..) {
            if scraped.pod.in_flight() > 0 {
                self.leaving.push(scraped.pod);
            }
        }
    }
}

fn metric(pods: &[Scraped], ended: &VecDeque<(f64, f64)>, signal: Signal, now: f64) -> Metric {
    let each = |seconds: f64, of: fn(&Totals) -> f64| {
        let readings = pods.iter().map(|scraped| {
            let value = scraped.mean(now, seconds, of);
            value.map_or_else(|| scraped.unknown(signal, now), Reading::Value)
        });
        Metric::Pods(readings.collect())
    };
    match signal {
        Signal::Cpu => each(TWO_STEPS, |totals| totals.busy),
        Signal::Concurrency => each(MINUTE, |totals| totals.in_flight),
        Signal::Saturation => {
            let readings = pods.iter().map(|scraped| {
                let share = |of| scraped.mean(now, STEP, of);
                let busy = share(|totals: &Totals| totals.busy);
                let full = share(|totals: &Totals| totals.full);
                let largest = busy.zip(full).map(|(busy, full)| busy.max(full).min(1.0));
                largest.map_or_else(|| scraped.unknown(signal, now), Reading::Value)
            });
            Metric::Pods(readings.collect())
        }
        Signal::P95 => {
            let ready = pods.iter().filter(|scraped| scraped.pod.ready_at <= now);
            Metric::Whole(p95(ended.iter()), ready.count())
        }
    }
}

impl Scraped {
    /// Of the last `seconds`, as far as there are scrapes; `None` with fewer than two.
    fn mean(&self, now: f64, seconds: f64, of: fn(&Totals) -> f64) -> Option<f64> {
        let mut within = self
            .scrapes
            .iter()
            .filter(|(at, _)| *at >= now - seconds - 1.0);
        let (from, before) = within.next()?;
        let (to, after) = within.next_back()?;
        Some((of(after) - of(before)) / (to - from))
    }

    /// The autoscaler knows of processor time why there is none.
    fn unknown(&self, signal: Signal, now: f64) -> Reading {
        if signal == Signal::Cpu && self.pod.ready_at > now {
            Reading::Unready
        } else {
            Reading::Missing
        }
    }
}

fn mean(readings: &[Reading]) -> Option<f64> {
    let values = readings.iter().filter_map(|reading| match reading {
        Reading::Value(value) => Some(*value),
        Reading::Missing | Reading::Unready => None,
    });
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// By nearest rank.
fn p95<'a>(ended: impl Iterator<Item = &'a (f64, f64)>) -> Option<f64> {
    let mut seconds: Vec<f64> = ended.map(|(_, seconds)| *seconds).collect();
    let rank = (seconds.len() * 95).div_ceil(100).checked_sub(1)?;
    let (_, value, _) = seconds.select_nth_unstable_by(rank, f64::total_cmp);
    Some(*value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SCENARIOS;

    fn short(scenario: &Scenario) -> Scenario {
        Scenario {
            seconds: 120.0,
            ..*scenario
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let scenario = short(&SCENARIOS[0]);
        let scaled = Some((Signal::Concurrency, 2.0));
        let once = run(&scenario, scaled, 1);
        assert_eq!(once, run(&scenario, scaled, 1));
        assert_ne!(once, run(&scenario, scaled, 2));
    }

    /// What is offered is taken, and the integrals say how many were inside.
    #[test]
    fn fixed_pods_show_the_load_they_are_under() {
        for scenario in &SCENARIOS {
            let scenario = short(scenario);
            let outcome = run(&scenario, None, 1);
            let offered = scenario.rate(0.0) * scenario.seconds;
            assert!(
                (outcome.requests as f64 / offered - 1.0).abs() < 0.1,
                "{outcome:?}"
            );
            let [cpu, _, concurrency, saturation] = outcome.means;
            let a_pod = scenario.rate(0.0) / scenario.pods as f64;
            assert!((cpu / (a_pod * scenario.cpu) - 1.0).abs() < 0.15, "{cpu}");
            assert!(concurrency >= a_pod * (scenario.cpu + scenario.wait(0.0)) * 0.9);
            assert!((0.0..=1.0).contains(&saturation));
            assert_eq!(outcome.changes, 0);
        }
    }

    /// Five times what one pod can take: four of five requests are refused, at once, and are bad for all that.
    #[test]
    fn who_is_refused_is_answered_at_once_and_badly() {
        let refusing = &SCENARIOS[2];
        let scenario = Scenario {
            pods: 1,
            rates: [refusing.capacity(0.0) * 5.0; 2],
            ..short(refusing)
        };
        let outcome = run(&scenario, None, 1);
        let offered = scenario.rate(0.0) * scenario.seconds;
        assert!((outcome.requests as f64 / offered - 1.0).abs() < 0.05);
        let bad = outcome.bad as f64 / outcome.requests as f64;
        assert!((bad - 0.8).abs() < 0.02, "{bad}");
        let [_, p95, concurrency, saturation] = outcome.means;
        // Of those taken, a quarter takes longer than 0.35 s.
        assert!((p95 - 0.35).abs() < 0.03, "{p95}");
        assert!(concurrency > 31.0 && saturation > 0.97);
    }

    #[test]
    fn a_pod_that_starts_takes_nothing_until_it_is_ready() {
        let scenario = short(&SCENARIOS[0]);
        let mut running = Running::new(&scenario, 1);
        running.scale(scenario.pods + 1, 0.0);
        for number in 0..2_000 {
            running.arrive(f64::from(number) * 0.001);
        }
        let newest = running.pods.last().unwrap();
        assert_eq!(newest.pod.in_flight(), 0);
        let unknown = |signal| newest.unknown(signal, 1.0);
        assert_eq!(
            (unknown(Signal::Cpu), unknown(Signal::Concurrency)),
            (Reading::Unready, Reading::Missing)
        );
        running.arrive(scenario.start + 1.0);
        let now = scenario.start + 2.0;
        (0..100).for_each(|_| running.arrive(now));
        assert!(running.pods.last().unwrap().pod.in_flight() > 0);
        // Those that have to go finish what they have.
        running.scale(1, now);
        assert_eq!(running.leaving.len(), scenario.pods);
    }
}
