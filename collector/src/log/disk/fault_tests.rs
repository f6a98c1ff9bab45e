//! Trouble that passes costs nothing: files that cannot be read, removed or written for a while, a directory that is
//! away. And trouble in the code itself is not passed over in silence.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::{advance, timeout};

use super::files::{Directory, Files};
use super::format::SEGMENT_HEADER;
use super::model_tests::Rig;
use super::scan::{self, Damage};
use super::sim::Chance;
use super::state::Next;
use super::{DiskLog, Durability, HANGS};
use crate::log::{BatchLog, Full, Kind, OnFull, ReaderId};
use crate::signal::Signal;

/// A log whose writer has panicked.
pub(crate) async fn broken_log() -> BatchLog {
    let Rig {
        disk,
        shared,
        writer,
        ..
    } = Rig::new(Durability::Synced, OnFull::Refuse);
    disk.panic_next();
    let log = DiskLog::start(shared, writer).unwrap();
    let refused = log
        .append(Signal::Traces, Bytes::from_static(b"one"), 1)
        .await;
    assert_eq!(refused, Err(Full::Closed));
    BatchLog(Kind::Disk(Arc::new(log)))
}

/// A log whose records are on disk only.
fn cold(batches: usize) -> Rig {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    for _ in 0..batches {
        rig.append(600);
        rig.write();
    }
    rig.reopen();
    rig
}

fn dropped(rig: &Rig) -> u64 {
    (0..rig.statuses.len())
        .map(|reader| rig.dropped(reader))
        .sum()
}

