//! TLS of listeners: the certificate to show, and which clients' certificates to ask for. `config` checks the files,
//! `pipeline` has them watched, `server` shakes hands by what is in force.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    ServerConfig, SignatureScheme,
};

use super::body::with_causes;
use super::pem::{self, Identity, TlsError};
use super::spiffe::{self, Allowed};

/// The files of the listeners, all in PEM, and who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The chain to show, and its key.
    pub identity: Identity,
    /// `None`: nobody is asked for a certificate.
    pub clients: Option<Clients>,
}

/// Clients that show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// The authorities that may have signed it.
    pub ca_file: PathBuf,
    /// Who may come in of those they signed; empty: all of them.
    pub allowed: Vec<Allowed>,
}

/// What listeners shake hands by.
#[derive(Debug)]
pub struct Acceptors {
    /// Asks for no certificate.
    pub server_only: Arc<ServerConfig>,
    /// Takes nobody without one; `None` when no client's can be told.
    pub mutual: Option<Arc<ServerConfig>>,
}

impl ServerTls {
    /// Every file it is made of.
    pub fn files(&self) -> Vec<PathBuf> {
        let Identity {
            cert_file,
            key_file,
        } = &self.identity;
        let ca_file = self.clients.iter().map(|clients| &clients.ca_file);
        [cert_file, key_file]
            .into_iter()
            .chain(ca_file)
            .cloned()
            .collect()
    }

    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn load(&self) -> Result<Acceptors, TlsError> {
        let mutual = match &self.clients {
            None => None,
            Some(clients) => Some(self.acceptor(Some(clients))?),
        };
        Ok(Acceptors {
            server_only: self.acceptor(None)?,
            mutual,
        })
    }

    fn acceptor(&self, clients: Option<&Clients>) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.verifier()?),
        };
        let (chain, key) = pem::identity(&self.identity)?;
        let mut config =
            builder
                .with_single_cert(chain, key)
                .map_err(|error| TlsError::Identity {
                    identity: self.identity.clone(),
                    error,
                })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if clients.is_some() {
            // A resumed session is not asked again who it is, though its certificate may have expired meanwhile.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Arc::new(config))
    }
}

impl Clients {
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let mut roots = RootCertStore::empty();
        pem::add_authorities(&mut roots, &self.ca_file)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .map_err(|error| TlsError::Certificate {
                file: self.ca_file.clone(),
                error: rustls::Error::General(error.to_string()),
            })?;
        Ok(Arc::new(Verifier {
            chain,
            allowed: self.allowed.clone(),
        }))
    }
}

/// Why a client was not let in, in words: of what [`Clients`] say the library's own text has only the insides.
pub(super) fn refusal(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(stranger)))) => {
            stranger.to_string()
        }
        _ => with_causes(error),
    }
}

/// Verifies a client's chain, then whether it is one that may come in.
#[derive(Debug)]
struct Verifier {
    chain: Arc<dyn ClientCertVerifier>,
    allowed: Vec<Allowed>,
}

impl ClientCertVerifier for Verifier {
    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .chain
            .verify_client_cert(certificate, intermediates, now)?;
        spiffe::authorise(certificate, &self.allowed)
            .map_err(|stranger| CertificateError::Other(OtherError(Arc::new(stranger))))?;
        Ok(verified)
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// Else an expired certificate would let its client in as long as the session lasts.
    #[test]
    fn who_shows_a_certificate_shows_it_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        let tls = ServerTls {
            identity: Identity {
                cert_file: write("cert", &certificate),
                key_file: write("key", &key.serialize_pem()),
            },
            clients: Some(Clients {
                ca_file: write("ca", &certificate),
                allowed: Vec::new(),
            }),
        };
        let acceptors = tls.load().unwrap();
        let mutual = acceptors.mutual.unwrap();
        assert!(!mutual.session_storage.can_cache());
        assert_eq!(mutual.send_tls13_tickets, 0);
        assert!(acceptors.server_only.session_storage.can_cache());
    }
}
