//! What of the map its page shows, and how its address says so: the neighbourhood of one node, edges that are not quiet,
//! those that a text is in. Called by the page.

use std::collections::HashMap;

use crate::views::report::{Edge, Map, Node};
use crate::web::edge_table::{Sorting, text_of};
use crate::web::query::{BadParameter, PageQuery};

/// Below this share of the calls of both its ends an edge is quiet.
const QUIET: f64 = 0.01;

/// What the address asks for.
pub(super) struct Asked<'a> {
    pub(super) query: &'a PageQuery,
    pub(super) sorting: Sorting,
    /// Quiet edges, too.
    pub(super) all: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn read(query: &'a PageQuery) -> Result<Self, BadParameter> {
        let choices = [("all", true), ("busy", false)];
        Ok(Self {
            query,
            sorting: Sorting::read(query)?,
            all: query.choice("edges", &choices, false, "say all or busy")?,
        })
    }
}

/// Whom `focus` means.
pub(super) enum Focus<'a> {
    /// Nobody was asked for.
    None,
    /// That node, or what is called so but is not there.
    On(&'a str),
    /// All these have the text in their names.
    Several(Vec<&'a str>),
}

impl<'a> Focus<'a> {
    pub(super) fn of(asked: Option<&'a str>, nodes: &'a [Node]) -> Self {
        let Some(asked) = asked else {
            return Self::None;
        };
        let is = |node: &&Node| node.id == asked;
        if nodes.iter().any(|node| is(&node)) {
            return Self::On(asked);
        }
        let asked = asked.trim();
        if asked.is_empty() {
            return Self::None;
        }
        let needle = asked.to_lowercase();
        let alike = nodes.iter().map(|node| node.id.as_str());
        let alike: Vec<_> = alike
            .filter(|id| id.to_lowercase().contains(&needle))
            .collect();
        match alike.as_slice() {
            [] => Self::On(asked),
            [only] => Self::On(only),
            _ => Self::Several(alike),
        }
    }
}

/// What is shown of a map.
pub(super) struct Shown<'a> {
    pub(super) nodes: Vec<&'a Node>,
    pub(super) edges: Vec<&'a Edge>,
    /// Quiet edges that are not.
    pub(super) hidden: usize,
}

impl<'a> Shown<'a> {
    pub(super) fn of(asked: &Asked<'_>, focus: Option<&str>, map: &'a Map) -> Self {
        let near = map
            .edges
            .iter()
            .filter(|edge| focus.is_none_or(|focus| edge.client == focus || edge.server == focus));
        let mut edges: Vec<&Edge> = near.collect();
        let before = edges.len();
        // Who looks at one service wants all its edges.
        if !asked.all && focus.is_none() {
            let is_quiet = quiet(&map.edges);
            edges.retain(|edge| !is_quiet(edge));
        }
        let hidden = before - edges.len();
        let needle = asked.query.get("q").unwrap_or_default().to_lowercase();
        edges.retain(|edge| text_of(edge).contains(&needle));
        let is_end = |node: &Node| {
            edges
                .iter()
                .any(|edge| edge.client == node.id || edge.server == node.id)
        };
        let nodes = map.nodes.iter().filter(|node| match focus {
            Some(focus) => node.id == focus || is_end(node),
            None => is_end(node) || node.id.to_lowercase().contains(&needle),
        });
        Self {
            nodes: nodes.collect(),
            hidden,
            edges,
        }
    }
}

/// Whether an edge is quiet: hardly any of its client's calls, hardly any of those that its server gets, none failed.
/// Measured at both ends, every node keeps its main edges, however large the map.
fn quiet<'a>(edges: &'a [Edge]) -> impl Fn(&Edge) -> bool + use<'a> {
    let mut calls: HashMap<&str, (u64, u64)> = HashMap::new();
    for edge in edges {
        calls.entry(&edge.client).or_default().0 += edge.count;
        calls.entry(&edge.server).or_default().1 += edge.count;
    }
    move |edge| {
        let of = |id: &str| calls.get(id).copied().unwrap_or_default();
        let least = of(&edge.client).0.min(of(&edge.server).1);
        edge.error_ratio == 0.0 && (edge.count as f64) < QUIET * least as f64
    }
}
