//! The parts of Bellwether as child processes, each on free loopback ports.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::http::{get, post};
use crate::process::Process;
use crate::wait::{wait_for, wait_telling};

/// Below those that the system gives to clients, lest a connection takes one before it is listened on.
const PORTS: std::ops::Range<u32> = 20_000..30_000;

/// A port nothing listens on just now, and each only once: tests run side by side.
///
/// # Panics
/// When the loopback interface has none.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Another test program, started at the same time, begins elsewhere.
    let begin = std::process::id().wrapping_mul(97);
    let length = PORTS.end - PORTS.start;
    let mut ports = std::iter::repeat_with(|| {
        let nth = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        (PORTS.start + nth % length) as u16
    })
    .take(length as usize);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("a free loopback port")
}

fn part(arguments: &[&str]) -> Command {
    let mut command = Command::new(part_path());
    command
        .args(arguments)
        .env("BELLWETHER_LOG_FORMAT", "json")
        .env("OTEL_BSP_SCHEDULE_DELAY", "100");
    command
}

/// The program of `src/bin/part.rs`, which Cargo puts beside the test's own directory.
///
/// # Panics
/// When the system does not know where this test is.
pub fn part_path() -> PathBuf {
    let mut path = std::env::current_exe().expect("the path of this test");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join("part")
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    /// OTLP over gRPC.
    pub otlp_grpc: u16,
    /// OTLP over HTTP.
    pub otlp_http: u16,
    /// Zipkin.
    pub zipkin: u16,
    /// Pages, API, probes.
    pub web: u16,
    /// The process.
    pub process: Process,
}

impl Collector {
    /// Starts one that exports to `exports`, and waits until it is ready.
    pub fn start(exports: &[&str]) -> Self {
        Self::start_at(free_port(), exports)
    }

    /// As [`start`](Self::start), with a given port for OTLP over HTTP.
    pub fn start_at(otlp_http: u16, exports: &[&str]) -> Self {
        let arguments: Vec<_> = exports
            .iter()
            .flat_map(|export| ["--export", export])
            .collect();
        Self::launch(otlp_http, &arguments)
    }

    /// Starts one with these arguments beside its ports, and waits until it is ready.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::launch(free_port(), arguments)
    }

    fn launch(otlp_http: u16, arguments: &[&str]) -> Self {
        let (otlp_grpc, zipkin, web) = (free_port(), free_port(), free_port());
        let mut command = part(&["collector", "--"]);
        for (flag, port) in [
            ("--otlp-grpc", otlp_grpc),
            ("--otlp-http", otlp_http),
            ("--zipkin", zipkin),
            ("--web", web),
        ] {
            command.arg(flag).arg(format!("127.0.0.1:{port}"));
        }
        command.args(arguments);
        command.env("BELLWETHER_DRAIN_DELAY", "0s");
        let process = Process::start("collector", &mut command);
        wait_until_ready(web, &process);
        Self {
            otlp_grpc,
            otlp_http,
            zipkin,
            web,
            process,
        }
    }

    /// An answer of the JSON API.
    ///
    /// # Panics
    /// When there is none.
    pub fn api(&self, path: &str) -> Value {
        get(&format!("http://127.0.0.1:{}/api/v1{path}", self.web))
            .expect("an answer")
            .json()
    }

    /// A kept trace, once it has at least so many spans.
    pub fn wait_for_trace(&self, trace_id: &str, spans: usize) -> Value {
        wait_for(&format!("{spans} spans of trace {trace_id}"), || {
            let url = format!("http://127.0.0.1:{}/api/v1/traces/{trace_id}", self.web);
            let trace = get(&url).filter(|answer| answer.status == 200)?.json();
            (trace["spans"].as_array()?.len() >= spans).then_some(trace)
        })
    }
}

/// A running part of the calculator, or the service of `cases`.
#[derive(Debug)]
pub struct Service {
    /// Where it listens.
    pub port: u16,
    /// The process.
    pub process: Process,
}

impl Service {
    /// Starts `part service … PART` with spans going to `otlp`, and waits until it is ready.
    pub fn start(otlp: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut command = part(&["service", "--port", &port.to_string()]);
        command.args(arguments);
        Self::start_command(command, port, otlp, environment)
    }

    /// Starts the service of [`cases`](crate::cases).
    pub fn start_cases(otlp: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_cases_at(free_port(), otlp, environment)
    }

    /// As [`start_cases`](Self::start_cases), on a given port.
    pub fn start_cases_at(port: u16, otlp: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_command(part(&["cases", &port.to_string()]), port, otlp, environment)
    }

    fn start_command(
        mut command: Command,
        port: u16,
        otlp: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", otlp)
            .env("BELLWETHER_DRAIN_DELAY", "0s");
        command.envs(environment.iter().copied());
        let process = Process::start("service", &mut command);
        wait_until_ready(port, &process);
        Self { port, process }
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// The calculator as five services.
#[derive(Debug)]
pub struct Calculator {
    /// The API in front.
    pub api: Service,
    /// add, subtract, multiply, divide.
    pub operations: Vec<Service>,
}

impl Calculator {
    /// Starts all five, sending spans to `otlp`.
    pub fn start(otlp: &str) -> Self {
        let names = ["add", "subtract", "multiply", "divide"];
        let operations: Vec<Service> = names
            .iter()
            .map(|name| Service::start(otlp, &[name], &[]))
            .collect();
        let mut arguments = vec!["api".to_owned()];
        for (name, service) in names.iter().zip(&operations) {
            arguments.push(format!("--{name}"));
            arguments.push(service.url(&format!("/{name}")));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Self {
            api: Service::start(otlp, &arguments, &[]),
            operations,
        }
    }

    /// All five.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        std::iter::once(&self.api).chain(&self.operations)
    }

    /// Asks for an expression's value.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn calculate(&self, expression: &str, headers: &[(&str, &str)]) -> crate::http::Answer {
        let body = serde_json::json!({ "expression": expression }).to_string();
        let headers = [&[("content-type", "application/json")], headers].concat();
        post(&self.api.url("/calculate"), &headers, body.as_bytes()).expect("an answer")
    }
}

/// The demo, as `cargo demo` runs it.
pub fn demo(arguments: &[&str]) -> Process {
    Process::start("demo", &mut part(arguments))
}

fn wait_until_ready(port: u16, process: &Process) {
    let url = format!("http://127.0.0.1:{port}/readyz");
    wait_telling(
        // Asked when time ran out: a process that ended, as when another took its port, has said why.
        || format!("{url}; the process said {:#?}", process.output()),
        || get(&url).filter(|answer| answer.status == 200),
    );
}
