//! Bounds what pages and API hold in memory: reports made at once, and bytes of finished ones that their readers have not
//! taken yet. A layer of `web::router`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::response::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body::{Frame, SizeHint};
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
/// What busy answers tell.
pub(super) const RETRY_AFTER_SECONDS: u16 = 5;

/// What the reports of one collector share.
#[derive(Clone, Debug)]
pub struct Reports {
    making: Arc<Semaphore>,
    unsent: Budget,
    making_memory: Budget,
}

/// Bytes that are counted until the last of them is written.
struct Held {
    bytes: Bytes,
    _reservation: Arc<Reservation>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body in pieces, as they were made: in one piece it would need as much memory again.
#[derive(Debug)]
pub(super) struct Pieces(VecDeque<Bytes>);

impl FromIterator<Bytes> for Pieces {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        Self(pieces.into_iter().collect())
    }
}

impl Pieces {
    fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}

impl Default for Reports {
    /// Of a collector with memory enough.
    fn default() -> Self {
        Self::new(Budget::new(2 * UNSENT_BYTES))
    }
}

impl Reports {
    /// Those of Zipkin's API are made in the memory of bodies under way.
    pub fn new(bodies: Budget) -> Self {
        Self::with(MADE_AT_ONCE, UNSENT_BYTES, bodies)
    }

    fn with(made_at_once: usize, unsent_bytes: usize, making_memory: Budget) -> Self {
        Self {
            making: Arc::new(Semaphore::new(made_at_once)),
            unsent: Budget::new(unsent_bytes),
            making_memory,
        }
    }

    /// What counts reports while they are made that count what they hold.
    pub(super) fn making_memory(&self) -> &Budget {
        &self.making_memory
    }

    /// Most bytes of one of these: half of what there is, so that the other half stays for those who send spans.
    pub(super) fn most_bytes(&self) -> usize {
        UNSENT_BYTES.min(self.making_memory.limit() / 2)
    }

    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turn = timeout(LONGEST_WAIT, Arc::clone(&self.making).acquire_owned()).await;
        turn.ok()?.ok()
    }

    /// `None` when too much waits for readers already.
    fn hold(&self, pieces: Pieces) -> Option<Body> {
        let bytes = pieces.len();
        if bytes < SMALL_BYTES {
            return Some(Body::new(pieces));
        }
        // One that is larger than all that may wait goes out alone.
        let reservation = Arc::new(self.unsent.reserve(bytes.min(self.unsent.limit()))?);
        let held = pieces.0.into_iter().map(|bytes| {
            Bytes::from_owner(Held {
                bytes,
                _reservation: Arc::clone(&reservation),
            })
        });
        Some(Body::new(held.collect::<Pieces>()))
    }
}

/// Makes the answer when its turn comes: 503 when that takes too long.
pub(super) async fn bounded(
    State(reports): State<Reports>,
    request: Request,
    next: Next,
) -> Response {
    let asked = Asked::by(request.uri().path());
    let Some(turn) = reports.turn().await else {
        return busy(asked, "too many reports are asked for at once");
    };
    // On its own, so that who hangs up does not give its turn away while its report is still being made.
    let making = async move {
        let answer = whole(next.run(request).await).await;
        drop(turn);
        answer
    };
    match tokio::spawn(making.in_current_span()).await {
        Ok(Some((parts, pieces))) => match reports.hold(pieces) {
            Some(body) => Response::from_parts(parts, body),
            None => busy(asked, "too many large reports wait for their readers"),
        },
        Ok(None) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Handlers answer with bytes that they have; nothing is copied.
async fn whole(response: Response) -> Option<(Parts, Pieces)> {
    let (parts, mut body) = response.into_parts();
    let mut pieces = VecDeque::new();
    while let Some(frame) = body.frame().await {
        pieces.extend(frame.ok()?.into_data());
    }
    Some((parts, Pieces(pieces)))
}

/// Who is answered in which form.
#[derive(Clone, Copy)]
enum Asked {
    Page,
    Api,
    Zipkin,
}

impl Asked {
    fn by(path: &str) -> Self {
        if path.starts_with("/api/v2/") || path.starts_with("/zipkin/") {
            Self::Zipkin
        } else if path.starts_with("/api") {
            Self::Api
        } else {
            Self::Page
        }
    }
}

fn busy(asked: Asked, why: &str) -> Response {
    let again = format!("{why}; ask again in {RETRY_AFTER_SECONDS} seconds");
    let mut response = match asked {
        Asked::Api => api::unavailable(again),
        Asked::Zipkin => (StatusCode::SERVICE_UNAVAILABLE, again).into_response(),
        Asked::Page => {
            let text = format!("Sorry, {why}. Please try again in a few seconds.");
            layout::failure(
                StatusCode::SERVICE_UNAVAILABLE,
                "The collector is busy",
                &text,
            )
        }
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

    fn few(unsent_bytes: usize) -> Reports {
        Reports::with(1, unsent_bytes, Budget::new(0))
    }

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
            .route("/api/v2/small", get(async || "small"))
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
        let (app, arrived, release) = app(few(1));
        let first = tokio::spawn({
            let app = app.clone();
            async move { ask(&app, "/slow").await }
        });
        arrived.notified().await;
        let text = refusal(ask(&app, "/api/small").await).await;
        assert!(text.contains("too many reports"), "{text}");
        assert!(text.starts_with("{\"error\":"), "{text}");
        let text = refusal(ask(&app, "/api/v2/small").await).await;
        assert!(text.starts_with("too many reports"), "{text}");
        let text = refusal(ask(&app, "/large").await).await;
        assert!(text.contains("<h1>The collector is busy</h1>"), "{text}");
        release.notify_one();
        assert_eq!(first.await.unwrap().status(), StatusCode::OK);
        assert_eq!(ask(&app, "/api/small").await.status(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_up_keeps_its_turn_until_its_report_is_made() {
        let (app, arrived, release) = app(few(1));
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
        let (narrow, ..) = app(few(1));
        let (app, ..) = app(few(2 * SMALL_BYTES));
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
