//! The request that the running thread works for: set by `http` around every poll, read by `log`,
//! `trace` and the client layer. Independent of `tracing` spans, so no log filter can lose the ids.

use std::cell::RefCell;

use super::SharedContext;

thread_local! {
    static CURRENT: RefCell<Option<SharedContext>> = const { RefCell::new(None) };
}

/// The context of the request being polled on this thread, if any.
pub(crate) fn current() -> Option<SharedContext> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// Makes `context` current until dropped, then puts back what was there: also when a poll panics.
pub(crate) struct Scoped {
    previous: Option<SharedContext>,
}

impl Scoped {
    pub(crate) fn enter(context: SharedContext) -> Self {
        let previous = CURRENT
            .try_with(|current| current.borrow_mut().replace(context))
            .ok()
            .flatten();
        Self { previous }
    }
}

impl Drop for Scoped {
    fn drop(&mut self) {
        let previous = self.previous.take();
        // Fails only while the thread is being torn down, when nobody reads it any more.
        let _ = CURRENT.try_with(|current| *current.borrow_mut() = previous);
    }
}
