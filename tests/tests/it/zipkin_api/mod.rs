//! Zipkin's query API, side by side with a real Zipkin: the same spans in, the same answers out, up to ordering. What
//! differs is in docs/zipkin-api.md, and a test here for each.

mod calls;
mod questions;

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use bellwether_tests::http::{Answer, get, post};
use bellwether_tests::peers::{self, Zipkin};
use bellwether_tests::rich;
use bellwether_tests::system::Collector;
use bellwether_tests::wait::wait_for;
use prost::Message;
use serde_json::{Value, json};

use crate::sdk::send;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];
const TRACES: u64 = 80;
const ALL: &str = "/api/v2/traces?limit=1000";

/// One that answers Zipkin's questions.
struct Asked<'a> {
    name: &'a str,
    url: String,
}

impl Asked<'_> {
    fn get(&self, path: &str) -> Answer {
        get(&format!("{}{path}", self.url)).unwrap_or_else(|| panic!("no answer to {path}"))
    }

    fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(
            answer.status,
            200,
            "{} {path}: {}",
            self.name,
            answer.text()
        );
        answer.json()
    }

    fn wait_for_spans(&self, count: usize) {
        wait_for(&format!("{count} spans in {}", self.name), || {
            (count_spans(&self.json(ALL)) == count).then_some(())
        });
    }
}

fn ours(collector: &Collector) -> Asked<'static> {
    Asked {
        name: "the collector",
        url: format!("http://127.0.0.1:{}", collector.web),
    }
}

/// At the port where its spans come in.
fn ours_beside_spans(collector: &Collector) -> Asked<'static> {
    Asked {
        name: "the collector's Zipkin port",
        url: format!("http://127.0.0.1:{}", collector.zipkin),
    }
}

/// With what Zipkin lists values of, too.
fn start(more: &[&str]) -> Collector {
    let keys = peers::AUTOCOMPLETE_KEYS.iter();
    let keys = keys.flat_map(|key| ["--autocomplete-key", key]);
    let arguments: Vec<_> = keys.chain(more.iter().copied()).collect();
    Collector::start_with(&arguments)
}

/// Everything that OTLP can say, of now.
fn send_rich(collector: &Collector) {
    let mut request = rich::request(0x71c4);
    let groups = request.resource_spans.iter_mut();
    for span in groups.flat_map(|group| {
        group
            .scope_spans
            .iter_mut()
            .flat_map(|scope| &mut scope.spans)
    }) {
        span.start_time_unix_nano = (now_micros() - 1_000_000) * 1_000;
        span.end_time_unix_nano = span.start_time_unix_nano + 2_000_000;
    }
    let url = format!("http://127.0.0.1:{}/v1/traces", collector.otlp_http);
    let answer = post(&url, &PROTOBUF, &request.encode_to_vec()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn theirs<'a>(name: &'a str, zipkin: &Zipkin) -> Asked<'a> {
    Asked {
        name,
        url: zipkin.url.clone(),
    }
}

fn count_spans(traces: &Value) -> usize {
    let traces = traces.as_array().expect("traces").iter();
    traces
        .map(|trace| trace.as_array().expect("spans").len())
        .sum()
}

fn now_micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a time after 1970").as_micros() as u64
}

fn post_spans(url: &str, spans: &[Value]) {
    let answer = post(
        &format!("{url}/api/v2/spans"),
        &JSON,
        json!(spans).to_string().as_bytes(),
    );
    let answer = answer.expect("an answer");
    assert!(answer.status < 300, "{}: {}", answer.status, answer.text());
}

/// In requests of seven that have spans of several traces, the first of them twice.
fn send_to(url: &str, traces: &[Vec<Value>]) {
    let mut spans = Vec::new();
    let longest = traces.iter().map(Vec::len).max().unwrap_or_default();
    for at in 0..longest {
        spans.extend(traces.iter().filter_map(|trace| trace.get(at)).cloned());
    }
    for request in spans.chunks(7) {
        post_spans(url, request);
    }
    post_spans(url, &spans[..7]);
}

