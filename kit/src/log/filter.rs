//! The kit's filter: what is printed or recorded gets through, for `tracing-subscriber` as the filter of one
//! layer or of all. Installed by `kit`; `control` decides.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::control::Control;

/// Spans are let through as the filter in force says; events, when they are printed or recorded.
#[derive(Clone, Debug)]
pub(crate) struct LogFilter(Arc<Control>);

impl LogFilter {
    pub(crate) fn new(control: &Arc<Control>) -> Self {
        Self(Arc::clone(control))
    }
}

/// Both ways of filtering, which `tracing-subscriber` has two traits for, are the same.
macro_rules! filter {
    ($register:ident, $enabled:ident($context:ty)) => {
        fn $register(&self, metadata: &'static Metadata<'static>) -> Interest {
            self.0.register(metadata)
        }

        fn $enabled(&self, metadata: &Metadata<'_>, context: $context) -> bool {
            self.0.enabled(metadata, &context)
        }

        fn max_level_hint(&self) -> Option<LevelFilter> {
            Some(self.0.max_level())
        }

        fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
            if self.0.watches_spans() {
                self.0.printed().filter.on_new_span(attributes, id, context);
            }
        }

        fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
            if self.0.watches_spans() {
                self.0.printed().filter.on_record(id, values, context);
            }
        }

        fn on_enter(&self, id: &Id, context: Context<'_, S>) {
            if self.0.watches_spans() {
                self.0.printed().filter.on_enter(id, context);
            }
        }

        fn on_exit(&self, id: &Id, context: Context<'_, S>) {
            if self.0.watches_spans() {
                self.0.printed().filter.on_exit(id, context);
            }
        }

        fn on_close(&self, id: Id, context: Context<'_, S>) {
            if self.0.watches_spans() {
                self.0.printed().filter.on_close(id, context);
            }
        }
    };
}

impl<S> Layer<S> for LogFilter
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    filter!(register_callsite, enabled(Context<'_, S>));
}

impl<S> Filter<S> for LogFilter
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    filter!(callsite_enabled, enabled(&Context<'_, S>));
}
