//! Windows of minutes that were summed up, that end within a step or lie before what is kept; clocks that are set back.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;

use super::series::Connection;
use super::testing::{SECOND, T0, count, failed, near, timed, views};
use super::traces::hex;
use super::*;
use crate::wire::test_support::attribute;

/// Half an hour of a request a second, each a trace of its own.
fn a_request_a_second() -> (Views, u64) {
    let views = views();
    for second in 0..1_800 {
        let one = timed(u128::from(second) + 1, 1, 0, Kind::Server, 1_000_000);
        count(&views, "cart", vec![one], T0 + second * SECOND);
    }
    (views, T0 + 1_800 * SECOND)
}

#[test]
fn the_last_point_of_a_window_that_ends_within_a_step_is_a_rate_too() {
    let (views, now) = a_request_a_second();
    let range = Range::Between(now - 1_200 * SECOND, now - 100 * SECOND);
    let (window, services) = views.services_at(range, now);
    let spark = &services[0].spark;
    assert!(window.seconds % spark.step_seconds > 0.0, "{window:?}");
    assert!(spark.rate.iter().all(|&rate| rate == 1.0), "{spark:?}");
}

#[test]
fn what_came_after_a_window_is_no_example_of_its_last_step() {
    let (views, now) = a_request_a_second();
    let range = Range::Between(now - 1_200 * SECOND, now - 100 * SECOND);
    let map = views.heatmap_at("cart", None, range, now).unwrap();
    let to = rfc3339::parse(&map.window.to).unwrap();
    let last = map.exemplars.last().unwrap().iter().flatten();
    let after = (0..1_800_u64).filter(|second| T0 + second * SECOND >= to);
    let after: Vec<_> = after
        .map(|second| hex(&(u128::from(second) + 1).to_be_bytes()))
        .collect();
    let last: Vec<_> = last.collect();
    assert!(!last.is_empty() && !last.iter().any(|id| after.contains(*id)));
}

#[test]
fn a_range_before_what_is_kept_is_told_as_it_was_asked() {
    let (views, _) = a_request_a_second();
    let later = T0 + 2 * 3_600 * SECOND;
    for second in 0..3_600 {
        let one = timed(1, 1, 0, Kind::Server, 1_000_000);
        count(&views, "cart", vec![one], later + second * SECOND);
    }
    let now = later + 3_600 * SECOND;
    let asked = Range::Between(T0, T0 + 300 * SECOND);
    let (window, services) = views.services_at(asked, now);
    assert_eq!(rfc3339::parse(&window.from), Some(T0 - 13 * SECOND));
    assert!(window.seconds >= 300.0 && services.is_empty(), "{window:?}");
    // What ends within what is kept begins with it.
    let (window, services) = views.services_at(Range::Between(T0, later + 600 * SECOND), now);
    assert_eq!(rfc3339::parse(&window.from), Some(later - 13 * SECOND));
    assert_eq!(services[0].now.count as f64, window.seconds - 13.0);
}

/// The two spans of a call.
fn call(trace: u128) -> [Span; 2] {
    [
        timed(trace, 1, 9, Kind::Client, 5_000_000),
        timed(trace, 2, 1, Kind::Server, 4_000_000),
    ]
}

/// Calls between `shop` and `cart` that Prometheus is told of.
fn settled(views: &Views, now: u64) -> u64 {
    let edges = views.scrape_at(now).edges.into_iter();
    edges.map(|edge| edge.totals.requests).sum()
}

#[test]
fn calls_are_settled_while_the_clock_is_set_back() {
    let views = views();
    let back = T0 - 3_000 * SECOND;
    for (trace, at) in [(1, T0), (2, back), (3, back + SECOND)] {
        let [client, server] = call(trace);
        count(&views, "shop", vec![client], at);
        count(&views, "cart", vec![server], at);
    }
    assert_eq!(settled(&views, back + 2 * SECOND), 1, "that from before");
    assert_eq!(settled(&views, back + 7 * SECOND), 3);
}

#[test]
fn a_clock_that_is_put_right_parts_no_calls() {
    let views = views();
    let [client, server] = call(1);
    count(&views, "shop", vec![client], T0);
    views.tick(T0 - 30 * SECOND);
    count(&views, "cart", vec![server], T0 - 29 * SECOND);
    let map = views.map_at(Range::Last(Duration::from_secs(300)), T0);
    assert_eq!((map.edges[0].paired, map.edges[0].unpaired), (1, 0));
}

