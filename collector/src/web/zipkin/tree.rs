//! Who is whose child in a trace, as Zipkin sees it (zipkin2.internal.SpanNode): a span's id may stand for a client's half
//! and for the halves of several servers, told apart by where they ran. Called by `links`.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::call::{Call, Place};

/// A trace's spans below its root. Used for one trace after the other, so that its memory is asked for once.
#[derive(Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    root: Option<usize>,
    /// The first of those below nothing that is there: they stand below the root, or beside each other when there is none.
    headless: Option<usize>,
    parents: HashMap<Key, Option<Key>, RandomState>,
    places: HashMap<Key, usize, RandomState>,
    /// Every span that can be reached from the top, parents before children.
    reached: Vec<usize>,
}

struct Node {
    call: Call,
    is_attached: bool,
    first_child: Option<usize>,
    next_sibling: Option<usize>,
    /// The nearest span above that took part in a call.
    above: Option<usize>,
}

/// What spans name each other by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Id(u64),
    /// A server's half, and where it ran; nowhere in particular for a child that does not tell where it is.
    Shared(u64, Place),
}

/// A span in its tree.
pub(super) struct InTree<'a> {
    pub(super) call: &'a Call,
    pub(super) is_root: bool,
    pub(super) has_children: bool,
    /// The nearest span above that took part in a call.
    pub(super) above: Option<&'a Call>,
}

impl Tree {
    /// Bytes of a span in a tree, about.
    pub(super) const SPAN_BYTES: usize =
        size_of::<Node>() + 2 * size_of::<(Key, Option<Key>)>() + 2 * size_of::<(Key, usize)>();

    /// Becomes the tree of spans that `call::merge` put together.
    pub(super) fn grow(&mut self, calls: &[Call]) {
        self.nodes.clear();
        self.parents.clear();
        self.places.clear();
        (self.root, self.headless) = (None, None);
        self.parents.extend(calls.iter().map(named_parent));
        for (at, call) in calls.iter().enumerate() {
            self.place(at, call);
        }
        let mut parents = std::mem::take(&mut self.parents);
        for (child, parent) in parents.drain() {
            let parent = parent.and_then(|parent| self.places.get(&parent).copied());
            if let Some(&child) = self.places.get(&child) {
                self.attach(child, parent);
            }
        }
        self.parents = parents;
        self.reach();
    }

    fn place(&mut self, at: usize, call: &Call) {
        let key = key(call, call.place);
        let anywhere = self::key(call, Place::default());
        if let Some(parent) = call.parent.filter(|_| !call.shared) {
            // A local span of a server is below that server's half, not below its client's.
            let half = Key::Shared(parent, call.place);
            if self.parents.contains_key(&half) {
                self.parents.insert(anywhere, Some(half));
            }
        }
        if !call.shared && call.parent.is_none() && self.root.is_none() {
            self.root = Some(at);
            self.parents.remove(&anywhere);
        } else {
            self.places.insert(key, at);
            // Only halves that are shared have two names.
            if key != anywhere {
                self.places.insert(anywhere, at);
            }
        }
        self.nodes.push(Node {
            call: *call,
            is_attached: false,
            first_child: None,
            next_sibling: None,
            above: None,
        });
    }

    fn attach(&mut self, child: usize, parent: Option<usize>) {
        let parent = parent.or(self.root);
        let siblings = match parent.and_then(|parent| self.nodes.get(parent)) {
            Some(parent) => parent.first_child,
            None => self.headless,
        };
        let Some(node) = self.nodes.get_mut(child).filter(|node| !node.is_attached) else {
            return;
        };
        node.is_attached = true;
        node.next_sibling = siblings;
        match parent.and_then(|parent| self.nodes.get_mut(parent)) {
            Some(parent) => parent.first_child = Some(child),
            None => self.headless = Some(child),
        }
    }

    /// It ends: each span is attached once, and who is attached to one that cannot be reached cannot be either.
    fn reach(&mut self) {
        self.reached.clear();
        match self.root {
            Some(root) => self.reached.push(root),
            None => self.reach_siblings(self.headless, None),
        }
        let mut next = 0;
        while let Some(&at) = self.reached.get(next) {
            next += 1;
            if let Some(node) = self.nodes.get(at) {
                let above = match node.call.kind {
                    Some(_) => Some(at),
                    None => node.above,
                };
                self.reach_siblings(node.first_child, above);
            }
        }
    }

    fn reach_siblings(&mut self, first: Option<usize>, above: Option<usize>) {
        let mut next = first;
        while let Some((at, node)) = next.and_then(|at| Some((at, self.nodes.get_mut(at)?))) {
            node.above = above;
            self.reached.push(at);
            next = node.next_sibling;
        }
    }

    /// Every span that can be reached from the top.
    pub(super) fn spans(&self) -> impl Iterator<Item = InTree<'_>> {
        let nodes = self
            .reached
            .iter()
            .filter_map(|&at| Some((at, self.nodes.get(at)?)));
        nodes.map(|(at, node)| InTree {
            call: &node.call,
            is_root: self.root == Some(at),
            has_children: node.first_child.is_some(),
            above: node.above.and_then(|at| Some(&self.nodes.get(at)?.call)),
        })
    }
}

fn named_parent(call: &Call) -> (Key, Option<Key>) {
    let parent = if call.shared {
        // The client's half.
        Some(call.id)
    } else {
        call.parent
    };
    (key(call, call.place), parent.map(Key::Id))
}

fn key(call: &Call, place: Place) -> Key {
    if call.shared {
        Key::Shared(call.id, place)
    } else {
        Key::Id(call.id)
    }
}
