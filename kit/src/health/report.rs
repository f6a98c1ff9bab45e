//! The long answer of a probe, as `application/health+json`, and the same as gauges. Asked for by `endpoints`
//! and `metrics`.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::Health;
use super::runner::{Entry, Observed};

/// The health+json word for a check or a whole service (draft-inadarei-api-health-check, §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Pass,
    Warn,
    Fail,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    /// As a gauge: whatever is not well is below 1.
    fn as_gauge(self) -> f64 {
        match self {
            Self::Pass => 1.0,
            Self::Warn => 0.5,
            Self::Fail => 0.0,
        }
    }
}

/// A check that has run, as gauges.
#[derive(Debug, PartialEq)]
pub(crate) struct CheckGauges<'a> {
    pub(crate) name: &'a str,
    pub(crate) status: f64,
    /// Of its last run.
    pub(crate) duration: Duration,
}

impl Health {
    /// The long answer as `application/health+json`. Error texts are for operators only: `with_errors`.
    pub(crate) fn report(
        &self,
        verdict: &Result<(), String>,
        exclude: &[String],
        with_errors: bool,
    ) -> Value {
        let mut worst = if verdict.is_ok() {
            Status::Pass
        } else {
            Status::Fail
        };
        let mut checks = Map::new();
        for entry in self.included(exclude) {
            let last = entry.last();
            let status = status(entry, last.as_ref());
            worst = worst.max(status.min(Status::Warn));
            let body = describe(entry, status, last.as_ref(), with_errors);
            checks.insert(entry.name.clone(), Value::Array(vec![body]));
        }
        let mut report = json!({ "status": worst.as_str(), "checks": checks });
        let Some(fields) = report.as_object_mut() else {
            return report;
        };
        if let Err(reason) = verdict {
            fields.insert("output".to_owned(), reason.as_str().into());
        }
        let notes = self.unknown(exclude);
        if !notes.is_empty() {
            fields.insert("notes".to_owned(), notes.into());
        }
        report
    }

    /// The checks that have run: before that there is nothing to tell.
    pub(crate) fn gauges(&self) -> Vec<CheckGauges<'_>> {
        let gauges = |entry| {
            let last = Entry::last(entry)?;
            Some(CheckGauges {
                name: &entry.name,
                status: status(entry, Some(&last)).as_gauge(),
                duration: last.duration,
            })
        };
        self.checks.entries().filter_map(gauges).collect()
    }

    /// A line for each name that was to be left out and is no check's: most likely misspelt.
    fn unknown(&self, exclude: &[String]) -> Vec<String> {
        let known = |name: &String| self.checks.entries().any(|entry| entry.name == *name);
        let unknown = exclude.iter().filter(|name| !known(name));
        unknown
            .map(|name| format!("there is no check {name:?} to exclude"))
            .collect()
    }
}

fn status(entry: &Entry, last: Option<&Observed>) -> Status {
    match last {
        Some(last) if last.passing && last.error.is_none() => Status::Pass,
        Some(last) if last.passing => Status::Warn,
        _ if entry.critical => Status::Fail,
        _ => Status::Warn,
    }
}

/// One entry of `checks` (draft-inadarei-api-health-check, §4); `age` is our own: seconds since the run ended.
fn describe(entry: &Entry, status: Status, last: Option<&Observed>, with_errors: bool) -> Value {
    let mut body = json!({ "status": status.as_str(), "critical": entry.critical });
    let Some(body_fields) = body.as_object_mut() else {
        return body;
    };
    let Some(last) = last else {
        body_fields.insert("output".to_owned(), "has not run yet".into());
        return body;
    };
    body_fields.insert("observedValue".to_owned(), seconds(last.duration));
    body_fields.insert("observedUnit".to_owned(), "s".into());
    let age = Instant::now().saturating_duration_since(last.at);
    body_fields.insert("age".to_owned(), seconds(age));
    if let (Some(error), true) = (&last.error, with_errors) {
        body_fields.insert("output".to_owned(), error.as_str().into());
    }
    body
}

/// Seconds to the microsecond: what is left of a clock's noise would only be hard to read.
fn seconds(duration: Duration) -> Value {
    json!((duration.as_secs_f64() * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::runtime::Handle;

    use super::*;
    use crate::health::{Checks, Lifecycle, Liveness, State, check};

    /// With a check that passes, one that is critical and fails, and one that is not and fails.
    async fn health() -> Health {
        let ok = check(|| async { Ok::<(), String>(()) });
        let down = || check(|| async { Err::<(), _>("down") });
        let checks = vec![
            ("cache".to_owned(), ok.critical()),
            ("db".to_owned(), down().critical()),
            ("mail".to_owned(), down()),
        ];
        let health = Health {
            lifecycle: Lifecycle::new(),
            checks: Arc::new(Checks::start(checks, &Handle::current())),
            liveness: Liveness::new(None),
        };
        health.lifecycle.advance(State::Ready);
        health
    }

    async fn ran() -> Health {
        let health = health().await;
        while health.gauges().len() < 3 {
            tokio::task::yield_now().await;
        }
        health
    }

    #[tokio::test(start_paused = true)]
    async fn gauges_are_the_status_of_what_has_run() {
        assert_eq!(health().await.gauges(), Vec::new());
        let health = ran().await;
        let gauges = health.gauges();
        let statuses: Vec<_> = gauges.iter().map(|of| (of.name, of.status)).collect();
        assert_eq!(statuses, [("cache", 1.0), ("db", 0.0), ("mail", 0.5)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_may_be_left_out_and_a_name_that_is_none_is_told() {
        let health = ran().await;
        assert_eq!(health.ready(&[]), Err("check db failing".to_owned()));
        let exclude = ["db".to_owned(), "d\"b".to_owned()];
        let verdict = health.ready(&exclude);
        assert_eq!(verdict, Ok(()));
        let report = health.report(&verdict, &exclude, false);
        assert_eq!(report["status"], "warn");
        assert!(report["checks"].get("db").is_none());
        assert_eq!(
            report["notes"],
            json!(["there is no check \"d\\\"b\" to exclude"])
        );
        let report = health.report(&verdict, &["db".to_owned()], false);
        assert!(report.get("notes").is_none());
    }
}
