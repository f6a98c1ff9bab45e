//! SPIFFE IDs: which clients may come in, and who a certificate says it is (SPIFFE-ID and X509-SVID specifications).
//! Used by `server_tls` on certificates whose chain was verified already; `config` reads what is allowed.

use std::fmt;
use std::str::FromStr;

use super::der;

const SCHEME: &str = "spiffe://";
const MOST_BYTES: usize = 2048;
const MOST_TRUST_DOMAIN_BYTES: usize = 255;

/// The name of a workload: `spiffe://TRUST-DOMAIN/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpiffeId {
    text: String,
    /// Where the path begins; the length without one.
    path_at: usize,
}

/// A text that is no SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a SPIFFE ID is needed: spiffe://TRUST-DOMAIN/PATH, the trust domain in lower-case letters, digits, `.`, `-` and \
     `_`, the path without empty segments, `.` and `..`"
)]
pub struct NoSpiffeId;

/// Clients that may come in: one by its whole ID, or all of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed(SpiffeId);

/// Why a certificate names nobody that may come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    /// Not to be read, though its chain was verified.
    #[error("the client's certificate cannot be read")]
    Unreadable,
    /// Not exactly one URI among its names.
    #[error("the client's certificate has {0} URI names; a SPIFFE identity has exactly one")]
    Uris(usize),
    /// One URI, of another kind.
    #[error("the URI name of the client's certificate is no SPIFFE ID: {0}")]
    NoSpiffeId(String),
    /// A certificate that may sign others is nobody's identity.
    #[error("the client's certificate may sign others, so it is no identity of a workload ({0})")]
    Authority(String),
    /// Somebody else.
    #[error("{0} is not among the clients that may come in (tls.client_ids)")]
    NotAllowed(SpiffeId),
}

impl SpiffeId {
    /// `example.org` of `spiffe://example.org/cart`.
    pub fn trust_domain(&self) -> &str {
        self.text
            .get(SCHEME.len()..self.path_at)
            .unwrap_or_default()
    }

    /// `/cart` of `spiffe://example.org/cart`; empty without one.
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or_default()
    }

    /// Who a certificate (DER) says it is.
    ///
    /// # Errors
    /// [`Stranger`], when it is no X509-SVID of a workload.
    pub fn of_certificate(certificate: &[u8]) -> Result<Self, Stranger> {
        let names = der::names_and_rights(certificate).ok_or(Stranger::Unreadable)?;
        let [uri] = names.uris[..] else {
            return Err(Stranger::Uris(names.uris.len()));
        };
        let told = || told(uri);
        let text = std::str::from_utf8(uri).map_err(|_| Stranger::NoSpiffeId(told()))?;
        let id: Self = text.parse().map_err(|_| Stranger::NoSpiffeId(told()))?;
        if names.is_authority || names.may_sign {
            return Err(Stranger::Authority(id.text));
        }
        Ok(id)
    }
}

impl FromStr for SpiffeId {
    type Err = NoSpiffeId;

