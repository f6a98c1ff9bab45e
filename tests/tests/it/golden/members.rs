//! What OTLP cannot hold of Zipkin's spans is what docs/formats.md says.

use std::collections::BTreeSet;

use bellwether_tests::raw_sink::RawSinks;
use bellwether_tests::system::Collector;
use bellwether_tests::wait::wait_for;
use serde_json::{Value, json};

use super::formats::documented;
use super::{JSON, send};

/// Something that a span of Zipkin's may have: what it is called, what it is in OTLP, and the members that make it.
type Member = (&'static str, &'static str, bool, fn() -> Value);

const MEMBERS: &[Member] = &[
    (
        "`kind`, or none",
        "the kind; none is `INTERNAL`",
        true,
        || json!({"kind": null}),
    ),
    (
        "`timestamp`, `duration`",
        "start and end",
        true,
        || json!({"timestamp": 5, "duration": 7}),
    ),
    (
        "a `duration` of 0",
        "no end",
        false,
        || json!({"timestamp": 5, "duration": 0}),
    ),
    (
        "a `duration` alone",
        "an attribute `zipkin.duration`, in microseconds",
        true,
        || json!({"duration": 7}),
    ),
    (
        "`traceId` of 16 digits",
        "padded with zeros on the left",
        false,
        || json!({"traceId": "463ac35c9f6413ad"}),
    ),
    (
        "ids in upper case",
        "the same id",
        false,
        || json!({"id": "000000000000000A"}),
    ),
    (
        "`shared`",
        "the server half is a span of its own below its client half, with `zipkin.id` and `zipkin.parent_id`",
        true,
        || json!({"kind": "SERVER", "shared": true, "parentId": "0000000000000009"}),
    ),
    (
        "`debug`",
        "an attribute `zipkin.debug`",
        true,
        || json!({"debug": true}),
    ),
    (
        "an annotation",
        "an event",
        true,
        || json!({"annotations": [{"timestamp": 5, "value": "retry"}]}),
    ),
    (
        "a tag",
        "an attribute of text",
        true,
        || json!({"tags": {"key": "7"}}),
    ),
    (
        "a tag that is a number or boolean",
        "an attribute of that type",
        false,
        || json!({"tags": {"key": 7}}),
    ),
    (
        "a tag `error`",
        "status `ERROR`, with its text; goes out with `otel.status_code`",
        false,
        || json!({"tags": {"error": "boom"}}),
    ),
    (
        "a tag `error` of `false`",
        "nothing",
        false,
        || json!({"tags": {"error": "false"}}),
    ),
    (
        "address and port of `localEndpoint`",
        "`network.local.address`, `network.local.port`; go out as tags as well",
        false,
        || json!({"localEndpoint": {"serviceName": "shop", "ipv4": "10.0.0.1", "port": 80}}),
    ),
    (
        "`remoteEndpoint`",
        "`peer.service`, `network.peer.address`, `network.peer.port`; go out as tags as well",
        false,
        || json!({"remoteEndpoint": {"serviceName": "stock"}}),
    ),
    (
        "a second address of an endpoint",
        "left out",
        false,
        || json!({"localEndpoint": {"serviceName": "shop", "ipv4": "10.0.0.1", "ipv6": "::1"}}),
    ),
    (
        "members that Zipkin's API does not have",
        "left out",
        false,
        || json!({"sampled": true}),
    ),
];

#[test]
fn what_otlp_cannot_hold_of_zipkins_spans_is_what_the_documentation_says() {
    let sinks = RawSinks::start();
    let collector = Collector::start(&[&sinks.zipkin_url]);
    let mut rows = BTreeSet::new();
    for (number, (name, as_otlp, comes_back, members)) in (1..).zip(MEMBERS) {
        let mut sent = json!({
            "traceId": format!("{number:032x}"), "id": "0000000000000002", "name": name,
            "localEndpoint": {"serviceName": "shop"}, "tags": {},
        });
        let members = members().as_object().cloned().unwrap_or_default();
        let span = sent.as_object_mut().expect("an object");
        span.extend(members);
        span.retain(|_, value| !value.is_null());
        let body = json!([sent]).to_string();
        send(collector.zipkin, "/api/v2/spans", &JSON, body.as_bytes());
        let came = wait_for(name, || {
            let mut spans = sinks.zipkin().into_iter();
            spans.find(|span| span["name"] == *name)
        });
        assert_eq!(came == sent, *comes_back, "{name}: {sent} came as {came}");
        let comes_back = if *comes_back { "yes" } else { "no" };
        rows.insert(format!("| {name} | {as_otlp} | {comes_back} |"));
    }
    assert_eq!(documented("## Zipkin to OTLP"), rows);
}
