//! What the platform says of the process (OpenTelemetry semantic conventions, "Resource"): Cloud Run's own
//! variables, and those that Kubernetes deployments conventionally fill by the downward API. The operator's
//! `OTEL_RESOURCE_ATTRIBUTES` win over all of it.

use super::Source;
use super::reader::Reader;

/// A resource attribute that nobody had to configure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detected {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) source: Source,
}

/// Variables of the platform, each with what it says.
const PLATFORM: [(&str, &str); 9] = [
    ("K_SERVICE", "faas.name"),
    ("K_REVISION", "faas.version"),
    ("POD_NAME", "k8s.pod.name"),
    ("POD_UID", "k8s.pod.uid"),
    ("POD_NAMESPACE", "k8s.namespace.name"),
    ("NAMESPACE", "k8s.namespace.name"),
    ("NODE_NAME", "k8s.node.name"),
    ("CONTAINER_NAME", "k8s.container.name"),
    ("HOSTNAME", "host.name"),
];

/// So many bytes of a value are kept.
const MAX_VALUE_BYTES: usize = 1_024;

pub(super) fn detect(env: &mut Reader<'_>) -> Vec<Detected> {
    let mut detected: Vec<Detected> = Vec::new();
    // Set in every container of a pod. Elsewhere a variable of so plain a name means something else.
    let in_pod = env.text("KUBERNETES_SERVICE_HOST").is_some();
    for (variable, key) in PLATFORM {
        let meant = variable != "NAMESPACE" || in_pod;
        let known = detected.iter().any(|attribute| attribute.key == key);
        if let (true, false, Some(value)) = (meant, known, env.text(variable)) {
            detected.push(Detected {
                key,
                value: bounded(value),
                source: Source::Platform(variable),
            });
        }
    }
    if env.text("K_SERVICE").is_some() {
        for (key, value) in [
            ("cloud.provider", "gcp"),
            ("cloud.platform", "gcp_cloud_run"),
        ] {
            detected.push(Detected {
                key,
                value: value.to_owned(),
                source: Source::Platform("K_SERVICE"),
            });
        }
    }
    detected.extend(process());
    detected
}

/// What the process knows of itself, and by which kit (Resource semantic conventions, "Telemetry SDK").
fn process() -> [Detected; 5] {
    let detected = |key, value| Detected {
        key,
        value,
        source: Source::Default,
    };
    [
        // Unique for each start, as the conventions ask of an instance that nobody has named.
        detected("service.instance.id", uuid::Uuid::now_v7().to_string()),
        detected("process.pid", std::process::id().to_string()),
        detected("telemetry.sdk.name", "bellwether".to_owned()),
        detected("telemetry.sdk.language", "rust".to_owned()),
        detected(
            "telemetry.sdk.version",
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
    ]
}

fn bounded(mut value: String) -> String {
    let end = (0..=value.len().min(MAX_VALUE_BYTES)).rev();
    let end = end.into_iter().find(|at| value.is_char_boundary(*at));
    value.truncate(end.unwrap_or_default());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(variables: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let all = detect(&mut Reader::new(&lookup));
        all.into_iter()
            .map(|attribute| (attribute.key, attribute.value))
            .collect()
    }

    fn check(variables: &[(&str, &str)], expected: &[(&str, &str)]) {
        let mut found = detected(variables);
        let own = found.split_off(found.len() - 5);
        assert_eq!(own[0].0, "service.instance.id");
        assert_eq!(own[1], ("process.pid", std::process::id().to_string()));
        let found: Vec<_> = found.iter().map(|(key, value)| (*key, &**value)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_plain_process_knows_itself() {
        check(&[], &[]);
        let [(_, one), ..] = &detected(&[])[..] else {
            panic!("no instance")
        };
        assert_eq!(uuid::Uuid::parse_str(one).unwrap().get_version_num(), 7);
    }

    #[test]
    fn cloud_run_is_known_by_its_variables() {
        check(
            &[("K_SERVICE", "shop"), ("K_REVISION", "shop-00007-abc")],
            &[
                ("faas.name", "shop"),
                ("faas.version", "shop-00007-abc"),
                ("cloud.provider", "gcp"),
                ("cloud.platform", "gcp_cloud_run"),
            ],
        );
    }

    #[test]
    fn pods_are_known_by_the_downward_api() {
        check(
            &[
                ("POD_NAME", "shop-7d9-x"),
                ("POD_UID", "u-1"),
                ("POD_NAMESPACE", "prod"),
                ("NAMESPACE", "other"),
                ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
                ("NODE_NAME", "node-3"),
                ("CONTAINER_NAME", "app"),
                ("HOSTNAME", "shop-7d9-x"),
            ],
            &[
                ("k8s.pod.name", "shop-7d9-x"),
                ("k8s.pod.uid", "u-1"),
                ("k8s.namespace.name", "prod"),
                ("k8s.node.name", "node-3"),
                ("k8s.container.name", "app"),
                ("host.name", "shop-7d9-x"),
            ],
        );
    }

    #[test]
    fn a_plain_namespace_counts_in_a_pod_only() {
        check(&[("NAMESPACE", "mine")], &[]);
        let in_pod = [("NAMESPACE", "prod"), ("KUBERNETES_SERVICE_HOST", "x")];
        check(&in_pod, &[("k8s.namespace.name", "prod")]);
    }

    #[test]
    fn values_are_bounded() {
        let long = "é".repeat(MAX_VALUE_BYTES);
        assert_eq!(detected(&[("POD_NAME", &long)])[0].1.len(), MAX_VALUE_BYTES);
    }
}
