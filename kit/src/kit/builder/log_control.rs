//! The setters for the recorder and the limit of floods.

use std::num::NonZero;
use std::time::Duration;

use super::KitBuilder;
use crate::config::{Config, recorded, request_bytes};
use crate::log::RecorderConfig;

impl KitBuilder {
    /// What the recorder keeps of a request's hidden events, whatever `BELLWETHER_RECORDER` says: `off`, or
    /// directives such as `checkout=debug,sqlx=debug`. Directives that cannot be read are a fault of
    /// [`start`](Self::start).
    pub fn recorder(self, directives: &str) -> Self {
        let recorded = recorded(directives);
        let recorded = recorded.map_err(|fault| format!("recorder({directives:?}): {fault}"));
        self.set(
            "BELLWETHER_RECORDER",
            recorded,
            |config, recorded| match recorded {
                None => config.log.recorder = None,
                Some(recorded) => recorder_of(config).recorded = recorded,
            },
        )
    }

    /// From which duration on a request's recorded events are printed although it went well, whatever
    /// `BELLWETHER_RECORDER_SLOW` says. Turns the recorder on.
    pub fn recorder_slow(self, duration: Duration) -> Self {
        self.set("BELLWETHER_RECORDER_SLOW", Ok(duration), |config, slow| {
            recorder_of(config).slow = Some(slow);
        })
    }

    /// What the recorder may keep, in bytes: of one request (1 KiB to 1 MiB), whatever
    /// `BELLWETHER_RECORDER_BYTES` says, and of all requests together (4 MiB unless set here). Turns the
    /// recorder on. A number beyond its bounds is a fault of [`start`](Self::start).
    pub fn recorder_bytes(self, request: usize, total: usize) -> Self {
        let bytes = request_bytes(request)
            .map_err(|fault| format!("recorder_bytes({request}, {total}): {fault}"));
        self.set("BELLWETHER_RECORDER_BYTES", bytes, |config, request| {
            let recorder = recorder_of(config);
            (recorder.request_bytes, recorder.total_bytes) = (request, total);
        })
    }

    /// How many lines a call site may write in a second, whatever `BELLWETHER_LOG_RATE_LIMIT` says; `None` is
    /// without limit.
    pub fn log_rate_limit(self, lines: Option<NonZero<u32>>) -> Self {
        let lines = Ok(lines.map(NonZero::get));
        self.set("BELLWETHER_LOG_RATE_LIMIT", lines, |config, lines| {
            config.log.rate_limit = lines;
        })
    }
}

fn recorder_of(config: &mut Config) -> &mut RecorderConfig {
    config.log.recorder.get_or_insert_default()
}
