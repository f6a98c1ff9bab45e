//! Medians of runs, as rows of Markdown. Called by `suites`.

use crate::machine::percentile;
use crate::run::Cost;

/// More of the subject's processor was taken away than this: the run says little.
const MUCH_STEAL: f64 = 10.0;

/// Begins a table of costs.
pub(crate) fn head() {
    println!(
        "| case | M spans/CPU s: median (least–most) | M spans/s | busy % | peak MiB | p99 ms | refused | lost | steal % |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: | --: | --: |");
}

/// A row of medians. Runs with much steal are left out as long as there are three others.
pub(crate) fn row(name: &str, costs: &[Cost]) {
    let quiet: Vec<_> = costs
        .iter()
        .filter(|cost| cost.steal <= MUCH_STEAL)
        .cloned()
        .collect();
    let (told, used) = if quiet.len() >= 3.min(costs.len()) {
        (&quiet[..], quiet.len())
    } else {
        (costs, costs.len())
    };
    let of = |field: fn(&Cost) -> f64, share| {
        percentile(&mut told.iter().map(field).collect::<Vec<_>>(), share)
    };
    let median = |field| of(field, 0.5);
    let most = |field| of(field, 1.0);
    let speed: fn(&Cost) -> f64 = |cost| cost.millions_a_cpu_second;
    println!(
        "| {name} (n={used}) | **{:.2}** ({:.2}–{:.2}) | {:.2} | {:.0} | {:.0} | {:.1} | {:.0} | {:.0} | {:.0} |",
        median(speed),
        of(speed, 0.0),
        most(speed),
        median(|cost| cost.millions_a_second),
        median(|cost| cost.busy),
        most(|cost| cost.peak_mib),
        median(|cost| cost.p99_ms),
        most(|cost| cost.refused as f64),
        most(|cost| cost.lost as f64),
        most(|cost| cost.steal),
    );
}
