//! Panics anywhere in a process: one structured line each, in time, with its request; other hooks still run.

use std::fmt;
use std::panic::catch_unwind;
use std::process::{Command, Output, Stdio};
use std::thread;

use bellwether::Kit;
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;

use crate::client::get;
use crate::service::Service;

/// Names what a child is to do.
const ACT: &str = "TEST_PANIC";

/// The child's `main`.
#[test]
#[ignore = "the process that the other tests start"]
fn child() {
    let Ok(act) = std::env::var(ACT) else { return };
    // The test harness has a hook too: out of the way, so that there is only the standard library's.
    let _ = std::panic::take_hook();
    match act.as_str() {
        "main" => {
            let _kit = start();
            panic!("the end");
        }
        "thread" => {
            let _kit = start();
            let worker = thread::Builder::new().name("worker".to_owned());
            let worker = worker.spawn(|| panic!("in a {}", "thread")).unwrap();
            assert!(worker.join().is_err());
        }
        "hook" => {
            std::panic::set_hook(Box::new(|info| {
                let text = info.payload().downcast_ref::<&str>();
                eprintln!("own hook: {}", text.unwrap());
            }));
            let _kit = start();
            assert!(catch_unwind(|| panic!("both")).is_err());
        }
        "capture" => {
            let told = bellwether::testing::capture("orders");
            assert!(catch_unwind(|| panic!("captured")).is_err());
            assert!(told.log("panicked: captured").is_some());
            drop(told);
            assert!(catch_unwind(|| panic!("afterwards")).is_err());
        }
        "payload" => {
            let _kit = start();
            assert!(catch_unwind(|| std::panic::panic_any(7)).is_err());
        }
        "formatter" => {
            let kit = start();
            panic_in_formatters();
            tracing::info!("still here");
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(kit.finish());
        }
        "own subscriber" => {
            let (kit, layer) = Kit::from_env("orders").unwrap().log_layer().unwrap();
            // This one formats while it holds the lock of the span.
            let other = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
            let subscriber = tracing_subscriber::registry().with(other).with(layer);
            tracing::subscriber::set_global_default(subscriber).unwrap();
            let _kit = kit.start().unwrap();
            let span = tracing::info_span!("span", order = 7, late = tracing::field::Empty);
            // Never closed: the registry panics by itself over a poisoned lock.
            let span = std::mem::ManuallyDrop::new(span);
            let _entered = span.enter();
            let record = || span.record("late", tracing::field::debug(Panics));
            assert!(catch_unwind(std::panic::AssertUnwindSafe(record)).is_err());
            // The lock is poisoned by now.
            assert!(catch_unwind(|| panic!("after that")).is_err());
        }
        other => unreachable!("{other}"),
    }
}

fn start() -> Kit {
    Kit::from_env("orders").unwrap().start().unwrap()
}

struct Panics;

impl fmt::Debug for Panics {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("in a formatter")
    }
}

/// While an event, a span and a late value are written.
fn panic_in_formatters() {
    let event = || tracing::info!(value = ?Panics, "lost");
    assert!(catch_unwind(event).is_err());
    let span = || drop(tracing::info_span!("span", value = ?Panics));
    assert!(catch_unwind(span).is_err());
    let outer = tracing::info_span!("outer", order = 7, late = tracing::field::Empty);
    let late = || outer.in_scope(|| outer.record("late", tracing::field::debug(Panics)));
    assert!(catch_unwind(std::panic::AssertUnwindSafe(late)).is_err());
}

/// What a child wrote.
struct Told {
    output: Output,
    lines: Vec<Value>,
    stderr: String,
}

impl Told {
    fn panics(&self) -> Vec<&Value> {
        let of_panic = |line: &&Value| line["target"] == "bellwether::panic";
        self.lines.iter().filter(of_panic).collect()
    }

    /// The only panic's line.
    fn panic(&self) -> &Value {
        let panics = self.panics();
        assert_eq!(panics.len(), 1, "{panics:#?} {}", self.stderr);
        panics[0]
    }
}

fn run(act: &str, env: &[(&str, &str)]) -> Told {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["panics::child", "--exact", "--ignored", "--nocapture"])
        .env_clear()
        .env(ACT, act)
        .env("BELLWETHER_LOG_FORMAT", "json")
        .env("OTEL_TRACES_EXPORTER", "none")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // The harness writes to the same stdout, at times into the same line.
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let objects = stdout
        .lines()
        .filter_map(|line| line.get(line.find('{')?..));
    Told {
        lines: objects
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect(),
        stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        output,
    }
}

