//! What Grafana's Tempo data source asks Prometheus for its service graph and its table of span metrics (Grafana
//! documentation, "Service Graph and Service Graph view"), word for word, of a Prometheus that scrapes the collector
//! while the demo's services call each other: answers are there, and say what the collector's own API says.

use std::collections::BTreeMap;

use bellwether_tests::http::{get_with, post};
use bellwether_tests::peers;
use bellwether_tests::prometheus::{self, Prometheus};
use bellwether_tests::system::{Calculator, Collector};
use bellwether_tests::wait::wait_for;
use serde_json::{Value, json};

/// Few, so that every series has a first value before what is compared is counted.
const FIRST: usize = 3;
const REQUESTS: usize = 200;
/// Calls add, multiply and divide.
const EXPRESSION: &str = "(1+2)*3/4";
/// `$__range`.
const RANGE: &str = "5m";
const OPERATIONS: [&str; 3] = ["add", "divide", "multiply"];

struct Scraped {
    collector: Collector,
    prometheus: Prometheus,
    /// Requests answered until now.
    requests: usize,
}

/// All that was called is in Prometheus, and was counted while it scraped.
fn scraped(feature: &str) -> Scraped {
    let collector = Collector::start(&[]);
    let prometheus = Prometheus::start(feature, &[format!("127.0.0.1:{}", collector.web)]);
    let calculator = Calculator::start(&format!("http://127.0.0.1:{}", collector.otlp_http));
    let mut scraped = Scraped {
        collector,
        prometheus,
        requests: 0,
    };
    for more in [FIRST, REQUESTS] {
        for _ in 0..more {
            assert_eq!(calculator.calculate(EXPRESSION, &[]).status, 200);
        }
        scraped.requests += more;
        scraped.wait_for_all();
    }
    scraped
}

impl Scraped {
    fn wait_for_all(&self) {
        let calls = "sum(traces_service_graph_request_total{client=\"api\"})";
        let wanted = (self.requests * OPERATIONS.len()) as f64;
        wait_for("every call in Prometheus", || {
            self.prometheus
                .value(calls)
                .filter(|calls| *calls == wanted)
        });
    }

    /// By the values of some labels, separated by spaces.
    fn ask(&self, query: &str, labels: &[&str]) -> BTreeMap<String, f64> {
        let query = query
            .replace("$__range", RANGE)
            .replace("$__rate_interval", RANGE);
        let answer = self.prometheus.query(&query);
        assert!(!answer.is_empty(), "nothing for {query}");
        let named = answer.iter().map(|series| {
            let label = |name: &&str| series["metric"][*name].as_str().unwrap_or_default();
            let names: Vec<_> = labels.iter().map(label).collect();
            let value = series["value"][1]
                .as_str()
                .and_then(|value| value.parse().ok());
            (names.join(" "), value.unwrap_or(f64::NAN))
        });
        named.collect()
    }

    /// The edges of the map, by client and server.
    fn edges(&self) -> BTreeMap<String, Value> {
        let map = self.collector.api("/map?window=5m");
        let edges = map["edges"].as_array().expect("edges").clone();
        let named = edges.into_iter().map(|edge| {
            let end = |name| edge[name].as_str().expect("a name").to_owned();
            (format!("{} {}", end("client"), end("server")), edge)
        });
        named.collect()
    }

    /// The operations of all services that are calls from outside, by name.
    fn operations(&self) -> BTreeMap<String, Value> {
        let services = ["api", "add", "divide", "multiply"];
        let rows = services.into_iter().flat_map(|service| {
            let path = format!("/services/{service}/operations?window=5m");
            let rows = self.collector.api(&path)["items"]
                .as_array()
                .expect("rows")
                .clone();
            rows.into_iter().filter(|row| row["kind"] == "server")
        });
        rows.map(|row| (row["operation"].as_str().expect("a name").to_owned(), row))
            .collect()
    }
}

/// What was counted since the first value, over the range: ends are extrapolated, by a scrape's interval at most.
fn check_rate(rate: f64, requests: usize, of: &str) {
    let counted = rate * 300.0;
    let expected = requests as f64;
    assert!(
        (0.85..1.15).contains(&(counted / expected)),
        "{of}: {counted}, not {expected}"
    );
}

fn number(row: &Value, name: &str) -> f64 {
    row[name]
        .as_f64()
        .unwrap_or_else(|| panic!("{name} of {row}"))
}

#[test]
fn grafanas_queries_find_the_service_graph_and_span_metrics() {
    let test = "grafanas_queries_find_the_service_graph_and_span_metrics";
    if peers::require(test, "Prometheus", prometheus::installed()).is_none() {
        return;
    }
    let scraped = scraped("exemplar-storage");
    check_graph(&scraped);
    check_table(&scraped);
    check_quantiles(
        &scraped,
        |metric| format!("{metric}_bucket"),
        ["le"].as_slice(),
        2.01,
    );
    check_exemplars(&scraped);
    assert_eq!(scraped.prometheus.complaints(), [""; 0]);
}

