//! Reports made by hand, for the tests of pages and charts.

use std::collections::BTreeMap;

use super::pairs::Pairs;
use super::query::PageQuery;
use crate::views::WidestGap;
use crate::views::report::{
    Cohort, CriticalPathReport, Edge, Figures, Heatmap, Latency, Map, Node, OperationReport,
    PathPart, Segment, ServiceReport, Spark, Trace, TraceEvent, TraceLink, TraceSpan, TraceSummary,
    Window,
};

/// A name that must stay text wherever it is shown.
pub(super) const HOSTILE: &str = "<script>alert(\"x\")</script>&'";

/// What the address of a page asks for.
pub(super) fn query(pairs: &[(&str, &str)]) -> PageQuery {
    PageQuery::new(Pairs::from(pairs))
}

/// 2026-11-22 15:46:19 UTC.
pub(super) const START: u64 = 1_795_362_379_000_000_000;

pub(super) fn window() -> Window {
    Window {
        from: "2026-11-22T15:41:20Z".to_owned(),
        to: "2026-11-22T15:46:20Z".to_owned(),
        seconds: 300.0,
    }
}

pub(super) fn latency(p50: f64) -> Latency {
    Latency {
        p50: Some(p50),
        p90: Some(p50 * 2.0),
        p95: Some(p50 * 3.0),
        p99: Some(p50 * 8.0),
        p999: Some(p50 * 9.0),
        max: Some(p50 * 10.0),
    }
}

pub(super) fn spark() -> Spark {
    Spark {
        step_seconds: 10.0,
        rate: (0..30).map(|index| f64::from(index % 7)).collect(),
        p99: (0..30)
            .map(|index| (index % 5 != 0).then(|| 0.02 + 0.001 * f64::from(index)))
            .collect(),
    }
}

pub(super) fn figures(rate: f64, p50: f64) -> Figures {
    Figures {
        count: 1200,
        samples: 1200,
        rate,
        error_ratio: 0.0,
        latency: latency(p50),
    }
}

/// The five minutes before [`window`].
pub(super) fn previous() -> Window {
    Window {
        from: "2026-11-22T15:36:20Z".to_owned(),
        to: "2026-11-22T15:41:20Z".to_owned(),
        seconds: 300.0,
    }
}

pub(super) fn service(name: &str, rate: f64, p50: f64) -> ServiceReport {
    ServiceReport {
        service: name.to_owned(),
        version: Some("1.4.2".to_owned()),
        versions: 1,
        instance: None,
        now: figures(rate, p50),
        previous: None,
        spark: spark(),
    }
}

pub(super) fn services() -> Vec<ServiceReport> {
    let mut silent = service("mailer", 0.0, 0.0);
    silent.now.latency = Latency::default();
    silent.spark = Spark::default();
    let mut failing = service("checkout", 4.0, 0.012);
    failing.now.error_ratio = 0.025;
    vec![service("gateway", 12.0, 0.020), failing, silent]
}

pub(super) fn figures_by_name() -> BTreeMap<String, Figures> {
    let services = services().into_iter();
    services
        .map(|report| (report.service, report.now))
        .collect()
}

/// What the services page tells of [`map`].
pub(super) fn widest_gap() -> WidestGap {
    WidestGap {
        client: "gateway".to_owned(),
        server: "checkout".to_owned(),
        p99: 0.0098,
    }
}

pub(super) fn operations() -> Vec<OperationReport> {
    let operation = |name: &str, kind, impact| OperationReport {
        service: "checkout".to_owned(),
        operation: name.to_owned(),
        kind,
        now: figures(2.0, 0.012),
        previous: None,
        impact,
        spark: spark(),
    };
    vec![
        operation("POST /orders", "server", 0.8),
        operation(HOSTILE, "server", 0.2),
        operation("SELECT orders", "client", 0.0),
    ]
}

/// Two columns, three rows from a millisecond up.
pub(super) fn heatmap() -> Heatmap {
    Heatmap {
        window: window(),
        step_seconds: 10.0,
        times: vec![
            "2026-11-22T15:46:00Z".to_owned(),
            "2026-11-22T15:46:10Z".to_owned(),
        ],
        bounds: vec![0.001, 0.002, 0.004, 0.008],
        counts: vec![vec![100, 0, 0], vec![8, 0, 2]],
        exemplars: vec![vec![None; 3]; 2],
        nanos: vec![
            (1_000_001, 2_000_000),
            (2_000_001, 4_000_000),
            (4_000_001, 8_000_000),
        ],
    }
}

pub(super) fn critical_path() -> CriticalPathReport {
    let part = |kind, service: &str, operation: &str, typical, slow| PathPart {
        kind,
        service: service.to_owned(),
        operation: operation.to_owned(),
        typical,
        slow,
        difference: slow - typical,
    };
    let cohort = |requests, seconds| Cohort {
        requests,
        seconds,
        examples: vec!["4bf92f3577b34da6a3ce929d0e0e4736".to_owned()],
    };
    CriticalPathReport {
        operation: "POST /orders".to_owned(),
        requests: 40,
        typical: cohort(20, 0.040),
        slow: cohort(2, 0.350),
        parts: vec![
            part("call", "postgres:orders", "SELECT", 0.010, 0.280),
            part("network", "gateway", "checkout", 0.005, 0.045),
            part("work", "checkout", HOSTILE, 0.025, 0.025),
        ],
    }
}

