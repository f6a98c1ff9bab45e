//! Records of the `log` crate as events of `tracing`, for the libraries that log by it. `kit` takes them when it
//! installs its subscriber; a service with a subscriber of its own takes them by that one's `init`.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata};
use tracing_log::{LogTracer, NormalizeEvent, log};

use super::logger::TARGET;

/// The target that `tracing-log` gives to the events of records, whose own is a field of theirs.
const RECORDS: &str = "log";

/// What the fields begin with that say where a record comes from.
const ORIGIN: &str = "log.";

/// Turns records into events from now on, as far as the filter prints any (`printed` is its most verbose level):
/// more verbose ones cost a comparison, and the recorder has none of them. A logger that the process has already
/// keeps its records, which is told once.
pub(crate) fn take_records(printed: LevelFilter) {
    if log::set_boxed_logger(Box::new(LogTracer::new())).is_ok() {
        TAKEN.store(true, Ordering::Relaxed);
        follow_filter(printed);
        return;
    }
    tracing::info!(
        target: TARGET,
        "records of the `log` crate stay with the logger that is already set: drop that one \
         (such as `env_logger::init()`) to have them as lines of the kit's"
    );
}

/// Whether the process's records come here.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Lets through as many records as the filter may print; called again when that changes.
pub(super) fn follow_filter(printed: LevelFilter) {
    if !TAKEN.load(Ordering::Relaxed) {
        return;
    }
    log::set_max_level(match printed.into_level() {
        None => log::LevelFilter::Off,
        Some(tracing::Level::ERROR) => log::LevelFilter::Error,
        Some(tracing::Level::WARN) => log::LevelFilter::Warn,
        Some(tracing::Level::INFO) => log::LevelFilter::Info,
        Some(tracing::Level::DEBUG) => log::LevelFilter::Debug,
        Some(tracing::Level::TRACE) => log::LevelFilter::Trace,
    });
}

/// Whether this asks for a record: its metadata are made for the question and have no call site of their own.
pub(super) fn is_record(metadata: &Metadata<'_>) -> bool {
    metadata.name() == "log record"
}

/// What a record says of itself: target, level, file and line. `None` for an event that is no record.
pub(super) fn metadata<'a>(event: &'a Event<'_>) -> Option<Metadata<'a>> {
    if event.metadata().target() != RECORDS {
        return None;
    }
    event.normalized_metadata()
}

/// Whether a field of a record's event is there for [`metadata`] alone.
pub(super) fn is_origin(name: &str) -> bool {
    name.starts_with(ORIGIN)
}
