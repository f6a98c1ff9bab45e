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

use scenario::SCENARIOS;

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
    println!("| | scaled on | target | bad requests | bad minutes | pod-hours | changes |");
    println!("| --- | --- | --: | --: | --: | --: | --: |");
    for scenario in &SCENARIOS {
        let runs = scenario.runs(SEED);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one scenario, as all take a minute; of all with `BELLWETHER_FULL=1`.
    #[test]
    fn the_documentation_shows_what_comes_of_it() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
        let page = read("scaling.md");
        for scenario in &SCENARIOS {
            let rows = page.matches(&format!("\n| {} |", scenario.name)).count();
            assert_eq!(rows, scenario::SIGNALS.len(), "{}", scenario.name);
            assert!(page.contains(&format!("(images/scaling-{}.svg)", scenario.file)));
        }
        let full = std::env::var("BELLWETHER_FULL").as_deref() == Ok("1");
        let drawn = if full { SCENARIOS.len() } else { 1 };
        for scenario in &SCENARIOS[..drawn] {
            let runs = scenario.runs(SEED);
            for run in &runs {
                let row = run.row(scenario.name);
                assert!(page.contains(&row), "{row}");
            }
            let drawn = read(&format!("images/scaling-{}.svg", scenario.file));
            assert_eq!(drawn, plot::picture(scenario, &runs));
        }
    }
}