#[test]
fn a_file_that_cannot_be_read_keeps_the_collector_from_starting_without_it() {
    let mut rig = cold(6);
    // The header of a segment; a record in one that is not the newest, and in the newest.
    for offset in [0, SEGMENT_HEADER + 400, SEGMENT_HEADER + 700] {
        rig.disk.unreadable_from(Some(offset));
        let fault = rig.start_fault().expect("refused");
        // Not merely of the places, which cannot be read either: those cost nothing.
        assert!(fault.to_string().contains(".segment: "), "{fault}");
        assert!(fault.to_string().contains("move the file away"), "{fault}");
    }
    rig.disk.unreadable_from(None);
    rig.reopen();
    rig.drain();
    assert_eq!(rig.delivered(0), &rig.accepted);
    assert_eq!(rig.accepted.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_back_for_an_hour_is_not_lost() {
    let mut rig = cold(3);
    rig.disk.unreadable_from(Some(SEGMENT_HEADER));
    let next = rig.cursors[0].next(10_000);
    assert!(timeout(Duration::from_secs(3_600), next).await.is_err());
    let told = rig.shared.status.last_error.get().expect("told");
    assert!(told.message.contains("cannot be read here"), "{told:?}");
    rig.disk.unreadable_from(None);
    let records = rig.cursors[0].next(10_000).await.expect("records");
    assert_eq!(records[0].sequence, 0);
    assert_eq!(dropped(&rig), 0);
    rig.drain();
    assert_eq!(rig.delivered(0), &rig.accepted);
}

/// What is read was asked for a moment ago: what was appended behind it since has not been looked at.
#[test]
fn a_reader_that_finds_nothing_does_not_pass_over_what_came_meanwhile() {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    rig.append(100);
    rig.write();
    // Nothing stays in memory.
    rig.shared.state().hold_oversize(usize::MAX);
    let Next::OnDisk(ask) = rig.shared.state().read(ReaderId(0), 10_000) else {
        panic!("it is in memory");
    };
    rig.append(100);
    rig.write();
    let found = rig
        .shared
        .state()
        .found(ReaderId(0), &ask, Vec::new(), Damage::default());
    assert_eq!(found.1, []);
    rig.drain();
    assert_eq!(rig.delivered(0).len(), 2);
    assert_eq!(dropped(&rig), 0);
}

#[test]
fn used_up_segments_that_cannot_be_removed_count_towards_the_cap() {
    for on_full in [OnFull::Refuse, OnFull::DropOldest] {
        let mut rig = Rig::new(Durability::Synced, on_full);
        rig.disk.keep_segments(true);
        for turn in 0..100 {
            rig.append(500);
            rig.write();
            // From then on there is something that could be dropped.
            if turn < 10 {
                rig.drain();
            }
            assert!(rig.disk.used() <= 12_000 + 2 * 2_000, "{}", rig.disk.used());
        }
        let kept = rig.accepted.len();
        assert!(kept < 30, "{kept}");
        assert_eq!(dropped(&rig), 0, "there is no sense in that");
        let told = rig.shared.status.last_error.get().expect("told");
        assert_eq!(told.message, "permission denied");
        rig.disk.keep_segments(false);
        rig.write();
        rig.append(500);
        rig.write();
        rig.drain();
        assert_eq!(rig.accepted.len(), kept + 1, "room again");
        assert_eq!(rig.delivered(0), &rig.accepted);
    }
}

#[test]
fn while_the_directory_is_away_nothing_is_taken_and_nothing_is_lost() {
    let mut rig = cold(3);
    rig.append(100);
    rig.write();
    assert!(rig.read(1, 1_000));
    rig.disk.vanish(true);
    for _ in 0..2 {
        // Not even into the file that is open: its name may be gone.
        rig.append(100);
        rig.write();
    }
    assert_eq!(rig.accepted.len(), 4);
    rig.ack(1, 1);
    rig.save();
    assert!(rig.shared.state().unsaved_bytes().is_some(), "not saved");
    let Next::OnDisk(ask) = rig.shared.state().read(ReaderId(0), 10_000) else {
        panic!("it is in memory");
    };
    let error = scan::read(&rig.disk, &ask).unwrap_err();
    assert_ne!(error.kind(), io::ErrorKind::NotFound, "that may pass");
    rig.disk.vanish(false);
    rig.append(100);
    rig.write();
    rig.drain();
    assert_eq!(rig.accepted.len(), 5);
    assert_eq!(rig.delivered(0), &rig.accepted);
    assert_eq!(dropped(&rig), 0);
}

#[test]
fn another_directory_in_its_place_is_noticed() {
    let parent = TempDir::new().unwrap();
    let (path, away) = (parent.path().join("data"), parent.path().join("away"));
    let directory = Directory::open(&path).unwrap();
    directory.check().unwrap();
    fs::rename(&path, &away).unwrap();
    let gone = directory.check().unwrap_err();
    assert_ne!(gone.kind(), io::ErrorKind::NotFound);
    let other = Directory::open(&path).unwrap();
    other.check().unwrap();
    assert!(directory.check().is_err());
    drop(other);
    fs::remove_dir_all(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    directory.check().unwrap();
}

#[test]
fn what_is_no_directory_is_told_as_such() {
    let parent = TempDir::new().unwrap();
    let (file, nowhere) = (parent.path().join("file"), parent.path().join("nowhere"));
    fs::write(&file, "").unwrap();
    std::os::unix::fs::symlink("/does/not/exist", &nowhere).unwrap();
    for path in [&file, &file.join("below"), &nowhere] {
        let told = Directory::open(path).unwrap_err().to_string();
        assert!(told.contains("it is not a directory; name one"), "{told}");
    }
}

#[test]
fn what_is_made_is_for_its_user_alone() {
    let parent = TempDir::new().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let made = parent.path().join("made/for/this");
    let directory = Directory::open(&made).unwrap();
    directory.create("file").unwrap();
    assert_eq!(mode(&made), 0o700);
    assert_eq!(mode(&parent.path().join("made")), 0o700);
    for name in ["file", "lock"] {
        assert_eq!(mode(&made.join(name)), 0o600, "{name}");
    }
    let there = parent.path().join("there");
    fs::create_dir(&there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o750)).unwrap();
    Directory::open(&there).unwrap();
    assert_eq!(mode(&there), 0o750, "it is somebody's choice");
}

#[tokio::test]
async fn a_panic_of_the_writer_is_told_and_what_was_answered_is_still_read() {
    let rig = Rig::new(Durability::Synced, OnFull::Refuse);
    let Rig {
        disk,
        shared,
        writer,
        mut cursors,
        ..
    } = rig;
    let log = DiskLog::start(shared, writer).unwrap();
    log.append(Signal::Traces, Bytes::from_static(b"one"), 1)
        .await
        .unwrap();
    assert!(!log.is_broken());
    disk.panic_next();
    let refused = log
        .append(Signal::Traces, Bytes::from_static(b"two"), 1)
        .await;
    assert_eq!(refused, Err(Full::Closed));
    let patience = Duration::from_secs(20);
    timeout(patience, log.broken()).await.expect("told");
    let refused = log
        .append(Signal::Traces, Bytes::from_static(b"three"), 1)
        .await;
    assert_eq!(refused, Err(Full::Closed));
    let records = cursors[0].next(1_000).await.expect("records");
    assert_eq!(records.len(), 1);
    cursors[0].ack(records[0].sequence);
    assert!(cursors[0].next(1_000).await.is_none(), "the end");
    log.finish();
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_hangs_batches_are_refused_at_once() {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    // Having nothing to do for long is not hanging.
    advance(HANGS).await;
    rig.append(100);
    advance(HANGS - Duration::from_millis(1)).await;
    rig.append(100);
    advance(Duration::from_millis(1)).await;
    let offer = |rig: &Rig| {
        let batch = Bytes::from_static(b"one");
        rig.shared.offer(Signal::Traces, batch, 1).map(|_| ())
    };
    let seconds = HANGS.as_secs();
    assert_eq!(offer(&rig), Err(Full::Hangs { seconds }));
    let told = rig.shared.status.last_error.get().expect("told");
    assert!(told.message.contains("has not finished"), "{told:?}");
    rig.write();
    assert_eq!(rig.accepted, [0, 1].into());
    assert_eq!(offer(&rig), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_never_idle_does_not_hang() {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    // Each is a group of its own: something waits the whole time.
    rig.append(700);
    for done in 1..5 {
        rig.append(700);
        advance(HANGS / 2).await;
        rig.write();
        assert_eq!(rig.accepted.len(), done);
        assert!(rig.shared.state().has_pending(), "none was refused");
    }
}

#[tokio::test]
async fn nobody_waits_for_a_disk_that_hangs_at_the_end() {
    let rig = Rig::new(Durability::Synced, OnFull::Refuse);
    let (disk, patience) = (rig.disk.clone(), Duration::from_secs(20));
    let log = DiskLog::start(rig.shared, rig.writer).unwrap();
    let log = BatchLog(Kind::Disk(Arc::new(log)));
    disk.hang(true);
    let append = log.append(Signal::Traces, Bytes::from_static(b"one"), 1);
    let waits = timeout(Duration::from_millis(20), append).await;
    let finished = timeout(Duration::from_millis(20), log.finish()).await;
    // Elsewhere, for if this is broken it returns only when the disk does.
    let dropped = timeout(patience, spawn_blocking(move || drop(log))).await;
    disk.hang(false);
    assert!(waits.is_err() && finished.is_err());
    dropped.expect("dropped").unwrap();
}

/// A log that starts on a write which failed and could not be taken back: a whole record of it can be read, was
/// answered with a failure, and is not on disk.
fn failed_write() -> Rig {
    let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
    for length in [77, 450] {
        rig.append(length);
    }
    rig.disk.keep_segments(true);
    // After the new segment's making, writing, syncing, renaming and the syncing of names: its first records.
    rig.disk.fail_in(Some(5));
    rig.write();
    assert!(rig.accepted.is_empty());
    rig
}

/// Has a batch accepted behind what was found, and then cuts the power.
fn go_on_and_cut_power(mut rig: Rig, seed: u64) {
    rig.append(0);
    rig.write();
    assert_eq!(rig.accepted, [2].into(), "seed {seed}");
    rig.disk.cut_power(&mut Chance(seed));
    // It fails if this is told as damage.
    rig.reopen();
    rig.drain();
    assert!(rig.delivered(0).contains(&2), "seed {seed}");
}

#[test]
fn what_a_start_finds_of_a_failed_write_gives_no_false_alarm() {
    for seed in 0..100 {
        let mut rig = failed_write();
        rig.reopen();
        go_on_and_cut_power(rig, seed);
    }
}

/// The same where nothing is left to be cut off behind the whole record.
#[test]
fn what_a_start_finds_of_a_write_to_a_full_disk_gives_no_false_alarm() {
    for seed in 0..100 {
        let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
        for _ in 0..2 {
            rig.append(215);
        }
        rig.disk.keep_segments(true);
        rig.disk.fill_up(Some(450));
        rig.write();
        assert!(rig.accepted.is_empty());
        rig.reopen();
        rig.disk.fill_up(None);
        go_on_and_cut_power(rig, seed);
    }
}

/// The sync of a start that goes well says nothing of what one that failed before has lost.
#[test]
fn what_a_start_finds_of_a_failed_sync_gives_no_false_alarm() {
    for seed in 0..100 {
        let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
        for length in [77, 450] {
            rig.append(length);
        }
        rig.disk.keep_segments(true);
        rig.disk.fail_in(Some(6));
        rig.write();
        assert!(rig.accepted.is_empty());
        rig.reopen();
        go_on_and_cut_power(rig, seed);
    }
}

/// Whichever step of a start fails at which what it found is brought to the disk.
#[test]
fn what_a_start_cannot_bring_to_the_disk_gives_no_false_alarm() {
    for seed in 0..200 {
        let mut rig = failed_write();
        rig.disk.fail_in(Some(seed % 4));
        rig.reopen();
        rig.disk.fail_in(None);
        go_on_and_cut_power(rig, seed);
    }
}

/// Somebody's place behind a record that the power cut takes would make it a record that is missing.
#[test]
fn places_in_what_is_not_on_disk_are_not_saved() {
    for seed in 0..100 {
        let mut rig = failed_write();
        rig.disk.fail_in(Some(0));
        rig.reopen();
        assert!(rig.read(0, 1_000));
        rig.ack(0, 1);
        if seed % 2 == 0 {
            rig.disk.fail_in(Some(seed / 2 % 3));
        }
        rig.save();
        rig.disk.cut_power(&mut Chance(seed));
        rig.disk.fail_in(None);
        rig.reopen();
        go_on_and_cut_power(rig, seed);
    }
}

#[test]
fn what_a_start_found_may_be_taken_away() {
    let mut rig = failed_write();
    rig.disk.fail_in(Some(0));
    rig.reopen();
    rig.disk.keep_segments(false);
    let names = rig.disk.list().unwrap();
    for name in names.iter().filter(|name| name.ends_with(".segment")) {
        rig.disk.remove(name).unwrap();
    }
    rig.append(0);
    rig.write();
    assert_eq!(rig.accepted, [2].into(), "nothing waits for what is gone");
}

/// What is begun after it holds the records that it was begun for, and is done away with after it.
#[test]
fn a_segment_that_could_not_be_taken_back_gives_no_false_alarm() {
    // It fails before it has its first record, and with it.
    for step in [4, 5] {
        let mut rig = Rig::new(Durability::Synced, OnFull::Refuse);
        rig.disk.keep_segments(true);
        rig.disk.fail_in(Some(step));
        rig.append(0);
        rig.write();
        rig.disk.keep_segments(false);
        for _ in 0..2 {
            rig.append(1_500);
            rig.write();
        }
        assert_eq!(rig.accepted, [1, 2].into());
        for reader in 0..2 {
            assert!(rig.read(reader, 1));
            rig.ack(reader, 1);
        }
        rig.write();
        // It fails if this is told as damage.
        rig.reopen();
        rig.drain();
        assert_eq!(rig.delivered(0), &rig.accepted);
    }
}
