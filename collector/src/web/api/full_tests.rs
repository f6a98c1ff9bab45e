//! Answers in which nothing that an answer can hold is left out: each is held against `/openapi.json` field by field.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind as Kind};
use opentelemetry_proto::tonic::trace::v1::{Span, Status as SpanStatus};
use serde_json::Value;

use super::router;
use super::tests::ask_of;
use crate::status::{ExporterStatus, LogStatus, SamplingStatus, Status, now_unix_nano};
use crate::views::{Config, Views};
use crate::wire::test_support::{attribute, encode, resource_spans, span};
use crate::wire::walk;

const SECOND: u64 = 1_000_000_000;

fn send(views: &Views, service: &str, spans: Vec<Span>, at: u64) {
    let mut group = resource_spans(service, spans);
    let resource = group.resource.as_mut().unwrap();
    let origin = [("service.version", "1.4.2"), ("service.instance.id", "a")];
    let origin = origin.map(|(key, value)| attribute(key, value));
    resource.attributes.extend(origin);
    let bytes = encode(vec![group]);
    let mut spans = Vec::new();
    walk(&bytes, |span| spans.push(span)).unwrap();
    views.count(&spans, at);
}

fn of_kind(kind: Kind, mut span: Span) -> Span {
    span.kind = kind.into();
    span
}

/// A request of `gateway` that calls `stock`, which fails, and two that do not answer.
fn request(views: &Views, trace: u128, at: u64) {
    let mut call = of_kind(Kind::Client, span(trace, 2, 1));
    call.end_time_unix_nano += SECOND;
    call.attributes = vec![attribute("server.address", "stock:8080")];
    let mut silent = of_kind(Kind::Client, span(trace, 4, 1));
    silent.attributes = vec![attribute("server.address", "pay.internal")];
    let entry = span(trace, 1, 0);
    send(views, "gateway", vec![entry, call, silent], at);
    let mut answer = span(trace, 3, 2);
    answer.status = Some(SpanStatus {
        code: 2,
        message: "out of stock".to_owned(),
    });
    answer.events = vec![Event {
        name: "exception".to_owned(),
        attributes: vec![attribute("exception.type", "Sold")],
        ..Event::default()
    }];
    answer.links = vec![Link {
        trace_id: vec![7; 16],
        span_id: vec![7; 8],
        ..Link::default()
    }];
    send(views, "stock", vec![answer], at);
}

/// Ten requests in this window and ten in the one before, and an exporter and a log with something to tell.
fn full() -> Router {
    let views = Views::new(Config {
        retention: Duration::from_secs(3_600),
        trace_bytes: 1 << 20,
        view_bytes: 8 << 20,
    });
    let now = now_unix_nano();
    views.tick(now - 3_000 * SECOND);
    for trace in 1..=10 {
        request(&views, trace, now - 400 * SECOND);
    }
    for trace in 11..=20 {
        request(&views, trace, now - 20 * SECOND);
    }
    views.tick(now);
    let exporter = ExporterStatus {
        name: "otlp+grpc://localhost:9".to_owned(),
        sampling: SamplingStatus {
            rules: "failed traces".to_owned(),
            ..SamplingStatus::default()
        },
        oldest_unix_nano: (now - SECOND).into(),
        failing_unix_nano: (now - SECOND).into(),
        ..ExporterStatus::default()
    };
    exporter.last_error.set("connection refused");
    let log = LogStatus {
        directory: "/data".to_owned(),
        durability: "synced",
        ..LogStatus::default()
    };
    log.last_error.set("disk full");
    let status = Status {
        receivers: Vec::new(),
        exporters: vec![Arc::new(exporter)],
        log: Some(Arc::new(log)),
    };
    router(Arc::new(views), Arc::new(status))
}

/// What must be there, and something in it, lest the description of it be held against nothing.
const THERE: [(&str, &[&str]); 12] = [
    ("services", &["/previous/from", "/items/0/previous/p50"]),
    ("services?split=instance", &["/items/0/instance"]),
    (
        "services/gateway/operations",
        &["/items/0/previous/p50", "/items/0/spark/rate/0"],
    ),
    (
        "services/gateway/critical-path",
        &["/items/0/slow/examples/0", "/items/0/parts/0/kind"],
    ),
    (
        "services/gateway/heatmap",
        &["/times/0", "/bounds/0", "/counts/0/0", "/exemplars/0"],
    ),
    ("services/gateway/doctor?window=30m", &["/items/0/kind"]),
    (
        "map?window=30m",
        &["/nodes/0/id", "/edges/0/client", "/edges/1/gap_p50"],
    ),
    (
        "edges?client=gateway&server=stock",
        &[
            "/called_as",
            "/gap_p50",
            "/distribution/bounds/0",
            "/examples/widest_gap/0/trace_id",
        ],
    ),
    (
        "edges?client=gateway&server=pay.internal&window=30m",
        &["/client_p50", "/examples/unpaired/0/client"],
    ),
    ("traces", &["/items/0/root_service"]),
    (
        "traces/00000000000000000000000000000001",
        &[
            "/critical_path/0",
            "/spans/0/resource/service.version",
            "/spans/2/events/0/name",
            "/spans/2/links/0/span_id",
        ],
    ),
    (
        "status",
        &[
            "/exporters/0/sampling/rules",
            "/exporters/0/last_error/message",
            "/log/directory",
        ],
    ),
];

#[tokio::test]
async fn every_field_of_a_full_answer_is_as_it_is_described() {
    let api = full();
    for (path, there) in THERE {
        let (status, body) = ask_of(api.clone(), &format!("/api/v1/{path}")).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        for pointer in there {
            let value = body.pointer(pointer);
            assert!(
                value.is_some_and(|value| *value != Value::Null),
                "{path} has no {pointer}: {body:#}"
            );
        }
    }
}
