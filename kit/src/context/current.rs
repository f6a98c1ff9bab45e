//! The request that the running thread works for: set by `http` around every poll, read by `log`,
//! `trace` and the client layer. Independent of `tracing` spans, so no log filter can lose the ids.

use std::cell::RefCell;

use super::{RequestContext, SharedContext};

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

/// As [`current`], to look at only: no reference count is touched.
pub(crate) fn with_current<R>(look: impl FnOnce(Option<&RequestContext>) -> R) -> R {
    if CURRENT.try_with(|_| ()).is_err() {
        // The thread is being torn down.
        return look(None);
    }
    CURRENT.with(|current| look(current.borrow().as_deref()))
}

/// Makes a context current until dropped, then puts back what was there: also when a poll panics.
#[must_use = "the context is current only while this lives"]
pub(crate) struct Scoped<'a> {
    previous: Option<SharedContext>,
    /// Where a lent context goes back to.
    home: Option<&'a mut Option<SharedContext>>,
}

impl Scoped<'static> {
    pub(crate) fn enter(context: SharedContext) -> Self {
        Self {
            previous: swap(Some(context)),
            home: None,
        }
    }
}

impl<'a> Scoped<'a> {
    /// As [`enter`](Scoped::enter), with a context that moves in and back out: no reference count is
    /// touched, which matters for something that is polled often.
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

/// Hands back what it was given when the slot cannot be had: the thread is being torn down, or a value
/// that is just being logged polls a request of its own. Nobody reads the slot then.
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
    use crate::context::{RequestId, SpanId, TraceId};

    fn context() -> SharedContext {
        Arc::new(RequestContext {
            request_id: RequestId::generate(),
            trace_id: TraceId::random(),
            span_id: SpanId::random(),
            flags: 0,
            trace_state: None,
            baggage: None,
        })
    }

    fn seen() -> Option<RequestId> {
        let looked = with_current(|context| context.map(|context| context.request_id));
        assert_eq!(looked, current().map(|context| context.request_id));
        looked
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

    #[test]
    fn a_scope_entered_while_one_is_looked_at_changes_nothing() {
        let (outer, mut home) = (context(), Some(context()));
        let _outer = Scoped::enter(Arc::clone(&outer));
        with_current(|context| {
            let _inner = Scoped::lend(&mut home);
            assert_eq!(seen(), context.map(|context| context.request_id));
        });
        assert!(home.is_some());
        assert_eq!(seen(), Some(outer.request_id));
    }
}
