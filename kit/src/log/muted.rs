//! Finds out, when `kit` starts beside a service's own subscriber, whether that hides the lines of requests
//! although the kit's filter shows them, and says so past every filter.

use tracing::{Dispatch, Level, dispatcher};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, Registry};

use super::clock;
use super::format::{Head, Message};
use super::logger::TARGET;
use super::value::Value;
use super::{Logger, request_line};
use crate::span;

impl Logger {
    /// Warns when the subscriber in force hides what `filter`, the kit's own, shows. Written directly: the
    /// event of a warning would be hidden as well.
    pub(crate) fn warn_if_muted(&self, filter: &str) {
        if !self.is_muted(filter) {
            return;
        }
        let head = Head {
            at: clock::now(),
            level: Level::WARN,
            target: TARGET,
            message: Message::Text(
                "the lines of requests are hidden although the kit's own filter shows them: another layer's \
                 filter is in force for all layers, or the layer of `KitBuilder::log_layer` was not installed \
                 before `start()`; give a filter to the layer that it is meant for: \
                 `.with(fmt::layer().with_filter(EnvFilter::from_default_env()))`",
            ),
            ids: None,
        };
        self.write(&head, |line| line.field("filter", &Value::Text(filter)));
    }

    fn is_muted(&self, filter: &str) -> bool {
        if request_line::is_info_shown() {
            return false;
        }
        let alone =
            Registry::default().with(span::layer(self, None).with_filter(EnvFilter::new(filter)));
        let shown_alone =
            dispatcher::with_default(&Dispatch::new(alone), request_line::is_info_shown);
        // Otherwise call sites would go on asking for this subscriber's sake.
        tracing::callsite::rebuild_interest_cache();
        shown_alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Format;

    /// What the logger says of `subscriber`, made around its layer, when the kit's filter is `own`.
    fn said<S>(own: &str, subscriber: impl FnOnce(&Logger) -> S) -> Vec<serde_json::Value>
    where
        S: tracing::Subscriber + Send + Sync + 'static,
    {
        let (logger, captured) = Logger::capture(Format::Json, "orders");
        let subscriber = subscriber(&logger);
        dispatcher::with_default(&Dispatch::new(subscriber), || logger.warn_if_muted(own));
        captured.json()
    }

    #[test]
    fn a_filter_for_all_layers_is_told_of() {
        for filter in ["error", "off", "info,bellwether=warn"] {
            let lines = said("info", |logger| {
                Registry::default()
                    .with(span::layer(logger, None).with_filter(EnvFilter::new("info")))
                    .with(EnvFilter::new(filter))
            });
            assert_eq!(lines.len(), 1, "{filter}");
            assert_eq!(lines[0]["level"], "WARN");
            assert_eq!(lines[0]["filter"], "info");
            let message = lines[0]["message"].as_str().unwrap();
            assert!(message.contains("log_layer") && message.contains("with_filter"));
        }
    }

    #[test]
    fn a_layer_that_was_not_installed_is_told_of() {
        assert_eq!(said("info", |_| Registry::default()).len(), 1);
    }

    #[test]
    fn what_the_kits_own_filter_hides_is_no_surprise() {
        let lines = said("warn", |logger| {
            Registry::default()
                .with(span::layer(logger, None).with_filter(EnvFilter::new("warn")))
                .with(EnvFilter::new("error"))
        });
        assert!(lines.is_empty(), "{lines:?}");
    }

    #[test]
    fn a_filter_of_another_layer_alone_hides_nothing() {
        let lines = said("info", |logger| {
            let other = span::layer(&Logger::capture(Format::Json, "other").0, None);
            Registry::default()
                .with(span::layer(logger, None).with_filter(EnvFilter::new("info")))
                .with(other.with_filter(EnvFilter::new("error")))
        });
        assert!(lines.is_empty(), "{lines:?}");
    }
}