#[test]
fn grafanas_queries_for_native_histograms_find_them() {
    let test = "grafanas_queries_for_native_histograms_find_them";
    if peers::require(test, "Prometheus", prometheus::installed()).is_none() {
        return;
    }
    let scraped = scraped("native-histograms");
    // At schema 3 the ends of a bucket are 2^(1/8) apart, and 0.7 % is what the bounds are off.
    check_quantiles(&scraped, str::to_owned, &[], 1.0906 * 1.007);
    let by_edge =
        "histogram_count(sum by (client, server) (traces_service_graph_request_server_seconds))";
    for (edge, count) in scraped.ask(by_edge, &["client", "server"]) {
        assert_eq!(count, number(&scraped.edges()[&edge], "count"), "{edge}");
    }
    assert_eq!(scraped.prometheus.complaints(), [""; 0]);
}

/// The nodes and edges of the graph.
fn check_graph(scraped: &Scraped) {
    let ends = ["client", "server"];
    let edges = scraped.edges();
    let sum = |metric: &str| {
        scraped.ask(
            &format!("sum by (client, server) (rate({metric}[$__range]))"),
            &ends,
        )
    };
    let totals = sum("traces_service_graph_request_total");
    let failed = sum("traces_service_graph_request_failed_total");
    let seconds = sum("traces_service_graph_request_server_seconds_sum");
    let buckets = sum("traces_service_graph_request_server_seconds_bucket");
    assert!(totals.keys().eq(edges.keys()), "{totals:?}, {edges:?}");
    assert_eq!(edges.len(), OPERATIONS.len());
    for (name, edge) in &edges {
        check_rate(totals[name], REQUESTS, name);
        assert_eq!(
            (failed[name], number(edge, "error_ratio")),
            (0.0, 0.0),
            "{name}"
        );
        assert!(buckets[name] > 0.0);
        // What Grafana shows on the edge.
        let mean = seconds[name] / totals[name];
        assert!(
            mean > 0.0 && mean < 10.0 * number(edge, "server_p99"),
            "{name}: {mean} s"
        );
    }
    let counted = scraped.ask(
        "sum by (client, server) (traces_service_graph_request_total)",
        &ends,
    );
    for (name, count) in counted {
        assert_eq!(count, number(&edges[&name], "count"), "{name}");
    }
    let labelled =
        "group by (client, connection_type, server) (traces_service_graph_request_total)";
    for name in scraped.ask(labelled, &["connection_type"]).keys() {
        assert_eq!(name, "", "services make spans of their own");
    }
    let gaps = scraped.ask(
        "sum by (client, server) (traces_service_graph_network_gap_seconds_count)",
        &ends,
    );
    for (name, count) in gaps {
        assert_eq!(count, number(&edges[&name], "paired"), "{name}");
    }
}

/// The table beneath: rate, errors and duration by span name.
fn check_table(scraped: &Scraped) {
    let operations = scraped.operations();
    let rates = "topk(5, sum(rate(traces_spanmetrics_calls_total{span_kind=\"SPAN_KIND_SERVER\"}[$__range])) by (span_name))";
    let rates = scraped.ask(rates, &["span_name"]);
    assert!(
        rates.keys().eq(operations.keys()),
        "{rates:?}, {operations:?}"
    );
    for (name, rate) in &rates {
        check_rate(*rate, REQUESTS, name);
        let duration = format!(
            "histogram_quantile(.9, sum(rate(traces_spanmetrics_latency_bucket{{span_name=~\"{name}\"}}[$__range])) by (le))"
        );
        let shown = scraped.ask(&duration, &[])[""];
        let api = number(&operations[name], "p90");
        assert!(
            (0.4..2.5).contains(&(shown / api)),
            "{name}: {shown} s, {api} s"
        );
    }
    let counted =
        "sum(traces_spanmetrics_calls_total{span_kind=\"SPAN_KIND_SERVER\"}) by (span_name)";
    for (name, count) in scraped.ask(counted, &["span_name"]) {
        assert_eq!(count, number(&operations[&name], "count"), "{name}");
    }
    let statuses = scraped.ask(
        "sum(traces_spanmetrics_calls_total) by (status_code)",
        &["status_code"],
    );
    assert!(statuses.keys().eq(["STATUS_CODE_UNSET"]), "{statuses:?}");
}

