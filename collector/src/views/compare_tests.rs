//! Weights of samples, versions and instances, and the window before.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;
use proptest::collection::vec;
use proptest::prelude::*;

use super::report::ServiceReport;
use super::testing::{SECOND, T0, count_group, failed, timed, views};
use super::*;
use crate::wire::test_support::{attribute, resource_spans, span};

const FIVE_MINUTES: Range = Range::Last(Duration::from_secs(300));
const HOUR: Range = Range::Last(Duration::from_secs(3600));

fn count(views: &Views, service: &str, origin: &[(&str, &str)], spans: Vec<Span>, at: u64) {
    let mut group = resource_spans(service, spans);
    let resource = group.resource.as_mut().unwrap();
    let own = origin.iter().map(|(key, value)| attribute(key, value));
    resource.attributes.extend(own);
    count_group(views, group, at);
}

fn sampled(mut span: Span, state: &str) -> Span {
    span.trace_state = state.into();
    span
}

#[test]
fn a_sampled_span_counts_for_those_its_sender_left_out() {
    let views = views();
    let quick = sampled(timed(1, 1, 0, Kind::Server, 1_000_000), "ot=th:f");
    let slow = failed(timed(2, 2, 0, Kind::Server, 100_000_000));
    let slow = vec![slow.clone(), slow.clone(), slow.clone(), slow];
    count(&views, "cart", &[], vec![quick], T0);
    count(&views, "cart", &[], slow, T0);
    let (window, services) = views.services_at(FIVE_MINUTES, T0);
    let cart = services[0].now;
    assert_eq!((cart.count, cart.samples), (20, 5));
    assert_eq!((cart.rate, cart.error_ratio), (20.0 / window.seconds, 0.2));
    let near = |got: Option<f64>, want: f64| (got.unwrap() / want - 1.0).abs() < 0.011;
    assert!(near(cart.latency.p50, 0.001) && near(cart.latency.p90, 0.1));
    let (_, operations) = views.operations_at("cart", FIVE_MINUTES, T0).unwrap();
    assert_eq!(operations[0].now, cart);
    let heatmap = views.heatmap_at("cart", None, FIVE_MINUTES, T0).unwrap();
    assert_eq!(heatmap.counts.iter().flatten().sum::<u64>(), 20);
    let spark: f64 = services[0].spark.rate.iter().sum();
    assert!(
        (spark - 20.0 / 5.0).abs() < 1e-9,
        "{spark} within half a slot"
    );
}

#[test]
fn the_impact_of_sampled_operations_is_weighed_too() {
    let views = views();
    let mut rare = sampled(timed(1, 1, 0, Kind::Server, 1_000), "ot=th:c");
    rare.name = "rare".into();
    count(
        &views,
        "cart",
        &[],
        vec![rare, timed(2, 2, 0, Kind::Server, 1_000)],
        T0,
    );
    let (_, operations) = views.operations_at("cart", FIVE_MINUTES, T0).unwrap();
    let impact: Vec<_> = operations
        .iter()
        .map(|o| (o.operation.as_str(), o.impact))
        .collect();
    assert_eq!(impact, [("rare", 0.8), ("GET /", 0.2)]);
}

#[test]
fn a_call_counts_by_its_client_span() {
    let check = |client: &str, server: &str, paired: u64| {
        let views = views();
        let client = sampled(failed(timed(1, 1, 0, Kind::Client, 9_000_000)), client);
        let server = sampled(timed(1, 2, 1, Kind::Server, 4_000_000), server);
        count(&views, "api", &[], vec![client], T0);
        count(&views, "add", &[], vec![server], T0);
        for later in [0, 70] {
            let edge = &views.map_at(FIVE_MINUTES, T0 + later * SECOND).edges[0];
            assert_eq!(
                (edge.count, edge.paired, edge.error_ratio),
                (paired, paired, 1.0)
            );
        }
    };
    check("ot=th:8", "ot=th:8", 2);
    // The server's sender keeps fewer: the other calls are there, unpaired.
    check("", "ot=th:c", 1);
    let views = views();
    let mut select = sampled(timed(1, 1, 0, Kind::Client, 9_000_000), "ot=th:c");
    select.attributes = vec![attribute("db.system", "redis")];
    let message = sampled(timed(2, 1, 0, Kind::Producer, 9_000_000), "ot=th:c");
    count(&views, "api", &[], vec![select, message], T0);
    let edges = views.map_at(FIVE_MINUTES, T0 + 70 * SECOND).edges;
    let counts: Vec<_> = edges
        .iter()
        .map(|edge| (edge.count, edge.unpaired))
        .collect();
    assert_eq!(counts, [(4, 4), (4, 4)]);
}

