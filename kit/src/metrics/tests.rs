//! `/metrics` whole, read back by a strict little parser of both formats.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ::http::HeaderValue;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::CounterWithExemplar;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Unit;

mod protobuf;

use super::*;
use crate::trace::{ExportConfig, SpanQueue};

const OPEN_METRICS: &str = "application/openmetrics-text";

/// What a parser makes of an exposition; panics on whatever a scraper would refuse.
#[derive(Debug, Default)]
struct Parsed {
    /// Family to type.
    types: BTreeMap<String, String>,
    /// Sample, as name with labels, to value and exemplar.
    samples: BTreeMap<String, (f64, Option<String>)>,
}

impl Parsed {
    fn value(&self, sample: &str) -> f64 {
        self.samples
            .get(sample)
            .unwrap_or_else(|| panic!("no {sample} in {:#?}", self.samples.keys()))
            .0
    }

    fn exemplar(&self, sample: &str) -> Option<&str> {
        self.samples[sample].1.as_deref()
    }
}

fn parse(text: &str, open_metrics: bool) -> Parsed {
    let body = if open_metrics {
        text.strip_suffix("# EOF\n").expect("ends with EOF")
    } else {
        text
    };
    let mut parsed = Parsed::default();
    let mut family = String::new();
    let mut told_of = String::new();
    for line in body.strip_suffix('\n').unwrap().split('\n') {
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (keyword, name) = (words.next().unwrap(), words.next().unwrap());
            let rest = words.next().unwrap();
            match keyword {
                "HELP" => {
                    told_of = name.to_owned();
                    // prometheus-client writes help as it is in the newer format.
                    let escaped = open_metrics || !rest.replace("\\\\", "").contains('\\');
                    assert!(escaped, "{line}");
                }
                "TYPE" => {
                    assert_eq!(told_of, name, "HELP before TYPE");
                    name.clone_into(&mut family);
                    let before = parsed.types.insert(family.clone(), rest.to_owned());
                    assert!(before.is_none(), "{name} twice");
                }
                "UNIT" => {
                    assert!(open_metrics, "{line}");
                    assert!(
                        name == family && name.ends_with(&format!("_{rest}")),
                        "{line}"
                    );
                }
                _ => panic!("{line}"),
            }
        } else {
            sample(line, &family, open_metrics, &mut parsed);
        }
    }
    parsed
}

fn sample(line: &str, family: &str, open_metrics: bool, parsed: &mut Parsed) {
    let name = line.split(['{', ' ']).next().unwrap();
    let kind = parsed.types[family].as_str();
    let suffixes: &[&str] = match (kind, open_metrics) {
        ("counter", true) => &["_total"],
        ("info", true) => &["_info"],
        ("histogram", _) => &["_bucket", "_sum", "_count"],
        ("counter" | "gauge" | "untyped", _) => &[""],
        _ => panic!("{kind}"),
    };
    let suffix = name.strip_prefix(family).expect(line);
    assert!(suffixes.contains(&suffix), "{line} in {family}");
    assert!(kind != "counter" || name.ends_with("_total"), "{line}");
    let (labels, rest) = labels(&line[name.len()..]);
    let (value, exemplar) = match rest.split_once(" # ") {
        Some((value, exemplar)) => (value, Some(exemplar.to_owned())),
        None => (rest, None),
    };
    assert!(
        exemplar.is_none() || (open_metrics && suffix != "_sum"),
        "{line}"
    );
    if let Some(exemplar) = &exemplar {
        let (labels, rest) = self::labels(exemplar);
        assert!(labels.len() <= 128, "{exemplar}");
        for number in rest.trim().split(' ') {
            number.parse::<f64>().unwrap();
        }
    }
    let value = value.trim().parse().unwrap();
    let before = parsed
        .samples
        .insert(format!("{name}{labels}"), (value, exemplar));
    assert!(before.is_none(), "{line} twice");
}

