//! What keeps others out of the receivers, made of the configuration and kept as its files are. Used by `pipeline`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::config::Access as Asked;
use crate::net::reload::{Live, Watch};
use crate::net::server::{self, Tls};
use crate::net::server_tls::Acceptors;
use crate::receive::Access;
use crate::receive::cors::Cors;
use crate::receive::tokens::Tokens;
use crate::status::{Locks, ReceiverStatus};

use super::bind::Bound;

/// Files that could be used when the configuration was checked, and cannot any more.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct GuardError(String);

/// Everything that receivers ask of those who come.
pub(super) struct Guards {
    acceptors: Option<Watch<Acceptors>>,
    tokens: Option<Watch<Tokens>>,
    cors: Option<Cors>,
    reload_interval: Duration,
}

/// The same at work; the files are looked at as long as it is there.
pub(super) struct LiveGuards {
    acceptors: Option<Live<Acceptors>>,
    tokens: Option<Live<Tokens>>,
    cors: Option<Cors>,
    watches: JoinSet<()>,
}

impl Guards {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// [`GuardError`] names the file.
    pub(super) fn read(asked: &Asked) -> Result<Self, GuardError> {
        let acceptors = asked.tls.clone().map(|tls| {
            let load = move || tls.load().map_err(|error| error.to_string());
            let files = asked.tls.iter().flat_map(|tls| tls.files()).collect();
            Watch::new(
                "the certificates and keys of receivers",
                files,
                Box::new(load),
            )
        });
        let has_tokens = !asked.tokens.is_empty();
        let tokens = has_tokens.then(|| {
            let (sources, files) = (asked.tokens.clone(), asked.tokens.files());
            Watch::new(
                "the tokens of receivers",
                files,
                Box::new(move || sources.load()),
            )
        });
        Ok(Self {
            acceptors: acceptors.transpose().map_err(GuardError)?,
            tokens: tokens.transpose().map_err(GuardError)?,
            cors: asked.cors.clone(),
            reload_interval: asked.reload_interval,
        })
    }

    /// Begins to look at the files.
    pub(super) fn start(self) -> LiveGuards {
        let mut watches = JoinSet::new();
        let acceptors = self.acceptors.map(|watch| {
            let live = watch.value();
            watches.spawn(watch.run(self.reload_interval));
            live
        });
        let tokens = self.tokens.map(|watch| {
            let live = watch.value();
            watches.spawn(watch.run(self.reload_interval));
            live
        });
        LiveGuards {
            acceptors,
            tokens,
            cors: self.cors,
            watches,
        }
    }
}

impl LiveGuards {
    /// The looking itself, which ends with its owner.
    pub(super) fn into_watches(self) -> JoinSet<()> {
        self.watches
    }

    /// What a receiver asks of requests.
    pub(super) fn access(&self, locks: Locks) -> Arc<Access> {
        let tokens = self.tokens.clone().filter(|_| locks.tokens);
        Arc::new(Access {
            tokens,
            cors: self.cors.clone(),
            ..Access::default()
        })
    }

    /// How a receiver's listener treats connections.
    pub(super) fn listener(
        &self,
        config: &server::Config,
        status: &Arc<ReceiverStatus>,
    ) -> server::Config {
        let Locks {
            tls,
            client_certificates: is_mutual,
            ..
        } = status.locks;
        let acceptors = self.acceptors.clone().filter(|_| tls);
        server::Config {
            tls: acceptors.map(|acceptors| Tls {
                acceptors,
                is_mutual,
            }),
            status: Some(Arc::clone(status)),
            ..config.clone()
        }
    }
}

/// Tells of receivers that take spans from other machines for anybody on the way to read.
pub(super) fn tell_plaintext(receivers: &[(&'static str, &Bound, Locks)]) {
    let open = receivers.iter().filter_map(|(protocol, bound, locks)| {
        let address = bound.as_ref().ok()?.listener.local_addr().ok()?;
        is_readable(address, *locks).then(|| format!("{protocol} {address}"))
    });
    let open: Vec<_> = open.collect();
    if !open.is_empty() {
        tracing::warn!(
            listening = open.join(", "),
            "spans come from the network in plaintext: give these receivers a certificate (--tls-cert-file, --tls-key-file), \
             or have the network do it"
        );
    }
}

/// Whether what comes to `address` goes over a network as it is.
fn is_readable(address: SocketAddr, locks: Locks) -> bool {
    !locks.tls && !address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plaintext_beyond_this_machine_is_warned_of() {
        let check = |address: &str, tls: bool, expected: bool| {
            let locks = Locks {
                tls,
                ..Locks::default()
            };
            let got = is_readable(address.parse().unwrap(), locks);
            assert_eq!(got, expected, "{address}");
        };
        check("0.0.0.0:4317", false, true);
        check("[::]:4317", false, true);
        check("192.0.2.1:4317", false, true);
        check("192.0.2.1:4317", true, false);
        check("127.0.0.1:4317", false, false);
        check("[::1]:4317", false, false);
        check("[::ffff:127.0.0.1]:4317", false, false);
    }
}
