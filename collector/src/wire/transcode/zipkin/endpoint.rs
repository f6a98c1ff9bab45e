//! Where a span was and whom it talked to, as attributes of the semantic conventions. The tags of OpenTelemetry's own
//! exporters say it already; then nothing is added.

use std::borrow::Cow;

use super::attribute::{put_number, put_text};
use crate::wire::AnyValueRef;
use crate::wire::attributes::Attributes;
use crate::wire::transcode::proto_writer::ProtoWriter;

/// A Zipkin `Endpoint`; empty and zero where it says nothing.
#[derive(Debug, Default)]
pub(super) struct Endpoint<'a> {
    pub(super) service: Cow<'a, str>,
    pub(super) ipv4: Cow<'a, str>,
    pub(super) ipv6: Cow<'a, str>,
    pub(super) port: u16,
}

/// Attributes that name the other side of a call, in the exporters' order (trace/sdk_exporters/zipkin.md).
const NAMES: [&str; 12] = [
    "peer.service",
    "server.address",
    "net.peer.name",
    "network.peer.address",
    "server.socket.domain",
    "server.socket.address",
    "net.sock.peer.name",
    "net.sock.peer.addr",
    "peer.hostname",
    "peer.address",
    "db.name",
    "db.namespace",
];

/// Attributes that have its port.
const PORTS: [&str; 5] = [
    "server.port",
    "net.peer.port",
    "network.peer.port",
    "server.socket.port",
    "net.sock.peer.port",
];

impl Endpoint<'_> {
    /// Writes the address a span was recorded at; the service is its resource.
    pub(super) fn write_local(&self, out: &mut ProtoWriter, start: usize) {
        const ADDRESS: &str = "network.local.address";
        const PORT: &str = "network.local.port";
        let address = self.address();
        if address.is_empty() && self.port == 0 {
            return;
        }
        let (mut has_address, mut has_port) = (address.is_empty(), self.port == 0);
        for attribute in
            tags(out, start).select(|key| [ADDRESS, PORT].map(str::as_bytes).contains(&key))
        {
            has_address |= attribute.key == ADDRESS;
            has_port |= attribute.key == PORT;
        }
        if !has_address {
            put_text(out, 9, ADDRESS, address);
        }
        if !has_port {
            put_number(out, 9, PORT, u64::from(self.port));
        }
    }

    /// Writes who was on the other side.
    pub(super) fn write_remote(&self, out: &mut ProtoWriter, start: usize) {
        let address = self.address();
        if address.is_empty() && self.service.is_empty() && self.port == 0 {
            return;
        }
        let told = self.told(out, start);
        if !(self.service.is_empty() || told.service) {
            put_text(out, 9, "peer.service", &self.service);
        }
        // Exporters repeat an address as the name of what was called by it.
        let repeats_name = told.service && *address == *self.service;
        if !(address.is_empty() || told.address || repeats_name) {
            put_text(out, 9, "network.peer.address", address);
        }
        if !(self.port == 0 || told.port) {
            put_number(out, 9, "network.peer.port", u64::from(self.port));
        }
    }

    /// Zipkin reads the older form first, too, where a span has both.
    fn address(&self) -> &str {
        if self.ipv4.is_empty() {
            &self.ipv6
        } else {
            &self.ipv4
        }
    }

    /// What the tags say already.
    fn told(&self, out: &ProtoWriter, start: usize) -> Told {
        let mut told = Told::default();
        for tag in tags(out, start).select(names_other_side) {
            let is_service = tag.value.as_str() == Some(&*self.service);
            told.service |= tag.key == "peer.service" || (is_service && NAMES.contains(&tag.key));
            told.address |= tag.key == "network.peer.address";
            told.port |= tag.key == "network.peer.port"
                || (PORTS.contains(&tag.key) && is_port(tag.value, self.port));
        }
        told
    }
}

#[derive(Default)]
struct Told {
    service: bool,
    address: bool,
    port: bool,
}

/// The attributes of the span whose fields begin at `start`.
fn tags(out: &ProtoWriter, start: usize) -> Attributes<'_> {
    Attributes::new(out.as_slice().get(start..).unwrap_or_default(), 9)
}

fn names_other_side(key: &[u8]) -> bool {
    // All of them begin so; most attributes do not.
    matches!(key.first(), Some(b'p' | b's' | b'n' | b'd'))
        && NAMES
            .iter()
            .chain(&PORTS)
            .any(|name| name.as_bytes() == key)
}

fn is_port(value: AnyValueRef<'_>, port: u16) -> bool {
    match value {
        AnyValueRef::Int(value) => value == i64::from(port),
        AnyValueRef::Str(text) => text.parse() == Ok(port),
        _ => false,
    }
}
