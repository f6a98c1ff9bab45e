//! What the tests with real SDKs share: run the sender, find what it sent in the collector and in Zipkin.

use std::path::Path;
use std::process::Command;

use bellwether_tests::http::get;
use bellwether_tests::peers::Zipkin;
use bellwether_tests::system::Collector;
use bellwether_tests::wait::wait_for;
use serde_json::Value;

/// Runs `script`, a path below `peers`, which prints what it sent.
pub(crate) fn send(program: &Path, script: &str, arguments: [&str; 2]) -> Value {
    send_with(program, script, arguments, &[])
}

/// The same with these variables.
pub(crate) fn send_with(
    program: &Path,
    script: &str,
    arguments: [&str; 2],
    variables: &[(&str, &str)],
) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join(script);
    let mut command = Command::new(program);
    command.arg(script).args(arguments);
    // What the machine trusts, which Python's client for HTTP would prefer to what it is told.
    for name in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    let output = command.output().expect("the sender");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Finds everything that was sent in the collector and, behind it, in Zipkin. With `typed`, attributes kept their
/// types on the way to the collector; else all of them are texts.
pub(crate) fn check_arrived(sent: &Value, collector: &Collector, zipkin: &Zipkin, typed: bool) {
    let arrived = wait_for_zipkin(zipkin, sent);
    let trace_id = sent["trace_id"].as_str().expect("an id");
    let trace = collector.wait_for_trace(trace_id, arrived.len());
    for span in sent["spans"].as_array().expect("spans") {
        check_span(span, &arrived);
        check_kept(span, &trace, typed);
    }
}

/// The spans of the trace in Zipkin, once all that were sent are there.
pub(crate) fn wait_for_zipkin(zipkin: &Zipkin, sent: &Value) -> Vec<Value> {
    let trace_id = sent["trace_id"].as_str().expect("a trace id");
    let spans = sent["spans"].as_array().expect("spans").len();
    wait_for(&format!("trace {trace_id} in Zipkin"), || {
        let url = format!("{}/api/v2/trace/{trace_id}", zipkin.url);
        let trace = get(&url).filter(|answer| answer.status == 200)?.json();
        trace
            .as_array()
            .filter(|trace| trace.len() == spans)
            .cloned()
    })
}

/// A value as Zipkin's tags have it: text.
fn as_tag(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Holds a span as an SDK told it against the same one in Zipkin's format.
pub(crate) fn check_span(sent: &Value, arrived: &[Value]) {
    let id = |span: &&Value| span["id"] == sent["span_id"];
    let span = arrived
        .iter()
        .find(id)
        .unwrap_or_else(|| panic!("no span {sent}"));
    assert_eq!(span["localEndpoint"]["serviceName"], sent["service"]);
    assert_eq!(span["parentId"], sent["parent_span_id"], "{span}");
    assert_eq!(span["kind"], sent["kind"], "{span}");
    for (key, value) in sent["attributes"].as_object().expect("attributes") {
        assert_eq!(
            span["tags"][key].as_str(),
            Some(as_tag(value).as_str()),
            "{key} of {span}"
        );
    }
    assert_eq!(span["tags"]["error"], sent["error"], "{span}");
}

fn check_kept(sent: &Value, trace: &Value, typed: bool) {
    let id = |span: &&Value| span["span_id"] == sent["span_id"];
    let spans = trace["spans"].as_array().expect("spans");
    let kept = spans
        .iter()
        .find(id)
        .unwrap_or_else(|| panic!("no span {sent}"));
    for (key, value) in sent["attributes"].as_object().expect("attributes") {
        let expected = if typed {
            value.clone()
        } else {
            as_tag(value).into()
        };
        assert_eq!(kept["attributes"][key], expected, "{key} of {kept}");
    }
}
