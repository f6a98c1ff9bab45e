//! What is written, read back with prost and held against what prometheus-client's own encoder makes.

use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_protobuf::{encode, prometheus_data_model as proto};
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::{CounterWithExemplar, HistogramWithExemplars};
use prometheus_client::metrics::family::Family as AppFamily;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Unit;
use proptest::collection::vec as many;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::context::{SpanId, TraceId};

type Labels = Vec<(String, String)>;

/// Seconds of a time that goes through text lose what a float of their size does not hold.
const NANOSECONDS_LOST: i64 = 1_000;

fn decoded(mut bytes: &[u8]) -> Vec<proto::MetricFamily> {
    let mut families = Vec::new();
    while !bytes.is_empty() {
        families.push(proto::MetricFamily::decode_length_delimited(&mut bytes).unwrap());
    }
    families
}

/// The registry by way of the text.
fn by_text(registry: &Registry) -> Vec<proto::MetricFamily> {
    let mut text = String::new();
    encode_registry(&mut text, registry).unwrap();
    let mut families = Families::default();
    registered::write(&text, &mut families).unwrap_or_else(|| panic!("{text}"));
    decoded(&families.finish())
}

fn exemplars(families: &mut [proto::MetricFamily]) -> impl Iterator<Item = &mut proto::Exemplar> {
    let metrics = families.iter_mut().flat_map(|family| &mut family.metric);
    metrics.flat_map(|metric| {
        let counter = metric.counter.iter_mut();
        let counter = counter.flat_map(|counter| &mut counter.exemplar);
        let buckets = metric.histogram.iter_mut();
        let buckets = buckets.flat_map(|histogram| &mut histogram.bucket);
        counter.chain(buckets.flat_map(|bucket| &mut bucket.exemplar))
    })
}

/// Labels of a metric have no order, but the two ways have theirs.
fn sort_labels(families: &mut [proto::MetricFamily]) {
    for metric in families.iter_mut().flat_map(|family| &mut family.metric) {
        metric.label.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

/// Times that are the same but for what a float loses become the same.
fn align_times(ours: &mut [proto::MetricFamily], theirs: &mut [proto::MetricFamily]) {
    for (ours, theirs) in exemplars(ours).zip(exemplars(theirs)) {
        if let (Some(ours), Some(theirs)) = (&mut ours.timestamp, theirs.timestamp) {
            let apart = (ours.seconds - theirs.seconds) * 1_000_000_000
                + i64::from(ours.nanos - theirs.nanos);
            if apart.abs() <= NANOSECONDS_LOST {
                *ours = theirs;
            }
        }
    }
}

/// What stands in a label: all that has a meaning in the text, and any character.
fn value() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        proptest::sample::select("\\\"\n\r #{}=,e+".chars().collect::<Vec<_>>()),
        any::<char>(),
    ];
    many(character, 0..8).prop_map(|characters| characters.into_iter().collect())
}

fn label_set(names: &'static [&'static str]) -> impl Strategy<Value = Labels> {
    let named = |(name, value): (&&str, String)| (name.to_string(), value);
    many(value(), 0..=names.len())
        .prop_map(move |values| names.iter().zip(values).map(named).collect())
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        any::<u64>().prop_map(f64::from_bits),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
    ]
}

fn time() -> impl Strategy<Value = Option<SystemTime>> {
    let since_1970 = (0..4_000_000_000_u64, 0..1_000_000_000_u32);
    proptest::option::of(
        since_1970.prop_map(|(secs, nanos)| UNIX_EPOCH + Duration::new(secs, nanos)),
    )
}

type Seen = (f64, Option<Labels>, Option<SystemTime>);

fn seen() -> impl Strategy<Value = Seen> {
    let labels = proptest::option::of(label_set(&["trace_id", "span_id"]));
    (number(), labels, time())
}

fn bounds() -> impl Strategy<Value = Vec<f64>> {
    let finite = any::<f64>().prop_filter("a bound", |bound| bound.is_finite());
    many(finite, 0..6).prop_map(|mut bounds| {
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        bounds
    })
}

fn unit() -> impl Strategy<Value = Option<Unit>> {
    prop_oneof![
        Just(None),
        Just(Some(Unit::Seconds)),
        Just(Some(Unit::Other("per minute".to_owned()))),
    ]
}

#[derive(Clone, Debug)]
enum App {
    Counts(Vec<(Labels, u64)>),
    Float(f64),
    Gauges(Vec<(Labels, f64)>),
    Signed(i64),
    Info(Labels),
    Histograms(Vec<f64>, Vec<(Labels, Vec<f64>)>),
    CounterWithExemplar(Seen),
    HistogramWithExemplars(Vec<f64>, Vec<Seen>),
}

