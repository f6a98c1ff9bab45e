//! NetworkPolicies as Kubernetes documents them: a pod that a policy of a direction selects gets, in that direction, what one
//! of them allows, and no more. What has to get through does, what must not does not.

use serde_json::{Value, json};

use crate::manifests::{self, Workload, all, id, list, of_kind, selects, text, workloads};
use crate::references::{Destination, destinations, service_pods};

/// Who begins a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller<'a> {
    /// A pod of the same namespace.
    Pod(Workload<'a>),
    /// Any pod of the namespace that is called so.
    Namespace(&'a str),
}

/// Whether the policies let this connection through.
pub(crate) fn allowed(
    documents: &[Value],
    caller: Caller<'_>,
    to: Workload<'_>,
    port: u64,
) -> bool {
    let out = match caller {
        Caller::Pod(from) => passes(documents, from, "Egress", |rule| {
            let peers = &rule["to"];
            on_port(rule, to, port)
                && (peers.is_null()
                    || list(peers).any(|peer| {
                        peer["namespaceSelector"].is_null()
                            && selects(&peer["podSelector"], to.labels)
                    }))
        }),
        // The policies of that namespace are not ours.
        Caller::Namespace(_) => true,
    };
    out && passes(documents, to, "Ingress", |rule| {
        let peers = &rule["from"];
        on_port(rule, to, port) && (peers.is_null() || list(peers).any(|peer| is(peer, caller)))
    })
}

fn passes(
    documents: &[Value],
    pod: Workload<'_>,
    direction: &str,
    allows: impl Fn(&Value) -> bool,
) -> bool {
    let policies = of_kind(documents, "NetworkPolicy").filter(|policy| {
        selects(&policy["spec"]["podSelector"], pod.labels)
            && list(&policy["spec"]["policyTypes"]).any(|kind| kind == direction)
    });
    let policies: Vec<_> = policies.collect();
    let rules = direction.to_ascii_lowercase();
    let mut rules = policies
        .iter()
        .flat_map(|policy| list(&policy["spec"][&*rules]));
    policies.is_empty() || rules.any(allows)
}

fn on_port(rule: &Value, to: Workload<'_>, port: u64) -> bool {
    let tcp = |allowed: &&Value| allowed["protocol"].is_null() || allowed["protocol"] == "TCP";
    let mut ports = list(&rule["ports"]).filter(tcp);
    // By name only those of containers: not every network knows the names of sidecars' ports.
    let named = |allowed: &Value| {
        let mut containers = list(&to.pod["containers"]);
        allowed["port"] == port
            || containers.any(|one| manifests::port(one, &allowed["port"]) == Some(port))
    };
    rule["ports"].is_null() || ports.any(named)
}

fn is(peer: &Value, caller: Caller<'_>) -> bool {
    match caller {
        Caller::Pod(from) => {
            peer["namespaceSelector"].is_null() && selects(&peer["podSelector"], from.labels)
        }
        Caller::Namespace(name) => {
            let labels = json!({ "kubernetes.io/metadata.name": name });
            peer["podSelector"].is_null() && selects(&peer["namespaceSelector"], &labels)
        }
    }
}

/// Whether it may ask for names, wherever that is done.
fn asks_for_names(documents: &[Value], from: Workload<'_>) -> bool {
    ["UDP", "TCP"].iter().all(|protocol| {
        passes(documents, from, "Egress", |rule| {
            let mut ports = list(&rule["ports"]);
            rule["to"].is_null()
                && ports.any(|port| port["port"] == 53 && port["protocol"] == *protocol)
        })
    })
}

/// What is named and does not get through.
pub(crate) fn faults(documents: &[Value]) -> Vec<String> {
    let mute = workloads(documents).filter(|from| !asks_for_names(documents, *from));
    let mute = mute.map(|from| format!("{}: no policy lets it ask for names", from.id()));
    let mut faults: Vec<String> = mute.collect();
    let mut check = |caller: Caller<'_>, named: String, to: Workload<'_>, port: u64| {
        if !allowed(documents, caller, to, port) {
            faults.push(format!(
                "{named}: no policy lets it through to {}:{port}",
                to.id()
            ));
        }
    };
    for from in workloads(documents) {
        for Destination { url, service, port } in destinations(documents, from) {
            for (to, port) in service_pods(documents, service, port) {
                check(Caller::Pod(from), format!("{} {url}", from.id()), to, port);
            }
        }
    }
    for (kind, endpoints) in [
        ("PodMonitor", "podMetricsEndpoints"),
        ("ServiceMonitor", "endpoints"),
    ] {
        for monitor in of_kind(documents, kind) {
            let selector = &monitor["spec"]["selector"];
            for to in workloads(documents).filter(|to| selects(selector, to.labels)) {
                let ports = list(&monitor["spec"][endpoints]).map(|endpoint| &endpoint["port"]);
                for port in ports.filter_map(|port| to.port(port)) {
                    check(Caller::Namespace("monitoring"), id(monitor), to, port);
                }
            }
        }
    }
    faults
}

/// Nobody but who has to.
#[test]
fn what_need_not_get_through_does_not() {
    let Some((all, _)) = all("what_need_not_get_through_does_not") else {
        return;
    };
    for applied in all {
        let documents = &applied.documents;
        let of = |name: &str| {
            workloads(documents).find(|one| text(&one.document["metadata"]["name"]) == name)
        };
        let gateway = of("bellwether-gateway").expect("a gateway");
        // What no other policy selects gets nothing.
        let closed = of_kind(documents, "NetworkPolicy").any(|policy| {
            policy["spec"] == json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] })
        });
        assert!(closed, "{}: open to what has no policy", applied.name);
        for pod in workloads(documents).filter(|pod| pod.port(&"admin".into()).is_some()) {
            let callers = workloads(documents).map(Caller::Pod);
            for caller in callers.chain([Caller::Namespace("default")]) {
                assert!(
                    !allowed(documents, caller, pod, 9090),
                    "{caller:?} to {}",
                    pod.id()
                );
            }
            assert!(!allowed(documents, Caller::Pod(pod), gateway, 4319));
            assert!(!allowed(documents, Caller::Pod(gateway), pod, 8080));
        }
        assert!(!allowed(
            documents,
            Caller::Namespace("default"),
            gateway,
            4317
        ));
        assert!(allowed(documents, Caller::Namespace("keda"), gateway, 4319));
        let (Some(api), Some(add), Some(divide)) = (
            of("calculator-api"),
            of("calculator-add"),
            of("calculator-divide"),
        ) else {
            assert_eq!(applied.name, "grpc");
            continue;
        };
        assert!(allowed(documents, Caller::Pod(api), add, 8080));
        assert!(!allowed(documents, Caller::Pod(divide), add, 8080));
        assert!(!allowed(
            documents,
            Caller::Namespace("monitoring"),
            add,
            8080
        ));
        assert!(allowed(documents, Caller::Namespace("default"), api, 8080));
    }
}
