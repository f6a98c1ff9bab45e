//! The log on real files, through its public face; and on a simulated disk where the fault is the point.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tempfile::TempDir;

use super::files::Files;
use super::format::{RECORD_HEADER, SEGMENT_HEADER};
use super::model_tests::Rig;
use super::recover::recover;
use super::segments::{Segment, Segments};
use super::sim::Chance;
use super::{DiskConfig, Durability, OpenError, SEGMENT};
use crate::log::{BatchLog, Cursor, Full, OnFull, ReaderConfig, ReaderId, Record};
use crate::signal::{Items, Signal};
use crate::status::{ExporterStatus, LogStatus};

const LIMIT: u64 = 128 << 20;
const MEMORY: usize = 8 << 20;

/// A log in a directory, with readers by name.
struct Fixture {
    log: BatchLog,
    cursors: Vec<Cursor>,
    exporters: Vec<Arc<ExporterStatus>>,
    status: Arc<LogStatus>,
}

fn open(directory: &Path, names: &[&str]) -> Fixture {
    try_open(directory, names, Duration::from_secs(3_600)).unwrap()
}

fn try_open(directory: &Path, names: &[&str], retention: Duration) -> Result<Fixture, OpenError> {
    let config = DiskConfig {
        directory: directory.to_owned(),
        durability: Durability::Synced,
        limit: LIMIT,
        retention,
    };
    let exporters: Vec<_> = names
        .iter()
        .map(|&name| Arc::new(ExporterStatus::named(name)))
        .collect();
    let readers = exporters.iter().map(|status| ReaderConfig {
        status: Arc::clone(status),
        on_full: OnFull::Refuse,
    });
    let status = Arc::new(LogStatus::default());
    let (log, cursors, recovery) =
        BatchLog::on_disk(&config, MEMORY, readers.collect(), Arc::clone(&status))?;
    recovery.tell();
    Ok(Fixture {
        log,
        cursors,
        exporters,
        status,
    })
}

impl Fixture {
    async fn append(&self, text: &str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.log.append(Signal::Traces, bytes, 1).await.unwrap();
    }

    async fn next(&mut self, reader: usize, max_bytes: usize) -> Vec<Record> {
        let next = self.cursors[reader].next(max_bytes);
        let next = tokio::time::timeout(Duration::from_secs(20), next).await;
        next.expect("an answer in time").unwrap_or_default()
    }

    async fn texts(&mut self, reader: usize) -> Vec<String> {
        let records = self.next(reader, 1 << 20).await;
        let text = |record: &Record| String::from_utf8(record.bytes.to_vec()).unwrap();
        records.iter().map(text).collect()
    }

    /// Closes it and reads what is left, acknowledging all.
    async fn rest(mut self, reader: usize) -> Vec<String> {
        self.log.close();
        let mut all = Vec::new();
        loop {
            let records = self.next(reader, 1 << 20).await;
            let Some(last) = records.last() else {
                break;
            };
            let text = |record: &Record| String::from_utf8(record.bytes.to_vec()).unwrap();
            all.extend(records.iter().map(text));
            self.cursors[reader].ack(last.sequence);
        }
        self.log.finish().await;
        all
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn segment(id: u64) -> String {
    super::segment_name(id)
}

#[tokio::test]
async fn what_was_not_sent_is_there_at_the_next_start() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("made/for/this");
    let mut log = open(&path, &["a", "b"]);
    log.append("one").await;
    log.append("two").await;
    assert_eq!(log.texts(0).await, ["one", "two"]);
    log.cursors[0].ack(0);
    assert_eq!(log.texts(0).await, ["two"], "not acknowledged, so again");
    log.log.finish().await;
    drop(log);

    let mut log = open(&path, &["b", "a"]);
    let queued = |log: &Fixture| {
        let bytes = |status: &Arc<ExporterStatus>| status.queue_bytes.load(Ordering::Relaxed);
        log.exporters.iter().map(bytes).collect::<Vec<_>>()
    };
    assert_eq!(queued(&log), [6, 3]);
    assert_ne!(log.exporters[0].oldest_unix_nano.load(Ordering::Relaxed), 0);
    log.append("three").await;
    assert_eq!(log.texts(0).await, ["one", "two"]);
    log.cursors[0].ack(1);
    assert_eq!(log.texts(0).await, ["three"]);
    assert_eq!(log.cursors[1].unsent().traces, 2);
    assert_eq!(log.rest(1).await, ["two", "three"]);
}

#[tokio::test]
async fn batches_that_come_together_are_written_together() {
    let directory = TempDir::new().unwrap();
    let log = open(directory.path(), &["a"]);
    let texts: Vec<_> = (0..200).map(|number| number.to_string()).collect();
    join_all(texts.iter().map(|text| log.append(text))).await;
    let kept: usize = texts.iter().map(|text| text.len() + 128).sum();
    assert_eq!(log.log.used(), kept);
    let mut got = log.rest(0).await;
    got.sort_by_key(|text| text.parse::<u32>().unwrap());
    assert_eq!(got, texts);
}

#[tokio::test]
async fn a_directory_is_for_one_collector_at_a_time() {
    let directory = TempDir::new().unwrap();
    let log = open(directory.path(), &["a"]);
    let Err(error) = try_open(directory.path(), &["a"], Duration::ZERO) else {
        panic!("opened twice");
    };
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(
        error.to_string().contains("another collector uses it"),
        "{error}"
    );
    drop(log);
    open(directory.path(), &["a"]);
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(
        try_open(&file, &["a"], Duration::ZERO),
        Err(OpenError::Io { .. })
    ));
}

