//! Gateway, agent, sidecar: what collectors pair when each sees a part of the spans, as `examples/kubernetes/README.md` says.

use bellwether_tests::http::{get, post};
use bellwether_tests::system::{Collector, Service};
use bellwether_tests::wait::wait_for;
use serde_json::Value;

const CALLS: u64 = 5;

/// The API and the service that it calls, each sending to the last or the first of so many collectors, which send on to one.
struct Arrangement {
    gateway: Collector,
    nearby: Vec<Collector>,
    api: Service,
    _add: Service,
}

impl Arrangement {
    fn start(nearby: usize) -> Self {
        let gateway = Collector::start(&[]);
        let export = format!("otlp+grpc://127.0.0.1:{}", gateway.otlp_grpc);
        let nearby: Vec<_> = (0..nearby).map(|_| Collector::start(&[&export])).collect();
        let otlp = |collector: Option<&Collector>| {
            format!(
                "http://127.0.0.1:{}",
                collector.expect("a collector").otlp_http
            )
        };
        let add = Service::start(&otlp(nearby.first()), &["add"], &[]);
        let arguments = ["api", "--add", &add.url("/add")];
        let api = Service::start(&otlp(nearby.last()), &arguments, &[]);
        Self {
            gateway,
            nearby,
            api,
            _add: add,
        }
    }

    /// Calls, and waits until the gateway has paired all of them.
    fn call(&self) {
        for _ in 0..CALLS {
            let headers = [("content-type", "application/json")];
            let url = self.api.url("/calculate");
            let answer = post(&url, &headers, br#"{"expression":"6+7"}"#).expect("an answer");
            assert_eq!(answer.status, 200);
        }
        wait_for("every pair at the gateway", || {
            (paired(&self.gateway) == CALLS).then_some(())
        });
    }

    /// How many calls the kit has measured the gap of, in the caller.
    fn measured(&self) -> u64 {
        let answer = get(&self.api.url("/metrics")).expect("metrics").text();
        let series = answer
            .lines()
            .filter(|line| line.starts_with("http_client_network_gap_seconds_count"));
        let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }
}

/// Calls of whatever edge that are pairs there.
fn paired(collector: &Collector) -> u64 {
    let map = collector.api("/map");
    let edges = map["edges"].as_array().expect("edges");
    let paired = edges.iter().filter_map(|edge| edge["paired"].as_u64());
    paired.sum()
}

fn services(collector: &Collector) -> Vec<String> {
    let answer = collector.api("/services");
    let items = answer["items"].as_array().expect("items");
    let names = items.iter().filter_map(|item| item["service"].as_str());
    names.map(str::to_owned).collect()
}

#[test]
fn an_agent_pairs_what_its_node_sends_it() {
    let arrangement = Arrangement::start(1);
    arrangement.call();
    let agent = &arrangement.nearby[0];
    wait_for("every pair at the agent", || {
        (paired(agent) == CALLS).then_some(())
    });
    assert_eq!(arrangement.measured(), CALLS);
}

/// Agents of different nodes are no better.
#[test]
fn sidecars_see_one_side_and_their_gateway_both() {
    let arrangement = Arrangement::start(2);
    arrangement.call();
    for (sidecar, own) in arrangement.nearby.iter().zip(["add", "api"]) {
        wait_for("the sidecar's own service", || {
            (services(sidecar) == [own]).then_some(())
        });
        assert_eq!(paired(sidecar), 0);
    }
    // In the caller's metrics, whoever gets the spans; and on the caller's spans.
    assert_eq!(arrangement.measured(), CALLS);
    let told = arrangement.nearby[1].api("/traces?service=api&limit=1");
    let id = told["items"][0]["trace_id"].as_str().expect("a trace");
    let trace: Value = arrangement.nearby[1].wait_for_trace(id, 2);
    let spans = trace["spans"].as_array().expect("spans");
    let gaps = spans
        .iter()
        .filter(|span| span["attributes"]["bellwether.network.gap"].is_f64());
    assert_eq!(gaps.count(), 1, "{trace:#}");
}
