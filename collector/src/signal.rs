//! The kinds of telemetry that pass through, and counts by kind. Knows nobody; used by every stage.

use std::ops::{AddAssign, SubAssign};

use serde::{Deserialize, Serialize};

/// What a request is of. Traces are also viewed; the others are counted and passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Spans: `ExportTraceServiceRequest`.
    #[default]
    Traces,
    /// Log records: `ExportLogsServiceRequest`.
    Logs,
    /// Data points: `ExportMetricsServiceRequest`.
    Metrics,
}

/// A set of signals; a list of their names in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Signal>", into = "Vec<Signal>")]
pub struct Signals(BySignal<bool>);

/// One of something for each signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BySignal<T> {
    /// Of [`Signal::Traces`].
    pub traces: T,
    /// Of [`Signal::Logs`].
    pub logs: T,
    /// Of [`Signal::Metrics`].
    pub metrics: T,
}

/// How many spans, log records and data points.
pub type Items = BySignal<u64>;

impl Signal {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// As settings, paths and labels spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }

    /// The signal that is spelt `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.name() == name)
    }

    /// Where OTLP over HTTP takes it (OTLP specification, section OTLP/HTTP Request).
    pub fn http_path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// The method that takes it over gRPC (opentelemetry-proto, collector/*/v1/*_service.proto).
    pub fn grpc_path(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }

    /// One of what is counted.
    pub fn item(self) -> &'static str {
        match self {
            Self::Traces => "span",
            Self::Logs => "log record",
            Self::Metrics => "data point",
        }
    }
}

impl Signals {
    /// Every signal.
    pub const ALL: Self = Self(BySignal {
        traces: true,
        logs: true,
        metrics: true,
    });

    /// Whether `signal` is among them.
    pub fn has(self, signal: Signal) -> bool {
        *self.0.of(signal)
    }

    /// Those that are in it.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        let all = Signal::ALL.into_iter();
        all.filter(move |&signal| self.has(signal))
    }
}

impl FromIterator<Signal> for Signals {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        let mut set = BySignal::default();
        for signal in signals {
            *set.of_mut(signal) = true;
        }
        Self(set)
    }
}

impl From<Vec<Signal>> for Signals {
    fn from(signals: Vec<Signal>) -> Self {
        signals.into_iter().collect()
    }
}

impl From<Signals> for Vec<Signal> {
    fn from(signals: Signals) -> Self {
        signals.iter().collect()
    }
}

impl Default for Signals {
    fn default() -> Self {
        Self::ALL
    }
}

impl<T> BySignal<T> {
    /// The one of `signal`.
    pub fn of(&self, signal: Signal) -> &T {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
        }
    }

    /// The one of `signal`, to change.
    pub fn of_mut(&mut self, signal: Signal) -> &mut T {
        match signal {
            Signal::Traces => &mut self.traces,
            Signal::Logs => &mut self.logs,
            Signal::Metrics => &mut self.metrics,
        }
    }
}

impl Items {
    /// `count` of `signal`, and none of the others.
    pub fn only(signal: Signal, count: u64) -> Self {
        let mut items = Self::default();
        *items.of_mut(signal) = count;
        items
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many of `signal`, for a line that says nothing of what there is none of.
    pub fn told(&self, signal: Signal) -> Option<u64> {
        Some(*self.of(signal)).filter(|&count| count > 0)
    }
}

// Both stop at the bounds: what a damaged file says need not add up.
impl AddAssign for Items {
    fn add_assign(&mut self, other: Self) {
        for signal in Signal::ALL {
            let count = self.of_mut(signal);
            *count = count.saturating_add(*other.of(signal));
        }
    }
}

impl SubAssign for Items {
    fn sub_assign(&mut self, other: Self) {
        for signal in Signal::ALL {
            let count = self.of_mut(signal);
            *count = count.saturating_sub(*other.of(signal));
        }
    }
}

impl std::iter::Sum for Items {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let mut sum = Self::default();
        all.for_each(|items| sum += items);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_is_its_own_everywhere() {
        for signal in Signal::ALL {
            assert_eq!(Signal::named(signal.name()), Some(signal));
            let alone: Signals = [signal].into_iter().collect();
            assert_eq!(alone.iter().collect::<Vec<_>>(), [signal]);
            let json = serde_json::to_string(&alone).unwrap();
            assert_eq!(json, format!("[\"{}\"]", signal.name()));
            assert_eq!(serde_json::from_str::<Signals>(&json).unwrap(), alone);
            let mut items = Items::only(signal, 3);
            items += items;
            items -= Items::only(signal, 1);
            let counts = Signal::ALL.map(|other| *items.of(other));
            let expected = Signal::ALL.map(|other| if other == signal { 5 } else { 0 });
            assert_eq!(counts, expected);
            let told = Signal::ALL.map(|other| items.told(other).is_some());
            assert_eq!(told, Signal::ALL.map(|other| other == signal));
        }
        assert_eq!(Signal::named("spans"), None);
    }
}
