//! What a service that has started says, on its first lines and at its admin address.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bellwether::{Error, Kit};
use serde_json::Value;
use tracing_subscriber::Registry;

use crate::client::get;
use crate::service::{OWN_FILTER, Service, text};

#[test]
fn the_admin_address_needs_no_runtime() {
    let builder = Kit::builder("orders")
        .traces(false)
        .admin_addr(([127, 0, 0, 1], 0).into());
    // A layer that nobody installs: this process's subscriber is another test's.
    let (builder, _) = builder.log_layer::<Registry>().unwrap();
    let kit = builder.start().unwrap();
    let mut stream = TcpStream::connect(kit.admin_addr().unwrap()).unwrap();
    let request = b"GET /livez HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test]
async fn a_taken_admin_port_is_an_error_of_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Kit::builder("orders")
        .admin_addr(address)
        .start()
        .unwrap_err();
    assert!(matches!(&error, Error::Bind { .. }));
    assert!(error.to_string().contains(&address.to_string()));
}

#[tokio::test]
async fn the_first_line_says_what_is_in_force() {
    let service = Service::start(&[
        ("OTEL_SERVICE_NAME", "checkout"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("BELLWETHER_TRUST", "10.0.0.0/8"),
        ("BELLWETHER_DRAIN_DELY", "3s"),
    ])
    .await;
    let started = service.line(|line| line["message"] == "started").await;
    assert_eq!(text(&started, "service.name"), "checkout");
    assert_eq!(text(&started, "trust"), "10.0.0.0/8");
    assert_eq!(started["grace_seconds"], 10.0);
    assert_eq!(text(&started, "traces_exporter"), "none");
    assert_eq!(text(&started, "sampler"), "parentbased_always_on");
    assert_eq!(text(&started, "propagators"), "tracecontext,baggage");
    assert_eq!(text(&started, "log_format"), "json");
    let configured = text(&started, "configured");
    assert!(
        configured.contains("trust (BELLWETHER_TRUST)"),
        "{configured}"
    );
    assert!(!configured.contains("sampler"), "{configured}");
    let unread = |line: &Value| text(line, "message").contains("OTEL_TRACES_SAMPLER=\"sometimes\"");
    assert_eq!(service.line(unread).await["level"], "WARN");
    let misspelt = |line: &Value| text(line, "message").contains("BELLWETHER_DRAIN_DELY");
    let warning = service.line(misspelt).await;
    assert_eq!(warning["level"], "WARN");
    assert!(text(&warning, "message").contains("did you mean BELLWETHER_DRAIN_DELAY?"));
}

#[tokio::test]
async fn a_filter_of_the_service_that_hides_the_kits_lines_is_told_of_once() {
    let filter = "off,bellwether::serve=info";
    let service = Service::start(&[(OWN_FILTER, filter)]).await;
    let told = |line: &Value| line["target"] == "bellwether::log";
    let warning = service.line(told).await;
    assert_eq!(
        (&warning["level"], &warning["filter"]),
        (&"WARN".into(), &"info".into())
    );
    assert_eq!(service.lines().iter().filter(|line| told(line)).count(), 1);
    // Nothing to tell: both filters show the lines, or the kit's own hides them.
    for (filter, own) in [
        ("info", "info"),
        ("off,bellwether::serve=info", "off,bellwether::serve=info"),
    ] {
        let service = Service::start(&[(OWN_FILTER, filter), ("RUST_LOG", own)]).await;
        assert!(!service.lines().iter().any(told), "{filter} {own}");
    }
}

#[tokio::test]
async fn operators_see_more_than_callers() {
    let service = Service::start(&[("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0")]).await;
    let admin = service.admin().await;
    // Metrics have moved there, probes answer on both.
    assert_eq!(get(service.addr, "/metrics").await.status, 404);
    assert_eq!(get(admin, "/metrics").await.status, 200);
    assert_eq!(get(admin, "/nowhere").await.status, 404);
    assert_eq!(get(admin, "/livez").await.body, "ok\n");
    loop {
        let report = get(admin, "/readyz?verbose").await;
        assert_eq!(report.header("content-type"), "application/health+json");
        let report: Value = serde_json::from_str(&report.body).unwrap();
        let mail = &report["checks"]["mail"][0];
        if mail["output"] == "has not run yet" || report["status"] == "fail" {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        assert_eq!(
            (&report["status"], &mail["status"]),
            (&"warn".into(), &"warn".into())
        );
        assert_eq!(mail["output"], "no route to host");
        assert_eq!(report["checks"]["db"][0]["status"], "pass");
        assert!(mail["age"].is_number() && mail["observedValue"].is_number());
        break;
    }
    let public = get(service.addr, "/readyz?verbose&exclude=db").await;
    assert!(!public.body.contains("no route"), "{}", public.body);
    assert!(!public.body.contains("\"db\""), "{}", public.body);
}

#[tokio::test]
async fn operators_see_the_configuration_and_what_the_platform_says() {
    let service = Service::start(&[
        ("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=hunter2"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://me:hunter2@collector:4318",
        ),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "k8s.node.name=mine,db.password=hunter2",
        ),
        ("POD_NAME", "orders-7d9-x"),
        ("NODE_NAME", "theirs"),
    ])
    .await;
    let admin = service.admin().await;
    let answer = get(admin, "/config").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(!answer.body.contains("hunter2"), "{}", answer.body);
    let config: Value = serde_json::from_str(&answer.body).unwrap();
    let (settings, resource) = (&config["settings"], &config["resource"]);
    assert_eq!(settings["grace"]["value"], "10s");
    assert_eq!(settings["grace"]["variable"], "BELLWETHER_GRACE");
    assert_eq!(settings["trust"]["source"], "default");
    assert_eq!(settings["admin_addr"]["value"], admin.to_string());
    assert_eq!(settings["traces_headers"]["value"], "x-api-key=[redacted]");
    assert_eq!(resource["k8s.pod.name"]["source"], "platform");
    assert_eq!(resource["k8s.node.name"]["value"], "mine");
    assert_eq!(get(service.addr, "/config").await.status, 404);

    let metrics = get(admin, "/metrics").await.body;
    let target = metrics
        .lines()
        .find(|line| line.starts_with("target_info{"));
    let target = target.unwrap_or_else(|| panic!("{metrics}"));
    for label in [
        "service_name=\"orders\"",
        "service_instance_id=\"",
        "process_pid=\"",
        "k8s_pod_name=\"orders-7d9-x\"",
        "k8s_node_name=\"mine\"",
        "db_password=\"[redacted]\"",
        "telemetry_sdk_name=\"bellwether\"",
    ] {
        assert!(target.contains(label), "{label}: {target}");
    }
}

#[tokio::test]
async fn the_endpoints_are_where_the_environment_wants_them() {
    let service = Service::start(&[
        ("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0"),
        ("BELLWETHER_LIVE_PATH", "/internal/live"),
        ("BELLWETHER_READY_PATH", "/internal/ready"),
        ("BELLWETHER_METRICS_PATH", "/internal/metrics"),
    ])
    .await;
    let admin = service.admin().await;
    for (path, public, operators) in [
        ("/internal/live", 200, 200),
        ("/health/live", 404, 404),
        ("/internal/ready", 200, 200),
        ("/readyz", 404, 404),
        ("/startupz", 200, 200),
        ("/health/started", 200, 200),
        ("/internal/metrics", 404, 200),
        ("/metrics", 404, 404),
    ] {
        assert_eq!(get(service.addr, path).await.status, public, "{path}");
        let answer = get(admin, path).await;
        assert_eq!(answer.status, operators, "{path}");
        if operators == 404 {
            assert!(answer.body.contains("/internal/live"), "{}", answer.body);
        }
    }
}
