//! What manifests say of each other: selectors, ports, names, addresses, variables. Each check returns what does not fit, so
//! that `faults` can show that it is told.

use std::time::Duration;

use bellwether_tests::process::Process;
use serde_json::Value;

use crate::manifests::{Workload, id, list, of_kind, port, selects, text, workloads};

/// Where a variable's URL leads.
#[derive(Debug)]
pub(crate) struct Destination<'a> {
    pub(crate) url: String,
    pub(crate) service: &'a Value,
    /// The Service's.
    pub(crate) port: u64,
}

/// The Services that the variables of a workload name.
pub(crate) fn destinations<'a>(documents: &'a [Value], from: Workload<'_>) -> Vec<Destination<'a>> {
    let urls = from.containers().flat_map(urls);
    let found = urls.filter_map(|(url, host, port)| {
        let service = service(documents, &host)?;
        Some(Destination { url, service, port })
    });
    found.collect()
}

/// The Service of this host name: its name alone, or with namespace and what may come behind it.
pub(crate) fn service<'a>(documents: &'a [Value], host: &str) -> Option<&'a Value> {
    of_kind(documents, "Service").find(|service| {
        let (name, namespace) = (
            &service["metadata"]["name"],
            &service["metadata"]["namespace"],
        );
        let (name, namespace) = (text(name), text(namespace));
        let suffixes = ["", ".svc", ".svc.cluster.local"];
        host == name
            || suffixes
                .iter()
                .any(|suffix| host == format!("{name}.{namespace}{suffix}"))
    })
}

/// Text, host and port of each.
fn urls(container: &Value) -> Vec<(String, String, u64)> {
    let values = list(&container["env"]).map(|variable| text(&variable["value"]));
    let urls = values.filter(|value| value.contains("://"));
    urls.map(|url| {
        let (host, port) = host_and_port(url);
        (url.to_owned(), host, port)
    })
    .collect()
}

pub(crate) fn host_and_port(url: &str) -> (String, u64) {
    let authority = url
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    let (host, port) = authority
        .and_then(|authority| authority.split_once(':'))
        .unwrap_or_default();
    (host.to_owned(), port.parse().unwrap_or_default())
}

/// The workloads behind a Service, each with its port; none where the Service has no such port.
pub(crate) fn service_pods<'a>(
    documents: &'a [Value],
    service: &Value,
    wanted: u64,
) -> Vec<(Workload<'a>, u64)> {
    let spec = &service["spec"];
    let Some(of_service) = list(&spec["ports"]).find(|port| port["port"] == wanted) else {
        return Vec::new();
    };
    let pods = workloads(documents).filter(|pod| selects(&spec["selector"], pod.labels));
    pods.filter_map(|pod| Some((pod, pod.port(&of_service["targetPort"])?)))
        .collect()
}

/// Each selects something, and a workload its own pods.
pub(crate) fn selectors(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in workloads(documents) {
        let own = [&workload.document["spec"]["selector"]];
        let spread =
            list(&workload.pod["topologySpreadConstraints"]).map(|spread| &spread["labelSelector"]);
        for selector in own.into_iter().chain(spread) {
            if !selects(selector, workload.labels) {
                faults.push(format!(
                    "{}: {selector} does not select its own pods",
                    workload.id()
                ));
            }
        }
    }
    let services: Vec<&Value> = of_kind(documents, "Service").collect();
    let pods: Vec<&Value> = workloads(documents)
        .map(|workload| workload.labels)
        .collect();
    for document in documents {
        let (selector, among) = match text(&document["kind"]) {
            "Service" | "PodDisruptionBudget" | "PodMonitor" => {
                (&document["spec"]["selector"], pods.clone())
            }
            "NetworkPolicy" => (&document["spec"]["podSelector"], pods.clone()),
            "ServiceMonitor" => {
                let labels = services
                    .iter()
                    .map(|service| &service["metadata"]["labels"]);
                (&document["spec"]["selector"], labels.collect())
            }
            _ => continue,
        };
        let peers = ["ingress", "egress"]
            .into_iter()
            .flat_map(|way| list(&document["spec"][way]));
        let peers = peers.flat_map(|rule| list(&rule["from"]).chain(list(&rule["to"])));
        let peers = peers
            .map(|peer| &peer["podSelector"])
            .filter(|selector| !selector.is_null());
        for selector in std::iter::once(selector).chain(peers) {
            if !among.iter().any(|labels| selects(selector, labels)) {
                faults.push(format!("{}: {selector} selects nothing", id(document)));
            }
        }
    }
    faults
}

