//! Certificates and keys in PEM files: read within bounds, and what is wrong with them. Used by both sides of TLS,
//! `client_tls` and `server_tls`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Bundles of every public authority have a quarter of it.
const MOST_FILE_BYTES: u64 = 1024 * 1024;

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
pub enum TlsError {
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

/// The chain and the key of `identity`. Blocks.
///
/// # Errors
/// [`TlsError`] names the file; whether the two belong together is not looked at.
pub fn identity(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    Ok((certificates(&identity.cert_file)?, key(&identity.key_file)?))
}

/// Adds the certificates of authorities in `file` to `roots`. Blocks.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn add_authorities(roots: &mut RootCertStore, file: &Path) -> Result<(), TlsError> {
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::Certificate {
                file: file.to_owned(),
                error,
            })?;
    }
    Ok(())
}

/// The bytes of a file of at most 1 MiB. Blocks.
///
/// # Errors
/// [`TlsError::Unreadable`].
pub fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Unreadable {
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

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
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

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(file)?)
        .map_err(|error| malformed(file, "private key", &error))
}

fn malformed(file: &Path, wanted: &'static str, error: &pem::Error) -> TlsError {
    let file = file.to_owned();
    match error {
        pem::Error::NoItemsFound => TlsError::Empty { file, wanted },
        // Its texts may repeat lines of the file, which may be those of a key.
        _ => TlsError::Unreadable {
            file,
            error: io::Error::new(io::ErrorKind::InvalidData, "this is not well-formed PEM"),
        },
    }
}
