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
        for (right, wrong) in [
            ("TimeoutStopSec=", "TimeoutStopSeconds="),
            ("Restart=always", "Restart=forever"),
            ("ProtectSystem=strict\n", ""),
        ] {
            // The last one is no mistake in the tool's eyes, but counts for its rating along with all that is beside it.
            let spoilt = text.replace(right, wrong);
            let (content, said) = verify(name, &spoilt);
            assert!(!content || wrong.is_empty(), "{wrong}: {said}");
        }
    }
}

/// `Environment=` lines, in which `%S` is a folder for state and `%H` a name; the arguments of `ExecStart=`.
fn read(text: &str, state: &Path) -> (BTreeMap<String, String>, Vec<String>) {
    let set = text
        .lines()
        .filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    let expand = |value: &str| {
        value
            .replace("%S", &state.to_string_lossy())
            .replace("%H", "host-1")
    };
    let environment = set.map(|(name, value)| (name.to_owned(), expand(value)));
    let start = text
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let words = start.expect("a command").split(' ').skip(1);
    (environment.collect(), words.map(str::to_owned).collect())
}

fn seconds(text: &str) -> u64 {
    text.trim_end_matches('s').parse().expect("seconds")
}

#[test]
fn units_start_and_stop_what_they_name() {
    for (name, program, first) in UNITS {
        let text = fs::read_to_string(unit(name)).expect("a unit");
        let state = tempfile::tempdir().expect("a folder");
        let (mut environment, arguments) = read(&text, state.path());
        let stop = text
            .lines()
            .find_map(|line| line.strip_prefix("TimeoutStopSec="));
        let stop = seconds(stop.expect("a time"));
        assert!(stop >= seconds(&environment["BELLWETHER_GRACE"]) + 5);
        // Ports of the machine are not this test's to take.
        let (port, other) = (free_port(), free_port());
        let ports: Vec<(&str, String)> = match name {
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
        environment.extend(
            ports
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
        let command = |arguments: &[String]| {
            let mut command = Command::new(program);
            command
                .args(first)
                .args(arguments)
                .env_clear()
                .envs(&environment);
            command
        };
        let mut process = Process::start(name, &mut command(&arguments));
        wait_telling(
            || format!("{name} to be ready: {:#?}", process.output()),
            || {
                get(&format!("http://127.0.0.1:{port}/readyz"))
                    .filter(|answer| answer.status == 200)
            },
        );
        if text.contains("bellwether probe") {
            let mut probe = Process::start("probe", &mut command(&["probe".to_owned()]));
            let status = probe.wait(Duration::from_secs(30));
            assert!(status.success(), "{:?}", probe.output());
            let kept = fs::read_dir(state.path().join("bellwether")).expect("a data directory");
            assert!(kept.count() > 0, "nothing in the data directory");
        }
        let warned = process.log().into_iter().find(|line| {
            line["level"] == "WARN"
                && line["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("variable"))
        });
        assert_eq!(warned, None);
        process.terminate();
        assert_eq!(process.wait(Duration::from_secs(stop)).code(), Some(0));
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
