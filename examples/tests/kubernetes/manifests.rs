//! The manifests as kustomize builds them, and what the other modules ask of them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use bellwether_tests::peers::{self, Kubernetes};
use serde_json::{Map, Value, json};

/// Three minor versions of Kubernetes.
pub(crate) const VERSIONS: [&str; 3] = ["1.35", "1.36", "1.37"];

/// What somebody may apply: an overlay, or one with a file of `autoscaling` beside it.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) name: String,
    pub(crate) documents: Vec<Value>,
    /// What the schemas say.
    pub(crate) faults: Vec<Value>,
}

/// All of it, built once; `None` when a peer is missing.
pub(crate) fn all(test: &str) -> Option<(&'static [Applied], Kubernetes)> {
    static ALL: OnceLock<Vec<Applied>> = OnceLock::new();
    let found = peers::kubernetes();
    let peers = peers::require(test, "kustomize with kubernetes-validate", found)?;
    Some((ALL.get_or_init(|| build(&peers)), peers))
}

fn build(peers: &Kubernetes) -> Vec<Applied> {
    let overlays = files(&root().join("overlays")).into_iter().map(|folder| {
        let mut kustomize = Command::new(&peers.kustomize);
        let built = output(kustomize.arg("build").arg(&folder), "");
        Applied::new(peers, file_name(&folder), &built)
    });
    let mut all: Vec<_> = overlays.collect();
    let scaled = all.iter().find(|applied| applied.name == "scaled");
    let scaled = yaml(&scaled.expect("an overlay named scaled").documents);
    let alone = files(&root().join("autoscaling"))
        .into_iter()
        .filter(|file| {
            let name = file_name(file);
            name.ends_with(".yaml") && !["kustomization.yaml", "hpa.yaml"].contains(&&*name)
        });
    all.extend(alone.map(|file| {
        let text = std::fs::read_to_string(&file).expect("a file");
        let name = format!("scaled with {}", file_name(&file));
        Applied::new(peers, name, &format!("{scaled}\n---\n{text}"))
    }));
    all
}

impl Applied {
    fn new(peers: &Kubernetes, name: String, yaml: &str) -> Self {
        let (documents, faults) = check(peers, yaml);
        Self {
            name,
            documents,
            faults,
        }
    }
}

/// What KEDA scales the API by in the overlay `scaled`, of both kinds of triggers. The files in `autoscaling` are held against
/// the same as this; it is what faults are put into.
pub(crate) fn scaled_object() -> Value {
    json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": { "name": "calculator-api" },
        "spec": {
            "scaleTargetRef": { "name": "calculator-api" },
            "triggers": [
                { "type": "prometheus", "metadata": {
                    "serverAddress": "http://prometheus.monitoring:9090",
                    "query": "sum(rate(x{namespace=\"calculator\",pod=~\"calculator-api-.*\"}[1m]))",
                    "threshold": "40",
                } },
                { "type": "metrics-api", "metadata": {
                    "url": "http://bellwether-gateway.calculator.svc:4319/api/v1/scale/api?window=1m",
                    "valueLocation": "concurrency",
                    "targetValue": "40",
                } },
            ],
        },
    })
}

/// The documents of this text, and what the schemas say of them.
pub(crate) fn check(peers: &Kubernetes, yaml: &str) -> (Vec<Value>, Vec<Value>) {
    let script = root().join("../../tests/peers/python/kubernetes/check.py");
    let mut command = Command::new(&peers.python);
    command.arg(script).arg(&peers.definitions).args(VERSIONS);
    let said = output(&mut command, yaml);
    let mut said: Value = serde_json::from_str(&said).expect("JSON");
    let mut list = |key: &str| match said[key].take() {
        Value::Array(list) => list,
        other => panic!("{key}: {other}"),
    };
    (list("documents"), list("faults"))
}

/// JSON is YAML.
pub(crate) fn yaml(documents: &[Value]) -> String {
    let texts: Vec<_> = documents.iter().map(Value::to_string).collect();
    texts.join("\n---\n")
}

/// `examples/kubernetes`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned()
}

fn output(command: &mut Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("a program that starts");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("a reader");
    drop(stdin);
    let Output { status, stdout, .. } = child.wait_with_output().expect("its output");
    assert!(status.success(), "{command:?}: {status}");
    String::from_utf8(stdout).expect("text")
}

/// The documents of a kind.
pub(crate) fn of_kind<'a>(documents: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    documents
        .iter()
        .filter(move |document| document["kind"] == kind)
}

/// `Kind/name`.
pub(crate) fn id(document: &Value) -> String {
    format!(
        "{}/{}",
        text(&document["kind"]),
        text(&document["metadata"]["name"])
    )
}

/// A string, or nothing.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The elements of a list, or nothing.
pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Whether a selector, of either form, takes what has these labels.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    let Some(selector) = selector.as_object() else {
        return false;
    };
    let new_form = ["matchLabels", "matchExpressions"];
    let is_new = selector.keys().all(|key| new_form.contains(&&**key));
    let empty = Map::new();
    let pairs = if is_new {
        selector
            .get("matchLabels")
            .map_or(Some(&empty), Value::as_object)
    } else {
        Some(selector)
    };
    let pairs = pairs.expect("a map of labels");
    let mut expressions = selector.get("matchExpressions").into_iter().flat_map(list);
    pairs.iter().all(|(key, value)| labels[key] == *value)
        && expressions.all(|expression| {
            // The one operator that is used here; another would be taken for one that selects nothing.
            expression["operator"] == "In"
                && list(&expression["values"])
                    .any(|value| labels[text(&expression["key"])] == *value)
        })
}

/// A Deployment or a DaemonSet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload<'a> {
    pub(crate) document: &'a Value,
    pub(crate) labels: &'a Value,
    /// The pods' `spec`.
    pub(crate) pod: &'a Value,
}

/// All of them.
pub(crate) fn workloads(documents: &[Value]) -> impl Iterator<Item = Workload<'_>> {
    let kinds = ["Deployment", "DaemonSet"];
    let documents = documents.iter();
    let found = documents.filter(move |document| kinds.contains(&text(&document["kind"])));
    found.map(|document| Workload {
        document,
        labels: &document["spec"]["template"]["metadata"]["labels"],
        pod: &document["spec"]["template"]["spec"],
    })
}

impl<'a> Workload<'a> {
    pub(crate) fn id(&self) -> String {
        id(self.document)
    }

    /// In the order in which they start.
    pub(crate) fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        list(&self.pod["initContainers"]).chain(list(&self.pod["containers"]))
    }

    /// The number of a port that one of the containers declares, given by name or number.
    pub(crate) fn port(&self, wanted: &Value) -> Option<u64> {
        self.containers()
            .find_map(|container| port(container, wanted))
    }
}

/// As [`Workload::port`], of one container.
pub(crate) fn port(container: &Value, wanted: &Value) -> Option<u64> {
    let mut ports = list(&container["ports"]);
    let found = ports.find(|port| port["name"] == *wanted || port["containerPort"] == *wanted)?;
    found["containerPort"].as_u64()
}
