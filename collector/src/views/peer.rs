//! Whom a client span calls, read from its attributes (OpenTelemetry semantic conventions, the older names too), and
//! the network gap that the kit told it. Asked by `stats` and `examples` for calls whose server span may never come.

use std::time::Duration;

use super::names::NodeKind;
use crate::wire::{AnyValueRef, SpanRef};

/// The peer of a call that says nothing about it.
pub(crate) const UNKNOWN: &str = "(unknown peer)";
/// What of a call was network, in seconds: the kit's client writes it when the called service told its own time.
const TOLD_GAP: &str = "bellwether.network.gap";

/// What a client span's attributes say about the other side.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peer<'a> {
    service: Option<&'a str>,
    database: Option<&'a str>,
    namespace: Option<&'a str>,
    messaging: Option<&'a str>,
    destination: Option<&'a str>,
    address: Option<&'a str>,
    port: Option<Port<'a>>,
    told_gap: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Port<'a> {
    Number(i64),
    Text(&'a str),
}

impl<'a> Peer<'a> {
    /// Reads the attributes; where an old and a new name are both there, the new one wins.
    pub(crate) fn of(span: &SpanRef<'a>) -> Self {
        let mut peer = Self::default();
        for attribute in span.attributes().select(says_peer) {
            let text = attribute.value.as_str().filter(|text| !text.is_empty());
            match attribute.key {
                "peer.service" => peer.service = text,
                "db.system.name" => peer.database = text.or(peer.database),
                "db.system" => peer.database = peer.database.or(text),
                "db.namespace" => peer.namespace = text.or(peer.namespace),
                "db.name" => peer.namespace = peer.namespace.or(text),
                "messaging.system" => peer.messaging = text,
                "messaging.destination.name" => peer.destination = text.or(peer.destination),
                "messaging.destination" => peer.destination = peer.destination.or(text),
                "server.address" => peer.address = text.or(peer.address),
                "net.peer.name" | "network.peer.address" => peer.address = peer.address.or(text),
                "server.port" => peer.port = port(attribute.value).or(peer.port),
                "net.peer.port" | "network.peer.port" => {
                    peer.port = peer.port.or(port(attribute.value));
                }
                TOLD_GAP => peer.told_gap = nanos(attribute.value),
                _ => {}
            }
        }
        // More than the whole call is a mistake, not a gap.
        peer.told_gap = peer.told_gap.filter(|&gap| gap <= span.duration_nanos());
        peer
    }

    /// The network gap that the client measured by itself, nanoseconds.
    pub(crate) fn told_gap(&self) -> Option<u64> {
        self.told_gap
    }

    /// What kind of node it is.
    pub(crate) fn kind(&self) -> NodeKind {
        if self.database.is_some() {
            NodeKind::Database
        } else if self.messaging.is_some() {
            NodeKind::Queue
        } else {
            NodeKind::External
        }
    }

    /// Replaces `name` by the node's name: `peer.service`, `postgresql:orders`, `kafka:payments`, `example.com:443`.
    pub(crate) fn write_name(&self, name: &mut String) {
        name.clear();
        let system = self.database.zip(Some(self.namespace));
        let system = system.or(self.messaging.zip(Some(self.destination)));
        match (self.service, system) {
            (Some(service), _) => name.push_str(service),
            (None, Some((system, part))) => {
                name.push_str(system);
                if let Some(part) = part.or(self.address) {
                    name.push(':');
                    name.push_str(part);
                }
            }
            (None, None) => self.write_address(name),
        }
    }

    fn write_address(&self, name: &mut String) {
        let Some(address) = self.address else {
            name.push_str(UNKNOWN);
            return;
        };
        name.push_str(address);
        match self.port {
            Some(Port::Number(port)) => {
                name.push(':');
                name.push_str(itoa::Buffer::new().format(port));
            }
            Some(Port::Text(port)) => {
                name.push(':');
                name.push_str(port);
            }
            None => {}
        }
    }
}

/// Whether a key can be one of those read above.
fn says_peer(key: &[u8]) -> bool {
    // Most keys are told by their first letter, and every client span's are asked for.
    if !matches!(key.first(), Some(b'b' | b'd' | b'm' | b'n' | b'p' | b's')) {
        return false;
    }
    key.starts_with(b"server.")
        || key.starts_with(b"db.")
        || key.starts_with(b"messaging.")
        || key.starts_with(b"net.peer.")
        || key.starts_with(b"network.peer.")
        || key == b"peer.service"
        || key == TOLD_GAP.as_bytes()
}

fn nanos(seconds: AnyValueRef<'_>) -> Option<u64> {
    let AnyValueRef::Double(seconds) = seconds else {
        return None;
    };
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(duration.as_nanos()).ok()
}

fn port(value: AnyValueRef<'_>) -> Option<Port<'_>> {
    match value {
        AnyValueRef::Int(port) => Some(Port::Number(port)),
        AnyValueRef::Str(port) if !port.is_empty() => Some(Port::Text(port)),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

    use super::*;
    use crate::wire::test_support::{attribute, encode, resource_spans, span};
    use crate::wire::walk;

    /// The kit's attribute.
    pub(in crate::views) fn told_gap(seconds: f64) -> KeyValue {
        KeyValue {
            value: Some(AnyValue {
                value: Some(Value::DoubleValue(seconds)),
            }),
            ..attribute(TOLD_GAP, "")
        }
    }

    /// Of a span that takes a millisecond.
    fn read(attribute: KeyValue) -> Option<u64> {
        let mut span = span(1, 1, 0);
        span.attributes = vec![attribute];
        let bytes = encode(vec![resource_spans("api", vec![span])]);
        let mut gap = None;
        walk(&bytes, |span| gap = Peer::of(&span).told_gap()).unwrap();
        gap
    }

    #[test]
    fn a_gap_that_can_be_one_is_read() {
        let check = |seconds: f64, want: Option<u64>| {
            assert_eq!(read(told_gap(seconds)), want, "{seconds}");
        };
        check(0.0, Some(0));
        check(0.000_25, Some(250_000));
        check(0.001, Some(1_000_000));
        check(0.0011, None);
        check(-0.000_1, None);
        check(f64::NAN, None);
        check(f64::INFINITY, None);
        check(1e300, None);
        assert_eq!(read(attribute(TOLD_GAP, "0.0001")), None);
    }
}
