//! What has to be small enough, or long enough, for what stands beside it: rights, times, memory, and the numbers that
//! autoscalers and their targets have.

use serde_json::{Value, json};

use crate::manifests::{Workload, id, list, of_kind, selects, text, workloads};
use crate::network;
use crate::references::{host_and_port, service, service_pods};

/// As the restricted level of Pod Security asks, and a file system that cannot be written.
pub(crate) fn hardening(documents: &[Value]) -> Vec<String> {
    let of_pod = [
        ("/automountServiceAccountToken", json!(false)),
        ("/enableServiceLinks", json!(false)),
        ("/securityContext/runAsNonRoot", json!(true)),
        ("/securityContext/runAsUser", json!(65532)),
        (
            "/securityContext/seccompProfile/type",
            json!("RuntimeDefault"),
        ),
    ];
    let of_container = [
        ("/securityContext/allowPrivilegeEscalation", json!(false)),
        ("/securityContext/readOnlyRootFilesystem", json!(true)),
        ("/securityContext/capabilities/drop", json!(["ALL"])),
    ];
    let mut faults = Vec::new();
    for workload in workloads(documents) {
        let pod = of_pod.iter().map(|wanted| (workload.pod, wanted));
        let containers = workload
            .containers()
            .flat_map(|one| of_container.iter().map(move |wanted| (one, wanted)));
        for (at, (pointer, wanted)) in pod.chain(containers) {
            if at.pointer(pointer) != Some(wanted) {
                faults.push(format!("{}: {pointer} is not {wanted}", workload.id()));
            }
        }
        for port in workload
            .containers()
            .flat_map(|container| list(&container["ports"]))
        {
            if !port["hostPort"].is_null() {
                faults.push(format!("{}: hostPort", workload.id()));
            }
        }
    }
    faults
}

/// Each Deployment has a disruption budget of its own; pods of which there are several are spread.
pub(crate) fn budgets(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in workloads(documents).filter(|one| one.document["kind"] == "Deployment") {
        let budgets = of_kind(documents, "PodDisruptionBudget");
        let own = budgets.filter(|budget| selects(&budget["spec"]["selector"], workload.labels));
        if own.count() != 1 {
            faults.push(format!("{}: not one disruption budget", workload.id()));
        }
        let spread =
            list(&workload.pod["topologySpreadConstraints"]).map(|spread| &spread["topologyKey"]);
        if workload.document["spec"]["replicas"] != 1
            && !spread
                .into_iter()
                .any(|key| key == "kubernetes.io/hostname")
        {
            faults.push(format!("{}: may be on one node", workload.id()));
        }
    }
    faults
}

/// A pod is killed five seconds after its graces at the earliest, and is unready before its delay is over.
pub(crate) fn times(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in workloads(documents) {
        let mut graces = 5;
        for container in workload.containers() {
            let seconds = |name: &str| {
                variable(container, name)
                    .trim_end_matches('s')
                    .parse::<u64>()
                    .ok()
            };
            let (grace, delay) = (
                seconds("BELLWETHER_GRACE"),
                seconds("BELLWETHER_DRAIN_DELAY"),
            );
            let (Some(grace), Some(delay)) = (grace, delay) else {
                faults.push(format!("{}: no grace or no delay", workload.id()));
                continue;
            };
            graces += grace;
            let ready = &container["readinessProbe"];
            let number = |name: &str| ready[name].as_u64().unwrap_or_default();
            let notices = number("periodSeconds") * number("failureThreshold");
            if !ready.is_null() && (notices == 0 || notices >= delay || delay >= grace) {
                faults.push(format!(
                    "{}: unready after {notices} s, delay {delay} s, grace {grace} s",
                    workload.id()
                ));
            }
            if container["restartPolicy"] == "Always" && !ready.is_null() {
                faults.push(format!(
                    "{}: a sidecar must not make its pod unready",
                    workload.id()
                ));
            }
            for probe in ["startupProbe", "livenessProbe"] {
                if container[probe].is_null() {
                    faults.push(format!("{}: no {probe}", workload.id()));
                }
            }
        }
        let killed = workload.pod["terminationGracePeriodSeconds"]
            .as_u64()
            .unwrap_or_default();
        if killed < graces {
            faults.push(format!(
                "{}: killed after {killed} s, needs {graces}",
                workload.id()
            ));
        }
    }
    faults
}

