//! The latency between services: what `/api/v1/map` says is what the raw spans say, and the kit's own gap
//! agrees with them request by request.

use std::collections::HashMap;

use bellwether_tests::sink::{Sink, SinkSpan};
use bellwether_tests::system::{Calculator, Collector};
use bellwether_tests::wait::wait_for;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

const REQUESTS: usize = 200;
/// add, multiply and divide each once a request.
const EXPRESSION: &str = "(1+2)*3/4";
const PAIRS: usize = REQUESTS * 3;
/// The stated bound of every percentile (relative).
const BOUND: f64 = 0.011;
/// Log lines and headers tell times in steps of up to a microsecond.
const CLOCK_STEP: f64 = 2e-6;

/// A call whose both halves came: client and server duration in nanoseconds.
struct Pair {
    server: String,
    server_span_id: String,
    client_span: SinkSpan,
    client: u64,
    served: u64,
}

fn pairs(spans: &[SinkSpan]) -> Vec<Pair> {
    let of_kind = |kind: SpanKind| spans.iter().filter(move |s| s.span.kind == kind as i32);
    let clients: HashMap<&[u8], &SinkSpan> = of_kind(SpanKind::Client)
        .map(|span| (span.span.span_id.as_slice(), span))
        .collect();
    of_kind(SpanKind::Server)
        .filter_map(|server| {
            let client = clients.get(server.span.parent_span_id.as_slice())?;
            Some(Pair {
                server: server.service.clone(),
                server_span_id: server
                    .span
                    .span_id
                    .iter()
                    .map(|b| format!("{b:02x}"))
                    .collect(),
                client_span: (*client).clone(),
                client: client.duration(),
                served: server.duration(),
            })
        })
        .collect()
}

/// Nearest rank, in seconds.
fn percentile(values: &mut [u64], percent: usize) -> f64 {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values[rank - 1] as f64 / 1e9
}

#[test]
fn the_map_agrees_with_the_raw_spans() {
    let sink = Sink::start();
    let collector = Collector::start(&[&sink.url]);
    let calculator = Calculator::start(&format!("http://127.0.0.1:{}", collector.otlp_http));
    for _ in 0..REQUESTS {
        assert_eq!(calculator.calculate(EXPRESSION, &[]).status, 200);
    }
    let pairs = wait_for("every span in the sink", || {
        Some(pairs(&sink.spans())).filter(|pairs| pairs.len() == PAIRS)
    });
    let map = collector.api("/map?window=5m");
    for server in ["add", "multiply", "divide"] {
        check_edge(
            &map,
            server,
            pairs.iter().filter(|pair| pair.server == server),
        );
    }
    let served = served(&calculator);
    for pair in &pairs {
        check_own_gap(pair, &served);
    }
}

fn check_edge<'a>(map: &Value, server: &str, pairs: impl Iterator<Item = &'a Pair>) {
    let edge = map["edges"].as_array().and_then(|edges| {
        edges
            .iter()
            .find(|edge| edge["client"] == "api" && edge["server"] == server)
    });
    let edge = edge.unwrap_or_else(|| panic!("no edge api -> {server} in {map}"));
    let (mut client, mut served, mut gap) = (Vec::new(), Vec::new(), Vec::new());
    let mut negative = 0;
    for pair in pairs {
        client.push(pair.client);
        served.push(pair.served);
        match pair.client.checked_sub(pair.served) {
            Some(difference) => gap.push(difference),
            None => negative += 1,
        }
    }
    assert_eq!(edge["paired"], REQUESTS, "{edge}");
    assert_eq!(edge["negative"], negative, "{edge}");
    for (name, values) in [
        ("client", &mut client),
        ("server", &mut served),
        ("gap", &mut gap),
    ] {
        for percent in [50, 90, 99] {
            let exact = percentile(values, percent);
            let key = format!("{name}_p{percent}");
            let shown = edge[&key]
                .as_f64()
                .unwrap_or_else(|| panic!("{key} of {edge}"));
            let error = (shown - exact).abs() / exact;
            assert!(
                error <= BOUND,
                "{server} {key}: {shown} shown, {exact} exact: {error:.4}"
            );
        }
    }
}

/// First-byte time and whole duration of each request a service answered, by its server span, from the
/// closing log lines; seconds.
fn served(calculator: &Calculator) -> HashMap<String, (f64, f64)> {
    let lines = calculator
        .services()
        .flat_map(|service| service.process.log());
    let read = |line: Value| {
        let span_id = line["span_id"].as_str()?.to_owned();
        let first_byte = line["time_to_first_byte"].as_f64()?;
        Some((
            span_id,
            (first_byte, line["http.server.request.duration"].as_f64()?),
        ))
    };
    lines.filter_map(read).collect()
}

/// The kit measures to the first byte, spans run to the last: the two gaps may differ by the time between
/// first and last byte on either side, and by nothing else.
fn check_own_gap(pair: &Pair, served: &HashMap<String, (f64, f64)>) {
    let (first_byte, duration) = served[&pair.server_span_id];
    let client = pair.client as f64 / 1e9;
    let own = pair
        .client_span
        .float("bellwether.network.gap")
        .expect("the kit's own gap");
    let by_spans = client - pair.served as f64 / 1e9;
    let client_body = client - own - first_byte;
    assert!(
        own > 0.0 && client_body >= 0.0,
        "own gap {own} s of a call of {client} s"
    );
    let slack = client_body.max(duration - first_byte) + CLOCK_STEP;
    assert!(
        (own - by_spans).abs() <= slack,
        "own {own} s, by spans {by_spans} s, slack {slack} s"
    );
}
