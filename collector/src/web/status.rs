//! `GET /status`: in words, what came in and what went on.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use maud::{Markup, html};

use super::format::{ago, bytes, coarse, count, counted, utc};
use super::layout::{Frame, Tab, page as frame_page};
use super::query::PageQuery;
use super::{Web, live};
use crate::signal::{Items, Signal, Signals};
use crate::status::{
    ErrorAt, ExporterStatus, Locks, LogStatus, ReceiverStatus, SamplingStatus, Status,
    now_unix_nano,
};
use crate::views::report::ViewsStatus;

/// The handler.
pub(super) async fn page(State(web): State<Web>, query: PageQuery) -> Markup {
    let version = live::version(&web);
    let main = content(&web.status, &web.views.status(), now_unix_nano());
    let frame = Frame {
        title: "Status",
        tab: Tab::Status,
        live: Some(version),
        query: &query,
    };
    frame_page(&frame, &main)
}

fn content(status: &Status, views: &ViewsStatus, now: u64) -> Markup {
    html! {
        div.heading { h1 { "Status" } }
        section {
            h2 { "Coming in" }
            @if status.receivers.is_empty() { p.muted { "Nothing listens." } }
            div.cards { @for receiver in &status.receivers { (receiver_card(receiver, now)) } }
        }
        section {
            h2 { "Going on" }
            @if status.exporters.is_empty() {
                p.muted {
                    "Nowhere: spans are shown here and go no further. Start the collector with "
                    code { "--export otlp+grpc://HOST:4317" } ", " code { "otlp+http://HOST:4318" } " or "
                    code { "zipkin+http://HOST:9411" } " to send them on."
                }
            }
            div.cards { @for exporter in &status.exporters { (exporter_card(exporter, now)) } }
        }
        @if let Some(log) = &status.log {
            section {
                h2 { "Kept until sent" }
                div.cards { (log_card(log, now)) }
            }
        }
        section {
            h2 { "Shown here" }
            div.cards { (views_card(views)) }
        }
    }
}

fn log_card(log: &LogStatus, now: u64) -> Markup {
    let left = load(&log.left_bytes);
    let full = load(&log.full_refusals);
    let failures = load(&log.write_failures);
    let damaged = load(&log.damaged_segments);
    html! {
        article.card data-key="log" {
            h3 { "Data directory" }
            p {
                code { (log.directory) } " holds " b.num { (bytes(load(&log.used_bytes))) } " of at most "
                (bytes(log.limit_bytes)) ", in " (counted(load(&log.segments), "segment")) "."
            }
            p.muted {
                @if log.durability == "synced" { "Senders are answered once their spans outlast a power cut." }
                @else { "Senders are answered once their spans outlast a crash of the collector." }
            }
            @if left > 0 {
                p.warn { (bytes(left)) " wait for exporters that are not configured any more." }
            }
            @if full > 0 {
                p.warn { "Was full when " (counted(full, "request")) " came; their senders were told to try again." }
            }
            @if failures > 0 {
                p.bad { "Could not be written " (counted(failures, "time")) "; what came then was refused, to be sent again." }
            }
            @if damaged > 0 {
                p.bad { "Some of " (counted(damaged, "segment")) " could not be read and is lost; see the files that end in " code { ".damaged" } "." }
            }
            (last_error(log.last_error.get(), now))
        }
    }
}

