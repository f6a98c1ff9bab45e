//! Every query of every panel, variable and rule, resolved as Grafana does, asked of a real Prometheus that scrapes the
//! calculator's services, a service with every way to fail and the collector, while they are under load.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::Duration;

use bellwether_tests::cases::CHECKED;
use bellwether_tests::http::get;
use bellwether_tests::peers;
use bellwether_tests::prometheus::{self, Prometheus, Setup};
use bellwether_tests::sink::Sink;
use bellwether_tests::system::{Calculator, Collector, Service};
use bellwether_tests::wait::wait_at_most;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use serde_json::Value;

use super::board::{Board, Query, Variable, boards, resolve, text};
use super::selectors::selectors;
use super::{read, rule_files};

/// As Grafana reckons it for a scrape interval of 1 s: four times that.
const RATE_INTERVAL: &str = "4s";
/// An hour is shown.
const RANGE: &str = "3600s";
/// What a range query looks back: all of it, as it is not seconds but values that are asked for.
const SHOWN_SECONDS: f64 = 60.0;
/// A collector counts a call five seconds after it, and machines are busy.
const PATIENCE: Duration = Duration::from_secs(90);
/// An exporter's peer that is away.
const NOBODY: &str = "otlp+http://127.0.0.1:1";
/// Longer than the objective allows, and shorter than its callers wait.
const SLOW: &str = "/wait/600";

/// All of it, running.
struct System {
    collector: Collector,
    calculator: Calculator,
    cases: Service,
    prometheus: Prometheus,
    _sink: Sink,
    _folder: tempfile::TempDir,
}

impl System {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = Sink::counting();
        let data = folder.path().join("data");
        let data = data.to_str().expect("a path of text");
        let collector = Collector::start_with(&[
            "--export",
            &sink.url,
            "--export",
            NOBODY,
            "--data-dir",
            data,
            "--sample-ratio",
            "0.5",
        ]);
        let otlp = format!("http://127.0.0.1:{}", collector.otlp_http);
        let calculator = Calculator::start(&otlp);
        let checked = format!("127.0.0.1:{}", collector.web);
        let environment = [
            (CHECKED, checked.as_str()),
            ("BELLWETHER_CONCURRENCY_LIMIT", "64"),
        ];
        let cases = Service::start_cases(&otlp, &environment);
        let target = |port: u16| format!("127.0.0.1:{port}");
        let names = ["api", "add", "subtract", "multiply", "divide"];
        let mut jobs: Vec<_> = names
            .into_iter()
            .zip(calculator.services())
            .map(|(name, service)| (name, target(service.port)))
            .collect();
        jobs.extend([
            ("cases", target(cases.port)),
            ("bellwether", target(collector.web)),
        ]);
        let prometheus = Prometheus::start_as(Setup {
            feature: "exemplar-storage",
            jobs: &jobs,
            rules: &rules_in(folder.path()),
        });
        Self {
            collector,
            calculator,
            cases,
            prometheus,
            _sink: sink,
            _folder: folder,
        }
    }

    /// Requests of every kind on threads of the scope, until told to stop.
    fn load<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, stop: &'scope AtomicBool) {
        let until_stopped = move |work: Box<dyn Fn() + Send + 'scope>| {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    work();
                }
            });
        };
        until_stopped(Box::new(|| {
            for expression in ["(1+2)*3/4-5", "1/0", "1+*2"] {
                self.calculator.calculate(expression, &[]);
            }
        }));
        for path in ["/quick", "/panic", "/broken", "/nowhere", SLOW] {
            until_stopped(Box::new(move || {
                // A body that breaks off is no answer.
                let _ = get(&self.cases.url(path));
                get(&self.cases.url("/wait/20")).expect("an answer");
            }));
        }
        until_stopped(Box::new(|| self.call_by_grpc()));
    }

    /// A gRPC call that the service does not know, counted as any other.
    fn call_by_grpc(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let client = TraceServiceClient::connect(self.cases.url("")).await;
            let request = ExportTraceServiceRequest::default();
            let answer = client.expect("a connection").export(request).await;
            answer.expect_err("a service that does not know it");
        });
    }
}

/// The rules, those that wait for minutes between two looks as well, in a folder.
fn rules_in(folder: &Path) -> Vec<PathBuf> {
    let copy = |path: &PathBuf| {
        let copied = folder.join(path.file_name().expect("a name"));
        let hurried = read(path).replace("interval: 2m", "interval: 1s");
        std::fs::write(&copied, hurried).expect("a file");
        copied
    };
    rule_files().iter().map(copy).collect()
}

#[test]
fn every_query_finds_what_it_is_to_show() {
    let test = "every_query_finds_what_it_is_to_show";
    if peers::require(test, "Prometheus", prometheus::installed()).is_none() {
        return;
    }
    let system = System::start();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Whatever fails, the load ends, and with it the scope.
        let _stop = Stop(&stop);
        system.load(scope, &stop);
        check_rules(&system);
        for board in boards() {
            check_board(&system, &board);
            if board.file == "bellwether-collector" {
                check_collectors_alone(&system, &board);
            }
        }
    });
    let mut complaints = system.prometheus.complaints();
    // Where the trace of a newer exemplar has had to go, an older one is shown once more, which Prometheus tells of.
    complaints.retain(|line| !line.contains("out-of-order exemplar"));
    assert_eq!(complaints, [""; 0]);
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until none of the things is missing; names those that are when time runs out.
fn wait_for_all<T>(
    mut missing: Vec<T>,
    name: impl Fn(&T) -> String,
    is_there: impl Fn(&T) -> bool,
) {
    let left = std::cell::RefCell::new(Vec::new());
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_at_most(PATIENCE, "everything", || {
            missing.retain(|one| !is_there(one));
            *left.borrow_mut() = missing.iter().map(&name).collect();
            missing.is_empty().then_some(())
        });
    }));
    assert!(done.is_ok(), "nothing for {:#?}", left.borrow());
}

