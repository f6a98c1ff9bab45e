//! The HorizontalPodAutoscaler's algorithm, as Kubernetes documents it ("Horizontal Pod Autoscaling": algorithm details,
//! configurable scaling behavior), with its defaults. `simulation` asks it every 15 s.

use std::collections::VecDeque;

/// Within so much of the target nothing is changed.
pub(crate) const TOLERANCE: f64 = 0.1;

/// What is known of a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reading {
    Value(f64),
    /// No metric has come of it.
    Missing,
    /// Not ready yet; only asked of processor time.
    Unready,
}

/// What is scaled on.
#[derive(Clone, Debug)]
pub(crate) enum Metric {
    /// One value a pod, whose mean has to meet the target.
    Pods(Vec<Reading>),
    /// One value of the whole service, and how many pods are ready.
    Whole(Option<f64>, usize),
}

impl Metric {
    /// How many pods there should be by one look at the metric.
    pub(crate) fn desired(&self, current: usize, target: f64) -> usize {
        match self {
            Self::Whole(None, _) => current,
            Self::Whole(Some(value), ready) => {
                let ratio = value / target;
                if close(ratio) {
                    current
                } else {
                    whole(ratio * *ready as f64)
                }
            }
            Self::Pods(readings) => by_pods(readings, current, target),
        }
    }
}

fn by_pods(readings: &[Reading], current: usize, target: f64) -> usize {
    let known: Vec<f64> = readings
        .iter()
        .filter_map(|reading| match reading {
            Reading::Value(value) => Some(*value),
            Reading::Missing | Reading::Unready => None,
        })
        .collect();
    if known.is_empty() {
        return current;
    }
    let ratio = mean(&known) / target;
    let missing = readings.contains(&Reading::Missing);
    let unready = readings.contains(&Reading::Unready) && ratio > 1.0;
    if !missing && !unready {
        return if close(ratio) {
            current
        } else {
            whole(ratio * known.len() as f64)
        };
    }
    // Who is not heard of is taken for what makes the least change: as busy as can be wanted, or idle.
    let assumed = readings.iter().filter_map(|reading| match reading {
        Reading::Value(value) => Some(*value),
        Reading::Missing if ratio < 1.0 => Some(target),
        Reading::Missing => Some(0.0),
        Reading::Unready => unready.then_some(0.0),
    });
    let assumed: Vec<f64> = assumed.collect();
    let cautious = mean(&assumed) / target;
    let turned = (ratio < 1.0) != (cautious < 1.0);
    if close(cautious) || turned {
        return current;
    }
    let desired = whole(cautious * assumed.len() as f64);
    let against = (cautious < 1.0 && desired > current) || (cautious > 1.0 && desired < current);
    if against { current } else { desired }
}

fn close(ratio: f64) -> bool {
    (ratio - 1.0).abs() <= TOLERANCE
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Rounded up, but for what is only a rounding error above a whole number.
fn whole(pods: f64) -> usize {
    (pods - 1e-9).ceil().max(0.0) as usize
}

/// By how much the number may change in a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Policy {
    Pods { count: usize, seconds: f64 },
    Percent { share: usize, seconds: f64 },
}

/// What is done with what is desired: stabilization and policies, of which the one that allows most counts.
#[derive(Debug)]
pub(crate) struct Autoscaler {
    pub(crate) least: usize,
    pub(crate) most: usize,
    /// The highest number desired in so many seconds stays.
    pub(crate) down_window: f64,
    pub(crate) up: Vec<Policy>,
    pub(crate) down: Vec<Policy>,
    desired: VecDeque<(f64, usize)>,
    /// When, and by how many.
    changes: Vec<(f64, isize)>,
}

impl Autoscaler {
    /// With Kubernetes' defaults.
    pub(crate) fn new(least: usize, most: usize) -> Self {
        Self {
            least,
            most,
            down_window: 300.0,
            up: vec![
                Policy::Percent {
                    share: 100,
                    seconds: 15.0,
                },
                Policy::Pods {
                    count: 4,
                    seconds: 15.0,
                },
            ],
            down: vec![Policy::Percent {
                share: 100,
                seconds: 15.0,
            }],
            desired: VecDeque::new(),
            changes: Vec::new(),
        }
    }

    /// How many there are from now on.
    pub(crate) fn decide(&mut self, now: f64, current: usize, desired: usize) -> usize {
        if self.desired.is_empty() {
            // An autoscaler that has just been made keeps what there is, too.
            self.desired.push_back((now, current));
        }
        self.desired.push_back((now, desired));
        while self
            .desired
            .front()
            .is_some_and(|(at, _)| *at < now - self.down_window)
        {
            self.desired.pop_front();
        }
        let highest = self.desired.iter().map(|(_, desired)| *desired).max();
        let next = if desired > current {
            desired.min(self.upper(now, current))
        } else {
            // Not more than there are: that is the other direction.
            let kept = highest.unwrap_or(desired).min(current);
            kept.max(self.lower(now, current))
        };
        let next = next.clamp(self.least, self.most);
        if next != current {
            self.changes.push((now, next as isize - current as isize));
        }
        next
    }

    fn upper(&self, now: f64, current: usize) -> usize {
        let limits = self.up.iter().map(|policy| match *policy {
            Policy::Pods { count, seconds } => self.before(now, current, seconds, 1) + count,
            Policy::Percent { share, seconds } => {
                (self.before(now, current, seconds, 1) * (100 + share)).div_ceil(100)
            }
        });
        limits.max().unwrap_or(current).max(current)
    }

    fn lower(&self, now: f64, current: usize) -> usize {
        let limits = self.down.iter().map(|policy| match *policy {
            Policy::Pods { count, seconds } => {
                self.before(now, current, seconds, -1).saturating_sub(count)
            }
            Policy::Percent { share, seconds } => {
                self.before(now, current, seconds, -1) * (100 - share.min(100)) / 100
            }
        });
        limits.min().unwrap_or(current).min(current)
    }

