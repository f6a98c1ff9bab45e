//! `bellwether_connections`: the connections that `serve` holds open, counted by its guards, upgraded ones
//! included.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use super::labels::LabelText;
use super::text::{Kind, Text};

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Protocol {
    /// It has not sent a request yet.
    Unknown,
    Http1,
    Http2,
    /// What an HTTP/1 connection became after 101 (a WebSocket), or after a `CONNECT`.
    Upgraded,
}

impl Protocol {
    const ALL: [Self; 4] = [Self::Unknown, Self::Http1, Self::Http2, Self::Upgraded];

    /// The value of the label `protocol`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Upgraded => "upgraded",
        }
    }
}

/// Live connections by protocol; clones share the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections(Arc<[AtomicI64; Protocol::ALL.len()]>);

/// A connection that lives until this is dropped. The default one is in nobody's count.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    counted_in: Connections,
    /// A [`Protocol`].
    protocol: AtomicU8,
}

impl Connections {
    /// A connection whose protocol is yet to be seen.
    pub(crate) fn open(&self) -> OpenConnection {
        self.add(Protocol::Unknown as u8, 1);
        OpenConnection {
            counted_in: self.clone(),
            protocol: AtomicU8::new(Protocol::Unknown as u8),
        }
    }

    pub(super) fn write(&self, text: &mut Text) {
        text.family(
            "bellwether_connections",
            Kind::Gauge,
            None,
            "Connections open on the service's listener, also those upgraded to another protocol",
        );
        for (protocol, count) in Protocol::ALL.into_iter().zip(&*self.0) {
            let labels = LabelText::default().with("protocol", protocol.as_str());
            text.sample(&labels, count.load(Ordering::Relaxed));
        }
    }

    fn add(&self, protocol: u8, change: i64) {
        if let Some(count) = self.0.get(usize::from(protocol)) {
            count.fetch_add(change, Ordering::Relaxed);
        }
    }
}

impl OpenConnection {
    /// It turns out, or changes, what the connection speaks.
    pub(crate) fn speaks(&self, protocol: Protocol) {
        let before = self.protocol.swap(protocol as u8, Ordering::Relaxed);
        self.counted_in.add(before, -1);
        self.counted_in.add(protocol as u8, 1);
    }
}

impl Default for OpenConnection {
    fn default() -> Self {
        Connections::default().open()
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.counted_in.add(*self.protocol.get_mut(), -1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(connections: &Connections) -> [i64; 4] {
        [0, 1, 2, 3].map(|index: usize| connections.0[index].load(Ordering::Relaxed))
    }

    #[test]
    fn a_connection_is_counted_once_under_what_it_speaks_now() {
        let connections = Connections::default();
        let (first, second) = (connections.open(), connections.open());
        assert_eq!(counts(&connections), [2, 0, 0, 0]);
        first.speaks(Protocol::Http1);
        second.speaks(Protocol::Http2);
        assert_eq!(counts(&connections), [0, 1, 1, 0]);
        first.speaks(Protocol::Upgraded);
        assert_eq!(counts(&connections), [0, 0, 1, 1]);
        drop(first);
        drop(second);
        assert_eq!(counts(&connections), [0; 4]);
    }
}