/// Of everything since the start, so that they are of the same values as the API's.
fn check_quantiles(scraped: &Scraped, name: impl Fn(&str) -> String, by: &[&str], bound: f64) {
    let check = |query: &str, labels: &[&str], rows: &BTreeMap<String, Value>, column: &str| {
        for (name, quantile) in scraped.ask(query, labels) {
            let api = number(&rows[&name], column);
            let error = (quantile / api).max(api / quantile);
            assert!(
                error <= bound,
                "{query}, {name}: {quantile}, {api} by the API"
            );
        }
    };
    let (edges, operations) = (scraped.edges(), scraped.operations());
    let by = |labels: &[&str]| [by, labels].concat().join(", ");
    for (side, metric) in [
        ("client", "traces_service_graph_request_client_seconds"),
        ("server", "traces_service_graph_request_server_seconds"),
        ("gap", "traces_service_graph_network_gap_seconds"),
    ] {
        for percent in [50, 90] {
            let (name, by) = (name(metric), by(&["client", "server"]));
            let query = format!("histogram_quantile(0.{percent}, sum by ({by}) ({name}))");
            check(
                &query,
                &["client", "server"],
                &edges,
                &format!("{side}_p{percent}"),
            );
        }
    }
    let (name, by) = (name("traces_spanmetrics_latency"), by(&["span_name"]));
    let query = format!(
        "histogram_quantile(0.9, sum by ({by}) ({name}{{span_kind=\"SPAN_KIND_SERVER\"}}))"
    );
    check(&query, &["span_name"], &operations, "p90");
}

/// Each leads to a trace that is kept.
fn check_exemplars(scraped: &Scraped) {
    for metric in [
        "traces_spanmetrics_latency_bucket",
        "traces_service_graph_request_server_seconds_bucket",
        "traces_service_graph_network_gap_seconds_bucket",
    ] {
        let exemplars = wait_for(metric, || {
            let exemplars = scraped.prometheus.exemplars(metric);
            (!exemplars.is_empty()).then_some(exemplars)
        });
        for exemplar in exemplars {
            let trace = exemplar["labels"]["trace_id"].as_str().expect("an id");
            let span = &exemplar["labels"]["span_id"];
            let url = format!(
                "http://127.0.0.1:{}/api/v1/traces/{trace}",
                scraped.collector.web
            );
            let trace = get_with(&url, &[]).expect("an answer").json();
            let spans = trace["spans"]
                .as_array()
                .unwrap_or_else(|| panic!("{trace}"));
            assert!(spans.iter().any(|of| of["span_id"] == *span), "{exemplar}");
        }
    }
}

/// Names that a parser may stumble over, every status, and a called side without spans.
#[test]
fn any_name_and_status_reaches_prometheus() {
    let test = "any_name_and_status_reaches_prometheus";
    if peers::require(test, "Prometheus", prometheus::installed()).is_none() {
        return;
    }
    let collector = Collector::start(&[]);
    let name = "GET \"\\ {a=\"b\"} # 1\nü\r\u{0}\u{7f}\u{2028}";
    let spans = [(0, 2), (1, 3), (2, 3)].map(|(status, kind)| {
        json!({"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": format!("{:016x}", status + 1), "name": name,
               "kind": kind, "status": {"code": status}, "startTimeUnixNano": "1000000000", "endTimeUnixNano": "3000000000",
               "attributes": [{"key": "db.system", "value": {"stringValue": "redis"}}]})
    });
    let service = json!({"key": "service.name", "value": {"stringValue": "odd\u{1}"}});
    let body = json!({"resourceSpans": [{"resource": {"attributes": [service]}, "scopeSpans": [{"spans": spans}]}]});
    let url = format!("http://127.0.0.1:{}/v1/traces", collector.otlp_http);
    let json = [("content-type", "application/json")];
    let answer = post(&url, &json, body.to_string().as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = "GET \"\\ {a=\"b\"} # 1\nü\\u{d}\\u{0}\\u{7f}\u{2028}";
    for feature in ["exemplar-storage", "native-histograms"] {
        let prometheus = Prometheus::start(feature, &[format!("127.0.0.1:{}", collector.web)]);
        let calls = wait_for("spans", || {
            let calls = prometheus.query("traces_spanmetrics_calls_total");
            (calls.len() == 3).then_some(calls)
        });
        let mut told: Vec<_> = calls
            .iter()
            .map(|series| {
                let label = |name: &str| series["metric"][name].as_str().unwrap_or_default();
                assert_eq!((label("service"), label("span_name")), ("odd\\u{1}", shown));
                (label("span_kind"), label("status_code"))
            })
            .collect();
        told.sort_unstable();
        let expected = [
            ("SPAN_KIND_CLIENT", "STATUS_CODE_ERROR"),
            ("SPAN_KIND_CLIENT", "STATUS_CODE_OK"),
            ("SPAN_KIND_SERVER", "STATUS_CODE_UNSET"),
        ];
        assert_eq!(told, expected);
        let redis = "{server=\"redis\", connection_type=\"database\"}";
        let value =
            |name: &str| prometheus.value(&format!("traces_service_graph_request_{name}{redis}"));
        assert_eq!(
            (value("total"), value("failed_total")),
            (Some(2.0), Some(1.0))
        );
        assert_eq!(prometheus.complaints(), [""; 0]);
    }
}
