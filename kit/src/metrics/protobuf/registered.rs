//! The application's registry in protobuf, made of what prometheus-client writes as OpenMetrics text. Its own protobuf
//! encoder, of the feature `prometheus-protobuf`, takes a compiler of protobuf to build, and has nothing more to say
//! but native histograms.

use std::time::Duration;

use super::{Bucket, Exemplar, Families, Type, write_classic};
use crate::metrics::families::{self, Family, Sample};
use crate::metrics::labels;

/// Writes all families of `open_metrics`; none if there is anything that prometheus-client does not write.
pub(super) fn write(open_metrics: &str, out: &mut Families) -> Option<()> {
    for family in families::of(open_metrics) {
        let family = family?;
        let (suffix, kind) = match family.kind {
            "counter" => ("_total", Type::Counter),
            "gauge" => ("", Type::Gauge),
            "histogram" => ("", Type::Histogram),
            "info" => ("_info", Type::Gauge),
            "unknown" => ("", Type::Untyped),
            _ => return None,
        };
        let name = [family.name, suffix].concat();
        out.family(&name, kind, family.unit, family.help);
        if kind == Type::Histogram {
            write_histograms(&family, out)?;
        } else {
            write_samples(&family, suffix, out)?;
        }
    }
    Some(())
}

fn write_samples(family: &Family<'_>, suffix: &str, out: &mut Families) -> Option<()> {
    for line in family.lines() {
        let sample = family.sample(line)?;
        if sample.suffix != suffix {
            return None;
        }
        let value = sample.value.parse().ok()?;
        let exemplar = exemplar(sample.exemplar)?;
        out.sample_with(sample.labels, value, exemplar.as_ref());
    }
    Some(())
}

/// Each is a sum, a count and its buckets, in this order.
fn write_histograms(family: &Family<'_>, out: &mut Families) -> Option<()> {
    let mut lines = family.lines().map(|line| family.sample(line)).peekable();
    while let Some(sample) = lines.next() {
        let sum = sample.filter(|sample| sample.suffix == "_sum")?;
        let count = lines.next()?.filter(|sample| sample.suffix == "_count")?;
        let mut buckets = Vec::new();
        while let Some(Some(sample)) = lines.next_if(is_bucket) {
            buckets.push(bucket(&sample)?);
        }
        let (total, count) = (sum.value.parse().ok()?, count.value.parse().ok()?);
        out.metric(sum.labels, |metric| {
            metric.message(7, |histogram| {
                write_classic(histogram, count, total, buckets);
            });
        });
    }
    Some(())
}

fn is_bucket(sample: &Option<Sample<'_>>) -> bool {
    matches!(sample, Some(sample) if sample.suffix == "_bucket")
}

fn bucket<'a>(sample: &Sample<'a>) -> Option<Bucket<'a>> {
    let (_, bound) = labels::pairs(sample.labels).find(|(name, _)| *name == "le")?;
    Some(Bucket {
        bound: bound.parse().ok()?,
        cumulative: sample.value.parse().ok()?,
        exemplar: exemplar(sample.exemplar)?,
    })
}

/// `{…} value` or `{…} value timestamp`, which is in seconds.
fn exemplar(text: Option<&str>) -> Option<Option<Exemplar<'_>>> {
    let Some(text) = text else {
        return Some(None);
    };
    let (labels, rest) = labels::split_off(text)?;
    let (value, at) = match rest.strip_prefix(' ')?.split_once(' ') {
        Some((value, at)) => (value, Some(at)),
        None => (rest.strip_prefix(' ')?, None),
    };
    let at = match at {
        Some(at) => Some(Duration::try_from_secs_f64(at.parse().ok()?).ok()?),
        None => None,
    };
    Some(Some(Exemplar {
        labels: labels.into(),
        value: value.parse().ok()?,
        at,
    }))
}