    /// How many there would be without the changes of a direction in the last `seconds`.
    fn before(&self, now: f64, current: usize, seconds: f64, direction: isize) -> usize {
        let recent = self
            .changes
            .iter()
            .filter(|(at, by)| *at > now - seconds && by * direction > 0);
        let by: isize = recent.map(|(_, by)| by).sum();
        current.saturating_add_signed(-by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reading::{Missing, Unready, Value};

    fn desired(readings: &[Reading], target: f64) -> usize {
        Metric::Pods(readings.to_vec()).desired(readings.len(), target)
    }

    /// "if the current metric value is 200m, and the desired value is 100m, the number of replicas will be doubled […] If the
    /// current value is instead 50m, you'll halve the number of replicas".
    #[test]
    fn the_documentations_ratios() {
        assert_eq!(desired(&[Value(0.2); 4], 0.1), 8);
        assert_eq!(desired(&[Value(0.05); 4], 0.1), 2);
        assert_eq!(Metric::Whole(Some(0.2), 4).desired(4, 0.1), 8);
        assert_eq!(Metric::Whole(None, 4).desired(4, 0.1), 4);
    }

    #[test]
    fn a_tenth_more_or_less_is_left_alone_and_what_is_more_is_rounded_up() {
        for (value, pods) in [(0.109, 10), (0.091, 10), (0.112, 12), (0.088, 9)] {
            assert_eq!(desired(&[Value(value); 10], 0.1), pods, "{value}");
        }
    }

    #[test]
    fn who_is_not_heard_of_dampens_the_change() {
        // Idle, when more would be wanted: (4 × 3 + 0) ÷ 5 = 2.4 × 5.
        let four = [Value(3.0); 4];
        let with = |one: Reading| [&four[..], &[one]].concat();
        assert_eq!(desired(&four, 1.0), 12);
        assert_eq!(desired(&with(Missing), 1.0), 12);
        assert_eq!(desired(&[Value(1.5), Value(1.5), Missing], 1.0), 3);
        assert_eq!(desired(&[Value(1.5), Value(1.5), Unready], 1.0), 3);
        // As busy as wanted, when fewer would do: (0.2 + 0.2 + 1) ÷ 3 = 0.47 × 3.
        assert_eq!(desired(&[Value(0.2), Value(0.2), Missing], 1.0), 2);
        // One that is not ready does not count at all then.
        assert_eq!(desired(&[Value(0.5), Value(0.5), Unready], 1.0), 1);
        assert_eq!(desired(&[Value(0.95), Value(0.95), Unready], 1.0), 3);
        // It would turn the direction.
        assert_eq!(desired(&[Value(1.2), Missing, Missing], 1.0), 3);
        assert_eq!(desired(&[Missing, Missing], 1.0), 2);
        // More than wanted of those heard of, of whom there are fewer than pods: no reason to take any away.
        let heard_of = vec![Value(3.0), Value(3.0), Missing];
        assert_eq!(Metric::Pods(heard_of).desired(8, 1.0), 8);
    }

    /// "the number of replicas is 80 and the target has to be scaled down to 10 […] the first step 8 replicas will be reduced. In
    /// the next iteration when the number of replicas is 72, 10% of the pods is 7.2 but the number is rounded up to 8 […] When
    /// the number of replicas falls below 40 […] 4 replicas will be reduced at a time."
    #[test]
    fn the_documentations_policies() {
        let mut autoscaler = Autoscaler::new(1, 100);
        autoscaler.down_window = 0.0;
        autoscaler.down = vec![
            Policy::Pods {
                count: 4,
                seconds: 60.0,
            },
            Policy::Percent {
                share: 10,
                seconds: 60.0,
            },
        ];
        let (mut pods, mut steps) = (80, Vec::new());
        for minute in 0..40 {
            let next = autoscaler.decide(f64::from(minute) * 60.0, pods, 10);
            steps.push(pods - next);
            pods = next;
        }
        // The first look keeps what there is.
        assert_eq!(steps[..3], [0, 8, 8]);
        let mut left = 80;
        for step in &steps {
            assert!(
                left >= 40 || *step == 4 || left - step == 10 || *step == 0,
                "{left}: {step}"
            );
            left -= step;
        }
        assert_eq!(pods, 10);
        // Within one period it is that much, however often it is looked.
        assert_eq!(autoscaler.decide(2_500.0, 80, 10), 72);
        assert_eq!(autoscaler.decide(2_515.0, 72, 10), 72);
    }

    #[test]
    fn up_at_once_by_double_or_four_down_after_five_minutes() {
        let mut autoscaler = Autoscaler::new(1, 50);
        assert_eq!(autoscaler.decide(0.0, 1, 40), 5);
        assert_eq!(autoscaler.decide(15.0, 5, 40), 10);
        assert_eq!(autoscaler.decide(30.0, 10, 40), 20);
        assert_eq!(autoscaler.decide(45.0, 20, 100), 40);
        assert_eq!(autoscaler.decide(60.0, 40, 100), 50, "no more than allowed");
        for second in [75.0, 200.0, 360.0] {
            assert_eq!(autoscaler.decide(second, 50, 3), 50, "{second}");
        }
        assert_eq!(autoscaler.decide(361.0, 50, 0), 3);
        assert_eq!(autoscaler.decide(700.0, 3, 0), 1, "no fewer than allowed");
        let mut new = Autoscaler::new(1, 50);
        assert_eq!(new.decide(0.0, 7, 2), 7, "what there is stays as long");
        assert_eq!(new.decide(301.0, 7, 2), 2);
    }
}
