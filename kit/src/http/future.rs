//! The future of a response: polls the handler as part of its request, and answers in its place when it
//! panics or runs out of time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

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
    /// Calls the handler as part of its request.
    pub(super) fn of_call<S, B>(tracked: Tracked, service: &mut S, request: Request<B>) -> Self
    where
        S: Service<Request<B>, Future = F>,
    {
        let mut this = Self::answered(tracked, Answer::Panic);
        let Self { state, tracked } = &mut this;
        // Taken from where it is: what a closure holds is moved each time that the closure is handed on.
        let mut request = Some(request);
        let _ = tracked.run(|| {
            if let Some(request) = request.take() {
                let future = service.call(request);
                *state = State::Running { future };
            }
        });
        this
    }

    pub(super) fn answered(tracked: Tracked, answer: Answer) -> Self {
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
        let finished = match &*this.state {
            State::Done => return Poll::Pending,
            State::Answered { answer } => Err(*answer),
            State::Running { .. } => {
                let mut output = None;
                let ran = this
                    .tracked
                    .run(|| this.state.as_mut().poll(cx, &mut output));
                match (output, ran) {
                    // A handler that panicked while it was dropped has answered all the same.
                    (Some(output), _) => Ok(output),
                    (None, None) => Err(Answer::Panic),
                    (None, Some(())) => match this.tracked.poll_deadline(cx) {
                        Poll::Ready(()) => Err(Answer::Timeout),
                        Poll::Pending => return Poll::Pending,
                    },
                }
            }
        };
        if finished.is_err() {
            // A panic in there changes nothing any more.
            let _ = this.tracked.run(|| this.state.set(State::Done));
        }
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

impl<F: Future> State<F> {
    /// Polls the handler, and drops it once it is ready: both as part of its request, which is entered once for the
    /// two. What it answered is kept even if the drop panics.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, output: &mut Option<F::Output>) {
        if let StateProjection::Running { future } = self.as_mut().project()
            && let Poll::Ready(ready) = future.poll(cx)
        {
            *output = Some(ready);
            self.set(Self::Done);
        }
    }
}

fn respond<RB: http_body::Body>(
    mut tracked: Tracked,
    mut response: Response<RB>,
) -> Response<ResponseBody<RB>> {
    if response.extensions().get::<NotTraffic>().is_some() {
        tracked.forget();
    }
    let status = response.status();
    let outcome = tracked.open().and_then(|exchange| {
        exchange.head(status, response.headers_mut());
        let known = &mut exchange.known;
        known.outcome_at_head(status, response.headers(), response.body())
    });
    if let Some(outcome) = outcome {
        tracked.settle(outcome);
    }
    response.map(|body| ResponseBody::new(tracked, body))
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
