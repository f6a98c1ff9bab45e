//! Sampling at export through the binary: gRPC in, OTLP and Zipkin out, with crashes in between.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;

use super::configuration::Written;
use super::metric;
use super::process::{Collector, bellwether, get, post, wait_for};
use super::sink::Sink;

/// A root, unless it has a parent, of a trace of this number.
fn span(trace: u64, id: u64, parent: Option<u64>) -> Span {
    // Numbers that follow each other must not look alike in their last 56 bits.
    let random = trace.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Span {
        trace_id: (u128::from(random) | 1 << 64).to_be_bytes().into(),
        span_id: id.to_be_bytes().into(),
        parent_span_id: parent.map_or(Vec::new(), |parent| parent.to_be_bytes().into()),
        name: "GET /cart".into(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_005_000_000,
        ..Span::default()
    }
}

fn failed(span: Span) -> Span {
    let status = Some(Status {
        code: 2,
        ..Status::default()
    });
    Span { status, ..span }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans {
        spans,
        ..ScopeSpans::default()
    }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans,
            ..ResourceSpans::default()
        }],
    }
}

/// Over HTTP.
fn send(collector: &Collector, spans: Vec<Span>) {
    let (status, text) = post(&collector.traces(), &request(spans).encode_to_vec());
    assert_eq!(status, 200, "{text}");
}

/// Over gRPC.
fn send_grpc(collector: &Collector, requests: Vec<ExportTraceServiceRequest>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let url = format!("http://{}", collector.grpc_address());
        let mut client = TraceServiceClient::connect(url).await.unwrap();
        for request in requests {
            client.export(request).await.unwrap();
        }
    });
}

fn ids(sink: &Sink) -> BTreeSet<u64> {
    sink.taken().into_keys().collect()
}

/// Waits until nothing waits for any exporter.
fn drained(collector: &Collector) {
    wait_for("everything to be sent or left out", || {
        let (_, text) = get(&collector.web("/metrics"));
        let mut queues = text
            .lines()
            .filter(|line| line.starts_with("bellwether_queue_bytes{"));
        queues.all(|line| line.ends_with(" 0"))
    });
}

fn left_out(collector: &Collector, exporter: &str, reason: &str) -> Option<f64> {
    let name = "bellwether_exporter_sampled_out_spans_total";
    metric(
        collector,
        &format!("{name}{{exporter=\"{exporter}/v1/traces\",reason=\"{reason}\"}}"),
    )
}

const TRACES: u64 = 2_000;

