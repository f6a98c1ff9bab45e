//! The body of a response: passes frames through, counts them, and settles the exchange when the last one
//! is out, the body fails, or nobody wants the rest.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::exchange::Exchange;
use super::text::clip;
use super::tracked::Tracked;
use super::{BoxError, Outcome, grpc};

pin_project! {
    /// The response body of [`HttpService`](super::HttpService): that of the inner service, or a short
    /// JSON text when the kit answers itself. Frames and trailers pass through unchanged.
    pub struct ResponseBody<B> {
        #[pin]
        source: Source<B>,
        tracked: Tracked,
    }

    impl<B> PinnedDrop for ResponseBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if !matches!(*this.source, Source::Ended) {
                let _ = this.tracked.run(|| this.source.set(Source::Ended));
            }
        }
    }
}

pin_project! {
    #[project = SourceProjection]
    enum Source<B> {
        Inner { #[pin] body: B },
        Own { text: Bytes },
        Ended,
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn new(tracked: Tracked, body: B) -> Self {
        Self {
            source: Source::Inner { body },
            tracked,
        }
    }

    pub(super) fn own(text: Bytes) -> Self {
        Self {
            source: Source::Own { text },
            tracked: Tracked::default(),
        }
    }

    pub(super) fn empty() -> Self {
        Self {
            source: Source::Ended,
            tracked: Tracked::default(),
        }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let tracked = this.tracked;
        let mut body = match this.source.as_mut().project() {
            SourceProjection::Ended => return Poll::Ready(None),
            SourceProjection::Own { text } => {
                let text = std::mem::take(text);
                this.source.set(Source::Ended);
                return Poll::Ready(Some(Ok(Frame::data(text))));
            }
            SourceProjection::Inner { body } => body,
        };
        let (outcome, error) = if tracked.poll_deadline(cx).is_ready() {
            (
                Outcome::Timeout,
                BoxError::from("the request took too long"),
            )
        } else {
            match tracked.run(|| body.as_mut().poll_frame(cx)) {
                Some(Poll::Pending) => return Poll::Pending,
                Some(Poll::Ready(None)) => {
                    tracked.complete();
                    return Poll::Ready(None);
                }
                Some(Poll::Ready(Some(Ok(frame)))) => {
                    let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                    let ended = body.is_end_stream();
                    passed(tracked, &frame, ended);
                    // By its own word there is nothing more: not to be asked again, whoever polls on.
                    if ended {
                        let _ = tracked.run(|| this.source.set(Source::Ended));
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Poll::Ready(Some(Err(error)))) => (Outcome::BodyError, error.into()),
                None => (Outcome::Panic, BoxError::from("the response body panicked")),
            }
        };
        if outcome == Outcome::BodyError
            && let Some(text) = tracked.run(|| error.to_string())
            && let Some(exchange) = tracked.open()
        {
            exchange.known.error = Some(clip(&text).to_owned());
        }
        let _ = tracked.run(|| this.source.set(Source::Ended));
        let is_rpc = tracked
            .open()
            .is_some_and(|exchange| exchange.known.rpc.is_some());
        tracked.settle(outcome);
        // A gRPC caller is told why its stream ends.
        let trailers = is_rpc.then(|| grpc::trailers(outcome)).flatten();
        Poll::Ready(Some(trailers.map(Frame::trailers).ok_or(error)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Inner { body } => body.is_end_stream(),
            Source::Own { text } => text.is_empty(),
            Source::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Inner { body } => body.size_hint(),
            Source::Own { text } => SizeHint::with_exact(text.len() as u64),
            Source::Ended => SizeHint::with_exact(0),
        }
    }
}

/// A body that says it has ended, or that is of known length and all out, is not polled again.
fn passed(tracked: &mut Tracked, frame: &Frame<Bytes>, ended: bool) {
    let Some(Exchange { known, .. }) = tracked.open() else {
        return;
    };
    if let Some(data) = frame.data_ref() {
        known.sent(data.len() as u64);
    } else if let Some(trailers) = frame.trailers_ref() {
        known.read_status(trailers);
    }
    if ended || frame.is_trailers() || known.all_sent() {
        tracked.complete();
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}
