//! What services are scaled by, asked for as autoscalers do: KEDA's own scaler at the collector, prometheus-adapter's rule
//! as a query on a real Prometheus; and a service that hangs.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bellwether_tests::http::{Answer, get, get_with};
use bellwether_tests::load::{Load, Plan};
use bellwether_tests::peers;
use bellwether_tests::prometheus::{self, Prometheus};
use bellwether_tests::system::{Collector, Service};
use bellwether_tests::wait::{wait_at_most, wait_for};
use serde_json::{Value, json};

const TWO_MINUTES: Duration = Duration::from_secs(120);
/// Longer than it takes a service to fall quiet, and far shorter than the default.
const STALE_AFTER: [&str; 2] = ["--stale-after", "40s"];

/// A file of `examples/kubernetes/autoscaling`.
fn example(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kubernetes/autoscaling");
    folder.join(name)
}

fn loopback(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// What KEDA gets, or why it gets nothing.
fn keda(program: &Path, url: &str) -> Result<Value, String> {
    let example = example("keda-metrics-api.yaml");
    let example = example.to_str().expect("a path of text");
    let output = prometheus::run(program, &[example, url], b"");
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).expect("JSON"));
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn keda_scales_by_the_collectors_concurrency() {
    let test = "keda_scales_by_the_collectors_concurrency";
    let Some(program) = peers::require(test, "KEDA's scaler", peers::keda()) else {
        return;
    };
    let collector = Collector::start_with(&STALE_AFTER);
    let service = Service::start_cases(&format!("http://127.0.0.1:{}", collector.otlp_http), &[]);
    // The example's own address, but for host, service and window.
    let url = format!(
        "http://127.0.0.1:{}/api/v1/scale/cases?window=10s",
        collector.web
    );
    let unknown = keda(&program, &url).expect_err("a service that is not known");
    assert!(unknown.contains("404"), "{unknown}");

    let load = Load::start(Plan {
        address: loopback(service.port),
        path: "/wait/200",
        body: "",
        rate: 20,
        connections: 20,
    });
    let busy = wait_at_most(TWO_MINUTES, "a busy service", || {
        let answer = keda(&program, &url).ok()?;
        (answer["value"].as_f64()? > 3.5).then_some(answer)
    });
    assert_eq!(busy["active"], true);
    assert_eq!(busy["target"].as_f64(), Some(40.0));
    let report = load.finish();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    // 20 a second of 0.2 s each are 4, of which batches that come in bursts make a little more or less.
    let value = busy["value"].as_f64().expect("a number");
    assert!(value < 6.0, "{busy}");

    let mut least = value;
    wait_at_most(TWO_MINUTES, "quiet", || {
        let answer = keda(&program, &url).expect("numbers until the service is stale");
        let value = answer["value"].as_f64()?;
        assert!(
            value <= least * 1.5,
            "{value} after {least}, though nothing came"
        );
        least = value;
        (value == 0.0 && answer["active"] == false).then_some(())
    });
    let silent = wait_at_most(TWO_MINUTES, "silence", || keda(&program, &url).err());
    assert!(silent.contains("409"), "{silent}");
    assert_stale(&collector, "/scale/cases?window=10s");
}

