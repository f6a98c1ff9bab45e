//! Places a directed graph in layers, callers left of what they call (Sugiyama's method: break cycles,
//! longest-path layers, barycentre sweeps against crossings). Pure geometry; called by `charts::graph`.

use std::collections::BTreeSet;

/// Sweeps over all layers; the best order found is kept.
const SWEEPS: usize = 12;
/// Rounds of moving nodes towards their neighbours.
const ROUNDS: usize = 10;

/// Sizes in pixels.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Sizes {
    pub(in crate::web) node_width: f64,
    pub(in crate::web) node_height: f64,
    /// Between two layers.
    pub(in crate::web) layer_gap: f64,
    /// Between two nodes of a layer.
    pub(in crate::web) node_gap: f64,
    /// What a passing edge takes of a layer's height.
    pub(in crate::web) lane_height: f64,
}

/// Where everything goes. Points are centres.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::web) struct Layout {
    pub(in crate::web) width: f64,
    pub(in crate::web) height: f64,
    /// One for every node.
    pub(in crate::web) nodes: Vec<Point>,
    /// One for every edge: the centres it runs through from client to server, with those of the layers it
    /// passes; empty for an edge from a node to itself.
    pub(in crate::web) edges: Vec<Vec<Point>>,
}

/// A place in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::web) struct Point {
    pub(in crate::web) x: f64,
    pub(in crate::web) y: f64,
}

/// A node or, where an edge passes a layer, a lane for it.
#[derive(Debug)]
struct Slot {
    layer: usize,
    height: f64,
    /// Slots of the layer before and of the layer after.
    before: Vec<usize>,
    after: Vec<usize>,
}

/// Lays out `nodes` nodes; an edge names its client and its server by index, both below `nodes`.
pub(in crate::web) fn layout(nodes: usize, edges: &[(usize, usize)], sizes: &Sizes) -> Layout {
    let forward = break_cycles(nodes, edges);
    let layers = assign_layers(nodes, &forward);
    let (slots, chains) = add_lanes(&layers, &forward, sizes);
    let order = order_layers(&slots);
    let ys = place(&slots, &order, sizes);
    let x_of = |slot: usize| {
        slots[slot].layer as f64 * (sizes.node_width + sizes.layer_gap) + sizes.node_width / 2.0
    };
    let point = |slot: usize| Point {
        x: x_of(slot),
        y: ys[slot],
    };
    let routes = edges.iter().zip(&chains).map(|(edge, chain)| {
        let mut route: Vec<Point> = chain.iter().map(|slot| point(*slot)).collect();
        // A reversed edge was laid out from server to client.
        if chain.first().is_some_and(|first| *first != edge.0) {
            route.reverse();
        }
        route
    });
    Layout {
        width: (0..nodes)
            .map(|node| x_of(node) + sizes.node_width / 2.0)
            .fold(0.0, f64::max),
        height: (0..slots.len())
            .map(|slot| ys[slot] + slots[slot].height / 2.0)
            .fold(0.0, f64::max),
        nodes: (0..nodes).map(point).collect(),
        edges: routes.collect(),
    }
}

/// How many layers [`layout`] would make.
pub(super) fn layer_count(nodes: usize, edges: &[(usize, usize)]) -> usize {
    let layers = assign_layers(nodes, &break_cycles(nodes, edges));
    layers.into_iter().max().map_or(0, |last| last + 1)
}

/// Moves `wanted` positions, in order, as little as possible (least squares) so that each is at least
/// `gaps[i]` after the one before it; `gaps[0]` is not read.
pub(super) fn spread(wanted: &[f64], gaps: &[f64]) -> Vec<f64> {
    let offsets: Vec<f64> = gaps
        .iter()
        .enumerate()
        .scan(0.0, |sum, (index, gap)| {
            *sum += if index == 0 { 0.0 } else { *gap };
            Some(*sum)
        })
        .collect();
    // Pool adjacent violators: blocks of (mean, length) with rising means.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (want, offset) in wanted.iter().zip(&offsets) {
        let mut block = (want - offset, 1);
        while let Some((mean, length)) = blocks.pop_if(|(mean, _)| *mean > block.0) {
            let total = length + block.1;
            let sum = mean * length as f64 + block.0 * block.1 as f64;
            block = (sum / total as f64, total);
        }
        blocks.push(block);
    }
    let means = blocks
        .into_iter()
        .flat_map(|(mean, length)| std::iter::repeat_n(mean, length));
    means
        .zip(&offsets)
        .map(|(mean, offset)| mean + offset)
        .collect()
}

