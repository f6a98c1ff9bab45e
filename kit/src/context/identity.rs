//! The identity that a `tracing` span carries: given by `span`, read by `log` and the client layer.

use tracing_subscriber::registry::{LookupSpan, Registry};

use super::{SharedContext, SpanId, current};
use crate::span;

/// Which request a span belongs to, and the span id that lines and calls inside it carry.
#[derive(Clone, Debug)]
pub(crate) struct SpanIdentity {
    pub(crate) context: SharedContext,
    pub(crate) span_id: SpanId,
}

impl SpanIdentity {
    /// Of the `tracing` span the running thread is in (or its nearest ancestor that has one), else of
    /// the current request's server span. The parent of a call that goes out now.
    pub(crate) fn nearest() -> Option<Self> {
        of_current_span().or_else(Self::of_request)
    }

    /// Of the request that the thread works for: its server span.
    pub(crate) fn of_request() -> Option<Self> {
        let context = current()?;
        Some(Self {
            span_id: context.span_id,
            context,
        })
    }
}

/// Looked up when asked for, not kept on every enter and exit: calls are rarer than polls.
fn of_current_span() -> Option<SpanIdentity> {
    let found = tracing::Span::current().with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        span.scope().find_map(|span| span::identity(&span))
    });
    found.flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::context::Scoped;
    use crate::context::testing::context;
    use crate::log::{Format, Logger};
    use crate::trace::{ExportConfig, SpanQueue};

    #[test]
    fn the_nearest_span_wins_over_the_request() {
        let (logger, _lines) = Logger::capture(Format::Json, "checkout");
        let spans = SpanQueue::new(&ExportConfig::default());
        let subscriber = Registry::default().with(span::layer(&logger, Some(spans.clone())));
        tracing::subscriber::with_default(subscriber, || {
            assert!(SpanIdentity::nearest().is_none());
            let before = tracing::info_span!("before").entered();
            let request = context();
            let _scope = Scoped::enter(Arc::clone(&request));
            assert_eq!(
                SpanIdentity::nearest().unwrap().span_id,
                request.span_id,
                "the span belongs to no request"
            );
            drop(before);
            tracing::info_span!("handler").in_scope(|| {
                let nearest = SpanIdentity::nearest().unwrap();
                assert_ne!(nearest.span_id, request.span_id);
                assert!(Arc::ptr_eq(&nearest.context, &request));
                tracing::info_span!("inner").in_scope(|| {
                    assert_ne!(SpanIdentity::nearest().unwrap().span_id, nearest.span_id);
                });
            });
            assert_eq!(SpanIdentity::nearest().unwrap().span_id, request.span_id);
        });
        assert_eq!(spans.drain().len(), 2);
    }
}
