//! What ends the collector: a signal, or a batch log that is broken. Awaited by `pipeline`.

use std::pin::pin;

use crate::log::BatchLog;

/// Waits for the signal to stop, for which `ask` asks when the log takes nothing any more: who starts the collector
/// again has it take spans again.
pub(super) async fn stopped(signal: impl Future<Output = ()>, log: &BatchLog, ask: impl FnOnce()) {
    let mut signal = pin!(signal);
    tokio::select! {
        () = &mut signal => {}
        () = log.broken() => {
            tracing::error!("the batch log is broken: the collector stops, to be started again");
            ask();
            signal.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;
    use crate::log::disk::broken_log;

    #[tokio::test]
    async fn a_broken_log_has_the_collector_stop() {
        let (ask, asked) = oneshot::channel();
        let log = broken_log().await;
        let stopped = stopped(async move { asked.await.unwrap() }, &log, || {
            ask.send(()).unwrap();
        });
        timeout(Duration::from_secs(20), stopped).await.unwrap();
        assert!(log.is_broken());
    }
}