#[test]
fn a_ratio_keeps_the_same_traces_everywhere_and_views_count_them_all() {
    let (first, second, zipkin) = (Sink::start(), Sink::start(), Collector::start(&[]));
    let quarter = Sink::start();
    let zipkin_url = format!("zipkin+http://{}", zipkin.zipkin_address());
    let args = ["--sample-ratio", "0.5", "--export"];
    let a = Collector::start(&[&args[..], &[&first.url(), "--export", &zipkin_url]].concat());
    let b = Collector::start(&[&args[..], &[&second.url()]].concat());
    let c = Collector::start(&["--sample-ratio", "0.25", "--export", &quarter.url()]);
    let traces = (1..=TRACES).map(|trace| {
        let root = 2 * trace;
        request(vec![
            span(trace, root, None),
            span(trace, root + 1, Some(root)),
        ])
    });
    let mut requests: Vec<_> = traces.collect();
    // A trace that its sender sampled more strictly stays as it is.
    let mut strict = span(1, 1, None);
    strict.trace_state = "a=1,ot=th:fff".into();
    requests.push(request(vec![strict]));
    for collector in [&a, &b, &c] {
        send_grpc(collector, requests.clone());
        drained(collector);
    }
    let (kept, fewer) = (ids(&first), ids(&quarter));
    assert_eq!(kept, ids(&second), "the same on both");
    assert!(fewer.is_subset(&kept), "a lower ratio keeps some of them");
    let near = |kept: &BTreeSet<u64>, share: f64| {
        let traces = (kept.len() as f64 - 1.0) / 2.0;
        (traces - share * TRACES as f64).abs() < 6.0 * (0.25 * TRACES as f64).sqrt()
    };
    assert!(
        near(&kept, 0.5) && near(&fewer, 0.25),
        "{} {}",
        kept.len(),
        fewer.len()
    );
    let whole = |id: &u64| *id == 1 || kept.contains(&(id ^ 1));
    assert!(kept.iter().all(whole), "traces are kept as a whole");
    for (sink, state) in [(&first, "ot=th:8"), (&quarter, "ot=th:c")] {
        let mut states = sink.states();
        assert_eq!(states.remove(&1).as_deref(), Some("a=1,ot=th:fff"));
        assert!(states.values().all(|told| told == state), "{states:?}");
    }

    let all = 2 * TRACES + 1;
    let out = Some((all - kept.len() as u64) as f64);
    assert_eq!(left_out(&a, &first.url(), "ratio"), out);
    assert_eq!(left_out(&a, &first.url(), "route"), Some(0.0));
    let taken = "bellwether_receiver_accepted_spans_total{protocol=\"zipkin\"}";
    assert_eq!(metric(&zipkin, taken), Some(kept.len() as f64));
    let (_, services) = get(&a.web("/api/v1/services"));
    let services: Value = serde_json::from_str(&services).unwrap();
    let whole = &services["items"][0];
    assert_eq!(whole["samples"], all, "views count everything");
    assert_eq!(
        whole["count"],
        all - 1 + 4_096,
        "the strict one for all it stands for"
    );
    let (_, status) = get(&a.web("/api/v1/status"));
    let status: Value = serde_json::from_str(&status).unwrap();
    let sampling = &status["exporters"][0]["sampling"];
    assert_eq!(sampling["rules"], "50 % of all traces");
    let (_, page) = get(&a.web("/status"));
    assert!(
        page.contains("Is told to send 50 % of all traces"),
        "{page}"
    );
    for collector in [a, b, c, zipkin] {
        collector.stop();
    }
}

/// Failed traces and nothing else, of a collector with this time to wait.
fn errors_only(url: &str, wait: &str) -> Written {
    Written::new(&format!(
        "exporters:\n  - url: {url}\n    name: errors\n    sampling: {{keep_errors: true, ratio: 0, decision_wait: {wait}}}\n"
    ))
}

#[test]
fn a_child_that_failed_keeps_its_whole_trace_at_every_exporter_that_asks_for_it() {
    let (errors, slow, all) = (Sink::start(), Sink::start(), Sink::start());
    let file = Written::new(&format!(
        "exporters:\n  - url: {}\n    sampling: {{keep_errors: true, ratio: 0, decision_wait: 500ms, drop_health_checks: true}}\n  \
         - url: {}\n    sampling: {{keep_slower_than: 20ms, ratio: 0, decision_wait: 200ms}}\n  - {}\n",
        errors.url(),
        slow.url(),
        all.url(),
    ));
    let collector = Collector::start(&["--config", file.name()]);
    let mut long = span(3, 31, None);
    long.end_time_unix_nano += 50_000_000;
    let mut health = failed(span(4, 41, None));
    health.name = "GET /healthz".into();
    send(
        &collector,
        vec![span(1, 11, None), span(2, 21, None), long, health],
    );
    send(
        &collector,
        vec![span(1, 12, Some(11)), failed(span(1, 13, Some(12)))],
    );
    send(&collector, vec![span(4, 42, Some(41))]);
    drained(&collector);
    assert_eq!(ids(&errors), [11, 12, 13].into());
    assert_eq!(ids(&slow), [31].into());
    assert_eq!(ids(&all).len(), 7);
    assert!(
        errors.states().values().all(String::is_empty),
        "kept for certain"
    );
    assert_eq!(left_out(&collector, &errors.url(), "ratio"), Some(2.0));
    assert_eq!(left_out(&collector, &errors.url(), "route"), Some(2.0));
    assert_eq!(left_out(&collector, &all.url(), "ratio"), None);
    let dropped = format!(
        "bellwether_exporter_dropped_spans_total{{exporter=\"{}",
        errors.url()
    );
    assert_eq!(metric(&collector, &dropped), Some(0.0));
    // Late ones follow.
    send(
        &collector,
        vec![span(1, 14, Some(11)), failed(span(2, 22, Some(21)))],
    );
    drained(&collector);
    assert_eq!(ids(&errors), [11, 12, 13, 14].into());
    // A stop decides what is still open.
    send(
        &collector,
        vec![failed(span(5, 51, None)), span(6, 61, None)],
    );
    collector.stop();
    assert_eq!(ids(&errors), [11, 12, 13, 14, 51].into());
}

