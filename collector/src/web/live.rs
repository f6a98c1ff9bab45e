//! `GET /events`: server-sent events that say the window has moved. The script then fetches its page anew.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::WatchStream;

use super::Web;

/// Open streams at a time; a browser tab holds one.
const MAX_STREAMS: usize = 128;
/// A comment this often keeps proxies from closing a silent stream, and finds readers that are gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the router's handlers share.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    web: Web,
    streams: Arc<Semaphore>,
}

impl Pages {
    pub(super) fn new(web: Web) -> Self {
        Self {
            web,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        }
    }
}

impl FromRef<Pages> for Web {
    fn from_ref(pages: &Pages) -> Self {
        pages.web.clone()
    }
}

/// The version of the window a page is made from: the stream's events carry the same number.
pub(super) fn version(web: &Web) -> u64 {
    *web.views.subscribe().borrow()
}

/// One event now and one whenever the window moves. A reader that lags skips versions: each event only
/// says which is the newest.
pub(super) async fn events(State(pages): State<Pages>) -> Response {
    let Ok(permit) = Arc::clone(&pages.streams).try_acquire_owned() else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "10")],
            format!("too many live pages: at most {MAX_STREAMS} are served at a time\n"),
        )
            .into_response();
    };
    let mut closing = pages.web.closing.clone();
    let closed = async move {
        // Without a sender nobody can tell of the end any more, so only the connection ends the stream.
        if closing.wait_for(|closing| *closing).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let moved = WatchStream::new(pages.web.views.subscribe())
        .take_until(closed)
        .map(move |version| {
            let _held_while_streaming = &permit;
            Ok::<_, Infallible>(Event::default().event("window").data(version.to_string()))
        });
    Sse::new(moved)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}
