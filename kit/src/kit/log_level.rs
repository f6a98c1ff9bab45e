//! `/loglevel` of the admin address: the log filter in force, and another for a while.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::StatusCode;
use serde_json::{Value, json};

use super::admin::answer;
use crate::log::{Control, MAX_FILTER_TIME};

/// The longest body read, in bytes.
const MAX_BODY_BYTES: usize = 4 * 1024;

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);

const EXAMPLE: &str = r#"{"filter":"info,checkout=debug","for_seconds":300}"#;

/// `GET`: what is in force; `PUT`: something else; `DELETE`: what is configured.
pub(super) fn handlers(log: &Arc<Control>) -> MethodRouter {
    let shown = Arc::clone(log);
    let changed = Arc::clone(log);
    let reset = Arc::clone(log);
    get(move || std::future::ready(report(&shown)))
        .put(move |body: Body| async move {
            let change = match read(body).await {
                Ok(change) => change,
                Err(fault) => return refuse(&fault),
            };
            match changed.set_filter(change.filter.as_deref(), change.time) {
                Ok(()) => report(&changed),
                Err(fault) => refuse(&fault),
            }
        })
        .delete(move || {
            let done = reset.set_filter(None, None);
            std::future::ready(done.map_or_else(|fault| refuse(&fault), |()| report(&reset)))
        })
}

/// What a `PUT` asks for.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    /// `None`: the configured filter.
    filter: Option<String>,
    time: Option<Duration>,
}

async fn read(body: Body) -> Result<Change, String> {
    let read = tokio::time::timeout(BODY_TIME, to_bytes(body, MAX_BODY_BYTES)).await;
    let read = read.map_err(|_| format!("the body did not come within {BODY_TIME:?}"))?;
    let bytes = read.map_err(|error| {
        format!("the body cannot be read, or is longer than {MAX_BODY_BYTES} bytes: {error}")
    })?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Change, String> {
    let body: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("the body is no JSON: {error}"))?;
    let Value::Object(body) = body else {
        return Err("the body is no JSON object".to_owned());
    };
    let known = |key: &&String| !matches!(key.as_str(), "filter" | "for_seconds");
    if let Some(key) = body.keys().find(known) {
        return Err(format!("{key:?} is not known"));
    }
    let filter = match body.get("filter") {
        Some(Value::String(filter)) => Some(filter.clone()),
        Some(Value::Null) => None,
        Some(other) => return Err(format!("\"filter\" must be a text or null, not {other}")),
        None => return Err("\"filter\" is missing".to_owned()),
    };
    let time = match body.get("for_seconds") {
        None | Some(Value::Null) => None,
        Some(seconds) => Some(time(seconds)?),
    };
    if filter.is_none() && time.is_some() {
        return Err("\"for_seconds\" needs a \"filter\"".to_owned());
    }
    Ok(Change { filter, time })
}

fn time(seconds: &Value) -> Result<Duration, String> {
    let max = MAX_FILTER_TIME.as_secs();
    let allowed = |seconds: &u64| (1..=max).contains(seconds);
    match seconds.as_u64().filter(allowed) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(format!(
            "\"for_seconds\" must be a whole number from 1 to {max}, not {seconds}"
        )),
    }
}

fn report(log: &Control) -> Response {
    let report = log.filter();
    let report = json!({
        "filter": report.filter,
        "configured_filter": report.configured,
        "expires_in_seconds": report.expires_in.map(|time| time.as_secs_f64()),
    });
    answer("application/json", format!("{report}\n"))
}

fn refuse(fault: &str) -> Response {
    let message = format!("{fault}; send something like {EXAMPLE}");
    let body = json!({ "error": { "code": "invalid_log_filter", "message": message } });
    let mut response = answer("application/json", format!("{body}\n"));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused_with_its_reason() {
        fn check(body: &str, reason: &str) {
            let fault = parse(body.as_bytes()).unwrap_err();
            assert!(fault.contains(reason), "{body}: {fault}");
        }
        check("", "no JSON");
        check("info", "no JSON");
        check("[]", "no JSON object");
        check("{}", "\"filter\" is missing");
        check(r#"{"filter":7}"#, "must be a text or null, not 7");
        check(r#"{"filter":"info","for_second":3}"#, "\"for_second\"");
        for seconds in ["0", "86401", "-1", "1.5", "\"60\"", "1e999"] {
            let body = format!(r#"{{"filter":"info","for_seconds":{seconds}}}"#);
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
        check(r#"{"filter":null,"for_seconds":3}"#, "needs a \"filter\"");
        let deep = "[".repeat(MAX_BODY_BYTES);
        check(&deep, "no JSON");
    }

    #[test]
    fn what_can_be_done_is_read() {
        let read = |body: &str| parse(body.as_bytes()).unwrap();
        assert_eq!(
            read(EXAMPLE),
            Change {
                filter: Some("info,checkout=debug".to_owned()),
                time: Some(Duration::from_secs(300)),
            }
        );
        let none = Change {
            filter: None,
            time: None,
        };
        assert_eq!(read(r#"{"filter":null}"#), none);
    }
}
