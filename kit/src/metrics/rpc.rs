//! `rpc_*`: recorded by both layers of `http` for each gRPC call, in place of the HTTP durations.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::Equivalent;

use super::histogram::Histogram;
use super::labels::LabelText;
use super::table::{Labels, Table};
use super::text::Text;
use super::{DURATION_BUCKETS, Exemplar};

/// The metrics of gRPC calls, either side; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RpcMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    served: Table<Key, Histogram>,
    called: Table<Key, Histogram>,
}

/// What identifies a call's series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RpcLabels<'a> {
    /// `grpc`.
    pub(crate) system: &'static str,
    /// `package.Service/Method`, or `_OTHER`.
    pub(crate) method: &'a str,
    /// The name of the status code: `OK`, `UNAVAILABLE`.
    pub(crate) status: &'static str,
    /// Set when the call failed, on this side's view.
    pub(crate) error_type: Option<&'static str>,
    /// Address and port of the server, for clients that know them.
    pub(crate) server: Option<(&'a str, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    system: &'static str,
    method: Box<str>,
    status: &'static str,
    error_type: Option<&'static str>,
    server: Option<(Box<str>, u16)>,
}

impl Default for RpcMetrics {
    fn default() -> Self {
        // The conventions ask for the bounds of HTTP durations.
        let histogram = || Histogram::new(&DURATION_BUCKETS);
        Self(Arc::new(Inner {
            served: Table::new("rpc_server_call_duration_seconds", histogram),
            called: Table::new("rpc_client_call_duration_seconds", histogram),
        }))
    }
}

impl RpcMetrics {
    /// Records a call that this service answered.
    pub(crate) fn served(
        &self,
        labels: RpcLabels<'_>,
        duration: Duration,
        exemplar: Option<Exemplar>,
    ) {
        observe(&self.0.served, labels, duration, exemplar);
    }

    /// Records a call that this service made.
    pub(crate) fn called(
        &self,
        labels: RpcLabels<'_>,
        duration: Duration,
        exemplar: Option<Exemplar>,
    ) {
        observe(&self.0.called, labels, duration, exemplar);
    }

    /// The label sets of calls answered and calls made, with how many there were, for tests of those who
    /// settle them.
    #[cfg(test)]
    pub(crate) fn settled(&self) -> [Vec<(String, u64)>; 2] {
        let all = |table: &Table<Key, Histogram>| {
            let counted = |series: &Arc<super::table::Series<Histogram>>| {
                (series.labels.as_str().to_owned(), series.value.count())
            };
            table.all().iter().map(counted).collect()
        };
        [all(&self.0.served), all(&self.0.called)]
    }

    pub(super) fn write(&self, text: &mut Text) {
        text.histograms(
            &self.0.served,
            "Duration of gRPC calls answered, to the end of the response stream",
        );
        text.histograms(
            &self.0.called,
            "Duration of gRPC calls made, to the end of the response stream",
        );
    }

    /// Measurements beyond the series limit, per metric.
    pub(super) fn overflowed(&self) -> [(&'static str, u64); 2] {
        let Inner { served, called } = &*self.0;
        [
            (served.metric(), served.overflowed()),
            (called.metric(), called.overflowed()),
        ]
    }
}

fn observe(
    table: &Table<Key, Histogram>,
    labels: RpcLabels<'_>,
    duration: Duration,
    exemplar: Option<Exemplar>,
) {
    table.with(&labels, |series| series.value.observe(duration, exemplar));
}

type Parts<'a> = (
    &'static str,
    &'a str,
    &'static str,
    Option<&'static str>,
    Option<(&'a str, u16)>,
);

impl RpcLabels<'_> {
    /// What a borrowed and an owned key have in common, for hash and equality.
    fn parts(&self) -> Parts<'_> {
        (
            self.system,
            self.method,
            self.status,
            self.error_type,
            self.server,
        )
    }
}

impl Key {
    fn parts(&self) -> Parts<'_> {
        let server = self.server.as_ref();
        (
            self.system,
            &self.method,
            self.status,
            self.error_type,
            server.map(|(address, port)| (&**address, *port)),
        )
    }
}

impl Hash for RpcLabels<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Equivalent<Key> for RpcLabels<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.parts() == key.parts()
    }
}

impl Labels<Key> for RpcLabels<'_> {
    fn to_key(&self) -> Key {
        Key {
            system: self.system,
            method: self.method.into(),
            status: self.status,
            error_type: self.error_type,
            server: self.server.map(|(address, port)| (address.into(), port)),
        }
    }

    fn to_text(&self) -> LabelText {
        LabelText::default()
            .with("rpc_system_name", self.system)
            .with("rpc_method", self.method)
            .with("rpc_response_status_code", self.status)
            .with_some("error_type", self.error_type)
            .with_some("server_address", self.server.map(|(address, _)| address))
            .with_number("server_port", self.server.map(|(_, port)| port))
    }
}
