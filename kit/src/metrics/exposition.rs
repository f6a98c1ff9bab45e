//! What the formats of `/metrics` are called, and a prometheus-client registry in the older text format.

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
pub(super) fn downgrade(open_metrics: &str, out: &mut String) {
    out.reserve(open_metrics.len());
    // The help comes before the type, which decides under which name it is told.
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').or(Some((rest, "")));
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "stateset" => ("", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                // prometheus-client escapes no help, and this format has it escaped.
                let help = help.replace('\\', "\\\\");
                out.extend(["# HELP ", name, suffix, " ", &help, "\n"]);
            }
            out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            out.extend([without_exemplar(line), "\n"]);
        }
    }
}

/// An exemplar follows ` # ` outside of any label value.
fn without_exemplar(line: &str) -> &str {
    // Most lines have none, and this is soon seen.
    if !line.as_bytes().contains(&b'#') {
        return line;
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'#' if !quoted => return line.get(..at).unwrap_or(line).trim_end(),
            _ => {}
        }
    }
    line
}
