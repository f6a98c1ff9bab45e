//! `Server-Timing: app;dur=MS` (W3C Server Timing): the server tells its own time, the client layer
//! subtracts it and so knows the network's share of a call.

use std::time::Duration;

use ::http::HeaderMap;

use super::names::SERVER_TIMING;
use crate::digits::padded;

/// The longest value that [`write`] makes, in bytes.
pub(super) const MAX_LEN: usize = 40;

/// Writes the header's value for `elapsed`, in milliseconds with nanosecond digits; gives its length.
#[inline]
pub(super) fn write(elapsed: Duration, text: &mut [u8]) -> Option<usize> {
    const NAME: &[u8] = b"app;dur=";
    let millis = elapsed
        .as_secs()
        .saturating_mul(1_000)
        .saturating_add(elapsed.subsec_millis().into());
    let mut fraction = padded::<7>(elapsed.subsec_nanos() % 1_000_000);
    fraction[0] = b'.';
    let mut whole = itoa::Buffer::new();
    let whole = whole.format(millis).as_bytes();
    let (name, rest) = text.split_at_mut_checked(NAME.len())?;
    name.copy_from_slice(NAME);
    let (to, rest) = rest.split_at_mut_checked(whole.len())?;
    to.copy_from_slice(whole);
    *rest.first_chunk_mut()? = fraction;
    Some(NAME.len() + whole.len() + fraction.len())
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
        let mut text = vec![0; MAX_LEN];
        let len = write(elapsed, &mut text).unwrap();
        text.truncate(len);
        String::from_utf8(text).unwrap()
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
