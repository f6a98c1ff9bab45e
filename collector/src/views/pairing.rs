//! Pairs the client and the server span of one call, whichever comes first, in a bounded table keyed by (trace id,
//! client span id). `mod` offers every span; what a call turned out to be goes to `edges`.
//!
//! A call is settled [`LINGER_SECONDS`] after both its halves came (another server span under the same client span
//! makes it a retry until then), or [`WAIT_SECONDS`] after its first half came when the other one did not. Database
//! calls are settled at once: nothing in front of a database makes server spans.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::call::{Alone, Call, Called, Client, Outcome, Server, Settled};
use super::names::NameId;
use crate::wire::{SpanKind, SpanRef, StatusCode};

/// How long a half waits for the other one. Exporters hold spans back for some seconds, and for longer while they
/// retry.
pub(crate) const WAIT_SECONDS: u32 = 60;
/// How long a complete call waits for a second server span: the delay of a default OpenTelemetry batch processor.
const LINGER_SECONDS: u32 = 5;

/// At most so many complete calls are shown before they are settled.
const MAX_LINGERING: usize = 10_000;

/// A queue may hold so many entries for each call of the table: those of settled calls stay until they are due.
const QUEUE_FACTOR: usize = 4;

/// Bytes of one call in the table, about, with its share of the queues.
pub(crate) const CALL_BYTES: usize =
    size_of::<Call>() + 3 * size_of::<u32>() + 2 * QUEUE_FACTOR * size_of::<Due>();

/// The calls that are not settled yet.
#[derive(Debug)]
pub(crate) struct Pairing {
    calls: Vec<Call>,
    /// Of each call: grows whenever it is freed, so that a queue sees that its entry's is gone. Apart from the calls, since
    /// most entries of `waiting` are looked at for this alone and the calls are not in the cache any more.
    generations: Vec<u32>,
    free: Vec<u32>,
    table: HashTable<u32>,
    hasher: RandomState,
    /// By the arrival of their first half.
    waiting: VecDeque<Due>,
    /// By the arrival of their second half.
    complete: VecDeque<Due>,
    limit: usize,
    settled: Vec<Settled>,
    /// Server spans whose client span did not come.
    alone: Vec<Alone>,
    server_only: u64,
    cut_short: u64,
}

/// Where and when a span came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) service: NameId,
    pub(crate) slot: u32,
    pub(crate) unix_seconds: u32,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    unix_seconds: u32,
    call: u32,
    generation: u32,
}

