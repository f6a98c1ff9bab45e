//! The environment, read from tables: the process environment is never touched.

use super::*;
use crate::log::Recorded;
use crate::trace::{Compression, Endpoint, ExporterKind, Protocol};

fn read(variables: &[(&str, &str)]) -> Config {
    Config::read("orders", &|name| {
        variables
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn nothing_set_is_a_whole_configuration() {
    let config = read(&[]);
    assert!(config.all_faults().is_empty());
    assert!(config.warnings.is_empty());
    assert_eq!(config.service, "orders");
    assert_eq!(config.port, 8080);
    assert_eq!(config.grace, Duration::from_secs(25));
    assert_eq!(config.drain_delay, Duration::from_secs(5));
    assert_eq!(config.trust, Trust::Private);
    assert_eq!(config.request_id_header, "x-request-id");
    assert_eq!(config.log.filter, "info");
    assert_eq!(config.sampler, Sampler::ParentBasedAlwaysOn);
    assert_eq!(config.export.url(), "http://localhost:4318/v1/traces");
    assert_eq!(config.propagation, Propagation::default());
    assert!(config.traces && config.color);
    assert_eq!(
        (
            config.request_timeout,
            config.concurrency_limit,
            config.log_format
        ),
        (None, None, None)
    );
}

#[test]
fn ours_are_read() {
    let config = read(&[
        ("PORT", "9000"),
        ("BELLWETHER_ADMIN_ADDR", ":9090"),
        ("BELLWETHER_LOG_FORMAT", "pretty"),
        ("BELLWETHER_GRACE", "10s"),
        ("BELLWETHER_DRAIN_DELAY", "500ms"),
        ("BELLWETHER_REQUEST_TIMEOUT", "2s"),
        ("BELLWETHER_LIVENESS_TIMEOUT", "2m"),
        ("BELLWETHER_LIVE_PATH", "/healthz"),
        ("BELLWETHER_READY_PATH", "/readyz"),
        ("BELLWETHER_CONCURRENCY_LIMIT", "64"),
        ("BELLWETHER_TRUST", "10.0.0.0/8"),
        ("BELLWETHER_REQUEST_ID_HEADER", "X-Correlation-Id"),
        ("RUST_LOG", "warn,orders=debug"),
    ]);
    assert_eq!(config.all_faults(), Vec::<String>::new());
    assert_eq!(config.port, 9000);
    assert_eq!(config.admin_addr, "0.0.0.0:9090".parse().ok());
    assert_eq!(config.log_format, Some(LogFormat::Pretty));
    assert_eq!(config.grace, Duration::from_secs(10));
    assert_eq!(config.drain_delay, Duration::from_millis(500));
    assert_eq!(config.request_timeout, Some(Duration::from_secs(2)));
    assert_eq!(config.concurrency_limit, Some(64));
    assert_eq!(config.liveness_timeout, Some(Duration::from_secs(120)));
    assert_eq!(config.paths.live(), ["/healthz"]);
    assert_eq!(config.paths.ready(), ["/readyz"]);
    assert_eq!(config.paths.startup().len(), 2);
    assert_eq!(config.trust.to_string(), "10.0.0.0/8");
    assert_eq!(config.request_id_header, "x-correlation-id");
    assert_eq!(config.log.filter, "warn,orders=debug");
}

#[test]
fn every_fault_of_ours_is_told_at_once_with_what_is_allowed() {
    fn check(name: &str, value: &str, allowed: &str) {
        let faults = read(&[(name, value)]).all_faults();
        let [fault] = faults.as_slice() else {
            panic!("{name}={value}: {faults:?}");
        };
        let named = fault.contains(&format!("{name}={value:?}"));
        assert!(named && fault.contains(allowed), "{fault}");
    }
    check("PORT", "http", "port number");
    check("PORT", "65536", "port number");
    check("BELLWETHER_ADMIN_ADDR", "localhost", "127.0.0.1:9090");
    check("BELLWETHER_LOG_FORMAT", "xml", "json, gcp, ecs or pretty");
    check("BELLWETHER_GRACE", "25", "500ms");
    check("BELLWETHER_DRAIN_DELAY", "soon", "500ms");
    check("BELLWETHER_REQUEST_TIMEOUT", "0s", "longer than 0");
    check("BELLWETHER_LIVENESS_TIMEOUT", "0", "must be off or");
    check("BELLWETHER_LIVE_PATH", "healthz", "such as /internal/live");
    check("BELLWETHER_READY_PATH", "/{id}", "such as /internal/live");
    check("BELLWETHER_CONCURRENCY_LIMIT", "0", "from 1");
    check("BELLWETHER_TRUST", "nobody", "private");
    check("BELLWETHER_REQUEST_ID_HEADER", "a b", "x-request-id");
    check(
        "BELLWETHER_REQUEST_ID_HEADER",
        "Content-Length",
        "of its own",
    );
    check("BELLWETHER_RECORDER", "shop=loud", "checkout=debug");
    check("BELLWETHER_RECORDER_SLOW", "1", "500ms");
    check("BELLWETHER_RECORDER_BYTES", "16k", "from 1024");
    check("BELLWETHER_RECORDER_BYTES", "1023", "from 1024");
    check("BELLWETHER_RECORDER_BYTES", "1048577", "to 1048576");
    check("BELLWETHER_LOG_RATE_LIMIT", "0", "from 1");
    check("BELLWETHER_LOG_RATE_LIMIT", "many", "off");

    let all = read(&[
        ("PORT", "x"),
        ("BELLWETHER_GRACE", "x"),
        ("BELLWETHER_TRUST", "x"),
    ]);
    assert_eq!(all.all_faults().len(), 3);
}

#[test]
fn liveness_may_be_off_and_probes_do_not_share_a_path() {
    assert_eq!(read(&[]).liveness_timeout, Some(DEFAULT_LIVENESS_TIMEOUT));
    let off = read(&[("BELLWETHER_LIVENESS_TIMEOUT", "off")]);
    assert_eq!(off.liveness_timeout, None);
    let shared = read(&[("BELLWETHER_LIVE_PATH", "/readyz")]);
    let faults = shared.all_faults();
    assert!(
        faults.len() == 1 && faults[0].contains("\"/readyz\""),
        "{faults:?}"
    );
}

#[test]
fn the_logs_control_is_read() {
    let control = read(&[]).log;
    assert_eq!(control.rate_limit, Some(1_000));
    let recorder = control.recorder.unwrap();
    assert!(matches!(recorder.recorded, Recorded::Service));
    assert_eq!(recorder.slow, Some(Duration::from_secs(1)));
    assert_eq!(recorder.request_bytes, 16 * 1024);
    assert_eq!(recorder.total_bytes, 4 * 1024 * 1024);

    let control = read(&[
        ("BELLWETHER_RECORDER", "checkout=debug,sqlx=info"),
        ("BELLWETHER_RECORDER_SLOW", "off"),
        ("BELLWETHER_RECORDER_BYTES", "4096"),
        ("BELLWETHER_LOG_RATE_LIMIT", "off"),
    ])
    .log;
    assert_eq!(control.rate_limit, None);
    let recorder = control.recorder.unwrap();
    assert!(matches!(recorder.recorded, Recorded::Only(_)));
    assert_eq!((recorder.slow, recorder.request_bytes), (None, 4_096));

    let off = read(&[
        ("BELLWETHER_RECORDER", "off"),
        ("BELLWETHER_RECORDER_SLOW", "2s"),
    ]);
    assert!(off.log.recorder.is_none());
}

#[test]
fn empty_is_unset() {
    let config = read(&[
        ("PORT", ""),
        ("BELLWETHER_GRACE", " "),
        ("OTEL_TRACES_SAMPLER", ""),
        ("OTEL_SERVICE_NAME", ""),
        ("RUST_LOG", ""),
    ]);
    assert!(config.all_faults().is_empty());
    assert!(config.warnings.is_empty());
    assert_eq!(config.service, "orders");
}

#[test]
fn shutdown_times_fit_into_each_other() {
    fn check(variables: &[(&str, &str)], grace: u64, delay_ms: u64, faults: usize) {
        let config = read(variables);
        assert_eq!(config.grace, Duration::from_secs(grace), "{variables:?}");
        assert_eq!(
            config.drain_delay,
            Duration::from_millis(delay_ms),
            "{variables:?}"
        );
        assert_eq!(config.all_faults().len(), faults, "{variables:?}");
    }
    check(&[("K_SERVICE", "orders")], 9, 0, 0);
    check(
        &[("K_SERVICE", "orders"), ("BELLWETHER_DRAIN_DELAY", "1s")],
        9,
        1_000,
        0,
    );
    check(&[("BELLWETHER_GRACE", "4s")], 4, 800, 0);
    check(&[("BELLWETHER_GRACE", "60s")], 60, 5_000, 0);
    check(
        &[("BELLWETHER_GRACE", "4s"), ("BELLWETHER_DRAIN_DELAY", "4s")],
        4,
        4_000,
        1,
    );
}

#[test]
fn theirs_are_read() {
    let config = read(&[
        ("OTEL_SERVICE_NAME", "checkout"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=other, team=a%20b,deployment.environment.name=test",
        ),
        ("OTEL_PROPAGATORS", "none"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20x,x-a=b",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "1000"),
    ]);
    assert_eq!(config.service, "checkout");
    let resource = [("team", "a b"), ("deployment.environment.name", "test")];
    assert_eq!(
        config.resource,
        resource.map(|(k, v)| (k.to_owned(), v.to_owned()))
    );
    assert_eq!(config.propagation, Propagation::NONE);
    assert_eq!(config.sampler, Sampler::Ratio(0.25));
    let export = &config.export;
    assert_eq!(export.exporter, ExporterKind::Console);
    assert_eq!(export.protocol, Protocol::Grpc);
    assert_eq!(export.endpoint, Endpoint::Base("http://c:4317".to_owned()));
    assert_eq!(export.compression, Compression::Gzip);
    assert_eq!(export.timeout, Duration::from_millis(2_500));
    assert_eq!(export.schedule_delay, Duration::ZERO);
    assert_eq!(
        (export.max_queue_size, export.max_export_batch_size),
        (100, 100)
    );
    let values: Vec<_> = export
        .headers
        .iter()
        .map(|(_, value)| value.as_bytes())
        .collect();
    assert_eq!(values, [b"Bearer x".as_slice(), b"b"]);
    // The batch that cannot be larger than the queue.
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}

#[test]
fn unreadable_ones_of_theirs_are_warned_of_and_ignored() {
    fn check(name: &str, value: &str, part: &str) -> Config {
        let config = read(&[(name, value)]);
        assert!(config.all_faults().is_empty(), "{name}");
        let [warning] = config.warnings.as_slice() else {
            panic!("{name}={value}: {:?}", config.warnings);
        };
        assert!(
            warning.contains(name) && warning.contains(part),
            "{warning}"
        );
        config
    }
    assert!(check("OTEL_SDK_DISABLED", "yes", "true or false").traces);
    assert!(
        check("OTEL_RESOURCE_ATTRIBUTES", "a=b,c", "key=value")
            .resource
            .is_empty()
    );
    let known = check("OTEL_PROPAGATORS", "xray,baggage", "b3multi, gcp or none").propagation;
    let mut baggage = Propagation::NONE;
    baggage.baggage = true;
    assert_eq!(known, baggage);
    for unknown in ["jaeger", "ottrace", "B3"] {
        let propagation = check("OTEL_PROPAGATORS", unknown, unknown).propagation;
        assert_eq!(propagation, Propagation::default());
    }
    check("OTEL_TRACES_SAMPLER", "jaeger_remote", "always_on");
    check("OTEL_TRACES_EXPORTER", "zipkin", "otlp, console or none");
    check("OTEL_EXPORTER_OTLP_PROTOCOL", "http", "http/protobuf");
    check("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://x", "URL");
    check("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "URL");
    check("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "whole number");
    check("OTEL_BSP_MAX_QUEUE_SIZE", "0", "from 1");
    assert_eq!(
        check("RUST_LOG", "orders=loud", "info is in force")
            .log
            .filter,
        "info"
    );
    let secret = check("OTEL_EXPORTER_OTLP_HEADERS", "s3cret", "name=value");
    assert!(!secret.warnings.concat().contains("s3cret"));
}

#[test]
fn propagators_keep_their_order() {
    use crate::context::Format::{B3, B3Multi, Gcp, TraceContext};

    fn check(value: &str, formats: &[crate::context::Format], baggage: bool) {
        let config = read(&[("OTEL_PROPAGATORS", value)]);
        let mut expected = Propagation::NONE;
        formats.iter().for_each(|format| expected.add(*format));
        expected.baggage = baggage;
        assert_eq!(config.propagation, expected, "{value}");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
    check("b3", &[B3], false);
    check(" gcp, tracecontext,,baggage ", &[Gcp, TraceContext], true);
    check("b3multi,b3,b3multi", &[B3Multi, B3], false);
    let all = [TraceContext, B3, B3Multi, Gcp];
    check("baggage,tracecontext,b3,b3multi,gcp,b3", &all, true);
    check("b3,none", &[], false);
    assert_ne!(
        read(&[("OTEL_PROPAGATORS", "gcp,b3")]).propagation,
        read(&[("OTEL_PROPAGATORS", "b3,gcp")]).propagation
    );
}

#[test]
fn a_signal_s_own_variable_falls_back_to_the_generic_one() {
    let config = read(&[
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ]);
    assert_eq!(config.export.compression, Compression::Gzip);
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn a_disabled_sdk_makes_no_spans() {
    assert!(!read(&[("OTEL_SDK_DISABLED", "TRUE")]).traces);
}

#[test]
fn a_service_needs_a_name() {
    let nameless = Config::read(" ", &|_| None);
    assert_eq!(nameless.all_faults().len(), 1);
}

#[test]
fn the_documentation_names_every_variable_that_is_read() {
    let documentation = include_str!("../../docs/configuration.md");
    let asked = std::cell::RefCell::new(Vec::new());
    Config::read("orders", &|name| {
        asked.borrow_mut().push(name.to_owned());
        None
    });
    let asked = asked.into_inner();
    assert!(asked.len() > 20, "{asked:?}");
    let ours = asked.iter().filter(|name| name.starts_with("BELLWETHER_"));
    let mut ours: Vec<_> = ours.map(String::as_str).collect();
    ours.sort_unstable();
    assert_eq!(
        ours,
        misspelt::OURS,
        "what misspelt names are compared with"
    );
    for name in asked {
        assert!(
            documentation.contains(&format!("`{name}`")),
            "{name} is not documented"
        );
    }
}

#[test]
fn no_secret_is_an_attribute_of_the_resource() {
    let config = read(&[
        ("OTEL_SERVICE_NAME", "http://me:s3cret@h"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "db.password=s3cret,url=http://me:s3cret@h",
        ),
        ("POD_NAME", "http://me:s3cret@h"),
    ]);
    let attributes = config.resource_attributes();
    assert!(
        !format!("{attributes:?}").contains("s3cret"),
        "{attributes:?}"
    );
    let value = |name: &str| {
        let found = attributes.iter().find(|(key, ..)| key == name);
        found.map(|(_, value, _)| &**value)
    };
    assert_eq!(value("db.password"), Some("[redacted]"));
    assert_eq!(value("url"), Some("http://[redacted]@h"));
    assert_eq!(value("service.name"), Some("http://[redacted]@h"));
}
