//! What the formats of `/metrics` are called, and a prometheus-client registry in the older text format.

use std::fmt;

use super::families::{self, Family};
use super::text::Format;

/// `Content-Type` of a format.
pub(super) fn content_type(format: Format) -> &'static str {
    match format {
        Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        Format::Protobuf => {
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
        }
    }
}

/// Rewrites what prometheus-client wrote as OpenMetrics, appending text 0.0.4 to `out`: counters and
/// infos are named with their suffix, units and exemplars are left out.
///
/// # Errors
///
/// When this is not what prometheus-client writes.
pub(super) fn downgrade(open_metrics: &str, out: &mut String) -> fmt::Result {
    out.reserve(open_metrics.len());
    for family in families::of(open_metrics) {
        let family = family.ok_or(fmt::Error)?;
        let (suffix, kind) = match family.kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            "stateset" => ("", "gauge"),
            "unknown" => ("", "untyped"),
            kind => ("", kind),
        };
        // prometheus-client escapes no help, and this format has it escaped.
        let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
        out.extend(["# HELP ", family.name, suffix, " ", &help, "\n"]);
        out.extend(["# TYPE ", family.name, suffix, " ", kind, "\n"]);
        for line in family.lines() {
            let line = without_exemplar(&family, line).ok_or(fmt::Error)?;
            out.extend([line, "\n"]);
        }
    }
    Ok(())
}

/// None if the line is no sample of the family.
fn without_exemplar<'a>(family: &Family<'a>, line: &'a str) -> Option<&'a str> {
    // Most lines have none, and this is soon seen.
    if !line.as_bytes().contains(&b'#') {
        return Some(line);
    }
    match family.sample(line)?.exemplar {
        Some(exemplar) => line.strip_suffix(exemplar)?.strip_suffix(" # "),
        None => Some(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_has_other_names_and_escapes() {
        let open_metrics = "# HELP orders Two\nlines \\.\n# TYPE orders counter\n\
                            orders_total{kind=\"a # b\"} 1 # {trace_id=\"c # d\"} 1.0 2.5\n\
                            orders_total 2\n\
                            # HELP wait_seconds \n# TYPE wait_seconds unknown\n\
                            # UNIT wait_seconds seconds\nwait_seconds 3\n";
        let mut text = String::new();
        assert_eq!(downgrade(open_metrics, &mut text), Ok(()));
        let expected = "# HELP orders_total Two\\nlines \\\\.\n# TYPE orders_total counter\n\
                        orders_total{kind=\"a # b\"} 1\n\
                        orders_total 2\n\
                        # HELP wait_seconds \n# TYPE wait_seconds untyped\n\
                        wait_seconds 3\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_prometheus_client_does_not_write_is_refused() {
        for text in [
            "orders 1\n",
            "# HELP a A.\n# TYPE a gauge\n# TYPE a gauge\n",
        ] {
            assert_eq!(downgrade(text, &mut String::new()), Err(fmt::Error));
        }
    }
}
