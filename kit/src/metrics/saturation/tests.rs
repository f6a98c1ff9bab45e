//! The means on their own, then of real runtimes and requests: what is full is seen to be, what is not is not.

use std::thread::park_timeout;

use tokio::runtime::{Builder, Runtime as Tokio};

use super::*;
use crate::metrics::ServerMetrics;

/// Nothing here takes longer, however busy the machine.
const DEADLINE: Duration = Duration::from_secs(30);

fn at(began: Instant, seconds: u64) -> Instant {
    began + Duration::from_secs(seconds)
}

#[test]
fn a_share_is_the_mean_of_the_window() {
    let began = Instant::now();
    let mut samples = Samples::new(Duration::from_secs(3));
    let mut add = |seconds, used| samples.add(at(began, seconds), [Some(used), None, None]);
    assert_eq!(add(0, 10.0), None);
    assert_eq!(add(1, 10.5), Some([Some(0.5), None, None]));
    assert_eq!(add(2, 10.5), Some([Some(0.25), None, None]));
    assert_eq!(add(3, 12.0), Some([Some(2.0 / 3.0), None, None]));
    // From here on the first ones are out of it.
    assert_eq!(add(4, 13.0), Some([Some(2.5 / 3.0), None, None]));
    assert_eq!(add(5, 14.0), Some([Some(1.0), None, None]));
    // The thread got no processor for long: the one sample before is what there is.
    assert_eq!(add(15, 14.0), Some([Some(0.0), None, None]));
}

#[test]
fn a_share_is_never_beyond_its_range() {
    let began = Instant::now();
    let mut samples = Samples::new(WINDOW);
    let mut add = |seconds, used| samples.add(at(began, seconds), used);
    add(0, [Some(0.0), Some(5.0), None]);
    let shares = add(1, [Some(7.5), Some(4.0), None]);
    assert_eq!(shares, Some([Some(1.0), Some(0.0), None]));
}

#[test]
fn the_window_keeps_no_more_than_it_needs() {
    let began = Instant::now();
    let mut samples = Samples::new(WINDOW);
    for second in 0..1_000 {
        samples.add(at(began, second), [None; 3]);
    }
    assert_eq!(samples.kept.len(), WINDOW.as_secs() as usize + 1);
}

#[test]
fn what_cannot_be_known_is_not_sampled() {
    assert!(Sources::new(&ServerMetrics::default(), None, None).is_none());
}

/// Samples quickly, so that a test does not take 15 seconds.
fn watch(requests: &ServerMetrics, limit: Option<usize>, runtime: Option<&Tokio>) -> Saturation {
    let runtime = runtime.map(|runtime| runtime.metrics());
    let sources = Sources::new(requests, limit, runtime).unwrap();
    let (interval, window) = (Duration::from_millis(20), Duration::from_millis(300));
    Saturation::sample(sources, interval, window).unwrap()
}

/// Waits until one of the shares is as wanted.
fn until(saturation: &Saturation, resource: &str, wanted: impl Fn(f64) -> bool) {
    let index = RESOURCES.iter().position(|name| *name == resource).unwrap();
    let began = Instant::now();
    loop {
        let share = saturation.shares().and_then(|shares| shares[index]);
        if share.is_some_and(&wanted) {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "{resource} stays at {share:?}");
        park_timeout(Duration::from_millis(5));
    }
}

fn workers(count: usize) -> Tokio {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(count).enable_all().build().unwrap()
}

#[test]
fn an_idle_runtime_is_empty() {
    let runtime = workers(2);
    let saturation = watch(&ServerMetrics::default(), None, Some(&runtime));
    until(&saturation, "runtime", |share| share < 0.1);
    until(&saturation, "queue", |share| share < 0.1);
    assert_eq!(saturation.shares().unwrap()[0], None, "there is no limit");
}

#[test]
fn a_runtime_that_computes_is_full() {
    let runtime = workers(2);
    let saturation = watch(&ServerMetrics::default(), None, Some(&runtime));
    for _ in 0..2 {
        runtime.spawn(async {
            loop {
                let began = Instant::now();
                while began.elapsed() < Duration::from_millis(1) {}
                tokio::task::yield_now().await;
            }
        });
    }
    until(&saturation, "runtime", |share| share > 0.9);
    runtime.shutdown_background();
}

#[test]
fn a_blocked_runtime_is_full_while_it_is_blocked() {
    let runtime = workers(2);
    let saturation = watch(&ServerMetrics::default(), None, Some(&runtime));
    let (release, blocked) = channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    for _ in 0..2 {
        let blocked = Arc::clone(&blocked);
        // Both workers wait here, the one for the channel and the other for the lock.
        runtime.spawn(async move { blocked.lock().unwrap().recv() });
    }
    until(&saturation, "runtime", |share| share > 0.95);
    // Nobody is left to take these.
    for _ in 0..18 {
        runtime.spawn(std::future::ready(()));
    }
    until(&saturation, "queue", |share| share > 0.85);
    drop(release);
    until(&saturation, "runtime", |share| share < 0.1);
    until(&saturation, "queue", |share| share < 0.1);
}

#[test]
fn a_runtime_of_one_thread_is_seen_too() {
    let (ready, started) = channel();
    let thread = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().build().unwrap();
        let saturation = watch(&ServerMetrics::default(), None, Some(&runtime));
        let block = Arc::new(std::sync::Barrier::new(2));
        ready.send((saturation, Arc::clone(&block))).unwrap();
        runtime.block_on(async { block.wait() });
        runtime.block_on(std::future::pending::<()>());
    });
    let (saturation, block) = started.recv_timeout(DEADLINE).unwrap();
    until(&saturation, "runtime", |share| share > 0.9);
    block.wait();
    until(&saturation, "runtime", |share| share < 0.1);
    // It is pending for good: the end of the process is its end.
    drop(thread);
}

#[test]
fn requests_that_wait_fill_the_limit() {
    let requests = ServerMetrics::default();
    let saturation = watch(&requests, Some(4), None);
    until(&saturation, "concurrency", |share| share == 0.0);
    let start = |_| requests.started("GET", "http", Instant::now());
    let hanging: Vec<_> = (0..3).map(start).collect();
    until(&saturation, "concurrency", |share| {
        (0.7..=0.8).contains(&share)
    });
    let more: Vec<_> = (0..9).map(start).collect();
    until(&saturation, "concurrency", |share| share == 1.0);
    drop((hanging, more));
    until(&saturation, "concurrency", |share| share < 0.05);
    let shares = saturation.shares().unwrap();
    assert_eq!(shares[1..], [None, None], "there is no runtime");
}

#[test]
fn the_thread_ends_with_its_metrics() {
    let saturation = watch(&ServerMetrics::default(), Some(1), None);
    let shown = Arc::downgrade(&saturation.shown);
    drop(saturation);
    let began = Instant::now();
    while shown.upgrade().is_some() {
        assert!(began.elapsed() < DEADLINE, "the thread still holds it");
        park_timeout(Duration::from_millis(1));
    }
}