/// The edges with those turned round that close a cycle; `None` for an edge from a node to itself.
fn break_cycles(nodes: usize, edges: &[(usize, usize)]) -> Vec<Option<(usize, usize)>> {
    let mut out_edges = vec![Vec::new(); nodes];
    let mut called = vec![false; nodes];
    for (index, (client, server)) in edges.iter().enumerate() {
        if client != server {
            out_edges[*client].push(index);
            called[*server] = true;
        }
    }
    let mut closing = BTreeSet::new();
    let mut state = vec![0_u8; nodes]; // 0 unseen, 1 on the path, 2 done
    // Entry points first, so that a call back into them is the one turned round.
    let roots = (0..nodes).filter(|node| !called[*node]).chain(0..nodes);
    for root in roots {
        if state[root] != 0 {
            continue;
        }
        state[root] = 1;
        let mut path = vec![(root, 0)];
        while let Some((node, next)) = path.last_mut() {
            let Some(edge) = out_edges[*node].get(*next).copied() else {
                state[*node] = 2;
                path.pop();
                continue;
            };
            *next += 1;
            let server = edges[edge].1;
            match state[server] {
                0 => {
                    state[server] = 1;
                    path.push((server, 0));
                }
                1 => {
                    closing.insert(edge);
                }
                _ => {}
            }
        }
    }
    let turned = edges.iter().enumerate().map(|(index, (client, server))| {
        (client != server).then(|| {
            if closing.contains(&index) {
                (*server, *client)
            } else {
                (*client, *server)
            }
        })
    });
    turned.collect()
}

/// The length of the longest path that leads to each node; entry points stand right before what they call.
fn assign_layers(nodes: usize, edges: &[Option<(usize, usize)>]) -> Vec<usize> {
    let mut layers = vec![0_usize; nodes];
    let mut waiting = vec![0_usize; nodes];
    for (_, server) in edges.iter().flatten() {
        waiting[*server] += 1;
    }
    let sources: Vec<usize> = (0..nodes).filter(|node| waiting[*node] == 0).collect();
    let mut ready = sources.clone();
    while let Some(node) = ready.pop() {
        for (client, server) in edges.iter().flatten() {
            if *client == node {
                layers[*server] = layers[*server].max(layers[node] + 1);
                waiting[*server] -= 1;
                if waiting[*server] == 0 {
                    ready.push(*server);
                }
            }
        }
    }
    for source in sources {
        let nearest = edges
            .iter()
            .flatten()
            .filter(|(client, _)| *client == source)
            .map(|(_, server)| layers[*server])
            .min();
        layers[source] = nearest.map_or(0, |layer| layer.saturating_sub(1));
    }
    layers
}

/// Slots for the nodes (same indices) and for the lanes of edges that pass layers; the slots of each edge.
fn add_lanes(
    layers: &[usize],
    edges: &[Option<(usize, usize)>],
    sizes: &Sizes,
) -> (Vec<Slot>, Vec<Vec<usize>>) {
    let slot = |layer, height| Slot {
        layer,
        height,
        before: Vec::new(),
        after: Vec::new(),
    };
    let mut slots: Vec<Slot> = layers
        .iter()
        .map(|layer| slot(*layer, sizes.node_height))
        .collect();
    let mut chains = Vec::with_capacity(edges.len());
    for edge in edges {
        let mut chain = Vec::new();
        if let Some((from, to)) = *edge {
            chain.push(from);
            for layer in layers[from] + 1..layers[to] {
                chain.push(slots.len());
                slots.push(slot(layer, sizes.lane_height));
            }
            chain.push(to);
        }
        for pair in chain.windows(2) {
            if let [from, to] = *pair {
                slots[from].after.push(to);
                slots[to].before.push(from);
            }
        }
        chains.push(chain);
    }
    (slots, chains)
}

