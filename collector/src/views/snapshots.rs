//! What services and operations hold in a range, as `services` hands it out under the lock, and the reports that are made
//! of it outside. Asked by `mod` and `compare`.

use std::sync::Arc;

use super::clock::Compared;
use super::figures::{Pair, ratio};
use super::names::NameId;
use super::parts::Origin;
use super::report::{OperationReport, ServiceReport};
use crate::wire::SpanKind;

/// What a report of a service, or of a part of one, is made of.
#[derive(Debug)]
pub(crate) struct ServiceSnapshot {
    pub(crate) service: NameId,
    pub(super) origin: Origin,
    pub(super) versions: usize,
    pub(super) entry: Pair,
}

/// What an operation's report is made of.
#[derive(Debug)]
pub(crate) struct OperationSnapshot {
    pub(super) name: Arc<str>,
    pub(super) kind: SpanKind,
    pub(super) row: Pair,
}

impl ServiceSnapshot {
    /// The report of a service called `name`.
    pub(crate) fn report(
        &self,
        name: &str,
        windows: Compared,
        now_unix_nano: u64,
    ) -> ServiceReport {
        let totals = self.entry.totals(windows);
        let owned = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        ServiceReport {
            service: name.to_owned(),
            version: owned(&self.origin.version),
            versions: self.versions,
            instance: owned(&self.origin.instance),
            now: totals.now,
            previous: totals.before,
            spark: self.entry.now.spark(windows.now, now_unix_nano),
        }
    }
}

impl OperationSnapshot {
    /// The reports of a service's operations, those with most of its time first.
    pub(crate) fn reports(
        all: &[Self],
        service: &str,
        windows: Compared,
        now_unix_nano: u64,
    ) -> Vec<OperationReport> {
        let totals = all.iter().map(|snapshot| snapshot.row.totals(windows));
        let totals: Vec<_> = totals.collect();
        let entry_nanos: u64 = totals
            .iter()
            .map(|total| total.entry_nanos)
            .fold(0, u64::saturating_add);
        let rows = all
            .iter()
            .zip(&totals)
            .map(|(snapshot, total)| OperationReport {
                service: service.to_owned(),
                operation: snapshot.name.to_string(),
                kind: kind_name(snapshot.kind),
                now: total.now,
                previous: total.before,
                impact: ratio(total.entry_nanos, entry_nanos),
                spark: snapshot.row.now.spark(windows.now, now_unix_nano),
            });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by(|a, b| {
            let by_impact = b
                .impact
                .total_cmp(&a.impact)
                .then(b.now.count.cmp(&a.now.count));
            by_impact.then_with(|| (&a.operation, a.kind).cmp(&(&b.operation, b.kind)))
        });
        rows
    }
}

/// As the API says it.
pub(crate) fn kind_name(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified | SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}
