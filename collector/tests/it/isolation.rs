//! One exporter's trouble is its own: of three peers one hangs and one refuses everything, and the third is sent everything as
//! if it were alone; and of many senders one whose bytes nobody can read loses its own spans alone.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::batch_of;
use super::fault_peers::{Fault, FaultPeer};
use super::flood::{Load, Plan, Report, Watch, is_full, percentile, say};
use super::process::{Collector, get, post, wait_for, wait_for_at_most};
use super::sink::Sink;

/// For everything to arrive, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const LIMIT: u64 = 96 << 20;

/// More than the log holds, so that the exporter that hangs is at its cap.
fn batches() -> usize {
    if is_full() { 4_000 } else { 400 }
}

const PLAN: Plan = Plan {
    senders: 4,
    spans: 100,
    bytes: 1_000,
    every: Duration::from_millis(20),
};

/// The exporters of `/api/v1/status`, in order.
fn exporters(collector: &Collector) -> Vec<Value> {
    let (_, status) = get(&collector.web("/api/v1/status"));
    let mut status: Value = serde_json::from_str(&status).unwrap();
    serde_json::from_value(status["exporters"].take()).unwrap()
}

/// Sends to a collector with these peers beside a good one; what the senders met, and how long spans took to the good one.
fn run(
    beside: &[String],
    over: fn(&Collector, Plan) -> Load,
) -> (Report, Vec<Duration>, Vec<Value>) {
    let sink = Sink::of_ids();
    let mut args = vec!["--memory-limit".to_owned(), LIMIT.to_string()];
    for url in beside.iter().chain([&sink.url()]) {
        args.extend(["--export".to_owned(), url.clone()]);
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let collector = Collector::start_with(&args, &[("BELLWETHER_GRACE", "5s")]);
    let watch = Watch::start(&collector);
    let load = over(&collector, PLAN);
    wait_for_at_most(PATIENCE, "all batches", || load.taken() >= batches());
    let report = load.stop();
    wait_for_at_most(PATIENCE, "all spans at the good peer", || {
        sink.lacks(&report.accepted) == 0
    });
    let exporters = exporters(&collector);
    assert!(watch.most() <= LIMIT, "{} bytes", watch.most());
    drop(watch);
    collector.stop();
    let delays = sink.delays();
    (report, delays, exporters)
}

fn isolated(over: fn(&Collector, Plan) -> Load, name: &str) {
    let others = [Sink::of_ids(), Sink::of_ids()].map(|sink| sink.url());
    let (_, alone, _) = run(&others, over);
    let hanging = FaultPeer::start(Fault::Hang);
    let refusing = FaultPeer::start(Fault::Say(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"));
    let others = [&hanging, &refusing].map(|peer| format!("otlp+http://{}", peer.address));
    let (report, delays, exporters) = run(&others, over);

    assert_eq!(report.faults, BTreeSet::new());
    assert_eq!(report.refused, 0, "under drop_oldest nobody is refused");
    let [hung, refused, good] = &exporters[..] else {
        panic!("{exporters:?}");
    };
    let accepted = report.accepted.len() as u64;
    assert_eq!(good["sent_spans"], accepted, "{good}");
    assert_eq!(
        (&good["dropped_spans"], &good["set_aside_spans"]),
        (&0.into(), &0.into())
    );
    assert_eq!(good["failing_seconds"], Value::Null, "{good}");
    assert_eq!(hung["sent_spans"], 0, "{hung}");
    assert!(hung["dropped_spans"].as_u64() > Some(0), "{hung}");
    assert_eq!(refused["sent_spans"], 0, "{refused}");
    assert!(refused["set_aside_spans"].as_u64() > Some(0), "{refused}");
    assert!(
        refused["last_error"]["message"].to_string().contains("404"),
        "{refused}"
    );

    let of = |delays: &[Duration]| [50, 99].map(|percent| percentile(delays, percent));
    let ([median, tail], [alone_median, alone_tail]) = (of(&delays), of(&alone));
    say(&format!(
        "{name}: {accepted} spans, none refused or lost; to the good peer p50 {median:?}, p99 {tail:?}; \
         with the others well p50 {alone_median:?}, p99 {alone_tail:?}"
    ));
    // A machine may be busy in one run and not in the other; being held back by a peer that hangs takes seconds.
    for (with, without) in [(median, alone_median), (tail, alone_tail)] {
        let bound = without * 5 + Duration::from_millis(300);
        assert!(with <= bound, "{with:?}, without them {without:?}");
    }
}

#[test]
fn peers_that_hang_or_refuse_hold_nobody_back_over_http() {
    isolated(Load::over_http, "http");
}

#[test]
fn peers_that_hang_or_refuse_hold_nobody_back_over_grpc() {
    isolated(Load::over_grpc, "grpc");
}

fn nothing_is_lost_where_senders_are_pushed_back(over: fn(&Collector, Plan) -> Load) {
    let hanging = FaultPeer::start(Fault::Hang);
    let good = Sink::of_ids();
    let urls = [format!("otlp+http://{}", hanging.address), good.url()];
    let limit = LIMIT.to_string();
    let collector = Collector::start(&[
        "--memory-limit",
        &limit,
        "--on-full",
        "refuse",
        "--export",
        &urls[0],
        "--export",
        &urls[1],
    ]);
    let watch = Watch::start(&collector);
    let load = over(&collector, PLAN);
    wait_for_at_most(PATIENCE, "senders to be pushed back", || {
        load.refused() > 20
    });
    let failing = || !exporters(&collector)[0]["failing_seconds"].is_null();
    wait_for_at_most(PATIENCE, "the time-out", failing);
    let before = load.taken();
    let mended = Sink::listen(hanging.stop());
    wait_for_at_most(PATIENCE, "room", || load.taken() > before + 50);
    let report = load.stop();
    assert_eq!(report.faults, BTreeSet::new());
    for sink in [&mended, &good] {
        wait_for_at_most(PATIENCE, "everything", || sink.lacks(&report.accepted) == 0);
    }
    wait_for("its answers", || {
        exporters(&collector)[0]["failing_seconds"].is_null()
    });
    for exporter in exporters(&collector) {
        let lost = (&exporter["dropped_spans"], &exporter["set_aside_spans"]);
        assert_eq!(lost, (&0.into(), &0.into()), "{exporter}");
        assert_eq!(exporter["sent_spans"], report.accepted.len(), "{exporter}");
    }
    assert!(watch.most() <= LIMIT, "{} bytes", watch.most());
    drop(watch);
    collector.stop();
}

#[test]
fn a_peer_that_hangs_pushes_senders_back_and_loses_nothing_over_http() {
    nothing_is_lost_where_senders_are_pushed_back(Load::over_http);
}

#[test]
fn a_peer_that_hangs_pushes_senders_back_and_loses_nothing_over_grpc() {
    nothing_is_lost_where_senders_are_pushed_back(Load::over_grpc);
}

#[test]
fn peers_that_are_bad_in_every_way_at_once_hold_nobody_back() {
    let busy = b"HTTP/1.1 503 Busy\r\ncontent-length: 1073741824\r\n\r\n";
    let bad = [
        Fault::Hang,
        Fault::Deaf,
        Fault::Reset,
        Fault::HalfClose,
        Fault::Say(b"220 mail ready\r\n"),
        Fault::SayAndFlood(busy, 1 << 30),
        Fault::Drip(b"HTTP/1.1 200 OK\r\nx: "),
    ]
    .map(FaultPeer::start);
    let good = Sink::of_ids();
    let urls = bad
        .iter()
        .map(|peer| format!("otlp+http://{}", peer.address));
    let urls: Vec<_> = urls.chain([good.url()]).collect();
    let args: Vec<_> = urls.iter().flat_map(|url| ["--export", url]).collect();
    let collector = Collector::start_with(&args, &[("BELLWETHER_GRACE", "5s")]);
    let limit = 256 << 20;
    let watch = Watch::start(&collector);
    let begun = Instant::now();
    let load = Load::over_http(&collector, PLAN);
    wait_for_at_most(PATIENCE, "batches", || load.taken() >= batches());
    wait_for_at_most(PATIENCE, "every bad peer", || {
        bad.iter().all(|peer| peer.connections() > 0)
    });
    let report = load.stop();
    wait_for_at_most(PATIENCE, "all spans at the good peer", || {
        good.lacks(&report.accepted) == 0
    });
    assert_eq!((report.faults, report.refused), (BTreeSet::new(), 0));
    // Waits begin at 100 ms, of which half is chance, and double.
    let most = 10 + begun.elapsed().as_secs();
    for peer in &bad {
        assert!(
            peer.connections() <= most,
            "{} connections",
            peer.connections()
        );
        let each = peer.said() / peer.connections();
        assert!(each < 16 << 20, "{each} bytes were read of an answer");
    }
    for exporter in &exporters(&collector)[..bad.len()] {
        assert_eq!(
            (&exporter["sent_spans"], &exporter["set_aside_spans"]),
            (&0.into(), &0.into())
        );
    }
    assert!(watch.most() <= limit, "{} bytes", watch.most());
    drop(watch);
    collector.stop();
}

#[test]
fn bytes_that_nobody_can_read_cost_their_span_alone() {
    let sink = Sink::of_ids();
    sink.refuse(true);
    let url = sink.url();
    let collector = Collector::start(&["--export", &url]);
    let mut good = BTreeSet::new();
    for number in 0..40_u64 {
        let ids = 10 * number + 1..10 * number + 8;
        let mut body = batch_of("shop", ids.clone(), 8);
        good.extend(ids.clone());
        if number == 23 {
            // Of its last span. Its framing is right, so it is taken; but its text is none, which whoever decodes it finds.
            let at = body
                .windows(8)
                .rposition(|eight| eight == b"xxxxxxxx")
                .unwrap();
            body[at] = 0xff;
            good.remove(&(ids.end - 1));
        }
        assert_eq!(post(&collector.traces(), &body).0, 200);
    }
    sink.refuse(false);
    wait_for_at_most(PATIENCE, "what can be read", || sink.lacks(&good) == 0);
    wait_for("the rest to be set aside", || {
        exporters(&collector)[0]["set_aside_spans"] == 1
    });
    let [exporter] = &exporters(&collector)[..] else {
        panic!("one exporter");
    };
    assert_eq!(exporter["sent_spans"], good.len(), "{exporter}");
    let told = exporter["last_error"]["message"].to_string();
    assert!(told.contains("400 Bad Request: not protobuf!"), "{told}");
    assert_eq!(sink.taken().len(), good.len());
    let lines = {
        collector.terminate();
        collector.exits_with_success()
    };
    let refused = "the peer refused some for good: they are set aside";
    let line = lines.iter().find(|line| line["message"] == refused);
    assert_eq!(line.expect("told")["spans"], 1);
}
