//! What is simulated: services, what happens to them, and what they are scaled on.

use crate::pod::Limit;
use crate::simulation::{self, Outcome, STEP};

/// What a service is scaled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Cpu,
    P95,
    Concurrency,
    Saturation,
}

pub(crate) const SIGNALS: [Signal; 4] = [
    Signal::Cpu,
    Signal::P95,
    Signal::Concurrency,
    Signal::Saturation,
];

/// A share of what a pod can take: the rest is for the time that a new one needs.
const TARGET: f64 = 0.7;
/// A p95 that is only met at that share would be missed at any more: it is given so much more.
const P95_ROOM: f64 = 1.5;
/// A time in which more requests than this share are bad is a bad time: its p95 is over a second.
const MANY_BAD: f64 = 0.05;
/// Pods and seconds of the run that shows what signals are at that share.
const CALIBRATION: (usize, f64) = (10, 900.0);

/// A service, and what happens to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Part of the picture's file name.
    pub(crate) file: &'static str,
    /// Of all of it.
    pub(crate) seconds: f64,
    /// Pods at the beginning, at least, and at most.
    pub(crate) pods: usize,
    pub(crate) least: usize,
    pub(crate) most: usize,
    /// Seconds until a new pod is ready.
    pub(crate) start: f64,
    /// Of each pod.
    pub(crate) limit: Limit,
    /// Mean seconds of processor time of a request; a pod has one processor.
    pub(crate) cpu: f64,
    /// Mean seconds that a request waits for the dependency: before, during and after `busy`.
    pub(crate) waits: [f64; 2],
    /// Requests a second, likewise.
    pub(crate) rates: [f64; 2],
    /// From, to, in seconds.
    pub(crate) busy: (f64, f64),
}

const CPU_BOUND: Scenario = Scenario {
    name: "CPU-bound, load × 5",
    file: "cpu-bound",
    seconds: 2_100.0,
    pods: 3,
    least: 2,
    most: 40,
    start: 30.0,
    limit: Limit::Waits(64),
    cpu: 0.05,
    waits: [0.0, 0.0],
    rates: [40.0, 200.0],
    busy: (300.0, 900.0),
};

const IO_BOUND: Scenario = Scenario {
    name: "I/O-bound, load × 5",
    file: "io-bound",
    limit: Limit::Waits(32),
    cpu: 0.002,
    waits: [0.25, 0.25],
    rates: [256.0, 1_280.0],
    ..CPU_BOUND
};

/// Two services, one of them three times.
pub(crate) const SCENARIOS: [Scenario; 4] = [
    CPU_BOUND,
    IO_BOUND,
    Scenario {
        name: "I/O-bound with a limit that refuses, load × 5",
        file: "refusing",
        limit: Limit::Refuses(32),
        ..IO_BOUND
    },
    Scenario {
        name: "I/O-bound with a limit that refuses, dependency half as fast",
        file: "slow-dependency",
        limit: Limit::Refuses(32),
        pods: 6,
        waits: [0.25, 0.5],
        rates: [512.0, 512.0],
        ..IO_BOUND
    },
];

/// A scenario scaled on a signal.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) signal: Signal,
    pub(crate) target: f64,
    pub(crate) outcome: Outcome,
}

impl Scenario {
    /// Mean seconds of waiting at a time.
    pub(crate) fn wait(&self, at: f64) -> f64 {
        self.at(at, self.waits)
    }

    /// Requests a second at a time.
    pub(crate) fn rate(&self, at: f64) -> f64 {
        self.at(at, self.rates)
    }

    fn at(&self, at: f64, [calm, busy]: [f64; 2]) -> f64 {
        let is_busy = (self.busy.0..self.busy.1).contains(&at);
        if is_busy { busy } else { calm }
    }

    /// Requests a second that a pod can take at a time: as its processor or its limit allows.
    pub(crate) fn capacity(&self, at: f64) -> f64 {
        (1.0 / self.cpu).min(self.limit.requests() as f64 / (self.cpu + self.wait(at)))
    }

    /// Pods that it takes to be as busy as wanted.
    pub(crate) fn needed(&self, at: f64) -> usize {
        let pods = self.rate(at) / (self.capacity(at) * TARGET);
        (pods.ceil() as usize).max(self.least)
    }

    /// Scales it on each signal, by what the signal shows where pods are as busy as wanted; on processor time and on the
    /// saturation ratio at 70 %, as it is done everywhere.
    pub(crate) fn runs(&self, seed: u64) -> Vec<Run> {
        let (pods, seconds) = CALIBRATION;
        let rate = self.capacity(0.0) * TARGET * pods as f64;
        let calm = Self {
            pods,
            seconds,
            rates: [rate, rate],
            waits: [self.waits[0]; 2],
            ..*self
        };
        let means = simulation::run(&calm, None, seed).means;
        let runs = SIGNALS.into_iter().zip(means).map(|(signal, mean)| {
            let target = match signal {
                Signal::Cpu | Signal::Saturation => TARGET,
                Signal::P95 => mean * P95_ROOM,
                Signal::Concurrency => mean,
            };
            Run {
                signal,
                target,
                outcome: simulation::run(self, Some((signal, target)), seed),
            }
        });
        runs.collect()
    }
}

impl Signal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::P95 => "p95",
            Self::Concurrency => "mean concurrency",
            Self::Saturation => "saturation ratio",
        }
    }
}

impl Run {
    /// As it is told, with its unit.
    pub(crate) fn target(&self) -> String {
        match self.signal {
            Signal::Cpu => format!("{:.0} %", self.target * 100.0),
            Signal::P95 => format!("{:.2} s", self.target),
            Signal::Concurrency => format!("{:.1}", self.target),
            Signal::Saturation => format!("{:.2}", self.target),
        }
    }

    /// A row of the table.
    pub(crate) fn row(&self, scenario: &str) -> String {
        let Outcome {
            course,
            requests,
            bad,
            pod_seconds,
            changes,
            ..
        } = &self.outcome;
        let bad_times = course.iter().filter(|moment| moment.bad > MANY_BAD).count();
        format!(
            "| {scenario} | {} | {} | {:.1} % | {:.1} | {:.1} | {changes} |",
            self.signal.name(),
            self.target(),
            *bad as f64 * 100.0 / *requests as f64,
            bad_times as f64 * STEP / 60.0,
            pod_seconds / 3_600.0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_follows_load_and_dependency() {
        let [cpu, io, refusing, slow] = &SCENARIOS;
        assert_eq!(
            [cpu.needed(0.0), cpu.needed(300.0), cpu.needed(900.0)],
            [3, 15, 3]
        );
        assert_eq!([io.needed(0.0), io.needed(300.0)], [3, 15]);
        assert_eq!([refusing.needed(0.0), refusing.needed(300.0)], [3, 15]);
        assert_eq!([slow.needed(0.0), slow.needed(300.0)], [6, 12]);
    }
}
