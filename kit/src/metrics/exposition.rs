//! `/metrics` as text: which format a scraper wants, and a prometheus-client registry in the older one.

use ::http::HeaderValue;

use super::text::Format;

/// `Content-Type` of a format.
pub(super) fn content_type(format: Format) -> &'static str {
    match format {
        Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
    }
}

/// OpenMetrics for whoever names it and does not prefer plain text; a browser or `curl` gets the latter.
pub(super) fn negotiate(accept: Option<&HeaderValue>) -> Format {
    let accept = accept
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let best = |wanted: fn(&str, &[&str]) -> bool| {
        ranges(accept)
            .filter(|range| wanted(range.media, &range.parameters))
            .map(|range| range.quality)
            .fold(0.0, f64::max)
    };
    let open_metrics = best(|media, parameters| {
        media.eq_ignore_ascii_case("application/openmetrics-text")
            && parameters
                .iter()
                .filter_map(|parameter| parameter.strip_prefix("version="))
                .all(|version| matches!(version.trim_matches('"'), "1.0.0" | "0.0.1"))
    });
    let plain = best(|media, _| media.eq_ignore_ascii_case("text/plain"));
    if open_metrics > 0.0 && open_metrics >= plain {
        Format::OpenMetrics
    } else {
        Format::Prometheus
    }
}

/// Rewrites what prometheus-client wrote as OpenMetrics, appending text 0.0.4 to `out`: counters and
/// infos are named with their suffix, units and exemplars are left out.
pub(super) fn downgrade(open_metrics: &str, out: &mut String) {
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
                out.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            out.extend([without_exemplar(line), "\n"]);
        }
    }
}

struct Range<'a> {
    media: &'a str,
    parameters: Vec<&'a str>,
    quality: f64,
}

/// The media ranges of an `Accept` header (RFC 9110 §12.5.1). A quality that is no number counts as 1.
fn ranges(accept: &str) -> impl Iterator<Item = Range<'_>> {
    accept.split(',').map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let (qualities, parameters): (Vec<_>, Vec<_>) =
            parts.partition(|parameter| parameter.starts_with("q="));
        let quality = qualities
            .first()
            .and_then(|quality| quality.get(2..)?.parse().ok())
            .unwrap_or(1.0);
        Range {
            media,
            parameters,
            quality,
        }
    })
}

/// An exemplar follows ` # ` outside of any label value.
fn without_exemplar(line: &str) -> &str {
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
