//! Tables of the documentation name tests: each of them exists.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_feature_table_names_exists() {
    let checked = named_in("kit/docs/features.md");
    assert!(checked > 60, "{checked}");
}

#[test]
fn every_test_that_the_table_of_losses_names_exists() {
    let checked = named_in("docs/losses.md");
    assert!(checked > 30, "{checked}");
}

#[test]
fn every_test_that_the_tables_of_promises_name_exists() {
    let checked = named_in("docs/promises.md");
    assert!(checked > 60, "{checked}");
}

/// How many tests a table names, all of which exist.
fn named_in(document: &str) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = fs::read_to_string(root.join(document)).expect("the document");
    let mut checked = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let shown_by = row
            .trim_end_matches(" |")
            .rsplit(" | ")
            .next()
            .unwrap_or_default();
        let mut source = None;
        for name in shown_by.split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                let text = fs::read_to_string(root.join(name));
                source = Some((name, text.unwrap_or_else(|error| panic!("{name}: {error}"))));
                continue;
            }
            let (file, source) = source.as_ref().unwrap_or_else(|| panic!("no file: {row}"));
            assert!(source.contains(&format!("fn {name}(")), "{name} in {file}");
            checked += 1;
        }
    }
    checked
}
