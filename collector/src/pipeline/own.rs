//! Finds exporters that lead back into this collector, where every span would come in again without end. Called
//! by `pipeline` once the listeners are bound, so that defaults and port 0 count.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::bind::Bound;
use crate::config::ListenAddress;
use crate::export;

/// Exporters that would send to one of our own listeners, one line each.
#[derive(Debug, thiserror::Error)]
#[error("exporting to itself:\n{}", .0.join("\n"))]
pub struct OwnTarget(Vec<String>);

/// A listener as asked for and as bound.
pub(super) type Own<'a> = (&'static str, &'a ListenAddress, &'a Bound);

/// # Errors
/// Every one of `exporters` that one of `listeners` answers to.
pub(super) fn check(exporters: &[export::Config], listeners: &[Own<'_>]) -> Result<(), OwnTarget> {
    let mut faults = Vec::new();
    for export::Config {
        target, asked_by, ..
    } in exporters
    {
        for (protocol, asked, bound) in listeners {
            let Some(address) = address(bound) else {
                continue;
            };
            if target.port == address.port() && is_host(&target.host, asked, address.ip()) {
                faults.push(format!(
                    "{asked_by} {target}: this collector itself listens there ({protocol} on {address}), so every span \
                     would come back without end; name another collector, or move this one with --{protocol}"
                ));
            }
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(OwnTarget(faults))
    }
}

fn address(bound: &Bound) -> Option<SocketAddr> {
    bound.as_ref().ok()?.listener.local_addr().ok()
}

/// Whether connecting to `host` reaches what is bound to `bound`.
fn is_host(host: &str, asked: &ListenAddress, bound: IpAddr) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if let Ok(ip) = name.parse() {
        return reaches(ip, bound);
    }
    if name == "localhost" || name.ends_with(".localhost") {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return loopback.into_iter().any(|ip| reaches(ip, bound));
    }
    asked.host.eq_ignore_ascii_case(&name)
}

fn reaches(ip: IpAddr, bound: IpAddr) -> bool {
    let (ip, bound) = (ip.to_canonical(), bound.to_canonical());
    if ip.is_unspecified() {
        // Connecting to the unspecified address is connecting to loopback.
        return bound.is_unspecified() || bound.is_loopback();
    }
    // What listens on [::] is reached over IPv4, too, unless the system says otherwise.
    let all_of_them = bound.is_unspecified() && (bound.is_ipv6() || ip.is_ipv4());
    ip == bound || (all_of_them && is_ours(ip))
}

/// Only an address of this machine can be bound, and to bind without a port disturbs nobody.
fn is_ours(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::bind;

    async fn check(listen: &str, exports: &[&str]) -> Result<(), OwnTarget> {
        let asked = ListenAddress {
            host: listen.to_owned(),
            port: 0,
            asked_by: None,
        };
        let [bound] = bind::all([("otlp-http", &asked)]).await.unwrap();
        let port = address(&bound).unwrap().port();
        let url = |export: &&str| export.replace("PORT", &port.to_string()).parse().unwrap();
        let exporters: Vec<_> = exports.iter().map(url).map(export::Config::to).collect();
        super::check(&exporters, &[("otlp-http", &asked, &bound)])
    }

    #[tokio::test]
    async fn every_url_of_our_own_is_refused() {
        for (listen, url) in [
            ("127.0.0.1", "otlp+http://127.0.0.1:PORT"),
            ("127.0.0.1", "otlp+grpc://localhost:PORT"),
            ("127.0.0.1", "zipkin+http://LOCALHOST.:PORT/any"),
            ("127.0.0.1", "otlp+http://0.0.0.0:PORT"),
            ("127.0.0.1", "otlp+http://[::ffff:127.0.0.1]:PORT"),
            ("localhost", "otlp+http://localhost:PORT"),
        ] {
            let error = check(listen, &[url]).await.unwrap_err().to_string();
            assert!(error.contains("--export "), "{listen} {url}: {error}");
            assert!(error.contains("otlp-http on "), "{listen} {url}: {error}");
            assert!(error.contains("name another collector"), "{error}");
        }
        let both = ["otlp+http://127.0.0.1:PORT", "otlp+grpc://localhost:PORT"];
        let error = check("127.0.0.1", &both).await.unwrap_err();
        assert_eq!(error.0.len(), 2, "{error}");
    }

    #[tokio::test]
    async fn other_ports_and_other_hosts_are_fine() {
        let others = [
            "otlp+http://127.0.0.1:1",
            "otlp+http://127.0.0.2:PORT",
            "otlp+http://tempo:PORT",
            "otlp+http://192.0.2.1:PORT",
        ];
        check("127.0.0.1", &others).await.unwrap();
    }

    #[test]
    fn what_listens_everywhere_is_reached_by_every_address_of_ours() {
        let check = |ip: &str, bound: &str, expected: bool| {
            let got = reaches(ip.parse().unwrap(), bound.parse().unwrap());
            assert_eq!(got, expected, "{ip} at {bound}");
        };
        check("127.0.0.1", "0.0.0.0", true);
        check("127.9.9.9", "0.0.0.0", true);
        check("127.0.0.1", "::", true);
        check("::1", "::", true);
        check("::", "0.0.0.0", true);
        check("::1", "0.0.0.0", false);
        check("192.0.2.1", "0.0.0.0", false);
        check("127.0.0.1", "192.0.2.1", false);
        check("192.0.2.1", "192.0.2.1", true);
    }
}
