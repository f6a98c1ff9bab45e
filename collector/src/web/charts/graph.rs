//! The map as SVG: nodes in layers, an arrow for every edge with its rate, its errors and its network gap.
//! Called by the page of the map.

mod edge;
mod node;

use std::collections::BTreeMap;

use maud::{Markup, html};

pub(in crate::web) use self::edge::why_no_gap;
pub(in crate::web) use self::node::kind_name;

use self::edge::{edge_label, edge_line};
use self::node::node_box;
use super::layers::{Layout, Point, Sizes, layer_count, layout};
use super::routes::{Room, routes};
use crate::views::report::{Edge, Figures, Node};
use crate::web::format::coordinate;

const MARGIN: f64 = 12.0;
/// So wide a wide drawing would be: the content of a page on a common screen.
const WIDE: f64 = 1300.0;
/// Further apart layers would lose sight of each other.
const MOST_GAP: f64 = 700.0;
/// A drawing wider than this is shrunk to the page, one that is much wider is scrolled.
const FIT: std::ops::Range<f64> = 1000.0..1800.0;
/// With more edges than this there is no drawing of its own for narrow screens: the page would be twice as long.
const NARROW_EDGES: usize = 40;
/// Lone nodes stand side by side, at least so many in a row.
const LONE_COLUMNS: f64 = 4.0;
/// Between them, to the right and down.
const LONE_GAPS: (f64, f64) = (24.0, 16.0);

/// What the map draws.
#[derive(Debug)]
pub(in crate::web) struct Graph<'a> {
    pub(in crate::web) nodes: &'a [&'a Node],
    pub(in crate::web) edges: &'a [&'a Edge],
    /// Those of services by name, for the figures inside the nodes.
    pub(in crate::web) services: &'a BTreeMap<String, Figures>,
    /// The node that is looked at.
    pub(in crate::web) focus: Option<&'a str>,
}

/// Where nodes and edges lead.
pub(in crate::web) struct Links<'a> {
    pub(in crate::web) node: &'a dyn Fn(&Node) -> String,
    pub(in crate::web) edge: &'a dyn Fn(&Edge) -> String,
}

/// For which screens a drawing is made; the style sheet shows one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Screen {
    /// Uses the width of a page.
    Wide,
    /// As narrow as labels allow: on a phone client and labels are in view, the rest is scrolled.
    Narrow,
}

/// The measures of a drawing.
#[derive(Clone, Copy, Debug)]
struct Measures {
    sizes: Sizes,
    room: Room,
    /// So many letters of a name fit into a node.
    letters: usize,
}

impl Measures {
    /// `own_calls`: whether a node calls itself and needs room for that label below it.
    fn new(screen: Screen, layers: usize, own_calls: bool) -> Self {
        // With few layers there is room for long names.
        let (node_width, letters) = match screen {
            Screen::Wide if layers <= 3 => (206.0, 22),
            Screen::Wide => (158.0, 16),
            Screen::Narrow => (132.0, 13),
        };
        let room = Room {
            label_width: if screen == Screen::Wide { 172.0 } else { 156.0 },
            label_height: 40.0,
            tail: 26.0,
            curve: 260.0,
        };
        let least = 30.0 + room.label_width + room.tail;
        let layer_gap = match screen {
            Screen::Narrow => least,
            Screen::Wide => {
                let left = WIDE - layers as f64 * node_width;
                (left / layers.saturating_sub(1).max(1) as f64).clamp(least, MOST_GAP)
            }
        };
        let sizes = Sizes {
            node_width,
            node_height: 46.0,
            layer_gap,
            node_gap: if own_calls { 50.0 } else { 30.0 },
            lane_height: 12.0,
        };
        Self {
            sizes,
            room,
            letters,
        }
    }
}

/// The whole drawing.
pub(in crate::web) fn graph(graph: &Graph<'_>, links: &Links<'_>) -> Markup {
    html! {
        @if graph.edges.len() <= NARROW_EDGES { (drawing(graph, Screen::Narrow, links)) }
        (drawing(graph, Screen::Wide, links))
    }
}

