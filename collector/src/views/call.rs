//! One call: its client and its server span, and what the two of them make of it. Put together by `pairing`, counted by
//! `edges`; `examples` judges the calls of kept traces by the same rules.

use super::names::NameId;

/// What a call turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) client: NameId,
    pub(crate) server: NameId,
    /// What the client's attributes call the server; `None` where nobody had to ask.
    pub(crate) peer: Option<NameId>,
    /// As the caller saw it.
    pub(crate) failed: bool,
    pub(crate) outcome: Outcome,
    /// The slot in which its last half came.
    pub(crate) slot: u32,
    /// For how many calls it stands, by the client span: there is one in every call.
    pub(crate) weight: u32,
}

/// A server span whose client span did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alone {
    pub(crate) service: NameId,
    /// In which it came.
    pub(crate) slot: u32,
    /// For how many it stands.
    pub(crate) weight: u32,
}

/// Which kind of call; durations in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// One client and one server span; the server's may be the longer one.
    Paired { client: u64, server: u64 },
    /// Several server spans under one client span; the duration of the one that started first.
    Retried { client: u64, server: u64 },
    /// A message: PRODUCER or CONSUMER, whose durations have nothing to do with each other.
    Asynchronous { client: u64, server: u64 },
    /// No server span came; the called service may have told its own time in its answer.
    Unpaired { client: u64, told_gap: Option<u64> },
}

/// One side of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) nanos: u64,
    /// PRODUCER or CONSUMER.
    pub(crate) message: bool,
}

/// What a client span's attributes say of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Called {
    /// Whom; `None` where nobody had to ask, because the server span was there already.
    pub(crate) peer: Option<NameId>,
    /// The network gap that the called service's answer told, nanoseconds.
    pub(crate) told_gap: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) trace_id: [u8; 16],
    /// Of the client span.
    pub(super) span_id: [u8; 8],
    pub(super) client: Option<Client>,
    pub(super) server: Option<Server>,
    /// More than one server span came.
    pub(super) several: bool,
    /// In which its last half came.
    pub(super) slot: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) service: NameId,
    pub(super) called: Called,
    pub(super) nanos: u64,
    pub(super) weight: u32,
    pub(super) failed: bool,
    pub(super) producer: bool,
}

/// Of several server spans the one that started first, so that their order of arrival does not matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) service: NameId,
    pub(super) span_id: [u8; 8],
    pub(super) start_unix_nano: u64,
    pub(super) nanos: u64,
    pub(super) weight: u32,
    pub(super) consumer: bool,
}

impl Call {
    /// What it is as it stands; `None` without a client span.
    pub(super) fn settled(&self) -> Option<Settled> {
        let client = self.client?;
        let side = Side {
            nanos: client.nanos,
            message: client.producer,
        };
        let other = self.server.map(|server| Side {
            nanos: server.nanos,
            message: server.consumer,
        });
        let peer = client.called.peer;
        let server = self.server.map(|server| server.service).or(peer);
        Some(Settled {
            client: client.service,
            server: server.unwrap_or(client.service),
            peer,
            failed: client.failed,
            outcome: Outcome::of(side, other, self.several, client.called.told_gap),
            slot: self.slot,
            weight: client.weight,
        })
    }
}

impl Outcome {
    /// Of a call with these sides; `several` server spans, or no more than one.
    pub(crate) fn of(
        client: Side,
        server: Option<Side>,
        several: bool,
        told_gap: Option<u64>,
    ) -> Self {
        match server {
            None => Self::Unpaired {
                client: client.nanos,
                told_gap,
            },
            Some(server) if client.message || server.message => Self::Asynchronous {
                client: client.nanos,
                server: server.nanos,
            },
            Some(server) if several => Self::Retried {
                client: client.nanos,
                server: server.nanos,
            },
            Some(server) => Self::Paired {
                client: client.nanos,
                server: server.nanos,
            },
        }
    }
}
