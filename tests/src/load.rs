//! A load generator with an open loop: requests are due at a steady rate, whatever became of those before, over
//! connections that are kept. `hey` opens no loop and tells no request from another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// An answer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// An answer's head is shorter.
const MAX_HEAD: usize = 16 * 1024;

/// What to ask, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Whom.
    pub address: SocketAddr,
    /// For what, by GET.
    pub path: &'static str,
    /// Requests a second.
    pub rate: u32,
    /// Connections to spread them over: as many requests may be late before others have to wait.
    pub connections: usize,
}

/// A load that goes on until it is finished.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<Vec<Tally>>,
    began: std::time::Instant,
}

/// What a load met.
#[derive(Debug)]
pub struct Report {
    /// Answered with 200.
    pub answered: u64,
    /// What went wrong with each other request.
    pub failures: Vec<String>,
    /// Requests a second, from the first to the last.
    pub rate: f64,
    /// From when a request was due to its answer, in ascending order.
    pub latencies: Vec<Duration>,
}

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct Tally {
    latencies: Vec<Duration>,
    failures: Vec<String>,
}

impl Load {
    /// Begins it, on a thread of its own.
    pub fn start(plan: Plan) -> Self {
        Self::start_renewing(plan, u64::MAX)
    }

    /// As [`start`](Self::start), but the first of so many requests comes by a new connection, as from clients that have
    /// just come. Kept ones alone settle on whoever does not close them, and never ask where new ones lead.
    pub fn start_renewing(plan: Plan, every: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        Self {
            shared,
            thread: std::thread::spawn(move || run(plan, every, &for_thread)),
            began: std::time::Instant::now(),
        }
    }

    /// Ends it, once what was asked for has been answered.
    ///
    /// # Panics
    /// When the generator itself did.
    pub fn finish(self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        let elapsed = self.began.elapsed();
        let tallies = self.thread.join().expect("a load generator that runs");
        let (mut latencies, mut failures) = (Vec::new(), Vec::new());
        for tally in tallies {
            latencies.extend(tally.latencies);
            failures.extend(tally.failures);
        }
        latencies.sort_unstable();
        let asked = latencies.len() + failures.len();
        Report {
            answered: latencies.len() as u64,
            rate: asked as f64 / elapsed.as_secs_f64(),
            failures,
            latencies,
        }
    }
}

impl Report {
    /// By nearest rank; zero of nothing.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.latencies.len() * percent).div_ceil(100);
        let at = self.latencies.get(rank.saturating_sub(1));
        at.copied().unwrap_or_default()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(plan: Plan, every: u64, shared: &Arc<Shared>) -> Vec<Tally> {
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..plan.connections {
        workers.spawn(work(plan, every, Arc::clone(shared), began));
    }
    workers.join_all().await
}

/// Takes the next request that is due, sends it on this worker's connection, and so on.
async fn work(plan: Plan, every: u64, shared: Arc<Shared>, began: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut kept = None;
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let due = began + Duration::from_secs_f64(number as f64 / f64::from(plan.rate));
        sleep_until(due).await;
        if shared.stop.load(Ordering::Relaxed) {
            return tally;
        }
        if number.is_multiple_of(every) {
            kept = None;
        }
        match timeout(PATIENCE, ask(&mut kept, plan)).await {
            Ok(Ok(200)) => tally.latencies.push(due.elapsed()),
            Ok(Ok(status)) => tally.failures.push(format!("status {status}")),
            Ok(Err(error)) => {
                kept = None;
                tally.failures.push(error.to_string());
            }
            Err(_) => {
                kept = None;
                tally
                    .failures
                    .push(format!("no answer within {PATIENCE:?}"));
            }
        }
    }
}

/// The status of one answer, whose body has been read.
async fn ask(kept: &mut Option<TcpStream>, plan: Plan) -> io::Result<u16> {
    let stream = match kept {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(plan.address).await?;
            stream.set_nodelay(true)?;
            kept.insert(stream)
        }
    };
    let request = format!("GET {} HTTP/1.1\r\nhost: load.test\r\n\r\n", plan.path);
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(1_024);
    let head = loop {
        if let Some(head) = Head::read(&answer)? {
            break head;
        }
        if answer.len() > MAX_HEAD {
            return Err(io::Error::other("a head without an end"));
        }
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    while answer.len() < head.whole {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if head.closes {
        *kept = None;
    }
    Ok(head.status)
}

struct Head {
    status: u16,
    /// Bytes of head and body.
    whole: usize,
    closes: bool,
}

impl Head {
    /// `None` while it is not whole.
    fn read(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
        let header = |wanted| headers.iter().find(|(name, _)| *name == wanted);
        let length = header("content-length").and_then(|(_, value)| value.parse::<usize>().ok());
        match (status.and_then(|status| status.parse().ok()), length) {
            (Some(status), Some(length)) => Ok(Some(Self {
                status,
                whole: end + 4 + length,
                closes: header("connection").is_some_and(|(_, value)| *value == "close"),
            })),
            _ => Err(io::Error::other(format!(
                "an answer of unknown length: {head}"
            ))),
        }
    }
}
