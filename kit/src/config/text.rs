//! Small text forms of the environment: durations and percent-encoding.

use std::time::Duration;

/// What a duration may look like, for error texts.
pub(super) const DURATION_FORMS: &str = "a duration such as 500ms, 25s or 2m";

/// `500ms`, `25s`, `1.5s`, `2m`, `1h`, and a plain `0`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let scale = match unit.trim_start() {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * scale).ok()
}

/// As the variables write it, for start-up lines and error texts.
pub(super) fn show_duration(duration: Duration) -> String {
    format!("{duration:?}")
}

/// RFC 3986 §2.1 escapes; `None` when one is malformed or the bytes are no UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_have_a_unit() {
        fn check(text: &str, expected: Option<Duration>) {
            assert_eq!(parse_duration(text), expected, "{text:?}");
        }
        check("500ms", Some(Duration::from_millis(500)));
        check("25s", Some(Duration::from_secs(25)));
        check("1.5s", Some(Duration::from_millis(1_500)));
        check(" 2m ", Some(Duration::from_secs(120)));
        check("1h", Some(Duration::from_secs(3_600)));
        check("0", Some(Duration::ZERO));
        check("0s", Some(Duration::ZERO));
        check("25", None);
        check("s", None);
        check("", None);
        check("-1s", None);
        check("1.2.3s", None);
        check("1d", None);
        check("1e3s", None);
        check("inf s", None);
        check("99999999999999999999999h", None);
        check("25 säcke", None);
    }

    #[test]
    fn percent_escapes() {
        fn check(text: &str, expected: Option<&str>) {
            assert_eq!(percent_decode(text).as_deref(), expected, "{text:?}");
        }
        check("plain", Some("plain"));
        check("a%20b%2Cc", Some("a b,c"));
        check("%C3%A9", Some("é"));
        check("100%", None);
        check("%zz", None);
        check("%ff", None);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,40}") {
            let _ = parse_duration(&text);
            let _ = percent_decode(&text);
        }
    }
}
