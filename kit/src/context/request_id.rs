//! The request id: accepted from a trusted caller when well-formed, else made anew (UUID v7).

use ::http::HeaderValue;

/// 1–128 visible ASCII characters, kept as the header value it travels in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The longest id accepted, in bytes.
    pub(crate) const MAX_LEN: usize = 128;

    /// A new id: UUID v7, so ids sort by time.
    pub(crate) fn generate() -> Self {
        unimplemented!()
    }

    /// `None` unless the value is 1–128 visible ASCII characters.
    pub(crate) fn accept(_value: &HeaderValue) -> Option<Self> {
        unimplemented!()
    }

    pub(crate) fn as_str(&self) -> &str {
        unimplemented!()
    }

    pub(crate) fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }
}
