//! Questions over HTTP (in process) about spans as Zipkin's senders have them, or as OTLP's.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::budget::Budget;
use crate::status::now_unix_nano;
use crate::views::Config;
use crate::wire::any_request::any_request;
use crate::wire::test_support::{attribute, encode, resource_spans};
use crate::wire::{test_support, walk, zipkin_json};

/// Unix microseconds.
const START: u64 = 1_700_000_000_000_000;
const RANGE: &str = "endTs=1700000100000";
/// Of an answer, where there is memory enough.
const MOST_BYTES: usize = 16 << 20;

fn empty() -> Queries {
    let views = Views::new(Config {
        retention: Duration::from_secs(3600),
        trace_bytes: 64 << 20,
        view_bytes: 1 << 20,
    });
    Queries {
        views: Arc::new(views),
        autocomplete_keys: Arc::from(["env".to_owned()]),
        reports: Reports::default(),
    }
}

fn keep(queries: &Queries, otlp: &[u8]) {
    let mut spans = Vec::new();
    walk(otlp, |span| spans.push(span)).unwrap();
    queries.views.count(&spans, now_unix_nano());
}

/// A span of a sender of Zipkin's, with `more`.
fn span(trace: u64, id: u64, more: &Value) -> Value {
    let mut span = json!({"traceId": format!("{trace:x}"), "id": format!("{id:x}"), "timestamp": START + id, "duration": 10});
    let more = more.as_object().cloned().unwrap_or_default();
    span.as_object_mut().unwrap().extend(more);
    span
}

fn of(spans: &[Value]) -> Queries {
    let queries = empty();
    for span in spans {
        keep(
            &queries,
            &zipkin_json(json!([span]).to_string().as_bytes(), 1 << 24).unwrap(),
        );
    }
    queries
}

async fn ask_by(method: Method, queries: &Queries, path: &str) -> (u16, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty());
    let response = router(queries.clone())
        .oneshot(request.unwrap())
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let kind = parts
        .headers
        .get("content-type")
        .map(|kind| kind.to_str().unwrap());
    let expected = if parts.status.is_success() {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    assert_eq!(kind, Some(expected), "{path}: {text}");
    (parts.status.as_u16(), text)
}

async fn ask(queries: &Queries, path: &str) -> (u16, String) {
    ask_by(Method::GET, queries, path).await
}