/// With what has no order in the order of its text: lists of names, links, traces, spans.
fn sorted(mut answer: Value) -> Value {
    if let Some(items) = answer.as_array_mut() {
        for item in items.iter_mut() {
            *item = sorted(item.take());
        }
        items.sort_by_key(Value::to_string);
    }
    answer
}

/// Names, links or spans that are in `these` and not in `those`.
fn only_in(these: &Value, those: &Value) -> Vec<String> {
    fn parts(answer: &Value) -> BTreeSet<String> {
        match answer {
            Value::Array(items) => items.iter().flat_map(parts).collect(),
            item => BTreeSet::from([item.to_string()]),
        }
    }
    parts(these).difference(&parts(those)).cloned().collect()
}

fn compare(
    questions: &[String],
    ours: &Asked<'_>,
    theirs: &Asked<'_>,
    same: impl Fn(Value) -> Value,
) {
    let mut answered = 0;
    for path in questions {
        let (own, expected) = (ours.json(path), theirs.json(path));
        answered += usize::from(expected != json!([]));
        let (own, expected) = (same(own), same(expected));
        let differs =
            [(&own, &expected), (&expected, &own)].map(|(these, those)| only_in(these, those));
        assert!(
            sorted(own) == sorted(expected),
            "{path} asked of the collector and {}: only in one: {differs:#?}",
            theirs.name
        );
    }
    assert!(
        answered * 2 > questions.len(),
        "most have an answer: {answered} of {}",
        questions.len()
    );
}

#[test]
fn a_zipkin_behind_the_exporter_answers_the_same() {
    let test = "a_zipkin_behind_the_exporter_answers_the_same";
    let Some(zipkin) = peers::require(test, "Zipkin", peers::zipkin()) else {
        return;
    };
    let collector = start(&["--export", &zipkin.url.replacen("http", "zipkin+http", 1)]);
    let start = now_micros() - 1_200_000_000;
    let traces = calls::traces(TRACES, start);
    send_to(&format!("http://127.0.0.1:{}", collector.zipkin), &traces);
    send_rich(&collector);
    if let Some(python) = peers::require(test, "the Python SDK", peers::python()) {
        let grpc = format!("http://127.0.0.1:{}", collector.otlp_grpc);
        send(&python, "python/send.py", ["grpc", &grpc]);
    }
    let (ours, theirs) = (ours(&collector), theirs("a Zipkin behind it", &zipkin));
    theirs.wait_for_spans(count_spans(&ours.json(ALL)));
    compare(
        &questions::of(&ours.json(ALL), start),
        &ours,
        &theirs,
        |answer| answer,
    );
    let (refused, unknown) = (questions::refused(), questions::unknown());
    for path in refused.into_iter().chain(unknown) {
        let expected = theirs.get(path).status;
        for own in [&ours, &ours_beside_spans(&collector)] {
            let answer = own.get(path);
            let text = answer.text();
            assert_eq!(answer.status, expected, "{path} of {}: {text}", own.name);
            assert!(!text.is_empty(), "{path} of {} says nothing", own.name);
        }
    }
}

#[test]
fn a_zipkin_beside_the_collector_answers_the_same() {
    let test = "a_zipkin_beside_the_collector_answers_the_same";
    let Some(zipkin) = peers::require(test, "Zipkin", peers::zipkin()) else {
        return;
    };
    let collector = start(&[]);
    let start = now_micros() - 1_200_000_000;
    let traces = calls::traces(TRACES, start);
    for url in [
        &format!("http://127.0.0.1:{}", collector.zipkin),
        &zipkin.url,
    ] {
        send_to(url, &traces);
    }
    let (ours, theirs) = (
        ours_beside_spans(&collector),
        theirs("a Zipkin beside it", &zipkin),
    );
    theirs.wait_for_spans(count_spans(&ours.json(ALL)));
    compare(
        &questions::of(&theirs.json(ALL), start),
        &ours,
        &theirs,
        comparable,
    );
}

