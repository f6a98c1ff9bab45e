//! The line that closes a request: what `http` knows when it settles one.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::context::RequestContext;
use crate::http::Outcome;

/// Everything the closing line says; borrowed from the settled exchange.
#[derive(Debug)]
pub(crate) struct RequestLine<'a> {
    pub(crate) context: &'a RequestContext,
    /// When the request settled.
    pub(crate) at: SystemTime,
    pub(crate) outcome: Outcome,
    /// `http.request.method`, as received (a known method or `_OTHER`).
    pub(crate) method: &'a str,
    /// `http.route`; absent when no route matched.
    pub(crate) route: Option<&'a str>,
    /// `url.path`, without the query.
    pub(crate) path: &'a str,
    /// `http.response.status_code`; absent when no response was made.
    pub(crate) status: Option<u16>,
    /// `http.server.request.duration`.
    pub(crate) duration: Duration,
    /// `time_to_first_byte`: until the response head was ready; absent when none was.
    pub(crate) time_to_first_byte: Option<Duration>,
    /// `http.response.body.size`, in bytes sent.
    pub(crate) response_body_size: u64,
    /// `client.address`.
    pub(crate) client_address: Option<IpAddr>,
    /// `user_agent.original`.
    pub(crate) user_agent: Option<&'a str>,
    /// The panic's or body error's text.
    pub(crate) error: Option<&'a str>,
}
