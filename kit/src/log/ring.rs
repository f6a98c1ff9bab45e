//! The last events of one request, oldest out first, within a number of bytes. Used by `recorder`.

use std::collections::VecDeque;
use std::time::SystemTime;

use tracing::Metadata;
use tracing::span::Id;

use super::fields::SpanFields;
use super::place::Place;
use crate::context::SpanId;

/// What an idle ring keeps of its memory, in bytes and in events.
const KEPT_BYTES: usize = 2 * 1024;
const KEPT_EVENTS: usize = 32;
/// How many scopes an idle ring keeps to be used again.
const KEPT_SCOPES: usize = 2;

/// Events, and the scopes that they happened in.
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: VecDeque<Kept>,
    /// The events' fields, one behind the other, from `begin` on.
    bytes: Vec<u8>,
    begin: usize,
    /// In the order of the events that refer to them; the last one may be nobody's yet.
    scopes: VecDeque<Scope>,
    /// How many scopes left at the front.
    scopes_gone: usize,
    /// Emptied scopes, so that none is allocated twice.
    spare: Vec<Scope>,
    /// False when a span's fields changed since the last scope was copied.
    last_scope_holds: bool,
    /// Where events have the last scope; nowhere when it does not hold.
    last_place: Option<Place>,
    used: usize,
    dropped: u64,
}

/// An event kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) at: SystemTime,
    pub(super) metadata: &'static Metadata<'static>,
    scope: usize,
    len: usize,
}

/// The spans of an event as they were then: its span id and the fields of all of them.
#[derive(Debug, Default)]
pub(super) struct Scope {
    leaf: Option<Leaf>,
    pub(super) fields: SpanFields,
}

/// The span that an event happened in.
#[derive(Debug)]
pub(super) struct Leaf {
    /// `None`: in no span.
    pub(super) id: Option<Id>,
    pub(super) span_id: SpanId,
}

/// What an event takes besides its fields.
pub(super) const EVENT_BYTES: usize = size_of::<Kept>();

impl Ring {
    /// Bytes kept, with what it takes to keep them.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Events kept.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Events that fell out.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether an event of this place has the last scope.
    pub(super) fn is_at(&self, place: Place) -> bool {
        self.last_place == Some(place)
    }

    /// Whether an event of this span has the last scope; its place is that of the next ones then.
    pub(super) fn is_in(&mut self, leaf: &Leaf, place: Option<Place>) -> bool {
        let last = self.scopes.back().and_then(|scope| scope.leaf.as_ref());
        let same = self.last_scope_holds && last.is_some_and(|last| last.id == leaf.id);
        if same {
            self.last_place = place;
        }
        same
    }

    /// The next event needs a scope of its own.
    pub(super) fn forget_last_scope(&mut self) {
        self.last_scope_holds = false;
        self.last_place = None;
    }

    /// Begins the scope of the events to come; `fill` adds the fields, nearest span first. The place is unknown for an
    /// event of a span that its thread is not in.
    pub(super) fn enter(
        &mut self,
        leaf: Leaf,
        place: Option<Place>,
        fill: impl FnOnce(&mut SpanFields),
    ) {
        let mut scope = self.spare.pop().unwrap_or_default();
        scope.leaf = Some(leaf);
        fill(&mut scope.fields);
        self.used += scope.size();
        self.scopes.push_back(scope);
        self.last_scope_holds = true;
        self.last_place = place;
        self.free_scopes();
    }

    /// Makes room for `bytes` more within `limit`.
    pub(super) fn make_room(&mut self, bytes: usize, limit: usize) {
        while self.used + bytes + EVENT_BYTES > limit {
            let Some(oldest) = self.events.pop_front() else {
                return;
            };
            self.begin += oldest.len;
            self.used -= oldest.len + EVENT_BYTES;
            self.dropped += 1;
            if self.scopes.len() > 1 {
                self.free_scopes();
            }
        }
        // Moved once for each time that all of it was written: a copied byte for each kept one.
        if self.begin > limit {
            self.bytes.drain(..self.begin);
            self.begin = 0;
        }
    }

    /// Keeps an event of the last scope.
    pub(super) fn push(
        &mut self,
        at: SystemTime,
        metadata: &'static Metadata<'static>,
        fields: &[u8],
    ) {
        self.bytes.extend_from_slice(fields);
        self.used += fields.len() + EVENT_BYTES;
        self.events.push_back(Kept {
            at,
            metadata,
            scope: self.last_scope(),
            len: fields.len(),
        });
    }

    /// Drops the last scope if no event is of it. Its memory goes back: there is none to spare.
    pub(super) fn leave_unused_scope(&mut self) {
        let last = self.last_scope();
        if self.events.back().is_some_and(|event| event.scope == last) {
            return;
        }
        if let Some(scope) = self.scopes.pop_back() {
            self.used -= scope.size();
            self.forget_last_scope();
        }
    }

    /// The events, oldest first, each with its scope and its fields.
    pub(super) fn events(&self) -> impl Iterator<Item = (&Kept, Option<&Scope>, &[u8])> {
        let mut begin = self.begin;
        self.events.iter().map(move |event| {
            let end = begin + event.len;
            let fields = self.bytes.get(begin..end).unwrap_or_default();
            begin = end;
            let scope = self.scopes.get(event.scope - self.scopes_gone);
            (event, scope, fields)
        })
    }

    /// Empty, for another request; large buffers go back.
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.events.shrink_to(KEPT_EVENTS);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.begin = 0;
        while let Some(scope) = self.scopes.pop_front() {
            self.recycle(scope);
        }
        self.scopes.shrink_to(KEPT_SCOPES);
        self.scopes_gone = 0;
        self.forget_last_scope();
        self.used = 0;
        self.dropped = 0;
    }

    fn last_scope(&self) -> usize {
        self.scopes_gone + self.scopes.len().saturating_sub(1)
    }

    /// Drops scopes of no event: those before the oldest event's, but for the last.
    fn free_scopes(&mut self) {
        let last = self.last_scope();
        let oldest = self.events.front().map_or(last, |event| event.scope);
        while self.scopes_gone < oldest {
            let Some(scope) = self.scopes.pop_front() else {
                return;
            };
            self.scopes_gone += 1;
            self.used -= scope.size();
            self.recycle(scope);
        }
    }

    fn recycle(&mut self, mut scope: Scope) {
        scope.fields.clear();
        if self.spare.len() < KEPT_SCOPES && scope.fields.memory() <= KEPT_BYTES {
            self.spare.push(scope);
        }
    }
}

impl Scope {
    pub(super) fn span_id(&self) -> Option<SpanId> {
        self.leaf.as_ref().map(|leaf| leaf.span_id)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.fields.memory_used()
    }
}
