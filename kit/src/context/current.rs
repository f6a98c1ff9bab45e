//! The request that the running thread works for: set by `http` around every poll, read by `log`,
//! `trace` and the client layer. Independent of `tracing` spans, so no log filter can lose the ids.

use std::cell::RefCell;

use super::SharedContext;

thread_local! {
    static CURRENT: RefCell<Option<SharedContext>> = const { RefCell::new(None) };
}

/// The context of the request being polled on this thread, if any, to keep.
pub(crate) fn current() -> Option<SharedContext> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// Calls `with` with the context of the request being polled on this thread, if there is one. Cheaper than
/// [`current`], for who does not keep it.
pub(crate) fn with_current<R>(with: impl FnOnce(&SharedContext) -> R) -> Option<R> {
    CURRENT
        .try_with(|current| current.borrow().as_ref().map(with))
        .ok()
        .flatten()
}

/// Makes a context current until dropped, then puts back what was there: also when a poll panics.
#[must_use = "the context is current only while this lives"]
pub(crate) struct Scoped<'a> {
    previous: Option<SharedContext>,
    /// Where a lent context goes back to.
    home: Option<&'a mut Option<SharedContext>>,
}

#[cfg(test)]
impl Scoped<'static> {
    /// A context for as long as the scope, for tests.
    pub(crate) fn enter(context: SharedContext) -> Self {
        Self {
            previous: swap(Some(context)),
            home: None,
        }
    }
}

impl<'a> Scoped<'a> {
    /// The context moves in, and back out when the scope ends: no reference count is touched, which
    /// matters for something that is polled often.
    pub(crate) fn lend(home: &'a mut Option<SharedContext>) -> Self {
        Self {
            previous: swap(home.take()),
            home: Some(home),
        }
    }
}

impl Drop for Scoped<'_> {
    fn drop(&mut self) {
        let entered = swap(self.previous.take());
        if let Some(home) = self.home.as_deref_mut() {
            *home = entered;
        }
    }
}

/// Hands back what it was given when the thread is being torn down: nobody reads the slot then.
fn swap(context: Option<SharedContext>) -> Option<SharedContext> {
    let mut context = context;
    let _ = CURRENT.try_with(|current| {
        if let Ok(mut current) = current.try_borrow_mut() {
            std::mem::swap(&mut *current, &mut context);
        }
    });
    context
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

    #[test]
    fn scopes_nest_and_put_back_what_was_there() {
        let (outer, inner) = (context(), context());
        assert_eq!(seen(), None);
        let mut home = Some(Arc::clone(&outer));
        {
            let _outer = Scoped::lend(&mut home);
            assert_eq!(seen(), Some(outer.request_id));
            {
                let _inner = Scoped::enter(Arc::clone(&inner));
                assert_eq!(seen(), Some(inner.request_id));
            }
            assert_eq!(seen(), Some(outer.request_id));
        }
        assert_eq!(seen(), None);
        assert!(home.is_some_and(|home| Arc::ptr_eq(&home, &outer)));
        assert_eq!(
            (Arc::strong_count(&outer), Arc::strong_count(&inner)),
            (1, 1)
        );
    }

    #[test]
    fn a_panic_puts_back_what_was_there() {
        let mut home = Some(context());
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _scope = Scoped::lend(&mut home);
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(caught.is_err() && home.is_some());
        assert_eq!(seen(), None);
    }
}
