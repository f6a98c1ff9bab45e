//! The request id: accepted from a trusted caller when well-formed, else made anew (UUID v7).

use std::time::{Duration, SystemTime};

use ::http::HeaderValue;

/// 1–128 visible ASCII characters, kept in place: the context outlives the request (queued spans
/// share it), so it must not hold on to the connection's read buffer that the header came in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId {
    len: u8,
    bytes: [u8; Self::MAX_LEN],
}

impl RequestId {
    /// The longest id accepted, in bytes.
    pub(crate) const MAX_LEN: usize = 128;

    #[cfg(test)]
    pub(crate) fn generate() -> Self {
        Self::generate_at(SystemTime::now())
    }

    /// A new id for a request that began at `at`: UUID v7, so ids sort by time. The random part comes from
    /// the thread's generator: the `uuid` crate's own v7 clock is behind a process-wide lock.
    pub(crate) fn generate_at(at: SystemTime) -> Self {
        let since_epoch = at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        // As a number: a random array takes four times as much from the generator.
        let [_, _, _, _, _, _, random @ ..] = rand::random::<u128>().to_ne_bytes();
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        let mut id = Self {
            len: uuid::fmt::Hyphenated::LENGTH as u8,
            bytes: [0; Self::MAX_LEN],
        };
        uuid.hyphenated().encode_lower(&mut id.bytes);
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
            bytes: [0; Self::MAX_LEN],
        };
        if let (Some(to), Ok(len)) = (id.bytes.get_mut(..value.len()), value.len().try_into()) {
            to.copy_from_slice(value);
            id.len = len;
        }
        id
    }
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
                let header = id.header_value();
                prop_assert_eq!(header.as_bytes(), &value[..]);
                prop_assert!((1..=RequestId::MAX_LEN).contains(&value.len()));
            }
        }
    }
}
