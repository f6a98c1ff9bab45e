//! Which callers may set the request id, the sampled flag and the client address (`BELLWETHER_TRUST`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// The trust policy; an unknown peer address is trusted only by `All`. IPv4-mapped IPv6 addresses count
/// as the IPv4 addresses they carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Loopback (127.0.0.0/8, ::1), private (RFC 1918: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16;
    /// RFC 4193: fc00::/7), link-local (169.254.0.0/16, fe80::/10) and shared (RFC 6598:
    /// 100.64.0.0/10) addresses.
    #[default]
    Private,
    All,
    None,
    Cidrs(Vec<IpNet>),
}

impl Trust {
    /// Reads `private`, `all`, `none`, or a comma-separated list of CIDRs and single addresses.
    ///
    /// # Errors
    /// A text that names the part that could not be read and says what is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "private" => return Ok(Self::Private),
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::None),
            _ => {}
        }
        text.split(',')
            .map(|part| parse_net(part.trim()))
            .collect::<Result<_, _>>()
            .map(Self::Cidrs)
    }

    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        match (self, peer.map(|peer| peer.to_canonical())) {
            (Self::All, _) => true,
            (Self::None, _) | (_, None) => false,
            (Self::Private, Some(IpAddr::V4(peer))) => is_private_v4(peer),
            (Self::Private, Some(IpAddr::V6(peer))) => is_private_v6(peer),
            (Self::Cidrs(nets), Some(peer)) => nets.iter().any(|net| net.contains(&peer)),
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::Cidrs(nets) => {
                for (i, net) in nets.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{net}")?;
                }
                Ok(())
            }
        }
    }
}

fn parse_net(part: &str) -> Result<IpNet, String> {
    part.parse::<IpNet>()
        .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
        .map(canonical)
        .map_err(|_| {
            format!(
                "{part:?} is neither a CIDR nor an IP address; allowed are `private`, `all`, `none`, \
                 or a comma-separated list such as `10.0.0.0/8,fd00::/8`"
            )
        })
}

/// `::ffff:10.0.0.0/104` is written for `10.0.0.0/8`; peers are compared in their IPv4 form.
fn canonical(net: IpNet) -> IpNet {
    let mapped = match net {
        IpNet::V6(v6) => v6
            .addr()
            .to_ipv4_mapped()
            .zip(v6.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    mapped
        .and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
        .map_or(net, IpNet::V4)
        .trunc()
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    let shared = a == 100 && b & 0b1100_0000 == 64;
    address.is_loopback() || address.is_private() || address.is_link_local() || shared
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(policy: &str, trusted: &[&str], untrusted: &[&str]) {
        let trust = Trust::parse(policy).unwrap();
        let ip = |text: &str| Some(text.parse().unwrap());
        for address in trusted {
            assert!(trust.trusts(ip(address)), "{policy} should trust {address}");
        }
        for address in untrusted {
            assert!(!trust.trusts(ip(address)), "{policy} trusts {address}");
        }
    }

    #[test]
    fn policies() {
        check(
            "private",
            &[
                "127.0.0.1",
                "127.9.9.9",
                "10.1.2.3",
                "172.31.0.1",
                "192.168.1.1",
                "169.254.1.1",
                "100.127.255.255",
                "::1",
                "fd00::1",
                "fe80::1",
                "::ffff:10.0.0.1",
            ],
            &[
                "8.8.8.8",
                "172.32.0.1",
                "100.128.0.1",
                "2001:db8::1",
                "::ffff:8.8.8.8",
                "::",
            ],
        );
        check("all", &["8.8.8.8", "::1"], &[]);
        check(" none ", &[], &["127.0.0.1", "::1"]);
        check(
            "203.0.113.0/24, 2001:db8::/32,198.51.100.7",
            &[
                "203.0.113.9",
                "2001:db8:1::1",
                "198.51.100.7",
                "::ffff:203.0.113.1",
            ],
            &["127.0.0.1", "203.0.114.1", "198.51.100.8"],
        );
        check(
            "::ffff:10.0.0.0/104",
            &["10.2.3.4", "::ffff:10.0.0.1"],
            &["11.0.0.1"],
        );
        check("::/0", &["2001:db8::1"], &["8.8.8.8"]);
    }

    #[test]
    fn only_all_trusts_an_unknown_peer() {
        for policy in ["private", "none", "0.0.0.0/0,::/0"] {
            assert!(!Trust::parse(policy).unwrap().trusts(None), "{policy}");
        }
        assert!(Trust::All.trusts(None));
    }

    #[test]
    fn faults_name_the_bad_part() {
        for (policy, part) in [
            ("", "\"\""),
            ("privat", "\"privat\""),
            ("10.0.0.0/8,private", "\"private\""),
            ("10.0.0.0/33", "\"10.0.0.0/33\""),
            ("10.0.0.0/8,", "\"\""),
        ] {
            let fault = Trust::parse(policy).unwrap_err();
            assert!(fault.starts_with(part), "{fault}");
            assert!(fault.contains("`private`"), "{fault}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_reads_back_the_same(text in "[0-9a-f:./, ]{0,60}|\\PC{0,20}") {
            if let Ok(trust) = Trust::parse(&text) {
                prop_assert_eq!(Trust::parse(&trust.to_string()), Ok(trust));
            }
        }

        #[test]
        fn a_mapped_address_is_judged_as_its_ipv4_form(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            for policy in ["private", "10.0.0.0/8", "128.0.0.0/1"] {
                let trust = Trust::parse(policy).unwrap();
                prop_assert_eq!(
                    trust.trusts(Some(v4.into())),
                    trust.trusts(Some(v4.to_ipv6_mapped().into()))
                );
            }
        }
    }
}
