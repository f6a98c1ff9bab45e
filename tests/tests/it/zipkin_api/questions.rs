//! What is asked of both: every path, every parameter, for what there is to ask for.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_tests::peers::AUTOCOMPLETE_KEYS;
use serde_json::Value;

/// Questions with answers about `traces`, which began at `start` (Unix microseconds).
pub(super) fn of(traces: &Value, start: u64) -> Vec<String> {
    let traces = traces.as_array().expect("traces");
    let spans = || {
        traces
            .iter()
            .flat_map(|trace| trace.as_array().expect("spans"))
    };
    let names = |pointer: &str| -> BTreeSet<String> {
        let found = spans().filter_map(|span| span.pointer(pointer)?.as_str());
        found.map(str::to_owned).collect()
    };
    let ids = names("/traceId");
    let services = names("/localEndpoint/serviceName");
    let mut asked: Vec<String> = [
        "/api/v2/services",
        "/zipkin/api/v2/services",
        "/api/v2/autocompleteKeys",
    ]
    .map(str::to_owned)
    .into();
    for key in AUTOCOMPLETE_KEYS {
        asked.push(format!("/api/v2/autocompleteValues?key={key}"));
    }
    let mut searches: Vec<String> = [
        "",
        "spanName=all",
        "spanName=GET%20cart",
        "remoteServiceName=KAFKA",
        "remoteServiceName=postgres&annotationQuery=error",
        "annotationQuery=error",
        "annotationQuery=cache%20miss",
        "annotationQuery=error%20and%20http.method%3DGET",
        "annotationQuery=http.status_code%3D500%20and%20Wire%20Send%20and%20%20error%20",
        "annotationQuery=http.status_code%3D200%20and%20http.status_code%3D500",
        "annotationQuery=http.status_code%20and%20http.status_code%3D500",
        "annotationQuery=http.status_code%3D500%20and%20http.status_code",
        "annotationQuery=error%3D500",
        "minDuration=40000",
        "minDuration=20000&maxDuration=20500",
        "maxDuration=&minDuration=&lookback=&endTs=&spanName=",
        "unheard=of",
    ]
    .map(str::to_owned)
    .into();
    for (key, value) in tags(spans()) {
        let (key, value) = (encoded(key), encoded(value));
        searches.push(format!("annotationQuery={key}"));
        searches.push(format!("annotationQuery={key}%3D{value}"));
        searches.push(format!("annotationQuery={key}%3D{value}x"));
    }
    for service in services.iter().chain([&"FRONT-END".to_owned()]) {
        let of = format!("serviceName={service}");
        asked.push(format!("/api/v2/spans?{of}"));
        asked.push(format!("/api/v2/remoteServices?{of}"));
        for more in [
            "",
            "&spanName=put%20Stock",
            "&annotationQuery=error",
            "&remoteServiceName=redis",
            "&minDuration=30000&maxDuration=45000",
            "&spanName=work%20cart&annotationQuery=http.method",
        ] {
            searches.push(format!("{of}{more}"));
        }
    }
    let at = |seconds: u64| start / 1_000 + seconds * 1_000;
    for (end, lookback) in [(30, 20), (300, 60), (700, 700), (2_000, 1_500), (64, 1)] {
        let range = format!("endTs={}&lookback={}", at(end), lookback * 1_000);
        asked.push(format!("/api/v2/dependencies?{range}"));
        searches.push(range);
    }
    asked.push(format!("/api/v2/dependencies?endTs={}", at(3_600)));
    asked.extend(
        searches
            .iter()
            .map(|search| format!("/api/v2/traces?limit=1000&{search}")),
    );
    // Those with the newest spans, where the limit leaves some out.
    for limit in [1, 2, 5, 33] {
        asked.push(format!("/api/v2/traces?limit={limit}&endTs={}", at(500)));
        asked.push(format!(
            "/api/v2/traces?serviceName=cart&limit={limit}&endTs={}",
            at(500)
        ));
    }
    asked.push(format!("/api/v2/traces?endTs={}", at(500)));
    // Of every sort, for ids are in order.
    for id in ids.iter().step_by(3) {
        let short = id.trim_start_matches('0');
        asked.push(format!("/api/v2/trace/{id}"));
        asked.push(format!("/api/v2/trace/{short}"));
        asked.push(format!("/api/v2/trace/{id:0>32}"));
    }
    let several: Vec<_> = ids.iter().take(20).map(String::as_str).collect();
    asked.push(format!(
        "/api/v2/traceMany?traceIds={},abc",
        several.join(",")
    ));
    asked
}

