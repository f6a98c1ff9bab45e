//! The recorder: a request's hidden events are kept while it runs, and printed when it fails or is slow. `events`
//! keeps them, `logger` prints before the line that closes the request.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::Targets;

use super::clock::since_epoch;
use super::fields::SpanFields;
use super::format::{Head, Ids, MESSAGE, Message};
use super::kept;
use super::line::Line;
use super::logger::Counts;
use super::place::Place;
use super::ring::{EVENT_BYTES, Kept, Leaf, Ring, Scope};
use super::value::Value;
use super::{Logger, RequestLine};
use crate::context::RequestContext;

/// Crates whose events are about themselves: not recorded unless asked for. In order; `docs/log-control.md`
/// lists them.
const INFRASTRUCTURE: [&str; 31] = [
    "async_compression",
    "axum",
    "axum_core",
    "axum_server",
    "h2",
    "hickory_proto",
    "hickory_resolver",
    "hyper",
    "hyper_rustls",
    "hyper_tls",
    "hyper_util",
    "matchit",
    "mio",
    "opentelemetry",
    "opentelemetry_http",
    "opentelemetry_otlp",
    "opentelemetry_sdk",
    "polling",
    "quinn",
    "reqwest",
    "runtime",
    "rustls",
    "tokio",
    "tokio_rustls",
    "tokio_util",
    "tonic",
    "tower",
    "tower_http",
    "tracing",
    "want",
    "webpki",
];

/// Room is taken out of the total by this much at a time: requests seldom meet at the counter.
const CHARGE_BYTES: usize = 1024;

/// How many emptied rings wait to be used again.
const SPARE_RINGS: usize = 128;

/// The least that a request may keep: an event with a short text.
pub(crate) const MIN_REQUEST_BYTES: usize = 1024;

/// What is recorded, how much of it, and when it is printed.
#[derive(Clone, Debug)]
pub(crate) struct RecorderConfig {
    pub(crate) recorded: Recorded,
    /// Requests that take so long have their events printed. `None`: only those that fail.
    pub(crate) slow: Option<Duration>,
    /// Kept at most for one request; [`MIN_REQUEST_BYTES`] at least.
    pub(crate) request_bytes: usize,
    /// Kept at most for all requests together.
    pub(crate) total_bytes: usize,
}

/// Which of the hidden events are recorded.
#[derive(Clone, Debug)]
pub(crate) enum Recorded {
    /// `DEBUG` and above, but for those of [`INFRASTRUCTURE`].
    Service,
    /// What these directives say.
    Only(Targets),
}

impl fmt::Display for Recorded {
    /// As `BELLWETHER_RECORDER` is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => f.write_str("debug, but for infrastructure"),
            Self::Only(directives) => directives.fmt(f),
        }
    }
}

