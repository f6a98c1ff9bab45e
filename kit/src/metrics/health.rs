//! `bellwether_health_*` and `bellwether_runtime_*`: the dependency checks and what the watchdog sees, asked for
//! at each scrape.

use super::labels::LabelText;
use super::text::{Kind, Text};
use crate::health::Health;

pub(super) fn write(health: &Health, text: &mut Text) {
    checks(health, text);
    runtime(health, text);
}

fn checks(health: &Health, text: &mut Text) {
    let gauges = health.gauges();
    if gauges.is_empty() {
        return;
    }
    let labels = |name| LabelText::default().with("check", name);
    text.family(
        "bellwether_health_check_status",
        Kind::Gauge,
        None,
        "Dependency checks: 1 pass, 0.5 warn, 0 fail",
    );
    for check in &gauges {
        text.sample(&labels(check.name), check.status);
    }
    text.family(
        "bellwether_health_check_duration_seconds",
        Kind::Gauge,
        Some("seconds"),
        "How long the last run of a dependency check took",
    );
    for check in &gauges {
        text.sample(&labels(check.name), check.duration.as_secs_f64());
    }
}

fn runtime(health: &Health, text: &mut Text) {
    let seen = health.liveness.seen();
    text.family(
        "bellwether_runtime_stalls",
        Kind::Counter,
        None,
        "How often the runtime has run no task for a third of the liveness time-out",
    );
    text.sample(&LabelText::default(), seen.stalls);
    text.family(
        "bellwether_runtime_blocked_workers",
        Kind::Gauge,
        None,
        "Workers of the runtime that have not come back from one task for a third of the liveness time-out",
    );
    text.sample(&LabelText::default(), seen.blocked_workers);
}
