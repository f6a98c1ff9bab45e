//! TLS of outgoing connections: whom to trust, and the certificate to show. `config` checks the files, `client`
//! reads them anew for each connection, so that rotated ones are taken up without a restart.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::client::Protocol;

/// Bundles of every public authority have a quarter of it.
const MOST_FILE_BYTES: u64 = 1024 * 1024;

/// The files of one peer, all in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Authorities to trust beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// The chain to show to a peer that asks for one, and its key.
    pub identity: Option<Identity>,
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, then those that lead to its authority.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// Why there can be no TLS. No text of it holds anything of a file but its name.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// A file that cannot be read, or that is none of ours by its size.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file without what it is for.
    #[error("{} holds no {wanted} in PEM", file.display())]
    Empty {
        /// Which.
        file: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// Certificate and key are not of one pair, or of a kind nobody can use.
    #[error("{} and {} cannot be used together: {error}", identity.cert_file.display(), identity.key_file.display())]
    Identity {
        /// Which.
        identity: Identity,
        /// Why.
        error: rustls::Error,
    },
    /// Something in it is no certificate.
    #[error("{} holds a certificate that cannot be used: {error}", file.display())]
    Certificate {
        /// Which.
        file: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// Nobody to trust.
    #[error("this system has no certificates of authorities; name a file of them (tls.ca_file)")]
    NobodyToTrust,
    /// The library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Library(rustls::Error),
}

impl ClientTls {
    /// Reads the files, for a connection in `protocol`. Blocks.
    ///
    /// # Errors
    /// [`ClientTlsError`] names the file and what is wrong with it.
    pub fn load(&self, protocol: Protocol) -> Result<Arc<ClientConfig>, ClientTlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ClientTlsError::Library)?
            .with_root_certificates(self.roots()?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = (certificates(&identity.cert_file)?, key(&identity.key_file)?);
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    ClientTlsError::Identity {
                        identity: identity.clone(),
                        error,
                    }
                })?
            }
        };
        config.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, ClientTlsError> {
        let mut roots = RootCertStore::empty();
        // Some of what a system keeps is of kinds that nobody can use; the rest of it counts.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = &self.ca_file {
            for certificate in certificates(file)? {
                roots
                    .add(certificate)
                    .map_err(|error| ClientTlsError::Certificate {
                        file: file.clone(),
                        error,
                    })?;
            }
        }
        if roots.is_empty() {
            return Err(ClientTlsError::NobodyToTrust);
        }
        Ok(roots)
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ClientTlsError> {
    let bytes = read(file)?;
    let wanted = "certificate";
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(file, wanted, &error))?;
    if certificates.is_empty() {
        return Err(malformed(file, wanted, &pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, ClientTlsError> {
    PrivateKeyDer::from_pem_slice(&read(file)?)
        .map_err(|error| malformed(file, "private key", &error))
}

fn malformed(file: &Path, wanted: &'static str, error: &pem::Error) -> ClientTlsError {
    let file = file.to_owned();
    match error {
        pem::Error::NoItemsFound => ClientTlsError::Empty { file, wanted },
        // Its texts may repeat lines of the file, which may be those of a key.
        _ => ClientTlsError::Unreadable {
            file,
            error: io::Error::new(io::ErrorKind::InvalidData, "this is not well-formed PEM"),
        },
    }
}

fn read(file: &Path) -> Result<Vec<u8>, ClientTlsError> {
    let unreadable = |error| ClientTlsError::Unreadable {
        file: file.to_owned(),
        error,
    };
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|file| file.take(MOST_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MOST_FILE_BYTES {
        return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}
