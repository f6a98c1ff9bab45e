//! One request through the split calculator: the same ids in every log, in the collector, in Zipkin and
//! on `/metrics`.

use bellwether_tests::http::{get, get_with};
use bellwether_tests::peers;
use bellwether_tests::system::{Calculator, Collector};
use bellwether_tests::wait::wait_for;
use serde_json::Value;

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// Uses add, multiply and divide: one server span at the API, three client spans, three server spans.
const EXPRESSION: &str = "(1+2)*3/4";
const SPANS: usize = 7;

fn otlp(collector: &Collector) -> String {
    format!("http://127.0.0.1:{}", collector.otlp_http)
}

fn ask(calculator: &Calculator) -> bellwether_tests::http::Answer {
    calculator.calculate(
        EXPRESSION,
        &[("x-request-id", "abc"), ("traceparent", TRACEPARENT)],
    )
}

#[test]
fn ids_reach_every_log_line_the_collector_and_the_metrics() {
    let collector = Collector::start(&[]);
    let calculator = Calculator::start(&otlp(&collector));
    let answer = ask(&calculator);
    assert_eq!(
        (answer.status, answer.json()["result"].as_f64()),
        (200, Some(2.25))
    );
    assert_eq!(answer.header("x-request-id"), Some("abc"));

    let used = [
        &calculator.api,
        &calculator.operations[0],
        &calculator.operations[2],
        &calculator.operations[3],
    ];
    for service in used {
        service.process.wait_for_line("the closing line", |line| {
            line["trace_id"] == TRACE_ID && line["http.response.status_code"] == 200
        });
        let mine = |line: &&Value| line["trace_id"] == TRACE_ID;
        for line in service.process.log().iter().filter(mine) {
            assert_eq!(line["request_id"], "abc", "{line}");
        }
    }
    let handler_line = |line: &Value| line["message"] == "calculated";
    let line = calculator
        .api
        .process
        .wait_for_line("the handler's own line", handler_line);
    assert_eq!(
        (&line["trace_id"], &line["request_id"]),
        (&TRACE_ID.into(), &"abc".into())
    );

    let trace = collector.wait_for_trace(TRACE_ID, SPANS);
    check_tree(&trace);
    check_exemplar(&calculator);
}

/// Every server span of an operation hangs below a client span of the API, that below the API's own.
fn check_tree(trace: &Value) {
    let spans = trace["spans"].as_array().expect("spans");
    let parent_of = |span: &Value| {
        spans
            .iter()
            .find(|other| other["span_id"] == span["parent_span_id"])
            .cloned()
    };
    let mut operations = 0;
    for span in spans.iter().filter(|span| span["service"] != "api") {
        assert_eq!(span["kind"], "server", "{span}");
        let client = parent_of(span).expect("its client span");
        assert_eq!(
            (&client["service"], &client["kind"]),
            (&"api".into(), &"client".into())
        );
        let root = parent_of(&client).expect("the API's server span");
        assert_eq!(
            (&root["service"], &root["kind"]),
            (&"api".into(), &"server".into())
        );
        assert!(
            client["attributes"]["bellwether.network.gap"].is_f64(),
            "{client}"
        );
        operations += 1;
    }
    assert_eq!(operations, 3, "{trace}");
}

fn check_exemplar(calculator: &Calculator) {
    let accept = [("accept", "application/openmetrics-text;version=1.0.0")];
    let metrics = get_with(&calculator.api.url("/metrics"), &accept)
        .expect("metrics")
        .text();
    let exemplar = format!("trace_id=\"{TRACE_ID}\"");
    let line = metrics.lines().find(|line| {
        line.starts_with("http_server_request_duration_seconds_bucket") && line.contains(&exemplar)
    });
    assert!(
        line.is_some_and(|line| line.contains("http_route=\"/calculate\"")),
        "{metrics}"
    );
}

#[test]
fn the_same_trace_is_in_zipkin() {
    let test = "the_same_trace_is_in_zipkin";
    let Some(zipkin) = peers::require(test, "Zipkin", peers::zipkin()) else {
        return;
    };
    let export = zipkin.url.replacen("http", "zipkin+http", 1);
    let collector = Collector::start(&[&export]);
    let calculator = Calculator::start(&otlp(&collector));
    assert_eq!(ask(&calculator).status, 200);

    let ours = collector.wait_for_trace(TRACE_ID, SPANS);
    let theirs = wait_for("the trace in Zipkin", || {
        let url = format!("{}/api/v2/trace/{TRACE_ID}", zipkin.url);
        let trace = get(&url).filter(|answer| answer.status == 200)?.json();
        (trace.as_array()?.len() == SPANS).then_some(trace)
    });
    for span in ours["spans"].as_array().expect("spans") {
        let id = |other: &&Value| other["id"] == span["span_id"];
        let same = theirs
            .as_array()
            .and_then(|spans| spans.iter().find(id))
            .expect("the same span");
        assert_eq!(same["traceId"], TRACE_ID);
        assert_eq!(same["localEndpoint"]["serviceName"], span["service"]);
        assert_eq!(same["parentId"], span["parent_span_id"]);
        let kind = span["kind"].as_str().map(str::to_uppercase);
        assert_eq!(same["kind"].as_str(), kind.as_deref());
    }
}

#[test]
fn bad_expressions_are_clean_4xx() {
    let collector = Collector::start(&[]);
    let calculator = Calculator::start(&otlp(&collector));
    for (expression, status, code) in [
        ("1/0", 422, "division_by_zero"),
        ("1+", 400, "bad_expression"),
        ("(1", 400, "bad_expression"),
    ] {
        let answer = calculator.calculate(expression, &[]);
        assert_eq!(answer.status, status, "{expression}");
        assert_eq!(answer.json()["error"]["code"], code, "{expression}");
    }
}
