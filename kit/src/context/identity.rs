//! The identity a `tracing` span carries in its extensions: set by `trace`'s layer, read by `log` and the
//! client layer.

use tracing_subscriber::registry::{LookupSpan, Registry};

use super::{SharedContext, SpanId, current};

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
        of_current_span().or_else(|| {
            current().map(|context| Self {
                span_id: context.span_id,
                context,
            })
        })
    }
}

/// Looked up when asked for, not kept on every enter and exit: calls are rarer than polls.
fn of_current_span() -> Option<SpanIdentity> {
    let found = tracing::Span::current().with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        span.scope()
            .find_map(|span| span.extensions().get::<SpanIdentity>().cloned())
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

    #[test]
    fn the_nearest_span_wins_over_the_request() {
        let subscriber = Registry::default().with(tracing_subscriber::filter::LevelFilter::INFO);
        tracing::subscriber::with_default(subscriber, || {
            assert!(SpanIdentity::nearest().is_none());
            let request = context();
            let _scope = Scoped::enter(Arc::clone(&request));
            let outer = tracing::info_span!("outer").entered();
            assert_eq!(
                SpanIdentity::nearest().unwrap().span_id,
                request.span_id,
                "no span has an identity yet"
            );
            let span_id = SpanId::random();
            outer.with_subscriber(|(id, dispatch)| {
                let registry = dispatch.downcast_ref::<Registry>().unwrap();
                registry
                    .span(id)
                    .unwrap()
                    .extensions_mut()
                    .insert(SpanIdentity {
                        context: Arc::clone(&request),
                        span_id,
                    });
            });
            let _inner = tracing::info_span!("inner").entered();
            let nearest = SpanIdentity::nearest().unwrap();
            assert_eq!(nearest.span_id, span_id);
            assert!(Arc::ptr_eq(&nearest.context, &request));
        });
    }
}
