//! What the critical path of one request is made of: work of services, the network between them, calls to what makes
//! no spans. Worked out by `paths` for the requests of its sample.

use std::collections::HashMap;
use std::hash::Hash;

use crate::views::critical_path::{Node, critical_path};
use crate::views::halves::put_children_below;
use crate::views::kept::KeptTrace;
use crate::views::names::cut;
use crate::views::peer::Peer;
use crate::views::tree::{Tree, distinct};
use crate::wire::{SpanKind, SpanRef};

/// A request's path is told in at most so many parts; the smallest of more stand together.
const MAX_PARTS: usize = 64;
/// Service of the part that holds the smallest of too many.
pub(super) const OTHER_PARTS: &str = "(other parts)";

/// What time was spent in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Part {
    /// A service at work in spans of one name, its calls aside.
    Work {
        service: Box<str>,
        operation: Box<str>,
    },
    /// A call to what makes no spans here (a database, a queue, another host), network included.
    Call { peer: Box<str>, operation: Box<str> },
    /// Between two services: the client's time without the server's.
    Network { client: Box<str>, server: Box<str> },
}

impl Part {
    /// Its kind and its two names, as reports have them.
    pub(super) fn told(&self) -> (&'static str, &str, &str) {
        match self {
            Self::Work { service, operation } => ("work", service, operation),
            Self::Call { peer, operation } => ("call", peer, operation),
            Self::Network { client, server } => ("network", client, server),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let (_, a, b) = self.told();
        size_of::<Self>() + a.len() + b.len()
    }
}

/// A request's nanoseconds, and what they were spent in.
pub(super) type Spent = (u64, Vec<(Part, u64)>);

/// A trace, ready to be asked about its requests.
pub(super) struct Breakdown<'a> {
    spans: Vec<SpanRef<'a>>,
    nodes: Vec<Node>,
    by_id: HashMap<[u8; 8], usize>,
    /// Whose duration stands for the trace's.
    root: Option<usize>,
}

impl<'a> Breakdown<'a> {
    pub(super) fn of(trace: &'a KeptTrace) -> Self {
        let mut spans = distinct(trace, &mut Vec::new());
        put_children_below(&mut spans);
        let tree = Tree::of(&spans, &mut Vec::new());
        let ids = spans.iter().enumerate();
        Self {
            root: tree.main_root,
            by_id: ids.map(|(at, span)| (span.span_id, at)).collect(),
            nodes: on_one_clock(&spans, tree),
            spans,
        }
    }

    /// A request's nanoseconds, and what they were spent in; `None` for a span that is not in the trace.
    pub(super) fn below(&self, span_id: [u8; 8]) -> Option<Spent> {
        self.spent(*self.by_id.get(&span_id)?)
    }

    /// The same of the trace as a whole; `None` when it took no time.
    pub(super) fn whole(&self) -> Option<Spent> {
        self.spent(self.root?).filter(|(nanos, _)| *nanos > 0)
    }

    /// The largest part first.
    fn spent(&self, root: usize) -> Option<Spent> {
        let mut spent: HashMap<Part, u64> = HashMap::new();
        for stretch in critical_path(&self.nodes, root) {
            *spent.entry(self.part(stretch.node)?).or_default() += stretch.to - stretch.from;
        }
        let mut spent: Vec<_> = spent.into_iter().collect();
        spent.sort_unstable_by(|(a, a_nanos), (b, b_nanos)| (b_nanos, a).cmp(&(a_nanos, b)));
        if spent.len() > MAX_PARTS {
            let rest = spent.drain(MAX_PARTS - 1..).map(|(_, nanos)| nanos).sum();
            let other = Part::Work {
                service: OTHER_PARTS.into(),
                operation: "".into(),
            };
            spent.push((other, rest));
        }
        let nanos = spent.iter().map(|&(_, nanos)| nanos).sum();
        Some((nanos, spent))
    }

    /// What a span's own time on the path was spent in.
    fn part(&self, at: usize) -> Option<Part> {
        let span = self.spans.get(at)?;
        let operation = || cut(span.name).into();
        if !matches!(span.kind, SpanKind::Client | SpanKind::Producer) {
            return Some(Part::Work {
                service: cut(span.resource.service_name).into(),
                operation: operation(),
            });
        }
        match &self.servers(at)[..] {
            [server] => Some(Part::Network {
                client: cut(span.resource.service_name).into(),
                server: cut(server.resource.service_name).into(),
            }),
            // Of several tries the time between them is no network's: it is told as the call's own.
            [server, ..] => Some(Part::Call {
                peer: cut(server.resource.service_name).into(),
                operation: operation(),
            }),
            [] => {
                let mut peer = String::new();
                Peer::of(span).write_name(&mut peer);
                Some(Part::Call {
                    peer: cut(&peer).into(),
                    operation: operation(),
                })
            }
        }
    }

    fn servers(&self, client: usize) -> Vec<&SpanRef<'a>> {
        let children = self
            .nodes
            .get(client)
            .map_or(&[][..], |node| &node.children);
        let spans = children.iter().filter_map(|&child| self.spans.get(child));
        spans.filter(|span| span.kind == SpanKind::Server).collect()
    }
}

/// The tree's nodes with their times on one clock: a server span that does not lie within its client span, by its own
/// clock, is put into the middle of it, with everything below it. The gap is the same wherever it lies.
fn on_one_clock(spans: &[SpanRef<'_>], tree: Tree) -> Vec<Node> {
    let Tree {
        mut nodes, order, ..
    } = tree;
    let mut shifts = vec![0_i64; nodes.len()];
    let kind = |at: usize| spans.get(at).map(|span| span.kind);
    // Parents come before their children.
    for (at, _) in order {
        let (Some(parent), Some(&shift)) = (nodes.get(at).cloned(), shifts.get(at)) else {
            continue;
        };
        for child in parent.children {
            let (Some(node), Some(own)) = (nodes.get_mut(child), shifts.get_mut(child)) else {
                continue;
            };
            let nanos = node.end - node.start;
            let is_call =
                (kind(at), kind(child)) == (Some(SpanKind::Client), Some(SpanKind::Server));
            let start = node.start.saturating_add_signed(shift);
            let fits = parent.start <= start && start.saturating_add(nanos) <= parent.end;
            *own = shift;
            if is_call && !fits {
                let spare = (parent.end - parent.start).saturating_sub(nanos);
                *own = (parent.start + spare / 2)
                    .wrapping_sub(node.start)
                    .cast_signed();
            }
            // Durations stay as they are, even at the end of time.
            node.start = node.start.saturating_add_signed(*own).min(u64::MAX - nanos);
            node.end = node.start + nanos;
        }
    }
    nodes
}
