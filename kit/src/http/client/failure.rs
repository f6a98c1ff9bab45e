//! Why a call got no whole response, told by whatever error its client made. Used by `call` and `reqwest`.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::{fmt, io, iter};

use crate::http::BoxError;
use crate::http::text::clip;

/// Why a call got no whole response.
#[derive(Debug)]
pub(super) struct Failure {
    /// `error.type`.
    pub(super) kind: &'static str,
    /// For the span's status; has no secrets.
    pub(super) text: Cow<'static, str>,
}

/// `error.type` of a call that was given up.
const CANCELLED: &str = "cancelled";
/// Of one that found nobody at the server's address.
pub(super) const CONNECT: &str = "connect_error";
pub(super) const TIMEOUT: &str = "timeout";
/// Of any other that got no response.
pub(super) const TRANSPORT: &str = "transport_error";

impl Failure {
    pub(super) fn new(kind: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// The caller gave up.
    pub(super) fn cancelled() -> Self {
        Self::new(CANCELLED, "the call was dropped before its response")
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.kind == CANCELLED
    }

    /// The response broke off.
    pub(super) fn of_body() -> Self {
        Self::new("body_error", "the response body broke off")
    }

    /// What the client said. What happened is at the end of the chain of causes: in front, clients say little
    /// more than that they are one.
    pub(super) fn of_client(error: &(impl fmt::Display + 'static)) -> Self {
        match known(error) {
            Some(error) => {
                let last = causes(error).last().unwrap_or(error);
                Self::new(kind(error), clip(&last.to_string()).to_owned())
            }
            None => Self::new(TRANSPORT, clip(&error.to_string()).to_owned()),
        }
    }
}

/// An error and what it came of, the last cause last.
pub(super) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // More than any client's; a chain that leads back to itself ends too.
    iter::successors(Some(error), |error| (**error).source()).take(32)
}

/// The error as one with causes. That services' errors are errors nobody demands, so it takes knowing them.
fn known(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<BoxError>() {
        return Some(&**error);
    }
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return Some(error);
    }
    #[cfg(feature = "tonic")]
    if let Some(error) = error.downcast_ref::<tonic::transport::Error>() {
        return Some(error);
    }
    let error = error.downcast_ref::<hyper::Error>()?;
    Some(error)
}

fn kind(error: &(dyn Error + 'static)) -> &'static str {
    if causes(error).any(is_connect) {
        CONNECT
    } else if causes(error).any(is_timeout) {
        TIMEOUT
    } else {
        TRANSPORT
    }
}

/// Whether an error is that nobody answered the connection.
fn is_connect(error: &(dyn Error + 'static)) -> bool {
    let hyper = error.downcast_ref::<hyper_util::client::legacy::Error>();
    let refused = hyper.is_some_and(hyper_util::client::legacy::Error::is_connect);
    #[cfg(feature = "tonic")]
    let refused = refused || error.is::<tonic::ConnectError>();
    refused
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
        || error.is::<tokio::time::error::Elapsed>()
}