/// `{…}` as it stands, checked, and what follows.
fn labels(text: &str) -> (&str, &str) {
    let Some(inner) = text.strip_prefix('{') else {
        return ("", text);
    };
    let (mut quoted, mut escaped) = (false, false);
    for (at, character) in inner.char_indices() {
        match character {
            _ if escaped => {
                assert!(matches!(character, '\\' | '"' | 'n'), "{text}");
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => {
                let rest = &inner[at + 1..];
                assert!(rest.starts_with(' '), "{text}");
                return text.split_at(at + 2);
            }
            _ if quoted => {}
            _ => assert!(
                character.is_ascii_alphanumeric() || "_=,".contains(character),
                "{text}"
            ),
        }
    }
    panic!("unclosed: {text}")
}

fn metrics() -> Metrics {
    let resource = [
        ("service.name".to_owned(), "check\"out".to_owned()),
        ("service_name".to_owned(), "twice".to_owned()),
    ];
    let queue = SpanQueue::new(&ExportConfig::default());
    let line_counts = || LineCounts {
        written: 11,
        queue_full: 7,
        write_failed: 3,
        rate_limited: 5,
        recorder_full: 2,
    };
    Metrics::new(&resource, queue.counters().clone(), line_counts)
}

fn served<'a>(route: Option<&'a Arc<str>>, status: Option<u16>) -> ServerLabels<'a> {
    ServerLabels {
        method: "GET",
        scheme: "http",
        route,
        status,
        error_type: None,
        recent: None,
    }
}

fn sizes(request: Option<u64>, response: u64) -> BodySizes {
    BodySizes { request, response }
}

fn render(metrics: &Metrics, accept: &'static str) -> Parsed {
    let accept = HeaderValue::from_static(accept);
    let (content_type, text) = metrics.render(Some(&accept));
    let text = String::from_utf8(text).unwrap();
    parse(&text, content_type.starts_with(OPEN_METRICS))
}

#[test]
fn requests_and_calls_are_shown_with_their_labels() {
    let metrics = metrics();
    let route: Arc<str> = "/orders/{id}".into();
    let trace = Exemplar {
        trace_id: TraceId::from_hex(b"0af7651916cd43dd8448eb211c80319c").unwrap(),
        span_id: SpanId::from_hex(b"b7ad6b7169203331").unwrap(),
    };
    let server = metrics.server();
    server.settled(
        served(Some(&route), Some(200)),
        Duration::from_millis(7),
        sizes(Some(65), 1_024),
        Some(trace),
    );
    server.settled(
        served(Some(&route), Some(200)),
        Duration::from_secs(60),
        sizes(None, 100_000_000),
        None,
    );
    let gone = ServerLabels {
        error_type: Some("client_gone"),
        recent: None,
        ..served(None, None)
    };
    server.settled(gone, Duration::from_millis(1), sizes(None, 0), None);
    let active = server.started("GET", "http", Instant::now());
    let call = ClientLabels {
        method: "POST",
        server_address: "add.internal",
        server_port: 8081,
        status: Some(503),
        error_type: Some("503"),
    };
    let gap = Some(Duration::from_micros(70));
    metrics
        .client()
        .settled(call, Duration::from_millis(3), gap, None);

    for accept in [OPEN_METRICS, "text/plain"] {
        let shown = render(&metrics, accept);
        let open_metrics = accept == OPEN_METRICS;
        let suffix = if open_metrics { "" } else { "_total" };
        let duration = "http_server_request_duration_seconds";
        let labels = "http_request_method=\"GET\",url_scheme=\"http\",\
                      http_route=\"/orders/{id}\",http_response_status_code=\"200\"";
        assert_eq!(shown.types[duration], "histogram");
        assert_eq!(shown.value(&format!("{duration}_count{{{labels}}}")), 2.0);
        assert_eq!(shown.value(&format!("{duration}_sum{{{labels}}}")), 60.007);
        let bucket = |le| format!("{duration}_bucket{{{labels},le=\"{le}\"}}");
        for (le, count) in [("0.005", 0.0), ("0.01", 1.0), ("10.0", 1.0), ("+Inf", 2.0)] {
            assert_eq!(shown.value(&bucket(le)), count, "{le}");
        }
        let exemplar = shown.exemplar(&bucket("0.01"));
        assert_eq!(exemplar.is_some(), open_metrics);
        if let Some(exemplar) = exemplar {
            let trace = "{trace_id=\"0af7651916cd43dd8448eb211c80319c\",\
                         span_id=\"b7ad6b7169203331\"} 0.007 ";
            assert!(exemplar.starts_with(trace), "{exemplar}");
        }
        shown.value(&format!(
            "{duration}_count{{http_request_method=\"GET\",url_scheme=\"http\",error_type=\"client_gone\"}}"
        ));

        let size = |side| format!("http_server_{side}_body_size_bytes");
        for (side, le, count, sum) in [
            ("request", "256.0", 1.0, 65.0),
            ("response", "1024.0", 2.0, 100_001_024.0),
        ] {
            let name = size(side);
            assert_eq!(shown.types[&name], "histogram");
            assert_eq!(shown.value(&format!("{name}_count{{{labels}}}")), count);
            assert_eq!(shown.value(&format!("{name}_sum{{{labels}}}")), sum);
            let bucket = |le| format!("{name}_bucket{{{labels},le=\"{le}\"}}");
            assert_eq!(shown.value(&bucket(le)), 1.0, "{side}");
            assert_eq!(shown.value(&bucket("64.0")), 0.0, "{side}");
        }
        // The caller who left sent no body: counted as an answer of nothing, and not as a request's.
        let gone = "http_request_method=\"GET\",url_scheme=\"http\",error_type=\"client_gone\"";
        assert_eq!(
            shown.value(&format!("{}_count{{{gone}}}", size("response"))),
            1.0
        );
        let absent = format!("{}_count{{{gone}}}", size("request"));
        assert!(!shown.samples.contains_key(&absent));

        let get = "{http_request_method=\"GET\",url_scheme=\"http\"}";
        assert_eq!(shown.types["http_server_active_requests"], "gauge");
        assert_eq!(
            shown.value(&format!("http_server_active_requests{get}")),
            1.0
        );
        let integral = format!("http_server_active_request_seconds{suffix}");
        assert_eq!(shown.types[&integral], "counter");
        assert!(shown.value("http_server_active_request_seconds_total") > 0.0);

        let call = "http_request_method=\"POST\",server_address=\"add.internal\",\
                    server_port=\"8081\",http_response_status_code=\"503\",error_type=\"503\"";
        let count = |name| shown.value(&format!("{name}_count{{{call}}}"));
        assert_eq!(count("http_client_request_duration_seconds"), 1.0);
        assert_eq!(count("http_client_network_gap_seconds"), 1.0);
        let bucket = |le| format!("http_client_network_gap_seconds_bucket{{{call},le=\"{le}\"}}");
        assert_eq!(shown.value(&bucket("0.00005")), 0.0);
        assert_eq!(shown.value(&bucket("0.0001")), 1.0);

        assert_eq!(
            shown.value("target_info{service_name=\"check\\\"out\"}"),
            1.0
        );
        let written = "bellwether_telemetry_exported_total{signal=\"logs\"}";
        assert_eq!(shown.value(written), 11.0);
        let dropped = "bellwether_telemetry_dropped_total";
        for (reason, lines) in [("queue_full", 7.0), ("write_failed", 3.0)] {
            let logs = format!("{dropped}{{signal=\"logs\",reason=\"{reason}\"}}");
            assert_eq!(shown.value(&logs), lines, "{reason}");
        }
        let series = "bellwether_series_dropped_total{metric=\"http_server_active_requests\"}";
        assert_eq!(shown.value(series), 0.0);
    }
    assert_eq!(server.active_total(), 1);
    drop(active);
    assert_eq!(server.active_total(), 0);
}