#[test]
fn every_number_of_an_edge_is_weighed_and_says_of_how_many_calls() {
    let views = views();
    let mut told = timed(3, 1, 0, Kind::Client, 9_000_000);
    let gap = peer::tests::told_gap(0.002);
    told.attributes = vec![attribute("peer.service", "add"), gap];
    let pair = |trace, took| {
        vec![
            sampled(timed(trace, 1, 0, Kind::Client, 9_000_000), "ot=th:8"),
            sampled(timed(trace, 2, 1, Kind::Server, took), "ot=th:8"),
        ]
    };
    let mut spans = pair(1, 4_000_000);
    spans.extend(pair(2, 10_000_000));
    spans.push(sampled(failed(told), "ot=th:c"));
    count(&views, "add", &[], spans, T0);
    let report = views
        .edge_at(("add", "add"), FIVE_MINUTES, T0 + 70 * SECOND)
        .unwrap();
    let edge = &report.edge;
    assert_eq!((edge.count, edge.samples, edge.error_ratio), (8, 3, 0.5));
    assert_eq!((edge.paired, edge.negative), (2, 2));
    assert_eq!((edge.unpaired, edge.unpaired_failed, edge.told), (4, 4, 4));
    let sum = |counts: &[u64]| counts.iter().sum::<u64>();
    let of = &report.distribution;
    assert_eq!((sum(&of.client), sum(&of.server), sum(&of.gap)), (4, 4, 2));
    assert_eq!((sum(&of.unpaired), sum(&of.told_gap)), (4, 4));
}

#[test]
fn critical_paths_weigh_their_requests_too() {
    let views = views();
    // Two quick ones of which each stands for sixteen: the slow four are less than a tenth.
    for trace in 1..=6 {
        let (nanos, state) = if trace <= 2 {
            (1_000_000, "ot=th:f")
        } else {
            (50_000_000, "")
        };
        let one = sampled(timed(trace, 1, 0, Kind::Server, nanos), state);
        count(&views, "cart", &[], vec![one], T0);
    }
    views.tick(T0 + 10 * SECOND);
    let (_, paths) = views
        .critical_paths_at("cart", FIVE_MINUTES, T0 + 10 * SECOND)
        .unwrap();
    let (typical, slow) = (&paths[0].typical, &paths[0].slow);
    assert_eq!((typical.requests, typical.seconds), (2, 0.001));
    assert_eq!((slow.requests, slow.seconds), (4, 0.05));
}

/// Value, count, in the order of the report.
fn parts(views: &Views, split: Split, range: Range, now: u64) -> Vec<(String, u64)> {
    let (_, parts) = views.split_at(split, Some("cart"), range, now);
    let value = |part: &ServiceReport| match split {
        Split::Version => part.version.clone(),
        Split::Instance => part.instance.clone(),
    };
    let parts = parts
        .iter()
        .map(|part| (value(part).unwrap_or_default(), part.now.count));
    parts.collect()
}

fn owned(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    let owned = pairs
        .iter()
        .map(|&(value, count)| (value.to_owned(), count));
    owned.collect()
}

/// So many entry spans of a version and an instance, each its own resource.
fn served(views: &Views, version: &str, instance: &str, spans: u64, at: u64) {
    let origin = [
        ("service.version", version),
        ("service.instance.id", instance),
    ];
    let spans = (1..=spans).map(|id| span(id.into(), id, 0)).collect();
    count(views, "cart", &origin, spans, at);
}

