//! One libFuzzer program for all parsers (`bellwether_collector::fuzzing::TARGETS`); `FUZZ_TARGET` names the one to run.
//! Built and started by `collector/fuzz/run`.

#![no_main]

use std::sync::OnceLock;

use bellwether_collector::fuzzing::{TARGETS, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

fn target() -> Target {
    let asked = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.into_iter().find(|(name, _)| *name == asked);
    found.unwrap_or_else(|| {
        let names = TARGETS.map(|(name, _)| name).join(", ");
        eprintln!("FUZZ_TARGET={asked:?}: must be one of {names}");
        std::process::exit(2)
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (_, run) = TARGET.get_or_init(target);
    run(data);
});
