//! Questions about what changed: the window before, who fell silent, which version or instance it is. Asked by `web`.

use super::report::{Edge, Map, ServiceReport, Window};
use super::{Range, Split, Views, lock};
use crate::status::now_unix_nano;

impl Views {
    /// What reports of this range are compared with: as long, and just before it. `None` when not all of it lies after the
    /// collector's start, or is still kept.
    pub fn previous(&self, range: Range) -> Option<Window> {
        self.previous_at(range, now_unix_nano())
    }

    /// Services without a span in the range that had some in the one before, by name.
    pub fn silent(&self, range: Range) -> Vec<String> {
        self.silent_at(range, now_unix_nano())
    }

    /// The map of the range that [`previous`](Self::previous) tells.
    pub fn map_before(&self, range: Range) -> Option<Map> {
        self.map_before_at(range, now_unix_nano())
    }

    /// One edge of that map; without calls where the ends are known and none came.
    pub fn edge_before(&self, client: &str, server: &str, range: Range) -> Option<Edge> {
        self.edge_before_at((client, server), range, now_unix_nano())
    }

    /// Every version or instance with entry spans in the range, of all services or of one; by service, then the busiest
    /// first.
    pub fn split(
        &self,
        split: Split,
        service: Option<&str>,
        range: Range,
    ) -> (Window, Vec<ServiceReport>) {
        self.split_at(split, service, range, now_unix_nano())
    }

    pub(super) fn previous_at(&self, range: Range, now: u64) -> Option<Window> {
        let before = lock(&self.stats).compare(range, now).before;
        before.map(|slots| slots.window())
    }

    pub(super) fn map_before_at(&self, range: Range, now: u64) -> Option<Map> {
        let mut stats = lock(&self.stats);
        let before = stats.compare(range, now).before?;
        let snapshot = stats.map(before);
        drop(stats);
        Some(snapshot.report())
    }

    pub(super) fn edge_before_at(
        &self,
        ends: (&str, &str),
        range: Range,
        now: u64,
    ) -> Option<Edge> {
        let mut stats = lock(&self.stats);
        let before = stats.compare(range, now).before?;
        let (names, snapshot) = stats.edge(ends, before)?;
        drop(stats);
        Some(snapshot.report(&names, before))
    }

    pub(super) fn silent_at(&self, range: Range, now: u64) -> Vec<String> {
        let mut stats = lock(&self.stats);
        let windows = stats.compare(range, now);
        let Some(before) = windows.before else {
            return Vec::new();
        };
        let here = stats.services.seen_in(windows.now);
        let gone = stats.services.seen_in(before).into_iter();
        let gone = gone.filter(|id| here.binary_search(id).is_err());
        let names = gone.filter_map(|id| stats.names.get(id));
        let mut names: Vec<_> = names.map(|name| name.text.to_string()).collect();
        names.sort_unstable();
        names
    }

    pub(super) fn split_at(
        &self,
        split: Split,
        service: Option<&str>,
        range: Range,
        now: u64,
    ) -> (Window, Vec<ServiceReport>) {
        let mut stats = lock(&self.stats);
        let windows = stats.compare(range, now);
        let only = service.map(|service| stats.names.find(service));
        let snapshots = match only {
            // Never seen.
            Some(None) => Vec::new(),
            only => stats.services.parts(split, only.flatten(), windows),
        };
        let named = stats.named_services(snapshots);
        drop(stats);
        let reports = named
            .iter()
            .map(|(name, snapshot)| snapshot.report(name, windows, now));
        let mut reports: Vec<_> = reports.collect();
        reports.sort_by(|a, b| {
            let busiest = || b.now.count.cmp(&a.now.count);
            let by_name = || (&a.version, &a.instance).cmp(&(&b.version, &b.instance));
            let by_service = a.service.cmp(&b.service);
            by_service.then_with(busiest).then_with(by_name)
        });
        (windows.now.window(), reports)
    }
}
