//! Where the probes answer.

use super::reader::Reader;

/// Longer than any path that somebody writes into a manifest.
const MAX_BYTES: usize = 256;
/// The kit's other paths.
const TAKEN: [&str; 3] = ["/metrics", "/telemetry", "/loglevel"];

/// The paths of each probe: the usual ones, or the one that was asked for in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProbePaths {
    pub(crate) live: Vec<String>,
    pub(crate) ready: Vec<String>,
    pub(crate) startup: Vec<String>,
}

impl Default for ProbePaths {
    fn default() -> Self {
        let usual = |paths: [&str; 2]| paths.map(str::to_owned).into();
        Self {
            live: usual(["/livez", "/health/live"]),
            ready: usual(["/readyz", "/health/ready"]),
            startup: usual(["/startupz", "/health/started"]),
        }
    }
}

impl ProbePaths {
    pub(super) fn read(env: &mut Reader<'_>) -> Self {
        let usual = Self::default();
        let mut paths = |name, usual| match env.ours(name, probe_path) {
            Some(path) => vec![path],
            None => usual,
        };
        Self {
            live: paths("BELLWETHER_LIVE_PATH", usual.live),
            ready: paths("BELLWETHER_READY_PATH", usual.ready),
            startup: paths("BELLWETHER_STARTUP_PATH", usual.startup),
        }
    }

    /// A path at which two probes are to answer: it would answer neither.
    pub(super) fn clash(&self) -> Option<String> {
        let all = [&self.live, &self.ready, &self.startup];
        let mut paths: Vec<&String> = all.into_iter().flatten().collect();
        paths.sort_unstable();
        let twice = paths.windows(2).find(|pair| pair.first() == pair.last())?;
        Some(format!(
            "two probes are to answer at {:?}: give BELLWETHER_LIVE_PATH, BELLWETHER_READY_PATH and \
             BELLWETHER_STARTUP_PATH a path each",
            twice.first()?
        ))
    }
}

/// A plain path that is none of the kit's other ones.
pub(crate) fn probe_path(value: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let path = value.starts_with('/') && value.len() <= MAX_BYTES && value.bytes().all(plain);
    if !path {
        return Err(
            "must be a path such as /healthz, of letters, digits and any of /-._~".to_owned(),
        );
    }
    if TAKEN.contains(&value) {
        return Err(format!("must be none of {}", TAKEN.join(", ")));
    }
    Ok(value.to_owned())
}
