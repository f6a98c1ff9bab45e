//! Answers of Zipkin's query API: JSON made off the runtime's workers, failures as the plain text that Zipkin's clients
//! show. Called by `mod`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::span::TooLarge;

/// Most bytes of an answer, and of what of it is held while it is made.
pub(super) const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Why a question got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct Failure {
    status: StatusCode,
    text: String,
}

/// 400: a question that cannot be read; the text names the parameter and says what is allowed.
pub(super) fn bad_request(text: impl Into<String>) -> Failure {
    Failure {
        status: StatusCode::BAD_REQUEST,
        text: text.into(),
    }
}

/// 404: what was asked for is not there.
pub(super) fn not_found(text: String) -> Failure {
    Failure {
        status: StatusCode::NOT_FOUND,
        text,
    }
}

/// 405: the API only answers questions.
pub(super) fn method_not_allowed() -> Failure {
    Failure {
        status: StatusCode::METHOD_NOT_ALLOWED,
        text: "this is only read: ask with GET".to_owned(),
    }
}

/// 500: what was asked for is there, and no answer can hold it.
pub(super) fn too_large(_: TooLarge) -> Failure {
    Failure {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        text: format!(
            "in Zipkin's form this is more than the {} MiB that an answer may have; the page /traces/ID and \
             /api/v1/traces/ID show it",
            MOST_BYTES / 1024 / 1024
        ),
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, self.text).into_response()
    }
}

/// JSON as `work` makes it, on a thread that may take its time.
///
/// # Errors
/// What `work` fails with; 500 when it panicked.
pub(super) async fn json(
    work: impl FnOnce() -> Result<Vec<u8>, Failure> + Send + 'static,
) -> Result<Response, Failure> {
    let made = tokio::task::spawn_blocking(work).await;
    let json = made.unwrap_or_else(|_| {
        Err(Failure {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            text: "the answer could not be made; the collector's log says why".to_owned(),
        })
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// A JSON array under way.
#[derive(Debug, Default)]
pub(super) struct Array(Vec<u8>);

impl Array {
    /// Appends an element, itself JSON.
    ///
    /// # Errors
    /// [`TooLarge`]: it is not appended, for the answer has too many bytes already.
    pub(super) fn push(&mut self, element: &[u8]) -> Result<(), TooLarge> {
        if self.0.len() + element.len() > MOST_BYTES {
            return Err(TooLarge);
        }
        self.0.push(if self.0.is_empty() { b'[' } else { b',' });
        self.0.extend_from_slice(element);
        Ok(())
    }

    pub(super) fn into_json(mut self) -> Vec<u8> {
        if self.0.is_empty() {
            self.0.push(b'[');
        }
        self.0.push(b']');
        self.0
    }
}
