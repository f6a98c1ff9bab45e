//! Each kind of pod that the manifests make, run: its programs, with exactly the arguments and the environment that are
//! written there, as the user that is, in a network of their own; probed as a kubelet does, scraped, and stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bellwether_tests::http::{get, get_with};
use bellwether_tests::peers;
use bellwether_tests::pod::Pod;
use bellwether_tests::process::Process;
use bellwether_tests::wait::{wait_for, wait_telling};
use serde_json::Value;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::limits::bytes;
use crate::manifests::{Applied, Workload, all, list, of_kind, port, selects, text, workloads};

/// Where the pod is asked from outside: what listens on loopback alone does not answer here.
const OUTSIDE: &str = "127.0.0.2";

/// What the images hold, and where: program, and what comes before the arguments.
const IMAGES: [(&str, &str, &[&str]); 3] = [
    ("calculator", env!("CARGO_BIN_EXE_calculator"), &[]),
    (
        "calculator-grpc",
        env!("CARGO_BIN_EXE_framework-tonic"),
        &[],
    ),
    // The collector's own `main`.
    (
        "bellwether",
        env!("CARGO_BIN_EXE_demo"),
        &["collector", "--"],
    ),
];

/// Copies of the programs that any user may run.
struct Images(tempfile::TempDir);

impl Images {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("its mode");
        for (image, program, _) in IMAGES {
            let copy = folder.path().join(image);
            fs::copy(program, &copy).expect("a copy");
            fs::set_permissions(copy, Permissions::from_mode(0o755)).expect("its mode");
        }
        Self(folder)
    }

    /// A command of the container's image, in the container's environment.
    fn command(&self, container: &Value, pod: &Value) -> Command {
        let image = text(&container["image"])
            .split(':')
            .next()
            .unwrap_or_default();
        let known = IMAGES.iter().find(|(name, ..)| *name == image);
        let (_, _, first) = known.unwrap_or_else(|| panic!("no image {image}"));
        let id = pod["securityContext"]["runAsUser"]
            .as_u64()
            .expect("a user");
        let id = u32::try_from(id).expect("a user");
        let mut command = Command::new(self.0.path().join(image));
        command
            .args(*first)
            .env_clear()
            .envs(environment(container))
            .uid(id)
            .gid(id);
        command
    }
}

/// The variables as a kubelet makes them: values, fields of the pod, `$(NAME)` of those before.
fn environment(container: &Value) -> BTreeMap<String, String> {
    let mut made = BTreeMap::from([
        ("HOSTNAME".to_owned(), "pod-7".to_owned()),
        ("KUBERNETES_SERVICE_HOST".to_owned(), "10.0.0.1".to_owned()),
    ]);
    for variable in list(&container["env"]) {
        let field = text(&variable["valueFrom"]["fieldRef"]["fieldPath"]);
        let mut value = match field {
            "" => text(&variable["value"]).to_owned(),
            "metadata.name" => "pod-7".to_owned(),
            "metadata.uid" => "0af7651916cd43dd".to_owned(),
            "metadata.namespace" => "calculator".to_owned(),
            "spec.nodeName" => "node-3".to_owned(),
            _ => panic!("no field {field}"),
        };
        for (name, known) in &made {
            value = value.replace(&format!("$({name})"), known);
        }
        made.insert(text(&variable["name"]).to_owned(), value);
    }
    made
}

/// A container that runs.
struct Running<'a> {
    container: &'a Value,
    process: Process,
}

