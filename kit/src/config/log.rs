//! The variables of the log's control: what is printed, what is recorded, how often a line may come.

use tracing_subscriber::filter::Targets;

use super::reader::Reader;
use super::text::parse_duration;
use crate::log::{LogControl, MIN_REQUEST_BYTES, Recorded, RecorderConfig};

/// Lines of one call site in one second.
const DEFAULT_RATE_LIMIT: u32 = 1_000;

/// `RUST_LOG` and the `BELLWETHER_…` of the log's control.
pub(super) fn control(env: &mut Reader<'_>) -> LogControl {
    LogControl {
        filter: filter(env),
        recorder: recorder(env),
        rate_limit: env
            .ours("BELLWETHER_LOG_RATE_LIMIT", rate_limit)
            .unwrap_or(Some(DEFAULT_RATE_LIMIT)),
    }
}

fn filter(env: &mut Reader<'_>) -> String {
    let readable = |value: &str| {
        tracing_subscriber::EnvFilter::builder()
            .parse(value)
            .map(|_| value.to_owned())
            .map_err(|error| format!("{error}; info is in force"))
    };
    env.theirs(&["RUST_LOG"], readable)
        .unwrap_or_else(|| "info".to_owned())
}

fn recorder(env: &mut Reader<'_>) -> Option<RecorderConfig> {
    let mut config = RecorderConfig::default();
    // Each is read, so that each fault is told, whatever the others say.
    let what = env.ours("BELLWETHER_RECORDER", recorded);
    if let Some(slow) = env.ours("BELLWETHER_RECORDER_SLOW", |value| {
        if value == "off" {
            return Ok(None);
        }
        match parse_duration(value) {
            Some(slow) => Ok(Some(slow)),
            None => Err("must be off or a duration such as 500ms, 2s or 1m".to_owned()),
        }
    }) {
        config.slow = slow;
    }
    if let Some(bytes) = env.ours("BELLWETHER_RECORDER_BYTES", |value| {
        let bytes = value.parse().map_err(|_| bytes_allowed())?;
        request_bytes(bytes)
    }) {
        config.request_bytes = bytes;
    }
    match what {
        Some(None) => None,
        Some(Some(recorded)) => {
            config.recorded = recorded;
            Some(config)
        }
        None => Some(config),
    }
}

/// `BELLWETHER_RECORDER`: `None` is off.
pub(crate) fn recorded(value: &str) -> Result<Option<Recorded>, String> {
    if value.trim() == "off" {
        return Ok(None);
    }
    match value.trim().parse::<Targets>() {
        Ok(directives) => Ok(Some(Recorded::Only(directives))),
        Err(error) => Err(format!(
            "must be off or directives such as checkout=debug,sqlx=debug ({error})"
        )),
    }
}

/// What the recorder may keep of one request, in bytes.
pub(crate) fn request_bytes(bytes: usize) -> Result<usize, String> {
    const MAX: usize = 1024 * 1024;
    if (MIN_REQUEST_BYTES..=MAX).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(bytes_allowed())
    }
}

fn bytes_allowed() -> String {
    format!("must be a number of bytes from {MIN_REQUEST_BYTES} to 1048576")
}

/// Lines a second: `None` is without limit.
fn rate_limit(value: &str) -> Result<Option<u32>, String> {
    match value.parse() {
        _ if value == "off" => Ok(None),
        Ok(limit) if limit > 0 => Ok(Some(limit)),
        _ => Err("must be off or a whole number of lines a second from 1".to_owned()),
    }
}
