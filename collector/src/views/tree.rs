//! A kept trace as the API and the waterfall show it: a tree in order, times of its own, critical path, and what is
//! wrong with it. Called by `mod`, outside any lock; `paths` shares the tree.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::critical_path::{Node, critical_path};
use super::halves::put_children_below;
use super::kept::KeptTrace;
use super::report::{Segment, Trace, TraceEvent, TraceLink, TraceSpan};
use super::snapshots::kind_name;
use super::traces::hex;
use super::window::seconds;
use crate::wire::{SpanKind, SpanRef, StatusCode, attributes_to_json};

/// More warnings of one sort are told as a number.
const MAX_WARNINGS: usize = 10;

/// Resource attributes are shown up to so many bytes in all: a resource stands once in the store, but with each of its
/// spans in the report.
const MAX_RESOURCE_BYTES: usize = 8 * 1024 * 1024;

/// The report of a kept trace.
pub(crate) fn trace(kept: &KeptTrace) -> Trace {
    let mut warnings = Vec::new();
    let mut spans = distinct(kept, &mut warnings);
    put_children_below(&mut spans);
    if kept.dropped > 0 {
        warnings.push(format!(
            "{} more spans came and were not kept: a trace keeps at most 5,000 spans and an eighth of the store",
            kept.dropped
        ));
    }
    if kept.late {
        warnings.push(
            "more traces came than can be kept; this one was kept for a failure or a rare operation, and spans of it that \
             came before were not kept"
                .to_owned(),
        );
    }
    let tree = Tree::of(&spans, &mut warnings);
    warn_of_skew(&spans, &tree, &mut warnings);
    let path = tree
        .main_root
        .map(|root| critical_path(&tree.nodes, root))
        .unwrap_or_default();
    let mut critical = vec![false; spans.len()];
    for stretch in &path {
        if let Some(critical) = critical.get_mut(stretch.node) {
            *critical = true;
        }
    }
    let segments = path.iter().filter_map(|stretch| {
        spans.get(stretch.node).map(|span| Segment {
            span_id: hex(&span.span_id),
            from_unix_nano: stretch.from.to_string(),
            to_unix_nano: stretch.to.to_string(),
        })
    });
    let mut room = MAX_RESOURCE_BYTES;
    let mut left_out = 0;
    let rows = tree.order.iter().filter_map(|&(at, depth)| {
        let span = spans.get(at)?;
        let mut row = row(span, depth);
        if let Some(left) = room.checked_sub(span.resource.raw.len()) {
            room = left;
            row.resource = attributes_to_json(span.resource.attributes());
        } else {
            left_out += 1;
        }
        row.self_time = seconds(tree.self_nanos(at) as f64);
        row.critical = critical.get(at).copied().unwrap_or(false);
        Some(row)
    });
    let rows = rows.collect();
    if left_out > 0 {
        warnings.push(format!(
            "the resource attributes of {left_out} spans are left out: those of one trace are shown up to 8 MiB"
        ));
    }
    Trace {
        trace_id: hex(&kept.trace_id),
        duration: seconds(kept.nanos() as f64),
        spans: rows,
        critical_path: segments.collect(),
        warnings,
    }
}

/// Who is whose child.
pub(super) struct Tree {
    /// As the critical path wants them; a cycle is cut.
    pub(super) nodes: Vec<Node>,
    /// Depth first, with depths.
    pub(super) order: Vec<(usize, usize)>,
    /// Whose duration the critical path explains: a parentless span, the earliest; without one the longest.
    pub(super) main_root: Option<usize>,
}

