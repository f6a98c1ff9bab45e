//! What stops a kit from starting, with axum or without.

use std::convert::Infallible;
use std::time::Duration;

use bellwether::{Error, Kit, check, checks};
use tracing_subscriber::layer::SubscriberExt;

fn passing() -> bellwether::Check {
    check(|| async { Ok::<(), Infallible>(()) })
}

#[test]
fn faults_of_the_builder_surface_at_start() {
    let builder = Kit::builder("orders")
        .trust("nobody")
        .drain_delay(Duration::MAX);
    let Err(Error::Config(faults)) = builder.start() else {
        panic!("started");
    };
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(
        faults.iter().any(|fault| fault.contains("\"nobody\"")),
        "{faults:?}"
    );
}

#[test]
fn what_a_probe_or_a_check_cannot_be_is_a_fault() {
    let builder = Kit::builder("orders")
        .live_path("healthz")
        .ready_path("/ready")
        .startup_path("/ready")
        .check("db", checks::tcp("db"));
    let Err(Error::Config(faults)) = builder.start() else {
        panic!("started");
    };
    let told = |part: &str| faults.iter().any(|fault| fault.contains(part));
    assert!(told("\"healthz\" for BELLWETHER_LIVE_PATH"), "{faults:?}");
    assert!(told("the path \"/ready\" is asked for twice"), "{faults:?}");
    assert!(
        told("health check \"db\": \"db\" must be HOST:PORT"),
        "{faults:?}"
    );
}

#[test]
fn a_check_has_a_name_of_its_own() {
    let builder = Kit::builder("orders")
        .check("db", passing())
        .check("db", passing());
    assert!(matches!(builder.start(), Err(Error::DuplicateCheck(name)) if name == "db"));
}

#[test]
fn checks_need_a_runtime() {
    let error = Kit::builder("orders")
        .check("db", passing())
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::NoRuntime { .. }));
    assert!(error.to_string().contains("#[tokio::main]"));
}

#[test]
fn names_and_paths_that_cannot_be_are_faults_of_start() {
    let builder = Kit::builder("orders")
        .log_request_headers(["x tenant"])
        .log_query_keys(["page", "sort"])
        .redact(["card number"])
        .live_path("live")
        .ready_path("/metrics");
    let Err(Error::Config(faults)) = builder.start() else {
        panic!("started");
    };
    let all = faults.join("\n");
    assert_eq!(faults.len(), 4, "{all}");
    for part in [
        "log_request_headers(\"x tenant\")",
        "redact(\"card number\")",
        "\"live\" for BELLWETHER_LIVE_PATH",
        "\"/metrics\" is asked for twice",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
}

#[test]
fn what_the_layer_has_settled_is_a_fault_behind_it() {
    let (builder, layer) = Kit::builder("orders")
        .log_layer::<tracing_subscriber::Registry>()
        .unwrap();
    drop(layer);
    let builder = builder
        .log_format(bellwether::LogFormat::Gcp)
        .recorder("off")
        .redact(["ssn"])
        .traces(false)
        .grace(Duration::from_secs(7));
    let Err(Error::Config(faults)) = builder.start() else {
        panic!("started, and does not do what it was told");
    };
    let all = faults.join("\n");
    assert_eq!(faults.len(), 4, "{all}");
    for part in [
        "BELLWETHER_LOG_FORMAT",
        "BELLWETHER_RECORDER",
        "BELLWETHER_REDACT",
        "OTEL_SDK_DISABLED",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
}

/// The only test that sets this process's subscriber.
#[test]
fn a_subscriber_of_the_service_is_joined_or_refused_by_name() {
    let (builder, layer) = Kit::builder("orders")
        .traces(false)
        .grace(Duration::from_secs(7))
        .service_version("1.2.3")
        .log_layer()
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).unwrap();
    // Without a runtime: nothing here needs one.
    let kit = builder.start().unwrap();
    assert_eq!(kit.service_name(), "orders");
    let told = kit.describe();
    let grace = told.settings().find(|setting| setting.name() == "grace");
    let grace = grace.map(|grace| (grace.value(), grace.source()));
    assert_eq!(grace, Some(("7s", bellwether::Source::Code)));
    let table = told.to_string();
    let mut version = table
        .lines()
        .filter(|line| line.starts_with("service.version "));
    assert!(
        version.any(|line| line.contains("1.2.3") && line.ends_with("code")),
        "{table}"
    );
    let refused = Kit::builder("orders").traces(false).start().unwrap_err();
    assert!(matches!(refused, Error::SubscriberAlreadySet));
    assert!(refused.to_string().contains("KitBuilder::log_layer"));
}