fn drawing(graph: &Graph<'_>, screen: Screen, links: &Links<'_>) -> Markup {
    let (joined, lone) = split(graph);
    let index = |id: &str| joined.iter().position(|node| node.id == id);
    let edges: Vec<(&Edge, (usize, usize))> = graph
        .edges
        .iter()
        .filter_map(|edge| Some((*edge, (index(&edge.client)?, index(&edge.server)?))))
        .collect();
    let ends: Vec<(usize, usize)> = edges.iter().map(|(_, ends)| *ends).collect();
    let own_calls = ends.iter().any(|(client, server)| client == server);
    let measures = Measures::new(screen, layer_count(joined.len(), &ends), own_calls);
    let placed = layout(joined.len(), &ends, &measures.sizes);
    let routes = routes(&placed, &measures.sizes, &measures.room);
    let bottom = routes.bottom + if own_calls { 40.0 } else { 0.0 };
    let lone_top = if joined.is_empty() {
        0.0
    } else {
        bottom + 56.0
    };
    let lone_points = lone_points(lone.len(), screen, &placed, lone_top, &measures.sizes);
    let (right, bottom) = corner(placed.width, bottom, &lone_points, &measures.sizes);
    let (width, height) = (right + 2.0 * MARGIN, bottom - routes.top + 2.0 * MARGIN);
    let (class, arrow) = match screen {
        Screen::Wide => ("wide", "arrow"),
        Screen::Narrow => ("narrow", "arrow-narrow"),
    };
    let top = coordinate(routes.top - MARGIN);
    html! {
        svg.map.(class).fit[screen == Screen::Wide && FIT.contains(&width)] role="img" width=(coordinate(width))
            height=(coordinate(height))
            viewBox={ (-MARGIN) " " (top) " " (coordinate(width)) " " (coordinate(height)) } {
            title { (joined.len() + lone.len()) " services and what they call, " (edges.len()) " kinds of calls between them" }
            defs {
                marker #(arrow) viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"
                    markerUnits="userSpaceOnUse" orient="auto-start-reverse" { path d="M0 0L8 4L0 8z" {} }
            }
            @for ((edge, ends), route) in edges.iter().zip(&routes.edges) {
                a href=((links.edge)(edge)) tabindex="-1" aria-hidden="true" {
                    @match route {
                        Some(route) => { (edge_line(edge, &route.path, arrow)) }
                        None => { (edge_line(edge, &own_path(&placed, ends.0, &measures.sizes), arrow)) }
                    }
                }
            }
            @for ((edge, ends), route) in edges.iter().zip(&routes.edges) {
                a href=((links.edge)(edge)) data-key={ "edge " (edge.client) " → " (edge.server) } {
                    @match route {
                        Some(route) => { (edge_label(edge, route.label)) }
                        None => { (edge_label(edge, own_label(&placed, ends.0, &measures.sizes))) }
                    }
                }
            }
            @for (node, point) in joined.iter().zip(&placed.nodes) { (node_box(graph, node, *point, &measures, links)) }
            @if !lone.is_empty() && !joined.is_empty() {
                text.axis x="0" y=(coordinate(lone_top - 14.0)) { "no calls between services seen" }
            }
            @for (node, point) in lone.iter().zip(&lone_points) { (node_box(graph, node, *point, &measures, links)) }
        }
    }
}

/// Nodes with an edge, and those without.
fn split<'a>(graph: &Graph<'a>) -> (Vec<&'a Node>, Vec<&'a Node>) {
    let is_joined = |node: &&Node| {
        let id = &node.id;
        graph
            .edges
            .iter()
            .any(|edge| edge.client == *id || edge.server == *id)
    };
    graph.nodes.iter().copied().partition(is_joined)
}

/// Where lone nodes stand, below the others: rows as long as the drawing above is wide.
fn lone_points(
    count: usize,
    screen: Screen,
    placed: &Layout,
    top: f64,
    sizes: &Sizes,
) -> Vec<Point> {
    let step = sizes.node_width + LONE_GAPS.0;
    let least = if screen == Screen::Wide {
        LONE_COLUMNS
    } else {
        2.0
    };
    let columns = ((placed.width + LONE_GAPS.0) / step).floor().max(least);
    let point = |index| {
        let row = (f64::from(index) / columns).floor();
        let column = f64::from(index) - row * columns;
        Point {
            x: column * step + sizes.node_width / 2.0,
            y: top + row * (sizes.node_height + LONE_GAPS.1) + sizes.node_height / 2.0,
        }
    };
    (0..u32::try_from(count).unwrap_or(u32::MAX))
        .map(point)
        .collect()
}