/// The container's limit is half as much again as the collector's, and no more than is asked for.
pub(crate) fn memory(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in workloads(documents) {
        for container in workload.containers() {
            let resources = &container["resources"];
            let limit = bytes(text(&resources["limits"]["memory"]));
            if limit.is_none() || resources["limits"]["memory"] != resources["requests"]["memory"] {
                faults.push(format!("{}: memory of {resources}", workload.id()));
            }
            if container["name"] == "bellwether" {
                let own =
                    bytes(variable(container, "BELLWETHER_MEMORY_LIMIT").trim_end_matches('B'));
                if own.is_none() || own.map(|own| own + own / 2) > limit {
                    faults.push(format!(
                        "{}: a memory limit of {own:?} in {limit:?}",
                        workload.id()
                    ));
                }
            }
        }
    }
    faults
}

pub(crate) fn bytes(quantity: &str) -> Option<u64> {
    quantity
        .strip_suffix("Mi")?
        .parse::<u64>()
        .ok()
        .map(|mebibytes| mebibytes << 20)
}

fn variable<'a>(container: &'a Value, name: &str) -> &'a str {
    let mut found = list(&container["env"]).filter(|variable| variable["name"] == name);
    found.next().map_or("", |variable| text(&variable["value"]))
}

/// What is scaled is there, by one autoscaler that nobody works against, and what the autoscaler reads is of it.
pub(crate) fn autoscaling(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    let scalers = documents.iter();
    for scaler in scalers.filter(|one| !one["spec"]["scaleTargetRef"].is_null()) {
        let target = &scaler["spec"]["scaleTargetRef"]["name"];
        let found = workloads(documents).find(|one| one.document["metadata"]["name"] == *target);
        let Some(found) = found else {
            faults.push(format!("{}: no Deployment {target}", id(scaler)));
            continue;
        };
        if !found.document["spec"]["replicas"].is_null() {
            faults.push(format!("{}: {} says how many, too", id(scaler), found.id()));
        }
        let metrics = list(&scaler["spec"]["metrics"]).map(metric);
        let triggers = list(&scaler["spec"]["triggers"])
            .map(|trigger| self::trigger(documents, found, trigger));
        let told = metrics.chain(triggers).filter_map(Result::err);
        faults.extend(told.map(|fault| format!("{}: {fault}", id(scaler))));
    }
    faults
}

/// The HPA reads what the adapter's rule makes.
fn metric(metric: &Value) -> Result<(), String> {
    let rule = include_str!("../../../kit/docs/autoscaling.md");
    let name = text(&metric["pods"]["metric"]["name"]);
    let made = !name.is_empty() && rule.contains(&format!("as: {name}}}"));
    made.then_some(())
        .ok_or_else(|| format!("no rule makes {name:?}"))
}

/// KEDA asks of the target's own pods, at an address where somebody answers.
fn trigger(documents: &[Value], target: Workload<'_>, trigger: &Value) -> Result<(), String> {
    let field = |name: &str| text(&trigger["metadata"][name]);
    match text(&trigger["type"]) {
        "prometheus" => {
            let metadata = &target.document["metadata"];
            let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
            let pods = format!("{{namespace=\"{namespace}\",pod=~\"{name}-.*\"}}");
            let query = field("query");
            query
                .contains(&pods)
                .then_some(())
                .ok_or_else(|| format!("{query} is not of {pods}"))
        }
        "metrics-api" => {
            let url = field("url");
            // What the calculator is started as is what its spans call it.
            let service = text(&target.pod["containers"][0]["args"][0]);
            if !url.contains(&format!("/api/v1/scale/{service}?")) {
                return Err(format!("{url} is not of the service {service}"));
            }
            let (host, port) = host_and_port(url);
            keda_reaches(documents, &host, port)
                .then_some(())
                .ok_or_else(|| format!("nobody answers to {host}:{port}"))
        }
        other => Err(format!("a trigger of type {other}")),
    }
}

/// Whether a collector behind this Service answers to its name, and may be asked by KEDA.
fn keda_reaches(documents: &[Value], host: &str, port: u64) -> bool {
    let Some(service) = service(documents, host) else {
        return false;
    };
    let mut pods = service_pods(documents, service, port).into_iter();
    pods.any(|(pod, port)| {
        let answers = pod.containers().any(|one| {
            let mut names = variable(one, "BELLWETHER_WEB_HOST").split(',');
            names.any(|name| name == host)
        });
        answers && network::allowed(documents, network::Caller::Namespace("keda"), pod, port)
    })
}
