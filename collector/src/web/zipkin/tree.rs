//! Who is whose child in a trace, as Zipkin sees it (zipkin2.internal.SpanNode): a span's id may stand for a client's half
//! and for the halves of several servers, told apart by where they ran. Called by `links`.

use std::collections::{HashMap, VecDeque};

use super::call::Call;
use super::span::Endpoint;

/// A trace's spans below its root.
pub(super) struct Tree {
    nodes: Vec<Node>,
    root: Option<usize>,
    /// Below nothing that is there; they stand below the root, or beside each other when there is none.
    headless: Vec<usize>,
}

#[derive(Default)]
struct Node {
    call: Call,
    parent: Option<usize>,
    children: Vec<usize>,
}

/// What spans name each other by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Id(u64),
    /// A server's half, and where it ran; nowhere in particular for a child that does not tell where it is.
    Shared(u64, Endpoint),
}

/// A span taken in.
#[derive(Clone, Copy)]
pub(super) struct At(usize);

impl Tree {
    /// The tree of spans that `call::merged` put together.
    pub(super) fn of(calls: Vec<Call>) -> Self {
        let mut parents: HashMap<Key, Option<Key>> = calls.iter().map(named_parent).collect();
        let mut places: HashMap<Key, usize> = HashMap::new();
        let mut tree = Self {
            nodes: Vec::new(),
            root: None,
            headless: Vec::new(),
        };
        for (at, call) in calls.into_iter().enumerate() {
            let key = key(&call, call.local.clone());
            let plain = key_anywhere(&call);
            if let Some(parent) = call.parent.filter(|_| !call.shared) {
                // A local span of a server is below that server's half, not below its client's.
                let half = Key::Shared(parent, call.local.clone());
                if parents.contains_key(&half) {
                    parents.insert(plain.clone(), Some(half));
                }
            }
            if !call.shared && call.parent.is_none() && tree.root.is_none() {
                tree.root = Some(at);
                parents.remove(&plain);
            } else {
                places.insert(key, at);
                places.insert(plain, at);
            }
            tree.nodes.push(Node {
                call,
                ..Node::default()
            });
        }
        for (child, parent) in parents {
            let parent = parent.and_then(|parent| places.get(&parent).copied());
            if let Some(&child) = places.get(&child) {
                tree.attach(child, parent);
            }
        }
        tree
    }

    fn attach(&mut self, child: usize, parent: Option<usize>) {
        let parent = parent.or(self.root);
        let Some(node) = self.nodes.get_mut(child) else {
            return;
        };
        node.parent = parent;
        match parent.and_then(|parent| self.nodes.get_mut(parent)) {
            Some(parent) => parent.children.push(child),
            None => self.headless.push(child),
        }
    }

    /// Every span that can be reached from the top.
    pub(super) fn all(&self) -> Vec<At> {
        let mut reached = Vec::with_capacity(self.nodes.len());
        let mut seen = vec![false; self.nodes.len()];
        let mut next: VecDeque<usize> = self.root.map_or_else(
            || self.headless.iter().copied().collect(),
            |root| VecDeque::from([root]),
        );
        while let Some(at) = next.pop_front() {
            let (Some(node), Some(seen)) = (self.nodes.get(at), seen.get_mut(at)) else {
                continue;
            };
            if !std::mem::replace(seen, true) {
                reached.push(At(at));
                next.extend(&node.children);
            }
        }
        reached
    }

    pub(super) fn call(&self, At(at): At) -> Option<&Call> {
        self.nodes.get(at).map(|node| &node.call)
    }

    pub(super) fn is_root(&self, At(at): At) -> bool {
        self.root == Some(at)
    }

    pub(super) fn has_children(&self, At(at): At) -> bool {
        self.nodes
            .get(at)
            .is_some_and(|node| !node.children.is_empty())
    }

    /// The nearest span above that took part in a call.
    pub(super) fn remote_ancestor(&self, At(at): At) -> Option<&Call> {
        let above = |at: usize| self.nodes.get(at).and_then(|node| node.parent);
        // It ends: whoever was reached from the top has a way there.
        let ancestors = std::iter::successors(above(at), |&at| above(at));
        ancestors
            .filter_map(|at| self.call(At(at)))
            .find(|call| call.kind.is_some())
    }
}

fn named_parent(call: &Call) -> (Key, Option<Key>) {
    let parent = if call.shared {
        // The client's half.
        Some(call.id)
    } else {
        call.parent
    };
    (key(call, call.local.clone()), parent.map(Key::Id))
}

fn key_anywhere(call: &Call) -> Key {
    key(call, Endpoint::default())
}

fn key(call: &Call, place: Endpoint) -> Key {
    if call.shared {
        Key::Shared(call.id, place)
    } else {
        Key::Id(call.id)
    }
}
