//! The values of the headers that the kit adds to a response: two texts in one allocation.

use std::time::Duration;

use ::http::HeaderValue;
use bytes::Bytes;

use super::server_timing;
use crate::context::RequestId;

/// The request id, and behind it the server's own time.
struct Texts {
    bytes: [u8; RequestId::MAX_LEN + server_timing::MAX_LEN],
    len: usize,
}

/// The values for request id and `Server-Timing`.
pub(super) fn with_timing(
    request_id: &RequestId,
    elapsed: Duration,
) -> Option<(HeaderValue, HeaderValue)> {
    let request_id = request_id.as_bytes();
    let mut texts = Texts {
        bytes: [0; RequestId::MAX_LEN + server_timing::MAX_LEN],
        len: 0,
    };
    let (first, second) = texts.bytes.split_at_mut_checked(request_id.len())?;
    first.copy_from_slice(request_id);
    texts.len = request_id.len() + server_timing::write(elapsed, second)?;
    let mut first = Bytes::from_owner(texts);
    let second = first.split_off(request_id.len());
    let value = |text| HeaderValue::from_maybe_shared(text).ok();
    value(first).zip(value(second))
}

impl AsRef<[u8]> for Texts {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