#[test]
fn prometheus_adapters_rule_gives_the_mean_concurrency_of_each_pod() {
    let test = "prometheus_adapters_rule_gives_the_mean_concurrency_of_each_pod";
    let adapter = peers::require(test, "prometheus-adapter", peers::prometheus_adapter());
    let installed = peers::require(test, "Prometheus", prometheus::installed());
    let (Some(adapter), Some(())) = (adapter, installed) else {
        return;
    };
    let pods = ["calculator-1", "calculator-2", "calculator-3"];
    let rule = example("prometheus-adapter-rule.yaml");
    let mut arguments = vec![rule.to_str().expect("a path of text"), "shop"];
    arguments.extend(pods);
    let output = prometheus::run(adapter, &arguments, b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(made["metric"], "http_server_mean_concurrency");

    let slow = ["--slow-share", "1", "--slow-ms", "2000", "add"];
    let services = pods.map(|_| Service::start("http://127.0.0.1:1", &slow, &[]));
    let mut targets = Vec::new();
    for (service, pod) in services.iter().zip(pods) {
        let address = format!("127.0.0.1:{}", service.port);
        targets.push(json!({"targets": [address], "labels": {"namespace": "shop", "pod": pod}}));
    }
    let prometheus = Prometheus::start_with("exemplar-storage", &Value::Array(targets));
    let rates = [2, 6, 15];
    let loads: Vec<_> = services
        .iter()
        .zip(rates)
        .map(|(service, rate)| {
            Load::start(Plan {
                address: loopback(service.port),
                path: "/add",
                body: r#"{"a":1,"b":2}"#,
                rate,
                connections: 60,
            })
        })
        .collect();
    // Twice as long as the first requests take.
    wait_for("a steady load", || {
        let mut loads = loads.iter().zip(rates);
        let begun = loads.all(|(load, rate)| load.seconds_in_flight() > 6.0 * f64::from(rate));
        begun.then_some(())
    });
    // The rule's own minute, and a second for the scrape at each of its ends.
    let begun = Instant::now();
    let before: Vec<_> = loads.iter().map(Load::seconds_in_flight).collect();
    wait_at_most(TWO_MINUTES, "the rule's minute", || {
        (begun.elapsed() > Duration::from_secs(62)).then_some(())
    });
    let series = prometheus.query(made["query"].as_str().expect("a query"));
    let elapsed = begun.elapsed().as_secs_f64();
    assert_eq!(series.len(), pods.len(), "{series:?}");
    for ((load, before), pod) in loads.iter().zip(before).zip(pods) {
        let generated = (load.seconds_in_flight() - before) / elapsed;
        let found = series.iter().find(|series| series["metric"]["pod"] == pod);
        let value = found.and_then(|series| series["value"][1].as_str());
        let told: f64 = value.and_then(|value| value.parse().ok()).expect(pod);
        println!("{pod}: told {told:.3}, generated {generated:.3}");
        let error = (told - generated).abs() / generated;
        assert!(
            error < 0.02,
            "{pod}: {told}, while {generated} were under way"
        );
    }
    let discovered = prometheus.query(made["discovery"].as_str().expect("a query"));
    assert_eq!(discovered.len(), pods.len(), "{discovered:?}");
    for load in loads {
        let report = load.finish();
        assert!(report.failures.is_empty(), "{:?}", report.failures);
    }
}

/// It accepts, and never answers.
#[test]
fn a_service_that_hangs_shows_in_the_kits_metrics_and_not_in_spans() {
    const HUNG: u32 = 10;
    let collector = Collector::start_with(&STALE_AFTER);
    let service = Service::start_cases(
        &format!("http://127.0.0.1:{}", collector.otlp_http),
        &[("BELLWETHER_CONCURRENCY_LIMIT", "20")],
    );
    for _ in 0..5 {
        let answer = get(&service.url("/quick")).expect("an answer");
        assert_eq!(answer.status, 200);
    }
    let scale = "/scale/cases?window=10s";
    let before = wait_for("what spans tell", || {
        Some(collector.api(scale)).filter(|scale| scale["rate"].as_f64() > Some(0.0))
    });
    assert_eq!(samples(&collector), 5, "{before}");
    let idle = sample(&service, "http_server_active_request_seconds_total");
    assert!(idle < 1.0, "{idle} s of five quick requests");

    let mut hung = Vec::new();
    for _ in 0..HUNG {
        let mut stream = TcpStream::connect(loopback(service.port)).expect("a connection");
        let request = b"GET /wait/3600000 HTTP/1.1\r\nhost: load.test\r\n\r\n";
        stream.write_all(request).expect("a request that is taken");
        hung.push(stream);
    }
    wait_for("the hung requests", || {
        (active(&service) == f64::from(HUNG)).then_some(())
    });
    let (begun, from) = (Instant::now(), seconds(&service));
    // As long as a pod that hangs is left alone: the saturation is a mean of 15 s.
    let concurrency = "bellwether_saturation_component_ratio{resource=\"concurrency\"}";
    wait_at_most(TWO_MINUTES, "saturation", || {
        (sample(&service, concurrency) > 0.45).then_some(())
    });
    assert!(sample(&service, "bellwether_saturation_ratio") > 0.45);
    let rate = (seconds(&service) - from) / begun.elapsed().as_secs_f64();
    assert!((rate - f64::from(HUNG)).abs() < 0.5, "{rate}");

    // Spans say the opposite: nothing to do.
    wait_at_most(TWO_MINUTES, "spans to tell of nothing", || {
        let scale = collector.api(scale);
        (scale["concurrency"] == 0.0 && scale["rate"] == 0.0).then_some(())
    });
    assert_eq!(samples(&collector), 5, "no span of what has not ended");
    // And in the end nothing at all.
    wait_at_most(TWO_MINUTES, "silence", || {
        (asked(&collector, scale).status == 409).then_some(())
    });
    assert_stale(&collector, scale);
    assert_eq!(active(&service), f64::from(HUNG));
}

fn asked(collector: &Collector, path: &str) -> Answer {
    let url = format!("http://127.0.0.1:{}/api/v1{path}", collector.web);
    get(&url).expect("an answer")
}

fn assert_stale(collector: &Collector, path: &str) {
    let error = &asked(collector, path).json()["error"];
    assert_eq!(error["code"], "stale", "{error}");
    let message = error["message"].as_str().expect("a text");
    assert!(message.contains("stale_after (40 s)"), "{message}");
}

/// Spans of the service that the collector has counted.
fn samples(collector: &Collector) -> u64 {
    let answer = collector.api("/services?service=cases");
    answer["items"][0]["samples"].as_u64().expect("a number")
}

fn seconds(service: &Service) -> f64 {
    sample(service, "http_server_active_request_seconds_total")
}

fn active(service: &Service) -> f64 {
    sample(
        service,
        "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"}",
    )
}

/// A sample of `/metrics`; 0 while it is not there.
fn sample(service: &Service, series: &str) -> f64 {
    let answer = get_with(&service.url("/metrics"), &[("accept", "text/plain")]);
    let text = answer.expect("metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    let value = line.map(|value| value.trim().parse().expect("a number"));
    value.unwrap_or_default()
}
