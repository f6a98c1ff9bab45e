//! `http_server_*`: recorded by `http` for each request.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use hashbrown::Equivalent;

use super::histogram::Histogram;
use super::in_flight::{Counted, InFlight};
use super::labels::LabelText;
use super::size::SizeHistogram;
use super::table::{Labels, Recent, Series, Table};
use super::text::{Kind, Text};
use super::{DURATION_BUCKETS, Exemplar};

/// The metrics of the server side; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ServerMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    measured: Table<Key, Measured>,
    active: Table<ActiveKey, AtomicI64>,
    recently_active: Recent<ActiveKey, AtomicI64>,
    in_flight: InFlight,
}

/// What is measured of the requests of one label set: in one place, so that they are looked for once.
#[derive(Debug)]
struct Measured {
    duration: Histogram,
    request_size: SizeHistogram,
    response_size: SizeHistogram,
}

/// How much was said on either side, in bytes, without heads and trailers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodySizes {
    /// What the caller says in `Content-Length`. `None` without it: a body in chunks, or none at all. The layer
    /// hands the request on with its body as it came, and so does not see how much of it is read.
    pub(crate) request: Option<u64>,
    /// What was sent, whatever became of the response.
    pub(crate) response: u64,
}

/// A request in flight: counted from `started` until dropped.
#[derive(Debug)]
pub(crate) struct ActiveRequest {
    metrics: Arc<Inner>,
    gauge: Arc<Series<AtomicI64>>,
    counted: Counted,
    /// `None`: when this is dropped.
    duration: Option<Duration>,
}

/// What identifies the series of a settled request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerLabels<'a> {
    /// A known method or `_OTHER`.
    pub(crate) method: &'static str,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    pub(crate) route: Option<&'a Arc<str>>,
    pub(crate) status: Option<u16>,
    /// Set when the request failed: the status code as text for 5xx, else the outcome.
    pub(crate) error_type: Option<&'static str>,
    /// Kept with the route by whoever keeps routes.
    pub(crate) recent: Option<&'a RouteSeries>,
}

/// The series of one route.
#[derive(Debug, Default)]
pub(crate) struct RouteSeries(Recent<OfRoute, Measured>);

/// What tells the series of one route apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OfRoute {
    status: Option<u16>,
    method: Word,
    scheme: Word,
    error_type: Option<Word>,
}