impl Tree {
    pub(super) fn of(spans: &[SpanRef<'_>], warnings: &mut Vec<String>) -> Self {
        let by_id: HashMap<[u8; 8], usize> = spans
            .iter()
            .enumerate()
            .map(|(at, span)| (span.span_id, at))
            .collect();
        let mut nodes: Vec<Node> = spans
            .iter()
            .map(|span| Node {
                start: span.start_unix_nano,
                end: span.end_unix_nano.max(span.start_unix_nano),
                children: Vec::new(),
            })
            .collect();
        let mut roots = Vec::new();
        let mut missing: Vec<[u8; 8]> = Vec::new();
        let mut orphans = 0;
        let by_start = by_start(spans);
        for &at in &by_start {
            let parent = spans.get(at).and_then(|span| span.parent_span_id);
            match parent.map(|parent| (parent, by_id.get(&parent))) {
                Some((_, Some(&parent))) if parent != at => {
                    if let Some(parent) = nodes.get_mut(parent) {
                        parent.children.push(at);
                    }
                }
                Some((parent, None)) => {
                    orphans += 1;
                    if !missing.contains(&parent) && missing.len() <= MAX_WARNINGS {
                        missing.push(parent);
                    }
                    roots.push(at);
                }
                // Its own parent: found again below, as a cycle.
                Some(_) => {}
                None => roots.push(at),
            }
        }
        warn_of_missing(&missing, orphans, warnings);
        let mut tree = Self {
            main_root: main_root(spans, &roots),
            nodes,
            order: Vec::with_capacity(spans.len()),
        };
        tree.arrange(&roots, &by_start, warnings);
        tree
    }

    /// Depth first from every root; what no root leads to lies on a cycle, which is cut at its earliest span.
    fn arrange(&mut self, roots: &[usize], by_start: &[usize], warnings: &mut Vec<String>) {
        let mut seen = vec![false; self.nodes.len()];
        for &root in roots {
            self.descend(root, &mut seen);
        }
        let mut cycles = 0;
        for &at in by_start {
            if !seen.get(at).copied().unwrap_or(true) {
                cycles += 1;
                self.main_root = self.main_root.or(Some(at));
                self.descend(at, &mut seen);
            }
        }
        if cycles > 0 {
            let circles = if cycles == 1 { "circle" } else { "circles" };
            warnings.push(format!(
                "spans are their own ancestors, in {cycles} {circles}: each is shown from its earliest span"
            ));
        }
    }

    fn descend(&mut self, root: usize, seen: &mut [bool]) {
        let mut stack = vec![(root, 0)];
        if let Some(seen) = seen.get_mut(root) {
            *seen = true;
        }
        while let Some((at, depth)) = stack.pop() {
            self.order.push((at, depth));
            let Some(node) = self.nodes.get_mut(at) else {
                continue;
            };
            // A child that was reached before closes a cycle.
            node.children.retain(|&child| {
                seen.get_mut(child)
                    .is_some_and(|seen| !std::mem::replace(seen, true))
            });
            stack.extend(node.children.iter().rev().map(|&child| (child, depth + 1)));
        }
    }

    /// Nanoseconds of a span that no child covers.
    fn self_nanos(&self, at: usize) -> u64 {
        let Some(node) = self.nodes.get(at) else {
            return 0;
        };
        let children = node
            .children
            .iter()
            .filter_map(|&child| self.nodes.get(child));
        let mut covered: Vec<_> = children
            .map(|child| (child.start.max(node.start), child.end.min(node.end)))
            // One that lies wholly outside, by another clock, covers nothing.
            .filter(|(start, end)| start < end)
            .collect();
        covered.sort_unstable();
        let (mut alone, mut reached) = (0, node.start);
        for (start, end) in covered {
            alone += start.saturating_sub(reached);
            reached = reached.max(end);
        }
        alone + node.end.saturating_sub(reached)
    }
}

/// The spans, each span id once. A batch may be sent twice; the first one counts.
pub(super) fn distinct<'a>(kept: &'a KeptTrace, warnings: &mut Vec<String>) -> Vec<SpanRef<'a>> {
    let mut known: HashMap<[u8; 8], &[u8]> = HashMap::new();
    let (mut again, mut different) = (0, 0);
    let spans = kept.spans().filter(|span| match known.entry(span.span_id) {
        Entry::Vacant(entry) => {
            entry.insert(span.raw);
            true
        }
        Entry::Occupied(entry) => {
            if *entry.get() == span.raw {
                again += 1;
            } else {
                different += 1;
            }
            false
        }
    });
    let spans = spans.collect();
    if again > 0 {
        warnings.push(format!(
            "{again} spans came more than once; each is shown once"
        ));
    }
    if different > 0 {
        warnings.push(format!(
            "{different} spans have the id of another span of the trace and are not shown"
        ));
    }
    spans
}

/// By start, then longest first, so that of two spans with one start the outer one comes first.
fn by_start(spans: &[SpanRef<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&at| {
        spans
            .get(at)
            .map(|span| (span.start_unix_nano, std::cmp::Reverse(span.end_unix_nano)))
    });
    order
}

