//! The wish to stop: who asked for it, how far it has got, how much time is left. Asked for by signals or
//! by `Kit::shutdown`; awaited by `serve` and by services that own their server.

mod hooks;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::health::{Lifecycle, State};
pub use hooks::HookResult;
use hooks::Hooks;

/// Of the grace, the part kept for the flush, and as much for the hooks before it: a fifth, at most this.
const MAX_FLUSH_SHARE: Duration = Duration::from_secs(5);

/// The longest grace and delay; beyond it moments could not be computed, and nobody waits that long.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// The shared wish; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lifecycle: Lifecycle,
    grace: Duration,
    delay: Duration,
    asked: watch::Sender<Asked>,
    watching: AtomicBool,
    /// Run when the drain begins.
    on_drain: Hooks,
    /// Run after the last request, before the flush.
    on_stop: Hooks,
}

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// When it was first asked for, and when accepting shall stop.
    first: Option<(Instant, Instant)>,
    signals: u32,
}

impl Shutdown {
    pub(crate) fn new(lifecycle: Lifecycle, grace: Duration, delay: Duration) -> Self {
        Self(Arc::new(Shared {
            lifecycle,
            grace: grace.min(LONGEST),
            delay: delay.min(LONGEST),
            asked: watch::Sender::new(Asked::default()),
            watching: AtomicBool::new(false),
            on_drain: Hooks::new("drain"),
            on_stop: Hooks::new("stop"),
        }))
    }

    pub(crate) fn on_drain<R: HookResult>(
        &self,
        name: String,
        hook: impl Future<Output = R> + Send + 'static,
    ) {
        self.0.on_drain.add(name, hook);
    }

    pub(crate) fn on_stop<R: HookResult>(
        &self,
        name: String,
        hook: impl Future<Output = R> + Send + 'static,
    ) {
        self.0.on_stop.add(name, hook);
    }

    pub(crate) fn lifecycle(&self) -> &Lifecycle {
        &self.0.lifecycle
    }

    /// Asks for the shutdown, with its delay; asking again changes nothing.
    pub(crate) fn ask(&self) {
        self.begin(self.0.delay, false);
    }

    /// Resolves once the shutdown has been asked for.
    pub(crate) async fn asked(&self) {
        self.wait(|asked| asked.first.is_some()).await;
    }

    /// Resolves when the server should stop accepting: the delay is over and the hooks of the drain have
    /// run, or a second signal came.
    pub(crate) async fn stop_accepting(&self) {
        self.asked().await;
        let Some((began, stop)) = self.0.asked.borrow().first else {
            return;
        };
        // A service that is still being deregistered is still being called; but requests need time, too.
        let hooks_until = stop
            .max(began + self.0.grace / 2)
            .min(self.drain_deadline());
        let looked_away = async {
            tokio::join!(
                tokio::time::sleep_until(stop),
                self.0.on_drain.run(hooks_until)
            )
        };
        tokio::select! {
            _ = looked_away => {}
            () = self.hurried() => {}
        }
    }

    /// Runs the hooks that are still to run once the last request is done, unless a second signal came.
    pub(crate) async fn stopped(&self) {
        let first = self.0.asked.borrow().first;
        let until = match first {
            Some((began, _)) => began + self.0.grace.saturating_sub(self.flush_share()),
            None => Instant::now() + self.flush_share(),
        };
        let hooks = async {
            // Those of the drain too, when nobody waited for its end: each hook is promised to run.
            self.0.on_drain.run(until).await;
            self.0.on_stop.run(until).await;
        };
        tokio::select! {
            biased;
            () = self.hurried() => {}
            () = hooks => {}
        }
    }

    /// Resolves when a second signal came: whoever sent it does not want to wait.
    pub(crate) async fn hurried(&self) {
        self.wait(|asked| asked.signals > 1).await;
    }

    pub(crate) fn is_hurried(&self) -> bool {
        self.0.asked.borrow().signals > 1
    }

    /// When requests still in flight are cut, so that the flush, and the hooks before it, have their share
    /// of the grace.
    pub(crate) fn drain_deadline(&self) -> Instant {
        let first = self.0.asked.borrow().first;
        let began = first.map_or_else(Instant::now, |(at, _)| at);
        let after = if self.0.on_stop.is_empty() {
            self.flush_share()
        } else {
            self.flush_share() * 2
        };
        began + self.0.grace.saturating_sub(after)
    }

    /// Resolves when what is still in flight is to be cut: its time is up, or a second signal came. From then on
    /// requests that are dropped settle as cut, not as if their callers had hung up.
    pub(crate) async fn cut(&self) {
        self.stop_accepting().await;
        tokio::select! {
            () = tokio::time::sleep_until(self.drain_deadline()) => {}
            () = self.hurried() => {}
        }
        self.0.lifecycle.advance(State::Cutting);
    }

    /// What is left of the grace; before anyone asked, the flush's share of it.
    pub(crate) fn left(&self) -> Duration {
        match self.0.asked.borrow().first {
            Some((at, _)) => (at + self.0.grace).saturating_duration_since(Instant::now()),
            None => self.flush_share(),
        }
    }

    /// Begins to listen for SIGTERM and SIGINT, once; must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// What the operating system said when it refused the handler.
    pub(crate) fn watch_signals(&self) -> io::Result<()> {
        if self.0.watching.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let signals = Signals::listen().inspect_err(|_| {
            self.0.watching.store(false, Ordering::Release);
        })?;
        let shutdown = self.clone();
        tokio::spawn(async move { signals.forward(&shutdown).await });
        Ok(())
    }

