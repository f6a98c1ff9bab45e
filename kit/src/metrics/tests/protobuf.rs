//! The protobuf exposition, read back with prost, and held against the texts.

use std::collections::BTreeMap;

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as proto;
use prometheus_client::metrics::histogram::{
    Histogram as AppHistogram, NativeHistogramConfig, exponential_buckets,
};
use prost::Message;
use proto::MetricType;

use super::*;

const PROTOBUF: &str = "application/vnd.google.protobuf;\
                        proto=io.prometheus.client.MetricFamily;encoding=delimited";

const SIZES: BodySizes = BodySizes {
    request: None,
    response: 5_000,
};

/// The families by name; panics on what a scraper would refuse.
fn families(metrics: &Metrics) -> BTreeMap<String, proto::MetricFamily> {
    let accept = HeaderValue::from_static(PROTOBUF);
    let (content_type, body) = metrics.render(Some(&accept));
    assert_eq!(
        content_type,
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    );
    let mut rest = body.as_slice();
    let mut families = BTreeMap::new();
    while !rest.is_empty() {
        let family = proto::MetricFamily::decode_length_delimited(&mut rest).unwrap();
        assert!(!family.metric.is_empty(), "{}", family.name);
        for metric in &family.metric {
            check(family.r#type(), metric);
        }
        let before = families.insert(family.name.clone(), family);
        assert!(before.is_none(), "{before:?} twice");
    }
    families
}

/// A metric has the value of its family's type and no other, and a histogram's halves agree.
fn check(kind: MetricType, metric: &proto::Metric) {
    let has = [
        (MetricType::Counter, metric.counter.is_some()),
        (MetricType::Gauge, metric.gauge.is_some()),
        (MetricType::Histogram, metric.histogram.is_some()),
    ];
    for (of, has) in has {
        assert_eq!(has, kind == of, "{metric:?}");
    }
    let Some(histogram) = &metric.histogram else {
        return;
    };
    let ascending = histogram.bucket.is_sorted_by(|a, b| {
        a.upper_bound < b.upper_bound && a.cumulative_count <= b.cumulative_count
    });
    assert!(ascending, "{histogram:?}");
    if let Some(last) = histogram.bucket.last() {
        assert_eq!(
            (last.upper_bound, last.cumulative_count),
            (f64::INFINITY, histogram.sample_count)
        );
    }
    let lengths = histogram.positive_span.iter().map(|span| span.length);
    assert_eq!(
        lengths.sum::<u32>() as usize,
        histogram.positive_delta.len()
    );
    if histogram.zero_threshold > 0.0 {
        let (mut count, mut native) = (0, histogram.zero_count);
        for delta in &histogram.positive_delta {
            count += delta;
            native += u64::try_from(count).unwrap();
        }
        assert_eq!(native, histogram.sample_count, "{histogram:?}");
    }
}

fn labels(metric: &proto::Metric) -> Vec<(&str, &str)> {
    metric
        .label
        .iter()
        .map(|label| (label.name.as_str(), label.value.as_str()))
        .collect()
}

fn trace() -> Exemplar {
    Exemplar {
        trace_id: TraceId::from_hex(b"0af7651916cd43dd8448eb211c80319c").unwrap(),
        span_id: SpanId::from_hex(b"b7ad6b7169203331").unwrap(),
    }
}

#[test]
fn a_duration_is_shown_classic_and_native_with_its_exemplar() {
    let metrics = metrics();
    let route: Arc<str> = "/odd/\"\\\n".into();
    for (millis, exemplar) in [(0, None), (7, Some(trace())), (7, None), (60_000, None)] {
        metrics.server().settled(
            served(Some(&route), Some(200)),
            Duration::from_millis(millis),
            SIZES,
            exemplar,
        );
    }
    let families = families(&metrics);
    let family = &families["http_server_request_duration_seconds"];
    assert_eq!(
        (family.r#type(), family.unit.as_str()),
        (MetricType::Histogram, "seconds")
    );
    let [metric] = family.metric.as_slice() else {
        panic!("{family:?}");
    };
    assert_eq!(
        labels(metric),
        [
            ("http_request_method", "GET"),
            ("url_scheme", "http"),
            ("http_route", "/odd/\"\\\n"),
            ("http_response_status_code", "200")
        ]
    );
    let histogram = metric.histogram.as_ref().unwrap();
    assert_eq!((histogram.sample_count, histogram.zero_count), (4, 1));
    assert!((histogram.sample_sum - 60.014).abs() < 1e-9);
    let cumulative: Vec<u64> = histogram
        .bucket
        .iter()
        .map(|bucket| bucket.cumulative_count)
        .collect();
    assert_eq!(cumulative, [&[1, 3][..], &[3; 12], &[4]].concat());
    // 2^(-57/8) = 0.00716 s, 2^(48/8) = 64 s: 7 ms and 60 s are just below.
    let spans: Vec<_> = histogram
        .positive_span
        .iter()
        .map(|span| (span.offset, span.length))
        .collect();
    assert_eq!((histogram.schema, spans), (3, vec![(-57, 1), (104, 1)]));
    assert_eq!(histogram.positive_delta, [2, -1]);

    let exemplars: Vec<_> = histogram
        .bucket
        .iter()
        .filter_map(|bucket| Some((bucket.upper_bound, bucket.exemplar.as_ref()?)))
        .collect();
    let [(0.01, exemplar)] = exemplars.as_slice() else {
        panic!("{exemplars:?}");
    };
    assert_eq!(exemplar.label[0].value, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(exemplar.label[1].value, "b7ad6b7169203331");
    assert!((exemplar.value - 0.007).abs() < 1e-9);
    assert!(exemplar.timestamp.unwrap().seconds > 1_700_000_000);
}

#[test]
fn body_sizes_are_shown_classic_and_native() {
    let metrics = metrics();
    let labels = served(None, Some(200));
    metrics
        .server()
        .settled(labels, Duration::ZERO, SIZES, None);
    let families = families(&metrics);
    let family = &families["http_server_response_body_size_bytes"];
    let histogram = family.metric[0].histogram.as_ref().unwrap();
    assert_eq!((family.unit.as_str(), histogram.sample_count), ("bytes", 1));
    assert!((histogram.sample_sum - 5_000.0).abs() < f64::EPSILON);
    // 2^(99/8) = 5,313 bytes.
    let [span] = histogram.positive_span.as_slice() else {
        panic!("{histogram:?}");
    };
    assert_eq!((span.offset, span.length), (99, 1));
    assert!(!families.contains_key("http_server_request_body_size_bytes"));
}

#[test]
fn all_formats_show_the_same_families_of_the_same_types() {
    let metrics = metrics();
    let route: Arc<str> = "/".into();
    metrics.server().settled(
        served(Some(&route), Some(200)),
        Duration::from_millis(7),
        SIZES,
        None,
    );
    let _active = metrics.server().started("GET", "http", Instant::now());
    let orders = Counter::<u64>::default();
    orders.inc_by(3);
    metrics
        .registry()
        .register_with_unit("orders", "Orders", Unit::Bytes, orders);
    metrics
        .registry()
        .register("build", "Build", Info::new(vec![("version", "1")]));

    let families = families(&metrics);
    let text = render(&metrics, "text/plain");
    let in_protobuf: BTreeMap<String, String> = families
        .iter()
        .map(|(name, family)| (name.clone(), family.r#type().as_str_name().to_lowercase()))
        .collect();
    assert_eq!(in_protobuf, text.types);
    assert_eq!(in_protobuf["orders_bytes_total"], "counter");
    assert_eq!(in_protobuf["target_info"], "gauge");
    for (sample, (value, _)) in &text.samples {
        // What the process uses and the integral of requests in flight go on meanwhile.
        let moves =
            sample.starts_with("process_") || sample == "http_server_active_request_seconds_total";
        let Some(family) = families.get(sample.split('{').next().unwrap()) else {
            continue;
        };
        let shown = family.metric.iter().any(|metric| {
            let counter = metric.counter.as_ref().map(|counter| counter.value);
            let shown = counter.or(metric.gauge.as_ref().map(|gauge| gauge.value));
            moves || shown == Some(*value)
        });
        assert!(shown, "{sample} {value} in {family:?}");
    }
}

/// A histogram of the application's, native beside classic or native alone.
fn measured(classic: bool) -> AppHistogram {
    let native = NativeHistogramConfig::default();
    let histogram = if classic {
        AppHistogram::new_classic_and_native(exponential_buckets(1.0, 2.0, 4), native)
    } else {
        AppHistogram::new_native(native)
    };
    for value in [1.0, 5.0, 5.1] {
        histogram.observe(value);
    }
    histogram
}

#[test]
fn the_applications_own_metrics_come_out() {
    let metrics = metrics();
    let orders = Family::<Vec<(&str, &str)>, Counter>::default();
    orders
        .get_or_create(&vec![("kind", "a\"\\\né\u{2028}")])
        .inc();
    let empty = Family::<Vec<(&str, &str)>, Counter>::default();
    {
        let mut registry = metrics.registry();
        registry.register("both", "Both", measured(true));
        registry.register("orders", "Orders", orders);
        registry.register("empty", "Empty", empty);
    }
    let families = families(&metrics);
    let histogram = families["both"].metric[0].histogram.as_ref().unwrap();
    assert_eq!((histogram.sample_count, histogram.bucket.len()), (3, 5));
    let has_native = !histogram.positive_span.is_empty();
    assert_eq!(has_native, cfg!(feature = "prometheus-protobuf"));
    let orders = &families["orders_total"].metric[0];
    assert_eq!(labels(orders), [("kind", "a\"\\\né\u{2028}")]);
    assert!(!families.contains_key("empty_total"));
}

/// Its text has nothing for them, and so the whole registry is left out, with a warning.
#[test]
fn a_registry_that_cannot_be_encoded_leaves_the_kits_own() {
    let metrics = metrics();
    {
        let mut registry = metrics.registry();
        registry.register("orders", "Orders", Counter::<u64>::default());
        registry.register("native", "Native", measured(false));
    }
    let shown = families(&metrics);
    let has_native = cfg!(feature = "prometheus-protobuf");
    for name in ["orders_total", "native"] {
        assert_eq!(shown.contains_key(name), has_native, "{name}");
    }
    assert!(shown.contains_key("target_info"));
    let text = render(&metrics, "text/plain");
    assert!(!text.types.contains_key("orders_total"));
    assert!(text.types.contains_key("target_info"));
}

#[test]
fn a_scrape_amid_traffic_shows_halves_that_agree() {
    let metrics = metrics();
    std::thread::scope(|scope| {
        let traffic = || {
            // Enough for many scrapes, and an end, should one of them fail.
            for micros in (0..12_000_000).step_by(97) {
                let labels = served(None, Some(200));
                metrics
                    .server()
                    .settled(labels, Duration::from_micros(micros), SIZES, None);
            }
        };
        let threads = [scope.spawn(traffic), scope.spawn(traffic)];
        while !threads.iter().all(|thread| thread.is_finished()) {
            families(&metrics);
        }
    });
}

#[test]
fn families_of_a_source_have_their_native_buckets() {
    let families = families(&with_source());
    let jobs = &families["queue_jobs_total"].metric[0];
    assert_eq!(jobs.counter.as_ref().unwrap().value, 7.0);
    let waits = &families["queue_wait_seconds"];
    assert_eq!(waits.unit, "seconds");
    let mail = waits.metric[0].histogram.as_ref().unwrap();
    assert_eq!((mail.schema, mail.zero_count), (0, 0));
    assert!(mail.zero_threshold > 0.0, "or it would not be native");
    let spans = mail
        .positive_span
        .iter()
        .map(|span| (span.offset, span.length));
    assert_eq!(spans.collect::<Vec<_>>(), [(-1, 4)]);
    assert_eq!(mail.positive_delta, [1, 0, -1, 1]);
    let exemplars = mail.bucket.iter().map(|bucket| {
        let exemplar = bucket.exemplar.as_ref();
        exemplar.map(|exemplar| exemplar.value)
    });
    assert_eq!(exemplars.collect::<Vec<_>>(), [Some(0.5), None, Some(4.0)]);
}