fn views_card(views: &ViewsStatus) -> Markup {
    let limits = [
        (
            counted(views.spans_in_overflow_operations, "span"),
            views.spans_in_overflow_operations,
            "of operations beyond the limit, shown together as one row: names that hold an id, most likely",
        ),
        (
            counted(views.calls_in_overflow_edges, "call"),
            views.calls_in_overflow_edges,
            "of edges beyond the limit, shown together as one edge",
        ),
        (
            counted(views.calls_cut_short, "call"),
            views.calls_cut_short,
            "did not get the full minute to wait for their other span: more were under way than there is room for. Where spans come late, some of them are shown as unpaired. --memory-limit makes room",
        ),
        (
            counted(views.minutes_forgotten, "minute"),
            views.minutes_forgotten,
            "forgotten before their time, to stay within the memory",
        ),
        (
            counted(views.spans_of_traces_not_taken, "span"),
            views.spans_of_traces_not_taken,
            "of traces that were not kept because too many came; they are counted in the figures",
        ),
    ];
    html! {
        article.card data-key="views" {
            h3 { "Views" }
            p { "Counted " b.num { (counted(views.spans, "span")) } " since the start, in " (bytes(views.bytes as u64)) "." }
            p { "Keeps " b.num { (counted(views.traces as u64, "trace")) } " in " (bytes(views.trace_bytes as u64)) "." }
            @if views.server_spans_without_client > 0 {
                p.muted {
                    (counted(views.server_spans_without_client, "server span"))
                    " had no client span: their callers send none, send them elsewhere, or sampled differently."
                }
            }
            @for (number, count, meaning) in &limits {
                @if *count > 0 { p.warn { (number) " " (meaning) "." } }
            }
        }
    }
}

fn receiver_card(receiver: &ReceiverStatus, now: u64) -> Markup {
    let refused = load(&receiver.refused_batches);
    let rejected = load(&receiver.rejected_batches);
    let denied = load(&receiver.denied_requests);
    let failed = load(&receiver.failed_handshakes);
    html! {
        article.card data-key=(receiver.protocol) {
            h3 { (protocol_name(receiver.protocol)) }
            @match &receiver.address {
                Ok(address) => p { "Listening on " code { (address) } (asks_for(receiver.locks)) "." },
                Err(reason) => p.warn { b { "Not listening: " } (reason) "." },
            }
            p {
                "Took " b.num { (listed(receiver.accepted().load())) } " in "
                (counted(load(&receiver.accepted_batches), "request")) "."
            }
            @if refused > 0 {
                p.warn { "Had no room for " (counted(refused, "request")) " when they came; their senders were told to try again." }
            }
            @if rejected > 0 {
                p.bad { "Refused " (counted(rejected, "request")) " for good: malformed or too large." }
            }
            @if denied > 0 {
                p.warn { "Refused " (counted(denied, "request")) " for want of a valid token." }
            }
            @if failed > 0 {
                p.warn { "Refused " (counted(failed, "connection")) " before a request: no TLS, no certificate, or one of a stranger." }
            }
            (last_error(receiver.last_error.get(), now))
        }
    }
}

/// What a listener asks for, in the words that follow its address.
fn asks_for(locks: Locks) -> String {
    let transport = match (locks.tls, locks.client_certificates) {
        (false, _) => ", in plaintext",
        (true, false) => ", in TLS",
        (true, true) => ", in TLS with client certificates",
    };
    let tokens = if locks.tokens { ", for a token" } else { "" };
    format!("{transport}{tokens}")
}

fn exporter_card(exporter: &ExporterStatus, now: u64) -> Markup {
    let waiting = load(&exporter.queue_bytes);
    let oldest = load(&exporter.oldest_unix_nano);
    let retries = load(&exporter.retries);
    let failing = load(&exporter.failing_unix_nano);
    let dropped = exporter.dropped().load();
    let set_aside = exporter.set_aside().load();
    html! {
        article.card data-key=(exporter.name) {
            h3 { bdi { (exporter.name) } }
            p {
                "Sent " b.num { (listed(exporter.sent().load())) } " in "
                (counted(load(&exporter.sent_requests), "request"))
                @if retries > 0 { "; tried again " (count(retries)) " times" }
                "."
            }
            @if failing > 0 {
                p.bad {
                    "Its peer has taken nothing for " (coarse(now.saturating_sub(failing) as f64 / 1e9))
                    "; this is tried again."
                }
            }
            (sampled(&exporter.sampling))
            @if waiting == 0 {
                p.muted { "Nothing is waiting." }
            } @else {
                p {
                    (bytes(waiting)) " waiting"
                    @if oldest > 0 { ", the oldest for " (coarse(now.saturating_sub(oldest) as f64 / 1e9)) }
                    "."
                }
            }
            @if !dropped.is_empty() {
                p.bad { "Dropped " (listed(dropped)) ": the log was full before they could be sent." }
            }
            @if !set_aside.is_empty() {
                p.bad { "Set " (listed(set_aside)) " aside: the peer refuses them for good." }
            }
            @if exporter.signals != Signals::ALL {
                p.muted { "Takes " (names(exporter.signals)) " only." }
            }
            (last_error(exporter.last_error.get(), now))
        }
    }
}

