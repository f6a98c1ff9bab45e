//! `examples/adopt` and the README's diff: three added lines, imports aside.

const BEFORE: &str = include_str!("../../../examples/adopt/before.rs");
const AFTER: &str = include_str!("../../../examples/adopt/after.rs");
const README: &str = include_str!("../../../README.md");

/// Lines of code of `main`, imports and comments aside.
fn code(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.starts_with("use ") && !line.starts_with("//") && !line.is_empty())
        .collect()
}

fn only_in<'a>(these: &[&'a str], those: &[&str]) -> Vec<&'a str> {
    these
        .iter()
        .copied()
        .filter(|line| !those.contains(line))
        .collect()
}

#[test]
fn adopting_the_kit_adds_three_lines() {
    let (before, after) = (code(BEFORE), code(AFTER));
    let added = only_in(&after, &before);
    assert_eq!(added.len(), 3, "{added:#?}");
    assert_eq!(
        only_in(&before, &after).len(),
        1,
        "only the serve line is replaced"
    );
}

#[test]
fn the_readme_shows_that_diff() {
    let (before, after) = (code(BEFORE), code(AFTER));
    for line in only_in(&after, &before) {
        assert!(README.contains(&format!("+{line}")), "README lacks +{line}");
    }
    for line in only_in(&before, &after) {
        assert!(README.contains(&format!("-{line}")), "README lacks -{line}");
    }
}