impl Pairing {
    /// A table of at most `limit` calls; beyond it the oldest is settled as it is.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            calls: Vec::new(),
            generations: Vec::new(),
            free: Vec::new(),
            table: HashTable::new(),
            hasher: RandomState::default(),
            waiting: VecDeque::new(),
            complete: VecDeque::new(),
            limit: limit.clamp(1, u32::MAX as usize),
            settled: Vec::new(),
            alone: Vec::new(),
            server_only: 0,
            cut_short: 0,
        }
    }

    /// Offers a CLIENT or PRODUCER span; what it says of its call counts should no span of the other side come.
    pub(crate) fn client(&mut self, span: &SpanRef<'_>, called: Called, at: Arrival) {
        let index = self.entry(span.trace_id, span.span_id, at);
        let Some(call) = self.calls.get_mut(index as usize) else {
            return;
        };
        if call.client.is_none() {
            call.client = Some(Client {
                service: at.service,
                called,
                nanos: span.duration_nanos(),
                weight: span.weight(),
                failed: span.status == StatusCode::Error,
                producer: span.kind == SpanKind::Producer,
            });
            call.slot = at.slot;
            let complete = call.server.is_some();
            self.note_complete(index, complete, at);
        }
    }

    /// Settles a call to a database, which makes no spans of its own.
    pub(crate) fn database(&mut self, span: &SpanRef<'_>, peer: NameId, at: Arrival) {
        self.settled.push(Settled {
            client: at.service,
            server: peer,
            peer: Some(peer),
            failed: span.status == StatusCode::Error,
            outcome: Outcome::Unpaired {
                client: span.duration_nanos(),
                told_gap: None,
            },
            slot: at.slot,
            weight: span.weight(),
        });
    }

    /// Offers a SERVER or CONSUMER span with a parent.
    pub(crate) fn server(&mut self, span: &SpanRef<'_>, parent: [u8; 8], at: Arrival) {
        let index = self.entry(span.trace_id, parent, at);
        let Some(call) = self.calls.get_mut(index as usize) else {
            return;
        };
        let new = Server {
            service: at.service,
            span_id: span.span_id,
            start_unix_nano: span.start_unix_nano,
            nanos: span.duration_nanos(),
            weight: span.weight(),
            consumer: span.kind == SpanKind::Consumer,
        };
        match call.server {
            None => {
                call.server = Some(new);
                call.slot = at.slot;
                let complete = call.client.is_some();
                self.note_complete(index, complete, at);
            }
            // The same span sent again.
            Some(known) if known.span_id == new.span_id => {}
            Some(known) => {
                call.several = true;
                let order = |server: Server| (server.start_unix_nano, server.span_id);
                if order(new) < order(known) {
                    call.server = Some(new);
                }
            }
        }
    }

    /// Whether a server span already waits for this client span: then nobody needs to ask for its peer.
    pub(crate) fn has_server(&self, span: &SpanRef<'_>) -> bool {
        let call = self.find(span.trace_id, span.span_id);
        call.and_then(|at| self.calls.get(at as usize))
            .is_some_and(|call| call.server.is_some())
    }

    /// Settles what is due and hands over everything settled since the last time.
    pub(crate) fn settle(&mut self, unix_seconds: u32) -> std::vec::Drain<'_, Settled> {
        while let Some(call) = due(&mut self.complete, unix_seconds, LINGER_SECONDS) {
            self.finish(call);
        }
        while let Some(call) = due(&mut self.waiting, unix_seconds, WAIT_SECONDS) {
            self.finish(call);
        }
        self.settled.drain(..)
    }

    /// Hands over the server spans that were given up on since the last time.
    pub(crate) fn alone(&mut self) -> std::vec::Drain<'_, Alone> {
        self.alone.drain(..)
    }

    /// The complete calls that still linger, as they stand; of very many those that will be settled first, for whoever asks
    /// holds up counting, and the others follow within seconds.
    pub(crate) fn lingering(&self) -> impl Iterator<Item = Settled> + '_ {
        let lingering = self.complete.iter().filter_map(|due| {
            let gone = self.generation(due.call) != due.generation;
            let call = self.calls.get(due.call as usize)?;
            (!gone).then(|| call.settled()).flatten()
        });
        lingering.take(MAX_LINGERING)
    }

    /// Server spans whose client span never came.
    pub(crate) fn server_only(&self) -> u64 {
        self.server_only
    }

    /// Calls settled before their time because the table was full.
    pub(crate) fn cut_short(&self) -> u64 {
        self.cut_short
    }

    /// Heap bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.calls.capacity() * (size_of::<Call>() + size_of::<u32>())
            + (self.waiting.capacity() + self.complete.capacity()) * size_of::<Due>()
            + (self.free.capacity() + self.table.capacity()) * size_of::<u32>()
    }

    fn find(&self, trace_id: [u8; 16], span_id: [u8; 8]) -> Option<u32> {
        let same = |&at: &u32| {
            self.calls
                .get(at as usize)
                .is_some_and(|call| call.span_id == span_id && call.trace_id == trace_id)
        };
        self.table
            .find(hash(&self.hasher, trace_id, span_id), same)
            .copied()
    }

    /// The call of a client span, made when new.
    fn entry(&mut self, trace_id: [u8; 16], span_id: [u8; 8], at: Arrival) -> u32 {
        if let Some(index) = self.find(trace_id, span_id) {
            return index;
        }
        while self.table.len() >= self.limit
            || self.waiting.len() >= QUEUE_FACTOR * self.limit
            || self.complete.len() >= QUEUE_FACTOR * self.limit
        {
            self.finish_oldest();
        }
        let call = Call {
            trace_id,
            span_id,
            client: None,
            server: None,
            several: false,
            slot: at.slot,
        };
        let index = self.free.pop().unwrap_or(self.calls.len() as u32);
        match self.calls.get_mut(index as usize) {
            Some(freed) => *freed = call,
            None => {
                if self.calls.len() == self.calls.capacity() {
                    let more = growth(self.calls.len(), self.limit);
                    self.calls.reserve_exact(more);
                    self.generations.reserve_exact(more);
                }
                self.calls.push(call);
                self.generations.push(0);
            }
        }
        let generation = self.generation(index);
        let Self {
            calls,
            table,
            hasher,
            ..
        } = self;
        let rehash = |at: &u32| {
            calls
                .get(*at as usize)
                .map_or(0, |call| hash(hasher, call.trace_id, call.span_id))
        };
        table.insert_unique(hash(hasher, trace_id, span_id), index, rehash);
        let due = Due {
            unix_seconds: at.unix_seconds.saturating_add(WAIT_SECONDS),
            call: index,
            generation,
        };
        push(&mut self.waiting, due, self.limit);
        index
    }

    fn note_complete(&mut self, call: u32, complete: bool, at: Arrival) {
        if complete {
            let due = Due {
                unix_seconds: at.unix_seconds.saturating_add(LINGER_SECONDS),
                call,
                generation: self.generation(call),
            };
            push(&mut self.complete, due, self.limit);
        }
    }

    fn generation(&self, call: u32) -> u32 {
        self.generations
            .get(call as usize)
            .copied()
            .unwrap_or_default()
    }

    fn finish_oldest(&mut self) {
        let oldest = self.waiting.pop_front();
        let complete = (self.complete.len() >= QUEUE_FACTOR * self.limit)
            .then(|| self.complete.pop_front())
            .flatten();
        for due in [oldest, complete].into_iter().flatten() {
            self.cut_short += u64::from(self.finish(due));
        }
    }

    /// Frees a call; false when that was done before.
    fn finish(&mut self, due: Due) -> bool {
        let at = due.call as usize;
        let (Some(generation), Some(call)) = (self.generations.get_mut(at), self.calls.get(at))
        else {
            return false;
        };
        if *generation != due.generation {
            return false;
        }
        *generation = generation.wrapping_add(1);
        match (call.settled(), call.server) {
            (Some(settled), _) => self.settled.push(settled),
            (None, Some(server)) => {
                self.alone.push(Alone {
                    service: server.service,
                    slot: call.slot,
                    weight: server.weight,
                });
                self.server_only += 1;
            }
            (None, None) => {}
        }
        let hash = hash(&self.hasher, call.trace_id, call.span_id);
        if let Ok(entry) = self.table.find_entry(hash, |&at| at == due.call) {
            entry.remove();
        }
        self.free.push(due.call);
        true
    }
}