#[test]
fn every_pod_starts_answers_and_stops_as_its_manifest_says() {
    let test = "every_pod_starts_answers_and_stops_as_its_manifest_says";
    let Some((all, peers)) = all(test) else {
        return;
    };
    let network = peers::require(
        test,
        "a network of its own (root, unshare)",
        Pod::start(&peers.python),
    );
    if network.is_none() {
        return;
    }
    // Overlays share most of their pods.
    let mut different: Vec<(&Applied, Workload<'_>)> = Vec::new();
    for applied in all {
        for workload in workloads(&applied.documents) {
            if different.iter().all(|(_, other)| other.pod != workload.pod) {
                different.push((applied, workload));
            }
        }
    }
    assert!(different.len() >= 15, "{}", different.len());
    let images = Images::new();
    std::thread::scope(|scope| {
        for (applied, workload) in different {
            let (images, python) = (&images, &peers.python);
            scope.spawn(move || run(images, python, applied, workload));
        }
    });
}

fn run(images: &Images, python: &Path, applied: &Applied, workload: Workload<'_>) {
    let pod = Pod::start(python).expect("a network");
    pod.inside(|| {
        let mut running = Vec::new();
        // A sidecar has passed its startup probe before the next one starts.
        for container in workload.containers() {
            let mut command = images.command(container, workload.pod);
            command.args(list(&container["args"]).map(text));
            let process = Process::start(&workload.id(), &mut command);
            let one = Running { container, process };
            one.wait_until_passed(images, workload, "startupProbe");
            running.push(one);
        }
        for one in &running {
            one.wait_until_passed(images, workload, "livenessProbe");
            one.wait_until_passed(images, workload, "readinessProbe");
            one.assert_fits_its_memory(workload);
            one.assert_takes_its_environment();
        }
        assert_open_ports(workload, &running);
        assert_is_scraped(applied, workload);
        assert_sends_where_it_can(&running);
        // The other way round, as sidecars stop last.
        for one in running.into_iter().rev() {
            one.assert_stops(workload);
        }
    });
}

impl Running<'_> {
    fn wait_until_passed(&self, images: &Images, workload: Workload<'_>, name: &str) {
        let probe = &self.container[name];
        if probe.is_null() {
            return;
        }
        let what = || {
            format!(
                "{name} of {}: {probe}; {:#?}",
                workload.id(),
                self.process.output()
            )
        };
        wait_telling(what, || self.passes(images, workload, probe).then_some(()));
    }

    fn passes(&self, images: &Images, workload: Workload<'_>, probe: &Value) -> bool {
        let port = |way: &str| port(self.container, &probe[way]["port"]);
        if let Some(port) = port("httpGet") {
            let url = format!("http://{OUTSIDE}:{port}{}", text(&probe["httpGet"]["path"]));
            return get(&url).is_some_and(|answer| (200..400).contains(&answer.status));
        }
        if let Some(port) = port("grpc") {
            return serves(port, text(&probe["grpc"]["service"])).unwrap_or_default();
        }
        let mut words = list(&probe["exec"]["command"]).map(text);
        assert_eq!(words.next(), Some("/bellwether"), "{probe}");
        let mut command = images.command(self.container, workload.pod);
        let mut probe = Process::start("probe", command.args(words));
        probe.wait(Duration::from_secs(30)).success()
    }

    fn assert_fits_its_memory(&self, workload: Workload<'_>) {
        let limit = bytes(text(&self.container["resources"]["limits"]["memory"])).expect("a limit");
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("a process");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident =
            resident.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let resident = resident.expect("VmRSS") << 10;
        assert!(resident < limit, "{}: {resident} of {limit}", workload.id());
    }

    /// No variable was warned of.
    fn assert_takes_its_environment(&self) {
        let warned = self.process.log().into_iter().find(|line| {
            line["level"] == "WARN"
                && line["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("variable"))
        });
        assert_eq!(warned, None);
    }

    fn assert_stops(mut self, workload: Workload<'_>) {
        self.process.terminate();
        let limit = workload.pod["terminationGracePeriodSeconds"]
            .as_u64()
            .expect("a number");
        let status = self.process.wait(Duration::from_secs(limit));
        assert_eq!(
            status.code(),
            Some(0),
            "{}: {:#?}",
            workload.id(),
            self.process.output()
        );
    }
}

/// Whether this service is `SERVING`.
#[tokio::main(flavor = "current_thread")]
async fn serves(port: u64, service: &str) -> Option<bool> {
    let endpoint = Endpoint::from_shared(format!("http://{OUTSIDE}:{port}")).ok()?;
    let mut client = HealthClient::new(endpoint.connect().await.ok()?);
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = client.check(request).await.ok()?.into_inner();
    Some(answer.status == i32::from(ServingStatus::Serving))
}

/// What is declared can be reached from outside, and nothing else.
fn assert_open_ports(workload: Workload<'_>, running: &[Running<'_>]) {
    let ports = workload
        .containers()
        .flat_map(|container| list(&container["ports"]));
    let declared: BTreeSet<u64> = ports
        .filter_map(|port| port["containerPort"].as_u64())
        .collect();
    let one = running.first().expect("a container");
    let mut listening = listening(one.process.id());
    listening.retain(|port| TcpStream::connect(format!("{OUTSIDE}:{port}")).is_ok());
    assert_eq!(listening, declared, "{}", workload.id());
}

