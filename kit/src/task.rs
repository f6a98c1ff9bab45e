//! Work that a handler starts elsewhere and that still belongs to its request: spawned tasks, blocking work,
//! any future. Called by services; the request path itself polls handlers by `http::tracked`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;
use tracing::Span;
use tracing::instrument::{Instrument, Instrumented};

use crate::context::{Scoped, SharedContext, current};

/// Spawns a task that belongs to the request whose handler spawns it: its lines have the request's ids and the
/// fields of the spans around the call, its spans and outgoing calls are part of the request's trace.
///
/// The request does not wait for the task; lines that come after the closing one have its ids all the same.
/// Outside of a request it is [`tokio::spawn`] within the current span.
///
/// ```
/// async fn handler() {
///     bellwether::spawn(async {
///         tracing::info!("mail sent"); // has the handler's request_id and trace_id
///     });
/// }
/// ```
///
/// # Panics
///
/// Outside of a tokio runtime, as [`tokio::spawn`] does.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(in_request(future))
}

/// Runs blocking work as part of the request whose handler starts it; else as [`tokio::task::spawn_blocking`].
///
/// # Panics
///
/// Outside of a tokio runtime, as [`tokio::task::spawn_blocking`] does.
pub fn spawn_blocking<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let mut request = current();
    let span = Span::current();
    tokio::task::spawn_blocking(move || {
        let _request = Scoped::lend(&mut request);
        span.in_scope(work)
    })
}

/// Makes a future part of the request in which this is called, wherever it is polled then: for `JoinSet::spawn`,
/// channels of futures and executors other than tokio.
pub fn in_request<F: Future>(future: F) -> InRequest<F> {
    InRequest {
        request: current(),
        future: Some(future.in_current_span()),
    }
}

/// Makes a callback part of the request in which this is called: for what calls back on a task of its own, such as
/// axum's `WebSocketUpgrade::on_upgrade`.
///
/// ```
/// # struct WebSocket;
/// # struct WebSocketUpgrade;
/// # impl WebSocketUpgrade { fn on_upgrade<F: Future + Send>(self, callback: impl FnOnce(WebSocket) -> F + Send) {} }
/// async fn handler(upgrade: WebSocketUpgrade) {
///     upgrade.on_upgrade(bellwether::in_request_with(chat))
/// }
///
/// async fn chat(socket: WebSocket) {
///     tracing::info!("hello"); // has the handler's request_id and trace_id
/// #   drop(socket);
/// }
/// ```
pub fn in_request_with<T, F, Fut>(callback: F) -> impl FnOnce(T) -> InRequest<Fut>
where
    F: FnOnce(T) -> Fut,
    Fut: Future,
{
    let mut request = current();
    let span = Span::current();
    move |argument| {
        let _request = Scoped::lend(&mut request);
        let future = span.in_scope(|| callback(argument).in_current_span());
        InRequest {
            request: current(),
            future: Some(future),
        }
    }
}

pin_project! {
    /// The future made by [`in_request`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct InRequest<F> {
        request: Option<SharedContext>,
        // `None` once it is ready.
        #[pin]
        future: Option<Instrumented<F>>,
    }

    impl<F> PinnedDrop for InRequest<F> {
        fn drop(this: Pin<&mut Self>) {
            // What a future that is given up drops, it drops as part of its request, as a handler does.
            let mut this = this.project();
            let _request = Scoped::lend(this.request);
            this.future.set(None);
        }
    }
}

impl<F: Future> Future for InRequest<F> {
    type Output = F::Output;

    /// Pending for ever once it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let _request = Scoped::lend(this.request);
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let output = ready!(future.poll(cx));
        this.future.set(None);
        Poll::Ready(output)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::context::RequestId;
    use crate::context::testing::context;

    fn seen() -> Option<RequestId> {
        current().map(|context| context.request_id)
    }

    #[tokio::test]
    async fn tasks_and_blocking_work_belong_to_the_request_that_starts_them() {
        let request = context();
        let (task, blocking, future) = {
            let _scope = Scoped::enter(Arc::clone(&request));
            let twice = async {
                let first = seen();
                tokio::task::yield_now().await;
                (first, seen())
            };
            (
                spawn(twice),
                spawn_blocking(seen),
                in_request(async { seen() }),
            )
        };
        let id = Some(request.request_id);
        assert_eq!(task.await.unwrap(), (id, id));
        assert_eq!(blocking.await.unwrap(), id);
        assert_eq!(tokio::spawn(future).await.unwrap(), id);
        assert_eq!(seen(), None);
    }

    #[tokio::test]
    async fn a_callback_belongs_to_the_request_that_hands_it_out() {
        let request = context();
        let callback = {
            let _scope = Scoped::enter(Arc::clone(&request));
            in_request_with(|number: u64| {
                let when_called = seen();
                async move { (number, when_called, seen()) }
            })
        };
        let id = Some(request.request_id);
        let called = tokio::spawn(async move { callback(7).await });
        assert_eq!(called.await.unwrap(), (7, id, id));
        assert_eq!(seen(), None);
    }

    #[tokio::test]
    async fn work_started_outside_belongs_to_no_request_wherever_it_is_polled() {
        let future = in_request(async { seen() });
        let _scope = Scoped::enter(context());
        assert_eq!(future.await, None);
        assert!(seen().is_some());
    }

    #[test]
    fn a_future_that_is_given_up_ends_as_part_of_its_request() {
        struct Tells(std::sync::mpsc::Sender<Option<RequestId>>);
        impl Drop for Tells {
            fn drop(&mut self) {
                let _ = self.0.send(seen());
            }
        }
        let (told, dropped) = std::sync::mpsc::channel();
        let request = context();
        let future = {
            let _scope = Scoped::enter(Arc::clone(&request));
            let tells = Tells(told);
            in_request(async move {
                std::future::pending::<()>().await;
                drop(tells);
            })
        };
        drop(future);
        assert_eq!(dropped.recv(), Ok(Some(request.request_id)));
    }
}
