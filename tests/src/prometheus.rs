//! A real Prometheus server, and promtool: `scrape.rs` has them read what the kit shows.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::http::get;
use crate::process::Process;
use crate::system::free_port;
use crate::wait::wait_for;

/// Prometheus, when it is installed.
pub fn installed() -> Option<()> {
    let answers = |program| Command::new(program).arg("--version").output();
    (answers("prometheus").is_ok() && answers("promtool").is_ok()).then_some(())
}

/// What a server is to do.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// A feature flag that is on; empty for none.
    pub feature: &'a str,
    /// What it scrapes once a second: jobs, each with its target (host and port).
    pub jobs: &'a [(&'a str, String)],
    /// The files with rules that it evaluates once a second.
    pub rules: &'a [PathBuf],
}

/// A running server. Its data goes when it goes.
#[derive(Debug)]
pub struct Prometheus {
    port: u16,
    process: Process,
    // After the process, which writes there.
    _data: Scratch,
}

#[derive(Debug)]
struct Scratch(PathBuf);

impl Prometheus {
    /// Starts one that scrapes `targets` (host and port) once a second, with a feature flag on.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub fn start(feature: &str, targets: &[String]) -> Self {
        let jobs: Vec<_> = targets
            .iter()
            .map(|target| ("kit", target.clone()))
            .collect();
        Self::start_as(Setup {
            feature,
            jobs: &jobs,
            rules: &[],
        })
    }

    /// Starts one as it is told to be.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub fn start_as(setup: Setup<'_>) -> Self {
        let feature = setup.feature;
        let port = free_port();
        let data = Scratch::new(port);
        let configuration = data.0.join("prometheus.yml");
        std::fs::write(&configuration, setup.configuration()).expect("a configuration");
        let process = Process::start(
            "prometheus",
            Command::new("prometheus")
                .arg(format!("--config.file={}", configuration.display()))
                .arg(format!("--storage.tsdb.path={}", data.0.display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg(format!("--enable-feature={feature}")),
        );
        let url = format!("http://127.0.0.1:{port}/-/ready");
        wait_for("Prometheus to be ready", || {
            get(&url).filter(|answer| answer.status == 200)
        });
        Self {
            port,
            process,
            _data: data,
        }
    }

    /// The series that an instant query gives.
    ///
    /// # Panics
    /// When the query is refused.
    pub fn query(&self, query: &str) -> Vec<Value> {
        let answer = self.api("query", &[("query", query)]);
        let series = answer["result"].as_array().expect("a vector");
        series.clone()
    }

    /// The one value that an instant query gives, if there is one.
    pub fn value(&self, query: &str) -> Option<f64> {
        match self.query(query).as_slice() {
            [series] => series["value"][1].as_str()?.parse().ok(),
            _ => None,
        }
    }

    /// The series that a range query gives: of the last `seconds`, one value each second.
    ///
    /// # Panics
    /// When the query is refused.
    pub fn query_range(&self, query: &str, seconds: f64) -> Vec<Value> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let end = now.expect("a time after 1970").as_secs_f64();
        let (start, end) = ((end - seconds).to_string(), end.to_string());
        let range = [
            ("query", query),
            ("start", &start),
            ("end", &end),
            ("step", "1"),
        ];
        let answer = self.api("query_range", &range);
        answer["result"].as_array().expect("a matrix").clone()
    }

    /// The values of a label in the series that a selector gives, in ascending order.
    ///
    /// # Panics
    /// When the selector is refused.
    pub fn label_values(&self, label: &str, selector: &str) -> Vec<String> {
        let answer = self.api(&format!("label/{label}/values"), &[("match[]", selector)]);
        let values = answer.as_array().expect("values").iter();
        values
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// The rules it evaluates, with what became of them.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn rules(&self) -> Vec<Value> {
        let answer = self.api("rules", &[]);
        let groups = answer["groups"].as_array().expect("groups").iter();
        groups
            .filter_map(|group| group["rules"].as_array())
            .flatten()
            .cloned()
            .collect()
    }

    /// The exemplars of a metric, at any time.
    pub fn exemplars(&self, query: &str) -> Vec<Value> {
        let range = [("query", query), ("start", "0"), ("end", "9999999999")];
        let series = self.api("query_exemplars", &range);
        let series = series.as_array().expect("series");
        series
            .iter()
            .filter_map(|series| series["exemplars"].as_array())
            .flatten()
            .cloned()
            .collect()
    }

    /// What it said that is neither debug nor information.
    pub fn complaints(&self) -> Vec<String> {
        let mut lines = self.process.output();
        lines.retain(|line| !line.contains("level=info") && !line.contains("level=debug"));
        lines
    }

    fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let parameters: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", escaped(value)))
            .collect();
        let parameters = parameters.join("&");
        let url = format!("http://127.0.0.1:{}/api/v1/{path}?{parameters}", self.port);
        let answer = get(&url).expect("an answer").json();
        assert_eq!(answer["status"], "success", "{url}: {answer}");
        answer["data"].clone()
    }
}

impl Setup<'_> {
    fn configuration(&self) -> String {
        // JSON is YAML.
        let job = |name: &str| {
            let of = self.jobs.iter().filter(|(job, _)| *job == name);
            let targets: Vec<_> = of.map(|(_, target)| target).collect();
            json!({"job_name": name, "static_configs": [{"targets": targets}]})
        };
        let names: BTreeSet<_> = self.jobs.iter().map(|(name, _)| *name).collect();
        let configuration = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "scrape_configs": names.into_iter().map(job).collect::<Vec<_>>(),
            "rule_files": self.rules,
        });
        configuration.to_string()
    }
}

/// Runs a program with `input` on its standard input.
///
/// # Panics
/// When it cannot be run.
pub fn run(program: impl AsRef<Path>, arguments: &[&str], input: &[u8]) -> Output {
    let program = program.as_ref();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    let mut stdin = child.stdin.take().expect("its input");
    let input = input.to_vec();
    // Beside the reading of its output, or both could wait for each other.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("its output");
    let written = writer.join().expect("the writer");
    written.expect("input that is read to its end");
    output
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}

impl Scratch {
    fn new(port: u16) -> Self {
        let name = format!("bellwether-prometheus-{}-{port}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is left to the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