impl Default for RecorderConfig {
    fn default() -> Self {
        Self {
            recorded: Recorded::Service,
            slow: Some(Duration::from_secs(1)),
            request_bytes: 16 * 1024,
            total_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Boxed as they are in requests, whose contexts stay small.
type Spare = Vec<Box<Ring>>;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Recorder {
    config: RecorderConfig,
    /// Of the total, what requests have taken.
    charged: AtomicUsize,
    spare: Mutex<Spare>,
    counts: Arc<Counts>,
}

impl Recorder {
    pub(super) fn new(config: RecorderConfig, counts: Arc<Counts>) -> Self {
        Self {
            config,
            charged: AtomicUsize::new(0),
            spare: Mutex::default(),
            counts,
        }
    }

    /// Whether events of this target and level are recorded, when they are not printed.
    pub(super) fn wants(&self, target: &str, level: Level) -> bool {
        match &self.config.recorded {
            Recorded::Service => level <= Level::DEBUG && !is_infrastructure(target),
            Recorded::Only(directives) => directives.would_enable(target, &level),
        }
    }

    /// The most verbose level of which anything may be recorded.
    pub(super) fn max_level(&self) -> LevelFilter {
        match &self.config.recorded {
            Recorded::Service => LevelFilter::DEBUG,
            Recorded::Only(directives) => {
                let levels = directives.iter().map(|(_, level)| level);
                let levels = levels.chain(directives.default_level());
                levels.max().unwrap_or(LevelFilter::OFF)
            }
        }
    }

    /// The longest that an event's fields may be.
    pub(super) fn event_bytes(&self) -> usize {
        // The rest is for what is kept of the event besides them, and of its spans.
        self.config.request_bytes / 2
    }

    /// The longest that the fields of an event's spans may be.
    fn scope_bytes(&self) -> usize {
        self.config.request_bytes / 4
    }

    #[cfg(test)]
    pub(super) fn charged(&self) -> usize {
        self.charged.load(Ordering::Relaxed)
    }

    fn spare(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recycle(&self, mut ring: Box<Ring>) {
        ring.clear();
        let mut spare = self.spare();
        if spare.len() < SPARE_RINGS {
            spare.push(ring);
        }
    }
}

fn is_infrastructure(target: &str) -> bool {
    let name = target.split("::").next().unwrap_or(target);
    INFRASTRUCTURE.binary_search(&name).is_ok()
}

/// What was taken out of the total; given back when dropped.
#[derive(Debug)]
struct Charge {
    recorder: Arc<Recorder>,
    bytes: usize,
}

impl Charge {
    /// Makes sure that `bytes` are covered; false when the total does not allow it.
    fn cover(&mut self, bytes: usize) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        let more = (bytes - self.bytes).next_multiple_of(CHARGE_BYTES);
        let total = self.recorder.config.total_bytes;
        let take = |charged: usize| charged.checked_add(more).filter(|sum| *sum <= total);
        let taken = self
            .recorder
            .charged
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        if taken.is_ok() {
            self.bytes += more;
        }
        taken.is_ok()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.recorder
            .charged
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Counts changes of spans that belong to no request known: any request's may be inside them.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// The fields of a span have changed, and nobody knows whose it is.
pub(super) fn spans_changed_somewhere() {
    CHANGES.fetch_add(1, Ordering::Relaxed);
}

/// The events of one request, in its context.
#[derive(Debug, Default)]
pub(crate) struct Recording(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// Nothing recorded yet: no ring.
    #[default]
    Idle,
    Open(Open),
    /// The request has settled.
    Closed,
}

/// Events kept of a request.
#[derive(Debug)]
pub(super) struct Open {
    ring: Box<Ring>,
    charge: Charge,
    /// The [`CHANGES`] that the last scope knows of.
    changes: u64,
}

/// An event to be kept.
#[derive(Clone, Copy)]
pub(super) struct NewEvent<'a> {
    pub(super) at: SystemTime,
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) fields: &'a [u8],
}

impl Recording {
    // A lock a request, hardly ever waited for: its events come from one task at a time unless it spawns some.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an event of the place that the event before it was at: nothing needs to be asked of the spans
    /// then. False when that was somewhere else, or the spans' fields have changed since.
    pub(super) fn keep_in_same_place(&self, place: Place, event: NewEvent<'_>) -> bool {
        match &mut *self.lock() {
            State::Open(open) if open.is_current() && open.ring.is_at(place) => {
                open.keep(event);
                true
            }
            State::Open(_) | State::Idle => false,
            // A request that has settled keeps nothing.
            State::Closed => true,
        }
    }

    /// Keeps an event of a span; `fill` adds the fields of that span and of those around it, when they are
    /// not those of the event before.
    pub(super) fn keep(
        &self,
        recorder: &Arc<Recorder>,
        leaf: Leaf,
        place: Option<Place>,
        fill: impl FnOnce(&mut SpanFields, usize),
        event: NewEvent<'_>,
    ) {
        let mut state = self.lock();
        if let State::Idle = *state {
            *state = State::Open(Open::new(recorder));
        }
        let State::Open(open) = &mut *state else {
            return;
        };
        if !(open.is_current() && open.ring.is_in(&leaf, place)) {
            let bytes = recorder.scope_bytes();
            open.changes = CHANGES.load(Ordering::Relaxed);
            open.ring.enter(leaf, place, |fields| fill(fields, bytes));
        }
        open.keep(event);
    }

    /// The fields of one of the request's spans have changed.
    pub(super) fn spans_changed(&self) {
        if let State::Open(open) = &mut *self.lock() {
            open.ring.forget_last_scope();
        }
    }

    /// Ends the recording; what was kept, if anything was.
    pub(super) fn close(&self) -> Option<Open> {
        match mem::replace(&mut *self.lock(), State::Closed) {
            State::Open(open) => Some(open),
            State::Idle | State::Closed => None,
        }
    }
}

impl Open {
    fn new(recorder: &Arc<Recorder>) -> Self {
        Self {
            ring: recorder.spare().pop().unwrap_or_default(),
            charge: Charge {
                recorder: Arc::clone(recorder),
                bytes: 0,
            },
            changes: 0,
        }
    }

    fn is_current(&self) -> bool {
        self.changes == CHANGES.load(Ordering::Relaxed)
    }

    fn keep(&mut self, event: NewEvent<'_>) {
        let recorder = &self.charge.recorder;
        let limit = recorder.config.request_bytes;
        self.ring.make_room(event.fields.len(), limit);
        let used = self.ring.used() + event.fields.len() + EVENT_BYTES;
        if used > limit || !self.charge.cover(used) {
            self.charge.recorder.counts.recorder_full();
            self.ring.leave_unused_scope();
            return;
        }
        self.ring.push(event.at, event.metadata, event.fields);
    }

    /// Prints the events if the request was slow or failed.
    pub(super) fn settle(self, logger: &Logger, line: &RequestLine<'_>) -> Option<Told> {
        let Self { ring, charge, .. } = self;
        let recorder = &charge.recorder;
        let slow = recorder.config.slow;
        let slow = slow.is_some_and(|slow| line.duration >= slow);
        let told = (slow || line.outcome.is_failure()).then(|| {
            for (event, scope, fields) in ring.events() {
                print(logger, line.context, event, scope, fields);
            }
            Told {
                recorded: ring.len() as u64,
                dropped: ring.dropped(),
            }
        });
        recorder.recycle(ring);
        told
    }
}

/// What the closing line says of the events printed before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    recorded: u64,
    /// Fell out of the ring.
    dropped: u64,
}

impl Told {
    pub(super) fn fields(self, line: &mut Line<'_>) {
        line.field("recorder.recorded", &Value::U64(self.recorded));
        if self.dropped > 0 {
            line.field("recorder.dropped", &Value::U64(self.dropped));
        }
    }
}

fn print(
    logger: &Logger,
    context: &RequestContext,
    event: &Kept,
    scope: Option<&Scope>,
    fields: &[u8],
) {
    let metadata = event.metadata;
    let mut message = None;
    kept::decode(metadata, fields, |name, value| {
        if name == MESSAGE {
            // Writing to memory does not fail.
            let _ = value.write(message.get_or_insert_with(String::new));
        }
    });
    let span_id = scope.and_then(Scope::span_id);
    let head = Head {
        at: since_epoch(event.at),
        level: *metadata.level(),
        target: metadata.target(),
        message: Message::Recorded(message.as_deref(), metadata),
        ids: Some(Ids::new(context, span_id.unwrap_or(context.span_id))),
    };
    logger.write(&head, |line| {
        kept::decode(metadata, fields, |name, value| {
            if name != MESSAGE {
                line.field(name, value);
            }
        });
        // Behind the event's own fields, one of which may have this name.
        line.field("recorded", &Value::Bool(true));
        if let Some(scope) = scope {
            line.span(&scope.fields);
        }
    });
}

#[cfg(test)]
impl Recording {
    /// What is kept now.
    pub(super) fn bytes(&self) -> usize {
        match &*self.lock() {
            State::Open(open) => open.ring.used(),
            State::Idle | State::Closed => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_infrastructure_is_in_order_and_documented() {
        let documentation = include_str!("../../docs/log-control.md");
        assert!(INFRASTRUCTURE.is_sorted());
        for name in INFRASTRUCTURE {
            assert!(is_infrastructure(name) && is_infrastructure(&format!("{name}::inside")));
            assert!(documentation.contains(&format!("`{name}`")), "{name}");
        }
        assert!(!is_infrastructure("towers") && !is_infrastructure(""));
    }
}
