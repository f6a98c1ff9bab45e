//! What the collector shows: services, operations, the edges between them with the network gap, and kept
//! traces. `intake` counts spans in, `web` reads reports out.
//!
//! A report copies what it needs under a lock and is worked out outside it, so that reading never holds up counting
//! for long.

pub mod cumulative;
pub mod exemplars;
pub mod report;
pub mod rfc3339;
pub mod scale;
pub mod series;

mod call;
mod clock;
mod compare;
mod critical_path;
mod distribution;
mod doctor;
mod edges;
mod evidence;
mod examples;
mod favoured;
mod figures;
mod glance;
mod halves;
mod heatmap;
mod histogram;
mod kept;
mod names;
mod nearest;
mod neighbours;
mod packed;
mod pairing;
mod parts;
mod paths;
mod peer;
mod relations;
mod sample;
mod scrape;
mod search;
mod services;
mod share;
mod shelf;
mod snapshots;
mod stats;
mod traces;
mod tree;
mod varint;
mod window;
mod zipkin_query;

#[cfg(test)]
mod border_tests;
#[cfg(test)]
mod compare_tests;
#[cfg(test)]
mod edge_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use glance::WidestGap;
pub use search::{Order, TraceQuery};

use exemplars::Exemplars;
use heatmap::{Asked, Grid};
pub use parts::{MAX_PARTS, Split};
use paths::Paths;
use report::{
    CriticalPathReport, EdgeReport, Finding, Heatmap, LargestPart, Map, OperationReport,
    ServiceReport, Trace, TraceSummary, ViewsStatus, Window,
};
use search::Sought;
use snapshots::OperationSnapshot;
use stats::Stats;
use tokio::sync::watch;
use traces::Traces;

use crate::status::now_unix_nano;
use crate::wire::SpanRef;
pub(crate) use kept::KeptTrace;

/// Part of the views' bytes that the samples of critical paths may take; what they leave of it is the slots'.
const PATHS_SHARE: usize = 8;
/// Part of the views' bytes that the exemplars of Prometheus' series may take, likewise.
const EXEMPLARS_SHARE: usize = 16;
/// So many traces are looked at for these samples before the kept traces can be counted into again: a fraction of a
/// millisecond.
const LOOKED_AT: usize = 20;
/// The window moves at most so often.
const MOVE_NANOS: u64 = 1_000_000_000;

/// Bounds of the views.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How far back windows reach (default 1 h).
    pub retention: Duration,
    /// Bytes of kept traces.
    pub trace_bytes: usize,
    /// Bytes of histograms, edges and pending pairs.
    pub view_bytes: usize,
}

/// The views; shared by reference, all methods take `&self`.
#[derive(Debug)]
pub struct Views {
    retention: Duration,
    started: Instant,
    stats: Mutex<Stats>,
    traces: Mutex<Traces>,
    paths: Mutex<Paths>,
    /// Who waits to count into the traces.
    counting: AtomicUsize,
    exemplars: Mutex<Exemplars>,
    spans: AtomicU64,
    /// Spans came that the subscribers have not been told of.
    untold: AtomicBool,
    /// When they were told last, Unix nanoseconds.
    told: AtomicU64,
    moved: watch::Sender<u64>,
}

/// A question's range of time: the last so-and-so long, or fixed ends. Rounded outward to slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The last so long.
    Last(Duration),
    /// From, to: Unix nanoseconds.
    Between(u64, u64),
}

impl Views {
    /// Empty views.
    pub fn new(config: Config) -> Self {
        let retention_nanos = u64::try_from(config.retention.as_nanos()).unwrap_or(u64::MAX);
        Self {
            retention: config.retention,
            started: Instant::now(),
            stats: Mutex::new(Stats::new(&config)),
            traces: Mutex::new(Traces::new(config.trace_bytes, retention_nanos)),
            paths: Mutex::new(Paths::new(config.view_bytes / PATHS_SHARE)),
            counting: AtomicUsize::new(0),
            exemplars: Mutex::new(Exemplars::new(config.view_bytes / EXEMPLARS_SHARE)),
            spans: AtomicU64::new(0),
            untold: AtomicBool::new(false),
            told: AtomicU64::new(0),
            // A page that outlives a restart tells by it that these are not the views it has seen.
            moved: watch::Sender::new(now_unix_nano() / 1_000_000),
        }
    }

