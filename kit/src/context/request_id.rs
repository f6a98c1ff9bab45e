//! The request id: accepted from a trusted caller when well-formed, else made anew (UUID v7).

use std::time::{Duration, SystemTime};

use ::http::HeaderValue;

use super::ids::hex;
use super::random;

/// 1–128 visible ASCII characters, kept in place: the context outlives the request (queued spans
/// share it), so it must not hold on to the connection's read buffer that the header came in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId {
    len: u8,
    bare: bool,
    bytes: [u8; Self::MAX_LEN],
}

impl RequestId {
    /// The longest id accepted, in bytes.
    pub(crate) const MAX_LEN: usize = 128;

    #[cfg(test)]
    pub(crate) fn generate() -> Self {
        Self::generate_at(SystemTime::now())
    }

    /// A new id for a request that began at `at`: UUID v7 (RFC 9562 §5.7), so ids sort by time. Made here, since the
    /// `uuid` crate's own v7 clock is behind a process-wide lock.
    pub(crate) fn generate_at(at: SystemTime) -> Self {
        let since_epoch = at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let millis = since_epoch
            .as_secs()
            .wrapping_mul(1_000)
            .wrapping_add(since_epoch.subsec_millis().into());
        let [high, low] = random::words();
        let high = millis << 16 | VERSION_7 | high & 0x0fff;
        let low = VARIANT | low >> 2;
        let mut id = Self {
            len: HYPHENATED as u8,
            bare: true,
            bytes: [0; Self::MAX_LEN],
        };
        if let Some(text) = id.bytes.first_chunk_mut() {
            *text = hyphenated(high, low);
        }
        id
    }

    /// `None` unless the value is 1–128 visible ASCII characters.
    pub(crate) fn accept(value: &HeaderValue) -> Option<Self> {
        let value = value.as_bytes();
        let acceptable = (1..=Self::MAX_LEN).contains(&value.len())
            && value.iter().all(|byte| (0x21..=0x7e).contains(byte));
        acceptable.then(|| Self::from_visible_ascii(value))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Whether no format needs to escape it: it has no quote and no backslash.
    pub(crate) fn is_bare(&self) -> bool {
        self.bare
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// One allocation.
    pub(crate) fn header_value(&self) -> HeaderValue {
        HeaderValue::from_bytes(self.as_bytes()).unwrap_or(HeaderValue::from_static(""))
    }

    fn from_visible_ascii(value: &[u8]) -> Self {
        let mut id = Self {
            len: 0,
            bare: !value.iter().any(|byte| matches!(byte, b'"' | b'\\')),
            bytes: [0; Self::MAX_LEN],
        };
        if let (Some(to), Ok(len)) = (id.bytes.get_mut(..value.len()), value.len().try_into()) {
            to.copy_from_slice(value);
            id.len = len;
        }
        id
    }
}

const VERSION_7: u64 = 0x7000;
const VARIANT: u64 = 1 << 63;

/// Digits and hyphens of a UUID.
const HYPHENATED: usize = 36;

/// The groups of a UUID: digits 8-4-4-4-12.
fn hyphenated(high: u64, low: u64) -> [u8; HYPHENATED] {
    let high: [u8; 16] = hex(high.to_be_bytes());
    let low: [u8; 16] = hex(low.to_be_bytes());
    let mut text = [b'-'; HYPHENATED];
    text[0..8].copy_from_slice(&high[0..8]);
    text[9..13].copy_from_slice(&high[8..12]);
    text[14..18].copy_from_slice(&high[12..16]);
    text[19..23].copy_from_slice(&low[0..4]);
    text[24..36].copy_from_slice(&low[4..16]);
    text
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RequestId").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accept(value: &[u8]) -> Option<RequestId> {
        RequestId::accept(&HeaderValue::from_bytes(value).ok()?)
    }

    #[test]
    fn accepts_visible_ascii_up_to_the_limit() {
        for value in ["a", "abc", "~!\"\\{}", &"x".repeat(128)] {
            assert_eq!(accept(value.as_bytes()).unwrap().as_str(), value);
        }
        for value in ["", " ", "a b", "a\tb", "é", &"x".repeat(129)] {
            assert_eq!(accept(value.as_bytes()), None, "{value:?}");
        }
    }

    #[test]
    fn generated_ids_are_uuid_v7_and_sort_by_time() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let id = RequestId::generate_at(at);
        let uuid = uuid::Uuid::parse_str(id.as_str()).unwrap();
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(uuid.hyphenated().to_string(), id.as_str());
        assert!(id.is_bare());
        assert_eq!(
            uuid.get_timestamp().unwrap().to_unix(),
            (1_700_000_000, 123_000_000)
        );
        let later = RequestId::generate_at(at + Duration::from_millis(1));
        assert!(id.as_str() < later.as_str());
        assert_ne!(RequestId::generate(), RequestId::generate());
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_comes_back_as_it_was(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(id) = accept(&value) {
                prop_assert_eq!(id.as_str().as_bytes(), &value[..]);
                prop_assert_eq!(id.is_bare(), !id.as_str().contains(['"', '\\']));
                let header = id.header_value();
                prop_assert_eq!(header.as_bytes(), &value[..]);
                prop_assert!((1..=RequestId::MAX_LEN).contains(&value.len()));
            }
        }
    }
}