async fn answer(queries: &Queries, path: &str) -> Value {
    let (status, text) = ask(queries, path).await;
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// The traces that a search finds, by their ids, in its order.
async fn found(queries: &Queries, search: &str) -> Vec<u64> {
    let traces = answer(queries, &format!("/api/v2/traces?{RANGE}&{search}")).await;
    let ids = traces
        .as_array()
        .unwrap()
        .iter()
        .map(|trace| trace[0]["traceId"].as_str().unwrap());
    ids.map(|id| u64::from_str_radix(id, 16).unwrap()).collect()
}

#[tokio::test]
async fn spans_are_what_zipkin_makes_of_them() {
    let queries = of(&[span(
        0xa1,
        1,
        &json!({
            "kind": "CLIENT", "name": "GET /A", "parentId": "1",
            "localEndpoint": {"serviceName": "Front", "ipv6": "2001:DB8:0:0:0:0:0:1", "port": 80},
            "remoteEndpoint": {"serviceName": "BACK", "ipv6": "::FFFF:1.2.3.4"},
            "annotations": [{"timestamp": 5, "value": "b"}, {"timestamp": 3, "value": "z"}, {"timestamp": 5, "value": "a"},
                            {"timestamp": 5, "value": "b"}],
            "tags": {"Key": "Value"},
        }),
    )]);
    let mut trace = answer(&queries, "/api/v2/trace/a1").await;
    let tags = trace[0].as_object_mut().unwrap().remove("tags").unwrap();
    assert_eq!(tags["Key"], "Value");
    assert_eq!(
        trace,
        json!([{
            "traceId": "00000000000000a1", "id": "0000000000000001", "kind": "CLIENT", "name": "get /a",
            "timestamp": START + 1, "duration": 10,
            "localEndpoint": {"serviceName": "front", "ipv6": "2001:db8::1", "port": 80},
            "remoteEndpoint": {"serviceName": "back", "ipv4": "1.2.3.4"},
            "annotations": [{"timestamp": 3, "value": "z"}, {"timestamp": 5, "value": "a"}, {"timestamp": 5, "value": "b"}],
        }])
    );
}

#[tokio::test]
async fn a_span_that_was_sent_twice_is_there_once() {
    let one = |id| {
        span(
            1,
            id,
            &json!({"name": "x", "localEndpoint": {"serviceName": "s"}}),
        )
    };
    let queries = of(&[one(2), one(1), one(2), span(1, 2, &json!({"name": "y"}))]);
    let trace = answer(&queries, "/api/v2/trace/1").await;
    let names: Vec<_> = trace
        .as_array()
        .unwrap()
        .iter()
        .map(|span| (&span["id"], &span["name"]))
        .collect();
    let text = |name: &str| Value::from(name);
    let (one, two) = (&text("0000000000000001"), &text("0000000000000002"));
    let (x, y) = (&text("x"), &text("y"));
    assert_eq!(names, [(two, x), (one, x), (two, y)]);
}

#[tokio::test]
async fn a_trace_is_found_by_every_condition_and_only_so() {
    let shop = json!({"serviceName": "Shop"});
    let queries = of(&[
        span(
            1,
            1,
            &json!({"name": "GET", "localEndpoint": shop, "remoteEndpoint": {"serviceName": "DB"},
            "tags": {"http.method": "GET", "error": ""}, "annotations": [{"timestamp": 1, "value": "cache miss"}]}),
        ),
        span(
            1,
            2,
            &json!({"name": "put", "localEndpoint": {"serviceName": "stock"}, "duration": 500, "tags": {"x": "1"}}),
        ),
        // The newest of its spans counts, and its root, whenever they come.
        span(
            2,
            7,
            &json!({"name": "late", "parentId": "3", "localEndpoint": shop}),
        ),
        span(
            2,
            3,
            &json!({"name": "get", "localEndpoint": shop, "timestamp": START - 5_000_000}),
        ),
        span(
            3,
            5,
            &json!({"name": "none", "localEndpoint": shop, "timestamp": null}),
        ),
    ]);
    for (search, expected) in [
        ("", vec![2, 1]),
        ("limit=1", vec![2]),
        ("limit=1000000", vec![2, 1]),
        ("serviceName=SHOP", vec![2, 1]),
        ("serviceName=shop&serviceName=stock", vec![2, 1]),
        ("serviceName=stock", vec![1]),
        ("serviceName=&spanName=", vec![2, 1]),
        ("spanName=all", vec![2, 1]),
        ("spanName=Put", vec![1]),
        ("serviceName=shop&spanName=put", vec![]),
        ("remoteServiceName=db", vec![1]),
        ("serviceName=stock&remoteServiceName=db", vec![]),
        ("annotationQuery=error", vec![1]),
        (
            "annotationQuery=cache%20miss%20and%20http.method%3DGET",
            vec![1],
        ),
        (
            "annotationQuery=cache%20miss%20and%20http.method%3DPUT",
            vec![],
        ),
        ("annotationQuery=http.method%3Dget", vec![]),
        (
            "annotationQuery=http.method%3DPUT%20and%20http.method%3DGET",
            vec![1],
        ),
        (
            "annotationQuery=http.method%20and%20http.method%3DPUT",
            vec![],
        ),
        (
            "annotationQuery=http.method%3DPUT%20and%20http.method",
            vec![],
        ),
        (
            "annotationQuery=%20error%20%20and%20x%20%3D%201%20",
            vec![1],
        ),
        ("serviceName=shop&annotationQuery=x", vec![]),
        ("annotationQuery=%20and%20", vec![]),
        ("minDuration=11", vec![1]),
        ("minDuration=10&maxDuration=499", vec![2, 1]),
        ("minDuration=11&maxDuration=499", vec![]),
        ("minDuration=500&maxDuration=500", vec![1]),
        ("serviceName=shop&minDuration=11", vec![]),
        ("lookback=100000", vec![1]),
        ("lookback=99999", vec![]),
        ("lookback=105000", vec![2, 1]),
    ] {
        assert_eq!(found(&queries, search).await, expected, "{search}");
    }
    let long_ago = answer(&queries, "/api/v2/traces").await;
    assert_eq!(long_ago, json!([]), "by default only those of the last day");
}

#[tokio::test]
async fn names_are_listed_once_in_lower_case_and_in_order() {
    let at = |service: &str| json!({"serviceName": service});
    let queries = of(&[
        span(
            1,
            1,
            &json!({"name": "PUT", "localEndpoint": at("B"), "remoteEndpoint": at("DB"), "tags": {"env": "prod"}}),
        ),
        span(
            1,
            2,
            &json!({"name": "get", "localEndpoint": at("b"), "remoteEndpoint": at("db"), "tags": {"env": "Dev", "x": "y"}}),
        ),
        span(
            2,
            3,
            &json!({"localEndpoint": at("a"), "tags": {"env": "prod"}}),
        ),
    ]);
    for (path, expected) in [
        ("services", json!(["a", "b"])),
        ("spans?serviceName=B", json!(["get", "put"])),
        ("spans?serviceName=a", json!([])),
        ("spans?serviceName=", json!([])),
        ("remoteServices?serviceName=b", json!(["db"])),
        ("remoteServices?serviceName=c", json!([])),
        ("autocompleteKeys", json!(["env"])),
        ("autocompleteValues?key=env", json!(["Dev", "prod"])),
        ("autocompleteValues?key=x", json!([])),
    ] {
        for root in ["/api/v2", "/zipkin/api/v2"] {
            assert_eq!(
                answer(&queries, &format!("{root}/{path}")).await,
                expected,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_question_is_refused_by_name() {
    let queries = of(&[span(1, 1, &json!({}))]);
    let long = "1".repeat(33);
    let many = (1..=1_001)
        .map(|id| format!("{id:x}"))
        .collect::<Vec<_>>()
        .join(",");
    for (path, expected) in [
        ("/api/v2/spans", "serviceName is missing"),
        (
            "/api/v2/traces?limit=0",
            "limit must be a whole number from 1 to 2147483647, not \"0\"",
        ),
        ("/api/v2/traces?limit=", "limit must"),
        ("/api/v2/traces?limit=2147483648", "limit must"),
        ("/api/v2/traces?endTs=x", "endTs must"),
        ("/api/v2/traces?endTs=9223372036854775808", "endTs must"),
        ("/api/v2/traces?lookback=-1", "lookback must"),
        ("/api/v2/traces?minDuration=0", "minDuration must"),
        (
            "/api/v2/traces?maxDuration=1",
            "only taken with minDuration",
        ),
        ("/api/v2/traces?minDuration=2&maxDuration=1", "not be below"),
        ("/api/v2/trace/G", "1 to 32 digits"),
        ("/api/v2/trace/A", "1 to 32 digits"),
        ("/api/v2/trace/0", "1 to 32 digits"),
        (&format!("/api/v2/trace/{long}"), "1 to 32 digits"),
        ("/api/v2/trace/%FF", "UTF-8"),
        ("/api/v2/traceMany", "traceIds is missing"),
        ("/api/v2/traceMany?traceIds=1", "/api/v2/trace/{traceId}"),
        ("/api/v2/traceMany?traceIds=1,01", "01 is there twice"),
        (
            &format!("/api/v2/traceMany?traceIds={many}"),
            "more than 1000",
        ),
        ("/api/v2/dependencies", "endTs is missing"),
        ("/api/v2/dependencies?endTs=", "endTs is missing"),
        ("/api/v2/dependencies?endTs=1&lookback=0", "lookback must"),
        ("/api/v2/autocompleteValues?key=", "key is empty"),
    ] {
        let (status, text) = ask(&queries, path).await;
        assert_eq!(status, 400, "{path}: {text}");
        assert!(text.contains(expected), "{path}: {text}");
    }
    let (status, text) = ask(&queries, "/api/v2/trace/2").await;
    assert_eq!((status, text.as_str()), (404, "2 not found"));
    let (status, text) = ask_by(Method::DELETE, &queries, "/api/v2/services").await;
    assert_eq!(
        (status, text.as_str()),
        (405, "this is only read: ask with GET")
    );
}

#[tokio::test]
async fn ids_of_64_bits_are_those_of_128_with_zeros() {
    let queries = of(&[span(0xa1, 1, &json!({}))]);
    let id = format!("{:032x}", 0xa1);
    for id in ["a1", "0a1", "00000000000000a1", id.as_str(), "%20a1%20"] {
        assert_eq!(
            answer(&queries, &format!("/api/v2/trace/{id}")).await[0]["traceId"],
            "00000000000000a1"
        );
    }
    let (status, _) = ask(&queries, "/api/v2/trace/100000000000000000000000000000a1").await;
    assert_eq!(status, 404);
    let both = answer(&queries, "/api/v2/traceMany?traceIds=a1,a2").await;
    assert_eq!(both.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn links_are_counted_by_the_lower_half_of_the_trace_id() {
    let client =
        json!({"kind": "CLIENT", "localEndpoint": {"serviceName": "a"}, "tags": {"error": "x"}});
    let mut server = span(
        7,
        2,
        &json!({"kind": "SERVER", "parentId": "1", "localEndpoint": {"serviceName": "B"}}),
    );
    server["traceId"] = format!("1{:031x}", 7).into();
    let queries = of(&[span(7, 1, &client), server]);
    let path = format!("/api/v2/dependencies?{RANGE}");
    let links = answer(&queries, &path).await;
    assert_eq!(
        links,
        json!([{"parent": "a", "child": "b", "callCount": 1, "errorCount": 1}])
    );
    let nothing = answer(&queries, &format!("{path}&lookback=99999")).await;
    assert_eq!(nothing, json!([]));
}

/// Each as a Zipkin counts it; `tests/tests/it/zipkin_api` asks one about many more.
#[tokio::test]
async fn calls_are_counted_once_whoever_told_of_them() {
    let (client, server) = (Some("CLIENT"), Some("SERVER"));
    let part = |id, parent: u64, kind: Option<&str>, service: &str, remote: &str| {
        span(
            7,
            id,
            &json!({
                "parentId": (parent > 0).then(|| format!("{parent:x}")), "kind": kind,
                "localEndpoint": {"serviceName": service}, "remoteEndpoint": {"serviceName": remote},
            }),
        )
    };
    let shared = |mut half: Value| {
        half["shared"] = true.into();
        half
    };
    for (spans, expected) in [
        (vec![part(1, 0, server, "a", "")], vec![]),
        (vec![part(1, 0, server, "a", "web")], vec!["web a 1"]),
        (vec![part(1, 0, client, "a", "db")], vec!["a db 1"]),
        (vec![part(1, 0, None, "a", "redis")], vec!["a redis 1"]),
        (
            vec![
                part(1, 0, client, "a", "proxy"),
                part(2, 1, server, "b", ""),
            ],
            vec!["a b 1"],
        ),
        (
            vec![
                part(1, 0, Some("PRODUCER"), "a", "kafka"),
                part(2, 1, Some("CONSUMER"), "b", "kafka"),
            ],
            vec!["a kafka 1", "kafka b 1"],
        ),
        // Work of a server below the id that it shares, and a call out of that.
        (
            vec![
                part(1, 0, client, "a", "b"),
                shared(part(1, 0, server, "b", "")),
                part(2, 1, None, "b", ""),
                part(3, 2, client, "b", "db"),
            ],
            vec!["a b 1", "b db 1"],
        ),
        // Whoever is above work inside a service called.
        (
            vec![
                part(1, 0, client, "a", ""),
                part(2, 1, None, "a", ""),
                part(3, 2, server, "c", ""),
            ],
            vec!["a c 1"],
        ),
        // A half that does not say that it is one.
        (
            vec![part(1, 0, client, "a", ""), part(1, 0, server, "b", "")],
            vec!["a b 1"],
        ),
        // A span in two pieces.
        (
            vec![part(1, 0, client, "a", ""), part(1, 0, client, "a", "db")],
            vec!["a db 1"],
        ),
        // Its server sent nothing, but what it called did.
        (
            vec![part(1, 0, client, "a", "b"), part(2, 1, client, "b", "db")],
            vec!["a b 1", "b db 1"],
        ),
        // Nobody above is known, and who is their parent is not there.
        (
            vec![part(2, 9, server, "b", ""), part(3, 9, client, "c", "db")],
            vec!["c db 1"],
        ),
        // A circle has no top.
        (
            vec![part(1, 2, client, "a", "b"), part(2, 1, client, "b", "a")],
            vec![],
        ),
    ] {
        let links = answer(&of(&spans), &format!("/api/v2/dependencies?{RANGE}")).await;
        let links = links.as_array().unwrap().iter().map(|link| {
            let text = |key: &str| link[key].as_str().unwrap();
            format!("{} {} {}", text("parent"), text("child"), link["callCount"])
        });
        assert_eq!(links.collect::<Vec<_>>(), expected, "{spans:#?}");
    }
}

/// Senders choose their ids: what is counted together is bounded, whatever they make one trace of.
#[tokio::test]
async fn spans_that_share_half_an_id_are_counted_up_to_a_bound() {
    let queries = empty();
    let path = format!("/api/v2/dependencies?{RANGE}");
    // The first of them is the root; below a client that has children its server would be counted.
    let called = json!([{"parent": "here", "child": "there", "callCount": 7_999}]);
    for (upper, expected) in [(1, None), (2, Some(called)), (3, Some(json!([])))] {
        let span = |id| {
            let mut span = test_support::span(upper << 64 | 7, (upper as u64) << 32 | id, 0);
            span.kind = 3;
            span.attributes = vec![attribute("peer.service", "there")];
            span
        };
        keep(
            &queries,
            &encode(vec![resource_spans(
                "here",
                (1..=4_000).map(span).collect(),
            )]),
        );
        if let Some(expected) = expected {
            assert_eq!(answer(&queries, &path).await, expected, "{upper}");
        }
    }
}

/// A few bytes of OTLP are many of Zipkin's, since each span repeats its resource.
#[tokio::test]
async fn answers_are_bounded_whatever_was_sent() {
    let queries = empty();
    let spans_of =
        |trace: u128, count: u64| (1..=count).map(move |id| test_support::span(trace, id, 0));
    let large = |spans: Vec<_>| {
        let mut group = resource_spans("wide", spans);
        let note = attribute("note", &"x".repeat(30_000));
        group.resource.as_mut().unwrap().attributes.push(note);
        encode(vec![group])
    };
    keep(&queries, &large(spans_of(1, 600).collect()));
    for trace in 2..20 {
        keep(&queries, &large(spans_of(trace, 100).collect()));
    }
    let (status, text) = ask(&queries, "/api/v2/trace/1").await;
    assert_eq!(status, 500, "{text}");
    assert!(
        text.contains("16 MiB") && text.contains("/api/v1/traces/"),
        "{text}"
    );
    let (status, text) = ask(&queries, &format!("/api/v2/traces?limit=20&{RANGE}")).await;
    assert_eq!(status, 200);
    assert!(text.len() <= MOST_BYTES + 1, "{}", text.len());
    let traces: Vec<Vec<Value>> = serde_json::from_str(&text).unwrap();
    assert!((4..18).contains(&traces.len()), "{}", traces.len());
    assert!(
        traces.iter().all(|trace| trace.len() == 100),
        "whole ones only"
    );
    let ids = (1..20)
        .map(|id| format!("{id:x}"))
        .collect::<Vec<_>>()
        .join(",");
    let (status, _) = ask(&queries, &format!("/api/v2/traceMany?traceIds={ids}")).await;
    assert_eq!(status, 500);
    assert_eq!(answer(&queries, "/api/v2/services").await, json!(["wide"]));
}

/// What is gathered and written counts with the bodies of spans under way, which come first.
#[tokio::test]
async fn answers_take_the_memory_that_spans_under_way_leave() {
    let bodies = Budget::new(8 << 20);
    let queries = Queries {
        reports: Reports::new(bodies.clone()),
        ..empty()
    };
    for (trace, count) in [(1, 50), (2, 200)] {
        let spans = (1..=count).map(|id| test_support::span(trace, id, 0));
        let mut group = resource_spans("wide", spans.collect());
        let note = attribute("note", &"x".repeat(30_000));
        group.resource.as_mut().unwrap().attributes.push(note);
        keep(&queries, &encode(vec![group]));
    }
    let (status, text) = ask(&queries, "/api/v2/trace/1").await;
    assert_eq!((status, text.len() / 1_000_000), (200, 1));
    let (status, text) = ask(&queries, "/api/v2/trace/2").await;
    assert_eq!(status, 500, "half of the memory is too little: {text}");
    assert!(text.contains("4 MiB"), "{text}");
    assert_eq!(bodies.used(), 0);

    let under_way = bodies.reserve(bodies.limit() - 100_000).unwrap();
    for path in [
        "/api/v2/trace/1".to_owned(),
        "/api/v2/traceMany?traceIds=1,7".to_owned(),
        format!("/api/v2/traces?{RANGE}"),
    ] {
        let (status, text) = ask(&queries, &path).await;
        assert_eq!(status, 503, "{path}: {text}");
        assert!(text.contains("ask again in 5 seconds"), "{text}");
    }
    assert_eq!(answer(&queries, "/api/v2/services").await, json!(["wide"]));
    assert_eq!(bodies.used(), under_way.bytes());
    drop(under_way);
    let (status, _) = ask(&queries, "/api/v2/traceMany?traceIds=1,7").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn services_go_with_their_traces() {
    let views = Views::new(Config {
        retention: Duration::from_secs(60),
        trace_bytes: 1 << 20,
        view_bytes: 1 << 20,
    });
    let queries = Queries {
        views: Arc::new(views),
        autocomplete_keys: Arc::default(),
        reports: Reports::default(),
    };
    for (service, seconds) in [("old", 1_000), ("new", 2_000)] {
        let bytes = encode(vec![resource_spans(
            service,
            vec![test_support::span(seconds, 1, 0)],
        )]);
        let mut spans = Vec::new();
        walk(&bytes, |span| spans.push(span)).unwrap();
        queries.views.count(&spans, seconds as u64 * 1_000_000_000);
    }
    assert_eq!(answer(&queries, "/api/v2/services").await, json!(["new"]));
}

#[tokio::test]
async fn the_ui_finds_its_configuration() {
    let config = answer(&empty(), "/zipkin/config.json").await;
    assert_eq!(config["searchEnabled"], true);
    assert_eq!(config["defaultLookback"], 900_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was taken can be asked for, and every answer is JSON.
    #[test]
    fn any_spans_are_answered(request in any_request()) {
        let queries = empty();
        keep(&queries, &request.encode_to_vec());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let listed = answer(&queries, "/api/v2/services").await;
            for id in queries.views.kept_trace_ids() {
                let path = format!("/api/v2/trace/{:032x}", u128::from_be_bytes(id));
                let trace = answer(&queries, &path).await;
                for span in trace.as_array().unwrap() {
                    let service = &span["localEndpoint"]["serviceName"];
                    assert!(listed.as_array().unwrap().contains(service), "{service} in {listed}");
                }
            }
            let most = "endTs=9223372036854775807&lookback=9223372036854775807";
            answer(&queries, &format!("/api/v2/traces?limit=100&{most}")).await;
            answer(&queries, &format!("/api/v2/dependencies?{most}")).await;
            answer(&queries, "/api/v2/autocompleteValues?key=env").await;
        });
    }
}
