//! What the attributes of a span say about its Zipkin form: the endpoints, and what a span that came from Zipkin had and
//! OTLP has no field for (`wire::transcode::zipkin` writes those attributes). Called by `zipkin`.

use std::net::IpAddr;

use super::form::Form;
use super::json::Json;
use crate::wire::{AnyValueRef, KeyValueRef, SpanKind, SpanRef};

/// Noted attribute by attribute.
#[derive(Default)]
pub(super) struct Origin<'a> {
    /// The best of the attributes that name the other side, with its rank.
    remote: Option<(u8, &'a str)>,
    /// The ports in [`REMOTE_PORTS`].
    remote_ports: [Option<u64>; REMOTE_PORTS.len()],
    /// `network.peer.address`, when it is an address.
    peer: Option<(IpAddr, &'a str)>,
    local: Option<(IpAddr, &'a str)>,
    local_port: Option<u64>,
    /// The id that a server half shared with its client half.
    shared_id: Option<u64>,
    /// The parent id as it came.
    parent_id: Option<u64>,
    pub(super) debug: bool,
    /// Of a span whose start is not known, in microseconds.
    duration_micros: Option<u64>,
}

/// What Zipkin knows a span by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Its own, or that of the client's half that it shares it with.
    pub id: u64,
    /// `None` for a root, and for a server's half whose client's half has it.
    pub parent: Option<u64>,
    /// It is a server's half.
    pub is_shared: bool,
}

impl<'a> Origin<'a> {
    /// What all attributes of a span say, for who wants nothing else of them.
    pub(super) fn of(span: &SpanRef<'a>) -> Self {
        let mut origin = Self::default();
        for attribute in span.attributes().select(tells) {
            origin.read(attribute);
        }
        origin
    }

    /// Takes note of one of the span's attributes.
    pub(super) fn note(&mut self, attribute: KeyValueRef<'a>) {
        if tells(attribute.key.as_bytes()) {
            self.read(attribute);
        }
    }

    fn read(&mut self, attribute: KeyValueRef<'a>) {
        let KeyValueRef { key, value } = attribute;
        match (key, value) {
            ("network.local.address", AnyValueRef::Str(text)) => self.local = address(text),
            ("network.local.port", value) => self.local_port = port_number(value),
            (SHARED_ID, AnyValueRef::Str(id)) => self.shared_id = read_id(id),
            (PARENT_ID, AnyValueRef::Str(id)) => self.parent_id = read_id(id),
            (DEBUG, AnyValueRef::Bool(debug)) => self.debug = debug,
            (DURATION, AnyValueRef::Int(micros)) => {
                self.duration_micros = u64::try_from(micros).ok();
            }
            _ => self.read_remote(key, value),
        }
    }

    fn read_remote(&mut self, key: &str, value: AnyValueRef<'a>) {
        if let (Some(rank), AnyValueRef::Str(text)) = (remote_rank(key), value) {
            let is_better = self.remote.is_none_or(|(other, _)| rank < other);
            if !text.is_empty() && is_better {
                self.remote = Some((rank, text));
            }
            if rank == PEER_ADDRESS && self.peer.is_none() {
                self.peer = address(text);
            }
        } else if let Some(at) = REMOTE_PORTS.iter().position(|(_, known)| *known == key)
            && let Some(port) = self.remote_ports.get_mut(at)
        {
            *port = port_number(value);
        }
    }

    /// A span's ids, as Zipkin had them where it came from there.
    pub(super) fn ids(&self, span: &SpanRef<'_>) -> Ids {
        // The parent of a server half is its client half, which is the same span to Zipkin.
        let parent = span
            .parent_span_id
            .filter(|_| self.shared_id.is_none())
            .map(u64::from_be_bytes);
        Ids {
            id: self
                .shared_id
                .unwrap_or_else(|| u64::from_be_bytes(span.span_id)),
            parent: self.parent_id.or(parent),
            is_shared: self.shared_id.is_some(),
        }
    }

    /// Zipkin's smallest duration is 1. An end before the start is a clock that was set back, and a start of zero is none:
    /// the duration is not known.
    pub(super) fn duration_micros(&self, span: &SpanRef<'_>) -> Option<u64> {
        if span.end_unix_nano == 0 {
            return self.duration_micros;
        }
        let is_known = span.start_unix_nano > 0 && span.end_unix_nano >= span.start_unix_nano;
        is_known.then(|| (span.duration_nanos() / 1_000).max(1))
    }

    /// The address and the port that the span was recorded at.
    pub(super) fn local(&self) -> (Option<IpAddr>, Option<u16>) {
        let port = self.local_port.and_then(|port| u16::try_from(port).ok());
        (self.local.map(taken_in), port)
    }

    /// Where the span was recorded: its service, and the address it came with.
    pub(super) fn put_local_endpoint(&self, json: &mut Json, service: &str, form: Form) {
        let before = json.len();
        json.known("\"localEndpoint\":").open_object();
        form.put_name(json, "\"serviceName\":", service);
        form.put_address(json, self.local);
        put_port(json, self.local_port);
        json.close_object();
        form.settle(json, before);
    }

    /// The name of who was on the other side of a span of this kind, with its rank.
    fn remote(&self, kind: SpanKind) -> Option<(u8, &'a str)> {
        // Whom a server or local span names by other attributes is itself.
        let calls = matches!(kind, SpanKind::Client | SpanKind::Producer);
        self.remote
            .filter(|(rank, _)| calls || *rank == PEER_SERVICE)
    }

    /// The name of who was on the other side of a span of this kind.
    pub(super) fn remote_service(&self, kind: SpanKind) -> Option<&'a str> {
        self.remote(kind).map(|(_, name)| name)
    }

    /// Who was on the other side of a span of this kind, when the span says so.
    pub(super) fn put_remote_endpoint(&self, json: &mut Json, kind: SpanKind, form: Form) {
        let remote = self.remote(kind);
        let named = remote.map(|(rank, _)| rank);
        let port_of = |rank| {
            let mut ports = REMOTE_PORTS.iter().zip(self.remote_ports);
            let port = ports.find(|((of, _), _)| *of == rank);
            port.and_then(|(_, port)| port)
        };
        let port = named.and_then(port_of).or_else(|| port_of(PEER_ADDRESS));
        let own_address = remote.and_then(|(_, name)| address(name));
        let address = own_address.or(self.peer);
        if remote.is_none() && address.is_none() {
            return;
        }
        json.known("\"remoteEndpoint\":").open_object();
        // The name is what Zipkin draws its dependencies by, so a called address is its name too.
        if let Some((_, name)) = remote {
            form.put_name(json, "\"serviceName\":", name);
        }
        form.put_address(json, address);
        put_port(json, port);
        json.close_object();
    }
}

