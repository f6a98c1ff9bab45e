//! What to scale on: simulates a service under an open loop of arrivals, scaled by the algorithm of the
//! HorizontalPodAutoscaler on four signals, and draws what became of it. `docs/scaling.md` shows the pictures and the table.
//!
//! ```text
//! cargo run --release -p bellwether-examples --bin scaling -- docs/images
//! ```
//!
//! The same every time: all chance comes from one seed.

mod hpa;
mod plot;
mod pod;
mod random;
mod scenario;
mod simulation;

use std::path::Path;
use std::process::ExitCode;

use scenario::{SCENARIOS, SIGNALS};

const SEED: u64 = 7;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: scaling FOLDER, where the pictures go");
        return ExitCode::FAILURE;
    };
    match draw(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scaling: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw(folder: &Path) -> std::io::Result<()> {
    println!("| | scaled on | target | over 1 s | worst p95 | pod-hours | changes |");
    println!("| --- | --- | --: | --: | --: | --: | --: |");
    for scenario in &SCENARIOS {
        let runs: Vec<_> = SIGNALS
            .iter()
            .map(|&signal| scenario.run(signal, SEED))
            .collect();
        for run in &runs {
            println!("{}", run.row(scenario.name));
        }
        let picture = plot::picture(scenario, &runs);
        std::fs::write(
            folder.join(format!("scaling-{}.svg", scenario.file)),
            picture,
        )?;
    }
    Ok(())
}
