//! The long answer of a probe, as `application/health+json`. Asked for by `endpoints`.

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
        if let (Err(reason), Some(report)) = (verdict, report.as_object_mut()) {
            report.insert("output".to_owned(), reason.as_str().into());
        }
        report
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
