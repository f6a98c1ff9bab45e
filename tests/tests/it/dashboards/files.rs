//! What the files say, without anything that runs but promtool and TypeScript's compiler.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use bellwether_tests::{peers, prometheus};
use serde_json::Value;

use super::board::{Board, boards, targets, text};
use super::{files_of, read, root, rule_files};

/// Grafana's units that are in use, so that the same thing is shown in the same way everywhere.
const UNITS: [&str; 8] = [
    "reqps",
    "ops",
    "percentunit",
    "s",
    "bytes",
    "Bps",
    "short",
    "none",
];

#[test]
fn dashboards_are_whole() {
    let boards = boards();
    for board in &boards {
        let json = &board.json;
        assert_eq!(text(&json["uid"]), board.file);
        assert_eq!(json["schemaVersion"], 42, "{}", board.file);
        assert_eq!(json["tags"], serde_json::json!(["bellwether"]));
        assert!(
            json["id"].is_null(),
            "{} has an id of some Grafana",
            board.file
        );
        assert!(!text(&json["description"]).is_empty(), "{}", board.file);
        check_layout(board);
        for panel in board.shown() {
            check_panel(board, panel);
        }
    }
    assert_eq!(boards.len(), 4);
}

/// Panels have ids of their own, lie within the 24 columns, and no two on the same place.
fn check_layout(board: &Board) {
    let mut ids = BTreeSet::new();
    let mut taken = BTreeMap::new();
    for panel in board.panels() {
        assert!(
            ids.insert(panel["id"].as_u64()),
            "{}: {}",
            board.file,
            panel["id"]
        );
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().expect("a number"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{}", panel["title"]);
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let other = taken.insert(place, &panel["title"]);
            assert!(other.is_none(), "{} lies on {other:?}", panel["title"]);
        }
    }
}

fn check_panel(board: &Board, panel: &Value) {
    let title = text(&panel["title"]);
    let at = format!("{}, {title}", board.file);
    assert!(!title.is_empty() && !title.ends_with('.'), "{at}");
    assert!(
        text(&panel["description"]).ends_with('.'),
        "{at}: no description"
    );
    assert_eq!(panel["datasource"]["uid"], "${datasource}", "{at}");
    assert_eq!(panel["datasource"]["type"], "prometheus", "{at}");
    let references: BTreeSet<_> = targets(panel)
        .iter()
        .map(|target| text(&target["refId"]))
        .collect();
    assert!(
        !references.is_empty() && references.len() == targets(panel).len(),
        "{at}"
    );
    for unit in units(panel) {
        assert!(UNITS.contains(&unit), "{at}: {unit:?}");
    }
}

/// The unit of the panel, or those of its columns.
fn units(panel: &Value) -> Vec<&str> {
    let overrides = panel["fieldConfig"]["overrides"]
        .as_array()
        .expect("a list");
    let properties = overrides
        .iter()
        .filter_map(|one| one["properties"].as_array());
    let of_columns = properties
        .flatten()
        .filter(|property| property["id"] == "unit");
    let of_columns = of_columns.map(|property| text(&property["value"]));
    let of_panel = match text(&panel["type"]) {
        "table" => None,
        "heatmap" => Some(&panel["options"]["yAxis"]["unit"]),
        _ => Some(&panel["fieldConfig"]["defaults"]["unit"]),
    };
    of_columns.chain(of_panel.map(text)).collect()
}

