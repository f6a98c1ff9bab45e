//! The setters for the paths of the kit's own endpoints.

use super::KitBuilder;
use crate::config::{Config, parse_path};

impl KitBuilder {
    /// Where liveness is asked for, instead of `/livez` and `/health/live` and whatever `BELLWETHER_LIVE_PATH`
    /// says: a path from the root without wildcards. One that cannot be, or that another endpoint has, is a
    /// fault of [`start`](Self::start).
    pub fn live_path(self, path: &str) -> Self {
        self.path("BELLWETHER_LIVE_PATH", path, |config, path| {
            config.paths.live = Some(path);
        })
    }

    /// As [`live_path`](Self::live_path): instead of `/readyz` and `/health/ready` and whatever
    /// `BELLWETHER_READY_PATH` says.
    pub fn ready_path(self, path: &str) -> Self {
        self.path("BELLWETHER_READY_PATH", path, |config, path| {
            config.paths.ready = Some(path);
        })
    }

    /// As [`live_path`](Self::live_path): instead of `/startupz` and `/health/started` and whatever
    /// `BELLWETHER_STARTUP_PATH` says.
    pub fn startup_path(self, path: &str) -> Self {
        self.path("BELLWETHER_STARTUP_PATH", path, |config, path| {
            config.paths.startup = Some(path);
        })
    }

    /// As [`live_path`](Self::live_path): instead of `/metrics` and whatever `BELLWETHER_METRICS_PATH` says,
    /// on the admin address too.
    pub fn metrics_path(self, path: &str) -> Self {
        self.path("BELLWETHER_METRICS_PATH", path, |config, path| {
            config.paths.metrics = Some(path);
        })
    }

    fn path(
        self,
        variable: &'static str,
        path: &str,
        put: impl FnOnce(&mut Config, String),
    ) -> Self {
        let parsed = parse_path(path);
        // Named by the variable, as faults of the environment are: it says which endpoint is meant.
        let parsed = parsed.map_err(|allowed| format!("{path:?} for {variable}: {allowed}"));
        self.set(variable, parsed, put)
    }
}