    fn from_str(text: &str) -> Result<Self, NoSpiffeId> {
        let rest = text.strip_prefix(SCHEME).ok_or(NoSpiffeId)?;
        let domain = rest.split('/').next().unwrap_or_default();
        let path = rest.get(domain.len()..).unwrap_or_default();
        let of_domain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        let of_path = |byte: u8| of_domain(byte) || byte.is_ascii_uppercase();
        let is_segment =
            |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(of_path);
        let is_domain =
            (1..=MOST_TRUST_DOMAIN_BYTES).contains(&domain.len()) && domain.bytes().all(of_domain);
        let is_path = path.is_empty() || path.split('/').skip(1).all(is_segment);
        if is_domain && is_path && text.len() <= MOST_BYTES {
            Ok(Self {
                path_at: SCHEME.len() + domain.len(),
                text: text.to_owned(),
            })
        } else {
            Err(NoSpiffeId)
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Allowed {
    /// Whether `id` may come in.
    pub fn includes(&self, id: &SpiffeId) -> bool {
        let is_whole_domain = self.0.path().is_empty();
        self.0 == *id || (is_whole_domain && self.0.trust_domain() == id.trust_domain())
    }
}

impl FromStr for Allowed {
    type Err = NoSpiffeId;

    /// `spiffe://TRUST-DOMAIN/PATH` is one client, `spiffe://TRUST-DOMAIN` all of a trust domain.
    fn from_str(text: &str) -> Result<Self, NoSpiffeId> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether the certificate (DER) is of one of `allowed`; any is when there are none.
///
/// # Errors
/// [`Stranger`] says why not.
pub fn authorise(certificate: &[u8], allowed: &[Allowed]) -> Result<(), Stranger> {
    if allowed.is_empty() {
        return Ok(());
    }
    let id = SpiffeId::of_certificate(certificate)?;
    if allowed.iter().any(|allowed| allowed.includes(&id)) {
        Ok(())
    } else {
        Err(Stranger::NotAllowed(id))
    }
}

/// What a stranger's certificate says, so that it may stand in a line.
fn told(uri: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(uri.get(..LONGEST).unwrap_or(uri));
    text.escape_debug().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType};

    use super::*;

    #[test]
    fn ids_as_the_specification_has_them() {
        let long = |bytes: usize| format!("spiffe://a/{}", "x".repeat(bytes - 11));
        for good in [
            "spiffe://example.org/ns/shop/sa/cart",
            "spiffe://example.org",
            "spiffe://10.1.2.3/a",
            "spiffe://a_b-c.d/A.b_c-9/...",
            &long(2048),
        ] {
            let id: SpiffeId = good.parse().unwrap();
            assert_eq!(id.to_string(), good);
            assert_eq!(format!("{SCHEME}{}{}", id.trust_domain(), id.path()), good);
        }
        for bad in [
            "",
            "spiffe:",
            "spiffe://",
            "spiffe:///a",
            "https://example.org/a",
            "SPIFFE://example.org/a",
            "spiffe://Example.org/a",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org//a",
            "spiffe://example.org/a/./b",
            "spiffe://example.org/a/../b",
            "spiffe://example.org:80/a",
            "spiffe://me@example.org/a",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/a%20b",
            "spiffe://exämple.org/a",
            " spiffe://example.org/a",
            &long(2049),
            &format!("spiffe://{}/a", "x".repeat(256)),
        ] {
            assert_eq!(bad.parse::<SpiffeId>(), Err(NoSpiffeId), "{bad}");
        }
    }

    #[test]
    fn a_whole_id_or_a_whole_trust_domain_is_allowed_and_no_part_of_one() {
        let check = |allowed: &str, id: &str, expected: bool| {
            let allowed: Allowed = allowed.parse().unwrap();
            assert_eq!(
                allowed.includes(&id.parse().unwrap()),
                expected,
                "{allowed} {id}"
            );
        };
        check("spiffe://a.org/cart", "spiffe://a.org/cart", true);
        check("spiffe://a.org/cart", "spiffe://a.org/cart/1", false);
        check("spiffe://a.org/cart", "spiffe://a.org/Cart", false);
        check("spiffe://a.org/cart", "spiffe://a.org/car", false);
        check("spiffe://a.org/cart", "spiffe://a.org", false);
        check("spiffe://a.org/cart", "spiffe://b.org/cart", false);
        check("spiffe://a.org", "spiffe://a.org/cart/1", true);
        check("spiffe://a.org", "spiffe://a.org", true);
        check("spiffe://a.org", "spiffe://b.a.org/cart", false);
        check("spiffe://a.org", "spiffe://a.org.evil/cart", false);
    }

    fn certificate(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["cart.example.org".to_owned()]).unwrap();
        let uri = |name: &&str| SanType::URI((*name).try_into().unwrap());
        params.subject_alt_names.extend(names.iter().map(uri));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_who_it_is_by_exactly_one_uri() {
        const CART: &str = "spiffe://example.org/cart";
        let check = |certificate: Vec<u8>, expected: Result<&str, Stranger>| {
            let id = SpiffeId::of_certificate(&certificate).map(|id| id.to_string());
            assert_eq!(id, expected.map(str::to_owned));
        };
        check(certificate(&[CART], |_| {}), Ok(CART));
        let usual = |params: &mut CertificateParams| {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        };
        check(certificate(&[CART], usual), Ok(CART));
        check(certificate(&[], |_| {}), Err(Stranger::Uris(0)));
        let two = certificate(&[CART, "https://a.example"], |_| {});
        check(two, Err(Stranger::Uris(2)));
        let other = "https://example.org/cart";
        check(
            certificate(&[other], |_| {}),
            Err(Stranger::NoSpiffeId(other.to_owned())),
        );
        let authority = || Err(Stranger::Authority(CART.to_owned()));
        for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
            let signing = |params: &mut CertificateParams| {
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature, usage];
            };
            check(certificate(&[CART], signing), authority());
        }
        let ca = |params: &mut CertificateParams| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        };
        check(certificate(&[CART], ca), authority());
        check(b"no certificate".to_vec(), Err(Stranger::Unreadable));
    }

    proptest! {
        #[test]
        fn any_text_is_an_id_or_refused(text in "(spiffe://)?[a-zA-Z0-9./_:%-]{0,40}") {
            if let Ok(id) = text.parse::<SpiffeId>() {
                prop_assert_eq!(id.to_string(), text);
                prop_assert!(!id.trust_domain().is_empty() && !id.path().ends_with('/'));
            }
        }

        #[test]
        fn any_bytes_are_a_certificate_or_refused(
            at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>(),
        ) {
            let whole = certificate(&["spiffe://example.org/cart"], |_| {});
            let mut changed = whole.clone();
            changed[at.index(whole.len())] = byte;
            let _ = SpiffeId::of_certificate(&changed);
            prop_assert!(SpiffeId::of_certificate(&whole[..cut.index(whole.len())]).is_err());
        }
    }
}