/// Where anybody listens, be it on loopback alone, in this process' network.
fn listening(process: u32) -> BTreeSet<u64> {
    const LISTENING: &str = "0A";
    let sockets =
        fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("a list of sockets");
    let rows = sockets
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    let listening = rows.filter(|row| row.get(3) == Some(&LISTENING));
    listening
        .filter_map(|row| u64::from_str_radix(row.get(1)?.split(':').nth(1)?, 16).ok())
        .collect()
}

/// Every monitor that selects the pod finds series there, which say what pod it is.
fn assert_is_scraped(applied: &Applied, workload: Workload<'_>) {
    let endpoints = [
        ("PodMonitor", "podMetricsEndpoints"),
        ("ServiceMonitor", "endpoints"),
    ]
    .into_iter()
    .flat_map(|(kind, endpoints)| {
        let monitors = of_kind(&applied.documents, kind);
        let monitors =
            monitors.filter(|monitor| selects(&monitor["spec"]["selector"], workload.labels));
        monitors.flat_map(move |monitor| list(&monitor["spec"][endpoints]))
    });
    let mut scraped = 0;
    for endpoint in endpoints {
        let Some(port) = workload.port(&endpoint["port"]) else {
            continue;
        };
        let url = format!("http://{OUTSIDE}:{port}{}", text(&endpoint["path"]));
        let answer = get(&url).expect("an answer");
        assert_eq!(answer.status, 200, "{url}");
        let series = answer.text();
        let target = series.lines().find(|line| line.starts_with("target_info{"));
        let container = workload
            .containers()
            .find(|one| crate::manifests::port(one, &endpoint["port"]).is_some());
        for label in [
            "k8s_pod_name=\"pod-7\"",
            "k8s_namespace_name=\"calculator\"",
            "k8s_node_name=\"node-3\"",
            // By OTEL_RESOURCE_ATTRIBUTES alone.
            &format!(
                "k8s_container_name=\"{}\"",
                container.map_or("", |one| text(&one["name"]))
            ),
        ] {
            assert!(
                target.is_some_and(|line| line.contains(label)),
                "{label} of {url}: {target:?}"
            );
        }
        let counter = "http_server_active_request_seconds_total";
        assert!(
            endpoint["port"] != "admin" || series.contains(counter),
            "{url}"
        );
        scraped += 1;
    }
    assert!(scraped > 0, "{}: no monitor", workload.id());
}

/// Pages answer to the names that are configured and to no other; what a sidecar is sent it takes.
fn assert_sends_where_it_can(running: &[Running<'_>]) {
    let collector = running
        .iter()
        .find(|one| one.container["name"] == "bellwether");
    let Some(collector) = collector else {
        return;
    };
    let status = format!("http://{OUTSIDE}:4319/api/v1/status");
    let environment = environment(collector.container);
    let names = environment
        .get("BELLWETHER_WEB_HOST")
        .map_or("", |names| names);
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let answer = get_with(&status, &[("host", &format!("{name}:4319"))]).expect("an answer");
        assert_eq!(answer.status, 200, "{name}");
    }
    let other = get_with(&status, &[("host", "elsewhere.example:4319")]).expect("an answer");
    assert!((400..500).contains(&other.status), "{}", other.status);
    let service = running
        .iter()
        .find(|one| one.container["name"] == "calculator");
    let Some(service) = service else {
        return;
    };
    // Nothing is there, but the request is one.
    let asked = get(&format!("http://{OUTSIDE}:8080/"));
    assert!(asked.is_some(), "no answer of the service");
    wait_for("the service's spans at its sidecar", || {
        let services = get(&format!("http://{OUTSIDE}:4319/api/v1/services"))?.json();
        // Named as it was started; autoscalers ask for it by that name.
        let mut services = list(&services["items"]);
        services
            .any(|one| one["service"] == service.container["args"][0])
            .then_some(())
    });
}
