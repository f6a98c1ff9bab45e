//! The response body of an outgoing call: the call lasts as long as it does.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::OpenCall;

pin_project! {
    /// The response body of [`ClientService`](super::ClientService): the inner one, unchanged.
    #[derive(Debug)]
    pub struct ClientBody<B> {
        #[pin]
        inner: B,
        call: OpenCall,
    }
}

impl<B> ClientBody<B> {
    pub(super) fn new(call: OpenCall, inner: B) -> Self {
        Self { inner, call }
    }
}

impl<B: Body> Body for ClientBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        match &frame {
            None => this.call.complete(),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.call.read_status(trailers);
                }
                if frame.is_trailers() || this.inner.is_end_stream() {
                    this.call.complete();
                }
            }
            Some(Err(_)) => this.call.body_failed(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
