//! The collectors that are measured: how each is started for a task, and what it has used since. Called by `run`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine;
use crate::shop::Format;

/// A collector that does not listen by then will not.
const START: Duration = Duration::from_secs(30);

/// Which collector, and how it is set up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Subject {
    Bellwether {
        binary: PathBuf,
        setup: Setup,
    },
    /// The OpenTelemetry Collector; its views are the spanmetrics and servicegraph connectors.
    Otelcol {
        binary: PathBuf,
        batch: bool,
        views: bool,
    },
    Rotel {
        binary: PathBuf,
    },
}

/// How Bellwether is set up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Setup {
    /// A data directory in this one, synced.
    pub(crate) disk: Option<PathBuf>,
    pub(crate) gzip_out: bool,
    pub(crate) zipkin_out: bool,
    pub(crate) memory_limit: Option<String>,
    /// What a full log does in memory: drop its oldest, as by default. Else senders are refused and come again, so that
    /// nothing is left out of what is measured.
    pub(crate) drops: bool,
}

/// A collector at work.
pub(crate) struct Running {
    child: Child,
    pub(crate) to: SocketAddr,
    /// From its start to its first answer that it is ready, or to its listening where it has no such answer.
    pub(crate) ready: Duration,
    cpus: Vec<usize>,
    cpu_before: f64,
    steal_before: machine::Steal,
    _directory: tempfile::TempDir,
}

impl Subject {
    /// Starts it on `cpus`, to take `format` and to send to `sink`.
    pub(crate) fn start(&self, format: Format, sink: SocketAddr, cpus: &[usize]) -> Running {
        let ports = free_ports();
        let (directory, mut command) = match self {
            Self::Bellwether { binary, setup } => bellwether(binary, setup, &ports, sink),
            Self::Otelcol {
                binary,
                batch,
                views,
            } => otelcol(binary, *batch, *views, &ports, sink),
            Self::Rotel { binary } => rotel(binary, &ports, sink),
        };
        let to = match format {
            Format::Grpc | Format::GrpcGzip => ports.grpc,
            Format::Http | Format::Json => ports.http,
            Format::Zipkin => ports.zipkin,
        };
        let began = Instant::now();
        // A child stays on the processors of the thread that starts it.
        let cpu_set = cpus.to_vec();
        let child = std::thread::spawn(move || {
            machine::pin(&cpu_set);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
        });
        let mut child = child
            .join()
            .expect("a thread to start from")
            .expect("a subject that starts");
        let said = forward(&mut child);
        let probe = matches!(self, Self::Bellwether { .. }).then_some(ports.web);
        while !is_ready(to, probe) {
            let ended = child.try_wait().expect("a child to ask");
            assert!(
                ended.is_none() && began.elapsed() < START,
                "the subject did not start: {ended:?}\n{}",
                said.lock().expect("what it said").join("\n")
            );
            std::thread::sleep(Duration::from_micros(200));
        }
        let mut running = Running {
            child,
            to,
            ready: began.elapsed(),
            cpus: cpus.to_vec(),
            cpu_before: 0.0,
            steal_before: machine::Steal::default(),
            _directory: directory,
        };
        running.mark();
        running
    }
}

impl Running {
    /// What is asked for later counts from here.
    pub(crate) fn mark(&mut self) {
        self.cpu_before = machine::processor_seconds(self.child.id());
        self.steal_before = machine::Steal::now(&self.cpus);
    }

    /// Seconds of processor time.
    pub(crate) fn cpu(&self) -> f64 {
        machine::processor_seconds(self.child.id()) - self.cpu_before
    }

    /// Percent of its processors' time that the host took.
    pub(crate) fn steal(&self) -> f64 {
        machine::Steal::now(&self.cpus).percent_since(self.steal_before)
    }

