//! The future of a response: polls the handler as part of its request, and answers in its place when it
//! panics or runs out of time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::{Response, StatusCode};
use pin_project_lite::pin_project;

use super::error_body::Answer;
use super::tracked::Tracked;
use super::{NotTraffic, Outcome, ResponseBody};

pin_project! {
    /// The future made by [`HttpService`](super::HttpService).
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
        tracked: Tracked,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            // What the handler's own drops log belongs to the request, before its closing line.
            let mut this = this.project();
            if !matches!(*this.state, State::Done) {
                let _ = this.tracked.run(|| this.state.set(State::Done));
            }
        }
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProjection]
    enum State<F> {
        Running { #[pin] future: F },
        Answered { answer: Answer },
        Done,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(tracked: Tracked, future: F) -> Self {
        Self {
            state: State::Running { future },
            tracked,
        }
    }

    pub(super) fn answer(tracked: Tracked, answer: Answer) -> Self {
        Self {
            state: State::Answered { answer },
            tracked,
        }
    }
}

impl<F, RB, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<RB>, E>>,
    RB: http_body::Body,
{
    type Output = Result<Response<ResponseBody<RB>>, E>;

    /// Pending for ever once it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let finished = match this.state.as_mut().project() {
            StateProjection::Done => return Poll::Pending,
            StateProjection::Answered { answer } => Err(*answer),
            StateProjection::Running { future } => match this.tracked.run(|| future.poll(cx)) {
                Ok(Poll::Ready(result)) => Ok(result),
                Err(_) => Err(Answer::Panic),
                Ok(Poll::Pending) => match this.tracked.poll_deadline(cx) {
                    Poll::Ready(()) => Err(Answer::Timeout),
                    Poll::Pending => return Poll::Pending,
                },
            },
        };
        // The handler is dropped as part of its request; a panic in there changes nothing any more.
        let _ = this.tracked.run(|| this.state.set(State::Done));
        let tracked = std::mem::take(this.tracked);
        Poll::Ready(match finished {
            Ok(Ok(response)) => Ok(respond(tracked, response)),
            Ok(Err(error)) => {
                fail(tracked);
                Err(error)
            }
            Err(answer) => Ok(respond_in_place(tracked, answer)),
        })
    }
}

fn respond<RB: http_body::Body>(
    mut tracked: Tracked,
    response: Response<RB>,
) -> Response<ResponseBody<RB>> {
    let (mut parts, body) = response.into_parts();
    if parts.extensions.get::<NotTraffic>().is_some() {
        tracked.forget();
    }
    let mut outcome = None;
    if let Some(exchange) = tracked.open() {
        exchange.head(parts.status, &mut parts.headers);
        let known = &mut exchange.known;
        outcome = known.outcome_at_head(parts.status, &parts.headers, &body);
    }
    if let Some(outcome) = outcome {
        tracked.settle(outcome);
    }
    Response::from_parts(parts, ResponseBody::new(tracked, body))
}

/// The inner service failed without a response: its server will close the connection.
fn fail(mut tracked: Tracked) {
    tracked.settle(Outcome::Error);
}

/// Settled at once: how the request ended is known, whatever becomes of the few bytes that tell it.
fn respond_in_place<RB>(mut tracked: Tracked, answer: Answer) -> Response<ResponseBody<RB>> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = answer.status();
    if let Some(exchange) = tracked
        .open()
        .filter(|exchange| exchange.known.rpc.is_some())
    {
        *response.status_mut() = StatusCode::OK;
        answer.write_grpc_headers(response.headers_mut());
        exchange.head(StatusCode::OK, response.headers_mut());
    } else if let Some(exchange) = tracked.open() {
        let body = answer.body(&exchange.known.context.request_id);
        answer.write_headers(response.headers_mut());
        exchange.head(answer.status(), response.headers_mut());
        exchange.known.sent(body.len() as u64);
        *response.body_mut() = ResponseBody::own(body);
    }
    tracked.settle(answer.outcome());
    response
}