/// At first `cart` makes no spans.
#[test]
fn a_peer_that_turns_out_to_be_a_service_loses_nothing_of_its_series() {
    let views = views();
    let mut before = std::collections::HashMap::new();
    for second in 0..240_u64 {
        let at = T0 + second * SECOND;
        let [mut client, server] = call(u128::from(second) + 1);
        client.attributes = vec![attribute("peer.service", "cart")];
        count(&views, "shop", vec![client], at);
        if second > 150 {
            count(&views, "cart", vec![server], at);
        }
        let series = views.scrape_at(at).edges.into_iter();
        let now = series.map(|series| (series.key.connection, series.totals.requests));
        let now: std::collections::HashMap<_, _> = now.collect();
        for (connection, requests) in &before {
            assert!(now[connection] >= *requests, "{connection:?} at {second} s");
        }
        before = now;
    }
    let of = |connection| before.get(&connection).copied().unwrap_or(0);
    let [outside, service] = [Connection::External, Connection::Service].map(of);
    assert!(outside > 80 && service > 80, "{outside} {service}");
    // The last of them linger.
    assert_eq!(outside + service, 240 - 5);
}

const HALF_AN_HOUR: Range = Range::Last(Duration::from_secs(1_800));

/// A fifth of the requests fail, and of all of them the sender keeps one in four.
#[test]
fn minutes_that_were_summed_up_hold_every_status_and_counter() {
    let views = views();
    for second in 0..1_800 {
        let mut one = timed(u128::from(second) + 1, 1, 0, Kind::Server, 1_000_000);
        one.trace_state = "ot=th:c".into();
        let one = if second % 5 == 0 { failed(one) } else { one };
        count(&views, "cart", vec![one], T0 + second * SECOND);
    }
    let now = T0 + 1_799 * SECOND;
    let (_, services) = views.services_at(HALF_AN_HOUR, now);
    let cart = &services[0];
    assert_eq!((cart.now.count, cart.now.samples), (7_200, 1_800));
    assert_eq!(cart.now.error_ratio, 0.2);
    let whole = cart.spark.rate.iter().filter(|&&rate| rate == 4.0);
    assert!(whole.count() >= cart.spark.rate.len() - 2, "{cart:?}");
    let map = views.heatmap_at("cart", None, HALF_AN_HOUR, now).unwrap();
    assert_eq!(map.counts.iter().flatten().sum::<u64>(), 7_200);
}

#[test]
fn minutes_that_were_summed_up_hold_every_class_of_call() {
    let views = views();
    for second in (0..1_800_u64).step_by(10) {
        let [client, server] = call(u128::from(second) + 1);
        let mut again = server.clone();
        again.span_id = 3_u64.to_be_bytes().into();
        let servers = if second % 60 == 0 {
            vec![server, again]
        } else {
            vec![server]
        };
        count(&views, "shop", vec![client], T0 + second * SECOND);
        count(&views, "cart", servers, T0 + second * SECOND);
    }
    let map = views.map_at(HALF_AN_HOUR, T0 + 1_800 * SECOND);
    let edge = &map.edges[0];
    assert_eq!((edge.count, edge.paired, edge.retried), (180, 150, 30));
    assert_eq!((edge.asynchronous, edge.negative), (0, 0));
}

#[test]
fn a_call_stays_in_the_slot_of_its_last_half_when_it_is_settled() {
    let views = views();
    let [client, server] = call(1);
    count(&views, "shop", vec![client], T0);
    // A second before the next slot.
    count(&views, "cart", vec![server], T0 + 6 * SECOND);
    let slot = Range::Between(T0, T0 + SECOND);
    let calls = |now| -> u64 {
        let edges = views.map_at(slot, now).edges.into_iter();
        edges.map(|edge| edge.count).sum()
    };
    assert_eq!(calls(T0 + 8 * SECOND), 1);
    assert_eq!(calls(T0 + 12 * SECOND), 1, "settled");
    assert_eq!(calls(T0 + 120 * SECOND), 1);
}

/// Neither has any of the service's time: they are no entry spans.
#[test]
fn of_operations_without_impact_the_busiest_stands_first() {
    let views = views();
    for (id, name) in [(1, "a"), (2, "b"), (3, "b")] {
        let mut one = timed(1, id, 9, Kind::Internal, 1_000);
        one.name = name.into();
        count(&views, "cart", vec![one], T0);
    }
    let (_, operations) = views.operations_at("cart", HALF_AN_HOUR, T0).unwrap();
    let names = operations.iter().map(|row| row.operation.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["b", "a"]);
}

#[test]
fn durations_of_clients_are_those_of_answered_calls_where_there_are_any() {
    let views = views();
    for trace in 1..=9 {
        let [mut client, server] = call(trace);
        client.attributes = vec![attribute("peer.service", "cart")];
        let mut servers = vec![server];
        if trace > 2 {
            client.end_time_unix_nano = client.start_time_unix_nano + SECOND;
            servers.clear();
        }
        count(&views, "shop", vec![client], T0);
        count(&views, "cart", servers, T0);
    }
    let map = views.map_at(HALF_AN_HOUR, T0 + 65 * SECOND);
    let edge = &map.edges[0];
    assert_eq!((edge.paired, edge.unpaired), (2, 7));
    near(edge.client_p50, 5_000_000.0);
}
