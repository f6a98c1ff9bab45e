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
    assert!(told("live_path(\"healthz\")"), "{faults:?}");
    assert!(told("two probes are to answer at \"/ready\""), "{faults:?}");
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

/// The only test that sets this process's subscriber.
#[test]
fn a_subscriber_of_the_service_is_joined_or_refused_by_name() {
    let (builder, layer) = Kit::builder("orders").traces(false).log_layer().unwrap();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).unwrap();
    // Without a runtime: nothing here needs one.
    let kit = builder.start().unwrap();
    assert_eq!(kit.service_name(), "orders");
    let refused = Kit::builder("orders").traces(false).start().unwrap_err();
    assert!(matches!(refused, Error::SubscriberAlreadySet));
    assert!(refused.to_string().contains("KitBuilder::log_layer"));
}
