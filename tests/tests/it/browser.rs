//! The pages in a real browser: `browser/checks.mjs` against a collector that has seen traffic, `browser/acceptance.mjs`
//! and `browser/finding.mjs` against collectors that they start themselves.

use std::path::{Path, PathBuf};
use std::process::Command;

use bellwether_tests::peers;
use bellwether_tests::system::{Calculator, Collector, part_path};

#[test]
fn the_pages_pass_the_browser_checks() {
    let Some(scripts) = scripts("the_pages_pass_the_browser_checks") else {
        return;
    };
    let collector = Collector::start(&[]);
    let calculator = Calculator::start(&format!("http://127.0.0.1:{}", collector.otlp_http));
    let trace_id = "5b8efff798038103d269b633813fc60c";
    let traceparent = format!("00-{trace_id}-eee19b7ec3c1b174-01");
    calculator.calculate("(1+2)*3/4", &[("traceparent", &traceparent)]);
    for expression in ["1+2", "3-1", "2*3", "1/0", "(1+2)*(3+4)", "1+*2"] {
        calculator.calculate(expression, &[]);
    }
    collector.wait_for_trace(trace_id, 7);
    run(Command::new("node")
        .arg(scripts.join("checks.mjs"))
        .arg(format!("http://127.0.0.1:{}", collector.web)));
}

#[test]
fn the_pages_tell_the_truth_from_a_fresh_start_to_a_restart() {
    let Some(scripts) = scripts("the_pages_tell_the_truth_from_a_fresh_start_to_a_restart") else {
        return;
    };
    run_with_collector(&scripts.join("acceptance.mjs"));
}

#[test]
fn the_pages_lead_to_the_slow_hop_in_a_few_clicks() {
    let Some(scripts) = scripts("the_pages_lead_to_the_slow_hop_in_a_few_clicks") else {
        return;
    };
    run_with_collector(&scripts.join("finding.mjs"));
}

fn run_with_collector(script: &Path) {
    run(Command::new("node")
        .arg(script)
        .arg(part_path())
        .args(["collector", "--"]));
}

fn scripts(test: &str) -> Option<PathBuf> {
    peers::require(test, "Chromium with Node", peers::browser())
}

fn run(command: &mut Command) {
    let output = command.output().expect("node");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
