//! Certificates made for a test: authorities, and folders of files as a collector is given them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bellwether_collector::net::client_tls::ClientTls;
use bellwether_collector::net::pem::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use tempfile::TempDir;

/// Who signs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(crate) struct Signed {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    /// Each has a name of its own: they are told apart by it before their keys are looked at.
    pub(crate) fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = format!("authority {}", MADE.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// For a server on loopback.
    pub(crate) fn server(&self) -> Signed {
        self.sign(CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap())
    }

    /// For a workload with this SPIFFE ID.
    pub(crate) fn workload(&self, id: &str) -> Signed {
        self.sign(workload(id))
    }

    /// The same, long over.
    pub(crate) fn expired(&self, id: &str) -> Signed {
        let mut params = workload(id);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 2);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Signed {
        let key = KeyPair::generate().unwrap();
        Signed {
            cert: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

fn workload(id: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    let uri = SanType::URI(id.try_into().unwrap());
    params.subject_alt_names.push(uri);
    params
}

/// A folder of files, removed at the end.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path of a file as an argument.
    pub(crate) fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Files as Kubernetes mounts a secret: links through `..data`, which is swapped as a whole.
    pub(crate) fn mount(&self, files: &[(&str, &str)]) {
        static MOUNTED: AtomicU64 = AtomicU64::new(0);
        let version = format!("..{}", MOUNTED.fetch_add(1, Ordering::Relaxed));
        fs::create_dir(self.path(&version)).unwrap();
        for (name, text) in files {
            fs::write(self.path(&version).join(name), text).unwrap();
            if !self.path(name).exists() {
                symlink(Path::new("..data").join(name), self.path(name)).unwrap();
            }
        }
        symlink(&version, self.path("..next")).unwrap();
        fs::rename(self.path("..next"), self.path("..data")).unwrap();
    }

    /// What a client needs that trusts `authority` and shows `signed`.
    pub(crate) fn client(&self, authority: &Authority, signed: Option<&Signed>) -> ClientTls {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        ClientTls {
            ca_file: Some(self.write(&format!("{number}-ca.pem"), &authority.pem())),
            identity: signed.map(|signed| Identity {
                cert_file: self.write(&format!("{number}-cert.pem"), &signed.cert),
                key_file: self.write(&format!("{number}-key.pem"), &signed.key),
            }),
        }
    }
}
