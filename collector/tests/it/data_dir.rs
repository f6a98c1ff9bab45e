//! `--data-dir`: what was answered with success arrives, whatever happens to the collector in between.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use bellwether_collector::log::disk::{DiskConfig, Durability};
use bellwether_collector::log::{BatchLog, OnFull, ReaderConfig};
use bellwether_collector::signal::Signal;
use bellwether_collector::status::ExporterStatus;
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;

use super::fault_peers::Nobody;
use super::load::{DAMAGED, PATIENCE, Sent, arrived, rounds, start};
use super::process::{Collector, bellwether, get, post, wait_for, wait_for_at_most};
use super::sink::Sink;
use super::{batch_of, metric};

/// What the exporter's peer does meanwhile.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    /// It refuses in every third round, so that there is a backlog when the end comes.
    ComesAndGoes,
    /// It refuses until all rounds are over.
    IsDown,
}

fn kill_at_random_moments(durability: &str, peer: Peer) {
    let directory = TempDir::new().unwrap();
    let (sink, sent) = (Sink::start(), Arc::new(Sent::default()));
    for round in 0..rounds() {
        sink.refuse(peer == Peer::IsDown || round % 3 == 1);
        let collector = start(directory.path(), &sink.url(), &["--durability", durability]);
        let enough = sent.count() + rand::random_range(1..1_500);
        let senders = sent.start(&collector.traces());
        wait_for("some load", || sent.count() >= enough);
        collector.kill();
        sent.stop(senders);
    }
    assert!(peer == Peer::ComesAndGoes || sink.taken().is_empty());
    sink.refuse(false);
    let collector = start(directory.path(), &sink.url(), &[]);
    let accepted = sent.accepted();
    arrived(&sink, &accepted);
    assert_eq!(metric(&collector, DAMAGED), Some(0.0));
    collector.stop();
    sent.tell(&format!("{durability}, killed"), &sink);
    // Most rounds are over before a second is, so that each start begins where the one before it did.
    let most = u64::from(*sink.taken().values().max().expect("spans"));
    assert!(
        most <= rounds() + 1,
        "a span came {most} times: twice within one life"
    );
}

#[test]
fn kills_under_load_lose_nothing_that_was_synced() {
    kill_at_random_moments("synced", Peer::ComesAndGoes);
}

#[test]
fn kills_under_load_lose_nothing_that_was_received() {
    kill_at_random_moments("received", Peer::ComesAndGoes);
}

#[test]
fn kills_while_the_peer_is_down_for_the_whole_load_lose_nothing() {
    kill_at_random_moments("synced", Peer::IsDown);
}

#[test]
fn what_came_while_the_peer_was_down_arrives_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let nobody = Nobody::start();
    let url = format!("otlp+http://{}", nobody.address);
    let sent = Arc::new(Sent::default());
    let collector = start(directory.path(), &url, &[]);
    let senders = sent.start(&collector.traces());
    wait_for("load", || sent.count() >= 2_000);
    sent.stop(senders);
    collector.terminate();
    let lines = collector.exits_with_success();
    let stays = "what this exporter could not send yet stays in the data directory";
    let line = lines.iter().find(|line| line["message"] == stays);
    let accepted = sent.accepted();
    assert_eq!(line.expect("told")["spans"], accepted.len());

    let collector = start(directory.path(), &url, &[]);
    let (_, status) = get(&collector.web("/api/v1/status"));
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_ne!(status["exporters"][0]["queue_bytes"], 0, "{status}");
    assert_eq!(status["log"]["durability"], "synced", "{status}");
    let (_, page) = get(&collector.web("/status"));
    assert!(page.contains(directory.path().to_str().unwrap()), "{page}");
    let sink = Sink::listen(TcpListener::bind(nobody.address).unwrap());
    arrived(&sink, &accepted);
    assert!(
        sink.taken().values().all(|&times| times == 1),
        "after a good end nothing comes twice"
    );
    collector.stop();
}

