//! Who called whom, how often, and how often in vain (`GET /api/v2/dependencies`; zipkin2.internal.DependencyLinker): one
//! call for each server span, and for each client span below which nothing is known. Called by `mod`.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::answer::{Array, MOST_BYTES};
use super::call::{Call, merged};
use super::span::{self, Kind, TooLarge};
use super::tree::{At, Tree};
use crate::views::{KeptSpans, Views};

/// The lower half of a trace id. Senders that know no other keep only this one of a trace that others have whole, so
/// Zipkin counts by it alone.
type LowId = u64;

/// More spans with one such half are not counted: a way up through all of them is walked for each. A trace keeps half as
/// many.
const MOST_CALLS: usize = 10_000;

/// Zipkin's `DependencyLink`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Link<'a> {
    parent: &'a str,
    child: &'a str,
    call_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    error_count: u64,
}

/// The links of all traces with a span that began between `begin` and `end` (Unix milliseconds, inclusive), as JSON, by
/// name; traces too large for an answer are left out, and so are links beyond what one may have.
pub(super) fn links(views: &Views, begin: u64, end: u64) -> Vec<u8> {
    let mut links = Links::default();
    for traces in in_range(views, begin, end).into_values() {
        let mut calls = Vec::new();
        let mut left = MOST_BYTES;
        for kept in traces.into_iter().filter_map(|id| views.kept_spans(id)) {
            // What does not fit is a trace that no answer could hold either.
            if read(&kept, &mut calls, &mut left).is_err() {
                calls.clear();
                break;
            }
        }
        links.count(calls);
    }
    links.json()
}

fn in_range(views: &Views, begin: u64, end: u64) -> HashMap<LowId, Vec<[u8; 16]>> {
    let mut traces: HashMap<LowId, (bool, Vec<[u8; 16]>)> = HashMap::new();
    for (id, kept) in views.every_kept_trace() {
        let starts = kept.spans().map(|span| span.start_unix_nano / 1_000_000);
        let is_in_range = starts
            .into_iter()
            .any(|start| (begin..=end).contains(&start));
        // The lower half, whatever the upper one is.
        let (any, ids) = traces.entry(u128::from_be_bytes(id) as u64).or_default();
        *any |= is_in_range;
        ids.push(id);
    }
    let in_range = traces.into_iter().filter(|(_, (any, _))| *any);
    in_range.map(|(low, (_, ids))| (low, ids)).collect()
}

fn read(kept: &KeptSpans, calls: &mut Vec<Call>, left: &mut usize) -> Result<(), TooLarge> {
    span::read(kept, |span| {
        let call = Call::of(span);
        if calls.len() == MOST_CALLS {
            return Err(TooLarge);
        }
        *left = left.checked_sub(call.bytes()).ok_or(TooLarge)?;
        calls.push(call);
        Ok(())
    })
}

/// Calls and failed calls by caller and called.
#[derive(Default)]
struct Links {
    counts: BTreeMap<(String, String), (u64, u64)>,
    bytes: usize,
}

impl Links {
    /// Counts one trace's.
    fn count(&mut self, calls: Vec<Call>) {
        let tree = Tree::of(merged(calls));
        for at in tree.all() {
            if let Some(call) = tree.call(at) {
                self.count_span(&tree, at, call);
            }
        }
    }

    fn count_span(&mut self, tree: &Tree, at: At, call: &Call) {
        let (local, remote) = (call.local.service_name.as_str(), call.remote.as_str());
        // A span that knows both sides is a client's, even when it does not say so.
        let kind = match call.kind {
            None if local.is_empty() || remote.is_empty() => return,
            kind => kind.unwrap_or(Kind::Client),
        };
        match kind {
            // Its server knows better what it is called.
            Kind::Client if call.kind.is_some() && tree.has_children(at) => {}
            // Nobody is known who called it.
            Kind::Server | Kind::Consumer if remote.is_empty() && tree.is_root(at) => {}
            // A broker is between the two, who are linked to it, not to each other.
            Kind::Producer => self.add(local, remote, call.error),
            Kind::Consumer => self.add(remote, local, call.error),
            Kind::Server => self.count_call(tree, at, call, (remote, local)),
            Kind::Client => self.count_call(tree, at, call, (local, remote)),
        }
    }

    fn count_call(&mut self, tree: &Tree, at: At, call: &Call, (caller, called): (&str, &str)) {
        let is_server = call.kind == Some(Kind::Server);
        let above = tree.remote_ancestor(at);
        let Some(above) = above.filter(|above| !above.local.service_name.is_empty()) else {
            return self.add(caller, called, call.error);
        };
        let name = above.local.service_name.as_str();
        let own = call.local.service_name.as_str();
        // A client of another service than the span above it: the server between them sent nothing.
        if !is_server && !own.is_empty() && name != own {
            self.add(name, own, false);
        }
        let caller = if is_server || caller.is_empty() {
            name
        } else {
            caller
        };
        let in_vain =
            above.error && above.kind == Some(Kind::Client) && call.parent == Some(above.id);
        self.add(caller, called, call.error || in_vain);
    }

    fn add(&mut self, caller: &str, called: &str, failed: bool) {
        if caller.is_empty() || called.is_empty() {
            return;
        }
        let key = (caller.to_owned(), called.to_owned());
        let bytes = size_of_val(&key) + caller.len() + called.len();
        let is_known = self.counts.contains_key(&key);
        if !is_known && self.bytes + bytes > MOST_BYTES {
            return;
        }
        self.bytes += if is_known { 0 } else { bytes };
        let (calls, failures) = self.counts.entry(key).or_default();
        *calls += 1;
        *failures += u64::from(failed);
    }

    fn json(&self) -> Vec<u8> {
        let mut answer = Array::default();
        for ((parent, child), &(call_count, error_count)) in &self.counts {
            let link = Link {
                parent,
                child,
                call_count,
                error_count,
            };
            let json = serde_json::to_vec(&link).unwrap_or_default();
            if json.is_empty() || answer.push(&json).is_err() {
                break;
            }
        }
        answer.into_json()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
