//! Kept traces that show what is in a bucket of a series: the newest for each. Offered whole traces by `mod`, which
//! shows them beside the series when Prometheus scrapes.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::kept::KeptTrace;
use super::names::{NodeKind, cut};
use super::peer::Peer;
use super::series::{EdgeKey, SpanKey};
use super::services::kind;
use crate::wire::{SpanKind, SpanRef};

/// Exemplars of one series and side: each bucket's durations are twice those of the one below, so this is a factor of
/// 65,000 from the shortest to the longest. Beyond it the oldest gives way.
const MAX_BUCKETS: usize = 16;
/// In nanoseconds.
const MILLISECOND: u64 = 1_000_000;
/// Of a series with its names, and of the tables, about.
const SERIES_BYTES: usize = 512 + MAX_BUCKETS * size_of::<Exemplar>();

/// A measurement of a kept trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span that was measured; of a gap the client's.
    pub span_id: [u8; 8],
    /// What was measured, nanoseconds.
    pub nanos: u64,
    /// When the span came, Unix nanoseconds.
    pub unix_nano: u64,
}

/// The exemplars of all series.
#[derive(Debug)]
pub(crate) struct Exemplars {
    spans: HashMap<SpanKey, Newest, RandomState>,
    edges: HashMap<EdgeKey, [Newest; 3], RandomState>,
    span_limit: usize,
    edge_limit: usize,
}

/// One for each bucket, in no order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Newest(Vec<Exemplar>);

impl Exemplars {
    /// As many as fit into `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            spans: HashMap::default(),
            edges: HashMap::default(),
            span_limit: bytes / 2 / SERIES_BYTES,
            edge_limit: bytes / 2 / SERIES_BYTES / 3,
        }
    }

    /// Takes what a trace shows, of which nothing more is expected.
    pub(crate) fn offer(&mut self, trace: &KeptTrace) {
        let mut servers: HashMap<[u8; 8], Callee<'_>, RandomState> = HashMap::default();
        for (span, arrived) in trace.arrivals() {
            self.offer_span(&span, arrived);
            if let (SpanKind::Server, Some(parent)) = (span.kind, span.parent_span_id) {
                let callee = servers.entry(parent).or_default();
                callee.spans += 1;
                callee.span = Some(span);
            }
        }
        for (client, arrived) in trace.arrivals() {
            if client.kind == SpanKind::Client {
                let callee = servers.get(&client.span_id);
                self.offer_call(&client, callee, arrived);
            }
        }
    }

    /// Those of a series of spans.
    pub(crate) fn of_spans(&self, key: &SpanKey) -> Vec<Exemplar> {
        self.spans
            .get(key)
            .map(|newest| newest.0.clone())
            .unwrap_or_default()
    }

    /// Those of a series of calls: for the client's, the server's duration and the gap.
    pub(crate) fn of_edge(&self, key: &EdgeKey) -> [Vec<Exemplar>; 3] {
        let newest = self.edges.get(key).cloned().unwrap_or_default();
        newest.map(|newest| newest.0)
    }

    /// Heap bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        (self.spans.len() + 3 * self.edges.len()) * SERIES_BYTES
    }

    /// Forgets what came before a time.
    pub(crate) fn expire(&mut self, oldest_unix_nano: u64) {
        self.spans
            .retain(|_, newest| newest.expire(oldest_unix_nano));
        self.edges.retain(|_, sides| {
            let kept = sides
                .each_mut()
                .map(|newest| newest.expire(oldest_unix_nano));
            kept.contains(&true)
        });
    }

    fn offer_span(&mut self, span: &SpanRef<'_>, unix_nano: u64) {
        let key = SpanKey {
            service: cut(span.resource.service_name).into(),
            kind: kind(span),
            name: cut(span.name).into(),
            status: span.status,
        };
        if self.spans.len() < self.span_limit || self.spans.contains_key(&key) {
            let exemplar = exemplar(span, span.duration_nanos(), unix_nano);
            self.spans.entry(key).or_default().offer(exemplar);
        }
    }

    /// As `edges` counts it: a call with several server spans has no durations.
    fn offer_call(&mut self, client: &SpanRef<'_>, callee: Option<&Callee<'_>>, unix_nano: u64) {
        let nanos = client.duration_nanos();
        let (server, connection, server_nanos) = match callee {
            Some(Callee {
                spans: 1,
                span: Some(server),
            }) => {
                let name = cut(server.resource.service_name).into();
                (name, NodeKind::Service, server.duration_nanos())
            }
            Some(_) => return,
            None => {
                let peer = Peer::of(client);
                let mut name = String::new();
                peer.write_name(&mut name);
                (Arc::from(cut(&name)), peer.kind(), nanos)
            }
        };
        let key = EdgeKey {
            client: cut(client.resource.service_name).into(),
            server,
            connection: connection.into(),
        };
        if self.edges.len() >= self.edge_limit && !self.edges.contains_key(&key) {
            return;
        }
        let [of_client, of_server, of_gap] = self.edges.entry(key).or_default();
        of_client.offer(exemplar(client, nanos, unix_nano));
        let span = callee.and_then(|callee| callee.span);
        of_server.offer(exemplar(
            span.as_ref().unwrap_or(client),
            server_nanos,
            unix_nano,
        ));
        if callee.is_some()
            && let Some(gap) = nanos.checked_sub(server_nanos)
        {
            of_gap.offer(exemplar(client, gap, unix_nano));
        }
    }
}

