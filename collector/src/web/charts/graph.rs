//! The map as SVG: nodes in layers, an arrow for every edge with its rate, its errors and its network gap.
//! Called by the page of the map.

use maud::{Markup, html};

use super::layers::{Layout, Point, Sizes, layout, spread};
use crate::views::report::{Edge, Node, ServiceReport};
use crate::web::format::{coordinate, duration, maybe_duration, rate, ratio, shorten};
use crate::web::layout::colour;

const SIZES: Sizes = Sizes {
    node_width: 158.0,
    node_height: 46.0,
    layer_gap: 172.0,
    node_gap: 30.0,
    lane_height: 12.0,
};
const MARGIN: f64 = 12.0;
/// Between two labels of edges.
const LABEL_HEIGHT: f64 = 34.0;
/// A drawing wider than this is shrunk to the page, one that is much wider is scrolled.
const FIT: std::ops::Range<f64> = 1000.0..2000.0;
/// From this share of failed calls on an arrow is red; any failure is told in red beside it.
const FAILING: f64 = 0.05;
/// Lone nodes stand side by side, at least so many in a row.
const LONE_COLUMNS: f64 = 4.0;
/// Between them, to the right and down.
const LONE_GAPS: (f64, f64) = (24.0, 16.0);

/// What the map draws.
#[derive(Debug)]
pub(in crate::web) struct Graph<'a> {
    pub(in crate::web) nodes: &'a [&'a Node],
    pub(in crate::web) edges: &'a [&'a Edge],
    /// For the figures inside the nodes.
    pub(in crate::web) services: &'a [ServiceReport],
    /// The node that is looked at.
    pub(in crate::web) focus: Option<&'a str>,
}