#[tokio::test]
async fn a_new_exporter_begins_with_the_oldest_that_is_kept() {
    let directory = TempDir::new().unwrap();
    let log = open(directory.path(), &["old"]);
    log.append("one").await;
    log.log.finish().await;
    drop(log);
    let log = open(directory.path(), &["renamed"]);
    assert_eq!(
        log.status.left_bytes.load(Ordering::Relaxed),
        3,
        "of the old one"
    );
    assert_eq!(log.rest(0).await, ["one"]);
    // Kept for the old one, too, should it come back; not what came meanwhile.
    let log = open(directory.path(), &["old"]);
    assert_eq!(log.rest(0).await, ["one"]);
}

#[tokio::test]
async fn a_scout_is_ahead_and_forgotten_by_the_next_start() {
    let directory = TempDir::new().unwrap();
    let mut fixture = open(directory.path(), &["a"]);
    let mut scout = fixture.cursors[0].scout();
    for text in ["one", "two", "three"] {
        fixture.append(text).await;
    }
    scout.ready().await;
    let ahead = scout.next(1 << 20).await.unwrap();
    assert_eq!(ahead.len(), 3);
    scout.ack(ahead[2].sequence);
    assert!(!scout.has_more() && fixture.cursors[0].has_more());
    assert!(!fixture.cursors[0].is_pressed());
    let sent = fixture.next(0, 1).await;
    fixture.cursors[0].ack(sent[0].sequence);
    // What is saved while it is there, and has not seen everything, is what a crash leaves.
    fixture.append("four").await;
    assert!(scout.has_more());
    fixture.log.finish().await;
    drop((scout, fixture));
    let mut fixture = open(directory.path(), &["a"]);
    assert_eq!(fixture.status.left_bytes.load(Ordering::Relaxed), 0);
    // A scout begins where its cursor is, also among what is read back.
    let mut scout = fixture.cursors[0].scout();
    let ahead = scout.next(1 << 20).await.unwrap();
    let texts: Vec<_> = ahead.iter().map(|record| &record.bytes[..]).collect();
    assert_eq!(texts, [&b"two"[..], b"three", b"four"]);
    scout.ack(ahead[2].sequence);
    assert_eq!(fixture.texts(0).await, ["two", "three", "four"]);
}

#[tokio::test]
async fn what_an_exporter_left_behind_goes_after_the_retention() {
    let directory = TempDir::new().unwrap();
    let log = open(directory.path(), &["old"]);
    log.append("one").await;
    log.log.finish().await;
    drop(log);
    // Without exporters nothing is taken in, and nothing is thrown away either.
    let log = open(directory.path(), &[]);
    log.append("two").await;
    log.log.finish().await;
    drop(log);
    let log = try_open(directory.path(), &["new"], Duration::ZERO).unwrap();
    // The tick of the end has them expire.
    log.log.finish().await;
    drop(log);
    let log = open(directory.path(), &["old"]);
    assert_eq!(
        log.status.left_bytes.load(Ordering::Relaxed),
        3,
        "now it is the new one's"
    );
    let saved = fs::read_to_string(directory.path().join("cursors.json")).unwrap();
    let saved: serde_json::Value = serde_json::from_str(&saved).unwrap();
    assert_eq!(saved["cursors"][0]["name"], "old");
    assert_eq!(
        saved["cursors"][0]["left_unix_nano"],
        serde_json::Value::Null
    );
}

