//! Log records in OTLP/JSON (logs.proto).

use super::fields::{Seen, log_record_field};
use super::{Json, Lists, Request};
use crate::wire::transcode::json_reader::JsonResult;
use crate::wire::transcode::proto_writer::Expected;

pub(super) const LISTS: Lists = Lists {
    item: "log record",
    resources: ["resourceLogs", "resource_logs"],
    scopes: ["scopeLogs", "scope_logs"],
    elements: ["logRecords", "log_records"],
    element: Request::log_record,
};

impl Request {
    fn log_record(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let Some(number) = log_record_field(&name) else {
                return json.skip();
            };
            seen.first(number, json)?;
            match number {
                1 | 11 => self.time(json, number),
                2 => self.named_enumeration(json, 2, "severityNumber", severity),
                3 | 12 => self.text(json, number),
                5 => self.message(json, 5, Expected::Small, |this, json| {
                    this.any_value(json, 0)
                }),
                6 => self.attributes(json, 6, 0),
                8 => self.flags(json, 8),
                9 => self.id::<16>(json, 9, "traceId"),
                10 => self.id::<8>(json, 10, "spanId"),
                _ => self.count(json, number),
            }
        })?;
        self.items += 1;
        Ok(())
    }
}

/// `SeverityNumber`: six levels of four each.
fn severity(name: &str) -> Option<u64> {
    const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let name = name.strip_prefix("SEVERITY_NUMBER_")?;
    if name == "UNSPECIFIED" {
        return Some(0);
    }
    let numbers = (1..).step_by(4).zip(LEVELS);
    numbers.into_iter().find_map(|(first, level)| {
        Some(match name.strip_prefix(level)? {
            "" => first,
            "2" => first + 1,
            "3" => first + 2,
            "4" => first + 3,
            _ => return None,
        })
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::SeverityNumber;

    use super::*;

    #[test]
    fn severities_have_their_names() {
        for number in 0..=24 {
            let name = SeverityNumber::try_from(number).unwrap().as_str_name();
            assert_eq!(severity(name), u64::try_from(number).ok(), "{name}");
        }
        for other in ["INFO", "SEVERITY_NUMBER_INFO1", "SEVERITY_NUMBER_INFO5", ""] {
            assert_eq!(severity(other), None, "{other}");
        }
    }
}
