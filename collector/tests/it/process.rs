//! A collector in a child process, on free loopback ports, stopped when the test ends.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(15);

const ANY_PORTS: [&str; 8] = [
    "--otlp-grpc",
    "0",
    "--otlp-http",
    "0",
    "--zipkin",
    "0",
    "--web",
    "0",
];

/// A running collector.
pub(crate) struct Collector {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
    started: Value,
}

impl Collector {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// With these variables; without any drain delay, unless they say so.
    pub(crate) fn start_with(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(&program());
        command.args(ANY_PORTS).args(args);
        command.env("BELLWETHER_DRAIN_DELAY", "0s");
        command.envs(variables.iter().copied());
        Self::spawn(&mut command)
    }

    /// On the usual ports of this host.
    #[cfg(target_os = "linux")]
    pub(crate) fn start_on(host: &str) -> Self {
        let mut command = command(&program());
        command.args(["run", "--listen", host]);
        command.env("BELLWETHER_DRAIN_DELAY", "0s");
        Self::spawn(&mut command)
    }

    /// Through a shell's `script`, which has to `exec "$0" "$@"`.
    #[cfg(target_os = "linux")]
    pub(crate) fn start_through(script: &str, args: &[&str]) -> Self {
        let mut command = command("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_bellwether")]);
        command.args(ANY_PORTS).args(args);
        command.env("BELLWETHER_DRAIN_DELAY", "0s");
        Self::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let into = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in stdout.lines() {
                let line = line.unwrap();
                let value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
                into.lock().unwrap().push(value);
            }
        });
        let mut started = Value::Null;
        wait_for("the start-up line", || {
            let lines = lines.lock().unwrap();
            let line = lines
                .iter()
                .find(|line| line["message"] == "collector started");
            started = line.cloned().unwrap_or_default();
            !started.is_null()
        });
        let collector = Self {
            child,
            lines,
            reader: Some(reader),
            started,
        };
        wait_for("readiness", || get(&collector.web("/readyz")).0 == 200);
        collector
    }

    pub(crate) fn grpc_address(&self) -> &str {
        self.started["otlp_grpc"].as_str().unwrap()
    }

    pub(crate) fn http_address(&self) -> &str {
        self.started["otlp_http"].as_str().unwrap()
    }

    pub(crate) fn zipkin_address(&self) -> &str {
        self.started["zipkin"].as_str().unwrap()
    }

    pub(crate) fn web_address(&self) -> &str {
        self.started["web"].as_str().unwrap()
    }

    /// A URL on the web address.
    pub(crate) fn web(&self, path: &str) -> String {
        format!("http://{}{path}", self.web_address())
    }

    /// What the stream of live events has said so far; it grows until the collector ends.
    pub(crate) fn events(&self) -> Arc<Mutex<String>> {
        let mut stream = TcpStream::connect(self.web_address()).unwrap();
        let ask = "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(ask.as_bytes()).unwrap();
        let said = Arc::default();
        let into: Arc<Mutex<String>> = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let is_data = line.starts_with("data");
                into.lock().unwrap().extend(is_data.then_some(line));
            }
        });
        said
    }

    /// The URL that takes OTLP over HTTP.
    pub(crate) fn traces(&self) -> String {
        format!("http://{}/v1/traces", self.http_address())
    }

    /// Whether it has logged this message.
    pub(crate) fn logged(&self, message: &str) -> bool {
        let lines = self.lines.lock().unwrap();
        lines.iter().any(|line| line["message"] == message)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The lines with this message so far.
    pub(crate) fn lines_with(&self, message: &str) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        let lines = lines.iter().filter(|line| line["message"] == message);
        lines.cloned().collect()
    }

    /// The line that told of its start.
    pub(crate) fn started(&self) -> &Value {
        &self.started
    }

    /// Memory it holds.
    #[cfg(target_os = "linux")]
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap() * 1024
    }

    /// How often its threads of this name have stopped to wait.
    #[cfg(target_os = "linux")]
    pub(crate) fn turns(&self, name: &str) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let statuses =
            tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")));
        let field = |status: &str, name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap().trim().to_owned()
        };
        statuses
            .map(Result::unwrap)
            .filter(|status| field(status, "Name:") == name)
            .map(|status| {
                field(&status, "voluntary_ctxt_switches:")
                    .parse::<u64>()
                    .unwrap()
            })
            .sum()
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.unwrap().success());
    }

    /// Waits for the end, which must be a good one; what it logged.
    pub(crate) fn exits_with_success(mut self) -> Vec<Value> {
        let mut status = None;
        wait_for("the exit", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.code()), Some(0));
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        std::mem::take(&mut *self.lines.lock().unwrap())
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn stop(self) {
        self.terminate();
        self.exits_with_success();
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Gone already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command line that ends by itself.
pub(crate) fn bellwether(args: &[&str]) -> Output {
    bellwether_with(args, &[])
}

/// The same with these variables.
pub(crate) fn bellwether_with(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = command(env!("CARGO_BIN_EXE_bellwether"));
    let variables = variables.iter().copied();
    command.args(args).envs(variables).output().unwrap()
}

/// The collector that Cargo built with these tests, or another one: `BELLWETHER_PROGRAM`.
fn program() -> String {
    std::env::var("BELLWETHER_PROGRAM")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_bellwether").to_owned())
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    let own = |(name, _): &(OsString, OsString)| {
        let name = name.to_string_lossy();
        ["BELLWETHER_", "OTEL_", "RUST_LOG"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    for (name, _) in std::env::vars_os().filter(own) {
        command.env_remove(name);
    }
    command.env("BELLWETHER_LOG_FORMAT", "json");
    command
}

/// Status and body; 0 when nobody answers.
pub(crate) fn get(url: &str) -> (u16, String) {
    answer(agent().get(url).call())
}

pub(crate) fn post(url: &str, body: &[u8]) -> (u16, String) {
    post_as("application/x-protobuf", url, body)
}

pub(crate) fn post_as(content_type: &str, url: &str, body: &[u8]) -> (u16, String) {
    answer(agent().post(url).content_type(content_type).send(body))
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(DEADLINE))
        .build()
        .into()
}

fn answer(response: Result<http::Response<ureq::Body>, ureq::Error>) -> (u16, String) {
    match response {
        Ok(mut response) => {
            let body = response.body_mut().read_to_vec().unwrap();
            let text = String::from_utf8_lossy(&body).into_owned();
            (response.status().as_u16(), text)
        }
        Err(error) => (0, error.to_string()),
    }
}

/// Waits until `reached`, looking often; fails the test at the deadline.
pub(crate) fn wait_for(what: &str, reached: impl FnMut() -> bool) {
    wait_for_at_most(DEADLINE, what, reached);
}

/// The same with another deadline.
pub(crate) fn wait_for_at_most(limit: Duration, what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !reached() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