#[test]
fn a_new_version_is_apart_from_the_one_before() {
    let views = views();
    for minute in 0..20 {
        served(&views, "1", "a", 3, T0 + minute * 60 * SECOND);
    }
    let all = |now| parts(&views, Split::Version, HOUR, now);
    assert_eq!(
        all(T0 + 1_200 * SECOND),
        owned(&[("1", 60)]),
        "alone it is the service"
    );
    let deploy = T0 + 1_200 * SECOND;
    for second in 0..30 {
        served(&views, "2", "b", 1, deploy + second * SECOND);
        served(&views, "1", "a", 1, deploy + second * SECOND);
    }
    let now = deploy + 30 * SECOND;
    assert_eq!(
        all(now),
        owned(&[("1", 90), ("2", 30)]),
        "with all that it had counted"
    );
    assert_eq!(
        parts(&views, Split::Instance, HOUR, now),
        owned(&[("a", 90), ("b", 30)])
    );
    let lately = Range::Last(Duration::from_secs(100));
    assert_eq!(
        parts(&views, Split::Version, lately, now),
        owned(&[("1", 33), ("2", 30)])
    );
    let (_, instances) = views.split_at(Split::Instance, None, HOUR, now);
    assert_eq!(
        instances[1].version.as_deref(),
        Some("2"),
        "an instance's version is told"
    );
    let (_, services) = views.services_at(HOUR, now);
    assert_eq!(
        (services[0].now.count, services[0].instance.as_ref()),
        (120, None)
    );
    // The hour after: only version 2 is left, and takes no room of its own.
    served(&views, "2", "b", 5, now + 3_500 * SECOND);
    let later = now + 3_720 * SECOND;
    assert_eq!(all(later), owned(&[("2", 5)]));
    assert_eq!(views.status().version_and_instance_rows, 0);
    served(&views, "3", "b", 1, later);
    assert_eq!(all(later), owned(&[("2", 5), ("3", 1)]));
}

#[test]
fn a_version_goes_on_counting_when_an_older_one_is_gone() {
    let views = views();
    let minute = 60 * SECOND;
    served(&views, "1", "a", 1, T0);
    served(&views, "2", "a", 1, T0 + 50 * minute);
    served(&views, "3", "a", 1, T0 + 51 * minute);
    // By now the first is gone, and the resource is that of the span before.
    served(&views, "3", "a", 4, T0 + 63 * minute);
    let now = T0 + 63 * minute;
    assert_eq!(
        parts(&views, Split::Version, HOUR, now),
        owned(&[("3", 5), ("2", 1)])
    );
}

#[test]
fn parts_are_sampled_weighed_and_only_of_entry_spans() {
    let views = views();
    let version = |version| [("service.version", version)];
    let spans = |weight| {
        vec![
            sampled(span(1, 1, 0), weight),
            timed(1, 2, 1, Kind::Internal, 5),
        ]
    };
    count(&views, "cart", &version("1"), spans("ot=th:8"), T0);
    count(&views, "cart", &version("2"), spans("ot=th:c"), T0);
    count(&views, "cart", &[], spans(""), T0);
    let want = owned(&[("2", 4), ("1", 2), ("", 1)]);
    assert_eq!(parts(&views, Split::Version, FIVE_MINUTES, T0), want);
    let (_, all) = views.split_at(Split::Version, None, FIVE_MINUTES, T0);
    assert_eq!(all.iter().map(|part| part.now.samples).sum::<u64>(), 3);
    assert_eq!(
        parts(&views, Split::Instance, FIVE_MINUTES, T0),
        owned(&[("", 7)])
    );
    assert!(
        views
            .split_at(Split::Version, Some("nobody"), FIVE_MINUTES, T0)
            .1
            .is_empty()
    );
}