    /// Resident memory in MiB: now, and at the most.
    pub(crate) fn memory(&self) -> (f64, f64) {
        let of = |line| machine::memory_mib(self.child.id(), line);
        (of("VmRSS"), of("VmHWM"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It holds nothing that is wanted any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Ports {
    grpc: SocketAddr,
    http: SocketAddr,
    zipkin: SocketAddr,
    web: SocketAddr,
}

/// Ports that were free a moment ago.
fn free_ports() -> Ports {
    let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let [grpc, http, zipkin, web] =
        listeners.map(|listener| listener.local_addr().expect("its address"));
    Ports {
        grpc,
        http,
        zipkin,
        web,
    }
}

fn bellwether(
    binary: &Path,
    setup: &Setup,
    ports: &Ports,
    sink: SocketAddr,
) -> (tempfile::TempDir, Command) {
    let directory = match &setup.disk {
        Some(disk) => tempfile::tempdir_in(disk),
        None => tempfile::tempdir(),
    };
    let directory = directory.expect("a directory");
    let scheme = if setup.zipkin_out {
        "zipkin+http"
    } else {
        "otlp+grpc"
    };
    let config = directory.path().join("collector.yaml");
    let compression = if setup.gzip_out { "gzip" } else { "none" };
    let on_full = if setup.drops { "drop_oldest" } else { "refuse" };
    let text = format!(
        "exporters:\n  - url: {scheme}://{sink}\n    compression: {compression}\n    on_full: {on_full}\n"
    );
    fs::write(&config, text).expect("a configuration");
    let mut command = Command::new(binary);
    command.arg("--config").arg(config);
    for (flag, address) in [
        ("--otlp-grpc", ports.grpc),
        ("--otlp-http", ports.http),
        ("--zipkin", ports.zipkin),
        ("--web", ports.web),
    ] {
        command.arg(flag).arg(address.to_string());
    }
    if setup.disk.is_some() {
        command.arg("--data-dir").arg(directory.path().join("data"));
    }
    if let Some(limit) = &setup.memory_limit {
        command.arg("--memory-limit").arg(limit);
    }
    (directory, command)
}

fn otelcol(
    binary: &Path,
    batch: bool,
    views: bool,
    ports: &Ports,
    sink: SocketAddr,
) -> (tempfile::TempDir, Command) {
    let directory = tempfile::tempdir().expect("a directory");
    let Ports {
        grpc,
        http,
        zipkin,
        web,
    } = ports;
    let (processors, used) = if batch {
        ("processors: {batch: {}}\n", "[batch]")
    } else {
        ("", "[]")
    };
    let (connectors, exporters, metrics) = if views {
        (
            "connectors: {spanmetrics: {}, servicegraph: {}}\n",
            "otlp, spanmetrics, servicegraph",
            "    metrics: {receivers: [spanmetrics, servicegraph], exporters: [prometheus]}\n",
        )
    } else {
        ("", "otlp", "")
    };
    let prometheus = if views {
        format!("  prometheus: {{endpoint: '{web}'}}\n")
    } else {
        String::new()
    };
    let text = format!(
        "receivers:\n  otlp: {{protocols: {{grpc: {{endpoint: '{grpc}'}}, http: {{endpoint: '{http}'}}}}}}\n  zipkin: {{endpoint: '{zipkin}'}}\n\
         {processors}{connectors}exporters:\n  otlp: {{endpoint: '{sink}', compression: none, tls: {{insecure: true}}}}\n{prometheus}\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    traces: {{receivers: [otlp, zipkin], processors: {used}, exporters: [{exporters}]}}\n{metrics}"
    );
    let config = directory.path().join("otelcol.yaml");
    fs::write(&config, text).expect("a configuration");
    let mut command = Command::new(binary);
    command.arg("--config").arg(config);
    (directory, command)
}

fn rotel(binary: &Path, ports: &Ports, sink: SocketAddr) -> (tempfile::TempDir, Command) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(binary);
    command.arg("start");
    for (flag, value) in [
        ("--otlp-grpc-endpoint", ports.grpc.to_string()),
        ("--otlp-http-endpoint", ports.http.to_string()),
        ("--otlp-exporter-endpoint", format!("http://{sink}")),
        ("--otlp-exporter-protocol", "grpc".to_owned()),
        ("--otlp-exporter-compression", "none".to_owned()),
    ] {
        command.arg(flag).arg(value);
    }
    (directory, command)
}

/// Keeps what it says, for when it does not start.
fn forward(child: &mut Child) -> std::sync::Arc<std::sync::Mutex<Vec<String>>> {
    const MOST_LINES: usize = 50;
    let said = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let keeping = std::sync::Arc::clone(&said);
    let stderr = child.stderr.take().expect("its standard error");
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut lines = keeping.lock().expect("what it said");
            if lines.len() < MOST_LINES {
                lines.push(line);
            }
        }
    });
    said
}

fn is_ready(listens: SocketAddr, probe: Option<SocketAddr>) -> bool {
    let Some(probe) = probe else {
        return TcpStream::connect(listens).is_ok();
    };
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(probe)?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    asked().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
