//! Configuration files through the binary: checked, printed, and obeyed.

use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::fault_peers::Nobody;
use super::process::{Collector, bellwether_with, post, wait_for};
use super::{batch, metric};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/collector.yaml");
const TOKEN: (&str, &str) = ("VENDOR_TOKEN", "s3cret");

/// A file with this text, removed at the end.
pub(crate) struct Written(PathBuf);

impl Written {
    pub(crate) fn new(text: &str) -> Self {
        static WRITTEN: AtomicUsize = AtomicUsize::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let name = format!("bellwether-it-{}-{number}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(crate) fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn the_example_is_well_once_its_secret_is_there() {
    let output = bellwether_with(&["check", EXAMPLE], &[TOKEN]);
    assert_eq!(texts(&output), (Some(0), "ok\n".to_owned(), String::new()));
    let output = bellwether_with(&["check", EXAMPLE], &[]);
    let fault =
        "exporters[1].headers.authorization: the environment variable VENDOR_TOKEN is not set";
    let line = std::fs::read_to_string(EXAMPLE).unwrap();
    let line = line.lines().position(|line| line.contains("VENDOR_TOKEN"));
    let expected = format!("{EXAMPLE}:{}: {fault}\n", line.unwrap() + 1);
    assert_eq!(texts(&output), (Some(1), String::new(), expected));
}

#[test]
fn what_is_in_force_is_printed_and_may_be_used() {
    let args = ["config", "--config", EXAMPLE, "--web", "7000"];
    let output = bellwether_with(&args, &[TOKEN, ("BELLWETHER_RETENTION", "3h")]);
    let (code, printed, errors) = texts(&output);
    assert_eq!((code, &*errors), (Some(0), ""));
    for line in [
        "web: 127.0.0.1:7000  # --web",
        "retention: 3h  # BELLWETHER_RETENTION",
        "      authorization: \"Bearer ${VENDOR_TOKEN}\"  # ",
        "      x-team: \"***\"  # ",
        "    timeout: 10s  # default",
    ] {
        assert!(printed.contains(&format!("\n{line}")), "{line}: {printed}");
    }
    assert!(!printed.contains("s3cret"), "{printed}");
    let printed = Written::new(&printed);
    let output = bellwether_with(&["check", printed.name()], &[TOKEN]);
    assert_eq!(texts(&output), (Some(0), "ok\n".to_owned(), String::new()));
}

#[test]
fn a_variable_that_is_misspelt_is_told() {
    let collector = Collector::start_with(&[], &[("BELLWETHER_DATADIR", "/nowhere")]);
    let told = "BELLWETHER_DATADIR is not known and is ignored: did you mean BELLWETHER_DATA_DIR?";
    wait_for("the warning", || collector.logged(told));
    collector.stop();
}

#[test]
fn a_file_with_faults_starts_nothing() {
    let file = Written::new("wep: 1\nretention: 48h\n");
    let output = bellwether_with(&["--config", file.name(), "--web", "http"], &[]);
    let (code, out, errors) = texts(&output);
    assert_eq!((code, &*out), (Some(2), ""));
    let lines: Vec<_> = errors.lines().skip(1).collect();
    let name = file.name();
    assert_eq!(lines.len(), 3, "{errors}");
    assert!(
        lines[0].starts_with("--web: \"http\" is not allowed: "),
        "{errors}"
    );
    assert_eq!(
        lines[1],
        format!("{name}:1: wep: there is no such key; did you mean `web`?")
    );
    assert_eq!(
        lines[2],
        format!("{name}:2: retention: \"48h\" is not allowed: allowed are 1m to 24h")
    );
}

#[test]
fn a_collector_does_what_its_file_says() {
    let next = Collector::start(&[]);
    let text = format!(
        "retention: 2m\nexporters:\n  - url: otlp+grpc://{}\n    name: \"next, over gRPC\"\n    compression: gzip\n    \
         headers: {{authorization: \"Bearer ${{VENDOR_TOKEN}}\"}}\n  - url: otlp+http://{}\n    name: next over HTTP\n    \
         compression: gzip\n",
        next.grpc_address(),
        next.http_address(),
    );
    let file = Written::new(&text);
    let first = Collector::start_with(&["--config", file.name()], &[TOKEN]);
    assert_eq!(post(&first.traces(), &batch("cart", 5)).0, 200);
    for name in ["next, over gRPC", "next over HTTP"] {
        let sent = format!("bellwether_exporter_sent_spans_total{{exporter=\"{name}\"}}");
        wait_for(name, || metric(&first, &sent) == Some(5.0));
    }
    for protocol in ["otlp-grpc", "otlp-http"] {
        let accepted =
            format!("bellwether_receiver_accepted_spans_total{{protocol=\"{protocol}\"}}");
        assert_eq!(metric(&next, &accepted), Some(5.0));
    }
    first.terminate();
    let lines = first.exits_with_success();
    let started = lines
        .iter()
        .find(|line| line["message"] == "collector started");
    let started = started.expect("told");
    assert_eq!(started["export"], "next, over gRPC,next over HTTP");
    assert_eq!(started["retention_seconds"], 120);
    assert!(
        lines
            .iter()
            .all(|line| !line.to_string().contains("s3cret"))
    );
    next.stop();
}

/// An exporter that nobody answers, with senders that outrun the log: its own choice counts, not the default.
#[test]
fn an_exporter_says_for_itself_what_gives_way() {
    let nobody = Nobody::start();
    let dead = nobody.address;
    let refused = |on_full: &str| {
        let text = format!(
            "memory_limit: 64MiB\nexporters: [{{url: \"otlp+http://{dead}\", name: dead, on_full: {on_full}}}]\n"
        );
        let file = Written::new(&text);
        let grace = ("BELLWETHER_GRACE", "2s");
        let collector = Collector::start_with(&["--config", file.name()], &[grace]);
        let large = batch("cart", 20_000);
        // Twice the log's share of the memory limit.
        let posts = (32 << 20) / large.len();
        let full = (0..posts).any(|_| post(&collector.traces(), &large).0 == 503);
        let dropped = metric(
            &collector,
            "bellwether_exporter_dropped_spans_total{exporter=\"dead\"}",
        );
        collector.terminate();
        collector.exits_with_success();
        (full, dropped > Some(0.0))
    };
    assert_eq!(refused("refuse"), (true, false));
    assert_eq!(refused("drop_oldest"), (false, true));
}
