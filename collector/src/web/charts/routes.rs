//! The way of every edge of the map and the place of its label. Between two layers each edge has a straight stretch
//! of its own before the right-hand node; labels stand on these stretches, so that no line runs through a label.
//! Pure geometry; called by `charts::graph`.

use super::layers::{Layout, Point, Sizes, spread};
use crate::web::format::coordinate;

/// What lines and labels take of the room between two layers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// The straight stretch that a label stands on.
    pub(super) label_width: f64,
    /// Between two labels, one above the other.
    pub(super) label_height: f64,
    /// From the straight stretch to the right-hand node.
    pub(super) tail: f64,
    /// At most so much of the rest is a curve.
    pub(super) curve: f64,
}

/// All routes, and how far up and down they reach.
#[derive(Debug)]
pub(super) struct Routes {
    /// One for every edge of the layout; `None` for a call of a node to itself.
    pub(super) edges: Vec<Option<Route>>,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// An edge from its client to its server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Route {
    /// Path data.
    pub(super) path: String,
    /// The middle of its label.
    pub(super) label: Point,
}

/// One edge between two neighbouring layers.
struct Piece {
    edge: usize,
    /// Centres of the nodes or lanes it joins.
    left: Point,
    right: Point,
    /// Whether the edge runs from left to right.
    forward: bool,
    /// Whether the edge's label stands here.
    labelled: bool,
    /// Height of its straight stretch.
    y: f64,
}

/// Finds the routes.
pub(super) fn routes(placed: &Layout, sizes: &Sizes, room: &Room) -> Routes {
    let mut pieces = pieces(placed);
    give_heights(&mut pieces, sizes, room);
    let mut routes = Routes {
        edges: vec![None; placed.edges.len()],
        top: 0.0,
        bottom: placed.height,
    };
    // In the order of each edge's way, which sorting by columns has lost.
    pieces.sort_by(|a, b| {
        let way = |piece: &Piece| {
            if piece.forward {
                piece.left.x
            } else {
                -piece.left.x
            }
        };
        a.edge.cmp(&b.edge).then(way(a).total_cmp(&way(b)))
    });
    for piece in &pieces {
        if let Some(edge) = routes.edges.get_mut(piece.edge) {
            let route = edge.get_or_insert_with(|| Route {
                path: String::new(),
                label: Point::default(),
            });
            add(route, piece, sizes, room);
            routes.top = routes.top.min(piece.y - room.label_height / 2.0);
            routes.bottom = routes.bottom.max(piece.y + room.label_height / 2.0);
        }
    }
    routes
}

/// Every edge cut at the layers; the stretch to its server has the label.
fn pieces(placed: &Layout) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (edge, route) in placed.edges.iter().enumerate() {
        for (index, pair) in route.windows(2).enumerate() {
            let [from, to] = *pair else { continue };
            let forward = from.x < to.x;
            let (left, right) = if forward { (from, to) } else { (to, from) };
            pieces.push(Piece {
                edge,
                left,
                right,
                forward,
                labelled: index + 2 == route.len(),
                y: right.y,
            });
        }
    }
    pieces
}

/// Keeps the straight stretches between the same two layers apart, in the order of the nodes they lead to: past
/// their curves no two of them cross.
fn give_heights(pieces: &mut [Piece], sizes: &Sizes, room: &Room) {
    pieces.sort_by(|a, b| {
        a.left
            .x
            .total_cmp(&b.left.x)
            .then(a.right.y.total_cmp(&b.right.y))
            .then(a.left.y.total_cmp(&b.left.y))
    });
    let half = |piece: &Piece| {
        if piece.labelled {
            room.label_height / 2.0
        } else {
            sizes.lane_height / 2.0
        }
    };
    for column in pieces.chunk_by_mut(|a, b| a.left.x == b.left.x) {
        let wanted: Vec<f64> = column.iter().map(|piece| piece.right.y).collect();
        let mut above = None;
        let gaps: Vec<f64> = column
            .iter()
            .map(|piece| above.replace(half(piece)).unwrap_or(0.0) + half(piece))
            .collect();
        for (piece, y) in column.iter_mut().zip(spread(&wanted, &gaps)) {
            piece.y = y;
        }
    }
}