#[test]
fn a_flood_of_routes_ends_in_one_series_and_is_counted() {
    let metrics = metrics();
    for path in 0..table::SERIES_LIMIT + 25 {
        let route: Arc<str> = format!("/{path}").into();
        let labels = served(Some(&route), Some(404));
        metrics
            .server()
            .settled(labels, Duration::from_millis(1), sizes(None, 0), None);
    }
    let shown = render(&metrics, OPEN_METRICS);
    let duration = "http_server_request_duration_seconds";
    let overflow = format!("{duration}_count{{otel_metric_overflow=\"true\"}}");
    assert_eq!(shown.value(&overflow), 25.0);
    let dropped = format!("bellwether_series_dropped_total{{metric=\"{duration}\"}}");
    assert_eq!(shown.value(&dropped), 25.0);
    let series = shown
        .samples
        .keys()
        .filter(|sample| sample.starts_with(&format!("{duration}_count")));
    assert_eq!(series.count(), table::SERIES_LIMIT + 1);
}

#[test]
fn the_applications_own_metrics_are_shown_in_both_formats() {
    let metrics = metrics();
    let orders = Family::<Vec<(&str, String)>, Counter>::default();
    let odd = "a # {b=\"c\"} \\ \r\u{2028} end".to_owned();
    orders.get_or_create(&vec![("kind", odd)]).inc_by(3);
    let carts: Gauge = Gauge::default();
    carts.set(-2);
    let sold = CounterWithExemplar::<Vec<(&str, String)>>::default();
    sold.inc_by(1, Some(vec![("trace_id", "a # \"b".to_owned())]), None);
    {
        let mut registry = metrics.registry();
        registry.register("orders", "Orders \\ taken", orders);
        registry.register_with_unit("cart_age", "Carts", Unit::Seconds, carts);
        registry.register("sold", "Sold", sold);
        registry.register("build", "Build", Info::new(vec![("version", "1")]));
    }
    for accept in [OPEN_METRICS, "text/plain"] {
        let shown = render(&metrics, accept);
        let odd = "{kind=\"a # {b=\\\"c\\\"} \\\\ \r\u{2028} end\"}";
        assert_eq!(shown.value(&format!("orders_total{odd}")), 3.0);
        assert_eq!(shown.value("cart_age_seconds"), -2.0);
        assert_eq!(shown.value("sold_total"), 1.0);
        assert_eq!(
            shown.exemplar("sold_total").is_some(),
            accept == OPEN_METRICS
        );
        assert_eq!(shown.value("build_info{version=\"1\"}"), 1.0);
    }
}

