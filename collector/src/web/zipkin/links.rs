//! Who called whom, how often, and how often in vain (`GET /api/v2/dependencies`; zipkin2.internal.DependencyLinker): one
//! call for each server span, and for each client span below which nothing is known. Called by `mod`.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use foldhash::fast::RandomState;
use serde::Serialize;

use super::answer::{Array, Full, Room};
use super::call::{Call, merge};
use super::texts::{Text, Texts};
use super::tree::{InTree, Tree};
use crate::views::{KeptTrace, Views};
use crate::wire::SpanKind;

/// The lower half of a trace id. Senders that know no other keep only this one of a trace that others have whole, so
/// Zipkin counts by it alone.
type LowId = u64;

/// More spans with one such half are not counted: they are held all at once. A trace keeps half as many.
const MOST_CALLS: usize = 10_000;

/// Of a link, about.
const LINK_BYTES: usize = 64;

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
/// name; as many as an answer may have.
///
/// # Errors
/// [`Full::NoRoom`].
pub(super) fn links(views: &Views, begin: u64, end: u64, room: Room) -> Result<Array, Full> {
    let mut links = Links::new(room);
    views.look_at_kept(in_range(views, begin..=end), |kept| links.look_at(kept));
    links.settle();
    links.answer()
}

/// The traces that are meant, those of one half id in a row.
fn in_range(views: &Views, range: RangeInclusive<u64>) -> Vec<[u8; 16]> {
    let mut traces = Vec::new();
    views.look_at_kept(views.kept_trace_ids(), |kept| {
        let mut starts = kept.starts().map(|nanos| nanos / 1_000_000);
        let is_in_range = starts.any(|start| range.contains(&start));
        traces.push((low_id(kept.trace_id), is_in_range, kept.trace_id));
    });
    traces.sort_unstable();
    let groups = traces.chunk_by(|(one, ..), (other, ..)| one == other);
    let meant = groups.filter(|group| group.iter().any(|&(_, is_in_range, _)| is_in_range));
    meant.flatten().map(|&(.., trace_id)| trace_id).collect()
}

/// Whatever the upper half is.
fn low_id(trace_id: [u8; 16]) -> LowId {
    u128::from_be_bytes(trace_id) as LowId
}

/// Calls and failed calls by caller and called.
struct Links {
    room: Room,
    texts: Texts,
    counts: HashMap<(Text, Text), (u64, u64), RandomState>,
    /// Whose spans are gathered.
    low_id: LowId,
    calls: Vec<Call>,
    /// So many calls there is room for.
    calls_taken: usize,
    /// Of this half id not all could be gathered, so none of them count.
    is_cut: bool,
    tree: Tree,
    no_room: bool,
}

impl Links {
    fn new(room: Room) -> Self {
        Self {
            room,
            texts: Texts::default(),
            counts: HashMap::default(),
            low_id: 0,
            calls: Vec::new(),
            calls_taken: 0,
            is_cut: false,
            tree: Tree::default(),
            no_room: false,
        }
    }

    /// Gathers a trace's spans; those of the half id before are complete then.
    fn look_at(&mut self, kept: &KeptTrace) {
        let low_id = low_id(kept.trace_id);
        if low_id != self.low_id {
            self.settle();
            self.low_id = low_id;
        }
        for span in kept.spans() {
            if self.is_cut || self.no_room {
                return;
            }
            let gathered = self.take_call().and_then(|()| {
                let call = Call::of(&span, &mut self.texts, &mut self.room)?;
                self.calls.push(call);
                Ok(())
            });
            self.note(gathered);
        }
    }

    fn take_call(&mut self) -> Result<(), Full> {
        if self.calls.len() == MOST_CALLS {
            return Err(Full::TooLarge {
                most: self.room.most(),
            });
        }
        if self.calls.len() == self.calls_taken {
            // As the vector grows.
            let more = self.calls_taken.max(64);
            self.room
                .gather(more * (2 * size_of::<Call>() + Tree::SPAN_BYTES))?;
            self.calls_taken += more;
        }
        Ok(())
    }

