//! `Server-Timing: app;dur=MS` (W3C Server Timing): the server tells its own time, the client layer
//! subtracts it and so knows the network's share of a call.

use std::time::Duration;

use ::http::HeaderMap;

use super::names::SERVER_TIMING;

/// The longest value that [`write`] makes, in bytes.
pub(super) const MAX_LEN: usize = 40;

/// The header's value for `elapsed`, in milliseconds with nanosecond digits.
pub(super) fn write(elapsed: Duration, text: &mut [u8; MAX_LEN]) -> &[u8] {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    // A leading 1 keeps the fraction's zeros.
    let fraction = 1_000_000 + elapsed.subsec_nanos() % 1_000_000;
    let (mut whole, mut digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    let parts = [
        &b"app;dur="[..],
        whole.format(millis).as_bytes(),
        b".",
        digits
            .format(fraction)
            .as_bytes()
            .get(1..)
            .unwrap_or_default(),
    ];
    let mut len = 0;
    for part in parts {
        let end = len + part.len();
        if let Some(to) = text.get_mut(len..end) {
            to.copy_from_slice(part);
            len = end;
        }
    }
    text.get(..len).unwrap_or_default()
}

/// The server's own time. Of several `app` entries the last one counts: ours is appended, so what a
/// proxy copied from its upstream comes before it.
pub(crate) fn app_duration(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all(SERVER_TIMING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| split_unquoted(value, ','))
        .filter_map(app_entry)
        .last()
}

/// `app;dur=1.5`, in any order of parameters; `None` for other metrics and unreadable durations.
fn app_entry(entry: &str) -> Option<Duration> {
    let mut parts = split_unquoted(entry, ';').map(str::trim);
    if parts.next() != Some("app") {
        return None;
    }
    let millis = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("dur").then_some(value)
    })?;
    let millis: f64 = millis.parse().ok()?;
    Duration::try_from_secs_f64(millis / 1_000.0).ok()
}

/// Splits at `separator` outside quoted strings.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character| {
        if escaped {
            escaped = false;
        } else if quoted && character == '\\' {
            escaped = true;
        } else if character == '"' {
            quoted = !quoted;
        }
        !quoted && character == separator
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use ::http::HeaderValue;

    use super::*;

    fn written(elapsed: Duration) -> String {
        String::from_utf8(write(elapsed, &mut [0; MAX_LEN]).to_vec()).unwrap()
    }

    fn read(values: &[&str]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(SERVER_TIMING, HeaderValue::from_str(value).unwrap());
        }
        app_duration(&headers)
    }

    #[test]
    fn written_in_milliseconds() {
        for (elapsed, text) in [
            (Duration::ZERO, "app;dur=0.000000"),
            (Duration::from_nanos(1), "app;dur=0.000001"),
            (Duration::from_nanos(12_345_678), "app;dur=12.345678"),
            (Duration::from_micros(1_000_050), "app;dur=1000.050000"),
            (Duration::from_secs(3_600), "app;dur=3600000.000000"),
        ] {
            assert_eq!(written(elapsed), text);
        }
        assert!(written(Duration::MAX).starts_with("app;dur=18446744073709551615."));
    }

    #[test]
    fn read_among_other_metrics() {
        let ms = |millis| Some(Duration::from_millis(millis));
        for (values, expected) in [
            (&["app;dur=5"][..], ms(5)),
            (
                &["db;dur=3, app; desc=\"a, b;c\" ;DUR = \"7\" , cache"],
                ms(7),
            ),
            (&["app;dur=5", "app;dur=9"], ms(9)),
            (&["app;dur=5, app;dur=9"], ms(9)),
            (&["db;desc=\"x, app;dur=1\""], None),
            (&["db;desc=\"\\\", app;dur=1\", app;dur=2"], ms(2)),
            (&["apps;dur=5"], None),
            (&["app"], None),
            (&["app;dur="], None),
            (&["app;dur=-1"], None),
            (&["app;dur=NaN"], None),
            (&["app;dur=inf"], None),
            (&["app;dur=1e300"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(read(values), expected, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanos in 0_u64..100_000_000_000_000) {
            let elapsed = Duration::from_nanos(nanos);
            let read = read(&[&written(elapsed)]).unwrap();
            prop_assert!(read.abs_diff(elapsed) <= Duration::from_nanos(100));
        }

        #[test]
        fn any_header(value in "[ -~]{0,80}|(app|dur|;|=|,|\"|\\\\|[0-9.e-]){0,20}") {
            let _ = read(&[&value]);
        }
    }
}