fn sampled(sampling: &SamplingStatus) -> Markup {
    let by_ratio = load(&sampling.out_by_ratio_spans);
    let by_route = load(&sampling.out_by_route_spans);
    let errors = load(&sampling.kept_errors_spans);
    let slow = load(&sampling.kept_slow_spans);
    let early = load(&sampling.early_spans);
    let forgotten = load(&sampling.forgotten_spans);
    html! {
        @if !sampling.rules.is_empty() {
            p { "Is told to send " (sampling.rules) "." }
            p {
                "Left out " b.num { (counted(by_ratio + by_route, "span")) }
                @if by_route > 0 { ", " (count(by_route)) " of them of routes that are not wanted" }
                "."
                @if errors + slow > 0 {
                    " Sent " (count(errors)) " of failed traces and " (count(slow)) " of slow ones."
                }
            }
            @if early > 0 {
                p.warn { "Decided " (counted(early, "span")) " before the time was over: the log or the memory for traces was filling up, or the collector stopped." }
            }
            @if forgotten > 0 {
                p.warn { (counted(forgotten, "span")) " of traces beyond the memory for them followed the ratio alone." }
            }
        }
    }
}

/// `3 spans, 2 log records and 1 data point`, without what there is none of; spans when there is nothing.
fn listed(items: Items) -> String {
    let there = |signal: &Signal| *items.of(*signal) > 0;
    let parts: Vec<_> = Signal::ALL
        .into_iter()
        .filter(there)
        .map(|signal| counted(*items.of(signal), signal.item()))
        .collect();
    match &parts[..] {
        [] => counted(0, Signal::Traces.item()),
        parts => enumerated(parts),
    }
}

fn names(signals: Signals) -> String {
    let names: Vec<_> = signals
        .iter()
        .map(|signal| signal.name().to_owned())
        .collect();
    enumerated(&names)
}

/// `a, b and c`.
fn enumerated(parts: &[String]) -> String {
    match parts {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        parts => parts.concat(),
    }
}

fn last_error(error: Option<ErrorAt>, now: u64) -> Markup {
    html! {
        @if let Some(error) = error {
            p.last-error {
                span.muted title={ (utc(error.unix_nano)) " UTC" } { "Last error, " (ago(error.unix_nano, now)) ": " }
                (error.message)
            }
        }
    }
}