    fn note(&mut self, result: Result<(), Full>) {
        match result {
            Ok(()) => {}
            Err(Full::TooLarge { .. }) => self.is_cut = true,
            Err(Full::NoRoom) => self.no_room = true,
        }
    }

    /// Counts what was gathered.
    fn settle(&mut self) {
        let mut calls = std::mem::take(&mut self.calls);
        if !self.is_cut {
            merge(&mut calls, &self.texts);
            let mut tree = std::mem::take(&mut self.tree);
            tree.grow(&calls);
            tree.spans().for_each(|span| self.count(&span));
            self.tree = tree;
        }
        calls.clear();
        self.calls = calls;
        self.is_cut = false;
    }

    fn count(&mut self, span: &InTree<'_>) {
        let call = span.call;
        let (local, remote) = (call.place.service, call.remote);
        // A span that knows both sides is a client's, even when it does not say so.
        let kind = match call.kind {
            None if local.is_none() || remote.is_none() => return,
            kind => kind.unwrap_or(SpanKind::Client),
        };
        match kind {
            // Its server knows better what it is called.
            SpanKind::Client if call.kind.is_some() && span.has_children => {}
            // Nobody is known who called it.
            SpanKind::Server | SpanKind::Consumer if remote.is_none() && span.is_root => {}
            // A broker is between the two, who are linked to it, not to each other.
            SpanKind::Producer => self.add(local, remote, call.error),
            SpanKind::Consumer => self.add(remote, local, call.error),
            SpanKind::Server => self.count_call(span, remote, local),
            _ => self.count_call(span, local, remote),
        }
    }

    fn count_call(&mut self, span: &InTree<'_>, caller: Option<Text>, called: Option<Text>) {
        let call = span.call;
        let is_server = call.kind == Some(SpanKind::Server);
        let named = |above: &&Call| above.place.service.is_some();
        let Some(above) = span.above.filter(named) else {
            return self.add(caller, called, call.error);
        };
        let (name, own) = (above.place.service, call.place.service);
        // A client of another service than the span above it: the server between them sent nothing.
        if !is_server && own.is_some() && name != own {
            self.add(name, own, false);
        }
        let caller = caller.filter(|_| !is_server).or(name);
        let in_vain =
            above.error && above.kind == Some(SpanKind::Client) && call.parent == Some(above.id);
        self.add(caller, called, call.error || in_vain);
    }

    /// A call from one to another, if both are known. A new link beyond what an answer may have is not one.
    fn add(&mut self, caller: Option<Text>, called: Option<Text>, failed: bool) {
        let (Some(caller), Some(called)) = (caller, called) else {
            return;
        };
        let link = (caller, called);
        if !self.counts.contains_key(&link) {
            match self.room.gather(LINK_BYTES) {
                Ok(()) => {}
                Err(Full::TooLarge { .. }) => return,
                Err(Full::NoRoom) => return self.no_room = true,
            }
        }
        let (calls, failures) = self.counts.entry(link).or_default();
        *calls += 1;
        *failures += u64::from(failed);
    }

    fn answer(self) -> Result<Array, Full> {
        if self.no_room {
            return Err(Full::NoRoom);
        }
        let texts = &self.texts;
        let mut links: Vec<_> = self.counts.into_iter().collect();
        links.sort_unstable_by_key(|&((caller, called), _)| (texts.get(caller), texts.get(called)));
        let links = links.into_iter().map(|((caller, called), counts)| {
            let link = Link {
                parent: texts.get(caller),
                child: texts.get(called),
                call_count: counts.0,
                error_count: counts.1,
            };
            serde_json::to_vec(&link).unwrap_or_default()
        });
        Array::of_most(self.room, links)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
