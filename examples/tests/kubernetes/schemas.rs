//! The schemas: of three minor versions of Kubernetes, strictly, and of the custom resources by their own definitions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::manifests::{VERSIONS, all, check, id, scaled_object, yaml};

#[test]
fn every_manifest_is_as_the_schemas_say() {
    let Some((all, _)) = all("every_manifest_is_as_the_schemas_say") else {
        return;
    };
    for applied in all {
        assert!(applied.documents.len() > 10, "{applied:?}");
        assert_eq!(applied.faults, Vec::<Value>::new(), "{}", applied.name);
    }
}

/// In each kind, in each version: a field that there is not, and one of a wrong type.
#[test]
fn a_wrong_field_of_any_kind_is_caught() {
    let Some((all, peers)) = all("a_wrong_field_of_any_kind_is_caught") else {
        return;
    };
    let scaled_object = scaled_object();
    let (_, faults) = check(&peers, &scaled_object.to_string());
    assert_eq!(faults, Vec::<Value>::new());
    let documents = all.iter().flat_map(|applied| &applied.documents);
    let documents = documents.chain([&scaled_object]);
    let kinds: BTreeMap<&str, &Value> = documents
        .map(|document| (document["kind"].as_str().expect("a kind"), document))
        .collect();
    for kind in [
        "DaemonSet",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Namespace",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PodMonitor",
        "ScaledObject",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
    ] {
        assert!(kinds.contains_key(kind), "no {kind}");
    }
    let spoilt: Vec<Value> = kinds
        .values()
        .flat_map(|document| spoil(document))
        .collect();
    let (documents, faults) = check(&peers, &yaml(&spoilt));
    assert_eq!(documents, spoilt);
    for (index, document) in spoilt.iter().enumerate() {
        for version in VERSIONS {
            let caught = |fault: &&Value| fault["document"] == index && fault["version"] == version;
            let caught = faults.iter().find(caught);
            assert!(
                caught.is_some(),
                "{} in {version}: {document}",
                id(document)
            );
        }
    }
}

fn spoil(document: &Value) -> Vec<Value> {
    let with = |pointer: &str, key: &str, value: Value| {
        let mut spoilt = document.clone();
        let at = spoilt.pointer_mut(pointer)?;
        at.as_object_mut()?.insert(key.to_owned(), value);
        Some(spoilt)
    };
    let spoilt = [
        with("", "specification", json!({})),
        with("/metadata", "label", json!({})),
        with("/metadata", "labels", json!("none")),
        // The next one deeper, wherever there is one.
        with("/spec", "selektor", json!({})),
        with("/spec/template/spec", "terminationGracePeriod", json!(30)),
        with(
            "/spec/template/spec/containers/0",
            "readynessProbe",
            json!({}),
        ),
        with(
            "/spec/template/spec/containers/0/livenessProbe",
            "periodSeconds",
            json!("10s"),
        ),
        with("/spec/ports/0", "targetport", json!("http")),
        with("/spec/podMetricsEndpoints/0", "portName", json!("admin")),
        with("/spec/endpoints/0", "interval", json!(15)),
        with("/spec/triggers/0", "threshold", json!("40")),
        with(
            "/spec/scaleTargetRef",
            "deployment",
            json!("calculator-api"),
        ),
    ];
    spoilt.into_iter().flatten().collect()
}