/// Rules are evaluated without error, recordings give something, and what alerts look at is there.
fn check_rules(system: &System) {
    let prometheus = &system.prometheus;
    let rules = prometheus.rules();
    let named = |key| rules.iter().filter(move |rule| rule["type"] == key);
    let recordings = named("recording").map(|rule| text(&rule["name"]).to_owned());
    let looked_at = named("alerting").flat_map(|rule| selectors(text(&rule["query"])));
    let all: BTreeSet<_> = recordings.chain(looked_at).collect();
    assert!(all.len() > 40, "{all:?}");
    wait_for_all(
        all.into_iter().collect(),
        Clone::clone,
        |selector: &String| {
            prometheus
                .query(selector)
                .iter()
                .any(|one| has_number(&one["value"]))
        },
    );
    wait_at_most(PATIENCE, "every rule to be evaluated", || {
        let rules = prometheus.rules();
        for rule in &rules {
            assert_ne!(rule["health"], "err", "{rule}");
        }
        rules
            .iter()
            .all(|rule| rule["health"] == "ok")
            .then_some(())
    });
}

/// `[time, "number"]`, and the number is one.
fn has_number(value: &Value) -> bool {
    let number = value[1]
        .as_str()
        .and_then(|number| number.parse::<f64>().ok());
    number.is_some_and(f64::is_finite)
}

fn check_board(system: &System, board: &Board) {
    let choices = choices(system, board);
    let queries = board.queries();
    assert!(queries.len() > 10, "{}", board.file);
    wait_for_all(
        queries,
        |query| format!("{}: {}, by {:?}", query.at, query.expression, query.labels),
        |query| choices.iter().any(|values| finds(system, query, values)),
    );
    for link in board.links() {
        let url = resolve(&link, &choices[0]);
        let answer = get(&url).unwrap_or_else(|| panic!("no answer from {url}"));
        assert_eq!(answer.status, 200, "{}: {link} is {url}", board.file);
    }
}

/// `up`, `process_…` and others are every target's: the collector's dashboard shows none but collectors'.
fn check_collectors_alone(system: &System, board: &Board) {
    for choice in choices(system, board) {
        for query in board.queries() {
            for selector in selectors(&resolve(&query.expression, &choice)) {
                for series in system.prometheus.query(&selector) {
                    assert_eq!(
                        series["metric"]["job"], "bellwether",
                        "{}: {selector}",
                        query.at
                    );
                }
            }
        }
    }
}

/// What is in the series, by which labels.
fn finds(system: &System, query: &Query, values: &BTreeMap<String, String>) -> bool {
    let expression = resolve(&query.expression, values);
    // `$1` is label_replace's own.
    assert!(
        !expression.replace("\"$1\"", "").contains('$'),
        "{}: {expression}",
        query.at
    );
    let prometheus = &system.prometheus;
    let (series, has_values) = if query.is_instant {
        let series = prometheus.query(&expression);
        let any = series.iter().any(|one| has_number(&one["value"]));
        (series, any)
    } else {
        let series = prometheus.query_range(&expression, SHOWN_SECONDS);
        let values = |one: &Value| {
            one["values"]
                .as_array()
                .into_iter()
                .flatten()
                .any(has_number)
        };
        let any = series.iter().any(values);
        (series, any)
    };
    let is_shown = |label: &String| {
        series
            .iter()
            .any(|one| !text(&one["metric"][label]).is_empty())
    };
    let has_traces = || !query.has_exemplars || !prometheus.exemplars(&expression).is_empty();
    // `or vector(0)` finds something whatever stands before it.
    let has_all = || {
        let mut all = selectors(&expression).into_iter();
        all.all(|selector| !prometheus.query(&selector).is_empty())
    };
    has_values && query.labels.iter().all(is_shown) && has_traces() && has_all()
}

/// The values of the board's variables: for each service that it can be of, all of its instances.
fn choices(system: &System, board: &Board) -> Vec<BTreeMap<String, String>> {
    let collector = format!("http://127.0.0.1:{}", system.collector.web);
    let fixed = [
        ("collector", collector.as_str()),
        ("__rate_interval", RATE_INTERVAL),
        ("__range", RANGE),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut choices = vec![BTreeMap::from(fixed)];
    for variable in board.variables() {
        let mut with_value = Vec::new();
        for choice in &choices {
            let found = values(system, &variable, choice);
            let chosen = if variable.is_many {
                vec![all_of(&variable, &found), escaped(&found[0])]
            } else {
                found
            };
            for value in chosen {
                let mut choice = choice.clone();
                choice.insert(variable.name.clone(), value);
                with_value.push(choice);
            }
        }
        choices = with_value;
    }
    choices
}

fn values(system: &System, variable: &Variable, choice: &BTreeMap<String, String>) -> Vec<String> {
    let selector = resolve(&variable.selector, choice);
    wait_at_most(
        PATIENCE,
        &format!("{} of {selector}", variable.label),
        || {
            let values = system.prometheus.label_values(&variable.label, &selector);
            (!values.is_empty()).then_some(values)
        },
    )
}

/// All values of a variable as Grafana writes them: what stands for them as it is, or else each, escaped.
fn all_of(variable: &Variable, values: &[String]) -> String {
    let all = || {
        let values: Vec<_> = values.iter().map(|value| escaped(value)).collect();
        format!("({})", values.join("|"))
    };
    variable.all.clone().unwrap_or_else(all)
}

/// A value within a regular expression within a text of PromQL.
fn escaped(value: &str) -> String {
    value.replace('.', "\\\\.")
}
