//! What Prometheus makes of the monitors, as its operator writes its configuration: jobs, labels, what is left out.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::limits::variable;
use crate::manifests::{Workload, id, list, of_kind, port, selects, text, workloads};
use crate::references::{destinations, service_pods};

/// An endpoint of a monitor at a container.
struct Target<'a> {
    monitor: &'a Value,
    endpoint: &'a Value,
    workload: Workload<'a>,
    container: &'a Value,
    job: String,
    /// Those that the monitor takes over.
    labels: BTreeMap<String, String>,
}

fn targets(documents: &[Value]) -> Vec<Target<'_>> {
    let mut targets = Vec::new();
    for monitor in of_kind(documents, "PodMonitor") {
        let (metadata, spec) = (&monitor["metadata"], &monitor["spec"]);
        let name = format!(
            "{}/{}",
            text(&metadata["namespace"]),
            text(&metadata["name"])
        );
        for endpoint in list(&spec["podMetricsEndpoints"]) {
            for pod in workloads(documents).filter(|pod| selects(&spec["selector"], pod.labels)) {
                let Some(number) = pod.port(&endpoint["port"]) else {
                    continue;
                };
                let taken = &spec["podTargetLabels"];
                targets.extend(target(
                    monitor, endpoint, pod, number, &name, pod.labels, taken,
                ));
            }
        }
    }
    for monitor in of_kind(documents, "ServiceMonitor") {
        let spec = &monitor["spec"];
        let services = of_kind(documents, "Service");
        let labelled =
            services.filter(|one| selects(&spec["selector"], &one["metadata"]["labels"]));
        for service in labelled {
            let metadata = &service["metadata"];
            for endpoint in list(&spec["endpoints"]) {
                let mut ports = list(&service["spec"]["ports"]);
                let named = ports.find(|one| one["name"] == endpoint["port"]);
                let number = named
                    .and_then(|one| one["port"].as_u64())
                    .unwrap_or_default();
                for (pod, number) in service_pods(documents, service, number) {
                    let (labels, taken) = (&metadata["labels"], &spec["targetLabels"]);
                    let name = text(&metadata["name"]);
                    targets.extend(target(monitor, endpoint, pod, number, name, labels, taken));
                }
            }
        }
    }
    targets
}

fn target<'a>(
    monitor: &'a Value,
    endpoint: &'a Value,
    workload: Workload<'a>,
    number: u64,
    name: &str,
    labels: &Value,
    taken: &Value,
) -> Option<Target<'a>> {
    let container = workload
        .containers()
        .find(|one| port(one, &number.into()).is_some())?;
    let job = text(&labels[text(&monitor["spec"]["jobLabel"])]);
    let taken = list(taken).map(|label| {
        let name = text(label).replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        (name, text(&labels[text(label)]).to_owned())
    });
    Some(Target {
        monitor,
        endpoint,
        workload,
        container,
        job: if job.is_empty() { name } else { job }.to_owned(),
        labels: taken.collect(),
    })
}

impl Target<'_> {
    fn id(&self) -> String {
        format!("{} of {}", id(self.monitor), self.workload.id())
    }

    fn is_collector(&self) -> bool {
        self.container["name"] == "bellwether"
    }

    /// Whether it leaves out what is named so.
    fn drops(&self, name: &str) -> bool {
        let value = |label: &Value| match text(label) {
            "__name__" => name,
            label => self.labels.get(label).map_or("", String::as_str),
        };
        let mut rules = list(&self.endpoint["metricRelabelings"]);
        rules.any(|rule| {
            let values: Vec<_> = list(&rule["sourceLabels"]).map(value).collect();
            let values = values.join(";");
            // The regular expressions that are used here: names, and their beginnings.
            let mut names = text(&rule["regex"]).split('|');
            rule["action"] == "drop"
                && names.any(|name| match name.strip_suffix(".*") {
                    Some(start) => values.starts_with(start),
                    None => values == name,
                })
        })
    }
}

/// What is scraped keeps its labels, and is answered before it is asked again.
pub(crate) fn times_and_labels(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for target in targets(documents) {
        let seconds = |name: &str| text(&target.endpoint[name]).strip_suffix('s')?.parse().ok();
        let (interval, timeout): (Option<u32>, _) = (seconds("interval"), seconds("scrapeTimeout"));
        // The rates that autoscalers read are of one minute, which has to hold two scrapes.
        if timeout.is_none() || timeout > interval || interval > Some(30) {
            faults.push(format!("{}: {timeout:?} of {interval:?}", target.id()));
        }
        // A collector's series say by themselves what `service` they are of; the operator has a label of that name, too.
        if target.is_collector() && target.endpoint["honorLabels"] != true {
            faults.push(format!("{}: renames labels", target.id()));
        }
    }
    faults
}

/// Rules and dashboards know a service by its job: none has two services, or a service and collectors, for which there are
/// no objectives.
pub(crate) fn jobs(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for target in targets(documents) {
        let own = match target.is_collector() {
            true => "collectors".to_owned(),
            false => target.workload.id(),
        };
        let other = known.entry(target.job.clone()).or_insert(own.clone());
        if *other != own {
            faults.push(format!(
                "{}: {other} and {own} are one job, {}",
                id(target.monitor),
                target.job
            ));
        }
    }
    faults
}

/// Calls and spans are summed over all collectors: one that sends on to another leaves out what that one counts again. And what
/// autoscalers read of a pod are its service's requests, not those for its sidecar's pages.
pub(crate) fn counted_once(documents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for target in targets(documents)
        .iter()
        .filter(|target| target.is_collector())
    {
        let exports = variable(target.container, "BELLWETHER_EXPORT");
        let mut onward = destinations(documents, target.workload).into_iter();
        let is_first = onward.any(|one| one.url == exports);
        let is_sidecar = list(&target.workload.pod["initContainers"])
            .any(|one| one["name"] == target.container["name"]);
        for (name, left_out) in [
            ("traces_spanmetrics_calls_total", is_first),
            ("traces_service_graph_request_total", is_first),
            ("http_server_active_request_seconds_total", is_sidecar),
            ("bellwether_receiver_accepted_batches_total", false),
            ("bellwether_build_info", false),
        ] {
            if target.drops(name) != left_out {
                let fault = if left_out {
                    "counts twice"
                } else {
                    "leaves out"
                };
                faults.push(format!("{}: {fault} {name}", target.id()));
            }
        }
    }
    faults
}
