//! A real SDK over TLS, with a client certificate and a token, all by OpenTelemetry's own variables.

use std::path::Path;

use bellwether_tests::http::get;
use bellwether_tests::peers;
use bellwether_tests::system::Collector;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};

use crate::sdk::send_with;

const TOKEN: &str = "0123456789abcdef";

/// Writes an authority, and the certificates and keys of a server on loopback and of a client.
fn write_certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // A name of its own, or those it signs seem to have signed themselves.
    let name = "authority";
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
    write("ca.pem", &authority.as_ref().pem());
    let id = "spiffe://shop.example/py".try_into().expect("ASCII");
    for (name, names) in [
        ("server", vec![SanType::IpAddress([127, 0, 0, 1].into())]),
        ("client", vec![SanType::URI(id)]),
    ] {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.subject_alt_names = names;
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &authority).expect("a certificate");
        write(&format!("{name}.pem"), &signed.pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    }
}

#[test]
fn python_sdk_in_tls_with_a_certificate_and_a_token() {
    let test = "python_sdk_in_tls_with_a_certificate_and_a_token";
    let Some(python) = peers::require(test, "the Python SDK", peers::python()) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    write_certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("token"), TOKEN).expect("a file");
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    let collector = Collector::start_with(&[
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-client-ca-file",
        &ca,
        "--tls-client-id",
        "spiffe://shop.example",
        "--auth-token",
        &format!("${{file:{}}}", file("token")),
    ]);
    let grpc = format!("https://127.0.0.1:{}", collector.otlp_grpc);
    let http = format!("https://127.0.0.1:{}/v1/traces", collector.otlp_http);
    for (number, (protocol, endpoint)) in [("grpc", &grpc), ("http+gzip", &http)].iter().enumerate()
    {
        for (token, is_let_in) in [("wrong-0123456789", false), (TOKEN, true)] {
            let headers = format!("authorization=Bearer%20{token}");
            let variables = [
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", &*ca),
                ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &cert),
                ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key),
                ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
            ];
            let arguments = [*protocol, endpoint.as_str()];
            let sent = send_with(&python, "python/send.py", arguments, &variables);
            let trace_id = sent["trace_id"].as_str().expect("an id");
            if is_let_in {
                let spans = sent["spans"].as_array().expect("spans").len();
                collector.wait_for_trace(trace_id, spans);
            } else {
                let receiver = &collector.api("/status")["receivers"][number];
                assert!(receiver["denied_requests"].as_u64() > Some(0), "{receiver}");
                let url = format!(
                    "http://127.0.0.1:{}/api/v1/traces/{trace_id}",
                    collector.web
                );
                assert_eq!(get(&url).expect("an answer").status, 404);
            }
        }
    }
}