fn protocol_name(protocol: &str) -> &str {
    match protocol {
        "otlp-grpc" => "OTLP over gRPC",
        "otlp-http" => "OTLP over HTTP",
        "zipkin" => "Zipkin",
        other => other,
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::testing::Page;
    use std::sync::Arc;

    fn receiver(address: Result<String, String>) -> ReceiverStatus {
        ReceiverStatus {
            protocol: "otlp-grpc",
            address,
            accepted_batches: 2.into(),
            accepted_spans: 1200.into(),
            ..ReceiverStatus::listening("otlp-grpc", String::new())
        }
    }

    fn views() -> ViewsStatus {
        ViewsStatus {
            spans: 1200,
            bytes: 2048,
            spans_in_overflow_operations: 9,
            version_and_instance_rows: 0,
            calls_in_overflow_edges: 0,
            server_spans_without_client: 1,
            calls_cut_short: 0,
            minutes_forgotten: 0,
            traces: 40,
            trace_bytes: 4096,
            spans_of_traces_not_taken: 0,
        }
    }

    fn show(status: &Status) -> String {
        show_with(status, &views())
    }

    fn show_with(status: &Status, views: &ViewsStatus) -> String {
        let main = content(status, views, now_unix_nano());
        Page::parse(&html! { main { (main) } }.into_string()).text()
    }

    #[test]
    fn counters_are_told_in_words() {
        let failing = receiver(Err("the port 4317 is taken".to_owned()));
        failing.rejected_batches.store(1, Ordering::Relaxed);
        failing.denied_requests.store(2, Ordering::Relaxed);
        failing.failed_handshakes.store(3, Ordering::Relaxed);
        failing.last_error.set("truncated <protobuf>");
        let exporter = ExporterStatus {
            name: "otlp+grpc://localhost:4317".to_owned(),
            signals: [Signal::Traces, Signal::Metrics].into_iter().collect(),
            sent_spans: 1000.into(),
            sent_data_points: 1.into(),
            sent_requests: 4.into(),
            dropped_spans: 7.into(),
            set_aside_data_points: 2.into(),
            sampling: SamplingStatus {
                rules: "failed traces, 10 % of the others".to_owned(),
                out_by_ratio_spans: 900.into(),
                out_by_route_spans: 100.into(),
                kept_errors_spans: 30.into(),
                early_spans: 1.into(),
                ..SamplingStatus::default()
            },
            queue_bytes: 2048.into(),
            oldest_unix_nano: (now_unix_nano() - 5_000_000_000).into(),
            failing_unix_nano: (now_unix_nano() - 3_000_000_000).into(),
            ..ExporterStatus::default()
        };
        let taking = receiver(Ok("127.0.0.1:4317".to_owned()));
        taking.accepted_log_records.store(5, Ordering::Relaxed);
        taking.accepted_data_points.store(3, Ordering::Relaxed);
        let text = show(&Status {
            receivers: vec![
                Arc::new(taking.with_locks(Locks {
                    tls: true,
                    client_certificates: true,
                    tokens: true,
                })),
                Arc::new(failing),
            ],
            exporters: vec![Arc::new(exporter)],
            log: Some(Arc::new(LogStatus {
                directory: "/data".to_owned(),
                durability: "synced",
                limit_bytes: 1 << 30,
                used_bytes: 4096.into(),
                segments: 1.into(),
                write_failures: 2.into(),
                ..LogStatus::default()
            })),
        });
        for part in [
            "Listening on 127.0.0.1:4317, in TLS with client certificates, for a token.",
            "Refused 2 requests for want of a valid token",
            "Refused 3 connections before a request",
            "Took 1,200 spans, 5 log records and 3 data points in 2 requests",
            "Not listening: the port 4317 is taken",
            "Refused 1 request for good",
            "just now: truncated <protobuf>",
            "Sent 1,000 spans and 1 data point in 4 requests",
            "Set 2 data points aside",
            "Takes traces and metrics only.",
            "2.00 KiB waiting, the oldest for 5 s",
            "Its peer has taken nothing for 3 s; this is tried again",
            "Dropped 7 spans",
            "Is told to send failed traces, 10 % of the others",
            "Left out 1,000 spans, 100 of them of routes",
            "Sent 30 of failed traces and 0 of slow ones",
            "Decided 1 span before the time was over",
            "Counted 1,200 spans since the start, in 2.00 KiB",
            "9 spans of operations beyond the limit",
            "/data holds 4.00 KiB of at most 1.00 GiB, in 1 segment",
            "outlast a power cut",
            "Could not be written 2 times",
            "1 server span had no client span",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(
            !text.contains("forgotten") && !text.contains("could not be read"),
            "what did not happen is not told"
        );
    }

    #[test]
    fn what_the_views_had_no_room_for_is_told_with_what_it_means() {
        let views = ViewsStatus {
            calls_in_overflow_edges: 2,
            calls_cut_short: 1_234,
            minutes_forgotten: 1,
            spans_of_traces_not_taken: 5,
            ..views()
        };
        let text = show_with(&Status::default(), &views);
        for part in [
            "2 calls of edges beyond the limit",
            "1,234 calls did not get the full minute to wait for their other span: more were under way than there is \
             room for.",
            "some of them are shown as unpaired. --memory-limit makes room.",
            "1 minute forgotten before their time",
            "5 spans of traces that were not kept because too many came",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!show(&Status::default()).contains("full minute"));
    }

    #[test]
    fn without_exporters_it_says_how_to_add_one() {
        assert!(show(&Status::default()).contains("--export otlp+grpc://HOST:4317"));
    }
}
