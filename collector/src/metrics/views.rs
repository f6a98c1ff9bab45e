//! The views as Prometheus families, under the names and labels that Grafana's service graph and span metrics ask for
//! (Tempo documentation, "Service graphs" and "Span metrics"), and the network gap beside them.

use std::cmp::{Ordering, Reverse};
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
        // Of several of one millisecond the first, which an earlier scrape may have shown.
        fitting
            .max_by_key(|exemplar| (exemplar.unix_millis(), Reverse(exemplar.unix_nano)))
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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use bellwether::testing;

    use super::*;
    use crate::views::series::{EdgeKey, EdgeTotals, SpanKey};

    fn exemplar(nanos: u64) -> Exemplar {
        Exemplar {
            trace_id: [1; 16],
            span_id: [2; 8],
            nanos,
            unix_nano: 1_700_000_000_000_000_000,
        }
    }

    fn scrape() -> Scrape {
        let key = |status| SpanKey {
            service: "shop".into(),
            kind: SpanKind::Server,
            name: "GET \"\u{1}".into(),
            status,
        };
        let latency = Cumulative::of(&[2_000_000, 30_000_000_000, 100]);
        let edge = |server: &str, connection, gap: &[u64]| EdgeSeries {
            key: EdgeKey {
                client: "shop".into(),
                server: server.into(),
                connection,
            },
            totals: EdgeTotals {
                requests: 3,
                failed: 1,
                client: latency.clone(),
                server: latency.clone(),
                gap: Cumulative::of(gap),
            },
            exemplars: [vec![exemplar(2_000_000)], Vec::new(), Vec::new()],
        };
        Scrape {
            spans: vec![
                SpanSeries {
                    key: key(StatusCode::Error),
                    latency: Cumulative::of(&[500_000_000]),
                    exemplars: Vec::new(),
                },
                SpanSeries {
                    key: key(StatusCode::Unset),
                    latency: latency.clone(),
                    exemplars: vec![exemplar(30_000_000_000), exemplar(100)],
                },
            ],
            edges: vec![
                edge("stock", Connection::Service, &[40_000]),
                edge("postgresql:orders", Connection::Database, &[]),
                edge("kafka:mail", Connection::Queue, &[]),
                edge("pay.example", Connection::External, &[]),
            ],
            overflowed_spans: 7,
            overflowed_calls: 9,
        }
    }

    fn shown(scrape: Scrape) -> String {
        let told = testing::capture("test");
        let kit = told.kit();
        kit.collect(move |out| write(scrape.clone(), out));
        let accept = HeaderValue::from_static("application/openmetrics-text");
        let (_, text) = kit.render_metrics(Some(&accept));
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn names_labels_and_values_are_those_that_grafana_asks_for() {
        let text = shown(scrape());
        let span =
            r#"service="shop",span_name="GET \"\\u{1}",span_kind="SPAN_KIND_SERVER",status_code"#;
        let edge = r#"client="shop",server="stock",connection_type="""#;
        for line in [
            "# TYPE traces_spanmetrics_calls counter\n".to_owned(),
            format!("traces_spanmetrics_calls_total{{{span}=\"STATUS_CODE_UNSET\"}} 3\n"),
            format!("traces_spanmetrics_calls_total{{{span}=\"STATUS_CODE_ERROR\"}} 1\n"),
            "# TYPE traces_spanmetrics_latency histogram\n".to_owned(),
            format!(
                "traces_spanmetrics_latency_bucket{{{span}=\"STATUS_CODE_UNSET\",le=\"0.000244140625\"}} 1 # \
                 {{trace_id=\"01010101010101010101010101010101\",span_id=\"0202020202020202\"}} 1e-7 1700000000.000\n"
            ),
            format!(
                "traces_spanmetrics_latency_bucket{{{span}=\"STATUS_CODE_UNSET\",le=\"0.001953125\"}} 1\n"
            ),
            format!(
                "traces_spanmetrics_latency_bucket{{{span}=\"STATUS_CODE_UNSET\",le=\"0.00390625\"}} 2\n"
            ),
            format!(
                "traces_spanmetrics_latency_bucket{{{span}=\"STATUS_CODE_UNSET\",le=\"16.0\"}} 2\n"
            ),
            format!(
                "traces_spanmetrics_latency_bucket{{{span}=\"STATUS_CODE_UNSET\",le=\"+Inf\"}} 3 # \
                 {{trace_id=\"01010101010101010101010101010101\",span_id=\"0202020202020202\"}} 30.0 1700000000.000\n"
            ),
            format!("traces_spanmetrics_latency_sum{{{span}=\"STATUS_CODE_UNSET\"}} 30.0020001\n"),
            format!("traces_spanmetrics_latency_count{{{span}=\"STATUS_CODE_UNSET\"}} 3\n"),
            format!("traces_service_graph_request_total{{{edge}}} 3\n"),
            format!("traces_service_graph_request_failed_total{{{edge}}} 1\n"),
            format!("traces_service_graph_request_client_seconds_count{{{edge}}} 3\n"),
            format!("traces_service_graph_request_server_seconds_sum{{{edge}}} 30.0020001\n"),
            "# UNIT traces_service_graph_network_gap_seconds seconds\n".to_owned(),
            format!(
                "traces_service_graph_network_gap_seconds_bucket{{{edge},le=\"0.000030517578125\"}} 0\n"
            ),
            format!(
                "traces_service_graph_network_gap_seconds_bucket{{{edge},le=\"0.00006103515625\"}} 1\n"
            ),
            format!("traces_service_graph_network_gap_seconds_bucket{{{edge},le=\"1.0\"}} 1\n"),
            "server=\"postgresql:orders\",connection_type=\"database\"} 3\n".to_owned(),
            "server=\"kafka:mail\",connection_type=\"messaging_system\"} 3\n".to_owned(),
            "server=\"pay.example\",connection_type=\"virtual_node\"} 3\n".to_owned(),
            "bellwether_views_overflow_spans_total 7\n".to_owned(),
            "bellwether_views_overflow_calls_total 9\n".to_owned(),
        ] {
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        }
        let gaps =
            "traces_service_graph_network_gap_seconds_count{client=\"shop\",server=\"postgresql";
        assert!(!text.contains(gaps), "a database has none");
        // Prometheus would store each as a series of its own, unless told otherwise: docs/prometheus.md.
        assert!(!text.contains("_created"), "{text}");
    }

    #[test]
    fn a_bucket_shows_the_newest_of_its_own() {
        let at = |nanos, unix_nano| Exemplar {
            unix_nano,
            ..exemplar(nanos)
        };
        let second = |second: u64| (1_700_000_000 + second) * 1_000_000_000;
        let exemplars = [
            at(100, second(1)),
            at(300, second(3)),
            at(900, second(2)),
            at(16_000_000_000, second(4)),
        ];
        let latency = Cumulative::of(&[100, 300, 900, 16_000_000_000]);
        let told = distribution(&latency, LATENCY, &exemplars);
        let shown = |exemplar: &Option<Measured>| exemplar.as_ref().map(|shown| shown.value);
        let of_buckets = told.buckets.iter().map(|bucket| shown(&bucket.exemplar));
        let of_buckets: Vec<_> = of_buckets.collect();
        assert_eq!(of_buckets.first(), Some(&Some(3e-7)), "all below it, too");
        assert_eq!(of_buckets.last(), Some(&Some(16.0)), "it ends there");
        assert_eq!(of_buckets.iter().flatten().count(), 2);
        assert_eq!(shown(&told.above), None);
    }

    #[test]
    fn below_the_first_bound_an_exemplar_gives_way_to_a_later_millisecond_alone() {
        let at = |nanos, after| Exemplar {
            unix_nano: exemplar(nanos).unix_nano + after,
            ..exemplar(nanos)
        };
        let latency = Cumulative::of(&[100, 1_000, 100_000]);
        let first = |exemplars: &[Exemplar]| {
            let told = distribution(&latency, LATENCY, exemplars);
            let shown = told
                .buckets
                .first()
                .and_then(|bucket| bucket.exemplar.as_ref());
            shown.map(|exemplar| exemplar.value)
        };
        assert_eq!(first(&[at(100, 0), at(1_000, 1)]), Some(1e-7));
        assert_eq!(first(&[at(1_000, 1), at(100, 0)]), Some(1e-7));
        assert_eq!(first(&[at(100, 0), at(1_000, 1_000_000)]), Some(1e-6));
    }

    #[tokio::test]
    async fn before_the_first_span_there_are_no_families_of_them() {
        let text = shown(Scrape::default());
        assert!(!text.contains("traces_"), "{text}");
        assert!(text.contains("bellwether_views_overflow_spans_total 0\n"));
    }
}
