//! Calls of one edge to look at, found in the kept traces: the extreme and the odd ones. Made by `mod`.
//!
//! A call is classed as `pairing` classes it, but from the trace alone, so that every example leads to a trace that is
//! there.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::call::{Outcome, Side};
use super::clock::Slots;
use super::kept::KeptTrace;
use super::names::{NodeKind, cut};
use super::pairing::WAIT_SECONDS;
use super::peer::Peer;
use super::report::{Example, Examples};
use super::traces::hex;
use super::window::seconds;
use crate::wire::{SpanKind, SpanRef, StatusCode};

/// So many of each sort.
const EXAMPLES: usize = 3;
const WAIT_NANOS: u64 = WAIT_SECONDS as u64 * 1_000_000_000;

/// A search that is under way.
#[derive(Debug)]
pub(crate) struct Finder<'a> {
    client: &'a str,
    server: &'a str,
    slots: Slots,
    now_unix_nano: u64,
    widest_gap: Best,
    slowest: Best,
    failed: Best,
    unpaired: Best,
    negative: Best,
    retried: Best,
    asynchronous: Best,
    peer_name: String,
}

/// The calls with the highest ranks, a trace each.
#[derive(Debug, Default)]
struct Best(Vec<(u64, Call)>);

#[derive(Clone, Copy, Debug)]
struct Call {
    trace_id: [u8; 16],
    failed: bool,
    outcome: Outcome,
    client_nanos: u64,
}

/// The server spans under one client span: the one that started first, and whether there are others.
#[derive(Clone, Copy, Debug)]
struct Servers<'a> {
    first: SpanRef<'a>,
    several: bool,
}

impl<'a> Finder<'a> {
    /// For calls from `client` to `server` whose client span came in the range.
    pub(crate) fn new(
        (client, server): (&'a str, &'a str),
        slots: Slots,
        now_unix_nano: u64,
    ) -> Self {
        Self {
            client,
            server,
            slots,
            now_unix_nano,
            widest_gap: Best::default(),
            slowest: Best::default(),
            failed: Best::default(),
            unpaired: Best::default(),
            negative: Best::default(),
            retried: Best::default(),
            asynchronous: Best::default(),
            peer_name: String::new(),
        }
    }

    /// Looks for calls in a trace.
    pub(crate) fn look_at(&mut self, trace: &KeptTrace) {
        let by_client = trace.arrivals_of(|service| cut(service) == self.client);
        let calls = by_client
            .filter(|(span, arrived)| is_client(span) && self.slots.contains_nanos(*arrived));
        let calls: Vec<_> = calls.collect();
        if calls.is_empty() {
            return;
        }
        let servers = servers(trace);
        for (span, arrived) in calls {
            self.consider(&span, servers.get(&span.span_id), arrived);
        }
    }

    /// What was found.
    pub(crate) fn report(self) -> Examples {
        Examples {
            widest_gap: self.widest_gap.report(),
            slowest: self.slowest.report(),
            failed: self.failed.report(),
            unpaired: self.unpaired.report(),
            negative: self.negative.report(),
            retried: self.retried.report(),
            asynchronous: self.asynchronous.report(),
        }
    }

    fn consider(&mut self, span: &SpanRef<'_>, servers: Option<&Servers<'_>>, arrived: u64) {
        let told_gap = match servers {
            Some(servers) => {
                if cut(servers.first.resource.service_name) != self.server {
                    return;
                }
                None
            }
            None => {
                let peer = Peer::of(span);
                peer.write_name(&mut self.peer_name);
                // The server span of a call may still come; before a database there is none.
                let early = peer.kind() != NodeKind::Database
                    && arrived.saturating_add(WAIT_NANOS) > self.now_unix_nano;
                if early || cut(&self.peer_name) != self.server {
                    return;
                }
                peer.told_gap()
            }
        };
        let client = side(span);
        let server = servers.map(|servers| side(&servers.first));
        let several = servers.is_some_and(|servers| servers.several);
        let call = Call {
            trace_id: span.trace_id,
            failed: span.status == StatusCode::Error,
            outcome: Outcome::of(client, server, several, told_gap),
            client_nanos: client.nanos,
        };
        self.take(call, arrived);
    }

    fn take(&mut self, call: Call, arrived: u64) {
        self.slowest.offer(call.client_nanos, call);
        if call.failed {
            self.failed.offer(arrived, call);
        }
        match call.outcome {
            Outcome::Paired { client, server } if client >= server => {
                self.widest_gap.offer(client - server, call);
            }
            Outcome::Paired { client, server } => self.negative.offer(server - client, call),
            Outcome::Retried { .. } => self.retried.offer(arrived, call),
            Outcome::Asynchronous { .. } => self.asynchronous.offer(arrived, call),
            Outcome::Unpaired { .. } => self.unpaired.offer(arrived, call),
        }
    }
}

impl Best {
    fn offer(&mut self, rank: u64, call: Call) {
        let same = |(_, known): &(u64, Call)| known.trace_id == call.trace_id;
        match self.0.iter_mut().find(|known| same(known)) {
            Some(known) if known.0 >= rank => return,
            Some(known) => *known = (rank, call),
            None => self.0.push((rank, call)),
        }
        self.0
            .sort_by_key(|&(rank, call)| (Reverse(rank), call.trace_id));
        self.0.truncate(EXAMPLES);
    }

    fn report(self) -> Vec<Example> {
        self.0.iter().map(|(_, call)| call.report()).collect()
    }
}

impl Call {
    fn report(&self) -> Example {
        let exact = |nanos: u64| seconds(nanos as f64);
        let (server, gap) = match self.outcome {
            Outcome::Paired { client, server } => {
                let gap = if client >= server {
                    exact(client - server)
                } else {
                    -exact(server - client)
                };
                (Some(exact(server)), Some(gap))
            }
            Outcome::Unpaired { told_gap, .. } => (None, told_gap.map(exact)),
            Outcome::Retried { .. } | Outcome::Asynchronous { .. } => (None, None),
        };
        Example {
            trace_id: hex(&self.trace_id),
            client: exact(self.client_nanos),
            server,
            gap,
            error: self.failed,
        }
    }
}

/// The server spans of a trace by their parents.
fn servers(trace: &KeptTrace) -> HashMap<[u8; 8], Servers<'_>> {
    let mut servers: HashMap<[u8; 8], Servers<'_>> = HashMap::new();
    for span in trace.spans().filter(is_server) {
        let Some(parent) = span.parent_span_id else {
            continue;
        };
        let new = Servers {
            first: span,
            several: false,
        };
        let known = servers.entry(parent).or_insert(new);
        if known.first.span_id == span.span_id {
            continue;
        }
        known.several = true;
        let order = |span: &SpanRef<'_>| (span.start_unix_nano, span.span_id);
        if order(&span) < order(&known.first) {
            known.first = span;
        }
    }
    servers
}

fn side(span: &SpanRef<'_>) -> Side {
    Side {
        nanos: span.duration_nanos(),
        message: matches!(span.kind, SpanKind::Producer | SpanKind::Consumer),
    }
}

pub(crate) fn is_client(span: &SpanRef<'_>) -> bool {
    matches!(span.kind, SpanKind::Client | SpanKind::Producer)
}

pub(crate) fn is_server(span: &SpanRef<'_>) -> bool {
    matches!(span.kind, SpanKind::Server | SpanKind::Consumer)
}