#[test]
fn parts_without_bound_end_in_one_row() {
    let views = views();
    for id in 0..100 {
        served(&views, "1", &format!("pod-{id}"), 1, T0);
    }
    let instances = parts(&views, Split::Instance, FIVE_MINUTES, T0);
    assert_eq!(instances.len(), MAX_PARTS + 1);
    assert_eq!(instances[0], ("(other instances)".to_owned(), 80));
    assert_eq!(
        parts(&views, Split::Version, FIVE_MINUTES, T0),
        owned(&[("1", 100)])
    );
    // A long value is cut.
    served(&views, &"9".repeat(5_000), "pod-1", 1, T0);
    let versions = parts(&views, Split::Version, FIVE_MINUTES, T0);
    assert_eq!(
        versions.iter().map(|(version, _)| version.len()).max(),
        Some(512)
    );
}

#[test]
fn rows_of_parts_are_bounded_over_all_services() {
    let views = views();
    for service in 0..200 {
        for version in ["1", "2", "3"] {
            let origin = [("service.version", version)];
            count(
                &views,
                &format!("s{service}"),
                &origin,
                vec![span(1, 1, 0)],
                T0,
            );
        }
    }
    assert!(views.status().version_and_instance_rows <= 250 + 200);
    let (_, all) = views.split_at(Split::Version, None, FIVE_MINUTES, T0);
    assert_eq!(all.iter().map(|part| part.now.count).sum::<u64>(), 600);
    let of = |service: &str| {
        let own = all.iter().filter(|part| part.service == service);
        let own = own.map(|part| (part.version.as_deref().unwrap(), part.now.count));
        own.collect::<Vec<_>>()
    };
    assert_eq!(of("s0"), [("1", 1), ("2", 1), ("3", 1)]);
    assert_eq!(of("s199"), [("(other versions)", 3)]);
}

#[test]
fn a_window_is_compared_with_the_one_before() {
    let views = views();
    let slow = |id: u64| failed(timed(id.into(), id, 0, Kind::Server, 50_000_000));
    count(
        &views,
        "cart",
        &[],
        (1..=10).map(|id| span(id.into(), id, 0)).collect(),
        T0 - 400 * SECOND,
    );
    count(&views, "mail", &[], vec![span(1, 1, 0)], T0 - 400 * SECOND);
    count(&views, "cart", &[], (1..=30).map(slow).collect(), T0);
    let previous = views.previous_at(FIVE_MINUTES, T0).unwrap();
    let (window, services) = views.services_at(FIVE_MINUTES, T0);
    assert_eq!(previous.to, window.from, "just before it");
    // Minutes are kept whole there.
    assert_eq!(
        (previous.from.as_str(), previous.seconds),
        ("2027-01-15T07:50:00Z", 310.0)
    );
    let [cart] = services.as_slice() else {
        panic!("{services:?}")
    };
    let before = cart.previous.unwrap();
    assert_eq!((cart.now.count, cart.now.error_ratio), (30, 1.0));
    assert_eq!((before.count, before.error_ratio), (10, 0.0));
    assert_eq!(before.rate, 10.0 / previous.seconds);
    assert_eq!(
        (cart.now.latency.max, before.latency.max),
        (Some(0.05), Some(0.001))
    );
    let (_, operations) = views.operations_at("cart", FIVE_MINUTES, T0).unwrap();
    assert_eq!(operations[0].previous, Some(before));
    assert_eq!(views.silent_at(FIVE_MINUTES, T0), ["mail"]);
    // In an hour there is nothing before, which is not the same as nothing having come.
    assert_eq!(views.previous_at(HOUR, T0), None);
    assert_eq!(views.services_at(HOUR, T0).1[0].previous, None);
    assert!(views.silent_at(HOUR, T0).is_empty());
    let fixed = Range::Between(T0 - 420 * SECOND, T0 - 390 * SECOND);
    let (_, services) = views.services_at(fixed, T0);
    assert_eq!(services[0].previous.map(|figures| figures.count), Some(0));
}

