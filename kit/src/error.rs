//! The one error type of the public API; every variant says what happened and what to do.

use std::fmt;

/// What can go wrong while a kit starts, serves or stops.
///
/// `Debug` shows the same text as `Display`: a `main` that returns a `Result` prints its error by `Debug`,
/// and who starts the service should then read what to do, not the name of a variant.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One or more `BELLWETHER_*` variables (or `PORT`) could not be read, or what they and the builder
    /// ask for does not fit together. All faults at once.
    #[error("invalid configuration:\n{}", .0.join("\n"))]
    Config(Vec<String>),
    /// A global `tracing` subscriber is already set.
    #[error(
        "a global tracing subscriber is already set, so the kit cannot set its own: drop the other (such as \
         `tracing_subscriber::fmt::init()`), or build it with the layer of `KitBuilder::log_layer` before \
         `start()`: `let (kit, layer) = Kit::from_env(\"orders\")?.log_layer()?; \
         tracing_subscriber::registry().with(layer).init(); let kit = kit.start()?;`"
    )]
    SubscriberAlreadySet,
    /// A health check name was used twice.
    #[error("health check {0:?} is registered twice; give each check its own name")]
    DuplicateCheck(String),
    /// Health checks or the admin address need a tokio runtime, and `start()` was called outside one.
    #[error(
        "{needed_by} need a tokio runtime; call `start()` within one, for instance in `#[tokio::main]`"
    )]
    NoRuntime {
        /// What needs it.
        needed_by: &'static str,
    },
    /// An address could not be bound.
    #[error("cannot listen on {address} ({source}); choose another address or stop what uses it")]
    Bind {
        /// The address asked for.
        address: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The server failed while accepting or serving connections.
    #[error("serving failed: {0}")]
    Serve(#[source] std::io::Error),
    /// A background thread (log sink, span exporter, saturation) could not be started.
    #[error("cannot start the {thread} thread: {source}")]
    Thread {
        /// Which thread.
        thread: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_main_prints_is_the_text_for_people() {
        fn check(error: Error, parts: &[&str]) {
            // As the standard library's `Termination` does.
            let printed = format!("Error: {:?}", Box::<dyn std::error::Error>::from(error));
            for part in parts {
                assert!(printed.contains(part), "{part}: {printed}");
            }
            assert!(!printed.contains("SubscriberAlreadySet") && !printed.contains("Config("));
        }
        let faults = [
            "PORT=\"x\": must be a port number",
            "BELLWETHER_GRACE=\"1\"",
        ];
        check(
            Error::Config(faults.map(str::to_owned).into()),
            &[
                "invalid configuration:\nPORT=\"x\": must be",
                "\nBELLWETHER_GRACE=\"1\"",
            ],
        );
        check(
            Error::SubscriberAlreadySet,
            &[
                "fmt::init()",
                "KitBuilder::log_layer",
                ".with(layer).init()",
            ],
        );
    }
}