fn main_root(spans: &[SpanRef<'_>], roots: &[usize]) -> Option<usize> {
    let parentless = |&&at: &&usize| {
        spans
            .get(at)
            .is_some_and(|span| span.parent_span_id.is_none())
    };
    let longest = || {
        roots
            .iter()
            .max_by_key(|&&at| spans.get(at).map(SpanRef::duration_nanos))
    };
    roots.iter().find(parentless).or_else(longest).copied()
}

fn warn_of_missing(missing: &[[u8; 8]], orphans: usize, warnings: &mut Vec<String>) {
    if orphans == 0 {
        return;
    }
    let ids: Vec<_> = missing
        .iter()
        .take(MAX_WARNINGS)
        .map(|id| hex(id))
        .collect();
    let more = if missing.len() > MAX_WARNINGS {
        " and more"
    } else {
        ""
    };
    let spans = match orphans {
        1 => "1 span has a parent that is".to_owned(),
        orphans => format!("{orphans} spans have parents that are"),
    };
    warnings.push(format!(
        "{spans} not here (not arrived yet, not kept, or not sent): {}{more}",
        ids.join(", ")
    ));
}

fn warn_of_skew(spans: &[SpanRef<'_>], tree: &Tree, warnings: &mut Vec<String>) {
    let backwards = spans
        .iter()
        .filter(|span| span.end_unix_nano < span.start_unix_nano);
    let backwards = backwards.map(|span| {
        format!(
            "{} \"{}\" ends before it starts",
            hex(&span.span_id),
            span.name
        )
    });
    let pairs = tree
        .order
        .iter()
        .filter_map(|&(at, _)| Some((spans.get(at)?, tree.nodes.get(at)?)));
    let children = pairs.flat_map(|(parent, node)| {
        node.children
            .iter()
            .filter_map(move |&child| outside(parent, spans.get(child)?))
    });
    let all: Vec<_> = backwards.chain(children).collect();
    let more = all.len().saturating_sub(MAX_WARNINGS);
    warnings.extend(all.into_iter().take(MAX_WARNINGS));
    if more > 0 {
        warnings.push(format!(
            "{more} more spans lie outside their parents or end before they start"
        ));
    }
}

/// By how much a child lies outside its parent. A message may well be taken after its sender has finished.
fn outside(parent: &SpanRef<'_>, child: &SpanRef<'_>) -> Option<String> {
    let before = parent.start_unix_nano.saturating_sub(child.start_unix_nano);
    let after = match child.kind {
        SpanKind::Consumer => 0,
        _ => child.end_unix_nano.saturating_sub(parent.end_unix_nano),
    };
    if before.max(after) == 0 {
        return None;
    }
    let (verb, by, why) = if before > 0 {
        ("starts", before, "before its parent: the clocks differ")
    } else {
        let why = "after its parent: the clocks differ, or the parent did not wait for it";
        ("ends", after, why)
    };
    Some(format!(
        "\"{}\" {verb} {} ms {why} ({})",
        child.name,
        by as f64 / 1e6,
        hex(&child.span_id),
    ))
}

fn row(span: &SpanRef<'_>, depth: usize) -> TraceSpan {
    TraceSpan {
        span_id: hex(&span.span_id),
        parent_span_id: span.parent_span_id.map(|id| hex(&id)),
        service: span.resource.service_name.to_owned(),
        operation: span.name.to_owned(),
        kind: kind_name(span.kind),
        start_unix_nano: span.start_unix_nano.to_string(),
        end_unix_nano: span.end_unix_nano.to_string(),
        duration: seconds(span.duration_nanos() as f64),
        self_time: 0.0,
        status: match span.status {
            StatusCode::Unset => "unset",
            StatusCode::Ok => "ok",
            StatusCode::Error => "error",
        },
        status_message: span.status_message().to_owned(),
        attributes: attributes_to_json(span.attributes()),
        resource: serde_json::Map::new(),
        events: events(span),
        links: span
            .links()
            .map(|link| TraceLink {
                trace_id: hex(&link.trace_id),
                span_id: hex(&link.span_id),
            })
            .collect(),
        critical: false,
        depth,
    }
}

fn events(span: &SpanRef<'_>) -> Vec<TraceEvent> {
    let mut events: Vec<_> = span.events().collect();
    events.sort_by_key(|event| event.time_unix_nano);
    let told = events.into_iter().map(|event| TraceEvent {
        time_unix_nano: event.time_unix_nano.to_string(),
        name: event.name.to_owned(),
        attributes: attributes_to_json(event.attributes),
    });
    told.collect()
}