fn app() -> impl Strategy<Value = App> {
    let labels = || label_set(&["a", "b", "code"]);
    prop_oneof![
        many((labels(), any::<u64>()), 0..3).prop_map(App::Counts),
        number().prop_map(App::Float),
        many((labels(), number()), 0..3).prop_map(App::Gauges),
        any::<i64>().prop_map(App::Signed),
        labels().prop_map(App::Info),
        (bounds(), many((labels(), many(number(), 0..5)), 0..3))
            .prop_map(|(bounds, series)| App::Histograms(bounds, series)),
        seen().prop_map(App::CounterWithExemplar),
        (bounds(), many(seen(), 0..5))
            .prop_map(|(bounds, seen)| App::HistogramWithExemplars(bounds, seen)),
    ]
}

impl App {
    fn register(self, registry: &mut Registry, name: &str, help: String, unit: Option<Unit>) {
        match self {
            Self::Counts(series) => {
                let family = AppFamily::<Labels, Counter>::default();
                for (labels, count) in series {
                    family.get_or_create(&labels).inc_by(count);
                }
                add(registry, name, help, unit, family);
            }
            Self::Float(value) => {
                let counter = Counter::<f64, std::sync::atomic::AtomicU64>::default();
                counter.inc_by(value);
                add(registry, name, help, unit, counter);
            }
            Self::Gauges(series) => {
                let family =
                    AppFamily::<Labels, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
                for (labels, value) in series {
                    family.get_or_create(&labels).set(value);
                }
                add(registry, name, help, unit, family);
            }
            Self::Signed(value) => {
                let gauge: Gauge = Gauge::default();
                gauge.set(value);
                add(registry, name, help, unit, gauge);
            }
            Self::Info(labels) => add(registry, name, help, unit, Info::new(labels)),
            Self::Histograms(bounds, series) => {
                let new = move || Histogram::new(bounds.clone());
                let family = AppFamily::<Labels, Histogram, _>::new_with_constructor(new);
                for (labels, values) in series {
                    for value in values {
                        family.get_or_create(&labels).observe(value);
                    }
                }
                add(registry, name, help, unit, family);
            }
            Self::CounterWithExemplar((value, labels, at)) => {
                let counter = CounterWithExemplar::<Labels, f64>::default();
                counter.inc_by(value, labels, at);
                add(registry, name, help, unit, counter);
            }
            Self::HistogramWithExemplars(bounds, seen) => {
                let histogram = HistogramWithExemplars::<Labels>::new(bounds.into_iter());
                for (value, labels, at) in seen {
                    histogram.observe(value, labels, at);
                }
                add(registry, name, help, unit, histogram);
            }
        }
    }
}

fn add(
    registry: &mut Registry,
    name: &str,
    help: String,
    unit: Option<Unit>,
    metric: impl prometheus_client::registry::Metric,
) {
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, metric),
        None => registry.register(name, help, metric),
    }
}

proptest! {
    #[test]
    fn nothing_of_a_registry_is_lost_in_its_text(
        apps in many((app(), value(), unit()), 0..6),
        fixed in label_set(&["region", "zone"]),
    ) {
        let mut root = Registry::default();
        let fixed = fixed.into_iter().map(|(name, value)| (name.into(), value.into()));
        let mut inner = root.sub_registry_with_labels(fixed);
        for (number, (app, help, unit)) in apps.into_iter().enumerate() {
            if number == 3 {
                inner = inner.sub_registry_with_prefix("app");
            }
            app.register(inner, &format!("metric_{number}"), help, unit);
        }
        let (mut ours, mut theirs) = (by_text(&root), encode(&root).unwrap());
        theirs.retain(|family| !family.metric.is_empty());
        sort_labels(&mut ours);
        sort_labels(&mut theirs);
        align_times(&mut ours, &mut theirs);
        // As they print: no number is equal to NaN.
        prop_assert_eq!(format!("{ours:#?}"), format!("{theirs:#?}"));
    }

    #[test]
    fn any_histogram_of_the_kits_comes_out(
        buckets in many((number(), any::<u64>(), any::<bool>()), 0..20),
        sum in number(),
        (schema, zero_threshold, zero_count, count)
            in (any::<i32>(), number(), any::<u64>(), any::<u64>()),
        spans in many(any::<(i32, u32)>(), 0..5),
        deltas in many(any::<i64>(), 0..40),
        (route, help) in (value(), value()),
    ) {
        let seen = |value| crate::metrics::histogram::Seen {
            trace: crate::metrics::Exemplar {
                trace_id: TraceId::from_hex(b"0af7651916cd43dd8448eb211c80319c").unwrap(),
                span_id: SpanId::from_hex(b"b7ad6b7169203331").unwrap(),
            },
            seconds: value,
            at: UNIX_EPOCH + Duration::new(1_700_000_000, 5),
        };
        let views: Vec<_> = buckets
            .iter()
            .map(|(bound, cumulative, has_seen)| BucketView {
                bound: *bound,
                cumulative: *cumulative,
                exemplar: has_seen.then(|| seen(*bound)),
            })
            .collect();
        let native = NativeView {
            schema,
            zero_threshold,
            zero_count,
            spans: spans.clone(),
            deltas: deltas.clone(),
            count,
        };
        let labels = labels::LabelText::default().with("http_route", &route);
        let mut families = Families::default();
        families.family("wait_seconds", Type::Histogram, Some("seconds"), &help);
        families.histogram(labels.as_str(), sum, &views, &native);

        let pair = |name: &str, value: &str| proto::LabelPair {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let bucket = |(bound, cumulative, has_seen): &(f64, u64, bool)| proto::Bucket {
            cumulative_count: if bound.is_finite() { *cumulative } else { count },
            upper_bound: *bound,
            exemplar: has_seen.then(|| proto::Exemplar {
                label: vec![
                    pair("trace_id", "0af7651916cd43dd8448eb211c80319c"),
                    pair("span_id", "b7ad6b7169203331"),
                ],
                value: *bound,
                timestamp: Some((UNIX_EPOCH + Duration::new(1_700_000_000, 5)).into()),
            }),
            ..proto::Bucket::default()
        };
        let span = |(offset, length)| proto::BucketSpan { offset, length };
        let expected = proto::MetricFamily {
            name: "wait_seconds".to_owned(),
            help,
            r#type: proto::MetricType::Histogram.into(),
            metric: vec![proto::Metric {
                label: vec![pair("http_route", &route)],
                histogram: Some(proto::Histogram {
                    sample_count: count,
                    sample_sum: sum,
                    bucket: buckets.iter().map(bucket).collect(),
                    schema,
                    zero_threshold,
                    zero_count,
                    positive_span: spans.into_iter().map(span).collect(),
                    positive_delta: deltas,
                    ..proto::Histogram::default()
                }),
                ..proto::Metric::default()
            }],
            unit: "seconds".to_owned(),
        };
        let ours = decoded(&families.finish());
        prop_assert_eq!(format!("{ours:#?}"), format!("{:#?}", [expected]));
    }
}

/// A family of each type that a collector may tell, and one without a sample.
#[derive(Debug)]
struct Odd;

impl Collector for Odd {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encoder.encode_descriptor("nothing", "", None, MetricType::Counter)?;
        let unknown = encoder.encode_descriptor("odd", "", None, MetricType::Unknown)?;
        ConstGauge::new(-2.5).encode(unknown)?;
        encoder.encode_descriptor("nothing_again", "", None, MetricType::Gauge)?;
        Ok(())
    }
}

