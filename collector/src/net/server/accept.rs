//! Accepting: as many connections as the memory limit allows, and nobody holds a place by being slow to say who he is.
//! Called by `serve`.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::tell_panic;
use crate::episode::Episode;
use crate::net::seldom::Seldom;

/// When all places are taken, those give theirs up who have had this long and have not said who they are.
const PATIENCE: Duration = Duration::from_secs(1);

/// Set once a connection's peer is known: by its certificate, else by its first request. Until then it may have to give its
/// place to another.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<AtomicBool>);

impl Known {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Accepts for ever, each connection served by a task of its own.
pub(super) async fn accept<F>(
    listener: &TcpListener,
    connections: &mut JoinSet<()>,
    max_connections: usize,
    serve_one: impl Fn(TcpStream, SocketAddr, Known) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut places = Places::new(max_connections);
    let mut trouble = Trouble::default();
    loop {
        let Some(place) = places.next().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                trouble.over();
                let known = Known::default();
                let served = serve_one(stream, peer, known.clone());
                let task = connections.spawn(async move {
                    served.await;
                    drop(place);
                });
                places.begin(task, known);
            }
            Err(error) => trouble.pause(&error).await,
        }
        while let Some(done) = connections.try_join_next() {
            tell_panic(done);
        }
    }
}

/// The places for connections, and who has one without being known yet.
struct Places {
    free: Arc<Semaphore>,
    limit: usize,
    /// The oldest first; those that became known or are gone are taken out now and then.
    unknown: VecDeque<Unknown>,
    gave_way: Seldom,
    told_full: bool,
}

struct Unknown {
    task: AbortHandle,
    known: Known,
    since: Instant,
}

impl Places {
    fn new(limit: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
            unknown: VecDeque::new(),
            gave_way: Seldom::default(),
            told_full: false,
        }
    }

    fn begin(&mut self, task: AbortHandle, known: Known) {
        if self.unknown.len() >= self.limit {
            self.forget_known();
        }
        let since = Instant::now();
        self.unknown.push_back(Unknown { task, known, since });
    }

    fn forget_known(&mut self) {
        self.unknown
            .retain(|one| !one.known.is_set() && !one.task.is_finished());
    }

    /// The next free place; `None` only if there can never be one.
    async fn next(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        loop {
            self.forget_known();
            let due = self.unknown.front().map(|oldest| oldest.since + PATIENCE);
            if due.is_some_and(|due| due <= Instant::now()) {
                self.oldest_gives_way();
                return Arc::clone(&self.free).acquire_owned().await.ok();
            }
            if due.is_none() && !std::mem::replace(&mut self.told_full, true) {
                tracing::warn!(
                    connections = self.limit,
                    "as many connections are open as the memory limit allows: further ones wait; raise --memory-limit"
                );
            }
            let next_due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                place = Arc::clone(&self.free).acquire_owned() => return place.ok(),
                () = next_due => {}
            }
        }
    }

    fn oldest_gives_way(&mut self) {
        if let Some(oldest) = self.unknown.pop_front() {
            oldest.task.abort();
        }
        if let Some(connections) = self.gave_way.count() {
            tracing::warn!(
                connections,
                "all connections are in use: peers that sent no request in time, or did not shake hands, gave way to others"
            );
        }
    }
}

/// Accepts that fail, such as when the process has no file descriptor left: told once, waited out.
#[derive(Default)]
struct Trouble {
    episode: Episode,
    /// In a row.
    failures: u32,
}

impl Trouble {
    async fn pause(&mut self, error: &io::Error) {
        // These concern one peer that is already gone.
        let gone = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
        );
        if gone {
            return;
        }
        if self.episode.fails(std::time::Instant::now()) {
            tracing::warn!(%error, "cannot accept connections, trying again");
        }
        self.failures = self.failures.saturating_add(1);
        let wait = Duration::from_millis(10) * 2u32.saturating_pow(self.failures.min(7));
        tokio::time::sleep(wait.min(Duration::from_secs(1))).await;
    }

    fn over(&mut self) {
        self.failures = 0;
        self.episode.works();
        if self.episode.is_over(std::time::Instant::now()) {
            tracing::info!("accepting connections again");
        }
    }
}
