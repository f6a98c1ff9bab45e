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
///
/// The context moves in, and back out when the scope ends; meanwhile its home keeps what was there. So no reference
/// count is touched, which matters for something that is polled often.
#[must_use = "the context is current only while this lives"]
pub(crate) struct Scoped<'a>(&'a mut Option<SharedContext>);

impl<'a> Scoped<'a> {
    #[inline]
    pub(crate) fn lend(home: &'a mut Option<SharedContext>) -> Self {
        swap(home);
        Self(home)
    }
}

impl Drop for Scoped<'_> {
    #[inline]
    fn drop(&mut self) {
        swap(self.0);
    }
}

/// Nothing happens when the thread is being torn down: nobody reads the slot then.
#[inline]
fn swap(home: &mut Option<SharedContext>) {
    let _ = CURRENT.try_with(|current| {
        if let Ok(mut current) = current.try_borrow_mut() {
            std::mem::swap(&mut *current, home);
        }
    });
}

/// A scope that has its context itself, for tests.
#[cfg(test)]
#[must_use = "the context is current only while this lives"]
pub(crate) struct Entered(Option<SharedContext>);

#[cfg(test)]
impl Scoped<'static> {
    pub(crate) fn enter(context: SharedContext) -> Entered {
        let mut home = Some(context);
        swap(&mut home);
        Entered(home)
    }
}

#[cfg(test)]
impl Drop for Entered {
    fn drop(&mut self) {
        swap(&mut self.0);
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