/// The slots of each layer from top to bottom, with few crossings.
fn order_layers(slots: &[Slot]) -> Vec<Vec<usize>> {
    let count = slots.iter().map(|slot| slot.layer + 1).max().unwrap_or(0);
    let mut order = vec![Vec::new(); count];
    for (index, slot) in slots.iter().enumerate() {
        order[slot.layer].push(index);
    }
    let mut best = order.clone();
    let mut fewest = crossings(slots, &order);
    for sweep in 0..SWEEPS {
        if fewest == 0 {
            break;
        }
        let down = sweep % 2 == 0;
        for step in 0..count {
            let layer = if down { step } else { count - 1 - step };
            sort_by_neighbours(slots, &mut order, layer, down);
        }
        let now = crossings(slots, &order);
        if now < fewest {
            fewest = now;
            best.clone_from(&order);
        }
    }
    best
}

fn sort_by_neighbours(slots: &[Slot], order: &mut [Vec<usize>], layer: usize, down: bool) {
    let ranks = ranks(slots.len(), order);
    let neighbours = |slot: usize| {
        if down {
            &slots[slot].before
        } else {
            &slots[slot].after
        }
    };
    let centre = |slot: usize| {
        let near = neighbours(slot);
        if near.is_empty() {
            return ranks[slot] as f64;
        }
        near.iter().map(|slot| ranks[*slot] as f64).sum::<f64>() / near.len() as f64
    };
    // A stable sort: equals keep their order, so the same graph is always drawn the same way.
    order[layer].sort_by(|a, b| centre(*a).total_cmp(&centre(*b)));
}

fn ranks(count: usize, order: &[Vec<usize>]) -> Vec<usize> {
    let mut ranks = vec![0; count];
    for layer in order {
        for (rank, slot) in layer.iter().enumerate() {
            ranks[*slot] = rank;
        }
    }
    ranks
}

fn crossings(slots: &[Slot], order: &[Vec<usize>]) -> usize {
    let ranks = ranks(slots.len(), order);
    let mut total = 0;
    for layer in order {
        let lines: Vec<(usize, usize)> = layer
            .iter()
            .flat_map(|slot| {
                slots[*slot]
                    .after
                    .iter()
                    .map(|to| (ranks[*slot], ranks[*to]))
            })
            .collect();
        for (index, (from, to)) in lines.iter().enumerate() {
            total += lines[index + 1..]
                .iter()
                .filter(|(other_from, other_to)| {
                    (from < other_from && to > other_to) || (from > other_from && to < other_to)
                })
                .count();
        }
    }
    total
}

