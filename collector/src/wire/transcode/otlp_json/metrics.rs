//! Metrics in OTLP/JSON (metrics.proto): every kind of data point.

use super::fields::{
    Seen, exemplar_field, exponential_point_field, histogram_point_field, metric_field,
    number_point_field, summary_point_field,
};
use super::{Json, Lists, Request};
use crate::wire::transcode::json_reader::JsonResult;
use crate::wire::transcode::proto_writer::{Expected, ProtoWriter};

pub(super) const LISTS: Lists = Lists {
    item: "data point",
    resources: ["resourceMetrics", "resource_metrics"],
    scopes: ["scopeMetrics", "scope_metrics"],
    elements: ["metrics", "metrics"],
    element: Request::metric,
};

type Read = fn(&mut Request, &mut Json<'_>) -> JsonResult<()>;

impl Request {
    fn metric(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        let mut has_data = false;
        json.object(|json, name| {
            let Some(number) = metric_field(&name) else {
                return json.skip();
            };
            seen.first(number, json)?;
            // The last field that the data has, and its points.
            let (last, point): (u32, Read) = match number {
                5 => (1, Self::number_point),
                7 => (3, Self::number_point),
                9 => (2, Self::histogram_point),
                10 => (2, Self::exponential_point),
                11 => (1, Self::summary_point),
                12 => return self.attributes(json, 12, 0),
                _ => return self.text(json, number),
            };
            if std::mem::replace(&mut has_data, true) {
                return Err(json.fault("a metric that has a second kind of data"));
            }
            self.message(json, number, Expected::Medium, |this, json| {
                this.data(json, last, point)
            })
        })
    }

    /// `Gauge`, `Sum`, `Histogram` and so on: they have the first ones of three fields.
    fn data(&mut self, json: &mut Json<'_>, last: u32, point: Read) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let number = match &*name {
                "dataPoints" | "data_points" => 1,
                "aggregationTemporality" | "aggregation_temporality" => 2,
                "isMonotonic" | "is_monotonic" => 3,
                _ => return json.skip(),
            };
            if number > last {
                return json.skip();
            }
            seen.first(number, json)?;
            match number {
                1 => self.messages(json, 1, Expected::Medium, |this, json| {
                    point(this, json)?;
                    this.items += 1;
                    Ok(())
                }),
                2 => self.named_enumeration(json, 2, "aggregationTemporality", temporality),
                _ => {
                    let is_monotonic = json.boolean()?;
                    self.out.number(3, u64::from(is_monotonic));
                    Ok(())
                }
            }
        })
    }

    fn number_point(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        let mut has_value = false;
        json.object(|json, name| {
            let Some(number) = number_point_field(&name) else {
                return json.skip();
            };
            seen.first(number, json)?;
            match number {
                2 | 3 => self.time(json, number),
                4 | 6 => self.number_value(json, number, number == 6, &mut has_value),
                5 => self.messages(json, 5, Expected::Small, Self::exemplar),
                7 => self.attributes(json, 7, 0),
                _ => self.count(json, number),
            }
        })
    }

    fn exemplar(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        let mut has_value = false;
        json.object(|json, name| {
            let Some(number) = exemplar_field(&name) else {
                return json.skip();
            };
            seen.first(number, json)?;
            match number {
                2 => self.time(json, 2),
                3 | 6 => self.number_value(json, number, number == 6, &mut has_value),
                4 => self.id::<8>(json, 4, "spanId"),
                5 => self.id::<16>(json, 5, "traceId"),
                _ => self.attributes(json, number, 0),
            }
        })
    }

    fn histogram_point(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let Some(number) = histogram_point_field(&name) else {
                return json.skip();
            };
            seen.first(number, json)?;
            match number {
                2..=4 => self.time(json, number),
                5 | 11 | 12 => self.double(json, number),
                6 => self.packed(json, 6, |json, out| {
                    let count: u64 = json.integer()?;
                    out.fields(&count.to_le_bytes());
                    Ok(())
                }),
                7 => self.packed(json, 7, |json, out| {
                    let bound = json.double()?;
                    out.fields(&bound.to_le_bytes());
                    Ok(())
                }),
                8 => self.messages(json, 8, Expected::Small, Self::exemplar),
                9 => self.attributes(json, 9, 0),
                _ => self.count(json, number),
            }
        })
    }

    fn exponential_point(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let Some(number) = exponential_point_field(&name) else {
                return json.skip();
            };
            seen.first(number, json)?;
            match number {
                1 => self.attributes(json, 1, 0),
                2..=4 | 7 => self.time(json, number),
                5 | 12 | 13 => self.double(json, number),
                6 => self.signed(json, 6),
                8 | 9 => self.message(json, number, Expected::Small, Self::buckets),
                11 => self.messages(json, 11, Expected::Small, Self::exemplar),
                14 => self.double_but_zero(json, 14),
                _ => self.count(json, number),
            }
        })
    }

    /// `ExponentialHistogramDataPoint.Buckets`.
    fn buckets(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "offset" => {
                seen.first(1, json)?;
                self.signed(json, 1)
            }
            "bucketCounts" | "bucket_counts" => {
                seen.first(2, json)?;
                self.packed(json, 2, |json, out| {
                    out.bare_varint(json.integer()?);
                    Ok(())
                })
            }
            _ => json.skip(),
        })
    }

    fn summary_point(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let Some(number) = summary_point_field(&name) else {
                return json.skip();
            };
            seen.first(number, json)?;
            match number {
                2..=4 => self.time(json, number),
                5 => self.double_but_zero(json, 5),
                6 => self.messages(json, 6, Expected::Small, Self::quantile),
                7 => self.attributes(json, 7, 0),
                _ => self.count(json, number),
            }
        })
    }

    /// `SummaryDataPoint.ValueAtQuantile`.
    fn quantile(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let number = match &*name {
                "quantile" => 1,
                "value" => 2,
                _ => return json.skip(),
            };
            seen.first(number, json)?;
            self.double_but_zero(json, number)
        })
    }

    /// `as_double`, or `as_int` when it `is_int`: a point has one of them, and it is written even when it is zero.
    fn number_value(
        &mut self,
        json: &mut Json<'_>,
        field: u32,
        is_int: bool,
        has_value: &mut bool,
    ) -> JsonResult<()> {
        if std::mem::replace(has_value, true) {
            return Err(json.fault("a value that has a second value"));
        }
        if is_int {
            let value: i64 = json.integer()?;
            self.out.fixed64(field, value.cast_unsigned());
            return Ok(());
        }
        self.double(json, field)
    }

    /// `optional double`.
    fn double(&mut self, json: &mut Json<'_>, field: u32) -> JsonResult<()> {
        let value = json.double()?;
        self.out.fixed64(field, value.to_bits());
        Ok(())
    }

    /// `double`; protobuf leaves out zero, but not the negative one.
    fn double_but_zero(&mut self, json: &mut Json<'_>, field: u32) -> JsonResult<()> {
        let bits = json.double()?.to_bits();
        if bits != 0 {
            self.out.fixed64(field, bits);
        }
        Ok(())
    }

    /// `sint32`, whose sign is the lowest bit.
    fn signed(&mut self, json: &mut Json<'_>, field: u32) -> JsonResult<()> {
        let value: i32 = json.integer()?;
        let zigzag = (value << 1 ^ value >> 31).cast_unsigned();
        self.out.number(field, u64::from(zigzag));
        Ok(())
    }

    /// A list of numbers, one behind the other without tags.
    fn packed(
        &mut self,
        json: &mut Json<'_>,
        field: u32,
        mut element: impl FnMut(&mut Json<'_>, &mut ProtoWriter) -> JsonResult<()>,
    ) -> JsonResult<()> {
        let before = self.out.len();
        let list = self.out.open(field, Expected::Small);
        let mut is_empty = true;
        json.array(|json| {
            is_empty = false;
            element(json, &mut self.out)
        })?;
        if is_empty {
            self.out.truncate(before);
        } else {
            self.out.close(list);
        }
        Ok(())
    }
}

/// `AggregationTemporality`.
fn temporality(name: &str) -> Option<u64> {
    Some(match name {
        "AGGREGATION_TEMPORALITY_UNSPECIFIED" => 0,
        "AGGREGATION_TEMPORALITY_DELTA" => 1,
        "AGGREGATION_TEMPORALITY_CUMULATIVE" => 2,
        _ => return None,
    })
}