/// The whole drawing; `link` gives the address behind a node.
pub(in crate::web) fn graph(graph: &Graph<'_>, link: impl Fn(&Node) -> String) -> Markup {
    let (joined, lone) = split(graph);
    let index = |id: &str| joined.iter().position(|node| node.id == id);
    let edges: Vec<(&Edge, (usize, usize))> = graph
        .edges
        .iter()
        .filter_map(|edge| Some((*edge, (index(&edge.client)?, index(&edge.server)?))))
        .collect();
    let ends: Vec<(usize, usize)> = edges.iter().map(|(_, ends)| *ends).collect();
    let placed = layout(joined.len(), &ends, &SIZES);
    let lone_top = if joined.is_empty() {
        0.0
    } else {
        placed.height + 56.0
    };
    let lone_points = lone_points(lone.len(), placed.width, lone_top);
    let (width, height) = extent(&placed, &lone_points);
    let labels = place_labels(&placed);
    html! {
        svg.map.fit[FIT.contains(&width)] role="img" width=(width) height=(height)
            viewBox={ (-MARGIN) " " (-MARGIN) " " (coordinate(width)) " " (coordinate(height)) } {
            title { (joined.len() + lone.len()) " services and what they call, " (edges.len()) " kinds of calls between them" }
            defs {
                marker #arrow viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"
                    markerUnits="userSpaceOnUse" orient="auto-start-reverse" { path d="M0 0L8 4L0 8z" {} }
            }
            @for ((edge, _), route) in edges.iter().zip(&placed.edges) { (edge_line(edge, route)) }
            @for ((edge, ends), label) in edges.iter().zip(&labels) {
                (edge_label(edge, label.unwrap_or_else(|| own_label(&placed, ends.0))))
            }
            @for (node, point) in joined.iter().zip(&placed.nodes) { (node_box(graph, node, *point, &link)) }
            @if !lone.is_empty() && !joined.is_empty() {
                text.axis x="0" y=(lone_top - 14.0) { "no calls between services seen" }
            }
            @for (node, point) in lone.iter().zip(&lone_points) { (node_box(graph, node, *point, &link)) }
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
fn lone_points(count: usize, width: f64, top: f64) -> Vec<Point> {
    let step = SIZES.node_width + LONE_GAPS.0;
    let columns = ((width + LONE_GAPS.0) / step).floor().max(LONE_COLUMNS);
    let point = |index| {
        let row = (f64::from(index) / columns).floor();
        let column = f64::from(index) - row * columns;
        Point {
            x: column * step + SIZES.node_width / 2.0,
            y: top + row * (SIZES.node_height + LONE_GAPS.1) + SIZES.node_height / 2.0,
        }
    };
    (0..u32::try_from(count).unwrap_or(u32::MAX))
        .map(point)
        .collect()
}

fn extent(placed: &Layout, lone: &[Point]) -> (f64, f64) {
    let corner = lone
        .iter()
        .fold((placed.width, placed.height), |(x, y), point| {
            (
                x.max(point.x + SIZES.node_width / 2.0),
                y.max(point.y + SIZES.node_height / 2.0),
            )
        });
    (corner.0 + 2.0 * MARGIN, corner.1 + 2.0 * MARGIN)
}

/// Where each edge's label stands: on its last stretch, past the middle where the lines of one caller have
/// parted, moved so that labels of the same column keep apart; `None` for a call of a node to itself.
fn place_labels(placed: &Layout) -> Vec<Option<Point>> {
    let middles: Vec<Option<Point>> = placed
        .edges
        .iter()
        .map(|route| match route.as_slice() {
            [.., from, to] => Some(Point {
                x: (from.x + to.x) / 2.0,
                y: from.y * 0.3 + to.y * 0.7,
            }),
            _ => None,
        })
        .collect();
    let mut sorted: Vec<(usize, Point)> = middles
        .iter()
        .enumerate()
        .filter_map(|(index, point)| point.map(|point| (index, point)))
        .collect();
    sorted.sort_by(|(_, a), (_, b)| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)));
    let mut labels = middles;
    for column in sorted.chunk_by(|(_, a), (_, b)| a.x == b.x) {
        let wanted: Vec<f64> = column.iter().map(|(_, point)| point.y).collect();
        let gaps = vec![LABEL_HEIGHT; column.len()];
        for ((index, point), y) in column.iter().zip(spread(&wanted, &gaps)) {
            if let Some(label) = labels.get_mut(*index) {
                *label = Some(Point { x: point.x, y });
            }
        }
    }
    labels
}

/// A call of a node to itself is told below the node.
fn own_label(placed: &Layout, node: usize) -> Point {
    let point = placed.nodes.get(node).copied().unwrap_or_default();
    Point {
        x: point.x,
        y: point.y + SIZES.node_height / 2.0 + 14.0,
    }
}

fn edge_line(edge: &Edge, route: &[Point]) -> Markup {
    let width = 1.2 + (1.0 + edge.rate.max(0.0)).log10().min(3.0);
    html! {
        path.edge.failing[edge.error_ratio >= FAILING].asynchronous[edge.asynchronous > edge.paired]
            d=(edge_path(route)) stroke-width=(coordinate(width)) marker-end="url(#arrow)" {
            title { (edge.client) " → " (edge.server) }
        }
    }
}

/// Curves between layers, straight lines past them.
fn edge_path(route: &[Point]) -> String {
    let half = SIZES.node_width / 2.0;
    let at = |x: f64, y: f64| format!("{} {}", coordinate(x), coordinate(y));
    let mut path = String::new();
    for pair in route.windows(2) {
        let [from, to] = *pair else { continue };
        let side = if from.x < to.x { half } else { -half };
        let (start, end) = (from.x + side, to.x - side);
        let middle = (start + end) / 2.0;
        path.push_str(if path.is_empty() { "M" } else { "L" });
        path.push_str(&at(start, from.y));
        path.push_str(&format!(
            "C{} {} {}",
            at(middle, from.y),
            at(middle, to.y),
            at(end, to.y)
        ));
    }
    path
}

fn edge_label(edge: &Edge, point: Point) -> Markup {
    let (x, y) = (coordinate(point.x), point.y);
    html! {
        g.label {
            title { (sentence(edge)) }
            text x=(x) y=(coordinate(y - 4.0)) text-anchor="middle" {
                tspan { (rate(edge.rate)) }
                @if edge.error_ratio > 0.0 { tspan.bad dx="6" { (ratio(edge.error_ratio)) " errors" } }
            }
            text.gap x=(x) y=(coordinate(y + 11.0)) text-anchor="middle" {
                @if let (Some(p50), Some(p99)) = (edge.gap_p50, edge.gap_p99) {
                    tspan { "↔ " (duration(p50)) } tspan.p99 dx="6" { "p99 " (duration(p99)) }
                } @else {
                    tspan.muted { (why_no_gap(edge)) }
                }
            }
        }
    }
}

/// Why an edge has no network gap, in a word.
pub(in crate::web) fn why_no_gap(edge: &Edge) -> &'static str {
    if edge.asynchronous > 0 && edge.paired == 0 {
        "messages"
    } else if edge.paired == 0 {
        "no server span"
    } else if edge.negative > 0 {
        "server span longer"
    } else {
        "no gap yet"
    }
}

