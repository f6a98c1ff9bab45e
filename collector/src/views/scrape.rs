//! What a scrape of Prometheus gets: the totals of `series`, each with the exemplars whose traces are still kept. Asked by
//! `metrics`.

use super::exemplars::Exemplar;
use super::series::{EdgeSeries, Scrape, SpanSeries};
use super::{Views, lock};
use crate::status::now_unix_nano;

impl Views {
    /// Everything counted since the start, for Prometheus.
    pub fn scrape(&self) -> Scrape {
        self.scrape_at(now_unix_nano())
    }

    pub(super) fn scrape_at(&self, now: u64) -> Scrape {
        let totals = lock(&self.stats).totals(now);
        let retention = u64::try_from(self.retention.as_nanos()).unwrap_or(u64::MAX);
        let mut exemplars = lock(&self.exemplars);
        exemplars.expire(now.saturating_sub(retention));
        let spans = totals.spans.into_iter();
        let spans = spans.map(|(key, latency)| SpanSeries {
            exemplars: exemplars.of_spans(&key),
            key,
            latency,
        });
        let mut spans: Vec<_> = spans.collect();
        let edges = totals.edges.into_iter();
        let edges = edges.map(|(key, totals)| EdgeSeries {
            exemplars: exemplars.of_edge(&key),
            key,
            totals,
        });
        let mut edges: Vec<_> = edges.collect();
        drop(exemplars);
        let of_spans = spans.iter_mut().map(|series| &mut series.exemplars);
        let of_edges = edges.iter_mut().flat_map(|series| &mut series.exemplars);
        self.keep_kept(of_spans.chain(of_edges));
        Scrape {
            spans,
            edges,
            overflowed_spans: totals.overflowed_spans,
            overflowed_calls: totals.overflowed_calls,
        }
    }

    /// Drops the exemplars whose traces have had to go since.
    fn keep_kept<'a>(&self, exemplars: impl Iterator<Item = &'a mut Vec<Exemplar>>) {
        let traces = lock(&self.traces);
        for exemplars in exemplars {
            exemplars.retain(|exemplar| traces.has(exemplar.trace_id));
        }
    }
}
