//! TLS of outgoing connections: whom to trust, and the certificate to show. `config` checks the files, `client`
//! reads them anew for each connection, so that rotated ones are taken up without a restart.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::client::Protocol;
use super::pem::{self, Identity, TlsError};

/// The files of one peer, all in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Authorities to trust beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// The chain to show to a peer that asks for one, and its key.
    pub identity: Option<Identity>,
}

impl ClientTls {
    /// Reads the files, for a connection in `protocol`. Blocks.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn load(&self, protocol: Protocol) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)?
            .with_root_certificates(self.roots()?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = pem::identity(identity)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| TlsError::Identity {
                        identity: identity.clone(),
                        error,
                    })?
            }
        };
        config.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        // Some of what a system keeps is of kinds that nobody can use; the rest of it counts.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = &self.ca_file {
            pem::add_authorities(&mut roots, file)?;
        }
        if roots.is_empty() {
            return Err(TlsError::NobodyToTrust);
        }
        Ok(roots)
    }
}