#[test]
fn two_collectors_cannot_share_a_directory() {
    let (directory, sink) = (TempDir::new().unwrap(), Sink::start());
    let collector = start(directory.path(), &sink.url(), &[]);
    let path = directory.path().to_str().unwrap();
    let ports = ["--otlp-grpc", "0", "--otlp-http", "0", "--web", "0"];
    let second = bellwether(&[&ports, &["--data-dir", path][..]].concat());
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8_lossy(&second.stderr);
    let expected = format!("--data-dir {path}: another collector uses it");
    assert!(text.contains(&expected), "{text}");
    collector.stop();
}

#[test]
fn at_the_limit_senders_have_to_wait_and_nothing_is_lost() {
    let (directory, sink) = (TempDir::new().unwrap(), Sink::start());
    sink.refuse(true);
    let limit = ["--data-limit", "128MiB", "--durability", "received"];
    let collector = start(directory.path(), &sink.url(), &limit);
    let mut accepted = BTreeSet::new();
    let mut send = |id: u64| {
        let (status, text) = post(&collector.traces(), &batch_of("shop", id..id + 1, 3 << 20));
        if status == 200 {
            accepted.insert(id);
        }
        (status, text)
    };
    let refused = (1..60).map(&mut send).find(|(status, _)| *status != 200);
    let (status, text) = refused.expect("a limit");
    assert_eq!(status, 503);
    assert!(text.contains("the batch log is full"), "{text}");
    let used = metric(&collector, "bellwether_queue_disk_bytes").unwrap();
    assert!((90e6..128.0 * 1024.0 * 1024.0).contains(&used), "{used}");
    let on_disk: u64 = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(on_disk <= 128 << 20, "{on_disk}");
    sink.refuse(false);
    wait_for_at_most(PATIENCE, "room", || send(100).0 == 200);
    arrived(&sink, &accepted);
    let dropped = format!(
        "bellwether_exporter_dropped_spans_total{{exporter=\"{}",
        sink.url()
    );
    assert_eq!(metric(&collector, &dropped), Some(0.0));
    collector.stop();
}

/// A limit on the size of files stands for a disk without space: the system refuses the write.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_takes_nothing_more_refuses_and_the_collector_lives_on() {
    let (directory, sink) = (TempDir::new().unwrap(), Sink::start());
    // 8 blocks of 512 bytes; the signal that would end the process is ignored, as it is for a disk.
    let path = directory.path().to_str().unwrap();
    let url = sink.url();
    let args = ["--data-dir", path, "--export", &url];
    let collector =
        Collector::start_through("trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"", &args);
    let (status, text) = post(&collector.traces(), &batch_of("shop", 1..2, 10_000));
    assert_eq!(status, 503);
    assert!(
        text.contains("the data directory cannot be written"),
        "{text}"
    );
    for id in 2..30 {
        let (status, text) = post(&collector.traces(), &batch_of("shop", id..id + 1, 900));
        // Now and then a segment is as full as it may be, and the next one takes it.
        assert!([200, 503].contains(&status), "{text}");
    }
    // Full for what is large and not for what is small: one trouble, not a line for each batch.
    for id in 30..50 {
        let (status, _) = post(&collector.traces(), &batch_of("shop", id..id + 1, 10));
        assert_eq!(status, 200);
        let (status, _) = post(&collector.traces(), &batch_of("shop", 1..2, 10_000));
        assert_eq!(status, 503);
    }
    arrived(&sink, &(30..50).collect());
    assert_eq!(get(&collector.web("/readyz")).0, 200);
    let failures = metric(&collector, "bellwether_queue_write_failures_total").unwrap();
    assert!(failures >= 21.0, "{failures}");
    collector.terminate();
    let lines = collector.exits_with_success();
    let told = lines.iter().filter(|line| line["level"] == "ERROR").count();
    // On a machine that stands still for seconds it may be over and begin again.
    assert!((1..=4).contains(&told), "{lines:?}");
}

