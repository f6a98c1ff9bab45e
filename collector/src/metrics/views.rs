//! The views as Prometheus families, under the names and labels that Grafana's service graph and span metrics ask for
//! (Tempo documentation, "Service graphs" and "Span metrics"), and the network gap beside them.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use bellwether::{ClassicBucket, Distribution, Exposition, Measured};

use crate::views::cumulative::Cumulative;
use crate::views::exemplars::Exemplar;
use crate::views::series::{Connection, EdgeSeries, Scrape, SpanSeries};
use crate::wire::{SpanKind, StatusCode};

/// Classic buckets end at powers of two of a second: 0.24 ms to 16 s.
const LATENCY: std::ops::RangeInclusive<i32> = -12..=4;
/// 31 us to 1 s.
const GAP: std::ops::RangeInclusive<i32> = -15..=0;

/// Writes the families of a scrape.
pub fn write(mut scrape: Scrape, out: &mut Exposition<'_>) {
    // In an order of its own, so that two scrapes can be compared.
    scrape.spans.sort_by(|a, b| {
        let names = |series: &SpanSeries| (series.key.service.clone(), series.key.name.clone());
        let codes = |series: &SpanSeries| (series.key.kind as u8, series.key.status as u8);
        names(a)
            .cmp(&names(b))
            .then_with(|| codes(a).cmp(&codes(b)))
    });
    scrape.edges.sort_by(|a, b| {
        let ends = |series: &EdgeSeries| (series.key.client.clone(), series.key.server.clone());
        let by_ends: Ordering = ends(a).cmp(&ends(b));
        by_ends.then_with(|| (a.key.connection as u8).cmp(&(b.key.connection as u8)))
    });
    spans(&scrape.spans, out);
    calls(&scrape.edges, out);
    out.counter(
        "bellwether_views_overflow_spans",
        "Spans of operations beyond the limit, in series of span_name=\"(other operations)\"",
    );
    out.sample(&[], scrape.overflowed_spans);
    out.counter(
        "bellwether_views_overflow_calls",
        "Calls of edges beyond the limit, in the series of client=\"(other edges)\"",
    );
    out.sample(&[], scrape.overflowed_calls);
}

fn spans(all: &[SpanSeries], out: &mut Exposition<'_>) {
    if all.is_empty() {
        return;
    }
    out.counter("traces_spanmetrics_calls", "Spans");
    for series in all {
        out.sample(&span_labels(series), series.latency.count());
    }
    out.histogram(
        "traces_spanmetrics_latency",
        None,
        "How long spans took, in seconds",
    );
    for series in all {
        let latency = distribution(&series.latency, LATENCY, &series.exemplars);
        out.distribution(&span_labels(series), &latency);
    }
}

fn calls(all: &[EdgeSeries], out: &mut Exposition<'_>) {
    if all.is_empty() {
        return;
    }
    out.counter("traces_service_graph_request", "Calls between two nodes");
    for series in all {
        out.sample(&edge_labels(series), series.totals.requests);
    }
    out.counter(
        "traces_service_graph_request_failed",
        "Calls that failed, as the caller saw it",
    );
    for series in all {
        out.sample(&edge_labels(series), series.totals.failed);
    }
    type Side = fn(&EdgeSeries) -> (&Cumulative, &[Exemplar]);
    let sides: [(&str, &str, _, Side); 3] = [
        (
            "traces_service_graph_request_client_seconds",
            "How long calls took as the caller saw it",
            LATENCY,
            |series| (&series.totals.client, &series.exemplars[0]),
        ),
        (
            "traces_service_graph_request_server_seconds",
            "How long calls took as the called side saw it, or the caller where that makes no spans",
            LATENCY,
            |series| (&series.totals.server, &series.exemplars[1]),
        ),
        (
            "traces_service_graph_network_gap_seconds",
            "How much longer a call took for the caller than for the called side, of one call at a time",
            GAP,
            |series| (&series.totals.gap, &series.exemplars[2]),
        ),
    ];
    for (name, help, bounds, of) in sides {
        out.histogram(name, Some("seconds"), help);
        for series in all {
            let (durations, exemplars) = of(series);
            // A database has no gap, and never will.
            if durations.count() > 0 {
                let durations = distribution(durations, bounds.clone(), exemplars);
                out.distribution(&edge_labels(series), &durations);
            }
        }
    }
}

fn span_labels(SpanSeries { key, .. }: &SpanSeries) -> [(&'static str, &str); 4] {
    let kind = match key.kind {
        SpanKind::Unspecified | SpanKind::Internal => "SPAN_KIND_INTERNAL",
        SpanKind::Server => "SPAN_KIND_SERVER",
        SpanKind::Client => "SPAN_KIND_CLIENT",
        SpanKind::Producer => "SPAN_KIND_PRODUCER",
        SpanKind::Consumer => "SPAN_KIND_CONSUMER",
    };
    let status = match key.status {
        StatusCode::Unset => "STATUS_CODE_UNSET",
        StatusCode::Ok => "STATUS_CODE_OK",
        StatusCode::Error => "STATUS_CODE_ERROR",
    };
    [
        ("service", &key.service),
        ("span_name", &key.name),
        ("span_kind", kind),
        ("status_code", status),
    ]
}

/// To Prometheus an empty label is none.
fn edge_labels(EdgeSeries { key, .. }: &EdgeSeries) -> [(&'static str, &str); 3] {
    let connection = match key.connection {
        Connection::Service => "",
        Connection::Database => "database",
        Connection::Queue => "messaging_system",
        Connection::External => "virtual_node",
    };
    [
        ("client", &key.client),
        ("server", &key.server),
        ("connection_type", connection),
    ]
}

fn distribution(
    durations: &Cumulative,
    exponents: std::ops::RangeInclusive<i32>,
    exemplars: &[Exemplar],
) -> Distribution {
    let (first, last) = (*exponents.start(), *exponents.end());
    let newest = |wanted: &dyn Fn(i32) -> bool| {
        let fitting = exemplars
            .iter()
            .filter(|exemplar| wanted(exemplar.exponent()));
        fitting
            .max_by_key(|exemplar| exemplar.unix_nano)
            .map(measured)
    };
    let buckets = exponents.map(|exponent| ClassicBucket {
        bound: f64::from(exponent).exp2(),
        cumulative: durations.at_most(exponent),
        exemplar: newest(&|of| of == exponent || (of < first && exponent == first)),
    });
    Distribution {
        sum: durations.sum(),
        count: durations.count(),
        buckets: buckets.collect(),
        above: newest(&|of| of > last),
        schema: durations.schema(),
        native: durations.native().to_vec(),
    }
}

fn measured(exemplar: &Exemplar) -> Measured {
    Measured {
        trace_id: exemplar.trace_id,
        span_id: exemplar.span_id,
        value: exemplar.nanos as f64 / 1e9,
        at: SystemTime::UNIX_EPOCH + Duration::from_nanos(exemplar.unix_nano),
    }
}
