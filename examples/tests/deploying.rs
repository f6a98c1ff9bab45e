//! What `docs/deploying.md` says of places without Kubernetes: the units of systemd, as systemd's own tool reads them and run
//! with the environment that they give; and a process that is frozen between requests, as functions are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bellwether_tests::http::get;
use bellwether_tests::peers;
use bellwether_tests::process::Process;
use bellwether_tests::sink::Sink;
use bellwether_tests::system::free_port;
use bellwether_tests::wait::{wait_for, wait_telling};

/// Each unit with its program and what comes before its arguments; the collector's `main` is in the demo, too.
const UNITS: [(&str, &str, &[&str]); 2] = [
    (
        "bellwether",
        env!("CARGO_BIN_EXE_demo"),
        &["collector", "--"],
    ),
    ("calculator", env!("CARGO_BIN_EXE_calculator"), &[]),
];

/// From 0, all that can be taken away is, to 10 (`systemd-analyze security`).
const MOST_EXPOSED: f64 = 2.0;

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("systemd/{name}.service"))
}

fn analyze() -> Option<()> {
    let output = Command::new("systemd-analyze").arg("--version").output();
    output.is_ok().then_some(())
}

/// What the tool says of the unit, whose programs are replaced by one that is there; whether it is content.
fn verify(name: &str, text: &str) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(format!("{name}.service"));
    let programs = ["/usr/local/bin/bellwether", "/usr/local/bin/calculator"];
    let text = programs.iter().fold(text.to_owned(), |text, program| {
        text.replace(program, "/bin/true")
    });
    fs::write(&file, text).expect("a unit");
    let mut verify = Command::new("systemd-analyze");
    let output = verify
        .args(["verify", "--man=no"])
        .arg(&file)
        .output()
        .expect("an answer");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // It tells of units that it knows of by itself, too.
    let own = said
        .lines()
        .filter(|line| line.contains(name))
        .collect::<Vec<_>>()
        .join("\n");
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true"]).arg(&file);
    let rated = security.output().expect("an answer");
    let rated = String::from_utf8_lossy(&rated.stdout).into_owned();
    let level = rated
        .lines()
        .find_map(|line| line.split("exposure level for").nth(1)?.split(": ").nth(1));
    let level = level.and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
    let content = own.is_empty() && level.is_some_and(|level| level <= MOST_EXPOSED);
    (content, format!("{own}; exposure {level:?}"))
}

#[test]
fn units_are_as_systemd_reads_them() {
    if peers::require(
        "units_are_as_systemd_reads_them",
        "systemd-analyze",
        analyze(),
    )
    .is_none()
    {
        return;
    }
    for (name, ..) in UNITS {
        let text = fs::read_to_string(unit(name)).expect("a unit");
        let (content, said) = verify(name, &text);
        assert!(content, "{said}");
        for spoilt in [
            text.replace("TimeoutStopSec=", "TimeoutStopSeconds="),
            text.replace("Restart=always", "Restart=forever"),
            // No mistake, but exposed.
            text.replace("\nProtect", "\n# Protect"),
        ] {
            let (content, said) = verify(name, &spoilt);
            assert!(!content, "{said} of {spoilt}");
        }
    }
}

/// A unit, and the programs that it starts.
struct Unit {
    text: String,
    program: &'static str,
    first: &'static [&'static str],
    /// What `Environment=` sets; `%S` is a folder of the test, `%H` a name.
    environment: BTreeMap<String, String>,
}

impl Unit {
    fn read(
        name: &str,
        program: &'static str,
        first: &'static [&'static str],
        state: &Path,
    ) -> Self {
        let text = fs::read_to_string(unit(name)).expect("a unit");
        let expand = |value: &str| {
            let value = value.replace("%S", &state.to_string_lossy());
            value.replace("%H", "host-1")
        };
        let set = text
            .lines()
            .filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
        let environment = set.map(|(name, value)| (name.to_owned(), expand(value)));
        Self {
            environment: environment.collect(),
            text,
            program,
            first,
        }
    }

    fn setting(&self, name: &str) -> &str {
        let mut lines = self.text.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {name}"))
    }

    /// As `ExecStart=` says.
    fn start(&self) -> Process {
        let mut command = Command::new(self.program);
        command.args(self.first);
        command.args(self.setting("ExecStart").split(' ').skip(1));
        command.env_clear().envs(&self.environment);
        Process::start("the unit", &mut command)
    }

    /// Whether `ExecStartPost=` takes the start for done, when this is the process.
    fn has_started(&self, process: u32) -> bool {
        let script = self.setting("ExecStartPost");
        let script = script.strip_prefix("/bin/sh -c '").expect("a script");
        let script = script.strip_suffix('\'').expect("its end");
        let collector = [&[self.program], self.first].concat().join(" ");
        let mut shell = Command::new("/bin/sh");
        shell
            .args([
                "-c",
                &script.replace("/usr/local/bin/bellwether", &collector),
            ])
            .env_clear()
            .envs(&self.environment)
            .env("MAINPID", process.to_string());
        let mut shell = Process::start("ExecStartPost", &mut shell);
        shell.wait(Duration::from_secs(30)).success()
    }
}