/// Each start begins a segment: after a while without a peer there may be more of them than files may be open.
#[cfg(target_os = "linux")]
#[test]
fn more_segments_than_files_may_be_open_are_all_sent() {
    let (directory, sink) = (TempDir::new().unwrap(), Sink::start());
    let url = sink.url();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for id in 1..=100 {
        let config = DiskConfig {
            directory: directory.path().to_owned(),
            durability: Durability::Received,
            limit: 1 << 30,
            retention: PATIENCE,
        };
        let reader = ReaderConfig {
            status: Arc::new(ExporterStatus::named(url.as_str())),
            on_full: OnFull::Refuse,
        };
        let mut opened = None;
        wait_for("the directory", || {
            // A process that another test is just about to start may hold a copy of the last one's lock.
            let readers = vec![reader.clone()];
            opened = BatchLog::on_disk(&config, 8 << 20, readers, Arc::default()).ok();
            opened.is_some()
        });
        let (log, _cursors, _) = opened.expect("a log");
        let batch = Bytes::from(batch_of("shop", id..id + 1, 0));
        runtime
            .block_on(log.append(Signal::Traces, batch, 1))
            .unwrap();
    }
    let path = directory.path().to_str().unwrap();
    let args = ["--data-dir", path, "--export", &url];
    let collector = Collector::start_through("ulimit -n 64; exec \"$0\" \"$@\"", &args);
    arrived(&sink, &(1..=100).collect());
    assert_eq!(metric(&collector, DAMAGED), Some(0.0));
    collector.stop();
}

/// A pipe that nobody writes to stands for a disk that does not answer.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_hangs_does_not_keep_the_collector_from_ending() {
    let (directory, sink) = (TempDir::new().unwrap(), Sink::start());
    sink.refuse(true);
    for id in [1, 2] {
        // Each life has a segment of its own.
        let collector = start(directory.path(), &sink.url(), &[]);
        let (status, _) = post(&collector.traces(), &batch_of("shop", id..id + 1, 100));
        assert_eq!(status, 200);
        collector.kill();
    }
    let (path, url) = (directory.path().to_str().unwrap(), sink.url());
    let args = ["--data-dir", path, "--export", &url];
    let collector = Collector::start_with(&args, &[("BELLWETHER_GRACE", "3s")]);
    let second = directory.path().join("00000000000000000002.segment");
    std::fs::remove_file(&second).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&second).status();
    assert!(made.unwrap().success());
    sink.refuse(false);
    arrived(&sink, &BTreeSet::from([1]));
    collector.terminate();
    let lines = collector.exits_with_success();
    let stays = "what this exporter could not send yet stays in the data directory";
    assert!(
        lines.iter().any(|line| line["message"] == stays),
        "{lines:?}"
    );
}

/// Senders that come and go while file handles run out: one trouble, not two lines for each that goes.
#[cfg(target_os = "linux")]
#[test]
fn file_handles_that_run_out_again_and_again_do_not_fill_the_log() {
    let collector = Collector::start_through("ulimit -n 64; exec \"$0\" \"$@\"", &[]);
    let handles = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", collector.id()));
        open.unwrap().count()
    };
    let at_rest = handles();
    let cannot = "cannot accept connections, trying again";
    for _ in 0..20 {
        let address = collector.http_address();
        let connections: Vec<_> = (0..100).map(|_| TcpStream::connect(address)).collect();
        wait_for("no handle to be left", || handles() >= 60);
        drop(connections);
        wait_for("handles again", || handles() <= at_rest + 4);
    }
    wait_for("a line about it", || collector.logged(cannot));
    assert_eq!(get(&collector.web("/readyz")).0, 200);
    // On a machine that stands still for seconds it may be over and begin again.
    let told = collector.lines_with(cannot).len();
    assert!(told <= 5, "{told}");
    collector.stop();
}
