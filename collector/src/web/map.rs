//! `GET /map`: who calls whom, and the network gap of every edge: drawn, and as a table.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use super::charts::bars::{Part, stack};
use super::charts::graph::{Graph, graph, kind_name, why_no_gap};
use super::format::{count, counted, maybe_duration, rate, ratio};
use super::layout::{
    Frame, Tab, colour, error_ratio, filter_box, overflow_note, page as frame_page, service_link,
    service_name, service_path, window_choice,
};
use super::query::{BadParameter, PageQuery};
use super::{Web, empty, live, rendered};
use crate::views::report::{Edge, Map, Node, ServiceReport};

/// More edges than this are not drawn, the busiest go first; the table has them all.
const DRAWN_EDGES: usize = 120;
/// Nodes without a drawn edge beyond this many are told, not drawn.
const DRAWN_NODES: usize = 100;

/// What the counts of an edge mean.
const ERRORS: &str = "Client spans that failed, as the caller saw it: by the HTTP conventions an answer of 4xx fails its caller, but not the service that gave it.";

const COUNTS: [(&str, &str); 5] = [
    (
        "paired",
        "The client's and the server's span of the same call both came: its gap is known.",
    ),
    (
        "unpaired",
        "Only the client's span came: the server sends no spans, sends them elsewhere, was never reached, or sampled differently.",
    ),
    (
        "negative",
        "The server's span lasts longer than the client's: the client stopped waiting, or the server worked on after its answer. Not in the gap.",
    ),
    (
        "retried",
        "Several server spans under one client span: hidden retries or a fan-out. Not in the gap.",
    ),
    (
        "async",
        "Messages: the consumer takes them when it can, so there is no time on the network to tell. Not in the gap.",
    ),
];

/// The handler.
pub(super) async fn page(State(web): State<Web>, query: PageQuery) -> Response {
    rendered(move || Ok(render(&web, &query)?.into_response())).await
}

fn render(web: &Web, query: &PageQuery) -> Result<Markup, BadParameter> {
    let version = live::version(web);
    let range = query.range()?;
    let main = if web.views.spans_counted() == 0 {
        empty::nothing_ever(&web.status)
    } else {
        content(query, &web.views.map(range), &web.views.services(range).1)
    };
    let frame = Frame {
        title: "Map",
        tab: Tab::Map,
        live: Some(version),
        query,
    };
    Ok(frame_page(&frame, &main))
}

fn content(query: &PageQuery, map: &Map, services: &[ServiceReport]) -> Markup {
    let focus = query.get("focus");
    let mut edges: Vec<&Edge> = map
        .edges
        .iter()
        .filter(|edge| focus.is_none_or(|focus| edge.client == focus || edge.server == focus))
        .collect();
    edges.sort_by(|a, b| {
        b.gap_p99
            .unwrap_or(-1.0)
            .total_cmp(&a.gap_p99.unwrap_or(-1.0))
            .then_with(|| (&a.client, &a.server).cmp(&(&b.client, &b.server)))
    });
    let nodes: Vec<&Node> = map
        .nodes
        .iter()
        .filter(|node| {
            focus.is_none_or(|focus| {
                node.id == focus
                    || edges
                        .iter()
                        .any(|edge| edge.client == node.id || edge.server == node.id)
            })
        })
        .collect();
    html! {
        div.heading {
            h1 { "Map" }
            (window_choice(query, "/map", &map.window))
            (filter_box(query, "/map", "Filter edges", "edges"))
        }
        @if let Some(focus) = focus { (focus_bar(query, focus, &nodes)) }
        @if nodes.is_empty() {
            (empty::nothing_in_range(query, "/map", &map.window))
        } @else {
            p.legend {
                span {
                    b.gap { "↔ network gap" }
                    " is the caller's time less the server's own, call by call: what the way there and back costs. "
                    "No clocks are compared."
                }
            }
            (drawing(query, focus, &nodes, &edges, services))
            @if !edges.is_empty() {
                (table(query, &edges))
                (overflow_note(edges.iter().flat_map(|edge| [edge.client.as_str(), edge.server.as_str()])))
                (meaning())
            }
        }
    }
}

fn focus_bar(query: &PageQuery, focus: &str, nodes: &[&Node]) -> Markup {
    let is_service = nodes
        .iter()
        .any(|node| node.id == focus && node.kind == "service");
    html! {
        p.focus-bar {
            @if nodes.is_empty() { "Nothing is known of " b { bdi { (focus) } } " in this range. " }
            @else { "The neighbourhood of " b { (service_name(focus)) } " " }
            @if is_service {
                a.button href=(query.link_keeping_window(&service_path(focus))) { "Open the service" }
            }
            a.button href=(query.link("/map", &[("focus", None)])) { "Whole map" }
        }
    }
}

