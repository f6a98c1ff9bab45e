//! Why a request got no answer. Made by `client`.

use std::io;
use std::time::Duration;

/// Why there was no answer. Whether the peer took the request is not known then.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot connect to {peer}: {error}")]
    Connect {
        /// The peer, as `HOST:PORT`.
        peer: String,
        /// Why.
        error: io::Error,
    },
    /// A connection, but no TLS over it.
    #[error("no TLS with {peer}: {error}{hint}")]
    Tls {
        /// The peer, as `HOST:PORT`.
        peer: String,
        /// Why, with its causes.
        error: String,
        /// What to check, when the peer seems to speak no TLS; else empty.
        hint: &'static str,
    },
    /// The connection broke, or the peer does not speak the protocol.
    #[error("the connection to {peer} failed: {error}{hint}")]
    Broken {
        /// The peer, as `HOST:PORT`.
        peer: String,
        /// Why, with its causes.
        error: String,
        /// What to check, when the failure looks like another protocol; else empty.
        hint: &'static str,
    },
    /// No answer in time.
    #[error("{peer} did not answer within {timeout:?}")]
    TimedOut {
        /// The peer, as `HOST:PORT`.
        peer: String,
        /// The time it had.
        timeout: Duration,
    },
    /// The request itself cannot be written.
    #[error("cannot write the request: {0}")]
    Request(#[from] http::Error),
}

/// A peer that answers TLS with something else.
pub(super) fn plaintext_hint(error: &io::Error) -> &'static str {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(rustls::Error::InvalidMessage(_)) => {
            "; if it speaks no TLS, write the scheme without its s (otlp+grpc://, otlp+http://, zipkin+http://)"
        }
        _ => "",
    }
}
