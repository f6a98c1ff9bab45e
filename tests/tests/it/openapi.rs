//! The JSON API against its own description: schemathesis reads `/openapi.json` and asks a collector with data whatever
//! it says can be asked, and what it says cannot. Nothing fails, and every answer is as described.

use std::process::Command;
use std::time::Duration;

use bellwether_tests::http::get;
use bellwether_tests::peers;
use bellwether_tests::process::Process;
use bellwether_tests::system::{Calculator, Collector};
use bellwether_tests::wait::wait_for;

/// Of generating and asking; starting it takes a few more.
const SECONDS: &str = "45";

#[test]
fn every_answer_of_the_api_is_as_described() {
    let test = "every_answer_of_the_api_is_as_described";
    let Some(schemathesis) = peers::require(test, "schemathesis", peers::schemathesis()) else {
        return;
    };
    let collector = Collector::start(&[]);
    let calculator = Calculator::start(&format!("http://127.0.0.1:{}", collector.otlp_http));
    for expression in ["(1+2)*3/4", "2-1", "1/0"] {
        calculator.calculate(expression, &[]);
    }
    // The critical paths are made of traces of which nothing more is expected, and stand for the rest.
    wait_for("data for every path", || {
        let paths = collector.api("/services/api/critical-path");
        (!paths["items"].as_array()?.is_empty()).then_some(())
    });
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("http://127.0.0.1:{}/openapi.json", collector.web);
    let mut asking = Process::start(
        "schemathesis",
        Command::new(schemathesis)
            .current_dir(directory.path())
            .args(["--no-color", "run", &url, "--max-time", SECONDS])
            // Which parameters exclude each other, and that a window begins before it ends, cannot be described.
            .args(["--exclude-checks", "positive_data_acceptance"])
            // How fast this machine is just now is no news.
            .args(["--suppress-health-check", "all", "--workers", "1"]),
    );
    let status = asking.wait(Duration::from_secs(180));
    let output = asking.output().join("\n");
    assert!(status.success(), "{output}");
    let described = get(&url).expect("an answer").json();
    let paths = described["paths"].as_object().expect("paths").len();
    let tested = format!("Tested: {paths}\n");
    assert!(output.contains(&tested), "not all {paths} paths: {output}");
    let log = collector.process.log();
    let errors: Vec<_> = log.iter().filter(|line| line["level"] == "ERROR").collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