#[test]
fn requests_in_flight_end_also_when_their_thread_does() {
    let metrics = metrics();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let active = metrics.server().started("GET", "https", Instant::now());
                assert!(metrics.server().active_total() >= 1);
                drop(active);
            });
        }
    });
    assert_eq!(metrics.server().active_total(), 0);
}

/// Of who has two kinds of jobs and measured three waits of one.
fn with_source() -> Metrics {
    let metrics = metrics();
    metrics.collect(|out| {
        out.counter("queue_jobs", "Jobs");
        out.sample(&[("queue", "mail")], 7);
        out.sample(&[("the.queue", "a\u{1}\n\"b\"")], 8);
        out.histogram("queue_wait_seconds", Some("seconds"), "Waits");
        let measured = |value| Measured {
            trace_id: [1; 16],
            span_id: [2; 8],
            value,
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250),
        };
        let bucket = |bound, cumulative, value: Option<f64>| ClassicBucket {
            bound,
            cumulative,
            exemplar: value.map(measured),
        };
        let waits = Distribution {
            sum: 5.5,
            count: 3,
            buckets: vec![bucket(0.5, 1, Some(0.5)), bucket(1.0, 2, None)],
            above: Some(measured(4.0)),
            schema: 0,
            native: vec![(-1, 1), (0, 1), (2, 1)],
        };
        out.distribution(&[("queue", "mail")], &waits);
        let no_trace = Distribution {
            count: 1,
            above: Some(Measured {
                trace_id: [0; 16],
                ..measured(9.0)
            }),
            native: vec![(5, 1)],
            ..Distribution::default()
        };
        out.distribution(&[("queue", "print")], &no_trace);
    });
    metrics
}

#[test]
fn families_of_a_source_are_shown_as_the_kits_own() {
    let metrics = with_source();
    let shown = render(&metrics, OPEN_METRICS);
    assert_eq!(shown.value("queue_jobs_total{queue=\"mail\"}"), 7.0);
    assert_eq!(
        shown.value("queue_jobs_total{the_queue=\"a\\\\u{1}\\n\\\"b\\\"\"}"),
        8.0
    );
    assert_eq!(shown.types["queue_wait_seconds"], "histogram");
    let bucket = |le| format!("queue_wait_seconds_bucket{{queue=\"mail\",le=\"{le}\"}}");
    for (le, count) in [("0.5", 1.0), ("1.0", 2.0), ("+Inf", 3.0)] {
        assert_eq!(shown.value(&bucket(le)), count, "{le}");
    }
    assert_eq!(shown.value("queue_wait_seconds_sum{queue=\"mail\"}"), 5.5);
    let exemplar = shown.exemplar(&bucket("+Inf")).unwrap();
    let trace = "{trace_id=\"01010101010101010101010101010101\",span_id=\"0202020202020202\"} 4.0 1700000000.250";
    assert_eq!(exemplar, trace);
    assert!(shown.exemplar(&bucket("1.0")).is_none());
    let no_trace = "queue_wait_seconds_bucket{queue=\"print\",le=\"+Inf\"}";
    assert!(shown.exemplar(no_trace).is_none(), "zeros are no trace");
    let text = render(&metrics, "text/plain");
    assert_eq!(text.value("queue_jobs_total{queue=\"mail\"}"), 7.0);
}
