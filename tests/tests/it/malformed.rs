//! Malformed input at every door: a clear refusal, and the collector goes on.

use std::process::Command;

use bellwether_tests::http::{Answer, post};
use bellwether_tests::system::Collector;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

fn send(collector: &Collector, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let url = format!("http://127.0.0.1:{}{path}", collector.otlp_http);
    post(&url, headers, body).expect("an answer")
}

/// A gzip stream of `length` zeros, made by the system's own gzip.
fn gzip_of_zeros(length: usize) -> Option<Vec<u8>> {
    let script = format!("head -c {length} /dev/zero | gzip -9");
    let output = Command::new("sh").args(["-c", &script]).output().ok()?;
    (output.status.success() && !output.stdout.is_empty()).then_some(output.stdout)
}

#[test]
fn every_malformed_body_is_refused_and_the_collector_goes_on() {
    let collector = Collector::start(&[]);
    let bomb = gzip_of_zeros(200 << 20).expect("gzip is part of every system these tests run on");
    let gzip = ("content-encoding", "gzip");
    let oversized = vec![0; 32 << 20];
    for (what, path, headers, body, status) in [
        (
            "truncated protobuf",
            "/v1/traces",
            &[PROTOBUF][..],
            &b"\x0a\x7f\x01"[..],
            400,
        ),
        (
            "text for protobuf",
            "/v1/traces",
            &[PROTOBUF],
            b"hello",
            400,
        ),
        (
            "wrong content type",
            "/v1/traces",
            &[("content-type", "text/plain")],
            b"",
            415,
        ),
        (
            "unknown encoding",
            "/v1/traces",
            &[PROTOBUF, ("content-encoding", "br")],
            b"x",
            415,
        ),
        (
            "broken gzip",
            "/v1/traces",
            &[PROTOBUF, gzip],
            b"\x1f\x8b\x08nonsense",
            400,
        ),
        ("a gzip bomb", "/v1/traces", &[PROTOBUF, gzip], &bomb, 413),
        (
            "an oversized body",
            "/v1/traces",
            &[PROTOBUF],
            &oversized,
            413,
        ),
        ("an unknown path", "/v2/traces", &[PROTOBUF], b"", 404),
        (
            "logs without an exporter",
            "/v1/logs",
            &[PROTOBUF],
            b"",
            404,
        ),
    ] {
        let answer = send(&collector, path, headers, body);
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert!(answer.body.len() > 10, "{what}: the answer says nothing");
    }
    assert_eq!(send(&collector, "/v1/traces", &[PROTOBUF], b"").status, 200);
    assert!(collector.process.stop().success());
}

#[test]
fn bad_arguments_are_named_all_at_once() {
    let program = env!("CARGO_BIN_EXE_part");
    let output = Command::new(program)
        .args([
            "collector",
            "--",
            "--otlp-grpc",
            "127.0.0.1:http",
            "--export",
            "ftp://x",
            "--web",
            "99999",
        ])
        .output()
        .expect("the collector");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    for part in [
        "--otlp-grpc",
        "127.0.0.1:http",
        "--export",
        "ftp://x",
        "--web",
        "99999",
    ] {
        assert!(said.contains(part), "{part} is not named in: {said}");
    }
}

#[test]
fn bad_variables_of_a_service_are_named_all_at_once() {
    let output = Command::new(env!("CARGO_BIN_EXE_part"))
        .args(["cases", "0"])
        .env("BELLWETHER_GRACE", "soon")
        .env("BELLWETHER_TRUST", "friends")
        .output()
        .expect("the service");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    for part in ["BELLWETHER_GRACE", "soon", "BELLWETHER_TRUST", "friends"] {
        assert!(said.contains(part), "{part} is not named in: {said}");
    }
}
