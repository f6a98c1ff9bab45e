//! Header names that the `http` crate does not know: made once, as a name given as text is checked and
//! hashed anew at every look-up.

use ::http::HeaderName;

pub(super) const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
pub(super) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