/// An edge in words, for those who hover or listen.
fn sentence(edge: &Edge) -> String {
    format!(
        "{} calls {}: {}, errors {}; network gap p50 {}, p99 {}; seen by the caller p99 {}, by the server p99 {}",
        edge.client,
        edge.server,
        rate(edge.rate),
        ratio(edge.error_ratio),
        maybe_duration(edge.gap_p50),
        maybe_duration(edge.gap_p99),
        maybe_duration(edge.client_p99),
        maybe_duration(edge.server_p99),
    )
}

fn node_box(
    graph: &Graph<'_>,
    node: &Node,
    centre: Point,
    link: &impl Fn(&Node) -> String,
) -> Markup {
    let left = centre.x - SIZES.node_width / 2.0;
    let top = centre.y - SIZES.node_height / 2.0;
    let report = graph
        .services
        .iter()
        .find(|report| report.service == node.id && node.kind == "service");
    html! {
        a href=(link(node)) data-key={ "node " (node.id) } {
            g.node.(node.kind).focus[graph.focus == Some(node.id.as_str())]
                transform={ "translate(" (coordinate(left)) " " (coordinate(top)) ")" } {
                title { (node.id) }
                (shape(node))
                text.name x="16" y="20" { (shorten(&node.id, 16)) }
                text.under x="16" y="36" {
                    @if let Some(report) = report {
                        (rate(report.rate)) " · p99 " (maybe_duration(report.latency.p99))
                    } @else {
                        (kind_name(node.kind))
                    }
                }
            }
        }
    }
}

/// Each kind of node has a shape of its own: colour alone would not do.
fn shape(node: &Node) -> Markup {
    let (w, h) = (SIZES.node_width, SIZES.node_height);
    match node.kind {
        "database" => html! {
            path.box d={ "M0 6C0 -2 " (w) " -2 " (w) " 6V" (h - 6.0) "C" (w) " " (h + 2.0) " 0 " (h + 2.0) " 0 " (h - 6.0) "Z" } {}
            path.rim d={ "M0 6C0 14 " (w) " 14 " (w) " 6" } {}
        },
        "queue" => html! {
            path.box d={ "M8 0H" (w - 8.0) "C" (w + 2.0) " 0 " (w + 2.0) " " (h) " " (w - 8.0) " " (h) "H8C-2 " (h) " -2 0 8 0Z" } {}
            path.rim d={ "M" (w - 8.0) " 0C" (w - 16.0) " 0 " (w - 16.0) " " (h) " " (w - 8.0) " " (h) } {}
        },
        "service" => html! {
            rect.box width=(w) height=(h) rx="6" {}
            rect.stripe.(colour(&node.id)) width="6" height=(h) rx="3" {}
        },
        _ => html! { rect.box.dashed width=(w) height=(h) rx="20" {} },
    }
}

/// What a kind of node is called.
pub(in crate::web) fn kind_name(kind: &str) -> &str {
    match kind {
        "external" => "outside host",
        other => other,
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
            services: &fixtures::services(),
            focus: None,
        };
        let page = Page::parse(&super::graph(&graph, |_| "/".to_owned()).into_string());
        assert_drawable(&page);
        page
    }

    #[test]
    fn every_node_and_edge_is_drawn_once_with_its_numbers() {
        let map = fixtures::map();
        let page = draw(&map.nodes, &map.edges);
        assert_eq!(page.class("node").count(), map.nodes.len());
        assert_eq!(page.class("edge").count(), map.edges.len());
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
    fn kinds_differ_by_shape() {
        let shapes: Vec<String> = ["service", "database", "queue", "external"]
            .into_iter()
            .map(|kind| {
                shape(&Node {
                    id: "x".to_owned(),
                    kind,
                })
                .into_string()
            })
            .collect();
        let distinct: std::collections::BTreeSet<_> = shapes.iter().collect();
        assert_eq!(distinct.len(), 4);
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
        assert_eq!(page.class("node").count(), 1);
        draw(&[], &[]);
    }

    #[test]
    fn labels_of_a_column_keep_apart() {
        let edges: Vec<(usize, usize)> = (1..9).map(|server| (0, server)).collect();
        let labels = place_labels(&layout(9, &edges, &SIZES));
        let mut ys: Vec<f64> = labels.into_iter().map(|label| label.unwrap().y).collect();
        ys.sort_by(f64::total_cmp);
        assert!(
            ys.windows(2)
                .all(|pair| pair[1] - pair[0] >= LABEL_HEIGHT - 0.01)
        );
    }
}
