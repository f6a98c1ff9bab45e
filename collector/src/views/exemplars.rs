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
/// Room is made for so many at a time: most series have few.
const STEP: usize = 2;
/// Of a series in its table, which may be half empty, beside its names.
const SPAN_BYTES: usize = 2 * size_of::<(SpanKey, Newest)>();
const EDGE_BYTES: usize = 2 * size_of::<(EdgeKey, [Newest; 3])>();
/// What a new series with names of 100 bytes takes, or one more step of another, at the most.
const MORE_BYTES: usize = 1_024;

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
    bytes: usize,
    limit: usize,
}

/// One for each bucket, in no order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Newest(Vec<Exemplar>);

impl Exemplars {
    /// As many as fit into `limit` bytes: beyond it no series is taken that has none yet, and others get no more than they
    /// have.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            spans: HashMap::default(),
            edges: HashMap::default(),
            bytes: 0,
            limit,
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
        self.bytes
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
        let spans = self.spans.iter();
        let spans = spans.map(|(key, newest)| SPAN_BYTES + key.bytes() + newest.bytes());
        let edges = self.edges.iter();
        let edges = edges.map(|(key, sides)| {
            EDGE_BYTES + key.bytes() + sides.iter().map(Newest::bytes).sum::<usize>()
        });
        self.bytes = spans.chain(edges).sum();
    }

    fn offer_span(&mut self, span: &SpanRef<'_>, unix_nano: u64) {
        let key = SpanKey {
            service: cut(span.resource.service_name).into(),
            kind: kind(span),
            name: cut(span.name).into(),
            status: span.status,
        };
        let exemplar = exemplar(span, span.duration_nanos(), unix_nano);
        let has_room = self.has_room();
        if let Some(newest) = self.spans.get_mut(&key) {
            self.bytes += newest.offer(exemplar, has_room);
        } else if has_room {
            let bytes = SPAN_BYTES + key.bytes();
            let newest = self.spans.entry(key).or_default();
            self.bytes += bytes + newest.offer(exemplar, has_room);
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
        let has_room = self.has_room();
        if !self.edges.contains_key(&key) {
            if !has_room {
                return;
            }
            self.bytes += EDGE_BYTES + key.bytes();
        }
        let [of_client, of_server, of_gap] = self.edges.entry(key).or_default();
        self.bytes += of_client.offer(exemplar(client, nanos, unix_nano), has_room);
        let span = callee.and_then(|callee| callee.span);
        let span = span.as_ref().unwrap_or(client);
        self.bytes += of_server.offer(exemplar(span, server_nanos, unix_nano), has_room);
        if callee.is_some()
            && let Some(gap) = nanos.checked_sub(server_nanos)
        {
            self.bytes += of_gap.offer(exemplar(client, gap, unix_nano), has_room);
        }
    }

    fn has_room(&self) -> bool {
        self.bytes + MORE_BYTES <= self.limit
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
    /// Without room the oldest gives way. The bytes that it takes more.
    fn offer(&mut self, exemplar: Exemplar, has_room: bool) -> usize {
        let before = self.bytes();
        let bucket = exemplar.exponent();
        let same = self.0.iter_mut().find(|known| known.exponent() == bucket);
        if let Some(known) = same {
            if known.unix_millis() < exemplar.unix_millis() {
                *known = exemplar;
            }
            return 0;
        }
        if self.0.len() >= MAX_BUCKETS || (self.0.len() == self.0.capacity() && !has_room) {
            let known = self.0.iter().enumerate();
            let Some((oldest, _)) = known.min_by_key(|(_, known)| known.unix_nano) else {
                return 0;
            };
            self.0.swap_remove(oldest);
        }
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(STEP);
        }
        self.0.push(exemplar);
        self.bytes() - before
    }

    /// Heap bytes held.
    fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Exemplar>()
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
    use std::time::Duration;

    use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;

    use super::*;
    use crate::views::{Config, Views, lock};
    use crate::wire::{test_support, walk};

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
        newest.offer(seen(1, 500_000_000, 10 * MILLISECOND), true);
        newest.offer(seen(2, 500_000_001, 11 * MILLISECOND), true);
        newest.offer(seen(3, 1_000_000_000, 12 * MILLISECOND), true);
        newest.offer(seen(4, 300_000_000, 9 * MILLISECOND), true);
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
        newest.offer(seen(5, 900_000_000, 12 * MILLISECOND), true);
        assert_eq!(
            newest.0[1],
            seen(3, 1_000_000_000, 12 * MILLISECOND),
            "no newer"
        );
        assert!(newest.expire(12 * MILLISECOND));
        assert_eq!(newest.0, [seen(3, 1_000_000_000, 12 * MILLISECOND)]);
        assert!(!newest.expire(13 * MILLISECOND));
    }

    #[test]
    fn of_one_millisecond_the_first_is_shown() {
        let mut newest = Newest::default();
        newest.offer(seen(1, 1_000, 5 * MILLISECOND), true);
        newest.offer(seen(2, 1_000, 6 * MILLISECOND - 1), true);
        assert_eq!(newest.0, [seen(1, 1_000, 5 * MILLISECOND)]);
        newest.offer(seen(3, 1_000, 6 * MILLISECOND), true);
        assert_eq!(newest.0, [seen(3, 1_000, 6 * MILLISECOND)]);
    }

    #[test]
    fn the_oldest_gives_way_when_there_are_too_many() {
        let mut newest = Newest::default();
        for octave in 0..40_u8 {
            newest.offer(seen(octave, 1 << octave, 1_000 - u64::from(octave)), true);
        }
        assert_eq!(newest.0.len(), MAX_BUCKETS);
        let mut kept: Vec<_> = newest.0.iter().map(|exemplar| exemplar.unix_nano).collect();
        kept.sort_unstable();
        // The last one came in; the newest of the others have stayed.
        let want: Vec<_> = std::iter::once(1_000 - 39)
            .chain(1_000 - 14..=1_000)
            .collect();
        assert_eq!(kept, want);
    }

    const T0: u64 = 1_800_000_000_000_000_000;

    /// Views in which these spans of `shop` and of `stock`, 5 s each, are kept traces that were looked at.
    fn looked_at(view_bytes: usize, spans: &[(&str, u64, u64, u64, Kind)]) -> Views {
        let views = Views::new(Config {
            retention: Duration::from_secs(3_600),
            trace_bytes: 1 << 20,
            view_bytes,
        });
        for &(service, trace, id, parent, kind) in spans {
            let mut span = test_support::span(trace.into(), id, parent);
            span.kind = kind.into();
            span.name = format!("{service} {trace}");
            span.attributes = vec![test_support::attribute("server.address", "pay.example")];
            let bytes =
                test_support::encode(vec![test_support::resource_spans(service, vec![span])]);
            walk(&bytes, |span| views.count(&[span], T0)).unwrap();
        }
        views.tick(T0 + 15_000_000_000);
        views
    }

    #[test]
    fn calls_show_the_sides_that_were_measured() {
        let spans = [
            ("shop", 1, 1, 0, Kind::Client),
            ("stock", 1, 2, 1, Kind::Server),
            ("stock", 1, 3, 1, Kind::Server),
            ("shop", 2, 1, 0, Kind::Client),
            ("shop", 3, 1, 0, Kind::Producer),
            ("mail", 3, 2, 1, Kind::Consumer),
        ];
        let views = looked_at(8 << 20, &spans);
        let exemplars = lock(&views.exemplars);
        let edges: Vec<_> = exemplars
            .edges
            .iter()
            .map(|(key, sides)| (&*key.server, sides.each_ref().map(|side| side.0.len())))
            .collect();
        // Neither a retried call nor a message has durations of two sides; nor has a gap what was not answered.
        assert_eq!(edges, [("pay.example", [1, 1, 0])]);
    }

    #[test]
    fn there_are_no_more_series_than_fit() {
        let calls: Vec<_> = (1..=40)
            .map(|trace| ("shop", trace, 1, 0, Kind::Client))
            .collect();
        let kept = |limit: usize| {
            let views = looked_at(limit * crate::views::EXEMPLARS_SHARE, &calls);
            let exemplars = lock(&views.exemplars);
            let series = exemplars.spans.len() + exemplars.edges.len();
            (series, exemplars.bytes())
        };
        assert_eq!(kept(1 << 20).0, 41);
        let limit = 8 << 10;
        let (series, bytes) = kept(limit);
        assert!((10..40).contains(&series), "{series}");
        assert!(bytes <= limit && bytes > limit - 2 * MORE_BYTES, "{bytes}");
        assert_eq!(kept(MORE_BYTES - 1), (0, 0));
    }

    #[test]
    fn without_room_nothing_grows() {
        let mut newest = Newest::default();
        assert_eq!(newest.offer(seen(1, 1_000, 10), false), 0);
        assert!(newest.0.is_empty());
        assert_eq!(newest.offer(seen(1, 1_000, 10), true), newest.bytes());
        let held = newest.bytes();
        for octave in 11..30 {
            assert_eq!(newest.offer(seen(2, 1 << octave, octave), false), 0);
        }
        assert_eq!(newest.bytes(), held);
        let last = newest.0.iter().map(|exemplar| exemplar.unix_nano).max();
        assert_eq!(last, Some(29), "the newest ones stay");
    }
}
