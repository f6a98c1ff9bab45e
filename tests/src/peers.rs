//! The real peers, as `tests/peers/install` leaves them. A test that lacks one says SKIPPED and why; with
//! `BELLWETHER_REQUIRE_PEERS=1` it fails.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;
use crate::system::free_port;
use crate::wait::wait_at_most;

/// Where the peers are cached.
pub fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    std::env::var_os("BELLWETHER_CACHE")
        .map_or_else(|| home().join(".cache/bellwether"), PathBuf::from)
}

/// `peer` if it is there; else says SKIPPED.
///
/// # Panics
/// When it is missing although `BELLWETHER_REQUIRE_PEERS=1`.
pub fn require<T>(test: &str, name: &str, peer: Option<T>) -> Option<T> {
    if peer.is_none() {
        let why = format!("{name} is not installed; `tests/peers/install` does it");
        let required = std::env::var("BELLWETHER_REQUIRE_PEERS").is_ok_and(|value| value == "1");
        assert!(!required, "{test}: {why}");
        // Past the test harness, which would hide the output of a test that passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
    }
    peer
}

/// A running Zipkin server.
#[derive(Debug)]
pub struct Zipkin {
    /// Its base URL.
    pub url: String,
    _process: Process,
}

/// Tags whose values such a Zipkin lists.
pub const AUTOCOMPLETE_KEYS: [&str; 2] = ["http.method", "http.status_code"];

/// Starts a Zipkin server; `None` when its jar or Java is missing.
pub fn zipkin() -> Option<Zipkin> {
    let jar = cache().join("zipkin-server-exec.jar");
    if !jar.exists() || !answers("java", "-version") {
        return None;
    }
    let port = free_port();
    let process = Process::start(
        "zipkin",
        Command::new("java")
            .env("AUTOCOMPLETE_KEYS", AUTOCOMPLETE_KEYS.join(","))
            .args(["-Xmx384m", "-XX:TieredStopAtLevel=1", "-jar"])
            .arg(jar)
            .arg("--armeria.ports[0].ip=127.0.0.1")
            .arg(format!("--armeria.ports[0].port={port}"))
            .arg("--armeria.ports[0].protocols[0]=http"),
    );
    let url = format!("http://127.0.0.1:{port}");
    wait_at_most(
        std::time::Duration::from_secs(120),
        "Zipkin to be healthy",
        || crate::http::get(&format!("{url}/health")).filter(|answer| answer.status == 200),
    );
    Some(Zipkin {
        url,
        _process: process,
    })
}

/// The interpreter of the virtual environment with the OpenTelemetry SDK.
pub fn python() -> Option<PathBuf> {
    Some(cache().join("python/bin/python")).filter(|python| python.exists())
}

/// schemathesis' command.
pub fn schemathesis() -> Option<PathBuf> {
    Some(cache().join("schemathesis/bin/st")).filter(|command| command.exists())
}

/// What reads and checks manifests of Kubernetes.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// kustomize.
    pub kustomize: PathBuf,
    /// The interpreter of the virtual environment with kubernetes-validate.
    pub python: PathBuf,
    /// The folder of the custom resources' definitions.
    pub definitions: PathBuf,
}

/// kustomize, kubernetes-validate and the definitions of custom resources, when all of them are there.
pub fn kubernetes() -> Option<Kubernetes> {
    let peers = Kubernetes {
        kustomize: cache().join("kustomize/kustomize"),
        python: cache().join("kubernetes/bin/python"),
        definitions: cache().join("crds"),
    };
    let there = [&peers.kustomize, &peers.python, &peers.definitions];
    there.iter().all(|path| path.exists()).then_some(peers)
}

/// The directory of the scripts for Node with the OpenTelemetry SDK, when Node and its packages are there.
pub fn node() -> Option<PathBuf> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/node");
    let packages = scripts.join("node_modules/@opentelemetry/sdk-trace-base/package.json");
    (packages.exists() && answers("node", "--version")).then_some(scripts)
}

/// The directory of the script that knows Grafana's dashboard types, when Node and its packages are there.
pub fn grafana_types() -> Option<PathBuf> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/grafana");
    let packages = scripts.join("node_modules/@grafana/schema/package.json");
    (packages.exists() && answers("node", "--version")).then_some(scripts)
}

/// The directory of the browser scripts, when Node, their packages and Chromium are there.
pub fn browser() -> Option<PathBuf> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let installed = scripts
        .join("node_modules/playwright-core/package.json")
        .exists();
    (installed && answers("node", "--version") && answers("chromium", "--version"))
        .then_some(scripts)
}

/// The load generator, by name on the path.
pub fn hey() -> Option<&'static str> {
    // `hey` without arguments prints its usage and exits with 1: being started at all is the answer.
    Command::new("hey").output().is_ok().then_some("hey")
}

/// HAProxy, by name on the path; `/usr/sbin`, where Debian puts it, is on not everyone's.
pub fn haproxy() -> Option<&'static str> {
    ["haproxy", "/usr/sbin/haproxy"]
        .into_iter()
        .find(|program| answers(program, "-v"))
}

fn answers(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .output()
        .is_ok_and(|output| output.status.success())
}
