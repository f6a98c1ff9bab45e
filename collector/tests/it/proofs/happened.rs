//! What happened: random requests with all their calls, in true time. The offline side of every proof starts from this, and
//! from nothing that the views made of it.

use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use rand::Rng as _;

use super::{Random, text};

pub(super) const SERVICES: [&str; 4] = ["api", "cart", "bank", "mail"];
const NAMES: [&str; 2] = ["GET /", "POST /"];
pub(super) const DATABASE: &str = "postgresql:orders";

/// As `Span.SpanKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// A span as it was; times in nanoseconds since its trace began.
#[derive(Clone, Debug)]
pub(super) struct Happened {
    pub(super) service: usize,
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    /// Its place in the trace.
    pub(super) parent: Option<usize>,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Whom it calls, if it says so.
    pub(super) peer: Option<&'static str>,
    pub(super) failed: bool,
}

/// What may happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Waiting times are below this power of two, in nanoseconds.
    pub(super) magnitude: u32,
    /// Calls side by side.
    pub(super) parallel: bool,
    /// Callers that give up before their server has finished.
    pub(super) given_up: bool,
    /// Tried again, and messages.
    pub(super) retries: bool,
}

impl Happened {
    pub(super) fn nanos(&self) -> u64 {
        self.end - self.start
    }

    /// Whether it stands for a request that came into its service.
    pub(super) fn is_entry(&self) -> bool {
        matches!(self.kind, Kind::Server | Kind::Consumer) || self.parent.is_none()
    }

    /// As its sender sends it, by a clock at which its trace began at `epoch`. Ids are places, from 1.
    pub(super) fn sent(&self, trace: u64, place: usize, epoch: u64) -> Span {
        let id = |place: usize| (place as u64 + 1).to_be_bytes().to_vec();
        let peer = self.peer.map(|peer| match peer {
            DATABASE => vec![
                text("db.system.name", "postgresql"),
                text("db.namespace", "orders"),
            ],
            service => vec![text("peer.service", service)],
        });
        Span {
            trace_id: u128::from(trace).to_be_bytes().into(),
            span_id: id(place),
            parent_span_id: self.parent.map(id).unwrap_or_default(),
            kind: self.kind as i32,
            name: self.name.to_owned(),
            start_time_unix_nano: epoch + self.start,
            end_time_unix_nano: epoch + self.end,
            attributes: peer.unwrap_or_default(),
            status: self.failed.then(|| Status {
                code: 2,
                ..Status::default()
            }),
            ..Span::default()
        }
    }
}

/// A request with everything that was done for it; its own span comes first.
pub(super) fn request(random: &mut Random, shape: Shape) -> Vec<Happened> {
    let mut trace = Trace {
        random,
        shape,
        spans: Vec::new(),
    };
    let service = trace.random.random_range(0..SERVICES.len());
    trace.serve(None, service, Kind::Server, 0, 3);
    trace.spans
}

struct Trace<'a> {
    random: &'a mut Random,
    shape: Shape,
    spans: Vec<Happened>,
}

impl Trace<'_> {
    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// Some time, short and long ones alike, often none.
    fn time(&mut self) -> u64 {
        let bits = self.random.random_range(0..self.shape.magnitude);
        self.random.random_range(0..1 << bits)
    }

    fn begin(&mut self, parent: Option<usize>, service: usize, kind: Kind, start: u64) -> usize {
        let name = NAMES[self.random.random_range(0..NAMES.len())];
        self.spans.push(Happened {
            service,
            kind,
            name,
            parent,
            start,
            end: start,
            peer: None,
            failed: self.random.random_range(0..10) == 0,
        });
        self.spans.len() - 1
    }

    /// Work of a service with calls in it, some of them at once; when it ended.
    fn serve(
        &mut self,
        parent: Option<usize>,
        service: usize,
        kind: Kind,
        start: u64,
        depth: u32,
    ) -> u64 {
        let span = self.begin(parent, service, kind, start);
        let mut now = start + self.time();
        for _ in 0..self.random.random_range(0..3_u32).min(depth) {
            let at_once = if self.shape.parallel {
                self.random.random_range(1..4)
            } else {
                1
            };
            let mut last = now;
            for _ in 0..at_once {
                let start = if at_once > 1 { now + self.time() } else { now };
                last = last.max(self.call(span, service, start, depth - 1));
            }
            now = last + self.time();
        }
        self.spans[span].end = now;
        now
    }

    /// A call, or what a service does by itself; when the caller went on.
    fn call(&mut self, parent: usize, service: usize, start: u64, depth: u32) -> u64 {
        let callee = self.random.random_range(0..SERVICES.len());
        let says_whom = self.chance(70);
        let what = self.random.random_range(0..100);
        let (kind, tries) = match what {
            0..10 => return self.serve(Some(parent), service, Kind::Internal, start, depth),
            10..25 => {
                let span = self.begin(Some(parent), service, Kind::Client, start);
                let end = start + self.time();
                (self.spans[span].end, self.spans[span].peer) = (end, Some(DATABASE));
                return end;
            }
            25..40 if self.shape.retries => (Kind::Producer, self.random.random_range(1..3)),
            40..55 if self.shape.retries => (Kind::Client, self.random.random_range(2..4)),
            _ => (Kind::Client, 1),
        };
        let span = self.begin(Some(parent), service, kind, start);
        self.spans[span].peer = says_whom.then_some(SERVICES[callee]);
        let mut now = start + self.time();
        // Who hands a message on does not wait for those who take it.
        let handed_on = now;
        let server = if kind == Kind::Producer {
            Kind::Consumer
        } else {
            Kind::Server
        };
        let mut last = now;
        for _ in 0..tries {
            last = now;
            now = self.serve(Some(span), callee, server, now, depth);
            now += self.time();
        }
        if kind == Kind::Producer {
            now = handed_on;
        } else if self.shape.given_up && self.chance(15) {
            now = last;
        }
        self.spans[span].end = now;
        now
    }
}