fn seconds(text: &str) -> u64 {
    text.trim_end_matches('s').parse().expect("seconds")
}

#[test]
fn units_start_and_stop_what_they_name() {
    for (name, program, first) in UNITS {
        let state = tempfile::tempdir().expect("a folder");
        let mut unit = Unit::read(name, program, first, state.path());
        let stop = seconds(unit.setting("TimeoutStopSec"));
        assert!(stop >= seconds(&unit.environment["BELLWETHER_GRACE"]) + 5);
        // Ports of the machine are not this test's to take.
        let (port, other) = (free_port(), free_port());
        let ports = match name {
            "bellwether" => vec![
                ("BELLWETHER_WEB", port.to_string()),
                ("BELLWETHER_OTLP_GRPC", other.to_string()),
                ("BELLWETHER_OTLP_HTTP", "0".to_owned()),
                ("BELLWETHER_ZIPKIN", "0".to_owned()),
                // Nobody is there: what is for an exporter goes into the directory.
                ("BELLWETHER_EXPORT", "otlp+http://127.0.0.1:9".to_owned()),
            ],
            _ => vec![
                ("PORT", port.to_string()),
                ("BELLWETHER_ADMIN_ADDR", format!("127.0.0.1:{other}")),
            ],
        };
        let ports = ports.into_iter();
        unit.environment
            .extend(ports.map(|(name, value)| (name.to_owned(), value)));
        let mut process = unit.start();
        wait_telling(
            || format!("{name} to be ready: {:#?}", process.output()),
            || {
                let answer = get(&format!("http://127.0.0.1:{port}/readyz"));
                answer.filter(|answer| answer.status == 200)
            },
        );
        if name == "bellwether" {
            assert!(unit.has_started(process.id()));
            let kept = fs::read_dir(state.path().join("bellwether")).expect("a data directory");
            assert!(kept.count() > 0, "nothing in the data directory");
        }
        let warned = process.log().into_iter().find(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            line["level"] == "WARN" && message.contains("variable")
        });
        assert_eq!(warned, None);
        process.terminate();
        assert_eq!(process.wait(Duration::from_secs(stop)).code(), Some(0));
        if name == "bellwether" {
            // As after a setting that was refused: without its process nobody waits for the rest of the start's time.
            assert!(!unit.has_started(process.id()));
        }
    }
}

/// A function's sandbox stands still as soon as it has answered, and has less than half a second at its end.
#[test]
fn a_process_that_is_frozen_between_requests_loses_no_span() {
    let (sink, port) = (Sink::start(), free_port());
    let mut command = Command::new(env!("CARGO_BIN_EXE_calculator"));
    command.arg("monolith").env_clear().envs([
        ("PORT", &*port.to_string()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("BELLWETHER_DRAIN_DELAY", "0s"),
        ("BELLWETHER_GRACE", "490ms"),
        ("BELLWETHER_LIVENESS_TIMEOUT", "1s"),
    ]);
    let mut process = Process::start("calculator", &mut command);
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    wait_for("readiness", || {
        get(&url("/readyz")).filter(|answer| answer.status == 200)
    });
    for request in 1..=3 {
        assert!(get(&url("/calculate")).is_some(), "no answer");
        process.freeze();
        // Longer than the liveness time-out: a freeze is no stall of the runtime's.
        wait_for("a freeze of two seconds", {
            let since = std::time::Instant::now();
            move || (since.elapsed() > Duration::from_secs(2)).then_some(())
        });
        process.thaw();
        assert_eq!(get(&url("/livez")).map(|answer| answer.status), Some(200));
        wait_for("a span", || (sink.spans().len() >= request).then_some(()));
    }
    assert!(get(&url("/calculate")).is_some(), "no answer");
    process.terminate();
    assert_eq!(process.wait(Duration::from_secs(30)).code(), Some(0));
    wait_telling(
        || format!("the last span: {:#?}", process.output()),
        || (sink.spans().len() == 4).then_some(()),
    );
}