    /// The same for who can do without.
    pub(crate) fn heed_signals(&self) {
        if let Err(error) = self.watch_signals() {
            tracing::warn!(target: "bellwether::serve", %error, "cannot listen for signals");
        }
    }

    fn flush_share(&self) -> Duration {
        (self.0.grace / 5).min(MAX_FLUSH_SHARE)
    }

    async fn wait(&self, reached: impl FnMut(&Asked) -> bool) {
        let mut asked = self.0.asked.subscribe();
        // Cannot fail: `self` holds the sender.
        let _ = asked.wait_for(reached).await;
    }

    fn begin(&self, delay: Duration, by_signal: bool) {
        // Unready before anyone acts on the wish: probes must see it first.
        self.0.lifecycle.advance(State::Draining);
        let now = Instant::now();
        self.0.asked.send_modify(|asked| {
            asked.first.get_or_insert((now, now + delay));
            asked.signals += u32::from(by_signal);
        });
    }

    /// SIGTERM comes from an orchestrator, whose balancers need the delay to look away; SIGINT from a person
    /// at a terminal, who has none.
    fn signalled(&self, name: &'static str, delay: Duration) {
        self.begin(delay, true);
        if self.is_hurried() {
            tracing::warn!(target: "bellwether::serve", signal = name, "second signal: stopping at once");
        } else {
            tracing::info!(
                target: "bellwether::serve",
                signal = name,
                delay_seconds = delay.as_secs_f64(),
                grace_seconds = self.0.grace.as_secs_f64(),
                "draining"
            );
        }
    }
}

/// The signals that ask for a shutdown.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn forward(mut self, shutdown: &Shutdown) {
        loop {
            tokio::select! {
                Some(()) = self.terminate.recv() => shutdown.signalled("SIGTERM", shutdown.0.delay),
                Some(()) = self.interrupt.recv() => shutdown.signalled("SIGINT", Duration::ZERO),
                else => return,
            }
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on unix")]
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn forward(self, shutdown: &Shutdown) {
        while tokio::signal::ctrl_c().await.is_ok() {
            shutdown.signalled("Ctrl-C", Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);
    const DELAY: Duration = Duration::from_secs(3);

    fn shutdown() -> Shutdown {
        let lifecycle = Lifecycle::new();
        lifecycle.advance(State::Ready);
        Shutdown::new(lifecycle, GRACE, DELAY)
    }

    #[tokio::test(start_paused = true)]
    async fn asking_is_unready_at_once_and_stops_after_the_delay() {
        let shutdown = shutdown();
        let began = Instant::now();
        shutdown.ask();
        assert!(shutdown.lifecycle().is_draining());
        shutdown.asked().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        shutdown.stop_accepting().await;
        assert_eq!(began.elapsed(), DELAY);
        assert_eq!(shutdown.left(), GRACE - DELAY);
        assert_eq!(shutdown.drain_deadline(), began + Duration::from_secs(8));
    }

    #[tokio::test(start_paused = true)]
    async fn asking_twice_is_asking_once() {
        let shutdown = shutdown();
        let began = Instant::now();
        shutdown.ask();
        tokio::time::sleep(Duration::from_secs(1)).await;
        shutdown.ask();
        shutdown.stop_accepting().await;
        assert_eq!(began.elapsed(), DELAY);
        assert!(!shutdown.is_hurried());
    }

    #[tokio::test(start_paused = true)]
    async fn a_grace_without_end_is_a_long_one() {
        let shutdown = Shutdown::new(Lifecycle::new(), Duration::MAX, Duration::MAX);
        shutdown.ask();
        assert_eq!(shutdown.left(), LONGEST);
        assert!(shutdown.drain_deadline() > Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_hurries() {
        let shutdown = shutdown();
        let began = Instant::now();
        shutdown.signalled("SIGTERM", DELAY);
        assert!(!shutdown.is_hurried());
        shutdown.signalled("SIGTERM", DELAY);
        shutdown.hurried().await;
        shutdown.stop_accepting().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn accepting_goes_on_until_the_hooks_of_the_drain_have_run() {
        async fn check(hook: Duration, expected: Duration) {
            let shutdown = shutdown();
            shutdown.on_drain("deregister".to_owned(), tokio::time::sleep(hook));
            let began = Instant::now();
            shutdown.ask();
            shutdown.stop_accepting().await;
            assert_eq!(began.elapsed(), expected, "{hook:?}");
        }
        check(Duration::from_secs(1), DELAY).await;
        check(Duration::from_secs(4), Duration::from_secs(4)).await;
        check(Duration::from_secs(60), GRACE / 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn hooks_of_the_stop_have_a_share_of_the_grace() {
        let shutdown = shutdown();
        shutdown.on_stop("pool".to_owned(), std::future::pending::<()>());
        let began = Instant::now();
        shutdown.ask();
        assert_eq!(shutdown.drain_deadline(), began + Duration::from_secs(6));
        tokio::time::sleep_until(shutdown.drain_deadline()).await;
        shutdown.stopped().await;
        assert_eq!(began.elapsed(), Duration::from_secs(8));
        assert_eq!(shutdown.left(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_waits_for_no_hook() {
        let shutdown = shutdown();
        shutdown.on_drain("deregister".to_owned(), std::future::pending::<()>());
        shutdown.on_stop("pool".to_owned(), std::future::pending::<()>());
        let began = Instant::now();
        shutdown.signalled("SIGTERM", DELAY);
        shutdown.signalled("SIGTERM", DELAY);
        shutdown.stop_accepting().await;
        shutdown.stopped().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupt_skips_the_delay() {
        let shutdown = shutdown();
        let began = Instant::now();
        shutdown.signalled("SIGINT", Duration::ZERO);
        shutdown.stop_accepting().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(!shutdown.is_hurried());
    }
}