/// Heights at which edges run as straight as the order and the distances allow; the topmost is inside.
fn place(slots: &[Slot], order: &[Vec<usize>], sizes: &Sizes) -> Vec<f64> {
    let mut ys = vec![0.0; slots.len()];
    let gaps: Vec<Vec<f64>> = order
        .iter()
        .map(|layer| {
            let mut above = None;
            let gap = |slot: &usize| {
                let height = slots[*slot].height;
                let gap = above.map_or(0.0, |above: f64| (above + height) / 2.0 + sizes.node_gap);
                above = Some(height);
                gap
            };
            layer.iter().map(gap).collect()
        })
        .collect();
    for round in 0..ROUNDS {
        for step in 0..order.len() {
            let layer = if round % 2 == 0 {
                step
            } else {
                order.len() - 1 - step
            };
            let wanted: Vec<f64> = order[layer]
                .iter()
                .map(|slot| {
                    let near = slots[*slot].before.iter().chain(&slots[*slot].after);
                    let (sum, count) = near.fold((0.0, 0.0), |(sum, count), near| {
                        (sum + ys[*near], count + 1.0)
                    });
                    if count == 0.0 { ys[*slot] } else { sum / count }
                })
                .collect();
            for (slot, y) in order[layer].iter().zip(spread(&wanted, &gaps[layer])) {
                ys[*slot] = y;
            }
        }
    }
    let top = slots
        .iter()
        .zip(&ys)
        .map(|(slot, y)| y - slot.height / 2.0)
        .fold(f64::INFINITY, f64::min);
    for y in &mut ys {
        *y -= top;
    }
    ys
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes {
        node_width: 100.0,
        node_height: 40.0,
        layer_gap: 100.0,
        node_gap: 20.0,
        lane_height: 10.0,
    };

    #[test]
    fn a_chain_is_a_straight_line() {
        let layout = layout(3, &[(0, 1), (1, 2)], &SIZES);
        let xs: Vec<f64> = layout.nodes.iter().map(|point| point.x).collect();
        assert_eq!(xs, [50.0, 250.0, 450.0]);
        assert!(layout.nodes.iter().all(|point| point.y == 20.0));
        assert_eq!((layout.width, layout.height), (500.0, 40.0));
        assert_eq!(layer_count(3, &[(0, 1), (1, 2)]), 3);
        assert_eq!(layer_count(0, &[]), 0);
    }

    #[test]
    fn a_cycle_keeps_its_entry_point_first_and_its_direction() {
        let layout = layout(3, &[(0, 1), (1, 2), (2, 1)], &SIZES);
        assert!(layout.nodes[0].x < layout.nodes[1].x && layout.nodes[1].x < layout.nodes[2].x);
        assert_eq!(layout.edges[2].first(), Some(&layout.nodes[2]));
        assert_eq!(layout.edges[2].last(), Some(&layout.nodes[1]));
    }

    #[test]
    fn a_call_to_oneself_and_no_graph_at_all_are_fine() {
        assert_eq!(layout(1, &[(0, 0)], &SIZES).edges, [Vec::new()]);
        assert_eq!(layout(0, &[], &SIZES).nodes, []);
    }

    #[test]
    fn crossings_are_undone() {
        // 0 calls 3, 1 calls 2: in the order of the names the edges cross.
        let layout = layout(4, &[(0, 3), (1, 2)], &SIZES);
        let above = |a: usize, b: usize| layout.nodes[a].y < layout.nodes[b].y;
        assert_eq!(above(0, 1), above(3, 2));
    }

    #[test]
    fn a_late_entry_point_stands_beside_what_it_calls() {
        let layout = layout(5, &[(0, 1), (1, 2), (2, 3), (4, 3)], &SIZES);
        assert_eq!(layout.nodes[4].x, layout.nodes[2].x);
    }

    #[test]
    fn spreading_moves_as_little_as_possible() {
        let check = |wanted: &[f64], gaps: &[f64], want: &[f64]| {
            assert_eq!(spread(wanted, gaps), want, "{wanted:?}");
        };
        check(&[], &[], &[]);
        check(&[0.0, 50.0], &[9.0, 10.0], &[0.0, 50.0]);
        check(&[10.0, 10.0], &[9.0, 10.0], &[5.0, 15.0]);
        check(&[0.0, 0.0, 0.0], &[0.0, 10.0, 10.0], &[-10.0, 0.0, 10.0]);
        check(&[20.0, 0.0], &[0.0, 10.0], &[5.0, 15.0]);
    }

    proptest::proptest! {
        #[test]
        fn any_graph_is_placed_without_overlap_and_always_the_same(
            edges in proptest::collection::vec((0..12_usize, 0..12_usize), 0..40),
        ) {
            let placed = layout(12, &edges, &SIZES);
            proptest::prop_assert_eq!(&placed, &layout(12, &edges, &SIZES));
            for (index, a) in placed.nodes.iter().enumerate() {
                proptest::prop_assert!(a.x.is_finite() && a.y.is_finite() && a.y >= 19.9);
                for b in &placed.nodes[index + 1..] {
                    proptest::prop_assert!(a.x != b.x || (a.y - b.y).abs() >= 59.9, "{a:?} {b:?}");
                }
            }
            for (edge, route) in edges.iter().zip(&placed.edges) {
                if edge.0 == edge.1 {
                    proptest::prop_assert!(route.is_empty());
                } else {
                    proptest::prop_assert_eq!(route.first(), placed.nodes.get(edge.0));
                    proptest::prop_assert_eq!(route.last(), placed.nodes.get(edge.1));
                }
            }
        }
    }
}
