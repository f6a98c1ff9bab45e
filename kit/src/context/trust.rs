//! Which callers may set the request id, the sampled flag and the client address (`BELLWETHER_TRUST`).

use std::net::IpAddr;

use ipnet::IpNet;

/// The trust policy; an unknown peer address is trusted only by `All`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Loopback, private (RFC 1918, RFC 4193), link-local and shared (RFC 6598) ranges.
    #[default]
    Private,
    All,
    None,
    Cidrs(Vec<IpNet>),
}

impl Trust {
    pub(crate) fn trusts(&self, _peer: Option<IpAddr>) -> bool {
        unimplemented!()
    }
}
