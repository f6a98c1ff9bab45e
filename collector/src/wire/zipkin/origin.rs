//! What the attributes of a span say about its Zipkin form: the endpoints, and what a span that came from Zipkin had and
//! OTLP has no field for (`wire::transcode::zipkin` writes those attributes). Called by `zipkin`.

use std::net::IpAddr;

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
    pub(super) shared_id: Option<&'a str>,
    /// The parent id as it came.
    pub(super) parent_id: Option<&'a str>,
    pub(super) debug: bool,
    /// Of a span whose start is not known, in microseconds.
    pub(super) duration_micros: Option<u64>,
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
            (SHARED_ID, AnyValueRef::Str(id)) => self.shared_id = Some(id).filter(is_id),
            (PARENT_ID, AnyValueRef::Str(id)) => self.parent_id = Some(id).filter(is_id),
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

    /// Where the span was recorded: its service, and the address it came with.
    pub(super) fn put_local_endpoint(&self, json: &mut Json, service: &str) {
        json.known("\"localEndpoint\":").open_object();
        json.known("\"serviceName\":").string(service);
        put_address(json, self.local);
        put_port(json, self.local_port);
        json.close_object();
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
    pub(super) fn put_remote_endpoint(&self, json: &mut Json, kind: SpanKind) {
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
            json.known("\"serviceName\":").string(name);
        }
        put_address(json, address);
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
    const FAMILIES: [&[u8]; 5] = [b"net", b"peer.", b"server.", b"db.n", b"zipkin."];
    FAMILIES.iter().any(|family| key.starts_with(family))
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

fn put_address(json: &mut Json, address: Option<(IpAddr, &str)>) {
    match address {
        Some((IpAddr::V4(_), text)) => json.known("\"ipv4\":").string(text),
        Some((IpAddr::V6(_), text)) => json.known("\"ipv6\":").string(text),
        None => {}
    }
}

fn put_port(json: &mut Json, port: Option<u64>) {
    if let Some(port) = port {
        json.known("\"port\":").number(port);
    }
}

fn is_id(text: &&str) -> bool {
    let is_digit = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 16 && text.bytes().all(is_digit) && text.bytes().any(|digit| digit != b'0')
}