#[test]
fn a_panic_that_ends_the_process_is_told_first() {
    let told = run("main", &[]);
    assert!(!told.output.status.success());
    let line = told.panic();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["message"], "panicked: the end");
    assert_eq!(line["exception.type"], "panic");
    assert_eq!(line["exception.message"], "the end");
    assert!(
        line["code.file.path"]
            .as_str()
            .unwrap()
            .ends_with("panics.rs")
    );
    assert!(line["code.line.number"].is_u64() && line["code.column.number"].is_u64());
    assert!(line.get("exception.stacktrace").is_none());
    assert!(line.get("request_id").is_none());
    // One structured line, and not the same as loose text.
    assert!(!told.stderr.contains("the end"), "{}", told.stderr);
}

#[test]
fn a_panic_of_a_thread_has_its_name_and_a_backtrace_when_asked_for() {
    let told = run("thread", &[("RUST_BACKTRACE", "1")]);
    let line = told.panic();
    assert_eq!(line["exception.message"], "in a thread");
    assert_eq!(line["thread.name"], "worker");
    let trace = line["exception.stacktrace"].as_str().unwrap();
    assert!(
        trace.starts_with("panicked at ") && trace.contains("panics"),
        "{trace}"
    );
    assert!(
        run("thread", &[("RUST_BACKTRACE", "0")])
            .panic()
            .get("exception.stacktrace")
            .is_none()
    );
}

#[test]
fn a_hook_of_the_services_own_runs_too() {
    let told = run("hook", &[]);
    assert_eq!(told.panic()["exception.message"], "both");
    assert_eq!(
        told.stderr.matches("own hook: both").count(),
        1,
        "{}",
        told.stderr
    );
}

#[test]
fn lines_for_people_leave_the_standard_text_alone() {
    let told = run("thread", &[("BELLWETHER_LOG_FORMAT", "pretty")]);
    assert!(told.stderr.contains("in a thread"), "{}", told.stderr);
    let stdout = String::from_utf8_lossy(&told.output.stdout);
    assert!(
        stdout.contains("bellwether::panic: panicked: in a thread"),
        "{stdout}"
    );
}

#[test]
fn a_test_that_captures_still_shows_why_it_failed() {
    let told = run("capture", &[]);
    assert!(told.output.status.success(), "{}", told.stderr);
    for text in ["captured", "afterwards"] {
        let shown = told.stderr.contains(&format!(":\n{text}\n"));
        assert!(shown, "{text}: {}", told.stderr);
    }
}

#[test]
fn a_payload_without_text_is_told_as_such() {
    let told = run("payload", &[]);
    assert_eq!(told.panic()["exception.message"], "a panic without a text");
}

#[test]
fn a_filter_that_hides_everything_does_not_hide_panics() {
    let told = run("main", &[("RUST_LOG", "off")]);
    assert_eq!(told.panic()["exception.message"], "the end");
    assert_eq!(told.lines.len(), 1);
}

#[test]
fn a_panic_while_logging_neither_hangs_nor_aborts() {
    let told = run("formatter", &[]);
    assert!(told.output.status.success(), "{}", told.stderr);
    let panics = told.panics();
    assert_eq!(panics.len(), 3, "{panics:#?}");
    for line in &panics {
        assert_eq!(line["exception.message"], "in a formatter");
    }
    assert_eq!(panics[2]["order"], 7);
    assert!(
        told.lines
            .iter()
            .any(|line| line["message"] == "still here")
    );
}

#[test]
fn locks_that_another_layer_holds_or_poisoned_do_no_harm() {
    let told = run("own subscriber", &[]);
    assert!(told.output.status.success(), "{}", told.stderr);
    let texts: Vec<_> = told
        .panics()
        .iter()
        .map(|line| line["exception.message"].clone())
        .collect();
    assert_eq!(texts, ["in a formatter", "after that"]);
}

#[tokio::test]
async fn a_panic_of_a_request_has_its_ids_and_is_told_once() {
    let service = Service::start(&[]).await;
    for (path, outcome) in [("/panic", "panic"), ("/task-panic", "ok")] {
        let id = &path[1..];
        let answer = crate::client::get_with(service.addr, path, &[("x-request-id", id)]).await;
        let closing = service.closing(path).await;
        assert_eq!(
            (&closing["outcome"], answer.header("x-request-id")),
            (&outcome.into(), id)
        );
    }
    // Lines keep their order, so what came before this one is there.
    get(service.addr, "/hello/end").await;
    service.closing("/hello/end").await;
    let lines = service.lines();
    let panics: Vec<_> = lines
        .iter()
        .filter(|line| line["target"] == "bellwether::panic")
        .collect();
    let told: Vec<_> = panics
        .iter()
        .map(|line| {
            (
                line["request_id"].as_str().unwrap(),
                line["exception.message"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [("panic", "the inside"), ("task-panic", "in a task")]);
    assert_eq!(panics[1]["order"], 7);
    for line in panics {
        let closing = lines.iter().find(|closing| {
            closing["target"] == "bellwether::request"
                && closing["request_id"] == line["request_id"]
        });
        assert_eq!(line["trace_id"], closing.unwrap()["trace_id"]);
    }
}
