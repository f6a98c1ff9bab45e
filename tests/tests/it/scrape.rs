//! What `/metrics` shows, read by those it is for: the strict parsers of Prometheus' Python client, promtool,
//! and Prometheus itself, with exemplars and with native histograms.

use std::path::Path;

use bellwether_tests::cases::{ODD_LABELS, ORDER_VALUES};
use bellwether_tests::http::get_with;
use bellwether_tests::peers;
use bellwether_tests::prometheus::{self, Prometheus};
use bellwether_tests::system::{Collector, Service};
use bellwether_tests::wait::wait_for;
use serde_json::Value;

const DURATION: &str = "http_server_request_duration_seconds";
const ROUTE: &str = "{http_route=\"/wait/{milliseconds}\"}";
const REQUESTS: usize = 21;
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Of the application's own histogram: native by a feature of the kit's, classic without it.
const ORDER_VALUE_COUNT: &str = if cfg!(feature = "prometheus-protobuf") {
    "histogram_count(order_value_euros)"
} else {
    "order_value_euros_count"
};

/// Nobody listens for its spans, which is none of the metrics' business.
fn cases() -> Service {
    Service::start_cases(
        "http://127.0.0.1:1",
        &[("OTEL_TRACES_SAMPLER", "parentbased_always_on")],
    )
}

/// Requests of 0 to 60 ms, each in a trace; returns what the service measured, in seconds, ascending.
fn traffic(service: &Service) -> Vec<f64> {
    for number in 0..REQUESTS {
        let traceparent = format!("00-{TRACE}-{:016x}-01", number + 1);
        let url = service.url(&format!("/wait/{}", number * 3));
        let answer = get_with(&url, &[("traceparent", &traceparent)]).expect("an answer");
        assert_eq!(answer.status, 200);
    }
    let mut durations = wait_for("all closing lines", || {
        let log = service.process.log();
        let durations: Vec<f64> = log
            .iter()
            .filter(|line| line["http.route"] == "/wait/{milliseconds}")
            .filter_map(|line| line["http.server.request.duration"].as_f64())
            .collect();
        (durations.len() == REQUESTS).then_some(durations)
    });
    durations.sort_by(f64::total_cmp);
    durations
}

fn metrics(port: u16, accept: &str) -> Vec<u8> {
    let url = format!("http://127.0.0.1:{port}/metrics");
    let answer = get_with(&url, &[("accept", accept)]).expect("an answer");
    assert_eq!(answer.status, 200);
    answer.body
}

/// The families, as the strict parser reads them.
fn parsed(python: &Path, format: &str, exposition: &[u8]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/python/parse_metrics.py");
    let script = script.to_str().expect("a path of text");
    let output = prometheus::run(python, &[script, format], exposition);
    let said = String::from_utf8_lossy(&output.stderr);
    let shown = String::from_utf8_lossy(exposition);
    assert!(output.status.success(), "{said} in {shown}");
    serde_json::from_slice(&output.stdout).expect("families")
}

fn family<'a>(families: &'a [Value], name: &str) -> &'a Value {
    let found = families.iter().find(|family| family["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {families:#?}"))
}

fn samples(family: &Value) -> &[Value] {
    family["samples"].as_array().expect("samples")
}

fn is_route(sample: &Value) -> bool {
    sample["labels"]["http_route"] == "/wait/{milliseconds}"
}

#[test]
fn strict_parsers_read_both_texts() {
    let test = "strict_parsers_read_both_texts";
    let Some(python) = peers::require(test, "Prometheus' Python client", peers::python()) else {
        return;
    };
    let service = cases();
    traffic(&service);
    let text = metrics(service.port, "application/openmetrics-text");
    let families = parsed(&python, "openmetrics", &text);
    let duration = family(&families, DURATION);
    assert_eq!(
        (&duration["type"], &duration["unit"]),
        (&"histogram".into(), &"seconds".into())
    );
    let exemplars: Vec<&Value> = samples(duration)
        .iter()
        .filter(|sample| is_route(sample) && !sample["exemplar"].is_null())
        .map(|sample| &sample["exemplar"])
        .collect();
    assert!(!exemplars.is_empty(), "{duration}");
    for exemplar in exemplars {
        assert_eq!(exemplar["labels"]["trace_id"], TRACE, "{exemplar}");
        assert!(exemplar["timestamp"].as_f64() > Some(1.7e9), "{exemplar}");
    }
    check_orders(family(&families, "orders"));

    let text = metrics(service.port, "text/plain");
    let families = parsed(&python, "prometheus", &text);
    assert_eq!(family(&families, DURATION)["type"], "histogram");
    check_orders(family(&families, "orders"));
}

fn check_orders(orders: &Value) {
    let counts = 1_i32..;
    assert_eq!(orders["type"], "counter");
    assert_eq!(orders["help"], "Orders taken \\ by \"kind\".");
    for (kind, count) in ODD_LABELS.iter().zip(counts) {
        let sample = samples(orders)
            .iter()
            .find(|sample| sample["labels"]["kind"] == *kind);
        let sample = sample.unwrap_or_else(|| panic!("no {kind:?} in {orders}"));
        let value = sample["value"].as_str().and_then(|text| text.parse().ok());
        assert_eq!(value, Some(f64::from(count)), "{kind:?}");
    }
}

