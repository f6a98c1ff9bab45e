//! What the pages and the API say of services: samples that count for several, versions and instances apart.

use serde_json::{Value, json};

use super::process::{Collector, get, post_as};

/// A request in OTLP/JSON of spans of one service, version and instance, with a `tracestate`.
fn request(version: &str, instance: &str, trace_state: &str, spans: u64) -> String {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = |id: u64| {
        json!({"traceId": format!("{id:032x}"), "spanId": format!("{id:016x}"), "name": "GET /cart", "kind": 2,
            "traceState": trace_state, "startTimeUnixNano": "1700000000000000000",
            "endTimeUnixNano": "1700000000005000000"})
    };
    let attributes = [
        text("service.name", "cart"),
        text("service.version", version),
        text("service.instance.id", instance),
    ];
    let spans: Vec<_> = (1..=spans).map(span).collect();
    let body = json!({"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [{"spans": spans}]}]});
    body.to_string()
}

fn items(collector: &Collector, path: &str) -> Value {
    let (status, body) = get(&collector.web(path));
    assert_eq!(status, 200, "{body}");
    let mut answer: Value = serde_json::from_str(&body).unwrap();
    answer["items"].take()
}

#[test]
fn versions_are_apart_and_samples_count_for_what_they_stand_for() {
    let collector = Collector::start(&[]);
    let send = |body: String| {
        let (status, answer) = post_as("application/json", &collector.traces(), body.as_bytes());
        assert_eq!(status, 200, "{answer}");
    };
    send(request("1.0", "a", "ot=th:c", 5));
    send(request("2.0", "b", "", 3));

    let whole = items(&collector, "/api/v1/services");
    assert_eq!(
        (
            &whole[0]["count"],
            &whole[0]["samples"],
            &whole[0]["versions"]
        ),
        (&json!(23), &json!(8), &json!(2))
    );
    let operations = items(&collector, "/api/v1/services/cart/operations");
    assert_eq!(operations[0]["count"], 23);
    for (split, values) in [("version", ["1.0", "2.0"]), ("instance", ["a", "b"])] {
        let parts = items(&collector, &format!("/api/v1/services?split={split}"));
        let shown = |at: usize| (parts[at][split].clone(), parts[at]["count"].clone());
        assert_eq!(shown(0), (json!(values[0]), json!(20)));
        assert_eq!(shown(1), (json!(values[1]), json!(3)));
    }

    let (_, page) = get(&collector.web("/services/cart"));
    assert!(
        page.contains(">Versions<") && page.contains(">2.0<"),
        "{page}"
    );
    assert!(
        page.contains("estimated from 1\u{a0}in\u{a0}2.9 on average"),
        "{page}"
    );
    let (_, page) = get(&collector.web("/?split=instance&q=a"));
    assert!(
        page.contains("≈\u{a0}") && page.contains("What changed is not known"),
        "{page}"
    );
}