fn drawing(
    query: &PageQuery,
    focus: Option<&str>,
    nodes: &[&Node],
    edges: &[&Edge],
    services: &[ServiceReport],
) -> Markup {
    let mut drawn = edges.to_vec();
    drawn.sort_by_key(|edge| std::cmp::Reverse(edge.count));
    drawn.truncate(DRAWN_EDGES);
    // Back in the order of names: the drawing must not depend on which edge is busier just now.
    drawn.sort_by(|a, b| (&a.client, &a.server).cmp(&(&b.client, &b.server)));
    let mut shown: Vec<&Node> = nodes.to_vec();
    let is_joined = |node: &Node| {
        drawn
            .iter()
            .any(|edge| edge.client == node.id || edge.server == node.id)
    };
    shown.sort_by(|a, b| (!is_joined(a), &a.id).cmp(&(!is_joined(b), &b.id)));
    shown.truncate(DRAWN_NODES);
    let link = |node: &Node| query.link("/map", &[("focus", Some(&node.id))]);
    html! {
        div.scroll.drawing tabindex="0" role="region" aria-label="Map of services" {
            (graph(&Graph { nodes: &shown, edges: &drawn, services, focus }, link))
        }
        @if drawn.len() < edges.len() || shown.len() < nodes.len() {
            p.muted {
                "Drawn are the busiest " (drawn.len()) " of " (count(edges.len() as u64)) " edges and "
                (shown.len()) " of " (count(nodes.len() as u64)) " nodes; the table has every edge."
            }
        }
    }
}

fn table(query: &PageQuery, edges: &[&Edge]) -> Markup {
    let needle = query.get("q").unwrap_or_default().to_lowercase();
    let rows: Vec<&&Edge> = edges
        .iter()
        .filter(|edge| text_of(edge).contains(&needle))
        .collect();
    html! {
        section {
            h2 { "Edges, widest gap first" }
            @if rows.is_empty() {
                (empty::filter_hides_all(query, "/map", edges.len(), "edge"))
            } @else {
                div.scroll {
                    table.rows.edges #edges {
                        thead {
                            tr.groups {
                                th colspan="4" {}
                                th.gap colspan="3" scope="colgroup" { "Network gap" }
                                th scope="col" {}
                                th colspan="3" scope="colgroup" { "Seen by the client" }
                                th colspan="3" scope="colgroup" { "Seen by the server" }
                                th colspan="5" scope="colgroup" { "Calls" }
                            }
                            tr {
                                th scope="col" { "Client" } th scope="col" { "Server" }
                                th.num scope="col" { "Rate" } th.num scope="col" title=(ERRORS) { "Errors" }
                                (percentile_headings(true))
                                th.share scope="col" title="Gap p50 against client p50" { "Share" }
                                (percentile_headings(false)) (percentile_headings(false))
                                @for (index, (name, meaning)) in COUNTS.iter().enumerate() {
                                    th.num.first[index == 0] scope="col" title=(meaning) { (name) }
                                }
                            }
                        }
                        tbody { @for edge in rows { (row(query, edge)) } }
                    }
                }
            }
        }
    }
}

fn percentile_headings(gap: bool) -> Markup {
    html! {
        @for (index, name) in ["p50", "p90", "p99"].into_iter().enumerate() {
            th.num.gap[gap].first[index == 0] scope="col" { (name) }
        }
    }
}

fn text_of(edge: &Edge) -> String {
    format!("{} → {}", edge.client, edge.server).to_lowercase()
}

fn row(query: &PageQuery, edge: &Edge) -> Markup {
    // In the order of COUNTS.
    let counts = [
        edge.paired,
        edge.unpaired,
        edge.negative,
        edge.retried,
        edge.asynchronous,
    ];
    html! {
        tr data-key={ (edge.client) " → " (edge.server) } data-row data-text=(text_of(edge)) {
            th.name scope="row" { (service_link(&edge.client, query)) }
            td.name { (node_link(query, &edge.server)) }
            td.num title=(counted(edge.count, "call")) { (rate(edge.rate)) }
            td.num { (error_ratio(edge.error_ratio)) }
            @if edge.gap_p50.is_some() {
                td.num.gap.first { (maybe_duration(edge.gap_p50)) }
                td.num.gap { (maybe_duration(edge.gap_p90)) }
                td.num.gap.strong { (maybe_duration(edge.gap_p99)) }
                td.share { (share(edge)) }
            } @else {
                td.muted.first colspan="4" { (why_no_gap(edge)) }
            }
            td.num.first { (maybe_duration(edge.client_p50)) }
            td.num { (maybe_duration(edge.client_p90)) }
            td.num { (maybe_duration(edge.client_p99)) }
            td.num.first { (maybe_duration(edge.server_p50)) }
            td.num { (maybe_duration(edge.server_p90)) }
            td.num { (maybe_duration(edge.server_p99)) }
            @for (index, number) in counts.into_iter().enumerate() {
                td.num.first[index == 0].muted[number == 0] { (count(number)) }
            }
        }
    }
}

