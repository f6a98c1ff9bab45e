//! What autoscalers read, and the numbers that they and their targets have.

use serde_json::Value;

use crate::limits::variable;
use crate::manifests::{Workload, id, list, text, workloads};
use crate::network;
use crate::references::{host_and_port, service, service_pods};

/// What is scaled is there, by one autoscaler that nobody works against, and what the autoscaler reads is of it.
pub(crate) fn faults(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    let scalers = documents.iter();
    for scaler in scalers.filter(|one| !one["spec"]["scaleTargetRef"].is_null()) {
        let reference = &scaler["spec"]["scaleTargetRef"];
        let (kind, target) = (&reference["kind"], &reference["name"]);
        // What KEDA takes when there is no kind.
        let is_deployment = kind.is_null() || kind == "Deployment";
        let found = workloads(documents).find(|one| one.document["metadata"]["name"] == *target);
        let Some(found) = found.filter(|_| is_deployment) else {
            faults.push(format!("{}: no Deployment {target}", id(scaler)));
            continue;
        };
        if !found.document["spec"]["replicas"].is_null() {
            faults.push(format!("{}: {} says how many, too", id(scaler), found.id()));
        }
        let metrics = list(&scaler["spec"]["metrics"]).map(|metric| self::metric(found, metric));
        let triggers = list(&scaler["spec"]["triggers"])
            .map(|trigger| self::trigger(documents, found, trigger));
        let told = metrics.chain(triggers).filter_map(Result::err);
        faults.extend(told.map(|fault| format!("{}: {fault}", id(scaler))));
    }
    faults
}

/// The HPA reads what the adapter's rule makes.
fn metric(target: Workload<'_>, metric: &Value) -> Result<(), String> {
    let rule = include_str!("../../kubernetes/autoscaling/prometheus-adapter-rule.yaml");
    let name = text(&metric["pods"]["metric"]["name"]);
    if name.is_empty() || !rule.contains(&format!("as: {name}\n")) {
        return Err(format!("no rule makes {name:?}"));
    }
    leaves_room(target, text(&metric["pods"]["target"]["averageValue"]))
}

/// A pod takes more requests than it is meant to have: it goes on answering while others start.
fn leaves_room(target: Workload<'_>, requests: &str) -> Result<(), String> {
    let number = |text: &str| text.parse::<u32>().ok();
    let mut limits = target
        .containers()
        .map(|one| number(variable(one, "BELLWETHER_CONCURRENCY_LIMIT")));
    let limit = limits.find_map(|limit| limit);
    match (number(requests), limit) {
        (Some(requests), Some(limit)) if (1..limit).contains(&requests) => Ok(()),
        _ => Err(format!("{requests:?} requests a pod, of {limit:?}")),
    }
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
            if !query.contains(&pods) {
                return Err(format!("{query} is not of {pods}"));
            }
            leaves_room(target, field("threshold"))
        }
        "metrics-api" => {
            let url = field("url");
            // What the calculator is started as is what its spans call it.
            let service = text(&target.pod["containers"][0]["args"][0]);
            if !url.contains(&format!("/api/v1/scale/{service}?")) {
                return Err(format!("{url} is not of the service {service}"));
            }
            let (host, port) = host_and_port(url);
            if !keda_reaches(documents, &host, port) {
                return Err(format!("nobody answers to {host}:{port}"));
            }
            leaves_room(target, field("targetValue"))
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