#[test]
fn what_collectors_tell_comes_out() {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Odd));
    let families = by_text(&registry);
    let [odd] = families.as_slice() else {
        panic!("{families:?}");
    };
    assert_eq!((odd.name.as_str(), odd.help.as_str()), ("odd", ""));
    assert_eq!(odd.r#type(), proto::MetricType::Untyped);
    assert_eq!(odd.metric[0].untyped, Some(proto::Untyped { value: -2.5 }));
}

#[test]
fn lengths_of_any_size_are_written() {
    for length in [0, 1, 127, 128, 16_383, 16_384, 2_100_000] {
        let help = "é".repeat(length / 2) + &"e".repeat(length % 2);
        let mut families = Families::default();
        families.family("some", Type::Gauge, None, &help);
        families.sample("", 1.0);
        families.family("other", Type::Counter, None, "");
        families.sample("", 2.0);
        let families = decoded(&families.finish());
        assert_eq!(families[0].help, help);
        let counter = families[1].metric[0].counter.as_ref();
        assert_eq!(counter.map(|counter| counter.value), Some(2.0));
    }
}

#[test]
fn what_prometheus_client_does_not_write_is_refused() {
    fn check(text: &str) {
        let written = registered::write(text, &mut Families::default());
        assert_eq!(written, None, "{text}");
    }
    check("a 1\n");
    check("# HELP a A.\na 1\n");
    check("# HELP a A.\n# TYPE b gauge\na 1\n");
    check("# HELP a A.\n# TYPE a summary\na 1\n");
    for line in [
        "b 1",
        "a",
        "a{b=\"c\" 1",
        "a{b=\"c\"}1",
        "a one",
        "a 1 # {b=\"c\"}",
        "a 1 # {b=\"c\" 1",
        "a 1 # {b=\"c\"} one",
        "a 1 # {b=\"c\"} 1 now",
        "a 1 # {b=\"c\"} 1 -1",
        "a_total 1",
    ] {
        check(&format!("# HELP a A.\n# TYPE a gauge\n{line}\n"));
    }
    for lines in [
        "a_sum 1",
        "a_count 1",
        "a_sum one\na_count 1",
        "a_sum 1\na_count 0.5",
        "a_sum 1\na_bucket{le=\"1\"} 1\na_count 1",
        "a_sum 1\na_count 1\na_bucket{b=\"1\"} 1",
        "a_sum 1\na_count 1\na_bucket{le=\"one\"} 1",
        "a_sum 1\na_count 1\na_bucket{le=\"1\"} 1.5",
    ] {
        check(&format!("# HELP a A.\n# TYPE a histogram\n{lines}\n"));
    }
}