/// One of a few words. Nearly always the very same that it is compared with, which is seen without a look at its
/// bytes.
#[derive(Clone, Copy, Debug, Eq)]
struct Word(&'static str);

impl Hash for Word {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Word {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0) || self.0 == other.0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    method: &'static str,
    scheme: &'static str,
    route: Option<Arc<str>>,
    status: Option<u16>,
    error_type: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ActiveKey {
    method: Word,
    scheme: Word,
}

const DURATION: &str = "http_server_request_duration_seconds";
const REQUEST_SIZE: &str = "http_server_request_body_size_bytes";
const RESPONSE_SIZE: &str = "http_server_response_body_size_bytes";

impl Default for Measured {
    fn default() -> Self {
        Self {
            duration: Histogram::new(&DURATION_BUCKETS),
            request_size: SizeHistogram::default(),
            response_size: SizeHistogram::default(),
        }
    }
}

impl Measured {
    fn observe(&self, duration: Duration, sizes: BodySizes, exemplar: Option<Exemplar>) {
        self.duration.observe(duration, exemplar);
        if let Some(bytes) = sizes.request {
            self.request_size.observe(bytes);
        }
        self.response_size.observe(sizes.response);
    }
}

impl Default for ServerMetrics {
    fn default() -> Self {
        Self(Arc::new(Inner {
            measured: Table::new(DURATION, Measured::default),
            active: Table::new("http_server_active_requests", AtomicI64::default),
            recently_active: Recent::default(),
            in_flight: InFlight::new(),
        }))
    }
}

impl ServerMetrics {
    /// Counts a request as active until the returned guard is dropped.
    pub(crate) fn started(
        &self,
        method: &'static str,
        scheme: &'static str,
        at: Instant,
    ) -> ActiveRequest {
        let key = ActiveKey {
            method: Word(method),
            scheme: Word(scheme),
        };
        let Inner {
            active,
            recently_active,
            ..
        } = &*self.0;
        let gauge = recently_active.get(&key).cloned();
        let gauge = gauge.unwrap_or_else(|| {
            let gauge = active.with(&key, Arc::clone);
            if !active.is_overflow(&gauge) {
                recently_active.keep(key, &gauge);
            }
            gauge
        });
        gauge.value.fetch_add(1, Ordering::Relaxed);
        ActiveRequest {
            metrics: Arc::clone(&self.0),
            gauge,
            counted: self.0.in_flight.started(at),
            duration: None,
        }
    }

    /// Records a settled request.
    pub(crate) fn settled(
        &self,
        labels: ServerLabels<'_>,
        duration: Duration,
        sizes: BodySizes,
        exemplar: Option<Exemplar>,
    ) {
        let measured = &self.0.measured;
        let Some(RouteSeries(recent)) = labels.recent else {
            return measured.with(&labels, |series| {
                series.value.observe(duration, sizes, exemplar);
            });
        };
        let key = labels.of_route();
        if let Some(series) = recent.get(&key) {
            return series.value.observe(duration, sizes, exemplar);
        }
        measured.with(&labels, |series| {
            series.value.observe(duration, sizes, exemplar);
            if !measured.is_overflow(series) {
                recent.keep(key, series);
            }
        });
    }

    /// The time integral of requests in flight, in seconds; never goes back.
    pub(super) fn active_seconds(&self) -> f64 {
        self.0.in_flight.seconds()
    }

    /// Requests in flight, of all methods and schemes, for tests of those who start them.
    #[cfg(test)]
    pub(crate) fn active_total(&self) -> i64 {
        self.0
            .active
            .all()
            .iter()
            .map(|series| series.value.load(Ordering::Relaxed))
            .sum()
    }

    /// Requests settled, for tests of those who settle them.
    #[cfg(test)]
    pub(crate) fn settled_total(&self) -> u64 {
        self.0
            .measured
            .all()
            .iter()
            .map(|series| series.value.duration.count())
            .sum()
    }

    pub(super) fn write(&self, text: &mut Text) {
        let measured = self.0.measured.all();
        text.durations(
            DURATION,
            "Duration of HTTP server requests, to the end of the response body",
            &measured,
            |measured| &measured.duration,
        );
        text.sizes(
            REQUEST_SIZE,
            "Size of HTTP server request bodies, as their Content-Length says; without one, not counted",
            &measured,
            |measured| &measured.request_size,
        );
        text.sizes(
            RESPONSE_SIZE,
            "Size of HTTP server response bodies, as far as they were sent",
            &measured,
            |measured| &measured.response_size,
        );
        text.family(
            self.0.active.metric(),
            Kind::Gauge,
            None,
            "Number of HTTP server requests in flight",
        );
        for series in self.0.active.all() {
            text.sample(&series.labels, series.value.load(Ordering::Relaxed));
        }
        text.family(
            "http_server_active_request_seconds",
            Kind::Counter,
            Some("seconds"),
            "Time integral of HTTP server requests in flight; its rate is the mean concurrency",
        );
        text.sample(&LabelText::default(), self.active_seconds());
    }

    /// Requests beyond the series limit, per metric. Duration and sizes share their series, and so their
    /// limit: the one name stands for the three.
    pub(super) fn overflowed(&self) -> [(&'static str, u64); 2] {
        let Inner {
            measured, active, ..
        } = &*self.0;
        [
            (measured.metric(), measured.overflowed()),
            (active.metric(), active.overflowed()),
        ]
    }
}

impl ActiveRequest {
    /// Ends so long after it started, which the caller has read the clock for.
    pub(crate) fn ended_after(mut self, duration: Duration) {
        self.duration = Some(duration);
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let in_flight = &self.metrics.in_flight;
        match self.duration {
            Some(duration) => in_flight.ended_after(self.counted, duration),
            None => in_flight.ended(self.counted),
        }
        self.gauge.value.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ServerLabels<'_> {
    fn of_route(&self) -> OfRoute {
        OfRoute {
            status: self.status,
            method: Word(self.method),
            scheme: Word(self.scheme),
            error_type: self.error_type.map(Word),
        }
    }

    /// What a borrowed and an owned key have in common, for hash and equality.
    fn parts(&self) -> Parts<'_> {
        (
            self.method,
            self.scheme,
            self.route.map(|route| &**route),
            self.status,
            self.error_type,
        )
    }
}

impl Key {
    fn parts(&self) -> Parts<'_> {
        (
            self.method,
            self.scheme,
            self.route.as_deref(),
            self.status,
            self.error_type,
        )
    }
}

type Parts<'a> = (
    &'static str,
    &'static str,
    Option<&'a str>,
    Option<u16>,
    Option<&'static str>,
);

/// Of what varies most; equality compares the rest.
fn hash_parts<H: Hasher>((method, _, route, status, _): Parts<'_>, state: &mut H) {
    method.hash(state);
    route.hash(state);
    status.hash(state);
}

impl Hash for ServerLabels<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_parts(self.parts(), state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_parts(self.parts(), state);
    }
}

impl Equivalent<Key> for ServerLabels<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.parts() == key.parts()
    }
}

impl Labels<Key> for ServerLabels<'_> {
    fn to_key(&self) -> Key {
        Key {
            method: self.method,
            scheme: self.scheme,
            route: self.route.cloned(),
            status: self.status,
            error_type: self.error_type,
        }
    }

    fn to_text(&self) -> LabelText {
        LabelText::default()
            .with("http_request_method", self.method)
            .with("url_scheme", self.scheme)
            .with_some("http_route", self.route.map(|route| &**route))
            .with_number("http_response_status_code", self.status)
            .with_some("error_type", self.error_type)
    }
}

impl Labels<Self> for ActiveKey {
    fn to_key(&self) -> Self {
        *self
    }

    fn to_text(&self) -> LabelText {
        LabelText::default()
            .with("http_request_method", self.method.0)
            .with("url_scheme", self.scheme.0)
    }
}
