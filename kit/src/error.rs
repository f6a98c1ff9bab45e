//! The one error type of the public API; every variant says what happened and what to do.

/// What can go wrong while a kit starts, serves or stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One or more `BELLWETHER_*` variables (or `PORT`) could not be read, or what they and the builder
    /// ask for does not fit together. All faults at once.
    #[error("invalid configuration:\n{}", .0.join("\n"))]
    Config(Vec<String>),
    /// A global `tracing` subscriber is already set.
    #[error(
        "a global tracing subscriber is already set; build it with the layer of \
         `Kit::builder(…).log_layer()` instead, then call `start()`"
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
    /// A background thread (log sink, span exporter) could not be started.
    #[error("cannot start the {thread} thread: {source}")]
    Thread {
        /// Which thread.
        thread: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}
