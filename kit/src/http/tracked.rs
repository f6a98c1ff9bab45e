//! The guard that carries an exchange from the request to the end of its response: whatever happens, the
//! exchange is settled exactly once, and user code is polled as part of its request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Sleep;

use super::exchange::Exchange;
use super::{Outcome, panic};
use crate::context::{Scoped, SharedContext};

/// An open exchange, or one that has settled. Dropped while open, it settles: nobody wants the rest.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    exchange: Option<Exchange>,
    /// Outlives the exchange: what user code does after the last byte still belongs to the request.
    context: Option<SharedContext>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Tracked {
    pub(super) fn begin(exchange: Exchange) -> Self {
        // Without a runtime there is no timer; what is polled by something else runs without time-out.
        let timeout = exchange
            .timeout_left()
            .filter(|_| tokio::runtime::Handle::try_current().is_ok());
        Self {
            context: Some(Arc::clone(&exchange.known.context)),
            exchange: Some(exchange),
            deadline: timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout))),
        }
    }

    /// The exchange while it is open.
    pub(super) fn open(&mut self) -> Option<&mut Exchange> {
        self.exchange.as_mut()
    }

    /// Runs user code with the request current on this thread. `None` when it panicked, which has been told then,
    /// and noted in the exchange.
    #[inline]
    pub(super) fn run<R>(&mut self, work: impl FnOnce() -> R) -> Option<R> {
        // Left here by the code itself: what handlers make is large, and moved often enough.
        let mut made = None;
        let scope = Scoped::lend(&mut self.context);
        let done = panic::catch(|| made = Some(work()));
        drop(scope);
        if let Err(message) = done {
            self.note(message);
        }
        made
    }

    #[cold]
    fn note(&mut self, message: String) {
        if let Some(exchange) = &mut self.exchange {
            exchange.known.error = Some(message);
        }
    }

    /// Ready when the request's time is up; the response's last byte stops the clock.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.deadline {
            Some(deadline) if self.exchange.is_some() => deadline.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }

    /// Settles the exchange unless it already has.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        if let Some(exchange) = self.exchange.take() {
            exchange.settle(outcome);
        }
    }

    /// As [`settle`](Self::settle), for a request answered to its last byte.
    pub(super) fn complete(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            let outcome = exchange.known.complete();
            exchange.settle(outcome);
        }
    }

    /// Lets the exchange vanish without a trace.
    pub(super) fn forget(&mut self) {
        self.exchange = None;
        self.deadline = None;
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        // A panic that passes through here came from a layer outside of ours.
        let outcome = if std::thread::panicking() {
            Outcome::Panic
        } else {
            exchange.abandoned()
        };
        exchange.settle(outcome);
    }
}