/// Each row of the documentation's table of differences that a span makes.
#[test]
fn what_differs_is_what_the_documentation_says() {
    let test = "what_differs_is_what_the_documentation_says";
    let Some(zipkin) = peers::require(test, "Zipkin", peers::zipkin()) else {
        return;
    };
    let collector = Collector::start_with(&["--autocomplete-key", "env"]);
    let (own, others) = (ours(&collector), theirs("a Zipkin beside it", &zipkin));
    let both = json!({"serviceName": "a", "ipv4": "10.0.0.1", "ipv6": "2001:db8::1"});
    let rows = [
        (
            json!({}),
            "/localEndpoint/serviceName",
            json!("unknown_service"),
            Value::Null,
        ),
        (
            json!({"tags": {"error": "false"}}),
            "/tags/error",
            Value::Null,
            json!("false"),
        ),
        (
            json!({"tags": {"error": ""}}),
            "/tags/otel.status_code",
            json!("ERROR"),
            Value::Null,
        ),
        (
            json!({"remoteEndpoint": {"port": 80}}),
            "/remoteEndpoint/port",
            Value::Null,
            json!(80),
        ),
        (
            json!({"localEndpoint": both}),
            "/localEndpoint/ipv6",
            Value::Null,
            json!("2001:db8::1"),
        ),
        (
            json!({"localEndpoint": both}),
            "/tags/network.local.address",
            json!("10.0.0.1"),
            Value::Null,
        ),
        (
            json!({"remoteEndpoint": {"serviceName": "B"}}),
            "/tags/peer.service",
            json!("B"),
            Value::Null,
        ),
    ];
    for (id, (members, pointer, expected, of_zipkin)) in (1_u64..).zip(rows) {
        let mut span = json!({"traceId": format!("{id:016x}"), "id": "1", "timestamp": now_micros(), "duration": 1});
        let members = members.as_object().expect("members").clone();
        span.as_object_mut().expect("a span").extend(members);
        for url in [
            &format!("http://127.0.0.1:{}", collector.zipkin),
            &zipkin.url,
        ] {
            post_spans(url, std::slice::from_ref(&span));
        }
        let path = format!("/api/v2/trace/{id:x}");
        let at = |asked: &Asked<'_>| {
            let trace = wait_for(&format!("{path} of {}", asked.name), || {
                Some(asked.get(&path)).filter(|answer| answer.status == 200)
            });
            trace.json()[0]
                .pointer(pointer)
                .cloned()
                .unwrap_or_default()
        };
        assert_eq!(
            (at(&own), at(&others)),
            (expected, of_zipkin),
            "{pointer} of {span}"
        );
    }
    assert_eq!(own.json("/api/v2/autocompleteKeys"), json!(["env"]));
    // Zipkin's UI may read it; a page of another origin may not.
    assert_eq!(
        own.get("/api/v2/services").header("cache-control"),
        Some("no-store")
    );
    assert_eq!(
        own.get("/api/v2/services")
            .header("access-control-allow-origin"),
        None
    );
    for path in ["/health", "/info"] {
        assert_eq!(
            (own.get(path).status, others.get(path).status),
            (404, 200),
            "{path}"
        );
    }
}

/// Without the tags that tell in OpenTelemetry's terms what Zipkin's own members tell, too, and without what servers'
/// halves say of being shared: the receiver tells it of those that did not and came together with their clients' halves.
fn comparable(mut answer: Value) -> Value {
    const TOLD_AGAIN: [&str; 6] = [
        "network.local.address",
        "network.local.port",
        "network.peer.address",
        "network.peer.port",
        "peer.service",
        "otel.status_code",
    ];
    match &mut answer {
        Value::Array(items) => {
            for item in items.iter_mut() {
                *item = comparable(item.take());
            }
        }
        Value::Object(span) => {
            if span.get("kind").is_some_and(|kind| kind == "SERVER") {
                span.remove("shared");
            }
            if let Some(Value::Object(tags)) = span.get_mut("tags") {
                tags.retain(|key, _| !TOLD_AGAIN.contains(&key.as_str()));
                if tags.is_empty() {
                    span.remove("tags");
                }
            }
        }
        _ => {}
    }
    answer
}
