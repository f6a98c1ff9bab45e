//! How the kit's own HTTP clients connect: the exporter's, of `trace`, and that of the checks, of `health`.
//!
//! Both have one type, whether they go over TLS or not, and clients with one type of body: whatever hyper's client is
//! made of is compiled once for each pair of the two, and was a sixth of what the kit takes to build.

use hyper_util::client::legacy::connect::HttpConnector;

#[cfg(feature = "tls")]
pub(crate) type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
pub(crate) type Connector = HttpConnector;

/// A connector for `http://` alone.
///
/// # Errors
///
/// None but what rustls says of its own defaults.
#[cfg(feature = "tls")]
pub(crate) fn plain() -> Result<Connector, String> {
    use rustls::{ClientConfig, RootCertStore};
    // Never asked: it takes no `https://` that would need it, and trusts nobody.
    let unused = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(unused);
    let builder = builder.https_or_http().enable_http1();
    Ok(builder.wrap_connector(tcp()))
}

/// A connector for `http://`.
#[cfg(not(feature = "tls"))]
pub(crate) fn plain() -> Result<Connector, String> {
    Ok(tcp())
}

/// A connector for `https://` alone, which trusts the system's root certificates.
///
/// # Errors
///
/// When these cannot be read.
#[cfg(feature = "tls")]
pub(crate) fn tls() -> Result<Connector, String> {
    let mut tcp = tcp();
    tcp.enforce_http(false);
    let builder = hyper_rustls::HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(provider())
        .map_err(|error| format!("the system's root certificates cannot be used: {error}"))?;
    Ok(builder.https_only().enable_http1().wrap_connector(tcp))
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp
}

/// By name: the process default is ambiguous as soon as another crate brings one.
#[cfg(feature = "tls")]
fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::ring::default_provider())
}
