//! Where the kit's own endpoints are: the paths of probes and metrics.

use super::reader::Reader;

/// What the admin address has besides, and at no other path.
const TAKEN: [&str; 3] = ["/telemetry", "/config", "/loglevel"];

const ALLOWED: &str = "must be a path such as /internal/live, from the root, of at most 256 bytes and without \
                       wildcards, `?`, `#`, `%` or spaces";

const MAX_BYTES: usize = 256;

/// The paths asked for; `None` leaves an endpoint where it is by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paths {
    /// Instead of `/livez` and `/health/live`.
    pub(crate) live: Option<String>,
    /// Instead of `/readyz` and `/health/ready`.
    pub(crate) ready: Option<String>,
    /// Instead of `/startupz` and `/health/started`.
    pub(crate) startup: Option<String>,
    /// Instead of `/metrics`.
    pub(crate) metrics: Option<String>,
}

pub(crate) const LIVE: [&str; 2] = ["/livez", "/health/live"];
pub(crate) const READY: [&str; 2] = ["/readyz", "/health/ready"];
pub(crate) const STARTUP: [&str; 2] = ["/startupz", "/health/started"];
pub(crate) const METRICS: [&str; 1] = ["/metrics"];

pub(super) fn read(env: &mut Reader<'_>) -> Paths {
    Paths {
        live: env.ours("BELLWETHER_LIVE_PATH", parse),
        ready: env.ours("BELLWETHER_READY_PATH", parse),
        startup: env.ours("BELLWETHER_STARTUP_PATH", parse),
        metrics: env.ours("BELLWETHER_METRICS_PATH", parse),
    }
}

/// A path that a router takes as it is and that a request can ask for.
///
/// # Errors
///
/// Says what is allowed.
pub(crate) fn parse(path: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"{}*?#%\\\"<>".contains(&byte);
    let segments = path.strip_prefix('/').unwrap_or_default();
    let plain = !segments.is_empty()
        && path.len() <= MAX_BYTES
        && path.bytes().all(fits)
        && segments
            .split('/')
            // An older syntax of wildcards, and segments that clients take out by themselves.
            .all(|segment| !segment.starts_with(':') && !matches!(segment, "" | "." | ".."));
    if plain {
        Ok(path.to_owned())
    } else {
        Err(ALLOWED.to_owned())
    }
}

impl Paths {
    pub(crate) fn live(&self) -> Vec<&str> {
        either(self.live.as_deref(), &LIVE)
    }

    pub(crate) fn ready(&self) -> Vec<&str> {
        either(self.ready.as_deref(), &READY)
    }

    pub(crate) fn startup(&self) -> Vec<&str> {
        either(self.startup.as_deref(), &STARTUP)
    }

    pub(crate) fn metrics(&self) -> Vec<&str> {
        either(self.metrics.as_deref(), &METRICS)
    }

    /// A path that two endpoints would have.
    pub(super) fn fault(&self) -> Option<String> {
        let all = [self.live(), self.ready(), self.startup(), self.metrics()].concat();
        let twice = all.iter().enumerate().find(|(at, path)| {
            TAKEN.contains(path) || all.iter().take(*at).any(|other| other == *path)
        });
        twice.map(|(_, path)| {
            format!(
                "the path {path:?} is asked for twice: each of BELLWETHER_LIVE_PATH, BELLWETHER_READY_PATH, \
                 BELLWETHER_STARTUP_PATH and BELLWETHER_METRICS_PATH must be a path of its own, and none of {}",
                TAKEN.join(", ")
            )
        })
    }
}

fn either<'a>(asked: Option<&'a str>, default: &[&'a str]) -> Vec<&'a str> {
    asked.map_or_else(|| default.to_vec(), |path| vec![path])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_from_the_root_and_has_no_wildcard() {
        for path in ["/live", "/a/b-c_d.e~f", "/_health/$x:y"] {
            assert_eq!(parse(path).as_deref(), Ok(path));
        }
        let long = format!("/{}", "x".repeat(MAX_BYTES));
        for path in [
            "", "/", "live", "//live", "/a//b", "/a/", "/a/../b", "/{x}", "/*x", "/a/:x", "/a b",
            "/a?b", "/a#b", "/ü", "/%20", &long,
        ] {
            assert!(
                parse(path).unwrap_err().contains("/internal/live"),
                "{path}"
            );
        }
    }

    #[test]
    fn each_endpoint_has_a_path_of_its_own() {
        let fault = |live: &str, metrics: &str| {
            let paths = Paths {
                live: Some(live.to_owned()),
                metrics: Some(metrics.to_owned()),
                ..Paths::default()
            };
            paths.fault()
        };
        assert_eq!(Paths::default().fault(), None);
        assert_eq!(fault("/a", "/b"), None);
        // The default path of an endpoint that has moved is free.
        assert_eq!(fault("/metrics", "/livez"), None);
        assert!(fault("/a", "/a").unwrap().contains("\"/a\""));
        assert!(fault("/readyz", "/b").unwrap().contains("\"/readyz\""));
        assert!(fault("/a", "/telemetry").is_some());
    }
}
