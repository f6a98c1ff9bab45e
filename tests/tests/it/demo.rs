//! `cargo demo --seconds …` ends by itself, with a summary of what came through.

use std::time::Duration;

use bellwether_tests::system::demo;

#[test]
fn the_demo_ends_by_itself_with_a_summary() {
    let mut demo = demo(&["--seconds", "5"]);
    let status = demo.wait(Duration::from_secs(90));
    let output = demo.output().join("\n");
    assert!(status.success(), "{output}");
    for row in [
        "api -> add",
        "api -> subtract",
        "api -> multiply",
        "api -> divide",
    ] {
        assert!(output.contains(row), "{row} is missing:\n{output}");
    }
}
