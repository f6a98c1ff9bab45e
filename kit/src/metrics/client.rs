//! `http_client_*`: recorded by the client layer for each outgoing call.

use std::time::Duration;

use super::Exemplar;

/// The metrics of the client side; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ClientMetrics {}

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

impl ClientMetrics {
    /// Records a finished call; `gap` when the server told its own time.
    pub(crate) fn settled(
        &self,
        _labels: ClientLabels<'_>,
        _duration: Duration,
        _gap: Option<Duration>,
        _exemplar: Option<Exemplar>,
    ) {
        unimplemented!()
    }
}
