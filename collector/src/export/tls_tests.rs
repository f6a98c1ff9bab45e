//! Workers over TLS, through a proxy that ends it before a plaintext peer. Certificates are made here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::worker_tests::{
    Fixture, GrpcPeer, HttpPeer, Taken, answer, batches, bind, collect, counts, grpc_peer, until,
};
use super::{Config, Target};
use crate::net::client_tls::ClientTls;
use crate::net::pem::Identity;

/// A folder of PEM files, removed at the end.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = format!("bellwether-tls-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Each has a name of its own: they are told apart by it before their keys are looked at.
fn authority() -> Authority {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    let name = format!("authority {}", MADE.fetch_add(1, Ordering::Relaxed));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn pem(authority: &Authority) -> String {
    authority.as_ref().pem()
}

/// A certificate for `name` and its key.
fn certificate(authority: &Authority, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

fn identity(files: &Files, authority: &Authority) -> Identity {
    let (certificate, key) = certificate(authority, "collector");
    Identity {
        cert_file: files.write("cert.pem", &certificate.pem()),
        key_file: files.write("key.pem", &key.serialize_pem()),
    }
}

/// Ends TLS for the peer at `to` as `name`; asks for certificates of `clients`, if there is such.
async fn proxy(
    to: SocketAddr,
    authority: &Authority,
    name: &str,
    clients: Option<&Authority>,
) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.as_ref().der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let (certificate, key) = certificate(authority, name);
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = builder
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, address) = bind().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                // Many servers of gRPC go by it.
                if stream.get_ref().1.alpn_protocol().is_none() {
                    return;
                }
                let mut peer = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut peer).await;
            });
        }
    });
    address
}

fn config(scheme: &str, address: SocketAddr, tls: ClientTls) -> Config {
    let target = Target::parse(&format!("{scheme}://{address}")).unwrap();
    Config {
        tls,
        ..Config::to(target)
    }
}

fn trusting(ca_file: &Path) -> ClientTls {
    ClientTls {
        ca_file: Some(ca_file.to_owned()),
        identity: None,
    }
}

/// A plaintext HTTP peer behind a proxy.
async fn http_peer() -> (HttpPeer, Taken) {
    let taken = Taken::default();
    let taking = Arc::clone(&taken);
    let (listener, _) = bind().await;
    let peer = HttpPeer::serve_heads(listener, move |_, _, body| collect(&taking, &body));
    (peer, taken)
}

#[tokio::test]
async fn every_protocol_goes_over_tls() {
    let (files, ours) = (Files::new(), authority());
    let ca_file = files.write("ca.pem", &pem(&ours));
    let grpc = GrpcPeer::default();
    let grpc_url = Target::parse(&grpc_peer(&grpc).await).unwrap();
    let grpc_address = grpc_url.authority().parse().unwrap();
    let (http, taken) = http_peer().await;
    for (scheme, peer) in [("otlp+grpcs", grpc_address), ("otlp+https", http.address)] {
        let address = proxy(peer, &ours, "127.0.0.1", None).await;
        let config = config(scheme, address, trusting(&ca_file));
        let mut fixture = Fixture::start_with(config, &batches(&["a", "b"]));
        fixture.finish().await;
        fixture.check(6, 0, 0);
    }
    assert_eq!(counts(&grpc.taken), [3, 3]);
    assert_eq!(counts(&taken), [3, 3]);
}

async fn check_failure(config: Config, part: &str) {
    let fixture = Fixture::start_with(config, &batches(&["a"]));
    until(|| !fixture.last_error().is_empty()).await;
    let error = fixture.last_error();
    assert!(error.contains(part), "{error}");
    fixture.check(0, 0, 0);
}

