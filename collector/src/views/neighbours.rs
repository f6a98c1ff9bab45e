//! Questions about one edge, and about the edges that are missing around a service: answered from what was counted and
//! from the kept traces.

use super::clock::Slots;
use super::doctor::{self, Case};
use super::examples::Finder;
use super::kept::KeptTrace;
use super::relations::Relations;
use super::report::{EdgeReport, Finding, Map};
use super::search::Sought;
use super::{Range, TraceQuery, Views, lock};

/// Of a service's kept traces the doctor looks at the newest ones: they show what is wrong now.
const DOCTOR_TRACES: usize = 200;

impl Views {
    pub(super) fn edge_at(&self, ends: (&str, &str), range: Range, now: u64) -> Option<EdgeReport> {
        let mut stats = lock(&self.stats);
        let slots = stats.round(range, now);
        let (names, snapshot) = stats.edge(ends, slots)?;
        drop(stats);
        let (edge, distribution) = snapshot.detail(&names, slots);
        let mut finder = Finder::new(ends, slots, now);
        self.look_at_traces_of(ends.0, slots, usize::MAX, |trace| finder.look_at(trace));
        Some(EdgeReport {
            window: slots.window(),
            server_kind: names.server.kind.as_str(),
            edge,
            distribution,
            examples: finder.report(),
        })
    }

    pub(super) fn findings_at(
        &self,
        service: &str,
        map: &Map,
        range: Range,
        now: u64,
    ) -> Option<Vec<Finding>> {
        let mut stats = lock(&self.stats);
        let slots = stats.round(range, now);
        let id = stats.names.find(service)?;
        let (spans, client_spans) = stats.services.spans(id, slots)?;
        let lone = stats.lone(slots);
        let cut_short = stats.pairing.cut_short();
        drop(stats);
        let mut relations = Relations::default();
        self.look_at_traces_of(service, slots, DOCTOR_TRACES, |trace| {
            relations.look_at(trace, service);
        });
        Some(doctor::findings(&Case {
            service,
            map,
            spans,
            client_spans,
            lone,
            relations,
            cut_short,
        }))
    }

    /// Shows the newest kept traces of a service. The lock is taken for each of them anew, so that counting goes on.
    fn look_at_traces_of(
        &self,
        service: &str,
        slots: Slots,
        limit: usize,
        mut look: impl FnMut(&KeptTrace),
    ) {
        let query = TraceQuery {
            service: Some(service.to_owned()),
            ..TraceQuery::default()
        };
        let sought = Sought::new(&query, slots);
        let mut heads = lock(&self.traces).candidates(&sought);
        query.sort(&mut heads);
        let mut looked_at = 0;
        for head in heads {
            if looked_at == limit {
                return;
            }
            let traces = lock(&self.traces);
            if let Some(trace) = traces.peek(head.trace_id)
                && sought.fits_by_spans(trace)
            {
                looked_at += 1;
                look(trace);
            }
        }
    }
}
