//! A program that ends without a drain: at an error of its start, before it has served anything; and one whose
//! threads are taken at its end.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use bellwether::{Kit, testing};
use serde_json::Value;

/// Set for the child.
const CHILD: &str = "TEST_EARLY_END";
/// More than a pipe holds: they are not all written by the time the program wants to end.
const LINES: usize = 200;

/// The child's `main`, which gives up.
#[test]
#[ignore = "the process that the other test starts"]
fn child() {
    if std::env::var(CHILD).is_err() {
        return;
    }
    let kit = Kit::from_env("orders").unwrap().start().unwrap();
    let text = "x".repeat(1_024);
    for number in 1..=LINES {
        tracing::error!(number, text, "cannot start");
    }
    drop(kit);
    std::process::abort();
}

#[test]
fn the_last_lines_of_a_program_that_gives_up_arrive() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["early_end::child", "--exact", "--ignored", "--nocapture"])
        .env_clear()
        .envs([
            (CHILD, "1"),
            ("BELLWETHER_LOG_FORMAT", "json"),
            ("OTEL_TRACES_EXPORTER", "none"),
        ])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let output = String::from_utf8(output.stdout).unwrap();
    let numbers = output.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line.get(line.find('{')?..)?).ok()?;
        line["number"].as_u64()
    });
    assert_eq!(numbers.max(), Some(LINES as u64));
}

#[test]
fn finishing_needs_no_thread_that_the_service_may_have_taken() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).max_blocking_threads(1);
    let runtime = runtime.enable_all().build().unwrap();
    let (let_go, wait) = mpsc::channel::<()>();
    runtime.spawn_blocking(move || wait.recv());
    let told = testing::capture("orders");
    let finished = runtime.block_on(async {
        let time = Duration::from_secs(20);
        tokio::time::timeout(time, told.kit().finish()).await
    });
    drop(let_go);
    assert!(finished.is_ok(), "it waits for a thread");
    assert!(told.log("stopped").is_some());
}