/// The lower right corner of all that is drawn.
fn corner(right: f64, bottom: f64, lone: &[Point], sizes: &Sizes) -> (f64, f64) {
    lone.iter().fold((right, bottom), |(x, y), point| {
        (
            x.max(point.x + sizes.node_width / 2.0),
            y.max(point.y + sizes.node_height / 2.0),
        )
    })
}

/// A call of a node to itself is a loop on top of the node …
fn own_path(placed: &Layout, node: usize, sizes: &Sizes) -> String {
    let point = placed.nodes.get(node).copied().unwrap_or_default();
    let (left, right) = (coordinate(point.x - 20.0), coordinate(point.x + 20.0));
    let top = point.y - sizes.node_height / 2.0;
    let (top, above) = (coordinate(top), coordinate(top - 14.0));
    format!("M{right} {top}C{right} {above} {left} {above} {left} {top}")
}

/// … and is told below it.
fn own_label(placed: &Layout, node: usize, sizes: &Sizes) -> Point {
    let point = placed.nodes.get(node).copied().unwrap_or_default();
    Point {
        x: point.x,
        y: point.y + sizes.node_height / 2.0 + 22.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::{Page, assert_drawable};

    fn draw(nodes: &[Node], edges: &[Edge]) -> Page {
        let graph = Graph {
            nodes: &nodes.iter().collect::<Vec<_>>(),
            edges: &edges.iter().collect::<Vec<_>>(),
            services: &fixtures::figures_by_name(),
            focus: None,
        };
        let links = Links {
            node: &|_| "/".to_owned(),
            edge: &|_| "/".to_owned(),
        };
        let markup = super::graph(&graph, &links);
        let page = Page::parse(&html! { div { (markup) } }.into_string());
        assert_drawable(&page);
        page
    }

    #[test]
    fn every_node_and_edge_is_drawn_once_for_each_screen_with_its_numbers() {
        let map = fixtures::map();
        let page = draw(&map.nodes, &map.edges);
        assert_eq!(page.class("wide").count() + page.class("narrow").count(), 2);
        assert_eq!(page.class("node").count(), 2 * map.nodes.len());
        assert_eq!(page.class("edge").count(), 2 * map.edges.len());
        let label = page
            .class("label")
            .next()
            .unwrap()
            .text
            .replace('\u{a0}', " ");
        assert!(label.contains("↔ 1.20 ms"), "{label}");
        assert!(label.contains("p99 9.80 ms"), "{label}");
    }

    #[test]
    fn hostile_graphs_are_drawn_too() {
        let mut edge = fixtures::edge("a", "a");
        edge.rate = f64::NAN;
        edge.gap_p50 = Some(f64::INFINITY);
        let node = Node {
            id: "a".to_owned(),
            kind: "service",
        };
        let page = draw(&[node], &[edge, fixtures::edge("ghost", "a")]);
        assert_eq!(page.class("node").count(), 2);
        let mut lines = page.class("edge").filter_map(|edge| edge.get("d"));
        assert!(lines.all(|line| line.starts_with('M')), "a loop is a line");
        draw(&[], &[]);
    }

    #[test]
    fn few_layers_use_the_width_of_the_page() {
        let wide = |layers: usize| {
            let sizes = Measures::new(Screen::Wide, layers, false).sizes;
            layers as f64 * (sizes.node_width + sizes.layer_gap) - sizes.layer_gap
        };
        for layers in 2..=3 {
            assert!((1000.0..=1310.0).contains(&wide(layers)), "{layers} layers");
        }
        assert!(FIT.contains(&(wide(5) + 2.0 * MARGIN)));
        assert!(!FIT.contains(&wide(6)));
    }

    #[test]
    fn a_narrow_screen_has_client_and_label_in_view() {
        let Measures { sizes, room, .. } = Measures::new(Screen::Narrow, 2, false);
        // Of 375 pixels the page and the frame take some.
        assert!(MARGIN + sizes.node_width + sizes.layer_gap - room.tail <= 340.0);
    }

    #[test]
    fn a_large_map_is_drawn_once() {
        let map = fixtures::map();
        let crowd: Vec<Edge> = (0..=NARROW_EDGES)
            .map(|index| fixtures::edge("gateway", &format!("service-{index}")))
            .collect();
        assert_eq!(draw(&map.nodes, &map.edges).class("map").count(), 2);
        assert_eq!(draw(&map.nodes, &crowd).class("map").count(), 1);
    }
}