#[test]
fn dashboards_are_what_grafanas_types_allow() {
    let test = "dashboards_are_what_grafanas_types_allow";
    let Some(scripts) = peers::require(test, "@grafana/schema", peers::grafana_types()) else {
        return;
    };
    let check = |files: &[std::path::PathBuf]| {
        let mut command = Command::new("node");
        let output = command.arg(scripts.join("check.mjs")).args(files).output();
        let output = output.expect("Node");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let files = files_of("dashboards", ".json");
    assert_eq!(check(&files), (true, String::new()));

    // The check itself: a value, a name and a kind that Grafana has not.
    let folder = tempfile::tempdir().expect("a folder");
    for (right, wrong, told) in [
        (
            "\"displayMode\": \"table\"",
            "\"displayMode\": \"tabel\"",
            "tabel",
        ),
        ("\"legendFormat\"", "\"legendFromat\"", "legendFromat"),
        ("\"type\": \"stat\"", "\"type\": \"stats\"", "stats"),
    ] {
        let whole = read(&root().join("dashboards/bellwether-service.json"));
        assert!(whole.contains(right));
        let file = folder.path().join("wrong.json");
        std::fs::write(&file, whole.replace(right, wrong)).expect("a file");
        let (taken, said) = check(&[file]);
        assert!(!taken && said.contains(told), "{said}");
    }
}

#[test]
fn promtool_takes_the_rules_and_their_tests_hold() {
    let test = "promtool_takes_the_rules_and_their_tests_hold";
    if peers::require(test, "promtool", prometheus::installed()).is_none() {
        return;
    }
    let tests = files_of("dashboards/rules/tests", ".test.yml");
    for (what, files) in [("rules", rule_files()), ("tests", tests)] {
        let arguments: &[&str] = match what {
            "rules" => &["check", "rules", "--lint=all", "--lint-fatal"],
            _ => &["test", "rules"],
        };
        let output = Command::new("promtool")
            .args(arguments)
            .args(&files)
            .output();
        let output = output.expect("promtool");
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {said}");
    }
}

/// Five minutes after it was recorded Prometheus takes a value for gone, and an alert that waits by it begins anew.
#[test]
fn what_is_recorded_lasts_until_it_is_recorded_again() {
    let texts: Vec<_> = rule_files().iter().map(|path| read(path)).collect();
    let intervals: Vec<_> = texts
        .iter()
        .flat_map(|text| values(text, "interval"))
        .collect();
    assert_eq!(intervals, ["2m"], "those that are not Prometheus' own");
}

/// The values of a key in YAML as the rules and their tests are written: one on a line.
fn values<'a>(yaml: &'a str, key: &str) -> Vec<&'a str> {
    let lines = yaml
        .lines()
        .map(|line| line.trim_start().trim_start_matches("- "));
    lines
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
        .collect()
}

fn alerts() -> BTreeSet<String> {
    let texts: Vec<_> = rule_files().iter().map(|path| read(path)).collect();
    let names: Vec<_> = texts
        .iter()
        .flat_map(|text| values(text, "alert"))
        .collect();
    let alerts: BTreeSet<_> = names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(
        alerts.len(),
        names.len(),
        "a name stands twice in {names:?}"
    );
    assert!(alerts.len() > 20, "{alerts:?}");
    alerts
}

#[test]
fn each_alert_has_a_test_that_fires_and_one_that_is_silent() {
    let mut firing = BTreeSet::new();
    let mut silent = BTreeSet::new();
    for path in files_of("dashboards/rules/tests", ".test.yml") {
        let text = read(&path);
        for case in text.split("- alertname: ").skip(1) {
            let name = case.lines().next().unwrap_or_default().to_owned();
            let (_, expected) = case.split_once("exp_alerts:").expect("what is expected");
            if expected.trim_start().starts_with("- exp_labels:") {
                firing.insert(name);
            } else {
                assert!(
                    expected.trim_start().starts_with("[]"),
                    "{name}: {expected}"
                );
                silent.insert(name);
            }
        }
    }
    let alerts = alerts();
    assert_eq!(firing, alerts, "those that fire in a test");
    assert_eq!(silent, alerts, "those that are silent in a test");
}

#[test]
fn each_alert_has_its_section_of_the_runbook() {
    let runbook = read(&root().join("docs/runbook.md"));
    let sections = runbook.lines().filter_map(|line| line.strip_prefix("### "));
    let sections: BTreeSet<_> = sections.map(str::to_owned).collect();
    let alerts = alerts();
    assert_eq!(sections, alerts);
    let texts: Vec<_> = rule_files().iter().map(|path| read(path)).collect();
    let urls: BTreeSet<_> = texts
        .iter()
        .flat_map(|text| values(text, "runbook_url"))
        .collect();
    let anchors = alerts
        .iter()
        .map(|name| format!("docs/runbook.md#{}", name.to_lowercase()));
    let anchors: BTreeSet<_> = anchors.collect();
    assert!(
        urls.iter().copied().eq(anchors.iter().map(String::as_str)),
        "{urls:?}"
    );
    for text in &texts {
        let all = values(text, "alert").len();
        for key in ["summary", "description", "runbook_url"] {
            assert_eq!(values(text, key).len(), all, "{key}");
        }
        for severity in values(text, "labels") {
            assert!(
                ["{severity: critical}", "{severity: warning}"].contains(&severity),
                "{severity}"
            );
        }
    }
}

/// What stands in quotes and begins as a title does.
#[test]
fn the_runbook_names_panels_and_dashboards_that_there_are() {
    let boards = boards();
    let titles: Vec<_> = boards
        .iter()
        .flat_map(|board| board.panels().iter().chain([&board.json]))
        .map(|named| text(&named["title"]))
        .collect();
    let runbook = read(&root().join("docs/runbook.md")).replace('\n', " ");
    let quoted = runbook.split('"').skip(1).step_by(2);
    let named: Vec<_> = quoted
        .filter(|name| name.starts_with(char::is_uppercase))
        .collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        let is_known = titles.iter().any(|title| title.starts_with(name));
        assert!(is_known, "{name}");
    }
}
