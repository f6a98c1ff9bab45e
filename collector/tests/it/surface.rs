//! Where the collector listens, whom its pages answer to, and what a restart keeps and what it does not: through the binary.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use tempfile::TempDir;

use super::configuration::Written;
use super::fault_peers::Nobody;
use super::process::{Collector, get, post, wait_for};
use super::sink::Sink;
use super::{batch, batch_of, metric};

/// Every address that begins with 127 is this machine, and on this one no other program has the usual ports.
#[cfg(target_os = "linux")]
#[test]
fn the_usual_ports_are_taken_and_one_that_is_not_free_is_left_out() {
    let host = format!(
        "127.{}.{}.9",
        1 + std::process::id() / 250 % 250,
        1 + std::process::id() % 250
    );
    let _zipkin = TcpListener::bind((host.as_str(), 9411)).unwrap();
    let collector = Collector::start_on(&host);
    assert_eq!(collector.grpc_address(), format!("{host}:4317"));
    assert_eq!(collector.http_address(), format!("{host}:4318"));
    assert_eq!(collector.web_address(), format!("{host}:4319"));
    assert!(collector.started()["zipkin"].is_null());
    let told =
        collector.lines_with("this default listener is left out; ask for another port by its flag");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["protocol"], "zipkin");
    assert_eq!(post(&collector.traces(), &batch("cart", 1)).0, 200);
    collector.stop();
}

#[test]
fn without_a_word_about_it_only_this_machine_is_listened_to() {
    let collector = Collector::start(&[]);
    for address in [
        collector.grpc_address(),
        collector.http_address(),
        collector.zipkin_address(),
        collector.web_address(),
    ] {
        assert!(address.starts_with("127.0.0.1:"), "{address}");
    }
    collector.stop();
}

/// The status of an answer to who asks for this host.
fn status_for(collector: &Collector, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(collector.web_address()).unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn pages_and_api_answer_to_known_names_probes_and_metrics_to_any() {
    let collector = Collector::start(&["--web-host", "traces.example", "--web-host", "bell"]);
    for (host, expected) in [
        ("traces.example", "200"),
        ("bell:4319", "200"),
        ("localhost", "200"),
        ("evil.example", "421"),
    ] {
        for path in ["/", "/api/v1/services", "/status"] {
            assert_eq!(
                status_for(&collector, host, path),
                expected,
                "{host} {path}"
            );
        }
        for path in ["/livez", "/readyz", "/startupz", "/metrics"] {
            assert_eq!(status_for(&collector, host, path), "200", "{host} {path}");
        }
    }
    collector.stop();
}

/// A collector with a data directory and two exporters: one that this test moves, and one whose peer is not there, so that
/// everything stays in the directory.
fn with_backend(directory: &TempDir, sink: &Sink, nobody: &Nobody) -> Collector {
    let file = Written::new(&format!(
        "exporters: [{{url: \"{}\", name: backend}}, {{url: \"otlp+http://{}\", name: gone}}]\n",
        sink.url(),
        nobody.address
    ));
    let directory = directory.path().to_str().unwrap();
    let args = ["--data-dir", directory, "--config", file.name()];
    Collector::start_with(&args, &[("BELLWETHER_GRACE", "600s")])
}

#[test]
fn an_exporter_is_known_by_its_name_when_its_url_has_changed() {
    let (directory, nobody) = (TempDir::new().unwrap(), Nobody::start());
    let (before, after) = (Sink::start(), Sink::start());
    let collector = with_backend(&directory, &before, &nobody);
    assert_eq!(post(&collector.traces(), &batch_of("cart", 1..4, 0)).0, 200);
    let sent = "bellwether_exporter_sent_spans_total{exporter=\"backend\"}";
    wait_for("the first batch", || metric(&collector, sent) == Some(3.0));
    before.refuse(true);
    assert_eq!(post(&collector.traces(), &batch_of("cart", 4..9, 0)).0, 200);
    collector.stop();

    let collector = with_backend(&directory, &after, &nobody);
    wait_for("the second batch", || metric(&collector, sent) == Some(5.0));
    // The first is still there, and would come to whoever is new.
    let ids: Vec<_> = after.taken().into_iter().collect();
    assert_eq!(ids, [(4, 1), (5, 1), (6, 1), (7, 1), (8, 1)]);
    collector.stop();
}

#[test]
fn views_start_empty_after_a_restart_and_what_was_not_sent_is_not_viewed_again() {
    let (directory, nobody) = (TempDir::new().unwrap(), Nobody::start());
    let sink = Sink::start();
    sink.refuse(true);
    let collector = with_backend(&directory, &sink, &nobody);
    assert_eq!(post(&collector.traces(), &batch("cart", 3)).0, 200);
    let services = |collector: &Collector| get(&collector.web("/api/v1/services")).1;
    assert!(services(&collector).contains("\"cart\""));
    collector.stop();

    sink.refuse(false);
    let collector = with_backend(&directory, &sink, &nobody);
    wait_for("the batch", || sink.taken().len() == 3);
    assert!(services(&collector).contains("\"items\":[]"));
    collector.stop();
}