/// The server spans under a client span.
#[derive(Clone, Copy, Debug, Default)]
struct Callee<'a> {
    spans: usize,
    span: Option<SpanRef<'a>>,
}

impl Newest {
    /// Takes an exemplar in place of its bucket's if it is newer: Prometheus drops another one of the same time, and says so.
    fn offer(&mut self, exemplar: Exemplar) {
        let bucket = exemplar.exponent();
        let same = self.0.iter_mut().find(|known| known.exponent() == bucket);
        if let Some(known) = same {
            if known.unix_millis() < exemplar.unix_millis() {
                *known = exemplar;
            }
            return;
        }
        if self.0.len() >= MAX_BUCKETS {
            let oldest = self
                .0
                .iter()
                .enumerate()
                .min_by_key(|(_, known)| known.unix_nano);
            if let Some((at, _)) = oldest {
                self.0.swap_remove(at);
            }
        }
        self.0.push(exemplar);
    }

    /// Whether any is left.
    fn expire(&mut self, oldest_unix_nano: u64) -> bool {
        self.0
            .retain(|exemplar| exemplar.unix_nano >= oldest_unix_nano);
        !self.0.is_empty()
    }
}

impl Exemplar {
    /// The least power of two of a second that is no shorter: the end of its classic bucket.
    pub fn exponent(&self) -> i32 {
        let seconds = self.nanos.max(1) as f64 / 1e9;
        seconds.log2().ceil() as i32
    }

    /// When the span came, as Prometheus tells times.
    pub fn unix_millis(&self) -> u64 {
        self.unix_nano / MILLISECOND
    }
}

fn exemplar(span: &SpanRef<'_>, nanos: u64, unix_nano: u64) -> Exemplar {
    Exemplar {
        trace_id: span.trace_id,
        span_id: span.span_id,
        nanos,
        unix_nano,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(trace: u8, nanos: u64, unix_nano: u64) -> Exemplar {
        Exemplar {
            trace_id: [trace; 16],
            span_id: [trace; 8],
            nanos,
            unix_nano,
        }
    }

    #[test]
    fn each_bucket_shows_its_newest() {
        let mut newest = Newest::default();
        newest.offer(seen(1, 500_000_000, 10 * MILLISECOND));
        newest.offer(seen(2, 500_000_001, 11 * MILLISECOND));
        newest.offer(seen(3, 1_000_000_000, 12 * MILLISECOND));
        newest.offer(seen(4, 300_000_000, 9 * MILLISECOND));
        assert_eq!(
            newest.0,
            [
                seen(1, 500_000_000, 10 * MILLISECOND),
                seen(3, 1_000_000_000, 12 * MILLISECOND)
            ]
        );
        assert_eq!(
            newest.0.iter().map(Exemplar::exponent).collect::<Vec<_>>(),
            [-1, 0]
        );
        assert!(newest.expire(12 * MILLISECOND));
        assert_eq!(newest.0, [seen(3, 1_000_000_000, 12 * MILLISECOND)]);
        assert!(!newest.expire(13 * MILLISECOND));
    }

    #[test]
    fn of_one_millisecond_the_first_is_shown() {
        let mut newest = Newest::default();
        newest.offer(seen(1, 1_000, 5 * MILLISECOND));
        newest.offer(seen(2, 1_000, 6 * MILLISECOND - 1));
        assert_eq!(newest.0, [seen(1, 1_000, 5 * MILLISECOND)]);
        newest.offer(seen(3, 1_000, 6 * MILLISECOND));
        assert_eq!(newest.0, [seen(3, 1_000, 6 * MILLISECOND)]);
    }

    #[test]
    fn the_oldest_gives_way_when_there_are_too_many() {
        let mut newest = Newest::default();
        for octave in 0..40_u8 {
            newest.offer(seen(octave, 1 << octave, 1_000 - u64::from(octave)));
        }
        assert_eq!(newest.0.len(), MAX_BUCKETS);
        let oldest = newest.0.iter().map(|exemplar| exemplar.unix_nano).min();
        assert_eq!(oldest, Some(1_000 - 39), "the last one came in");
    }
}
