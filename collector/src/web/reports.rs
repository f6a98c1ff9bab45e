//! Bounds what pages and API hold in memory, which no other limit counts: reports made at once, and bytes of finished
//! ones that their readers have not taken yet. A layer of `web::router`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::response::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::Instrument as _;

use super::{api, layout};
use crate::budget::{Budget, Reservation};

/// A report takes milliseconds, but one of a trace heavy with attributes may take some 90 MiB while it is made.
const MADE_AT_ONCE: usize = 1;
const UNSENT_BYTES: usize = 16 * 1024 * 1024;
/// What is smaller is not counted: pages stay within reach while large answers wait for slow readers.
const SMALL_BYTES: usize = 256 * 1024;
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const RETRY_AFTER_SECONDS: u16 = 5;

/// What the reports of one collector share.
#[derive(Clone, Debug)]
pub(super) struct Reports {
    making: Arc<Semaphore>,
    unsent: Budget,
}

/// A body whose bytes are counted until the last of them is written.
struct Held {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Reports {
    pub(super) fn new() -> Self {
        Self::with(MADE_AT_ONCE, UNSENT_BYTES)
    }

    fn with(made_at_once: usize, unsent_bytes: usize) -> Self {
        Self {
            making: Arc::new(Semaphore::new(made_at_once)),
            unsent: Budget::new(unsent_bytes),
        }
    }

    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turn = timeout(LONGEST_WAIT, Arc::clone(&self.making).acquire_owned()).await;
        turn.ok()?.ok()
    }

    /// `None` when too much waits for readers already.
    fn hold(&self, bytes: Bytes) -> Option<Body> {
        if bytes.len() < SMALL_BYTES {
            return Some(Body::from(bytes));
        }
        // One that is larger than all that may wait goes out alone.
        let _reservation = self.unsent.reserve(bytes.len().min(self.unsent.limit()))?;
        let held = Held {
            bytes,
            _reservation,
        };
        Some(Body::from(Bytes::from_owner(held)))
    }
}

/// Makes the answer when its turn comes: 503 when that takes too long.
pub(super) async fn bounded(
    State(reports): State<Reports>,
    request: Request,
    next: Next,
) -> Response {
    let is_api = request.uri().path().starts_with("/api");
    let Some(turn) = reports.turn().await else {
        return busy(is_api, "too many reports are asked for at once");
    };
    // On its own, so that who hangs up does not give its turn away while its report is still being made.
    let making = async move {
        let answer = whole(next.run(request).await).await;
        drop(turn);
        answer
    };
    match tokio::spawn(making.in_current_span()).await {
        Ok(Some((parts, bytes))) => match reports.hold(bytes) {
            Some(body) => Response::from_parts(parts, body),
            None => busy(is_api, "too many large reports wait for their readers"),
        },
        Ok(None) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Handlers answer with bytes that they have; nothing is copied.
async fn whole(response: Response) -> Option<(Parts, Bytes)> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.ok()?;
    Some((parts, body.to_bytes()))
}

fn busy(is_api: bool, why: &str) -> Response {
    let mut response = if is_api {
        api::unavailable(format!("{why}; ask again in {RETRY_AFTER_SECONDS} seconds"))
    } else {
        let text = format!("Sorry, {why}. Please try again in a few seconds.");
        layout::failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "The collector is busy",
            &text,
        )
    };
    let after = HeaderValue::from(RETRY_AFTER_SECONDS);
    response.headers_mut().insert(header::RETRY_AFTER, after);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tokio::sync::Notify;
    use tower::ServiceExt as _;

    /// Answers at `/slow` once it is released, at `/large` with bytes that count.
    fn app(reports: Reports) -> (Router, Arc<Notify>, Arc<Notify>) {
        let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (arrive, released) = (Arc::clone(&arrived), Arc::clone(&release));
        let slow = async move || {
            arrive.notify_one();
            released.notified().await;
        };
        let app = Router::new()
            .route("/slow", get(slow))
            .route("/large", get(async || vec![b'x'; SMALL_BYTES]))
            .route("/api/small", get(async || "small"))
            .layer(from_fn_with_state(reports, bounded));
        (app, arrived, release)
    }

    async fn ask(app: &Router, path: &str) -> Response {
        let request = Request::get(path).body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap()
    }

    async fn refusal(response: Response) -> String {
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn reports_wait_for_their_turn_but_not_for_ever() {
        let (app, arrived, release) = app(Reports::with(1, 1));
        let first = tokio::spawn({
            let app = app.clone();
            async move { ask(&app, "/slow").await }
        });
        arrived.notified().await;
        let text = refusal(ask(&app, "/api/small").await).await;
        assert!(text.contains("too many reports"), "{text}");
        assert!(text.starts_with("{\"error\":"), "{text}");
        let text = refusal(ask(&app, "/large").await).await;
        assert!(text.contains("<h1>The collector is busy</h1>"), "{text}");
        release.notify_one();
        assert_eq!(first.await.unwrap().status(), StatusCode::OK);
        assert_eq!(ask(&app, "/api/small").await.status(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_up_keeps_its_turn_until_its_report_is_made() {
        let (app, arrived, release) = app(Reports::with(1, 1));
        {
            let asked = ask(&app, "/slow");
            tokio::pin!(asked);
            tokio::select! {
                _ = &mut asked => panic!("nobody released it"),
                () = arrived.notified() => {}
            }
        }
        refusal(ask(&app, "/api/small").await).await;
        release.notify_one();
        assert_eq!(ask(&app, "/api/small").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn large_answers_that_are_not_read_yet_are_bounded() {
        let (narrow, ..) = app(Reports::with(1, 1));
        let (app, ..) = app(Reports::with(1, 2 * SMALL_BYTES));
        let (first, second) = (ask(&app, "/large").await, ask(&app, "/large").await);
        let text = refusal(ask(&app, "/large").await).await;
        assert!(text.contains("wait for their readers"), "{text}");
        assert_eq!(ask(&app, "/api/small").await.status(), StatusCode::OK);
        drop(first);
        assert_eq!(ask(&app, "/large").await.status(), StatusCode::OK);
        let bytes = second.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len(), SMALL_BYTES);
        drop(bytes);

        let alone = ask(&narrow, "/large").await;
        assert_eq!(alone.status(), StatusCode::OK, "larger than the bound");
    }
}