/// Where each probe asks. A pod that answers one answers all, once it is ready: that liveness asks for readiness shows only
/// when a database is away, and then restarts every pod for it.
const PROBES: [(&str, &str); 3] = [
    ("startupProbe", "/startupz"),
    ("livenessProbe", "/livez"),
    ("readinessProbe", "/readyz"),
];

/// Each port that is named is declared by whom it is asked of.
pub(crate) fn ports(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in workloads(documents) {
        for container in workload.containers() {
            for (name, path) in PROBES {
                let probe = &container[name];
                let asked_path = &probe["httpGet"]["path"];
                if !asked_path.is_null() && asked_path != path {
                    faults.push(format!("{}: {name} asks {asked_path}", workload.id()));
                }
                let asked = ["httpGet", "grpc"].map(|way| &probe[way]["port"]);
                for asked in asked.into_iter().filter(|asked| !asked.is_null()) {
                    if port(container, asked).is_none() {
                        faults.push(format!(
                            "{}: a probe of {asked}, which is no port",
                            workload.id()
                        ));
                    }
                }
            }
        }
    }
    for service in of_kind(documents, "Service") {
        for port in list(&service["spec"]["ports"]) {
            let number = port["port"].as_u64().unwrap_or_default();
            let is_named_so = port["targetPort"] == port["name"];
            if !is_named_so || service_pods(documents, service, number).is_empty() {
                faults.push(format!(
                    "{}: {} leads nowhere",
                    id(service),
                    port["targetPort"]
                ));
            }
        }
    }
    for policy in of_kind(documents, "NetworkPolicy") {
        for rule in list(&policy["spec"]["ingress"]) {
            let pods = || {
                workloads(documents)
                    .filter(|pod| selects(&policy["spec"]["podSelector"], pod.labels))
            };
            for port in list(&rule["ports"]) {
                if !pods().any(|pod| pod.port(&port["port"]).is_some()) {
                    faults.push(format!("{}: {} is no port", id(policy), port["port"]));
                }
            }
        }
    }
    for monitor in of_kind(documents, "PodMonitor") {
        let pods =
            || workloads(documents).filter(|pod| selects(&monitor["spec"]["selector"], pod.labels));
        for endpoint in list(&monitor["spec"]["podMetricsEndpoints"]) {
            if !pods().any(|pod| pod.port(&endpoint["port"]).is_some()) {
                faults.push(format!("{}: {} is no port", id(monitor), endpoint["port"]));
            }
        }
    }
    for monitor in of_kind(documents, "ServiceMonitor") {
        let selector = &monitor["spec"]["selector"];
        let services = || {
            of_kind(documents, "Service")
                .filter(|service| selects(selector, &service["metadata"]["labels"]))
        };
        for endpoint in list(&monitor["spec"]["endpoints"]) {
            let ports = services().flat_map(|service| list(&service["spec"]["ports"]));
            if !ports
                .into_iter()
                .any(|port| port["name"] == endpoint["port"])
            {
                faults.push(format!("{}: {} is no port", id(monitor), endpoint["port"]));
            }
        }
    }
    faults
}

/// Where services send their spans in each overlay.
pub(crate) fn ways(overlay: &str, documents: &[Value]) -> Vec<String> {
    let collector = match overlay {
        "agent" => "bellwether-agent",
        // What is in the pod is no Service: the sidecar sends on.
        _ => "bellwether-gateway",
    };
    let mut faults = Vec::new();
    for workload in workloads(documents) {
        let to = if workload.id() == "DaemonSet/bellwether-agent" {
            "bellwether-gateway"
        } else {
            collector
        };
        let own = workload.id() == "Deployment/bellwether-gateway";
        let destinations = destinations(documents, workload);
        let mut services = destinations
            .iter()
            .map(|one| &one.service["metadata"]["name"]);
        if !own && !services.any(|service| service == to) {
            faults.push(format!("{}: sends nothing to {to}", workload.id()));
        }
    }
    for service in of_kind(documents, "Service") {
        let agent = service["metadata"]["name"] == "bellwether-agent";
        if agent && service["spec"]["internalTrafficPolicy"] != "Local" {
            faults.push(format!("{}: leads to other nodes", id(service)));
        }
    }
    faults
}