#[tokio::test]
async fn nobody_else_is_trusted() {
    let (files, ours, theirs) = (Files::new(), authority(), authority());
    let ca_file = files.write("ca.pem", &pem(&ours));
    let (http, taken) = http_peer().await;
    let to = http.address;
    let stranger = proxy(to, &theirs, "127.0.0.1", None).await;
    let part = "invalid peer certificate: UnknownIssuer";
    check_failure(config("otlp+https", stranger, trusting(&ca_file)), part).await;
    let misnamed = proxy(to, &ours, "elsewhere.example", None).await;
    let part = "invalid peer certificate: certificate not valid for name \"127.0.0.1\"";
    check_failure(config("otlp+https", misnamed, trusting(&ca_file)), part).await;
    let hint = "if it speaks no TLS, write the scheme without its s";
    check_failure(config("otlp+grpcs", to, trusting(&ca_file)), hint).await;
    assert!(taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_grpc_peer_is_told_the_scheme() {
    let (files, ours) = (Files::new(), authority());
    let ca_file = files.write("ca.pem", &pem(&ours));
    let (listener, _) = bind().await;
    let schemes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&schemes);
    let peer = HttpPeer::serve_heads(listener, move |_, head, _| {
        let scheme = head.uri.scheme_str().map(str::to_owned);
        seen.lock().unwrap().push(scheme);
        answer(200, &[("grpc-status", "0")])
    });
    let address = proxy(peer.address, &ours, "127.0.0.1", None).await;
    let config = config("otlp+grpcs", address, trusting(&ca_file));
    let mut fixture = Fixture::start_with(config, &batches(&["a"]));
    fixture.finish().await;
    assert_eq!(*schemes.lock().unwrap(), [Some("https".to_owned())]);
}

#[tokio::test]
async fn a_peer_that_never_shakes_hands_has_as_long_as_it_was_given() {
    let files = Files::new();
    let ca_file = files.write("ca.pem", &pem(&authority()));
    let (listener, address) = bind().await;
    let config = Config {
        timeout: Duration::from_millis(300),
        ..config("otlp+https", address, trusting(&ca_file))
    };
    let fixture = Fixture::start_with(config, &batches(&["a"]));
    let (_silent, _) = listener.accept().await.unwrap();
    until(|| !fixture.last_error().is_empty()).await;
    let expected = format!("{address} did not answer within 300ms");
    assert_eq!(fixture.last_error(), expected);
}

#[tokio::test]
async fn a_peer_that_asks_for_a_certificate_gets_ours() {
    let (files, ours, theirs) = (Files::new(), authority(), authority());
    let tls = ClientTls {
        identity: Some(identity(&files, &theirs)),
        ..trusting(&files.write("ca.pem", &pem(&ours)))
    };
    let (http, taken) = http_peer().await;
    let address = proxy(http.address, &ours, "127.0.0.1", Some(&theirs)).await;
    let anonymous = ClientTls {
        identity: None,
        ..tls.clone()
    };
    check_failure(
        config("otlp+https", address, anonymous),
        "CertificateRequired",
    )
    .await;
    let mut fixture = Fixture::start_with(config("otlp+https", address, tls), &batches(&["a"]));
    fixture.finish().await;
    fixture.check(3, 0, 0);
    assert_eq!(counts(&taken), [3]);
}

#[tokio::test]
async fn rotated_files_are_taken_up_without_a_restart() {
    let (files, ours) = (Files::new(), authority());
    let ca_file = files.write("ca.pem", &pem(&authority()));
    let (http, taken) = http_peer().await;
    let address = proxy(http.address, &ours, "127.0.0.1", None).await;
    let config = config("otlp+https", address, trusting(&ca_file));
    let mut fixture = Fixture::start_with(config, &batches(&["a"]));
    until(|| fixture.last_error().contains("UnknownIssuer")).await;
    // The last good one stays in force while there is none.
    files.write("ca.pem", "half of a file");
    let retries = || fixture.status.retries.load(Ordering::Relaxed);
    let before = retries();
    until(|| retries() > before + 1).await;
    assert!(fixture.last_error().contains("UnknownIssuer"));
    files.write("ca.pem", &pem(&ours));
    fixture.finish().await;
    fixture.check(3, 0, 0);
    assert_eq!(counts(&taken), [3]);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (files, ours) = (Files::new(), authority());
    let good = identity(&files, &ours);
    let (_, other_key) = certificate(&ours, "other");
    let other_key = files.write("other.pem", &other_key.serialize_pem());
    let check = |ca_file: Option<PathBuf>, identity: Option<Identity>, expected: &str| {
        let tls = ClientTls { ca_file, identity };
        let error = tls.load(crate::net::client::Protocol::Http2).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let with_key = |key_file| {
        Some(Identity {
            key_file,
            ..good.clone()
        })
    };
    check(
        Some(files.0.join("none.pem")),
        None,
        "none.pem: No such file",
    );
    check(Some(files.0.clone()), None, "directory");
    check(
        Some(good.key_file.clone()),
        None,
        "key.pem holds no certificate in PEM",
    );
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check(
        Some(files.write("junk.pem", junk)),
        None,
        "junk.pem holds a certificate that cannot be used",
    );
    let broken = "-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n";
    check(
        Some(files.write("broken.pem", broken)),
        None,
        "not well-formed PEM",
    );
    let long = files.write("long.pem", &" ".repeat(2 << 20));
    check(Some(long), None, "file too large");
    check(
        None,
        with_key(good.cert_file.clone()),
        "cert.pem holds no private key in PEM",
    );
    check(None, with_key(other_key), "cannot be used together");
}
