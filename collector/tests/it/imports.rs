//! Imports run one way, so that a stage can be read without those after it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module and what of the others it may use. `config`, `fuzzing`, `pipeline` and the crate's root may use any.
const ARROWS: [(&str, &[&str]); 16] = [
    ("secret", &[]),
    ("allocator", &[]),
    ("signal", &[]),
    ("budget", &[]),
    ("episode", &[]),
    ("status", &["signal"]),
    ("wire", &["signal"]),
    ("net", &["budget", "episode", "signal", "status", "wire"]),
    ("log", &["budget", "episode", "signal", "status", "wire"]),
    (
        "views",
        &["budget", "log", "net", "signal", "status", "wire"],
    ),
    (
        "intake",
        &["budget", "log", "net", "signal", "status", "views", "wire"],
    ),
    (
        "web",
        &["budget", "log", "net", "signal", "status", "views", "wire"],
    ),
    ("metrics", &["signal", "status", "views", "wire"]),
    (
        "receive",
        &[
            "budget", "intake", "log", "net", "secret", "signal", "status", "views", "wire",
        ],
    ),
    (
        "export",
        &[
            "budget", "log", "net", "secret", "signal", "status", "views", "wire",
        ],
    ),
    ("probe", &["config"]),
];

const FREE: [&str; 5] = ["config", "fuzzing", "lib", "main", "pipeline"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of a module, whether it is a file or a folder.
fn code(path: &Path) -> String {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        let files = entries.map(|entry| code(&entry.unwrap().path()));
        files.collect()
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        fs::read_to_string(path).unwrap()
    } else {
        String::new()
    }
}

fn uses(code: &str) -> BTreeSet<&str> {
    let paths = code.split("crate::").skip(1);
    paths
        .filter_map(|path| {
            let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
            path.get(..end)
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn imports_run_one_way() {
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_string_lossy().into_owned();
        if FREE.contains(&module.as_str()) {
            continue;
        }
        let (_, allowed) = ARROWS
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("say in ARROWS what {module} may use"));
        let code = code(&path);
        for used in uses(&code) {
            let known = ARROWS.iter().any(|(name, _)| *name == used) || FREE.contains(&used);
            assert!(
                !known || used == module || allowed.contains(&used),
                "{module} must not use {used}"
            );
        }
        seen.insert(module);
    }
    assert_eq!(
        seen.len(),
        ARROWS.len(),
        "a module of ARROWS is gone: {seen:?}"
    );
}
