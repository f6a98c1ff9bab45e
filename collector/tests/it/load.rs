//! Senders that note what was taken, for tests that end a collector under load and want all of it to arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::batch_of;
use super::process::{Collector, post, wait_for_at_most};
use super::sink::Sink;

/// The metric that counts segments in which something could not be read.
pub(crate) const DAMAGED: &str = "bellwether_queue_damaged_segments_total";

/// For everything to arrive, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

const SENDERS: usize = 3;
const SPANS_A_BATCH: u64 = 5;

/// Everything that was accepted, over all rounds.
pub(crate) struct Sent {
    /// In an attribute of each span.
    bytes: usize,
    next_id: AtomicU64,
    /// With when the answer was there, Unix nanoseconds.
    accepted: Mutex<BTreeMap<u64, u128>>,
    /// Answered with success although the power was cut already.
    late: Mutex<BTreeSet<u64>>,
    refused: AtomicU64,
    stop: AtomicBool,
}

impl Default for Sent {
    fn default() -> Self {
        Self::of(100)
    }
}

impl Sent {
    /// Spans with so many bytes in an attribute.
    pub(crate) fn of(bytes: usize) -> Self {
        Self {
            bytes,
            next_id: AtomicU64::new(0),
            accepted: Mutex::default(),
            late: Mutex::default(),
            refused: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    /// Sends batch after batch to `url` until stopped, and notes those that were taken.
    pub(crate) fn start(self: &Arc<Self>, url: &str) -> Vec<JoinHandle<()>> {
        self.stop.store(false, Ordering::SeqCst);
        let sender = |_| {
            let (sent, url) = (Arc::clone(self), url.to_owned());
            std::thread::spawn(move || {
                while !sent.stop.load(Ordering::SeqCst) {
                    sent.send(&url);
                }
            })
        };
        (0..SENDERS).map(sender).collect()
    }

    /// Sends one batch; the answer.
    pub(crate) fn send(&self, url: &str) -> (u16, String) {
        let first = self.next_id.fetch_add(SPANS_A_BATCH, Ordering::SeqCst) + 1;
        let ids = first..first + SPANS_A_BATCH;
        let answer = post(url, &batch_of("shop", ids.clone(), self.bytes));
        match answer.0 {
            200 => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                let ids = ids.map(|id| (id, now.as_nanos()));
                self.accepted.lock().unwrap().extend(ids);
            }
            _ => drop(self.refused.fetch_add(1, Ordering::SeqCst)),
        }
        answer
    }

    /// The power was cut then. Answers that came later are those of a machine that would not be there any more: its file
    /// system may tell that all is synced while it drops it.
    pub(crate) fn cut_at(&self, unix_nano: u128) {
        let mut accepted = self.accepted.lock().unwrap();
        let late = accepted.iter().filter(|(_, at)| **at >= unix_nano);
        let late: BTreeSet<u64> = late.map(|(id, _)| *id).collect();
        accepted.retain(|id, _| !late.contains(id));
        self.late.lock().unwrap().extend(late);
    }

    /// The spans answered with success although the power was cut already.
    pub(crate) fn late(&self) -> BTreeSet<u64> {
        self.late.lock().unwrap().clone()
    }

    pub(crate) fn stop(&self, senders: Vec<JoinHandle<()>>) {
        self.stop.store(true, Ordering::SeqCst);
        for sender in senders {
            sender.join().unwrap();
        }
    }

    /// The ids of spans answered with success.
    pub(crate) fn accepted(&self) -> BTreeSet<u64> {
        self.accepted.lock().unwrap().keys().copied().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    /// Batches that were refused, or had no answer.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// States what came of it, duplicates included.
    pub(crate) fn tell(&self, what: &str, sink: &Sink) {
        let (accepted, taken) = (self.accepted(), sink.taken());
        let lost = sink.lacks(&accepted);
        let again: u32 = taken.values().map(|times| times - 1).sum();
        let late = self.late();
        let answered = accepted.union(&late).filter(|id| taken.contains_key(id));
        let unanswered = taken.len() - answered.count();
        println!(
            "{what}: {} rounds; {} spans accepted, {lost} lost; {again} came again; \
             {unanswered} arrived whose senders had no answer; {} batches refused or without an answer; \
             {} spans answered after the cut, {} of them lost",
            rounds(),
            accepted.len(),
            self.refused(),
            late.len(),
            sink.lacks(&late),
        );
    }
}

/// A collector with a data directory and one exporter.
pub(crate) fn start(directory: &Path, url: &str, more: &[&str]) -> Collector {
    let directory = directory.to_str().unwrap();
    let args = ["--data-dir", directory, "--export", url];
    // Nothing here may have to wait for the grace to be over.
    Collector::start_with(&[&args, more].concat(), &[("BELLWETHER_GRACE", "600s")])
}

pub(crate) fn arrived(sink: &Sink, accepted: &BTreeSet<u64>) {
    let what = format!("all of {} spans", accepted.len());
    wait_for_at_most(PATIENCE, &what, || sink.lacks(accepted) == 0);
}

/// Ten rounds; two hundred with `BELLWETHER_FULL=1`.
pub(crate) fn rounds() -> u64 {
    match std::env::var("BELLWETHER_FULL").as_deref() {
        Ok("1") => 200,
        _ => 10,
    }
}