fn start(directory: &Path, file: &Written) -> Collector {
    let directory = directory.to_str().unwrap();
    let args = ["--data-dir", directory, "--config", file.name()];
    Collector::start_with(&args, &[("BELLWETHER_GRACE", "600s")])
}

#[test]
fn what_was_not_decided_at_a_kill_is_decided_after_it() {
    let (directory, sink) = (TempDir::new().unwrap(), Sink::start());
    // Longer than the test takes.
    let waiting = errors_only(&sink.url(), "10m");
    // Span ids of each trace, and whether one of them failed.
    let mut traces: BTreeMap<u64, (BTreeSet<u64>, bool)> = BTreeMap::new();
    let mut next_id = 0;
    for round in 0..5_u64 {
        let collector = start(directory.path(), &waiting);
        for number in 1..=40 {
            next_id += 1;
            // Half of them are traces of the life before.
            let trace = 20 * round + number;
            let child = span(trace, next_id, Some(1));
            let fails = next_id % 7 == 0;
            send(&collector, vec![if fails { failed(child) } else { child }]);
            let (ids, failed) = traces.entry(trace).or_default();
            ids.insert(next_id);
            *failed |= fails;
        }
        assert!(sink.taken().is_empty(), "nothing is decided yet");
        collector.kill();
    }
    let kept = traces.into_values().filter(|(_, failed)| *failed);
    let mut expected: BTreeSet<u64> = kept.flat_map(|(ids, _)| ids).collect();
    assert!(expected.len() > 20 && (expected.len() as u64) < next_id / 2);
    let deciding = errors_only(&sink.url(), "100ms");
    let collector = start(directory.path(), &waiting);
    assert_eq!(metric(&collector, "bellwether_queue_left_bytes"), Some(0.0));
    // The end decides, and the next start has nothing to add.
    collector.stop();
    let taken = sink.taken();
    assert_eq!(taken.keys().copied().collect::<BTreeSet<_>>(), expected);
    assert!(taken.values().all(|&times| times == 1), "{taken:?}");
    let collector = start(directory.path(), &deciding);
    send(&collector, vec![failed(span(9_999, 9_999, None))]);
    drained(&collector);
    expected.insert(9_999);
    assert_eq!(ids(&sink), expected);
    collector.stop();
}

#[test]
fn kills_between_decisions_lose_no_failed_trace() {
    let (directory, sink) = (TempDir::new().unwrap(), Sink::start());
    let file = errors_only(&sink.url(), "100ms");
    let mut failures: BTreeMap<u64, u64> = BTreeMap::new();
    for round in 0..6_u64 {
        let collector = start(directory.path(), &file);
        let until = rand::random_range(5..80);
        for number in 1..=until {
            let (trace, id) = (1_000 * round + number, 10_000 * round + 10 * number);
            send(
                &collector,
                vec![span(trace, id, None), failed(span(trace, id + 1, Some(id)))],
            );
            send(&collector, vec![span(trace + 500, id + 2, None)]);
            failures.insert(id, id + 1);
        }
        collector.kill();
    }
    let collector = start(directory.path(), &file);
    drained(&collector);
    let kept: BTreeSet<u64> = failures.into_iter().flat_map(|(a, b)| [a, b]).collect();
    assert_eq!(ids(&sink), kept);
    collector.stop();
}

#[test]
fn a_policy_that_makes_no_sense_is_refused() {
    let file = errors_only("otlp+http://127.0.0.1:1", "1ms");
    let output = bellwether(&["check", file.name()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    let expected = "sampling.decision_wait: \"1ms\" is not allowed: allowed are 100ms to 10m";
    assert!(text.contains(expected), "{text}");
    let output = bellwether(&[
        "--export",
        "otlp+http://127.0.0.1:1",
        "--sample-ratio",
        "10%",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("--sample-ratio: \"10%\" is not allowed"),
        "{text}"
    );
}
