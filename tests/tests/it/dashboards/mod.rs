//! `dashboards/`: its files are whole and are what Grafana's own types allow, each alert has a test that fires, one that
//! stays silent and a section of the runbook, and every query finds something in a real Prometheus that scrapes the demo's
//! services and the collector under load. No Grafana is run.

mod board;
mod files;
mod live;
mod selectors;

use std::path::{Path, PathBuf};

/// The repository's root.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the repository").to_owned()
}

/// The files of a folder of the repository whose names end so, in their order.
fn files_of(folder: &str, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no {end} in {folder}");
    paths
}

fn rule_files() -> Vec<PathBuf> {
    files_of("dashboards/rules", ".rules.yml")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
