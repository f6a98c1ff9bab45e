//! `host[:port]` as it stands in `Host`, `:authority`, `X-Forwarded-For` and `Forwarded`.

use std::net::IpAddr;

/// Splits the port off; brackets around an IPv6 address are taken off, so is anything up to an `@`.
pub(super) fn split_host_port(text: &str) -> (&str, Option<u16>) {
    // By bytes: the searches of `str` cost more than texts this short are long.
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'@' | b'[' | b':')) {
        return (text, None);
    }
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').unwrap_or((rest, ""));
        return (host, port.strip_prefix(':').and_then(parse_port));
    }
    match text.split_once(':') {
        // A bare IPv6 address has more than one colon and no port.
        Some((_, rest)) if rest.contains(':') => (text, None),
        Some((host, port)) => (host, parse_port(port)),
        None => (text, None),
    }
}

/// Whether this is a host name or an IPv4 address, without a port and whatever else may stand there: letters,
/// digits, dots and hyphens.
pub(super) fn is_name_alone(host: &[u8]) -> bool {
    host.iter().all(|byte| NAME_BYTES[usize::from(*byte)])
}

/// One look a byte, since every span asks.
const NAME_BYTES: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < allowed.len() {
        let is_name =
            (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'.' || byte as u8 == b'-';
        allowed[byte] = is_name;
        byte += 1;
    }
    allowed
};

/// An address with or without port, IPv6 with or without brackets.
pub(super) fn parse_ip(text: &str) -> Option<IpAddr> {
    split_host_port(text).0.parse().ok()
}

/// Digits only: `u16::from_str` would take a sign.
fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (text, host, port) in [
            ("example.com", "example.com", None),
            ("example.com:8080", "example.com", Some(8080)),
            ("user:secret@example.com:1", "example.com", Some(1)),
            ("127.0.0.1:0", "127.0.0.1", Some(0)),
            ("[::1]:80", "::1", Some(80)),
            ("[::1]", "::1", None),
            ("[::1", "::1", None),
            ("::1", "::1", None),
            ("host:", "host", None),
            ("host:+80", "host", None),
            ("host:65536", "host", None),
            ("", "", None),
        ] {
            assert_eq!(split_host_port(text), (host, port), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_name_alone_is_not_split(name in "[a-z0-9.:@\\[\\]-]{0,20}|\\PC{0,9}") {
            if is_name_alone(name.as_bytes()) {
                prop_assert_eq!(split_host_port(&name), (&*name, None));
                prop_assert!(name.is_ascii());
            } else {
                prop_assert!(name.contains(|c: char| !c.is_ascii_alphanumeric() && !".-".contains(c)));
            }
        }

        #[test]
        fn any_text(text in "\\PC{0,30}|[0-9a-f:.\\[\\]@]{0,30}") {
            let (host, _) = split_host_port(&text);
            prop_assert!(text.contains(host));
        }

        #[test]
        fn any_address_reads_back(address: IpAddr, port: u16) {
            prop_assert_eq!(parse_ip(&std::net::SocketAddr::new(address, port).to_string()), Some(address));
            prop_assert_eq!(parse_ip(&address.to_string()), Some(address));
        }
    }
}