/// Leads a route on through one piece: a curve, the straight stretch, a short curve to the right-hand node; all
/// of it the other way round where the edge runs back.
fn add(route: &mut Route, piece: &Piece, sizes: &Sizes, room: &Room) {
    let start = piece.left.x + sizes.node_width / 2.0;
    let end = piece.right.x - sizes.node_width / 2.0;
    let label_end = end - room.tail;
    let bend = (start + room.curve).min(label_end - room.label_width);
    let (y, from, to) = (piece.y, piece.left.y, piece.right.y);
    let mut way = [(start, from), (bend, y), (label_end, y), (end, to)];
    if !piece.forward {
        way.reverse();
    }
    let [first, second, third, last] = way;
    route
        .path
        .push_str(if route.path.is_empty() { "M" } else { "L" });
    route.path.push_str(&at(first));
    curve(&mut route.path, first, second);
    route.path.push('L');
    route.path.push_str(&at(third));
    curve(&mut route.path, third, last);
    if piece.labelled {
        route.label = Point {
            x: label_end - room.label_width / 2.0,
            y,
        };
    }
}

/// Leaves and arrives level, so that an arrowhead at its end lies flat.
fn curve(path: &mut String, from: (f64, f64), to: (f64, f64)) {
    let middle = (from.0 + to.0) / 2.0;
    path.push('C');
    path.push_str(&at((middle, from.1)));
    path.push(' ');
    path.push_str(&at((middle, to.1)));
    path.push(' ');
    path.push_str(&at(to));
}

fn at((x, y): (f64, f64)) -> String {
    format!("{} {}", coordinate(x), coordinate(y))
}

#[cfg(test)]
mod tests {
    use super::super::layers::layout;
    use super::*;

    const SIZES: Sizes = Sizes {
        node_width: 100.0,
        node_height: 40.0,
        layer_gap: 200.0,
        node_gap: 20.0,
        lane_height: 10.0,
    };
    const ROOM: Room = Room {
        label_width: 120.0,
        label_height: 36.0,
        tail: 20.0,
        curve: 90.0,
    };

    fn of(nodes: usize, edges: &[(usize, usize)]) -> Routes {
        routes(&layout(nodes, edges, &SIZES), &SIZES, &ROOM)
    }

    #[test]
    fn a_label_stands_on_the_straight_stretch_before_the_server() {
        let routes = of(2, &[(0, 1)]);
        let route = routes.edges[0].as_ref().unwrap();
        assert_eq!(
            route.path,
            "M100 20C130 20 130 20 160 20L280 20C290 20 290 20 300 20"
        );
        assert_eq!(route.label, Point { x: 220.0, y: 20.0 });
    }

    #[test]
    fn a_call_back_runs_from_right_to_left_beside_the_other() {
        let routes = of(2, &[(0, 1), (1, 0)]);
        let [Some(there), Some(back)] = routes.edges.as_slice() else {
            panic!("a route is missing");
        };
        assert!(there.path.starts_with("M100 ") && there.path.ends_with("300 20"));
        assert!(back.path.starts_with("M300 ") && back.path.ends_with("100 20"));
        assert!((there.label.y - back.label.y).abs() >= 35.9);
    }

    #[test]
    fn a_call_to_oneself_has_no_route() {
        assert_eq!(of(1, &[(0, 0)]).edges, [None]);
    }

    #[test]
    fn the_extent_takes_in_labels_above_and_below_the_nodes() {
        let edges: Vec<(usize, usize)> = (0..9).map(|client| (client, 9)).collect();
        let routes = of(10, &edges);
        for route in routes.edges.iter().flatten() {
            assert!(route.label.y - 18.0 >= routes.top && route.label.y + 18.0 <= routes.bottom);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_label_touches_another_or_a_line_past_its_curve(
            edges in proptest::collection::vec((0..9_usize, 0..9_usize), 0..30),
        ) {
            let placed = layout(9, &edges, &SIZES);
            let mut pieces = pieces(&placed);
            give_heights(&mut pieces, &SIZES, &ROOM);
            for (index, a) in pieces.iter().enumerate() {
                for b in &pieces[index + 1..] {
                    let half = |piece: &Piece| if piece.labelled { 18.0 } else { 5.0 };
                    let apart = (a.y - b.y).abs() >= half(a) + half(b) - 0.01;
                    proptest::prop_assert!(a.left.x != b.left.x || apart, "{} {}", a.y, b.y);
                }
            }
        }
    }
}