const SHARED_ID: &str = "zipkin.id";
const PARENT_ID: &str = "zipkin.parent_id";
const DEBUG: &str = "zipkin.debug";
const DURATION: &str = "zipkin.duration";

/// Whether `key` is told by a field of its own, so that it is no tag.
pub(super) fn is_field(key: &str) -> bool {
    matches!(key, SHARED_ID | PARENT_ID | DEBUG | DURATION)
}

/// Whether an attribute may tell something; most do not.
fn tells(key: &[u8]) -> bool {
    let families: &[&[u8]] = match key.first() {
        // Not `network.protocol.…`, which most clients tell.
        Some(b'n') => &[b"network.peer.", b"network.local.", b"net."],
        Some(b'p') => &[b"peer."],
        Some(b's') => &[b"server."],
        Some(b'd') => &[b"db.n"],
        Some(b'z') => &[b"zipkin."],
        _ => return false,
    };
    families.iter().any(|family| key.starts_with(family))
}

const PEER_SERVICE: u8 = 1;
const PEER_ADDRESS: u8 = 4;

/// Attributes that name the other side of a call; the lower the better.
fn remote_rank(key: &str) -> Option<u8> {
    Some(match key {
        "peer.service" => PEER_SERVICE,
        "server.address" => 2,
        "net.peer.name" => 3,
        "network.peer.address" => PEER_ADDRESS,
        "server.socket.domain" => 5,
        "server.socket.address" => 6,
        "net.sock.peer.name" => 7,
        "net.sock.peer.addr" => 8,
        "peer.hostname" => 9,
        "peer.address" => 10,
        "db.name" => 11,
        "db.namespace" => 12,
        _ => return None,
    })
}

/// The ports that belong to addresses, by the addresses' rank.
const REMOTE_PORTS: [(u8, &str); 5] = [
    (2, "server.port"),
    (3, "net.peer.port"),
    (PEER_ADDRESS, "network.peer.port"),
    (6, "server.socket.port"),
    (8, "net.sock.peer.port"),
];

fn port_number(value: AnyValueRef<'_>) -> Option<u64> {
    match value {
        AnyValueRef::Int(port) => u64::try_from(port).ok(),
        AnyValueRef::Str(port) => port.parse().ok(),
        _ => None,
    }
    .filter(|port| (1..=u64::from(u16::MAX)).contains(port))
}

fn address(text: &str) -> Option<(IpAddr, &str)> {
    text.parse().ok().map(|address| (address, text))
}

/// An address as Zipkin has it once it has taken it in: an IPv6 address that is spelt with an IPv4 address in it is that.
pub(super) fn taken_in((address, text): (IpAddr, &str)) -> IpAddr {
    let embedded = text.rsplit(':').next().and_then(|v4| v4.parse().ok());
    match address {
        IpAddr::V6(_) => embedded.map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn put_port(json: &mut Json, port: Option<u64>) {
    if let Some(port) = port {
        json.known("\"port\":").number(port);
    }
}

/// Sixteen digits that are not all zero.
fn read_id(text: &str) -> Option<u64> {
    let is_digit = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let digits = text.len() == 16 && text.bytes().all(is_digit);
    let id = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    id.filter(|&id| id > 0)
}
