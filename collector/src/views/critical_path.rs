//! The critical path of a trace: which span its time was spent in, walking back from the root's end. Asked by `tree`.

/// A span of a tree, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Indexes of its children.
    pub(crate) children: Vec<usize>,
}

/// A stretch of time spent in the span `node` itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) node: usize,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A span being walked: its children by end, latest first, and how far back the walk has come.
struct Frame {
    node: usize,
    from: u64,
    at: u64,
    /// (end, start, index) of the children, clipped to the span; the next one to look at is the last.
    children: Vec<(u64, u64, usize)>,
}

/// The critical path below `root`, in time order; the stretches follow each other without a hole and add up to the
/// root's duration.
///
/// From a span's end backwards: the child that finished last, but not after the present point, is what the span waited
/// for, so the path goes through that child and comes out at its start; where no child finished, the span itself was at
/// work. Children are clipped to their parents. Each node must be reachable by one way only.
pub(crate) fn critical_path(nodes: &[Node], root: usize) -> Vec<Stretch> {
    let mut path = Vec::new();
    let mut stack = Vec::new();
    if let Some(node) = nodes.get(root) {
        stack.push(frame(nodes, root, node.start, node.end));
    }
    // A stack of our own: a trace may be thousands of spans deep.
    while let Some(frame_now) = stack.last_mut() {
        let at = frame_now.at;
        match frame_now.children.pop() {
            Some((end, ..)) if end > at => {}
            Some((end, start, child)) => {
                push(&mut path, frame_now.node, end, at);
                frame_now.at = start;
                stack.push(frame(nodes, child, start, end));
            }
            None => {
                push(&mut path, frame_now.node, frame_now.from, at);
                stack.pop();
            }
        }
    }
    path.reverse();
    path
}

fn frame(nodes: &[Node], node: usize, from: u64, to: u64) -> Frame {
    let own = nodes.get(node).map_or(&[][..], |node| &node.children);
    let mut children: Vec<_> = own
        .iter()
        .filter_map(|&child| {
            let clipped = nodes
                .get(child)
                .map(|node| (node.end.min(to), node.start.max(from)));
            clipped
                .filter(|(end, start)| start < end)
                .map(|(end, start)| (end, start, child))
        })
        .collect();
    // The last one is taken first: the latest end, of those the earliest start, then the first in order.
    children.sort_unstable_by_key(|&(end, start, child)| {
        (end, std::cmp::Reverse(start), std::cmp::Reverse(child))
    });
    Frame {
        node,
        from,
        at: to,
        children,
    }
}

fn push(path: &mut Vec<Stretch>, node: usize, from: u64, to: u64) {
    if from < to {
        path.push(Stretch { node, from, to });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Walks the elementary intervals (between any two neighbouring ends) from the last to the first, keeping the chain
    /// of spans that the path is in.
    fn by_elementary_intervals(nodes: &[Node], root: usize) -> Vec<Stretch> {
        let mut times: Vec<u64> = nodes
            .iter()
            .flat_map(|node| [node.start, node.end])
            .collect();
        times.sort_unstable();
        times.dedup();
        let (start, end) = (nodes[root].start, nodes[root].end);
        let mut chain = vec![(root, start, end)];
        let mut path: Vec<Stretch> = Vec::new();
        for pair in times.windows(2).rev() {
            let (from, to) = (pair[0], pair[1]);
            if from < start || to > end {
                continue;
            }
            while chain.last().is_some_and(|&(_, start, _)| start >= to) {
                chain.pop();
            }
            loop {
                let &(node, low, high) = chain.last().unwrap();
                let clipped = nodes[node].children.iter().map(|&child| {
                    (
                        nodes[child].start.max(low),
                        nodes[child].end.min(high),
                        child,
                    )
                });
                let next = clipped
                    .filter(|&(start, end, _)| end == to && start < end)
                    .min_by_key(|&(start, _, child)| (start, child));
                let Some((low, high, child)) = next else {
                    break;
                };
                chain.push((child, low, high));
            }
            let node = chain.last().unwrap().0;
            match path.last_mut() {
                Some(last) if last.node == node && last.from == to => last.from = from,
                _ => path.push(Stretch { node, from, to }),
            }
        }
        path.reverse();
        path
    }

    /// Joins neighbours in the same span: only such borders may differ.
    fn joined(path: Vec<Stretch>) -> Vec<Stretch> {
        let mut joined: Vec<Stretch> = Vec::new();
        for stretch in path {
            match joined.last_mut() {
                Some(last) if last.node == stretch.node && last.to == stretch.from => {
                    last.to = stretch.to;
                }
                _ => joined.push(stretch),
            }
        }
        joined
    }

    fn trees() -> impl Strategy<Value = Vec<Node>> {
        proptest::collection::vec((0..60_u64, 0..40_u64, any::<prop::sample::Index>()), 1..14)
            .prop_map(|spans| {
                let mut nodes: Vec<Node> = Vec::new();
                for (at, (start, length, parent)) in spans.into_iter().enumerate() {
                    nodes.push(Node {
                        start,
                        end: start + length,
                        children: Vec::new(),
                    });
                    if at > 0 {
                        nodes[parent.index(at)].children.push(at);
                    }
                }
                nodes
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn equals_the_walk_of_elementary_intervals(nodes in trees()) {
            let path = critical_path(&nodes, 0);
            let mut at = nodes[0].start;
            for stretch in &path {
                prop_assert_eq!(stretch.from, at);
                at = stretch.to;
            }
            prop_assert!(nodes[0].start == nodes[0].end || at == nodes[0].end);
            prop_assert_eq!(joined(path), joined(by_elementary_intervals(&nodes, 0)));
        }
    }

    #[test]
    fn goes_through_the_child_that_finished_last() {
        let node = |start, end, children: &[usize]| Node {
            start,
            end,
            children: children.to_vec(),
        };
        // Two calls at once, the second one the slower, then one more call.
        let nodes = [
            node(0, 100, &[1, 2, 3]),
            node(10, 40, &[]),
            node(10, 60, &[]),
            node(70, 90, &[]),
        ];
        let path = critical_path(&nodes, 0);
        let spent: Vec<_> = path.iter().map(|s| (s.node, s.from, s.to)).collect();
        assert_eq!(
            spent,
            [
                (0, 0, 10),
                (2, 10, 60),
                (0, 60, 70),
                (3, 70, 90),
                (0, 90, 100)
            ]
        );
    }

    #[test]
    fn a_trace_thousands_of_spans_deep_is_walked() {
        let depth = 5_000;
        let nodes: Vec<_> = (0..depth)
            .map(|at| Node {
                start: at,
                end: 20_000 - at,
                children: if at + 1 < depth {
                    vec![at as usize + 1]
                } else {
                    vec![]
                },
            })
            .collect();
        let path = critical_path(&nodes, 0);
        assert_eq!(path.iter().map(|s| s.to - s.from).sum::<u64>(), 20_000);
    }
}
