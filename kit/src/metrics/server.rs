//! `http_server_*`: recorded by `http` for each request.

use std::sync::Arc;
use std::time::Duration;

use super::Exemplar;

/// The metrics of the server side; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ServerMetrics {}

/// A request in flight: counted from `started` until dropped.
#[derive(Debug)]
pub(crate) struct ActiveRequest {}

/// What identifies a duration series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerLabels<'a> {
    /// A known method or `_OTHER`.
    pub(crate) method: &'static str,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    pub(crate) route: Option<&'a Arc<str>>,
    pub(crate) status: Option<u16>,
    /// Set when the request failed: the status code as text for 5xx, else the outcome.
    pub(crate) error_type: Option<&'static str>,
}

impl ServerMetrics {
    /// Counts a request as active until the returned guard is dropped.
    pub(crate) fn started(&self, _method: &'static str, _scheme: &'static str) -> ActiveRequest {
        unimplemented!()
    }

    /// Records a settled request.
    pub(crate) fn settled(
        &self,
        _labels: ServerLabels<'_>,
        _duration: Duration,
        _exemplar: Option<Exemplar>,
    ) {
        unimplemented!()
    }
}