#[test]
fn an_edge_is_compared_with_itself_in_the_window_before() {
    let views = views();
    let call = |trace: u128, server_nanos, at| {
        let client = timed(trace, 1, 0, Kind::Client, 9_000_000);
        let server = timed(trace, 2, 1, Kind::Server, server_nanos);
        count(&views, "api", &[], vec![client], at);
        count(&views, "add", &[], vec![server], at);
    };
    call(1, 8_000_000, T0 - 400 * SECOND);
    call(2, 4_000_000, T0);
    // A caller that came later was on no edge then.
    let first = timed(3, 1, 0, Kind::Client, 9_000_000);
    count(&views, "web", &[], vec![first], T0);
    let gap = |edge: &report::Edge| edge.gap_p50.map(|gap| (gap * 1e3).round());
    let now = views.map_at(FIVE_MINUTES, T0);
    let before = views.map_before_at(FIVE_MINUTES, T0).unwrap();
    assert_eq!(
        Some(&before.window),
        views.previous_at(FIVE_MINUTES, T0).as_ref()
    );
    let gaps = |map: &Map| {
        let edges = map.edges.iter().filter(|edge| edge.client == "api");
        edges.map(gap).collect::<Vec<_>>()
    };
    assert_eq!(
        (gaps(&now), gaps(&before)),
        (vec![Some(5.0)], vec![Some(1.0)])
    );
    let edge = |client| views.edge_before_at((client, "add"), FIVE_MINUTES, T0);
    assert_eq!(edge("api").as_ref().and_then(gap), Some(1.0));
    assert_eq!(edge("web").map(|edge| edge.count), Some(0));
    assert!(edge("nobody").is_none());
    // Nothing before an hour is kept.
    assert!(views.map_before_at(HOUR, T0).is_none());
    assert!(views.edge_before_at(("api", "add"), HOUR, T0).is_none());
}

#[test]
fn rows_stand_by_service_then_the_busiest_first_then_by_name() {
    let views = views();
    for service in ["shop", "cart"] {
        for (version, spans) in [("3", 1), ("1", 1), ("2", 2)] {
            let origin = [("service.version", version)];
            let spans = (1..=spans).map(|id| span(id.into(), id, 0)).collect();
            count(&views, service, &origin, spans, T0 - 400 * SECOND);
        }
    }
    let (_, parts) = views.split_at(Split::Version, None, HOUR, T0);
    let rows = parts
        .iter()
        .map(|part| (part.service.as_str(), part.version.as_deref().unwrap()));
    let want = ["cart", "shop"].map(|service| ["2", "1", "3"].map(|version| (service, version)));
    assert_eq!(rows.collect::<Vec<_>>(), want.concat());
    assert_eq!(views.silent_at(FIVE_MINUTES, T0), ["cart", "shop"]);
}

#[test]
fn who_came_after_the_window_is_not_in_it() {
    let views = views();
    count(&views, "cart", &[], vec![span(1, 1, 0)], T0);
    // In the same minute, but two slots later.
    count(&views, "mail", &[], vec![span(2, 2, 0)], T0 + 20 * SECOND);
    let now = T0 + 120 * SECOND;
    views.tick(now);
    let seen = |from: u64, to: u64| {
        let range = Range::Between(T0 + from * SECOND, T0 + to * SECOND);
        let (_, services) = views.services_at(range, now);
        let names = services.into_iter().map(|service| service.service);
        (names.collect::<Vec<_>>(), views.silent_at(range, now))
    };
    assert_eq!(seen(0, 3), (vec!["cart".to_owned()], vec![]));
    let mail_alone = (vec!["mail".to_owned()], vec!["cart".to_owned()]);
    assert_eq!(seen(7, 27), mail_alone);
}

