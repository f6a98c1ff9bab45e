//! What has to be small enough, or long enough, for what stands beside it: rights, times, memory.

use serde_json::{Value, json};

use crate::manifests::{id, list, of_kind, selects, text, workloads};

/// As the restricted level of Pod Security asks, which the namespace enforces; and a file system that cannot be written.
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
    for namespace in of_kind(documents, "Namespace") {
        let labels = &namespace["metadata"]["labels"];
        if labels["pod-security.kubernetes.io/enforce"] != "restricted" {
            faults.push(format!("{}: takes pods of any rights", id(namespace)));
        }
    }
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
        match own.collect::<Vec<_>>()[..] {
            [budget] if budget["spec"]["maxUnavailable"] == 1 => {}
            [budget] => faults.push(format!("{}: may keep nodes from being drained", id(budget))),
            _ => faults.push(format!("{}: not one disruption budget", workload.id())),
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

/// A new pod is ready before an old one goes.
pub(crate) fn rollouts(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in workloads(documents) {
        let spec = &workload.document["spec"];
        let (of_deployment, of_daemon_set) = (&spec["strategy"], &spec["updateStrategy"]);
        let rolling = [of_deployment, of_daemon_set].map(|strategy| &strategy["rollingUpdate"]);
        let overlaps =
            |rolling: &&Value| rolling["maxSurge"] == 1 && rolling["maxUnavailable"] == 0;
        if !rolling.iter().any(overlaps) {
            faults.push(format!("{}: old pods go first", workload.id()));
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
            let startup = |name: &str| container["startupProbe"][name].as_u64().unwrap_or_default();
            let patience = startup("periodSeconds") * startup("failureThreshold");
            // A node that pulls images and starts other pods is slow.
            if patience < 30 {
                let id = workload.id();
                faults.push(format!("{id}: restarted after {patience} s of starting"));
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

/// What comes before the service stays beside it, and takes no requests from it.
pub(crate) fn sidecars(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in workloads(documents) {
        for container in list(&workload.pod["initContainers"]) {
            if container["restartPolicy"] != "Always" {
                faults.push(format!("{}: waits for what never ends", workload.id()));
            }
            if !container["readinessProbe"].is_null() {
                faults.push(format!(
                    "{}: a sidecar makes its pod unready",
                    workload.id()
                ));
            }
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

pub(crate) fn variable<'a>(container: &'a Value, name: &str) -> &'a str {
    let mut found = list(&container["env"]).filter(|variable| variable["name"] == name);
    found.next().map_or("", |variable| text(&variable["value"]))
}
