//! What a scraper wants, by its `Accept` and `Accept-Encoding` (RFC 9110 §12.5): asked by the exposition and by
//! `/metrics`.

use ::http::HeaderValue;

use super::text::Format;

/// The format with the highest quality among those that are named; of equals the richest. Who names none, such
/// as a browser or `curl` with its `*/*`, gets text that people can read.
pub(super) fn format(accept: Option<&HeaderValue>) -> Format {
    let mut best = (0.0, Format::Prometheus);
    for range in preferences(accept) {
        let named = [
            (Format::Prometheus, range.is_plain_text()),
            (Format::OpenMetrics, range.is_open_metrics()),
            (Format::Protobuf, range.is_protobuf()),
        ];
        for (format, _) in named.into_iter().filter(|(_, named)| *named) {
            let better = range.quality > best.0 || (range.quality == best.0 && format > best.1);
            if range.quality > 0.0 && better {
                best = (range.quality, format);
            }
        }
    }
    best.1
}

/// Whether the answer may be, and had better be, compressed with gzip.
#[cfg(feature = "axum")]
pub(crate) fn accepts_gzip(accept_encoding: Option<&HeaderValue>) -> bool {
    let quality = |names: &[&str]| {
        preferences(accept_encoding)
            .find(|coding| names.iter().any(|name| coding.is(name)))
            .map(|coding| coding.quality)
    };
    let gzip = quality(&["gzip", "x-gzip"]).or_else(|| quality(&["*"]));
    let identity = quality(&["identity"]).unwrap_or(0.0);
    gzip.is_some_and(|gzip| gzip > 0.0 && gzip >= identity)
}

/// One member of a header that lists preferences: `name;parameter=value;q=0.5`.
#[derive(Clone, Copy, Debug)]
struct Preference<'a> {
    name: &'a str,
    parameters: &'a str,
    /// 0 to 1. One that is no such number counts as 1.
    quality: f64,
}

fn preferences(header: Option<&HeaderValue>) -> impl Iterator<Item = Preference<'_>> {
    let text = header.and_then(|value| value.to_str().ok());
    text.unwrap_or_default().split(',').map(|member| {
        let (name, parameters) = member.split_once(';').unwrap_or((member, ""));
        let preference = Preference {
            name: name.trim(),
            parameters,
            quality: 1.0,
        };
        let quality = preference
            .parameter("q")
            .and_then(|quality| quality.parse().ok());
        Preference {
            quality: quality
                .filter(|quality| (0.0..=1.0).contains(quality))
                .unwrap_or(1.0),
            ..preference
        }
    })
}

impl<'a> Preference<'a> {
    fn is(self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn parameter(self, wanted: &str) -> Option<&'a str> {
        let mut pairs = self
            .parameters
            .split(';')
            .filter_map(|parameter| parameter.split_once('='));
        let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))?;
        Some(value.trim().trim_matches('"'))
    }

    /// Of any version: the older format is what every scraper reads.
    fn is_plain_text(self) -> bool {
        self.is("text/plain")
    }

    fn is_open_metrics(self) -> bool {
        let version = self.parameter("version");
        self.is("application/openmetrics-text")
            && version.is_none_or(|version| matches!(version, "1.0.0" | "0.0.1"))
    }

    fn is_protobuf(self) -> bool {
        self.is("application/vnd.google.protobuf")
            && self.parameter("proto") == Some("io.prometheus.client.MetricFamily")
            && self.parameter("encoding") == Some("delimited")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOBUF: &str =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily";

    #[test]
    fn the_accept_header_decides_the_format() {
        fn check(accept: &str, expected: Format) {
            let accept = HeaderValue::from_str(accept).unwrap();
            assert_eq!(format(Some(&accept)), expected, "{accept:?}");
        }
        use Format::{OpenMetrics, Prometheus, Protobuf};
        assert_eq!(format(None), Prometheus);
        check("", Prometheus);
        check("*/*", Prometheus);
        check("text/html,*/*;q=0.8", Prometheus);
        check("text/plain", Prometheus);
        check("application/openmetrics-text", OpenMetrics);
        check(
            "Application/OpenMetrics-Text; Version=\"1.0.0\"",
            OpenMetrics,
        );
        check(
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            OpenMetrics,
        );
        check(
            "application/openmetrics-text; version=0.0.1; q=0.5, */*",
            OpenMetrics,
        );
        check("application/openmetrics-text;version=2.0.0", Prometheus);
        check("application/openmetrics-text;q=0", Prometheus);
        check(
            "application/openmetrics-text;q=0.4,text/plain;q=0.6",
            Prometheus,
        );
        check("text/plain, application/openmetrics-text", OpenMetrics);
        check(
            "text/plain;q=nan, application/openmetrics-text;q=0.9",
            Prometheus,
        );
        check("é;q=,;;=,q=1,application/openmetrics-text;q", Prometheus);
        check(&format!("{PROTOBUF};encoding=delimited"), Protobuf);
        check(
            &format!("{PROTOBUF}; encoding=\"delimited\"; Q=0.1"),
            Protobuf,
        );
        check(&format!("{PROTOBUF};encoding=text"), Prometheus);
        check(PROTOBUF, Prometheus);
        check(
            "application/vnd.google.protobuf;encoding=delimited",
            Prometheus,
        );
        check(
            &format!("application/openmetrics-text,{PROTOBUF};encoding=delimited"),
            Protobuf,
        );
        check(
            &format!("application/openmetrics-text,{PROTOBUF};encoding=delimited;q=0.9"),
            OpenMetrics,
        );
    }

    #[test]
    fn prometheus_gets_what_it_likes_best() {
        fn check(accept: &'static str, expected: Format) {
            assert_eq!(format(Some(&HeaderValue::from_static(accept))), expected);
        }
        // Prometheus 3, and 2.42 with native histograms, as they scrape.
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format::OpenMetrics,
        );
        check(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
             application/openmetrics-text;version=1.0.0;q=0.8,\
             application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::Protobuf,
        );
    }

    #[cfg(feature = "axum")]
    #[test]
    fn gzip_is_for_who_accepts_it() {
        fn check(accept: &'static str, expected: bool) {
            let accept = HeaderValue::from_static(accept);
            assert_eq!(accepts_gzip(Some(&accept)), expected, "{accept:?}");
        }
        assert!(!accepts_gzip(None));
        check("", false);
        check("gzip", true);
        check("deflate, GZIP;q=0.5", true);
        check("x-gzip", true);
        check("*", true);
        check("gzip;q=0", false);
        check("gzip;q=0, *", false);
        check("br, zstd", false);
        check("gzip;q=0.5, identity", false);
        check("gzip;q=0.5, identity;q=0.1", true);
    }
}
