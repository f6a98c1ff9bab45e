//! `--data-dir` on disks that lose their power, are full, are read-only or are taken away: what was answered with
//! success arrives. docs/durability.md has the results of the full form.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::file_system::{Image, Mounted, is_empty};
use super::load::{DAMAGED, PATIENCE, Sent, arrived, rounds};
use super::process::{get, post, wait_for, wait_for_at_most};
use super::sink::Sink;
use super::{batch_of, metric};

const LIMIT: [&str; 2] = ["--data-limit", "128MiB"];

#[test]
fn power_cuts_under_load_lose_nothing_that_was_synced() {
    let Some(image) = Image::new("power_cuts_under_load", 192) else {
        return;
    };
    let (sink, sent) = (Sink::start(), Arc::new(Sent::default()));
    for round in 0..rounds() {
        sink.refuse(round % 3 == 1);
        let collector = image.start(&sink.url(), &LIMIT);
        assert_eq!(metric(&collector, DAMAGED), Some(0.0), "a false alarm");
        let enough = sent.count() + rand::random_range(1..1_500);
        let senders = sent.start(&collector.traces());
        wait_for("some load", || sent.count() >= enough);
        let cut_at = image.cut_power(&collector);
        collector.kill();
        sent.stop(senders);
        sent.cut_at(cut_at);
        image.wait_until_free();
    }
    sink.refuse(false);
    let collector = image.start(&sink.url(), &LIMIT);
    wait_for_at_most(PATIENCE, "what is left to be sent", || {
        metric(&collector, "bellwether_queue_bytes{") == Some(0.0)
    });
    sent.tell("synced, power cut", &sink);
    arrived(&sink, &sent.accepted());
    assert_eq!(metric(&collector, DAMAGED), Some(0.0));
    collector.stop();
}

/// That cuts do cost what was not synced is what makes the test above one.
#[test]
fn power_cuts_cost_what_was_only_received() {
    let Some(image) = Image::new("power_cuts_cost", 192) else {
        return;
    };
    let (sink, sent) = (Sink::start(), Arc::new(Sent::default()));
    let received = [&LIMIT[..], &["--durability", "received"]].concat();
    sink.refuse(true);
    for _ in 0..rounds() {
        let collector = image.start(&sink.url(), &received);
        let enough = sent.count() + rand::random_range(1..1_500);
        let senders = sent.start(&collector.traces());
        wait_for("some load", || sent.count() >= enough);
        let cut_at = image.cut_power(&collector);
        collector.kill();
        sent.stop(senders);
        sent.cut_at(cut_at);
        image.wait_until_free();
    }
    sink.refuse(false);
    let collector = image.start(&sink.url(), &received);
    wait_for_at_most(PATIENCE, "what is left to be sent", || {
        metric(&collector, "bellwether_queue_bytes{") == Some(0.0)
    });
    collector.stop();
    sent.tell("received, power cut", &sink);
    assert!(sink.lacks(&sent.accepted()) > 0, "the cuts cost nothing");
}

#[test]
fn a_disk_that_fills_up_refuses_and_loses_nothing_even_when_killed() {
    let Some(image) = Image::new("a_disk_that_fills_up", 24) else {
        return;
    };
    // Large spans: few of them fill it.
    let (sink, sent) = (Sink::start(), Arc::new(Sent::of(40_000)));
    for round in 0..rounds() {
        sink.refuse(true);
        let collector = image.start(&sink.url(), &LIMIT);
        let url = collector.traces();
        wait_for_at_most(PATIENCE, "a full disk", || {
            let (status, text) = sent.send(&url);
            let full = "the data directory cannot be written";
            assert!(status == 200 || text.contains(full), "{text}");
            status == 503
        });
        let senders = sent.start(&url);
        let refused = sent.refused() + 20;
        wait_for("more refusals", || sent.refused() >= refused);
        assert_eq!(get(&collector.web("/readyz")).0, 200);
        let collector = if round % 2 == 0 {
            collector.kill();
            sent.stop(senders);
            image.wait_until_free();
            image.start(&sink.url(), &LIMIT)
        } else {
            sent.stop(senders);
            collector
        };
        // What is sent makes room.
        sink.refuse(false);
        arrived(&sink, &sent.accepted());
        let url = collector.traces();
        wait_for_at_most(PATIENCE, "room", || sent.send(&url).0 == 200);
        arrived(&sink, &sent.accepted());
        assert_eq!(metric(&collector, DAMAGED), Some(0.0));
        collector.stop();
        image.wait_until_free();
    }
    assert_ne!(sent.refused(), 0);
    sent.tell("a full disk", &sink);
}

#[test]
fn a_directory_that_is_taken_away_refuses_until_it_is_back() {
    let Some(mounted) = Mounted::new("a_directory_that_is_taken_away") else {
        return;
    };
    let sink = Sink::start();
    sink.refuse(true);
    let collector = mounted.start(&sink.url());
    let send = |id: u64| post(&collector.traces(), &batch_of("shop", id..id + 1, 100));
    assert_eq!(send(1).0, 200);
    mounted.take_away(&collector);
    for id in 2..5 {
        let (status, text) = send(id);
        assert_eq!(status, 503);
        assert!(
            text.contains("the data directory cannot be written"),
            "{text}"
        );
    }
    let told = "the batch log cannot be written: batches are refused, and their senders retry, until it can be";
    wait_for("a line about it", || collector.logged(told));
    assert!(
        is_empty(&mounted.at()),
        "nothing goes into what is there instead"
    );
    assert_eq!(get(&collector.web("/readyz")).0, 200);
    mounted.give_back(&collector);
    assert_eq!(send(5).0, 200);
    wait_for("a line about it", || {
        collector.logged("the batch log can be written again")
    });
    sink.refuse(false);
    arrived(&sink, &BTreeSet::from([1, 5]));
    collector.stop();
}

#[test]
fn a_read_only_directory_is_an_error_at_the_start() {
    let Some(mounted) = Mounted::new("a_read_only_directory") else {
        return;
    };
    let told = mounted.start_read_only();
    let expected = format!(
        "--data-dir {}: Read-only file system",
        mounted.at().display()
    );
    assert!(told.contains(&expected), "{told}");
}
