//! What a service wants done around its drain: registered through `Kit::on_drain` and `Kit::on_stop`, run by
//! `shutdown` and `Kit::finish`.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

/// What a hook may end with: nothing, or a `Result` whose error is told.
pub trait HookResult: sealed::Sealed {}

impl HookResult for () {}
impl<E: fmt::Display> HookResult for Result<(), E> {}

mod sealed {
    use std::fmt::Display;

    pub trait Sealed {
        fn into_failure(self) -> Option<String>;
    }

    impl Sealed for () {
        fn into_failure(self) -> Option<String> {
            None
        }
    }

    impl<E: Display> Sealed for Result<(), E> {
        fn into_failure(self) -> Option<String> {
            self.err().map(|error| error.to_string())
        }
    }
}

/// The hooks of one moment: all at once, each exactly once. Clones share them.
#[derive(Clone)]
pub(super) struct Hooks(Arc<Shared>);

struct Shared {
    /// The moment, as lines name it.
    moment: &'static str,
    /// `None` once they have been started.
    waiting: Mutex<Option<Vec<Hook>>>,
    done: watch::Sender<bool>,
}

struct Hook {
    name: String,
    run: Pin<Box<dyn Future<Output = Option<String>> + Send>>,
}

impl Hooks {
    pub(super) fn new(moment: &'static str) -> Self {
        Self(Arc::new(Shared {
            moment,
            waiting: Mutex::new(Some(Vec::new())),
            done: watch::Sender::new(false),
        }))
    }

    /// Has `hook` run when the moment comes; when it has passed already, that is told.
    pub(super) fn add<R: HookResult>(
        &self,
        name: String,
        hook: impl Future<Output = R> + Send + 'static,
    ) {
        let mut waiting = self
            .0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match waiting.as_mut() {
            Some(waiting) => waiting.push(Hook {
                name,
                run: Box::pin(async move { hook.await.into_failure() }),
            }),
            None => tracing::warn!(
                target: "bellwether::serve",
                hook = name,
                moment = self.0.moment,
                "the hook came too late and is not run: register it before the shutdown begins"
            ),
        }
    }

    /// Whether there is nothing left to start.
    pub(super) fn is_empty(&self) -> bool {
        let waiting = self
            .0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        waiting.as_ref().is_none_or(Vec::is_empty)
    }

    /// Runs them, whoever asks first, and resolves once all have ended or `until` has come.
    pub(super) async fn run(&self, until: Instant) {
        let taken = self
            .0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match taken {
            Some(hooks) if hooks.is_empty() => {
                self.0.done.send_replace(true);
            }
            // In a task: whoever asked first may give up waiting, others go on.
            Some(hooks) => {
                tokio::spawn(run_all(Arc::clone(&self.0), hooks, until));
            }
            None => {}
        }
        let mut done = self.0.done.subscribe();
        // Cannot fail: `self` holds the sender.
        let _ = done.wait_for(|done| *done).await;
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hooks").field(&self.0.moment).finish()
    }
}

async fn run_all(shared: Arc<Shared>, hooks: Vec<Hook>, until: Instant) {
    let mut running = JoinSet::new();
    for hook in hooks {
        running.spawn(run_one(hook, shared.moment, until));
    }
    // Each ends by itself: at its end, its panic or its deadline.
    while running.join_next().await.is_some() {}
    shared.done.send_replace(true);
}

async fn run_one(hook: Hook, moment: &'static str, until: Instant) {
    let began = Instant::now();
    // A task of its own: a panic stays in it, and one that blocks its thread cannot stop the clock.
    let mut run = JoinSet::new();
    run.spawn(hook.run);
    let failure = match timeout_at(until, run.join_next()).await {
        Ok(Some(Ok(failure))) => failure,
        Ok(Some(Err(error))) => Some(panic_text(error)),
        Ok(None) => Some("did not run".to_owned()),
        Err(_) => Some("its time was up".to_owned()),
    };
    let (hook, duration_seconds) = (hook.name, began.elapsed().as_secs_f64());
    match failure {
        None => {
            tracing::info!(target: "bellwether::serve", hook, moment, duration_seconds, "hook done");
        }
        Some(error) => {
            tracing::warn!(target: "bellwether::serve", hook, moment, duration_seconds, error, "hook failed");
        }
    }
}

fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "cancelled".to_owned();
    };
    let payload: &(dyn Any + Send) = panic.as_ref();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    fn later(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn each_runs_once_whoever_asks() {
        let runs = Arc::new(AtomicU32::new(0));
        let hooks = Hooks::new("drain");
        assert!(hooks.is_empty());
        for name in ["one", "two"] {
            let runs = Arc::clone(&runs);
            hooks.add(name.to_owned(), async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                runs.fetch_add(1, Ordering::Relaxed);
            });
        }
        assert!(!hooks.is_empty());
        let began = Instant::now();
        tokio::join!(hooks.run(later(9)), hooks.run(later(9)));
        hooks.run(later(9)).await;
        assert_eq!(runs.load(Ordering::Relaxed), 2);
        // Both at once, not one after the other.
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        assert!(hooks.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_or_hangs_holds_no_other_up() {
        let done = Arc::new(AtomicU32::new(0));
        let hooks = Hooks::new("stop");
        hooks.add("hangs".to_owned(), std::future::pending::<()>());
        hooks.add("fails".to_owned(), async { Err("refused") });
        hooks.add("panics".to_owned(), async { panic!("no luck") as () });
        let counted = Arc::clone(&done);
        hooks.add("works".to_owned(), async move {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<(), String>(())
        });
        let began = Instant::now();
        hooks.run(later(3)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_stops_no_hook() {
        let hooks = Hooks::new("drain");
        hooks.add(
            "slow".to_owned(),
            tokio::time::sleep(Duration::from_secs(2)),
        );
        let impatient = tokio::time::timeout(Duration::from_secs(1), hooks.run(later(9)));
        assert!(impatient.await.is_err());
        let began = Instant::now();
        hooks.run(later(9)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }
}