/// Nothing of the application's in the registry, no request yet; and the collector, with families of its own.
#[test]
fn strict_parsers_read_an_empty_registry_and_the_collectors() {
    let test = "strict_parsers_read_an_empty_registry_and_the_collectors";
    let Some(python) = peers::require(test, "Prometheus' Python client", peers::python()) else {
        return;
    };
    let empty = Service::start("http://127.0.0.1:1", &["add"], &[]);
    let collector = Collector::start(&[]);
    for port in [empty.port, collector.web] {
        for (format, accept, one_of_many) in [
            ("openmetrics", "application/openmetrics-text", "target"),
            ("prometheus", "text/plain", "target_info"),
        ] {
            let families = parsed(&python, format, &metrics(port, accept));
            assert_eq!(samples(family(&families, one_of_many)).len(), 1);
        }
    }
}

#[test]
fn promtool_finds_nothing_to_say_against_the_classic_text() {
    let test = "promtool_finds_nothing_to_say_against_the_classic_text";
    if peers::require(test, "promtool", prometheus::installed()).is_none() {
        return;
    }
    let service = cases();
    traffic(&service);
    let text = metrics(service.port, "text/plain");
    let output = prometheus::run("promtool", &["check", "metrics"], &text);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn prometheus_reads_classic_buckets_and_exemplars_back() {
    let test = "prometheus_reads_classic_buckets_and_exemplars_back";
    if peers::require(test, "Prometheus", prometheus::installed()).is_none() {
        return;
    }
    let service = cases();
    let prometheus = scraped(&service, "exemplar-storage");
    let durations = traffic(&service);
    wait_for_count(&prometheus, &format!("{DURATION}_count{ROUTE}"));

    for bound in ["0.005", "0.025", "0.1", "+Inf"] {
        let query =
            format!("{DURATION}_bucket{{http_route=\"/wait/{{milliseconds}}\",le=\"{bound}\"}}");
        let limit: f64 = bound.parse().unwrap_or(f64::INFINITY);
        let expected = durations.iter().filter(|duration| **duration <= limit);
        assert_eq!(
            prometheus.value(&query),
            Some(expected.count() as f64),
            "{query}"
        );
    }
    let sum = prometheus.value(&format!("{DURATION}_sum{ROUTE}"));
    let expected: f64 = durations.iter().sum();
    assert!((sum.expect("a sum") - expected).abs() < 1e-6 * expected);

    let exemplars = wait_for("exemplars", || {
        let exemplars = prometheus.exemplars(&format!("{DURATION}_bucket{ROUTE}"));
        (!exemplars.is_empty()).then_some(exemplars)
    });
    for exemplar in exemplars {
        assert_eq!(exemplar["labels"]["trace_id"], TRACE, "{exemplar}");
        let value: f64 = exemplar["value"]
            .as_str()
            .expect("text")
            .parse()
            .expect("a number");
        assert!(
            durations
                .iter()
                .any(|duration| (duration - value).abs() < 1e-6),
            "{exemplar} in {durations:?}"
        );
    }
    check_scraped(&prometheus);
}

#[test]
fn prometheus_reads_native_histograms_back() {
    let test = "prometheus_reads_native_histograms_back";
    if peers::require(test, "Prometheus", prometheus::installed()).is_none() {
        return;
    }
    let service = cases();
    let prometheus = scraped(&service, "native-histograms");
    let durations = traffic(&service);
    let series = format!("{DURATION}{ROUTE}");
    wait_for_count(&prometheus, &format!("histogram_count({series})"));

    let sum = prometheus.value(&format!("histogram_sum({series})"));
    let expected: f64 = durations.iter().sum();
    assert!((sum.expect("a sum") - expected).abs() < 1e-6 * expected);
    for quantile in [0.1, 0.5, 0.9] {
        let query = format!("histogram_quantile({quantile}, {series})");
        let value = prometheus.value(&query).expect("a quantile");
        let rank = (quantile * REQUESTS as f64).ceil() as usize;
        let truth = durations[rank - 1];
        // Both lie in one bucket, and a bucket's ends are 2^(1/8) apart.
        let error = (value / truth).max(truth / value);
        assert!(error <= 1.0906, "{query}: {value}, in truth {truth}");
    }
    // A rate needs two scrapes with traffic between.
    wait_for("a rate", || {
        get_with(&service.url("/wait/0"), &[]);
        prometheus
            .value(&format!("histogram_count(rate({series}[1m]))"))
            .filter(|rate| *rate > 0.0)
    });
    let orders = prometheus.value(ORDER_VALUE_COUNT);
    assert_eq!(orders, Some(ORDER_VALUES.len() as f64));
    check_scraped(&prometheus);
}

fn scraped(service: &Service, feature: &str) -> Prometheus {
    Prometheus::start(feature, &[format!("127.0.0.1:{}", service.port)])
}

/// Waits until all of the traffic has been scraped.
fn wait_for_count(prometheus: &Prometheus, query: &str) {
    wait_for(query, || {
        prometheus
            .value(query)
            .filter(|count| *count == REQUESTS as f64)
    });
}

/// Scrapes succeed, Prometheus has nothing to complain of, and odd labels came through.
fn check_scraped(prometheus: &Prometheus) {
    wait_for("up", || prometheus.value("up").filter(|up| *up == 1.0));
    let orders = prometheus.query("orders_total");
    assert_eq!(orders.len(), ODD_LABELS.len(), "{orders:?}");
    for (kind, count) in ODD_LABELS.iter().zip(1..) {
        // An empty label is none.
        let value = orders
            .iter()
            .find(|series| series["metric"]["kind"].as_str().unwrap_or_default() == *kind)
            .map(|series| &series["value"][1]);
        assert_eq!(value, Some(&Value::from(count.to_string())), "{kind:?}");
    }
    assert_eq!(prometheus.value("target_info"), Some(1.0));
    assert_eq!(prometheus.complaints(), [""; 0]);
}
