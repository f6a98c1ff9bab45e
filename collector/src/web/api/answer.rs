//! Answers of the API: reports worked out off the event loop, failures as `{"error":{"code","message"}}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

/// Why a question got no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// 400: a parameter that cannot be read; the message names it and says what is allowed.
pub(super) fn bad_request(message: String) -> Failure {
    Failure {
        status: StatusCode::BAD_REQUEST,
        code: "bad_request",
        message,
    }
}

/// 404: what was asked for is not there.
pub(super) fn not_found(message: String) -> Failure {
    Failure {
        status: StatusCode::NOT_FOUND,
        code: "not_found",
        message,
    }
}

/// 409: what was asked for is there, but cannot be told now; `code` says why in a word.
pub(super) fn unready(code: &'static str, message: String) -> Failure {
    Failure {
        status: StatusCode::CONFLICT,
        code,
        message,
    }
}

/// 405: the API only answers questions.
pub(super) fn method_not_allowed() -> Failure {
    Failure {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method_not_allowed",
        message: "the API is only read: ask with GET".to_owned(),
    }
}

/// 503: there is no room to make or hold a report now.
pub(in crate::web) fn unavailable(message: String) -> Response {
    let failure = Failure {
        status: StatusCode::SERVICE_UNAVAILABLE,
        code: "unavailable",
        message,
    };
    failure.into_response()
}

/// 400, 421: the host that was asked for is not one that the collector answers to.
pub(in crate::web) fn turned_away(status: StatusCode, message: String) -> Response {
    let code = match status {
        StatusCode::MISDIRECTED_REQUEST => "misdirected",
        _ => "bad_request",
    };
    let failure = Failure {
        status,
        code,
        message,
    };
    failure.into_response()
}

/// A report as JSON.
///
/// # Errors
/// As [`found`].
pub(super) async fn report<T: Serialize + Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, Failure> {
    found(move || Ok(work())).await
}

/// A report as JSON, if there is one. Merging thousands of slots takes milliseconds, so it is done where it holds up
/// nothing else.
///
/// # Errors
/// What `work` fails with; 500 when it panicked.
pub(super) async fn found<T: Serialize + Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<Response, Failure> {
    let done = tokio::task::spawn_blocking(|| work().map(|report| Json(report).into_response()));
    done.await.unwrap_or_else(|_| {
        Err(Failure {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "internal",
            message: "the report could not be made; the collector's log says why".to_owned(),
        })
    })
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message}});
        (self.status, Json(body)).into_response()
    }
}
