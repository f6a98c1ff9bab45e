//! Rolling restarts of two replicas behind HAProxy, which switches by `/readyz`, under a steady load: no request
//! fails, no span is lost, no gauge is left over. A few restarts; all of them, at the full rate, with
//! `BELLWETHER_FULL=1`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bellwether_tests::http::get;
use bellwether_tests::load::{Load, Plan, Report};
use bellwether_tests::peers;
use bellwether_tests::process::Process;
use bellwether_tests::sink::Sink;
use bellwether_tests::system::{Service, free_port};
use bellwether_tests::wait::wait_for;
use serde_json::Value;

/// Of each replica, and requests a second.
struct Extent {
    restarts: usize,
    rate: u32,
}

fn extent() -> Extent {
    if std::env::var("BELLWETHER_FULL").is_ok_and(|value| value == "1") {
        Extent {
            restarts: 20,
            rate: 1_000,
        }
    } else {
        Extent {
            restarts: 2,
            rate: 400,
        }
    }
}

/// HAProxy before the replicas on these ports.
struct Proxy {
    front: SocketAddr,
    stats: String,
    _process: Process,
}

impl Proxy {
    fn start(program: &str, replicas: [u16; 2]) -> Self {
        let (front, stats) = (free_port(), free_port());
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("haproxy-{front}.cfg"));
        std::fs::write(&file, configuration(front, stats, replicas))
            .expect("a place for its configuration");
        let process = Process::start(
            "haproxy",
            Command::new(program).arg("-db").arg("-f").arg(file),
        );
        let proxy = Self {
            front: SocketAddr::from(([127, 0, 0, 1], front)),
            stats: format!("http://127.0.0.1:{stats}/stats;csv"),
            _process: process,
        };
        for index in 0..replicas.len() {
            proxy.wait_for(index, "UP");
        }
        proxy
    }

    /// Waits until the proxy takes the replica for `UP` or `DOWN`.
    fn wait_for(&self, replica: usize, state: &str) {
        wait_for(&format!("replica {replica} to be {state}"), || {
            self.state(replica)?.starts_with(state).then_some(())
        });
    }

    fn state(&self, replica: usize) -> Option<String> {
        let csv = get(&self.stats)?.text();
        let mut lines = csv.lines();
        let column = lines.next()?.split(',').position(|name| name == "status")?;
        let line = lines.find(|line| line.starts_with(&format!("replicas,{replica},")))?;
        line.split(',').nth(column).map(str::to_owned)
    }
}

/// Nothing is retried: a request that meets a replica that is gone has failed.
fn configuration(front: u16, stats: u16, [one, other]: [u16; 2]) -> String {
    format!(
        "global
    maxconn 4096
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
frontend front
    bind 127.0.0.1:{front}
    default_backend replicas
backend replicas
    balance roundrobin
    option httpchk GET /readyz
    default-server check inter 100ms fall 2 rise 2
    server 0 127.0.0.1:{one}
    server 1 127.0.0.1:{other}
frontend stats
    bind 127.0.0.1:{stats}
    stats enable
    stats uri /stats
"
    )
}

struct Replica {
    service: Service,
    admin: u16,
}

impl Replica {
    fn start(port: u16, sink: &Sink) -> Self {
        let admin = free_port();
        let environment = [
            ("BELLWETHER_ADMIN_ADDR", &*format!("127.0.0.1:{admin}")),
            // The proxy looks away after two probes; the rest is for a machine that is busy.
            ("BELLWETHER_DRAIN_DELAY", "2s"),
            ("BELLWETHER_GRACE", "20s"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "50000"),
        ];
        Self {
            service: Service::start_cases_at(port, sink.endpoint(), &environment),
            admin,
        }
    }

    /// The sum of a metric's samples.
    fn sum(&self, metric: &str) -> Option<f64> {
        let metrics = get(&format!("http://127.0.0.1:{}/metrics", self.admin))?.text();
        let samples = metrics.lines().filter(|line| line.starts_with(metric));
        samples
            .map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    fn wait_until_idle(&self) {
        wait_for("no request in flight", || {
            let active = self.sum("http_server_active_requests{")?;
            (active == 0.0).then_some(())
        });
        assert_eq!(self.sum("bellwether_telemetry_dropped_total{"), Some(0.0));
    }

    /// SIGTERM to exit, while the proxy turns to the other one.
    fn stop(mut self, index: usize, proxy: &Proxy) {
        self.service.process.terminate();
        proxy.wait_for(index, "DOWN");
        // Still serving, for the delay, though nobody asks any more.
        self.wait_until_idle();
        let status = self.service.process.wait(Duration::from_secs(30));
        assert_eq!(status.code(), Some(0));
        let log = self.service.process.log();
        let cut = log.iter().find(|line| line.get("connections").is_some());
        assert_eq!(cut, None);
        let failed = |line: &&Value| line["url.path"] == "/quick" && line["outcome"] != "ok";
        assert_eq!(log.iter().find(failed), None);
    }
}

#[test]
fn rolling_restarts_fail_no_request_and_lose_no_span() {
    let test = "rolling_restarts_fail_no_request_and_lose_no_span";
    let Some(haproxy) = peers::require(test, "haproxy", peers::haproxy()) else {
        return;
    };
    let Extent { restarts, rate } = extent();
    let sink = Sink::counting();
    let ports = [free_port(), free_port()];
    let mut replicas = ports.map(|port| Some(Replica::start(port, &sink)));
    let proxy = Proxy::start(haproxy, ports);
    let load = Load::start(Plan {
        address: proxy.front,
        path: "/quick",
        body: "",
        rate,
        connections: 100,
    });
    for _ in 0..restarts {
        for (index, port) in ports.into_iter().enumerate() {
            if let Some(old) = replicas[index].take() {
                old.stop(index, &proxy);
            }
            replicas[index] = Some(Replica::start(port, &sink));
            proxy.wait_for(index, "UP");
        }
    }
    let report = load.finish();
    tell(restarts, &report);
    assert_eq!(report.failures, Vec::<String>::new());
    assert!(
        report.answered > u64::from(rate),
        "a load of {}",
        report.answered
    );
    wait_for("every span", || {
        (sink.count() >= report.answered).then_some(())
    });
    for replica in replicas.iter().flatten() {
        replica.wait_until_idle();
    }
    assert_eq!(sink.count(), report.answered, "a span for each request");
}

fn tell(restarts: usize, report: &Report) {
    println!(
        "{restarts} rolling restarts: {} answered, {} failed, {:.0}/s; p50 {:?}, p99 {:?}, longest {:?}",
        report.answered,
        report.failures.len(),
        report.rate,
        report.percentile(50),
        report.percentile(99),
        report.percentile(100),
    );
}
