//! Finds variables that were meant for the collector and are spelt wrong: nobody reads them, so that nothing else would
//! tell (a `BELLWETHER_DATADIR` is no data directory). They are no faults, for others may name variables so: Kubernetes
//! does for a service that is called `bellwether`. Told by `pipeline` at the start.

use super::settings::{CONFIG, SETTINGS};

const PREFIX: &str = "BELLWETHER_";

/// Longer names are somebody else's.
const LONGEST: usize = 60;

/// As many letters may be wrong, missing or too many, and at most each third.
const NEAR: usize = 3;

/// A line for each of these `names` of variables that is nearly one of the collector's.
pub(crate) fn misspelt(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let all = SETTINGS.iter().chain([&CONFIG]);
    let known: Vec<_> = all.map(|key| key.variable()).collect();
    let mut lines: Vec<_> = names
        .into_iter()
        .filter(|name| !known.contains(name))
        .filter_map(|name| {
            let nearest = nearest(&name, &known)?;
            Some(format!(
                "{name} is not known and is ignored: did you mean {nearest}?"
            ))
        })
        .collect();
    lines.sort();
    lines
}

fn nearest<'k>(name: &str, known: &'k [String]) -> Option<&'k str> {
    let own = name.strip_prefix(PREFIX)?;
    if own.len() > LONGEST {
        return None;
    }
    let distances = known
        .iter()
        .map(|known| (strsim::osa_distance(name, known), known));
    let (distance, known) = distances.min()?;
    (distance <= NEAR.min(own.len() / 3)).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: &[&str]) -> Vec<String> {
        misspelt(names.iter().map(|name| format!("{PREFIX}{name}")))
    }

    #[test]
    fn a_misspelt_name_is_told_with_the_one_meant() {
        for (name, meant) in [
            ("DATADIR", "DATA_DIR"),
            ("EXPORTERS", "EXPORT"),
            ("WEB_HOSTS", "WEB_HOST"),
            ("AUTH_TOKENS", "AUTH_TOKEN"),
            ("MEMORY_LIMTI", "MEMORY_LIMIT"),
        ] {
            let expected = format!(
                "{PREFIX}{name} is not known and is ignored: did you mean {PREFIX}{meant}?"
            );
            assert_eq!(told(&[name]), [expected]);
        }
    }

    #[test]
    fn names_of_ours_of_the_kit_and_of_others_are_left_alone() {
        let ours: Vec<_> = SETTINGS.iter().map(|key| key.variable()).collect();
        assert_eq!(misspelt(ours), [""; 0]);
        let of_the_kit = [
            "ADMIN_ADDR",
            "CONCURRENCY_LIMIT",
            "DRAIN_DELAY",
            "GRACE",
            "LIVENESS_TIMEOUT",
            "LIVE_PATH",
            "LOG_FORMAT",
            "LOG_RATE_LIMIT",
            "METRICS_PATH",
            "READY_PATH",
            "RECORDER",
            "RECORDER_BYTES",
            "REDACT",
            "REQUEST_ID_HEADER",
            "REQUEST_TIMEOUT",
            "STARTUP_PATH",
            "TRUST",
        ];
        assert_eq!(told(&of_the_kit), [""; 0]);
        let of_kubernetes = [
            "PORT",
            "PORT_4317_TCP",
            "PORT_4317_TCP_ADDR",
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_OTLP_GRPC",
            "SERVICE_PORT_WEB",
        ];
        assert_eq!(told(&of_kubernetes), [""; 0]);
        let others = ["PATH", "", "BELLWETHER", "BELLWETHER_", &"X".repeat(1_000)];
        assert_eq!(misspelt(others.map(str::to_owned)), [""; 0]);
    }
}