pub(super) fn edge(client: &str, server: &str) -> Edge {
    Edge {
        client: client.to_owned(),
        server: server.to_owned(),
        called_as: None,
        count: 900,
        samples: 900,
        rate: 3.0,
        error_ratio: 0.01,
        client_p50: Some(0.0132),
        client_p90: Some(0.030),
        client_p99: Some(0.106),
        server_p50: Some(0.012),
        server_p90: Some(0.024),
        server_p99: Some(0.096),
        gap_p50: Some(0.0012),
        gap_p90: Some(0.004),
        gap_p99: Some(0.0098),
        paired: 880,
        unpaired: 12,
        unpaired_failed: 2,
        told: 0,
        told_gap_p50: None,
        told_gap_p90: None,
        told_gap_p99: None,
        negative: 3,
        retried: 5,
        asynchronous: 0,
    }
}

pub(super) fn map() -> Map {
    let node = |id: &str, kind| Node {
        id: id.to_owned(),
        kind,
    };
    let mut database = edge("checkout", "postgres:orders");
    database.paired = 0;
    database.unpaired = 900;
    (database.gap_p50, database.gap_p90, database.gap_p99) = (None, None, None);
    Map {
        window: window(),
        nodes: vec![
            node("gateway", "service"),
            node("checkout", "service"),
            node("mailer", "service"),
            node("postgres:orders", "database"),
        ],
        edges: vec![edge("gateway", "checkout"), database],
    }
}

/// A span from `from` to `to`, milliseconds after [`START`].
pub(super) fn span(
    id: &str,
    parent: Option<&str>,
    service: &str,
    kind: &'static str,
    from: u64,
    to: u64,
) -> TraceSpan {
    TraceSpan {
        span_id: id.to_owned(),
        parent_span_id: parent.map(str::to_owned),
        service: service.to_owned(),
        operation: format!("{kind} of {service}"),
        kind,
        start_unix_nano: (START + from * 1_000_000).to_string(),
        end_unix_nano: (START + to * 1_000_000).to_string(),
        duration: (to - from) as f64 / 1000.0,
        self_time: 0.001,
        status: "unset",
        status_message: String::new(),
        attributes: serde_json::Map::new(),
        resource: serde_json::Map::new(),
        events: Vec::new(),
        links: Vec::new(),
        critical: false,
        depth: 0,
    }
}

/// gateway (100 ms) calls checkout: 60 ms for the client, 50 ms for the server, 10 ms between them.
pub(super) fn trace() -> Trace {
    let mut root = span("r", None, "gateway", "server", 0, 100);
    let mut call = span("c1", Some("r"), "gateway", "client", 20, 80);
    let mut server = span("s1", Some("c1"), "checkout", "server", 26, 76);
    (call.depth, server.depth) = (1, 2);
    for span in [&mut root, &mut call, &mut server] {
        span.critical = true;
    }
    server.operation = HOSTILE.to_owned();
    server.status = "error";
    server.status_message = "card declined".to_owned();
    server
        .attributes
        .insert("http.response.status_code".to_owned(), 502.into());
    server
        .resource
        .insert("service.version".to_owned(), "1.4.2".into());
    server.events.push(TraceEvent {
        time_unix_nano: (START + 50_000_000).to_string(),
        name: "exception".to_owned(),
        attributes: [("exception.type".to_owned(), "Declined".into())]
            .into_iter()
            .collect(),
    });
    server.links.push(TraceLink {
        trace_id: "b".repeat(32),
        span_id: "c".repeat(16),
    });
    let segment = |id: &str, from: u64, to: u64| Segment {
        span_id: id.to_owned(),
        from_unix_nano: (START + from * 1_000_000).to_string(),
        to_unix_nano: (START + to * 1_000_000).to_string(),
    };
    Trace {
        trace_id: "a".repeat(32),
        duration: 0.1,
        spans: vec![root, call, server],
        critical_path: vec![
            segment("r", 0, 20),
            segment("c1", 20, 26),
            segment("s1", 26, 76),
            segment("c1", 76, 80),
            segment("r", 80, 100),
        ],
        warnings: vec!["clock skew of <1 ms>".to_owned()],
    }
}

pub(super) fn summaries() -> Vec<TraceSummary> {
    let summary = |index: u64, duration: f64, error| TraceSummary {
        trace_id: format!("{index:032x}"),
        root_service: "gateway".to_owned(),
        root_operation: "GET /".to_owned(),
        start_unix_nano: (START + index * 1_000_000).to_string(),
        duration,
        spans: 3,
        services: 2,
        error,
        root_missing: error,
    };
    vec![summary(1, 0.1, false), summary(2, 0.4, true)]
}
