//! All checks of what manifests say of each other: nothing is wrong with what is there, and each kind of fault is told.

use serde_json::{Value, json};

use crate::manifests::{all, id, scaled_object};
use crate::{autoscaling, limits, network, references};

type Check = fn(&[Value]) -> Vec<String>;

/// Everything that does not fit.
fn faults(documents: &[Value]) -> Vec<String> {
    let checks: [Check; 13] = [
        references::selectors,
        references::ports,
        references::names,
        references::addresses,
        references::environment,
        limits::hardening,
        limits::budgets,
        limits::times,
        limits::memory,
        limits::rollouts,
        limits::sidecars,
        references::monitors,
        autoscaling::faults,
    ];
    let own = checks.iter().flat_map(|check| check(documents));
    own.chain(network::faults(documents)).collect()
}

#[test]
fn everything_that_is_referred_to_is_there() {
    let Some((all, _)) = all("everything_that_is_referred_to_is_there") else {
        return;
    };
    for applied in all {
        let mut faults = faults(&applied.documents);
        faults.extend(references::ways(&applied.name, &applied.documents));
        assert_eq!(faults, Vec::<String>::new(), "{}", applied.name);
    }
}

/// Of each kind of fault one, put into what has none.
#[test]
fn what_does_not_fit_is_told() {
    let Some((all, _)) = all("what_does_not_fit_is_told") else {
        return;
    };
    let api = "/spec/template/spec/containers/0";
    for (overlay, document, pointer, value, told) in [
        (
            "gateway",
            "Deployment/calculator-api",
            "/spec/template/metadata/labels/app.kubernetes.io~1component",
            json!("app"),
            "does not select its own pods",
        ),
        (
            "gateway",
            "Service/calculator-add",
            "/spec/selector/app.kubernetes.io~1component",
            json!("plus"),
            "selects nothing",
        ),
        (
            "gateway",
            "NetworkPolicy/calculator-api",
            "/spec/egress/0/to/0/podSelector/matchLabels/app.kubernetes.io~1name",
            json!("adder"),
            "selects nothing",
        ),
        (
            "gateway",
            "ServiceMonitor/bellwether",
            "/spec/selector/matchLabels/app.kubernetes.io~1name",
            json!("collector"),
            "selects nothing",
        ),
        (
            "gateway",
            "Deployment/calculator-api",
            &format!("{api}/readinessProbe/httpGet/port"),
            json!("web"),
            "which is no port",
        ),
        (
            "grpc",
            "Deployment/calculator-grpc",
            &format!("{api}/readinessProbe/grpc/port"),
            json!(50051),
            "which is no port",
        ),
        (
            "gateway",
            "Service/bellwether-gateway",
            "/spec/ports/1/targetPort",
            json!("http"),
            "leads nowhere",
        ),
        (
            "gateway",
            "NetworkPolicy/calculator-telemetry",
            "/spec/ingress/0/ports/0/port",
            json!("metrics"),
            "is no port",
        ),
        (
            "gateway",
            "PodMonitor/calculator",
            "/spec/podMetricsEndpoints/0/port",
            json!("metrics"),
            "is no port",
        ),
        (
            "gateway",
            "ServiceMonitor/bellwether",
            "/spec/endpoints/0/port",
            json!("metrics"),
            "is no port",
        ),
        (
            "gateway",
            "ServiceAccount/calculator-add",
            "/metadata/name",
            json!("adder"),
            "no account",
        ),
        (
            "gateway",
            "Deployment/calculator-add",
            &format!("{api}/image"),
            json!("calculator:9.9.9"),
            "is not of this version",
        ),
        (
            "gateway",
            "Service/calculator-add",
            "/metadata/namespace",
            json!("default"),
            "namespace",
        ),
        (
            "gateway",
            "Deployment/calculator-api",
            &format!("{api}/env/0/value"),
            json!("http://adder:8080/add"),
            "leads nowhere",
        ),
        (
            "agent",
            "Service/bellwether-agent",
            "/metadata/name",
            json!("agent"),
            "leads nowhere",
        ),
        (
            "gateway",
            "Deployment/calculator-api",
            &format!("{api}/env/0/name"),
            json!("PLUS_URL"),
            "nobody reads PLUS_URL",
        ),
        (
            "gateway",
            "Deployment/bellwether-gateway",
            &format!("{api}/env/0/name"),
            json!("BELLWETHER_HOST"),
            "nobody reads BELLWETHER_HOST",
        ),
        (
            "gateway",
            "Deployment/bellwether-gateway",
            &format!("{api}/env/0/value"),
            json!("$(POD_NAME)"),
            "refers to POD_NAME",
        ),
        (
            "sidecar",
            "Deployment/calculator-add",
            "/spec/template/spec/initContainers/0/securityContext/readOnlyRootFilesystem",
            json!(false),
            "readOnlyRootFilesystem",
        ),
        (
            "agent",
            "DaemonSet/bellwether-agent",
            "/spec/template/spec/enableServiceLinks",
            json!(true),
            "enableServiceLinks",
        ),
        (
            "gateway",
            "PodDisruptionBudget/calculator-add",
            "/kind",
            json!("Budget"),
            "not one disruption budget",
        ),
        (
            "scaled",
            "Deployment/calculator-api",
            "/spec/template/spec/topologySpreadConstraints",
            json!([]),
            "may be on one node",
        ),
        (
            "sidecar",
            "Deployment/calculator-add",
            "/spec/template/spec/terminationGracePeriodSeconds",
            json!(30),
            "killed after 30 s, needs 40",
        ),
        (
            "gateway",
            "Deployment/calculator-add",
            &format!("{api}/readinessProbe/failureThreshold"),
            json!(3),
            "unready after 6 s",
        ),
        (
            "gateway",
            "Deployment/calculator-add",
            &format!("{api}/livenessProbe"),
            Value::Null,
            "no livenessProbe",
        ),
        (
            "agent",
            "DaemonSet/bellwether-agent",
            &format!("{api}/resources/limits/memory"),
            json!("128Mi"),
            "memory",
        ),
        (
            "gateway",
            "Namespace/calculator",
            "/metadata/labels/pod-security.kubernetes.io~1enforce",
            json!("baseline"),
            "of any rights",
        ),
        (
            "gateway",
            "Deployment/bellwether-gateway",
            "/spec/strategy/rollingUpdate/maxUnavailable",
            json!(1),
            "old pods go first",
        ),
        (
            "agent",
            "DaemonSet/bellwether-agent",
            "/spec/updateStrategy/rollingUpdate/maxSurge",
            json!(0),
            "old pods go first",
        ),
        (
            "sidecar",
            "Deployment/calculator-add",
            "/spec/template/spec/initContainers/0/restartPolicy",
            Value::Null,
            "waits for what never ends",
        ),
        (
            "sidecar",
            "Deployment/calculator-add",
            "/spec/template/spec/initContainers/0",
            json!({"name": "bellwether", "restartPolicy": "Always", "readinessProbe": {}}),
            "makes its pod unready",
        ),
        (
            "gateway",
            "ServiceMonitor/bellwether",
            "/spec/endpoints/0/honorLabels",
            json!(false),
            "renames labels",
        ),
        (
            "gateway",
            "PodMonitor/calculator",
            "/spec/podMetricsEndpoints/0/interval",
            json!("60s"),
            "of Some(60)",
        ),
        (
            "agent",
            "Deployment/calculator-add",
            &format!("{api}/env/0/value"),
            json!("http://bellwether-gateway:4318"),
            "sends nothing to bellwether-agent",
        ),
        (
            "agent",
            "Service/bellwether-agent",
            "/spec/internalTrafficPolicy",
            json!("Cluster"),
            "leads to other nodes",
        ),
        (
            "gateway",
            "NetworkPolicy/dns",
            "/spec/egress/0/ports/0/protocol",
            json!("TCP"),
            "ask for names",
        ),
        (
            "scaled",
            "ScaledObject/calculator-api",
            "/spec/scaleTargetRef/name",
            json!("api"),
            "no Deployment",
        ),
        (
            "scaled",
            "ScaledObject/calculator-api",
            "/spec/triggers/0/metadata/query",
            json!("sum(rate(x[1m]))"),
            "is not of {namespace=",
        ),
        (
            "scaled",
            "ScaledObject/calculator-api",
            "/spec/triggers/0/metadata/threshold",
            json!("64"),
            "requests a pod",
        ),
        (
            "scaled",
            "ScaledObject/calculator-api",
            "/spec/triggers/1/metadata/url",
            json!(
                "http://bellwether-gateway.calculator.svc:4319/api/v1/scale/calculator?window=1m"
            ),
            "is not of the service api",
        ),
        (
            "scaled",
            "ScaledObject/calculator-api",
            "/spec/triggers/1/metadata/url",
            json!("http://bellwether-gateway.calculator.svc:4318/api/v1/scale/api?window=1m"),
            "nobody answers to",
        ),
        (
            "scaled",
            "ScaledObject/calculator-api",
            "/spec/triggers/1/metadata/targetValue",
            json!("none"),
            "requests a pod",
        ),
        (
            "scaled",
            "Deployment/bellwether-gateway",
            &format!("{api}/env/4/value"),
            json!("bellwether-gateway"),
            "nobody answers to",
        ),
        (
            "scaled",
            "NetworkPolicy/bellwether",
            "/spec/ingress/1/from/0/namespaceSelector/matchExpressions/0/values",
            json!(["monitoring"]),
            "nobody answers to",
        ),
        (
            "scaled",
            "Deployment/calculator-api",
            "/spec",
            json!({ "replicas": 2 }),
            "says how many, too",
        ),
        (
            "autoscaled",
            "HorizontalPodAutoscaler/calculator-api",
            "/spec/metrics/0/pods/target/averageValue",
            json!("64"),
            "requests a pod",
        ),
        (
            "autoscaled",
            "HorizontalPodAutoscaler/calculator-api",
            "/spec/scaleTargetRef/name",
            json!("api"),
            "no Deployment",
        ),
        (
            "autoscaled",
            "HorizontalPodAutoscaler/calculator-api",
            "/spec/metrics/0/pods/metric/name",
            json!("concurrency"),
            "no rule makes",
        ),
        (
            "gateway",
            "NetworkPolicy/bellwether",
            "/spec/ingress/0/ports",
            json!([{ "port": "otlp-grpc" }]),
            "no policy lets it through",
        ),
        (
            "gateway",
            "NetworkPolicy/calculator-api",
            "/spec/egress",
            json!([]),
            "no policy lets it through",
        ),
        (
            "gateway",
            "NetworkPolicy/calculator-telemetry",
            "/spec/ingress",
            json!([]),
            "no policy lets it through",
        ),
    ] {
        let applied = all
            .iter()
            .find(|applied| applied.name == overlay)
            .expect("an overlay");
        let mut documents = applied.documents.clone();
        if overlay == "scaled" {
            documents.push(scaled_object());
            assert_eq!(faults(&documents), Vec::<String>::new());
        }
        let spoilt = documents.iter_mut().find(|one| id(one) == document);
        let spoilt = spoilt.unwrap_or_else(|| panic!("no {document}"));
        let at = spoilt.pointer_mut(pointer);
        *at.unwrap_or_else(|| panic!("{document}: no {pointer}")) = value;
        let mut faults = faults(&documents);
        faults.extend(references::ways(overlay, &documents));
        assert!(
            faults.iter().any(|fault| fault.contains(told)),
            "{document} {pointer}: {faults:#?}"
        );
    }
}
