//! Malformed input at every door: a clear refusal, and the collector goes on.

use std::process::Command;
use std::time::Duration;

use bellwether_tests::http::{Answer, post};
use bellwether_tests::process::Process;
use bellwether_tests::system::Collector;
use bellwether_tests::wait::wait_for;

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

/// Runs a part that must fail at once and name every one of `faults`.
fn check_refused(command: &mut Command, faults: &[&str]) {
    let mut process = Process::start("a part with faults", command);
    assert!(!process.wait(Duration::from_secs(10)).success());
    // Its output is read by another thread, which may be a moment behind.
    for fault in faults {
        let what = format!("{fault} named in {:#?}", process.output());
        wait_for(&what, || {
            process
                .output()
                .iter()
                .find(|line| line.contains(fault))
                .cloned()
        });
    }
}

#[test]
fn bad_arguments_are_named_all_at_once() {
    let arguments = [
        "--otlp-grpc",
        "127.0.0.1:http",
        "--export",
        "ftp://x",
        "--web",
        "99999",
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_part"));
    command.args(["collector", "--"]).args(arguments);
    check_refused(&mut command, &arguments);
}

#[test]
fn bad_variables_of_a_service_are_named_all_at_once() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_part"));
    command
        .args(["cases", "0"])
        .env("BELLWETHER_GRACE", "soon")
        .env("BELLWETHER_TRUST", "friends");
    check_refused(
        &mut command,
        &["BELLWETHER_GRACE", "soon", "BELLWETHER_TRUST", "friends"],
    );
}
