//! The calculator's errors as clean JSON answers: `{"error":{"code","message"}}`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::expression::ParseError;
use crate::operation::OperationError;

/// What a request is answered with when it has no result.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body is not the JSON asked for.
    #[error("{0}")]
    Body(#[from] JsonRejection),
    /// The text is no expression.
    #[error("{0}")]
    Expression(#[from] ParseError),
    /// There is no such result.
    #[error("{0}")]
    Operation(#[from] OperationError),
    /// An operation's service refused its operands; its own words and status are passed on.
    #[error("{message}")]
    Refused {
        /// 4xx, as the service answered.
        status: StatusCode,
        /// The service's code.
        code: String,
        /// The service's message.
        message: String,
    },
    /// An operation's service failed or could not be reached.
    #[error("the {service} service cannot answer now; try again")]
    Unavailable {
        /// Which.
        service: &'static str,
        /// For the log, not for the caller.
        cause: String,
    },
    /// This service failed.
    #[error("internal error")]
    Internal(
        /// For the log, not for the caller.
        String,
    ),
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Body(rejection) => rejection.status(),
            Self::Expression(_) => StatusCode::BAD_REQUEST,
            Self::Operation(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Refused { status, .. } => *status,
            Self::Unavailable { .. } => StatusCode::BAD_GATEWAY,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> &str {
        match self {
            Self::Body(_) => "bad_request",
            Self::Expression(_) => "bad_expression",
            Self::Operation(OperationError::DivisionByZero) => "division_by_zero",
            Self::Operation(OperationError::Overflow) => "overflow",
            Self::Refused { code, .. } => code,
            Self::Unavailable { .. } => "unavailable",
            Self::Internal(_) => "internal",
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match &self {
            Self::Unavailable { service, cause } => {
                tracing::error!(service, cause, "operation failed");
            }
            Self::Internal(cause) => tracing::error!(cause, "operation failed"),
            _ => {}
        }
        let body = json!({ "error": { "code": self.code(), "message": self.to_string() } });
        (self.status(), Json(body)).into_response()
    }
}
