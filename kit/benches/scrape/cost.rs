//! The kit's own rendering beside prometheus-client's, turn by turn.

use std::time::{Duration, Instant};

use bellwether::Kit;
use http::HeaderValue;
use prometheus_client::encoding::{prometheus_protobuf, text};
use prometheus_client::registry::Registry;

const TURNS: usize = 21;

const TEXT: &str = "text/plain";
const OPEN_METRICS: &str = "application/openmetrics-text";
const PROTOBUF: &str = "application/vnd.google.protobuf;\
                        proto=io.prometheus.client.MetricFamily;encoding=delimited";

pub(crate) fn print(kit: &Kit) {
    let mut registry = Registry::default();
    registry.register("orders", "Orders taken", super::orders());
    let as_text = || {
        let mut out = String::new();
        text::encode(&mut out, &registry).expect("text");
        out.len()
    };
    let as_protobuf = || {
        let out = prometheus_protobuf::encode_to_vec(&registry);
        out.expect("protobuf").len()
    };
    let by_kit = |accept: &'static str| {
        let accept = HeaderValue::from_static(accept);
        kit.render_metrics(Some(&accept)).1.len()
    };
    let mut cases: [(&str, &dyn Fn() -> usize); 5] = [
        ("prometheus-client, OpenMetrics", &as_text),
        ("kit, OpenMetrics", &|| by_kit(OPEN_METRICS)),
        ("kit, text 0.0.4", &|| by_kit(TEXT)),
        ("prometheus-client, protobuf", &as_protobuf),
        ("kit, protobuf", &|| by_kit(PROTOBUF)),
    ];
    let mut times = [const { Vec::new() }; 5];
    for _ in 0..TURNS {
        for ((_, render), times) in cases.iter_mut().zip(&mut times) {
            let began = Instant::now();
            let bytes = std::hint::black_box(render());
            times.push((began.elapsed(), bytes));
        }
    }
    for ((name, _), times) in cases.iter().zip(&mut times) {
        times.sort_unstable();
        let bytes = times.first().map_or(0, |(_, bytes)| *bytes);
        let times: Vec<Duration> = times.iter().map(|(time, _)| *time).collect();
        println!(
            "{name:32}{:8.1} ms (median of {TURNS}; fastest {:.1}){:8.1} MB",
            super::milliseconds(super::percentile(&times, 50)),
            super::milliseconds(times.first().copied().unwrap_or_default()),
            bytes as f64 / 1e6,
        );
    }
}
