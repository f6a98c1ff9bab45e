//! Where findings begin and end: a call, a span, a share to either side; and in which order they stand.

use super::*;
use crate::views::report::{Node, Window};

/// So many calls of `gateway` that came, and how many of them have no server span.
fn edge(server: &str, count: u64, unpaired: u64) -> Edge {
    Edge {
        client: "gateway".to_owned(),
        server: server.to_owned(),
        called_as: None,
        count,
        samples: count,
        rate: 1.0,
        error_ratio: 0.0,
        client_p50: None,
        client_p90: None,
        client_p99: None,
        server_p50: None,
        server_p90: None,
        server_p99: None,
        gap_p50: None,
        gap_p90: None,
        gap_p99: None,
        paired: count - unpaired,
        unpaired,
        unpaired_failed: 0,
        told: 0,
        told_gap_p50: None,
        told_gap_p90: None,
        told_gap_p99: None,
        negative: 0,
        retried: 0,
        asynchronous: 0,
    }
}

fn map(nodes: &[(&str, &'static str)], edges: Vec<Edge>) -> Map {
    let window = Window {
        from: String::new(),
        to: String::new(),
        seconds: 300.0,
    };
    let nodes = nodes.iter().map(|&(id, kind)| Node {
        id: id.to_owned(),
        kind,
    });
    Map {
        window,
        nodes: nodes.collect(),
        edges,
    }
}

/// `gateway`, of which nothing is known but its map.
fn case(map: &Map) -> Case<'_> {
    Case {
        service: "gateway",
        map,
        spans: 100,
        client_spans: 50,
        lone: BTreeMap::new(),
        relations: Relations::default(),
        cut_short: 0,
    }
}

fn ranks(case: &Case<'_>) -> Vec<u8> {
    findings(case).iter().map(rank).collect()
}

const SERVICES: [(&str, &str); 2] = [("gateway", "service"), ("stock", "service")];

#[test]
fn five_calls_and_a_twentieth_of_them_are_no_chance() {
    let mismatch = |paired: u64, unpaired: u64| {
        let map = map(&SERVICES, vec![edge("stock", paired + unpaired, unpaired)]);
        !findings(&case(&map)).is_empty()
    };
    assert!(mismatch(95, 5) && !mismatch(96, 4), "calls");
    assert!(mismatch(190, 10) && !mismatch(191, 10), "their share");
}

#[test]
fn a_part_of_what_was_sampled_is_as_few_as_came_of_it() {
    let told = |samples: u64| {
        let sampled = Edge {
            samples,
            ..edge("stock", 1_000, 500)
        };
        let map = map(&SERVICES, vec![sampled]);
        !findings(&case(&map)).is_empty()
    };
    assert!(told(10) && !told(9), "half of them came");
}

#[test]
fn calls_that_were_answered_in_any_way_are_answered() {
    let retried = Edge {
        paired: 0,
        retried: 100,
        ..edge("stock", 105, 5)
    };
    let map = map(&SERVICES, vec![retried]);
    // 5 of 105 are fewer than a twentieth.
    assert_eq!(findings(&case(&map)), []);
}

#[test]
fn five_lone_server_spans_show_that_the_trace_was_lost() {
    let map = map(&SERVICES, vec![edge("stock", 10, 10)]);
    let broken = |samples: u64| {
        let lone = Lone {
            roots: 50,
            alone: 0,
            samples,
        };
        let case = Case {
            lone: [("stock".to_owned(), lone)].into(),
            ..case(&map)
        };
        ranks(&case).contains(&0)
    };
    assert!(broken(5) && !broken(4));
}

#[test]
fn callers_are_elsewhere_when_five_spans_say_so() {
    let map = map(&SERVICES, vec![edge("gateway", 10, 0)]);
    let elsewhere = |alone: u64, looked_at: u64, parents_missing: u64| {
        let lone = Lone {
            roots: 0,
            alone,
            samples: alone,
        };
        let relations = Relations {
            looked_at,
            parents_missing,
            ..Relations::default()
        };
        let case = Case {
            lone: [("gateway".to_owned(), lone)].into(),
            relations,
            ..case(&map)
        };
        ranks(&case).contains(&6)
    };
    assert!(elsewhere(5, 0, 0) && !elsewhere(4, 0, 0));
    // In the kept traces every parent is there.
    assert!(elsewhere(5, 3, 1) && !elsewhere(5, 3, 0));
}

#[test]
fn five_spans_without_a_client_span_are_told() {
    let map = map(&SERVICES, Vec::new());
    let told = |spans: u64, client_spans: u64| {
        let case = Case {
            spans,
            client_spans,
            ..case(&map)
        };
        ranks(&case) == [7]
    };
    assert!(told(5, 0) && !told(4, 0) && !told(5, 1));
}

#[test]
fn calls_cut_short_are_told_beside_what_they_may_explain_alone() {
    let well = map(&SERVICES, Vec::new());
    let ill = map(&SERVICES, vec![edge("stock", 20, 10)]);
    let told = |map, cut_short| {
        ranks(&Case {
            cut_short,
            ..case(map)
        })
    };
    assert!(told(&well, 1).is_empty(), "all is well");
    assert_eq!((told(&ill, 1), told(&ill, 0)), (vec![2, 8], vec![2]));
}

#[test]
fn a_queue_is_nobody_s_service_but_an_inner_host_is() {
    let nodes = [
        ("gateway", "service"),
        ("mail", "queue"),
        ("pay", "external"),
    ];
    let map = map(&nodes, vec![edge("mail", 10, 10), edge("pay", 10, 10)]);
    let want = Finding::ServerElsewhere {
        client: "gateway".into(),
        called_as: "pay".into(),
        calls: 10,
        told: 0,
    };
    assert_eq!(findings(&case(&map)), [want]);
}

#[test]
fn an_address_means_what_the_same_caller_means_by_it() {
    let nodes = [
        ("gateway", "service"),
        ("stock", "service"),
        ("users", "service"),
        ("127.0.0.1:80", "external"),
    ];
    let known = |client: &str, server: &str, count| Edge {
        client: client.to_owned(),
        called_as: Some("127.0.0.1:80".to_owned()),
        ..edge(server, count, 0)
    };
    let edges = vec![
        known("gateway", "stock", 10),
        known("shop", "users", 1_000),
        edge("127.0.0.1:80", 10, 10),
    ];
    let map = map(&nodes, edges);
    let want = Finding::SamplingMismatch {
        client: "gateway".into(),
        server: "stock".into(),
        paired: 10,
        unpaired: 10,
    };
    assert_eq!(findings(&case(&map)), [want]);
}

#[test]
fn calls_in_that_are_answered_by_and_large_are_not_lost() {
    let nodes = [("gateway", "service"), ("shop", "service")];
    let from_shop = |server: &str, count, unpaired| Edge {
        client: "shop".to_owned(),
        ..edge(server, count, unpaired)
    };
    let lone = Lone {
        roots: 90,
        alone: 0,
        samples: 90,
    };
    let broken = |edge: Edge| {
        let map = map(&nodes, vec![edge]);
        let case = Case {
            lone: [("gateway".to_owned(), lone)].into(),
            ..case(&map)
        };
        ranks(&case).contains(&0)
    };
    assert!(broken(from_shop("gateway", 10, 10)));
    assert!(!broken(from_shop("gateway", 20, 10)), "others arrive");
}

#[test]
fn what_can_be_mended_here_stands_first_and_of_that_the_most() {
    let nodes = [
        ("gateway", "service"),
        ("stock", "service"),
        ("users", "service"),
        ("pay", "external"),
    ];
    let edges = vec![
        edge("pay", 90, 90),
        edge(UNKNOWN, 20, 20),
        edge("stock", 40, 10),
        edge("users", 60, 30),
    ];
    let map = map(&nodes, edges);
    let found = findings(&case(&map));
    let of: Vec<_> = found
        .iter()
        .map(|finding| (rank(finding), weight(finding)))
        .collect();
    assert_eq!(of, [(2, 30), (2, 10), (4, 20), (5, 90)]);
}