fn push(queue: &mut VecDeque<Due>, due: Due, limit: usize) {
    if queue.len() == queue.capacity() {
        queue.reserve_exact(growth(queue.len(), QUEUE_FACTOR * limit));
    }
    queue.push_back(due);
}

/// So much a full buffer grows by: to twice its size, but not beyond what is ever needed, which its share of the bytes counts.
fn growth(len: usize, most: usize) -> usize {
    len.max(64).min(most.saturating_sub(len)).max(1)
}

/// The first of a queue whose entries wait for so long, when it is due.
fn due(queue: &mut VecDeque<Due>, unix_seconds: u32, wait: u32) -> Option<Due> {
    let front = queue.front()?;
    // One from the future came before the clock was set back: it must not hold up those behind it until the clock is there
    // again. It may be from a little later, lest a clock that is put right by seconds part calls.
    let latest = unix_seconds.saturating_add(2 * wait);
    (front.unix_seconds <= unix_seconds || front.unix_seconds > latest)
        .then(|| queue.pop_front())
        .flatten()
}

fn hash(hasher: &RandomState, trace_id: [u8; 16], span_id: [u8; 8]) -> u64 {
    hasher.hash_one((u128::from_ne_bytes(trace_id), u64::from_ne_bytes(span_id)))
}