/// Databases, queues and outside hosts have no page of their own, but a neighbourhood.
fn node_link(query: &PageQuery, id: &str) -> Markup {
    html! {
        a.service href=(query.link("/map", &[("focus", Some(id)), ("q", None)])) title=(id) { (service_name(id)) }
    }
}

/// How much of the median call is network.
fn share(edge: &Edge) -> Markup {
    let (Some(gap), Some(client)) = (edge.gap_p50, edge.client_p50) else {
        return html! {};
    };
    let share = if client > 0.0 {
        (gap / client).min(1.0)
    } else {
        0.0
    };
    let parts = [
        Part {
            share: 1.0 - share,
            class: format!("work {}", colour(&edge.server)),
        },
        Part {
            share,
            class: "network".to_owned(),
        },
    ];
    html! {
        div.measure { (stack(&parts, &format!("network: {} of the median call", ratio(share)))) span { (ratio(share)) } }
    }
}

fn meaning() -> Markup {
    html! {
        section {
            h2 { "What the counts mean" }
            dl.meaning {
                dt { "errors" } dd { (ERRORS) }
                @for (name, meaning) in COUNTS { dt { (name) } dd { (meaning) } }
            }
            p.muted {
                "Shapes: a box is a service, a cylinder a " (kind_name("database")) ", a pipe a " (kind_name("queue"))
                ", a dashed box an " (kind_name("external")) " that sends no spans here."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::{Page, assert_drawable};

    fn show(pairs: &[(&str, &str)], map: &Map) -> Page {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let query = PageQuery::new(owned.collect());
        let main = content(&query, map, &fixtures::services());
        let page = Page::parse(&html! { main { (main) } }.into_string());
        assert_drawable(&page);
        page
    }

    #[test]
    fn the_table_has_every_edge_of_the_drawing_and_its_numbers() {
        let page = show(&[], &fixtures::map());
        assert_eq!(page.class("edge").count(), 2 * 2);
        let rows: Vec<_> = page
            .all("tr")
            .filter(|row| row.get("data-row").is_some())
            .map(|row| row.text.replace('\u{a0}', " "))
            .collect();
        assert_eq!(rows.len(), 2);
        for number in [
            "1.20 ms", "4.00 ms", "9.80 ms", "13.2 ms", "106 ms", "96.0 ms", "880", "12",
        ] {
            assert!(rows[0].contains(number), "{number} in {}", rows[0]);
        }
        assert!(rows[1].contains("no server span"));
        assert!(page.text().contains("network: 9.09 % of the median call"));
    }

    #[test]
    fn lone_services_are_on_the_map() {
        let page = show(&[], &fixtures::map());
        let nodes: Vec<_> = page.class("name").map(|name| name.text.clone()).collect();
        assert!(nodes.contains(&"mailer".to_owned()));
        assert!(page.text().contains("no calls between services seen"));
    }

    #[test]
    fn a_focus_leaves_the_neighbours() {
        let page = show(&[("focus", "gateway")], &fixtures::map());
        // Drawn for wide and for narrow screens.
        assert_eq!(page.class("edge").count(), 2);
        assert_eq!(page.class("node").count(), 2 * 2);
        assert!(page.text().contains("The neighbourhood of gateway"));
        let page = show(&[("focus", "nobody")], &fixtures::map());
        assert!(page.text().contains("Nothing is known of nobody"));
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut map = fixtures::map();
        map.edges.push(fixtures::edge(fixtures::HOSTILE, "gateway"));
        map.nodes.push(Node {
            id: fixtures::HOSTILE.to_owned(),
            kind: "service",
        });
        let page = show(&[("focus", fixtures::HOSTILE)], &map);
        assert_eq!(page.count("script"), 0);
        assert!(page.texts("bdi").contains(&fixtures::HOSTILE.to_owned()));
    }

    #[test]
    fn a_crowded_map_draws_the_busiest_and_says_so() {
        let mut map = fixtures::map();
        for index in 0..300 {
            let id = format!("service-{index}");
            map.edges.push(fixtures::edge("gateway", &id));
            map.nodes.push(Node {
                id,
                kind: "service",
            });
        }
        let page = show(&[], &map);
        assert!(page.class("edge").count() <= DRAWN_EDGES);
        assert!(page.text().contains("of 302 edges"));
    }
}