#[test]
fn a_part_without_a_value_or_a_span_in_the_range_is_none() {
    let views = views();
    let old = [("service.version", "1"), ("service.instance.id", "")];
    count(&views, "cart", &old, vec![span(1, 1, 0)], T0 - 600 * SECOND);
    let new = [("service.version", "2"), ("service.instance.id", "")];
    count(&views, "cart", &new, vec![span(2, 2, 0)], T0);
    let versions = |range| {
        let parts = views.split_at(Split::Version, None, range, T0).1;
        let versions = parts.into_iter().map(|part| part.version.unwrap());
        versions.collect::<Vec<_>>()
    };
    assert_eq!(versions(FIVE_MINUTES), ["2"]);
    assert_eq!(versions(HOUR), ["1", "2"]);
    let (_, instances) = views.split_at(Split::Instance, None, FIVE_MINUTES, T0);
    let told = instances
        .iter()
        .map(|part| (&part.instance, part.version.as_deref()));
    // Rolled out in place: the instance is of the version that it has now.
    assert_eq!(told.collect::<Vec<_>>(), [(&None, Some("2"))]);
}

#[test]
fn one_version_costs_no_row_of_its_own() {
    let bytes = |origin: &[(&str, &str)]| {
        let views = views();
        for second in 0..600 {
            let spans = vec![timed(1, 1, 0, Kind::Server, second * second * 1_000)];
            count(&views, "cart", origin, spans, T0 + second * SECOND);
        }
        views.status().bytes
    };
    let (alone, told) = (bytes(&[]), bytes(&[("service.version", "1")]));
    assert!(
        told < alone + 256,
        "{told} bytes, {alone} without a version"
    );
}

#[test]
fn before_the_start_there_is_no_window() {
    let views = Views::new(Config {
        retention: Duration::from_secs(3600),
        trace_bytes: 1 << 20,
        view_bytes: 8 << 20,
    });
    views.tick(T0);
    let minute = Range::Last(Duration::from_secs(60));
    let known = |second: u64| views.previous_at(minute, T0 + second * SECOND).is_some();
    // A minute is seven slots, and the slot of the start is not whole.
    assert!(!known(30) && !known(130));
    assert!(known(140));
    assert!(views.previous_at(Range::Between(0, 1), T0).is_none());
    assert!(
        views
            .previous_at(Range::Between(u64::MAX - 1, u64::MAX), T0)
            .is_some()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    /// Whatever comes when, versions add up to their service, in every window, and so do the windows.
    #[test]
    fn parts_and_windows_add_up(
        arrivals in vec((0..3_000_u64, 0..4_usize, 0..30_usize), 1..120),
        seconds in 10..1_500_u64,
    ) {
        let views = views();
        let mut arrivals = arrivals;
        arrivals.sort_unstable();
        let weights = ["", "ot=th:8", "ot=th:c"];
        for (at, &(second, version, instance)) in arrivals.iter().enumerate() {
            let (version, instance) = (version.to_string(), instance.to_string());
            let origin = [("service.version", version.as_str()), ("service.instance.id", instance.as_str())];
            let one = sampled(span(1, 1, 0), weights[at % 3]);
            count(&views, "cart", &origin, vec![one], T0 + second * SECOND);
        }
        let now = T0 + 3_000 * SECOND;
        let range = Range::Last(Duration::from_secs(seconds));
        let (window, services) = views.services_at(range, now);
        let ends = |window: &Window| (rfc3339::parse(&window.from).unwrap(), rfc3339::parse(&window.to).unwrap());
        let offline = |(from, to): (u64, u64)| {
            let inside = arrivals.iter().enumerate().filter(|(_, (second, ..))| (from..to).contains(&(T0 + second * SECOND)));
            inside.map(|(at, _)| [1, 2, 4][at % 3]).sum::<u64>()
        };
        let whole = offline(ends(&window));
        prop_assert_eq!(services.iter().map(|service| service.now.count).sum::<u64>(), whole);
        for split in [Split::Version, Split::Instance] {
            let (_, parts) = views.split_at(split, Some("cart"), range, now);
            prop_assert_eq!(parts.iter().map(|part| part.now.count).sum::<u64>(), whole);
        }
        if let (Some(previous), Some(service)) = (views.previous_at(range, now), services.first()) {
            prop_assert_eq!(service.previous.unwrap().count, offline(ends(&previous)));
            prop_assert_eq!(&previous.to, &window.from);
            prop_assert!(previous.seconds >= window.seconds);
        }
    }
}