    /// Counts the spans of one accepted batch, all placed at `arrived_unix_nano`.
    pub fn count(&self, spans: &[SpanRef<'_>], arrived_unix_nano: u64) {
        let notable = lock(&self.stats).count(spans, arrived_unix_nano);
        self.counting.fetch_add(1, Ordering::Relaxed);
        let mut traces = lock(&self.traces);
        self.counting.fetch_sub(1, Ordering::Relaxed);
        traces.keep(spans, &notable, arrived_unix_nano);
        drop(traces);
        self.spans.fetch_add(spans.len() as u64, Ordering::Relaxed);
        self.untold.store(true, Ordering::Relaxed);
        // Either way: a clock set back must not silence the pages.
        if arrived_unix_nano.abs_diff(self.told.load(Ordering::Relaxed)) >= MOVE_NANOS {
            self.tell(arrived_unix_nano);
        }
    }

    /// Lets time pass: settles the calls whose wait is over and tells subscribers of spans they have not been told of
    /// yet. To be called about once a second, also while no spans come.
    pub fn tick(&self, now_unix_nano: u64) {
        let beside = lock(&self.paths).bytes() + lock(&self.exemplars).bytes();
        let mut stats = lock(&self.stats);
        stats.advance(now_unix_nano);
        stats.make_room(beside);
        let (now, oldest) = (stats.clock.now(), stats.clock.oldest());
        drop(stats);
        let mut paths = lock(&self.paths);
        let mut exemplars = lock(&self.exemplars);
        while lock(&self.traces).whole(now_unix_nano, LOOKED_AT, |trace| {
            paths.offer(trace);
            exemplars.offer(trace);
        }) {
            self.give_way();
        }
        paths.roll(now, oldest);
        drop((paths, exemplars));
        if self.untold.load(Ordering::Relaxed) {
            self.tell(now_unix_nano);
        }
    }

    /// A number that grows whenever the window has moved: about once a second while spans arrive. It begins at the Unix
    /// milliseconds of the start, so that it never comes again after a restart.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// How far back windows reach.
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// Since the views were made, at the collector's start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Spans counted since the start: 0 means nothing was ever received.
    pub fn spans_counted(&self) -> u64 {
        self.spans.load(Ordering::Relaxed)
    }

    /// Calls settled before their time since the start: more waited for their other half than there is room for.
    pub fn calls_cut_short(&self) -> u64 {
        lock(&self.stats).pairing.cut_short()
    }

    /// What the views hold, and what they could not.
    pub fn status(&self) -> ViewsStatus {
        let traces = lock(&self.traces);
        let (traces_kept, trace_bytes, untaken) =
            (traces.len(), traces.bytes(), traces.untaken_spans());
        drop(traces);
        let bytes = self.bytes_by_part().iter().map(|(_, bytes)| bytes).sum();
        let stats = lock(&self.stats);
        ViewsStatus {
            spans: self.spans_counted(),
            bytes,
            spans_in_overflow_operations: stats.services.overflowed(),
            version_and_instance_rows: stats.services.part_rows(),
            calls_in_overflow_edges: stats.edges.overflowed(),
            server_spans_without_client: stats.pairing.server_only(),
            calls_cut_short: stats.pairing.cut_short(),
            minutes_forgotten: stats.minutes_forgotten,
            traces: traces_kept,
            trace_bytes,
            spans_of_traces_not_taken: untaken,
        }
    }

    /// Heap bytes held, about, by what: together they stay within [`Config::view_bytes`].
    pub fn bytes_by_part(&self) -> Vec<(&'static str, usize)> {
        let paths = ("samples of critical paths", lock(&self.paths).bytes());
        let exemplars = ("exemplars for Prometheus", lock(&self.exemplars).bytes());
        let slots = lock(&self.stats).bytes_by_part();
        slots.into_iter().chain([paths, exemplars]).collect()
    }

    /// Every service seen in the window, by name.
    pub fn services(&self, range: Range) -> (Window, Vec<ServiceReport>) {
        self.services_at(range, now_unix_nano())
    }

    /// Every operation of a service seen in the window, those with most of its time first; `None` for a service never
    /// seen.
    pub fn operations(
        &self,
        service: &str,
        range: Range,
    ) -> Option<(Window, Vec<OperationReport>)> {
        self.operations_at(service, range, now_unix_nano())
    }

    /// Where the requests of each of a service's entry operations spend their time, the operations with the slowest
    /// requests first; `None` for a service never seen.
    pub fn critical_paths(
        &self,
        service: &str,
        range: Range,
    ) -> Option<(Window, Vec<CriticalPathReport>)> {
        self.critical_paths_at(service, range, now_unix_nano())
    }

    /// How many of a service's entry spans, or of its spans with a name, took how long, over time; `None` when no such
    /// span came within the retention.
    pub fn heatmap(&self, service: &str, operation: Option<&str>, range: Range) -> Option<Heatmap> {
        self.heatmap_at(service, operation, range, now_unix_nano())
    }

    /// Services, what they call, and the edges between.
    pub fn map(&self, range: Range) -> Map {
        self.map_at(range, now_unix_nano())
    }

    /// One edge of the map with its distributions and traces to look at; without calls when both ends are known but none
    /// came in the window. `None` for names that are not known.
    pub fn edge(&self, client: &str, server: &str, range: Range) -> Option<EdgeReport> {
        self.edge_at((client, server), range, now_unix_nano())
    }

    /// Why edges around a service are missing, or hold fewer calls than they should; `map` is that of the same range, or the
    /// one around the service.
    /// `None` for a service never seen.
    pub fn findings(&self, service: &str, map: &Map, range: Range) -> Option<Vec<Finding>> {
        self.findings_at(service, map, range, now_unix_nano())
    }

    /// Kept traces whose newest span came in the window.
    pub fn traces(&self, query: &TraceQuery, range: Range) -> (Window, Vec<TraceSummary>) {
        self.traces_at(query, range, now_unix_nano())
    }

    /// One kept trace, with its critical path.
    pub fn trace(&self, trace_id: [u8; 16]) -> Option<Trace> {
        let kept = lock(&self.traces).get(trace_id)?;
        Some(tree::trace(&kept))
    }

    /// What most of a kept trace's time was spent in; `None` for one that is not kept.
    pub fn largest_part(&self, trace_id: [u8; 16]) -> Option<LargestPart> {
        let kept = lock(&self.traces).get(trace_id)?;
        paths::largest_part(&kept)
    }

    fn services_at(&self, range: Range, now: u64) -> (Window, Vec<ServiceReport>) {
        let mut stats = lock(&self.stats);
        let windows = stats.compare(range, now);
        let snapshots = stats.services.services(windows, None);
        let named = stats.named_services(snapshots);
        drop(stats);
        let reports = named
            .iter()
            .map(|(name, snapshot)| snapshot.report(name, windows, now));
        let mut reports: Vec<_> = reports.collect();
        reports.sort_by(|a, b| a.service.cmp(&b.service));
        (windows.now.window(), reports)
    }

    fn operations_at(
        &self,
        service: &str,
        range: Range,
        now: u64,
    ) -> Option<(Window, Vec<OperationReport>)> {
        let mut stats = lock(&self.stats);
        let windows = stats.compare(range, now);
        let id = stats.names.find(service)?;
        let snapshots = stats.services.operations(id, windows)?;
        drop(stats);
        let reports = OperationSnapshot::reports(&snapshots, service, windows, now);
        Some((windows.now.window(), reports))
    }

    fn critical_paths_at(
        &self,
        service: &str,
        range: Range,
        now: u64,
    ) -> Option<(Window, Vec<CriticalPathReport>)> {
        let mut stats = lock(&self.stats);
        let slots = stats.round(range, now);
        stats.names.find(service)?;
        drop(stats);
        let snapshots = lock(&self.paths).snapshot(service, slots);
        let mut reports: Vec<_> = snapshots.iter().map(|snapshot| snapshot.report()).collect();
        reports.sort_by(|a, b| {
            let by_slow = b.slow.seconds.total_cmp(&a.slow.seconds);
            by_slow.then_with(|| a.operation.cmp(&b.operation))
        });
        Some((slots.window(), reports))
    }

    fn heatmap_at(
        &self,
        service: &str,
        operation: Option<&str>,
        range: Range,
        now: u64,
    ) -> Option<Heatmap> {
        let mut stats = lock(&self.stats);
        let slots = stats.round(range, now);
        let id = stats.names.find(service)?;
        let rows = stats.services.course(id, operation, slots)?;
        drop(stats);
        let mut grid = Grid::new(&rows, slots);
        let asked = Asked { service, operation };
        self.look_at_kept(self.kept_trace_ids(), |trace| grid.look_at(trace, asked));
        Some(grid.report())
    }

    fn map_at(&self, range: Range, now: u64) -> Map {
        self.map_snapshot(range, now).report()
    }

    fn map_snapshot(&self, range: Range, now: u64) -> stats::MapSnapshot {
        let mut stats = lock(&self.stats);
        let slots = stats.round(range, now);
        stats.map(slots)
    }

    fn traces_at(&self, query: &TraceQuery, range: Range, now: u64) -> (Window, Vec<TraceSummary>) {
        let slots = lock(&self.stats).round(range, now);
        let sought = Sought::new(query, slots);
        let mut heads = lock(&self.traces).candidates(&sought);
        query.sort(&mut heads);
        let (mut heads, mut found) = (heads.into_iter(), Vec::new());
        // In portions, so that the spans that come meanwhile do not wait until all traces are searched.
        while lock(&self.traces).search(&sought, &mut heads, &mut found) {
            std::thread::yield_now();
        }
        (slots.window(), found)
    }

    fn tell(&self, unix_nano: u64) {
        self.untold.store(false, Ordering::Relaxed);
        self.told.store(unix_nano, Ordering::Relaxed);
        self.moved.send_modify(|moves| *moves += 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
