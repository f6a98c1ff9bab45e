//! Which service a caller may mean by a name that no service bears: `inventory.shop.svc:8080`, `inventory-svc`,
//! `inventry`. Asked by `doctor`.

/// Longer names are not compared: that takes time with the square of their length.
const MAX_BYTES: usize = 64;
/// Ends of names that say nothing about which service it is.
const ENDINGS: [&str; 4] = ["service", "server", "svc", "api"];

/// How sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likeness {
    /// Spelt the same but for address, case, separators and endings.
    Same,
    /// A few letters differ.
    Alike,
}

/// The service whose name is most like `peer`'s.
pub(super) fn nearest<'a>(
    peer: &str,
    services: impl Iterator<Item = &'a str>,
) -> Option<(&'a str, Likeness)> {
    let wanted = core_of(host_of(peer)?)?;
    let ranked = services.filter_map(|service| {
        let name = core_of(service)?;
        if name == wanted {
            return Some((0, service));
        }
        let distance = distance(&name, &wanted);
        // One letter of four may differ; of three letters none.
        (distance <= wanted.len().min(name.len()) / 4).then_some((distance, service))
    });
    let (distance, service) = ranked.min()?;
    let likeness = if distance == 0 {
        Likeness::Same
    } else {
        Likeness::Alike
    };
    Some((service, likeness))
}

/// Whether a peer's name looks like one of the own network: a bare name, a private or loopback address, a domain that is
/// never public.
pub(super) fn is_internal(peer: &str) -> bool {
    let host = without_port(peer);
    if let Ok(address) = host.parse::<std::net::IpAddr>() {
        return match address {
            std::net::IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
            std::net::IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
        };
    }
    let private = [".local", ".internal", ".svc", ".lan", ".localhost"];
    !host.is_empty() && (!host.contains('.') || private.iter().any(|ending| host.ends_with(ending)))
}

/// The first label of a peer's name; `None` for an address, which is like no name.
fn host_of(peer: &str) -> Option<&str> {
    let host = without_port(peer);
    if host.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    host.split('.').next()
}

fn without_port(peer: &str) -> &str {
    match peer.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            // An IPv6 address without a port has colons of its own.
            if host.contains(':') && !host.ends_with(']') {
                peer
            } else {
                host.trim_start_matches('[').trim_end_matches(']')
            }
        }
        _ => peer,
    }
}

/// Letters and digits in lower case without a telling-nothing ending; `None` when nothing is left, or too much.
fn core_of(name: &str) -> Option<Vec<u8>> {
    if name.len() > MAX_BYTES {
        return None;
    }
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    let lower = letters.collect::<String>().to_lowercase();
    let mut core = lower.as_str();
    while let Some(shorter) = ENDINGS.iter().find_map(|ending| core.strip_suffix(ending)) {
        if shorter.is_empty() {
            break;
        }
        core = shorter;
    }
    (!core.is_empty()).then(|| core.as_bytes().to_vec())
}

/// How many letters have to be put in, taken out or changed (Levenshtein).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (done, x) in a.iter().enumerate() {
        let mut diagonal = done;
        let mut left = done + 1;
        for (above, y) in row.iter_mut().skip(1).zip(b) {
            let changed = diagonal + usize::from(x != y);
            diagonal = *above;
            left = changed.min(left + 1).min(*above + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = done + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_found_by_its_address_its_ending_or_nearly_its_name() {
        let services = ["inventory", "invoices", "cart-service", "api", "PaymentApi"];
        let check = |peer: &str, want: Option<(&str, Likeness)>| {
            assert_eq!(nearest(peer, services.into_iter()), want, "{peer}");
        };
        let (same, alike) = (Likeness::Same, Likeness::Alike);
        check(
            "inventory.shop.svc.cluster.local:8080",
            Some(("inventory", same)),
        );
        check("inventory-svc", Some(("inventory", same)));
        check("Inventory:80", Some(("inventory", same)));
        check("inventry", Some(("inventory", alike)));
        check("cart", Some(("cart-service", same)));
        check("payment-api", Some(("PaymentApi", same)));
        check("api", Some(("api", same)));
        check("apo", None);
        check("example.com:443", None);
        check("10.0.0.7:8080", None);
        check("[::1]:8080", None);
        check("::1", None);
        check("", None);
        check(":", None);
        check(&"inventory".repeat(20), None);
    }

    #[test]
    fn an_own_address_is_told_from_a_public_one() {
        for own in [
            "stock",
            "stock:8080",
            "10.1.2.3:80",
            "127.0.0.1",
            "[::1]:80",
            "fd00::1",
            "a.prod.svc",
            "b.local:1",
        ] {
            assert!(is_internal(own), "{own}");
        }
        for public in [
            "example.com:443",
            "8.8.8.8",
            "2001:db8::1",
            "[2606:4700::1]:443",
            "",
        ] {
            assert!(!is_internal(public), "{public}");
        }
    }

    #[test]
    fn distances_count_letters() {
        for (a, b, want) in [
            ("", "", 0),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), want, "{a} {b}");
            assert_eq!(distance(b.as_bytes(), a.as_bytes()), want, "{b} {a}");
        }
    }
}