/// A value of every tag that can be asked for.
fn tags<'a>(spans: impl Iterator<Item = &'a Value>) -> BTreeMap<&'a str, &'a str> {
    let tags = spans.filter_map(|span| span["tags"].as_object()).flatten();
    let texts = tags.map(|(key, value)| (key.as_str(), value.as_str().expect("a text")));
    // Neither what parts conditions nor what Zipkin's server refuses in any address.
    let can_be_asked = |text: &str| {
        let parts = text.contains(['=', '&']) || text.contains(" and ");
        !parts && text.trim() == text && !text.contains(char::is_control)
    };
    texts
        .filter(|(key, value)| !key.is_empty() && can_be_asked(key) && can_be_asked(value))
        .collect()
}

/// As in a query string.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What is no question, or about nothing that is there.
pub(super) fn refused() -> Vec<&'static str> {
    vec![
        "/api/v2/spans",
        "/api/v2/remoteServices",
        "/api/v2/traces?limit=0",
        "/api/v2/traces?limit=-1",
        "/api/v2/traces?limit=x",
        "/api/v2/traces?limit=",
        "/api/v2/traces?limit=2147483648",
        "/api/v2/traces?endTs=0",
        "/api/v2/traces?endTs=soon",
        "/api/v2/traces?endTs=9223372036854775808",
        "/api/v2/traces?lookback=0",
        "/api/v2/traces?minDuration=0",
        "/api/v2/traces?minDuration=1s",
        "/api/v2/traces?maxDuration=5",
        "/api/v2/traces?minDuration=9&maxDuration=5",
        "/api/v2/trace/xyz",
        "/api/v2/trace/ABC",
        "/api/v2/trace/000",
        "/api/v2/trace/0123456789abcdef0123456789abcdef0",
        "/api/v2/traceMany",
        "/api/v2/traceMany?traceIds=",
        "/api/v2/traceMany?traceIds=1",
        "/api/v2/traceMany?traceIds=1,1",
        "/api/v2/traceMany?traceIds=1,0000000000000001",
        "/api/v2/traceMany?traceIds=1,x",
        "/api/v2/traceMany?traceIds=1,",
        "/api/v2/dependencies",
        "/api/v2/dependencies?endTs=",
        "/api/v2/dependencies?endTs=0",
        "/api/v2/dependencies?endTs=x",
        "/api/v2/dependencies?endTs=5&lookback=0",
        "/api/v2/autocompleteValues",
        "/api/v2/autocompleteValues?key=",
    ]
}

pub(super) fn unknown() -> Vec<&'static str> {
    vec![
        "/api/v2/trace/abc",
        "/api/v2/trace/%20abc",
        "/api/v2/trace/0123456789abcdef0123456789abcdef",
        "/api/v2/trace/",
        "/api/v2/spans?serviceName=",
        "/api/v2/spans?serviceName=nobody",
        "/api/v2/spans?serviceName=nobody&serviceName=cart",
        "/api/v2/remoteServices?serviceName=",
        "/api/v2/traces?serviceName=nobody",
        "/api/v2/traces?annotationQuery=%3D",
        "/api/v2/traces?annotationQuery=%20and%20",
        "/api/v2/traceMany?traceIds=1,2",
        "/api/v2/dependencies?endTs=5",
        "/api/v2/autocompleteKeys",
        "/api/v2/autocompleteValues?key=environment",
        "/api/v2/nothing",
        "/zipkin/config.json",
    ]
}