/// A log with `texts`, a record each; where each begins in its file.
async fn filled(directory: &Path, texts: &[&str]) -> Vec<usize> {
    let log = open(directory, &["a"]);
    let mut at = SEGMENT_HEADER;
    let mut begins = Vec::new();
    for text in texts {
        log.append(text).await;
        begins.push(at);
        at += RECORD_HEADER + text.len();
    }
    log.log.finish().await;
    begins
}

fn spoil(directory: &Path, id: u64, at: usize) {
    let path = directory.join(segment(id));
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 0x55;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_record_costs_only_itself_and_its_segment_is_set_aside() {
    for (header, id) in [(true, 1), (false, 1)] {
        let directory = TempDir::new().unwrap();
        let begins = filled(directory.path(), &["one", "two", "three"]).await;
        let at = if header {
            begins[1] + 5
        } else {
            begins[1] + RECORD_HEADER
        };
        spoil(directory.path(), id, at);
        let log = open(directory.path(), &["a"]);
        assert_eq!(log.status.damaged_segments.load(Ordering::Relaxed), 1);
        // A second segment, so that the damaged one can be done with.
        log.append("four").await;
        let status = Arc::clone(&log.exporters[0]);
        assert_eq!(log.rest(0).await, ["one", "three", "four"]);
        // It was the newest, which is read whole at the start: its span is not even reckoned with.
        assert_eq!(status.dropped_spans.load(Ordering::Relaxed), 0);
        let names = names(directory.path());
        assert!(names.contains(&super::damaged_name(1)), "{names:?}");
        assert!(!names.contains(&segment(1)), "{names:?}");
    }
}

#[tokio::test]
async fn damage_that_a_reader_finds_is_counted_as_dropped() {
    let directory = TempDir::new().unwrap();
    let begins = filled(directory.path(), &["one", "two", "three"]).await;
    let log = open(directory.path(), &["a"]);
    log.append("four").await;
    log.log.finish().await;
    drop(log);
    spoil(directory.path(), 1, begins[2] + RECORD_HEADER);
    // Of older segments only headers are read at the start.
    let log = open(directory.path(), &["a"]);
    assert_eq!(log.status.damaged_segments.load(Ordering::Relaxed), 0);
    assert_eq!(log.cursors[0].unsent().traces, 4);
    let (status, exporter) = (Arc::clone(&log.status), Arc::clone(&log.exporters[0]));
    assert_eq!(log.rest(0).await, ["one", "two", "four"]);
    assert_eq!(status.damaged_segments.load(Ordering::Relaxed), 1);
    assert_eq!(exporter.dropped_spans.load(Ordering::Relaxed), 1);
    assert_eq!(exporter.queue_bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_write_that_was_cut_short_is_no_damage() {
    let directory = TempDir::new().unwrap();
    let begins = filled(directory.path(), &["one", "two"]).await;
    let path = directory.path().join(segment(1));
    let bytes = fs::read(&path).unwrap();
    for cut in [begins[1] + RECORD_HEADER + 2, begins[1] + 7] {
        fs::write(&path, &bytes[..cut]).unwrap();
        let log = open(directory.path(), &["a"]);
        assert_eq!(log.status.damaged_segments.load(Ordering::Relaxed), 0);
        assert_eq!(fs::metadata(&path).unwrap().len(), begins[1] as u64);
        assert_eq!(log.cursors[0].unsent().traces, 1);
    }
}

#[tokio::test]
async fn files_that_are_none_of_ours_are_left_alone() {
    let directory = TempDir::new().unwrap();
    let begins = filled(directory.path(), &["one"]).await;
    let path = directory.path();
    let later = |name: &str, version: u8| {
        let mut bytes = fs::read(path.join(segment(1))).unwrap();
        bytes[8] = version;
        fs::write(path.join(name), &bytes).unwrap();
    };
    later(&segment(7), 3);
    fs::copy(path.join(segment(1)), path.join(segment(9))).unwrap();
    for foreign in ["notes.txt", "1.segment", "18446744073709551615.segment"] {
        fs::write(path.join(foreign), "nobody's").unwrap();
    }
    let log = open(path, &["a"]);
    log.append("two").await;
    assert_eq!(log.rest(0).await, ["one", "two"]);
    let names = names(path);
    for name in [
        segment(7),
        segment(9),
        // Ids go on behind those.
        segment(10),
        "notes.txt".to_owned(),
        "1.segment".to_owned(),
        "18446744073709551615.segment".to_owned(),
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(begins[0] > 0);
}

/// What an earlier version wrote, which knew traces alone and had nothing else in its files.
#[tokio::test]
async fn segments_of_version_1_are_read_as_traces() {
    let directory = TempDir::new().unwrap();
    filled(directory.path(), &["one", "two"]).await;
    let path = directory.path().join(segment(1));
    let mut bytes = fs::read(&path).unwrap();
    assert_eq!(bytes[8..12], [2, 0, 0, 0]);
    bytes[8] = 1;
    fs::write(&path, &bytes).unwrap();
    let log = open(directory.path(), &["a"]);
    assert_eq!(log.cursors[0].unsent(), Items::only(Signal::Traces, 2));
    let appended = log.log.append(Signal::Logs, "three".into(), 1);
    appended.await.unwrap();
    assert_eq!(log.rest(0).await, ["one", "two", "three"]);
}

#[tokio::test]
async fn a_segment_without_a_good_header_is_set_aside_whole() {
    // In what the checksum covers, and in what says that it is a segment.
    for at in [20, 3] {
        let directory = TempDir::new().unwrap();
        filled(directory.path(), &["one"]).await;
        spoil(directory.path(), 1, at);
        let log = open(directory.path(), &["a"]);
        assert_eq!(log.status.damaged_segments.load(Ordering::Relaxed), 1);
        log.append("two").await;
        assert_eq!(log.rest(0).await, ["two"]);
        assert!(names(directory.path()).contains(&super::damaged_name(1)));
    }
}

#[tokio::test]
async fn places_that_cannot_be_read_cost_duplicates_and_no_more() {
    let beyond = r#"{"version":1,"cursors":[{"name":"a","next":18446744073709551615}]}"#;
    for spoilt in ["{", "{\"version\":9,\"cursors\":[]}", beyond] {
        let directory = TempDir::new().unwrap();
        let mut log = open(directory.path(), &["a"]);
        log.append("one").await;
        assert_eq!(log.texts(0).await, ["one"]);
        log.cursors[0].ack(0);
        log.append("two").await;
        log.log.finish().await;
        drop(log);
        fs::write(directory.path().join("cursors.json"), spoilt).unwrap();
        // Not even without exporters is it thrown away: it is not known whose it is.
        if spoilt != beyond {
            drop(open(directory.path(), &[]));
        }
        let log = open(directory.path(), &["a"]);
        log.append("three").await;
        assert_eq!(log.rest(0).await, ["one", "two", "three"]);
    }
}

#[tokio::test]
async fn a_record_larger_than_was_asked_for_is_read_back_too() {
    let directory = TempDir::new().unwrap();
    let large = "x".repeat(3 << 20);
    filled(directory.path(), &["one", &large, "two"]).await;
    let mut log = open(directory.path(), &["a", "new"]);
    for sequence in 0..3 {
        let records = log.next(0, 1_000).await;
        assert_eq!(records.len(), 1);
        log.cursors[0].ack(records[0].sequence);
        assert_eq!(records[0].sequence, sequence);
    }
    // The first has let go of what only one may hold.
    let records = log.next(1, 1_000).await;
    log.cursors[1].ack(records[0].sequence);
    for _ in 0..2 {
        // It lets go before it asks again, too.
        let records = log.next(1, 1_000).await;
        assert_eq!(records[0].bytes.len(), large.len());
    }
}

#[tokio::test]
async fn a_lagging_reader_is_read_for_from_disk_and_others_from_memory() {
    let directory = TempDir::new().unwrap();
    let mut log = open(directory.path(), &["lagging", "quick"]);
    let text = "x".repeat(1 << 20);
    for sequence in 0..20 {
        log.append(&text).await;
        let records = log.next(1, 4 << 20).await;
        assert_eq!(records[0].sequence, sequence);
        // What is on disk is gone; it must come from memory.
        log.cursors[1].ack(sequence);
        assert!(log.log.used() <= MEMORY);
    }
    let mut sequence = 0;
    while sequence < 20 {
        let records = log.next(0, 4 << 20).await;
        for record in &records {
            assert_eq!(record.sequence, sequence);
            assert_eq!(record.bytes, text);
            sequence += 1;
        }
        log.cursors[0].ack(sequence - 1);
    }
    let dropped = |status: &Arc<ExporterStatus>| status.dropped_spans.load(Ordering::Relaxed);
    assert_eq!(log.exporters.iter().map(dropped).sum::<u64>(), 0);
}

#[tokio::test]
async fn a_file_that_disappears_is_lost_and_the_rest_is_not() {
    let directory = TempDir::new().unwrap();
    filled(directory.path(), &["one", "two"]).await;
    let log = open(directory.path(), &["a"]);
    log.append("three").await;
    log.log.finish().await;
    drop(log);
    let log = open(directory.path(), &["a"]);
    fs::remove_file(directory.path().join(segment(1))).unwrap();
    let exporter = Arc::clone(&log.exporters[0]);
    assert_eq!(log.rest(0).await, ["three"]);
    assert_eq!(exporter.dropped_spans.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn one_batch_beyond_the_memory_is_refused_for_good() {
    let directory = TempDir::new().unwrap();
    let log = open(directory.path(), &["a"]);
    let refused = log
        .log
        .append(Signal::Traces, Bytes::from(vec![0; MEMORY]), 1)
        .await;
    assert!(matches!(refused, Err(Full::TooLarge { .. })));
    log.log.close();
    assert_eq!(
        log.log.append(Signal::Traces, Bytes::new(), 1).await,
        Err(Full::Closed)
    );
}

#[test]
fn a_full_disk_refuses_until_there_is_room() {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    rig.append(100);
    rig.write();
    rig.disk.fill_up(Some(10));
    for _ in 0..3 {
        rig.append(300);
        rig.write();
    }
    assert_eq!(rig.accepted.len(), 1);
    assert_eq!(rig.shared.status.write_failures.load(Ordering::Relaxed), 3);
    let error = rig.shared.status.last_error.get().unwrap();
    assert!(
        error.message.contains("no storage space"),
        "{}",
        error.message
    );
    rig.disk.fill_up(None);
    rig.append(300);
    rig.write();
    assert_eq!(rig.accepted.len(), 2);
    rig.drain();
    assert_eq!(rig.delivered(0), &rig.accepted);
}

#[test]
fn used_up_segments_are_used_again_and_the_directory_stays_small() {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..100 {
        rig.append(600);
        rig.write();
        rig.drain();
        let names = rig.disk.list().unwrap();
        assert!(names.len() <= 4, "{names:?}");
        ids.extend(names.into_iter().filter(|name| name.ends_with(".segment")));
    }
    assert!(ids.len() > 20, "{ids:?}");
    assert_eq!(rig.delivered(1).len(), 100);
    assert!(
        rig.disk.files_made() < 40,
        "{} files",
        rig.disk.files_made()
    );
}

#[test]
fn a_refusing_log_stays_within_its_cap_and_loses_nothing() {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    for _ in 0..100 {
        rig.append(500);
        rig.write();
    }
    let kept = rig.accepted.len();
    assert!((15..30).contains(&kept), "{kept}");
    assert!(rig.disk.used() <= 12_000 + 2_000, "{}", rig.disk.used());
    assert_ne!(rig.shared.status.full_refusals.load(Ordering::Relaxed), 0);
    rig.drain();
    assert_eq!(rig.delivered(0).len(), kept);
    rig.append(500);
    rig.write();
    assert_eq!(rig.accepted.len(), kept + 1, "room again");
}

#[test]
fn at_the_cap_a_dropping_reader_loses_the_oldest() {
    let mut rig = Rig::new(Durability::Synced, OnFull::DropOldest);
    for _ in 0..100 {
        rig.append(500);
        rig.write();
        assert!(rig.disk.used() <= 12_000 + 2 * 2_000, "{}", rig.disk.used());
    }
    assert_eq!(rig.accepted.len(), 100);
    rig.drain();
    for (reader, status) in rig.statuses.iter().enumerate() {
        let delivered = rig.delivered(reader);
        let dropped = status.dropped_spans.load(Ordering::Relaxed);
        assert_eq!(delivered.len() as u64 + dropped, 100);
        assert!(delivered.contains(&99) && !delivered.contains(&0));
    }
}

/// How far exporters have come may outlast what they were sent: what is written next must not pass for that.
#[test]
fn after_a_power_cut_nothing_new_is_taken_for_what_was_sent_before() {
    for seed in 0..20 {
        let mut rig = Rig::new(Durability::Received, OnFull::Refuse);
        for _ in 0..5 {
            rig.append(100);
            rig.write();
        }
        rig.drain();
        rig.save();
        rig.disk.cut_power(&mut Chance(seed));
        rig.reopen();
        rig.append(100);
        rig.write();
        rig.drain();
        for reader in 0..2 {
            assert!(rig.delivered(reader).contains(&5), "seed {seed}");
        }
    }
}

#[test]
fn batches_that_wait_for_the_disk_do_not_outgrow_the_memory() {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    for _ in 0..20 {
        rig.append(500);
    }
    assert!(rig.shared.state().memory_used() <= 3_000);
    for _ in 0..20 {
        rig.write();
    }
    assert_eq!(
        rig.accepted.len(),
        4,
        "as many as fit, and a later one fits again"
    );
    rig.append(500);
    rig.write();
    assert_eq!(rig.accepted.len(), 5);
}

#[tokio::test]
async fn a_large_record_that_is_damaged_does_not_hold_up_the_next() {
    let directory = TempDir::new().unwrap();
    let large = "x".repeat(3 << 20);
    filled(directory.path(), &[&large, &large]).await;
    let mut log = open(directory.path(), &["a"]);
    let path = directory.path().join(segment(1));
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"y", 1_000).unwrap();
    // Only one reader at a time may hold what is larger than it asked for; the first one never came.
    let records = log.next(0, 1_000).await;
    assert_eq!(records[0].sequence, 1);
}

#[tokio::test]
async fn a_fault_in_reading_that_passes_loses_nothing() {
    let directory = TempDir::new().unwrap();
    filled(directory.path(), &["one", "two"]).await;
    let mut log = open(directory.path(), &["a"]);
    let (path, aside) = (
        directory.path().join(segment(1)),
        directory.path().join("x"),
    );
    fs::rename(&path, &aside).unwrap();
    // A directory cannot be opened as a file is; unlike a file that is missing, that may pass.
    fs::create_dir(&path).unwrap();
    let status = Arc::clone(&log.status);
    let repair = async {
        while status.last_error.get().is_none() {
            tokio::task::yield_now().await;
        }
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    };
    let (texts, ()) = tokio::join!(log.texts(0), repair);
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn a_segment_that_cannot_be_removed_is_tried_again_before_later_ones() {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    for _ in 0..8 {
        rig.append(700);
        rig.write();
    }
    let segments = |rig: &Rig| {
        let names = rig.disk.list().unwrap();
        names
            .into_iter()
            .filter(|name| name.ends_with(".segment"))
            .collect::<Vec<_>>()
    };
    let before = segments(&rig);
    rig.drain();
    rig.disk.fail_in(Some(0));
    rig.writer.retire(&rig.shared);
    assert_eq!(
        segments(&rig),
        before,
        "none is removed before the first one"
    );
    rig.writer.retire(&rig.shared);
    assert_eq!(segments(&rig), before[before.len() - 1..]);
}

#[test]
fn no_more_than_two_damaged_segments_are_kept() {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    for round in 1..=4 {
        for _ in 0..3 {
            rig.append(100);
            rig.write();
        }
        let newest = rig
            .disk
            .list()
            .unwrap()
            .into_iter()
            .rfind(|name| name.ends_with(".segment"));
        rig.spoil(&newest.unwrap(), SEGMENT_HEADER + RECORD_HEADER);
        rig.reopen();
        rig.append(100);
        rig.write();
        rig.drain();
        rig.write();
        let names = rig.disk.list().unwrap();
        let damaged = names
            .iter()
            .filter(|name| name.ends_with(".damaged"))
            .count();
        assert_eq!(damaged, round.min(2), "{names:?}");
    }
}

#[test]
fn what_is_received_is_synced_within_a_tick() {
    let mut rig = Rig::new(Durability::Received, OnFull::Refuse);
    rig.append(100);
    rig.write();
    rig.writer.tick(&rig.shared, true);
    for seed in 0..10 {
        rig.disk.cut_power(&mut Chance(seed));
        rig.reopen();
        rig.drain();
        assert_eq!(rig.delivered(0), &rig.accepted, "seed {seed}");
        // Not saved, so that the next turn gets it again.
    }
}

#[test]
fn what_waits_for_an_exporter_that_left_expires() {
    let directory = TempDir::new().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let finish = |log: Fixture| runtime.block_on(log.log.finish());
    let log = open(directory.path(), &["old"]);
    runtime.block_on(log.append("one"));
    finish(log);
    finish(try_open(directory.path(), &["new"], Duration::ZERO).unwrap());
    let saved = fs::read_to_string(directory.path().join("cursors.json")).unwrap();
    assert!(!saved.contains("old"), "{saved}");
}

/// The power cut may undo the renaming of a segment and keep what was written to it under its new name.
#[test]
fn a_segment_that_is_used_again_gives_no_false_alarm() {
    for seed in 0..50 {
        let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
        for _ in 0..2 {
            rig.append(1_500);
            rig.write();
        }
        rig.drain();
        // The first segment becomes the spare, and then the third one, whose header gets there by half.
        rig.append(1_500);
        rig.disk.fail_in(Some(seed % 5));
        rig.write();
        rig.disk.cut_power(&mut Chance(seed));
        rig.disk.fail_in(None);
        // It fails if this is told as damage.
        rig.reopen();
        rig.drain();
        assert_eq!(rig.delivered(0), &rig.accepted, "seed {seed}");
    }
}

#[test]
fn a_segment_that_is_used_again_ends_where_its_records_do() {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    for _ in 0..12 {
        rig.append(580);
        rig.write();
        rig.drain();
    }
    // Two of these do not fit a segment.
    for _ in 0..4 {
        rig.append(1_000);
        rig.write();
    }
    let names = rig.disk.list().unwrap();
    let segments: Vec<_> = names
        .iter()
        .filter(|name| name.ends_with(".segment"))
        .collect();
    for name in &segments[1..segments.len() - 1] {
        let length = rig.disk.open(name).unwrap().length().unwrap();
        assert_eq!(
            length,
            (SEGMENT_HEADER + RECORD_HEADER + 1_000) as u64,
            "{name}"
        );
    }
}

/// Pages of one write get to the disk in any order: what is whole of it may be sent, and nothing was lost.
#[test]
fn a_hole_in_the_last_write_is_no_damage() {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    for _ in 0..3 {
        rig.append(100);
    }
    rig.write();
    let tear = |bytes: &mut Vec<u8>| bytes[SEGMENT_HEADER + RECORD_HEADER] ^= 0x55;
    rig.disk.change(&segment(1), tear);
    // It fails if this is told as damage.
    rig.reopen();
    rig.drain();
    assert_eq!(rig.delivered(0), &[1, 2].into());
}

#[test]
fn small_segments_count_as_more_than_they_hold() {
    let segments = [Segment::new(1, 0), Segment::new(2, 0)];
    let segments = Segments::new(segments.into());
    assert_eq!(segments.bytes(0), 2 * SEGMENT_HEADER as u64);
    assert_eq!(segments.bytes(1_000), 2_000);
}

/// Of three batches one is of logs, which the second reader does not take.
#[test]
fn what_a_reader_does_not_take_is_not_kept_for_it() {
    let mut rig = Rig::mixed(Durability::Synced, OnFull::Refuse);
    for number in 0..62_u64 {
        rig.append(300);
        rig.write();
        // All of the first reader's, and all but the logs of the second one's.
        for reader in [0, 1] {
            let takes = reader == 0 || number % 3 != 1;
            assert_eq!(rig.read(reader, 1), takes, "{number}");
            rig.ack(reader, usize::from(takes));
        }
    }
    assert_eq!(
        rig.accepted.len(),
        62,
        "nothing was refused for want of room"
    );
    rig.write();
    // The last one was of logs: the second reader is past it without having looked.
    assert_eq!(rig.shared.state().memory_used(), 0);
    let segments = rig.disk.list().unwrap();
    let segments = segments.iter().filter(|name| name.ends_with(SEGMENT));
    assert_eq!(segments.count(), 1);
    assert_eq!((rig.delivered(0).len(), rig.delivered(1).len()), (62, 41));

    // Nor after a restart, when they are on disk alone.
    for _ in 0..12 {
        rig.append(300);
        rig.write();
    }
    rig.save();
    rig.reopen();
    let unsent = |rig: &Rig, reader| rig.shared.state().unsent(ReaderId(reader));
    let counts = |traces, logs, metrics| Items {
        traces,
        logs,
        metrics,
    };
    assert_eq!(unsent(&rig, 0), counts(4, 4, 4));
    assert_eq!(unsent(&rig, 1), counts(4, 0, 4));
    rig.drain();
    assert_eq!((rig.delivered(0).len(), rig.delivered(1).len()), (74, 49));
}

/// What waits for one signal does not keep what comes of another from being merged.
#[test]
fn one_signal_may_be_ahead_of_another() {
    let mut rig = Rig::mixed(Durability::Synced, OnFull::Refuse);
    for _ in 0..9 {
        rig.append(50);
    }
    rig.write();
    for _ in 0..3 {
        assert!(rig.read(0, 2_000));
        rig.ack(0, 3);
    }
    assert!(!rig.read(0, 2_000));
    assert_eq!(rig.delivered(0).len(), 9);
}

/// Nor is it among what was looked at last.
#[test]
fn what_was_acknowledged_ahead_is_no_more_to_send() {
    let mut rig = Rig::mixed(Durability::Synced, OnFull::Refuse);
    for _ in 0..4 {
        rig.append(50);
    }
    rig.write();
    // Of one signal the first and the last.
    assert!(rig.read(0, 2_000));
    rig.ack(0, 2);
    for _ in 0..2 {
        assert!(rig.shared.state().has_more(ReaderId(0)));
        assert!(rig.read(0, 1));
        rig.ack(0, 1);
    }
    assert_eq!(rig.delivered(0).len(), 4);
    assert!(!rig.shared.state().has_more(ReaderId(0)));
}

/// It lies behind what still waits, and is not among what was looked at last.
#[test]
fn what_is_acknowledged_ahead_is_not_lost_when_it_is_pushed_out() {
    let mut rig = Rig::mixed(Durability::Synced, OnFull::DropOldest);
    for _ in 0..6 {
        rig.append(50);
    }
    rig.write();
    assert!(rig.read(0, 2_000));
    rig.ack(0, 2);
    assert!(rig.read(0, 1));
    let unsent = rig.shared.state().unsent(ReaderId(0));
    assert_eq!((unsent.traces, unsent.logs, unsent.metrics), (0, 2, 2));
    for _ in 0..30 {
        rig.append(600);
        rig.write();
    }
    rig.drain();
    let dropped = rig.dropped(0);
    assert!(dropped >= 4, "{dropped}");
    let both = rig.delivered(0).len() as u64 + dropped;
    assert_eq!(both, rig.accepted.len() as u64);
}

/// Whether it is being sent when it is pushed out, or was asked for again; the first batch is settled after all where its
/// exporter gets through.
#[test]
fn what_was_told_of_a_record_is_not_lost_with_it() {
    for (asked_again, gets_through) in [(false, false), (true, false), (false, true)] {
        let mut rig = Rig::new(Durability::Synced, OnFull::DropOldest);
        rig.items = 3;
        rig.append(50);
        rig.write();
        assert!(rig.read(0, 2_000));
        rig.tell(0);
        assert_eq!(rig.shared.state().unsent(ReaderId(0)).traces, 2);
        if asked_again {
            rig.shared.state().read(ReaderId(0), 2_000);
            assert_eq!(rig.shared.state().unsent(ReaderId(0)).traces, 2);
        }
        for _ in 0..30 {
            rig.append(600);
            rig.write();
        }
        let told = if gets_through {
            rig.ack(0, 1);
            0
        } else {
            1
        };
        rig.drain();
        let delivered = 3 * rig.delivered(0).len() as u64;
        let all = 3 * rig.accepted.len() as u64;
        assert_eq!(delivered + told + rig.dropped(0), all);
        assert_eq!(rig.delivered(0).contains(&0), gets_through);
    }
}

#[tokio::test]
async fn what_nobody_takes_is_not_written() {
    let directory = TempDir::new().unwrap();
    let config = DiskConfig {
        directory: directory.path().to_owned(),
        durability: Durability::Synced,
        limit: LIMIT,
        retention: Duration::from_secs(3_600),
    };
    let traces_only = ReaderConfig {
        status: Arc::new(ExporterStatus {
            signals: [Signal::Traces].into_iter().collect(),
            ..ExporterStatus::named("a")
        }),
        on_full: OnFull::Refuse,
    };
    let status = Arc::new(LogStatus::default());
    let opened = BatchLog::on_disk(&config, MEMORY, vec![traces_only], Arc::clone(&status));
    let (log, _cursors, _) = opened.unwrap();
    let used = || status.used_bytes.load(Ordering::Relaxed);
    log.append(Signal::Logs, "log".into(), 1).await.unwrap();
    assert_eq!(used(), 0);
    log.append(Signal::Traces, "trace".into(), 1).await.unwrap();
    assert!(used() > 0);
}

/// An exporter that is gone waits for no more than it took.
#[test]
fn what_an_exporter_took_is_remembered_when_it_is_gone() {
    let mut rig = Rig::mixed(Durability::Synced, OnFull::Refuse);
    for _ in 0..6 {
        rig.append(50);
    }
    rig.write();
    rig.save();
    let status = Arc::new(LogStatus::default());
    let found = recover(&rig.disk, Vec::new(), &status).unwrap();
    let names: Vec<_> = found
        .readers
        .iter()
        .map(|reader| reader.unsent.items)
        .collect();
    let counts = |traces, logs, metrics| Items {
        traces,
        logs,
        metrics,
    };
    assert_eq!(names, [counts(2, 2, 2), counts(2, 0, 2)]);
}