/// Accounts are there, images are of this version, and everything is in one namespace.
pub(crate) fn names(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    let accounts: Vec<_> = of_kind(documents, "ServiceAccount")
        .map(|account| &account["metadata"]["name"])
        .collect();
    for workload in workloads(documents) {
        if !accounts.contains(&&workload.pod["serviceAccountName"]) {
            faults.push(format!(
                "{}: no account {}",
                workload.id(),
                workload.pod["serviceAccountName"]
            ));
        }
        for container in workload.containers() {
            let image = text(&container["image"]);
            if !image.ends_with(concat!(":", env!("CARGO_PKG_VERSION"))) {
                faults.push(format!("{}: {image} is not of this version", workload.id()));
            }
        }
    }
    let namespaced = documents
        .iter()
        .filter(|document| !["Namespace", "ConfigMap"].contains(&text(&document["kind"])));
    let namespace = of_kind(documents, "Namespace")
        .next()
        .map(|namespace| &namespace["metadata"]["name"]);
    for document in namespaced {
        let own = &document["metadata"]["namespace"];
        // A file that is applied by itself is given one then.
        let given = document["kind"] == "ScaledObject" && own.is_null();
        if Some(own) != namespace && !given {
            faults.push(format!("{}: namespace {own}", id(document)));
        }
    }
    faults
}

/// What URLs of these schemes may lead to: names of Services' ports.
const SPOKEN: [(&str, &[&str]); 3] = [
    ("otlp+grpc://", &["otlp-grpc"]),
    ("otlp+http://", &["otlp-http"]),
    // The calculator's own calls, and the kit's spans.
    ("http://", &["http", "otlp-http"]),
];

/// Each URL of a variable leads to a Service of the same namespace that speaks as it says, or to the pod itself.
pub(crate) fn addresses(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in workloads(documents) {
        let collector = workload
            .containers()
            .any(|container| container["name"] == "bellwether");
        for (url, host, port) in workload.containers().flat_map(urls) {
            // That the sidecar listens there is seen when the pod is run.
            if host == "localhost" && collector {
                continue;
            }
            let service = service(documents, &host);
            let pods = service.map(|service| service_pods(documents, service, port));
            if pods.is_none_or(|pods| pods.is_empty()) {
                faults.push(format!("{}: {url} leads nowhere", workload.id()));
            }
            let ports = service.map(|service| &service["spec"]["ports"]);
            let mut ports = ports.into_iter().flat_map(list);
            let named = ports.find(|one| one["port"] == port);
            let spoken = SPOKEN.iter().find(|(scheme, _)| url.starts_with(scheme));
            let (Some(named), Some((_, spoken))) = (named, spoken) else {
                continue;
            };
            if !spoken.contains(&text(&named["name"])) {
                let name = &named["name"];
                faults.push(format!("{}: {url} speaks to {name}", workload.id()));
            }
        }
    }
    faults
}

/// A variable is documented where its program's are, and `$(NAME)` is one before it.
pub(crate) fn environment(documents: &[Value]) -> Vec<String> {
    let kit = include_str!("../../../kit/docs/configuration.md");
    let collector = include_str!("../../../docs/collector-configuration.md");
    let mut faults = Vec::new();
    for workload in workloads(documents) {
        for container in workload.containers() {
            let mut known: Vec<&str> = Vec::new();
            for variable in list(&container["env"]) {
                let (name, value) = (text(&variable["name"]), text(&variable["value"]));
                let quoted = format!("`{name}`");
                let documented = kit.contains(&quoted)
                    || match text(&container["name"]) {
                        "bellwether" => collector.contains(&quoted),
                        _ => help().contains(&format!("[env: {name}=")),
                    };
                if !documented {
                    faults.push(format!("{}: nobody reads {name}", workload.id()));
                }
                for referred in value.split("$(").skip(1) {
                    let referred = referred.split(')').next().unwrap_or_default();
                    if !known.contains(&referred) {
                        faults.push(format!("{}: {name} refers to {referred}", workload.id()));
                    }
                }
                known.push(name);
            }
        }
    }
    faults
}

/// What the calculator says of its flags and variables.
fn help() -> &'static str {
    static HELP: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    HELP.get_or_init(|| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_calculator"));
        command.env_clear().args(["api", "--help"]);
        let mut process = Process::start("calculator", &mut command);
        assert!(process.wait(Duration::from_secs(30)).success());
        bellwether_tests::wait::wait_for("its help", || {
            let text = process.output().join("\n");
            text.contains("--port").then_some(text)
        })
    })
}
