//! The future of an outgoing call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::Response;
use pin_project_lite::pin_project;

use super::{ClientBody, OpenCall};

pin_project! {
    /// The future made by [`ClientService`](super::ClientService).
    #[derive(Debug)]
    pub struct ClientFuture<F> {
        #[pin]
        inner: F,
        call: OpenCall,
    }
}

impl<F> ClientFuture<F> {
    pub(super) fn new(call: OpenCall, inner: F) -> Self {
        Self { inner, call }
    }
}

impl<F, RB, E> Future for ClientFuture<F>
where
    F: Future<Output = Result<Response<RB>, E>>,
    RB: http_body::Body,
    E: fmt::Display + 'static,
{
    type Output = Result<Response<ClientBody<RB>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match ready!(this.inner.poll(cx)) {
            Ok(response) => response,
            Err(error) => {
                this.call.fail(&error);
                return Poll::Ready(Err(error));
            }
        };
        let (parts, body) = response.into_parts();
        let mut call = this.call.take();
        call.head(parts.status, &parts.headers);
        if body.is_end_stream() {
            call.complete();
        }
        let body = ClientBody::new(call, body);
        Poll::Ready(Ok(Response::from_parts(parts, body)))
    }
}
