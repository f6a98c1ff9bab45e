//! The demo's child processes: started with their JSON logs in files, stopped together, never outliving
//! the demo.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout_at};
use tower::BoxError;

use super::collector::get;
use super::ports::Ports;
use crate::operation::Operation;

/// How long between two looks at something that is waited for.
const POLL: Duration = Duration::from_millis(50);

/// Running children.
#[derive(Debug)]
pub struct Children {
    logs: PathBuf,
    running: Vec<(String, Child)>,
}

/// Ends this process gently when its standard input closes: children call it first, so that they end with
/// the demo however it ends.
pub fn stop_with_parent() {
    std::thread::spawn(|| {
        let mut ignored = [0; 64];
        while std::io::stdin()
            .read(&mut ignored)
            .is_ok_and(|read| read > 0)
        {}
        // Fails only if this process is gone already.
        let _ = kill_process(getpid(), Signal::TERM);
    });
}

impl Children {
    /// No child yet, and a new directory for their logs.
    pub fn new() -> std::io::Result<Self> {
        let name = format!("bellwether-demo-{}", std::process::id());
        let logs = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&logs)?;
        Ok(Self {
            logs,
            running: Vec::new(),
        })
    }

    /// Where the children's logs are.
    pub fn log_directory(&self) -> &Path {
        &self.logs
    }

    /// Starts the collector and the five services.
    pub fn start_all(&mut self, ports: &Ports) -> std::io::Result<()> {
        self.start("collector", ports, |command| {
            command.args(["collector", "--"]);
            for (flag, port) in [
                ("--otlp-grpc", ports.otlp_grpc),
                ("--otlp-http", ports.otlp_http),
                ("--web", ports.web),
            ] {
                command.arg(flag).arg(format!("127.0.0.1:{port}"));
            }
        })?;
        for operation in Operation::ALL {
            self.start(operation.name(), ports, |command| {
                command.args(["service", "--port", &ports.of(operation).to_string()]);
                match operation {
                    Operation::Multiply => {
                        command.args(["--slow-share", "0.02", "--slow-ms", "180"]);
                    }
                    Operation::Subtract => {
                        command.args(["--fail-share", "0.02"]);
                    }
                    Operation::Add | Operation::Divide => {}
                }
                command.arg(operation.name());
            })?;
        }
        self.start("api", ports, |command| {
            command.args(["service", "--port", &ports.api.to_string(), "api"]);
            for operation in Operation::ALL {
                let port = if operation == Operation::Divide {
                    ports.link
                } else {
                    ports.of(operation)
                };
                let name = operation.name();
                command
                    .arg(format!("--{name}"))
                    .arg(format!("http://127.0.0.1:{port}/{name}"));
            }
        })
    }

    fn start(
        &mut self,
        name: &str,
        ports: &Ports,
        arguments: impl FnOnce(&mut Command),
    ) -> std::io::Result<()> {
        let log = File::create(self.logs.join(format!("{name}.log")))?;
        let mut command = Command::new(std::env::current_exe()?);
        arguments(&mut command);
        command
            .env("BELLWETHER_DRAIN_DELAY", "0s")
            .env("BELLWETHER_LOG_FORMAT", "json")
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://127.0.0.1:{}", ports.otlp_http),
            )
            .env("OTEL_BSP_SCHEDULE_DELAY", "500")
            // Ctrl-C is for the demo, which then stops its children in order; a second signal would hurry them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stderr(log.try_clone()?)
            .stdout(log)
            .kill_on_drop(true);
        self.running.push((name.to_owned(), command.spawn()?));
        Ok(())
    }

    /// Waits until `/readyz` answers 200 on every port.
    ///
    /// # Errors
    /// The child that ended, or the port that did not answer in time.
    pub async fn wait_until_ready(&mut self, ports: &[u16], limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        for &port in ports {
            while !matches!(get(port, "/readyz").await, Ok((200, _))) {
                if let Some(failed) = self.failed() {
                    return Err(failed);
                }
                if Instant::now() > deadline {
                    return Err(format!("nothing is ready on port {port} after {limit:?}"));
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// Resolves when a child ends by itself, with its last words.
    pub async fn wait_for_failure(&mut self) -> String {
        loop {
            if let Some(failed) = self.failed() {
                return failed;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn failed(&mut self) -> Option<String> {
        let (name, status) = self.running.iter_mut().find_map(|(name, child)| {
            child
                .try_wait()
                .ok()
                .flatten()
                .map(|status| (name.clone(), status))
        })?;
        let log =
            std::fs::read_to_string(self.logs.join(format!("{name}.log"))).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(3).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Some(format!("{name} ended with {status}:\n{}", last.join("\n")))
    }

    /// Asks every child to stop and waits for them; those still running at the limit are killed.
    ///
    /// # Errors
    /// The children that did not end well.
    pub async fn stop(&mut self, limit: Duration) -> Result<(), BoxError> {
        let deadline = Instant::now() + limit;
        for (_, child) in &self.running {
            // A child that has ended has no id any more and needs no signal.
            if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let mut failures = Vec::new();
        for (name, child) in &mut self.running {
            match timeout_at(deadline, child.wait()).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => failures.push(format!("{name} ended with {status}")),
                Ok(Err(error)) => failures.push(format!("{name}: {error}")),
                Err(_) => {
                    child.kill().await?;
                    failures.push(format!("{name} had to be killed after {limit:?}"));
                }
            }
        }
        if failures.is_empty() {
            std::fs::remove_dir_all(&self.logs)?;
            return Ok(());
        }
        Err(format!(
            "{}; their logs are in {}",
            failures.join(", "),
            self.logs.display()
        )
        .into())
    }
}
