//! `http_client_*`: recorded by the client layer for each outgoing call.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::Equivalent;

use super::histogram::Histogram;
use super::labels::LabelText;
use super::table::{Labels, Table};
use super::text::Text;
use super::{DURATION_BUCKETS, Exemplar};

/// The bounds of the network gap, in seconds: from a loopback's 50 µs to a stalled link.
const GAP_BUCKETS: [f64; 15] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5,
];

/// The metrics of the client side; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ClientMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    durations: Table<Key, Histogram>,
    gaps: Table<Key, Histogram>,
}

/// What identifies an outgoing call's series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientLabels<'a> {
    /// A known method or `_OTHER`.
    pub(crate) method: &'static str,
    pub(crate) server_address: &'a str,
    pub(crate) server_port: u16,
    pub(crate) status: Option<u16>,
    /// Set when the call failed: the status code as text from 400 on, else the kind of failure.
    pub(crate) error_type: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    method: &'static str,
    server_address: Box<str>,
    server_port: u16,
    status: Option<u16>,
    error_type: Option<&'static str>,
}

impl Default for ClientMetrics {
    fn default() -> Self {
        Self(Arc::new(Inner {
            durations: Table::new("http_client_request_duration_seconds", || {
                Histogram::new(&DURATION_BUCKETS)
            }),
            gaps: Table::new("http_client_network_gap_seconds", || {
                Histogram::new(&GAP_BUCKETS)
            }),
        }))
    }
}

impl ClientMetrics {
    /// Records a finished call; `gap` when the server told its own time.
    pub(crate) fn settled(
        &self,
        labels: ClientLabels<'_>,
        duration: Duration,
        gap: Option<Duration>,
        exemplar: Option<Exemplar>,
    ) {
        self.0
            .durations
            .with(&labels, |series| series.value.observe(duration, exemplar));
        if let Some(gap) = gap {
            self.gap(labels, gap, exemplar);
        }
    }

    /// Records the gap alone, of a call whose duration is not measured as one of HTTP.
    pub(crate) fn gap(&self, labels: ClientLabels<'_>, gap: Duration, exemplar: Option<Exemplar>) {
        self.0
            .gaps
            .with(&labels, |series| series.value.observe(gap, exemplar));
    }

    /// Calls settled and gaps measured, for tests of those who settle them.
    #[cfg(test)]
    pub(crate) fn settled_total(&self) -> (u64, u64) {
        let count = |table: &Table<Key, Histogram>| {
            table.all().iter().map(|series| series.value.count()).sum()
        };
        (count(&self.0.durations), count(&self.0.gaps))
    }

    pub(super) fn write(&self, text: &mut Text) {
        text.histograms(&self.0.durations, "Duration of HTTP client requests");
        text.histograms(
            &self.0.gaps,
            "Time between a client and its server: the client's time to the first byte without the server's",
        );
    }

    /// Measurements beyond the series limit, per metric.
    pub(super) fn overflowed(&self) -> [(&'static str, u64); 2] {
        let Inner { durations, gaps } = &*self.0;
        [
            (durations.metric(), durations.overflowed()),
            (gaps.metric(), gaps.overflowed()),
        ]
    }
}

impl ClientLabels<'_> {
    /// What a borrowed and an owned key have in common, for hash and equality.
    fn parts(&self) -> Parts<'_> {
        (
            self.method,
            self.server_address,
            self.server_port,
            self.status,
            self.error_type,
        )
    }
}

impl Key {
    fn parts(&self) -> Parts<'_> {
        (
            self.method,
            &self.server_address,
            self.server_port,
            self.status,
            self.error_type,
        )
    }
}

type Parts<'a> = (
    &'static str,
    &'a str,
    u16,
    Option<u16>,
    Option<&'static str>,
);

impl Hash for ClientLabels<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Equivalent<Key> for ClientLabels<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.parts() == key.parts()
    }
}

impl Labels<Key> for ClientLabels<'_> {
    fn to_key(&self) -> Key {
        Key {
            method: self.method,
            server_address: self.server_address.into(),
            server_port: self.server_port,
            status: self.status,
            error_type: self.error_type,
        }
    }

    fn to_text(&self) -> LabelText {
        LabelText::default()
            .with("http_request_method", self.method)
            .with("server_address", self.server_address)
            .with_number("server_port", Some(self.server_port))
            .with_number("http_response_status_code", self.status)
            .with_some("error_type", self.error_type)
    }
}
