//! Numbers as people read them: durations, rates, ratios, bytes, times. Called by every page and chart;
//! nothing here ever prints `NaN` or an infinity.

use std::fmt::Write as _;

/// Stands where there is no number.
pub(super) const NONE: &str = "–";

/// Seconds as `850 ns`, `12.3 µs`, `4.56 ms`, `1.20 s`, `12.3 min`: three significant digits.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NONE.to_owned();
    }
    if seconds == 0.0 {
        return "0 ms".to_owned();
    }
    let sign = if seconds < 0.0 { "−" } else { "" };
    let seconds = seconds.abs();
    const UNITS: [(f64, &str); 6] = [
        (1e-9, "ns"),
        (1e-6, "µs"),
        (1e-3, "ms"),
        (1.0, "s"),
        (60.0, "min"),
        (3600.0, "h"),
    ];
    // The first unit in which the rounded number stays below the next unit: 999.7 ms is 1.00 s.
    for (index, (unit, name)) in UNITS.iter().enumerate() {
        let next = UNITS.get(index + 1).map_or(f64::INFINITY, |next| next.0);
        // Rounding is what takes time.
        if seconds >= next {
            continue;
        }
        let number = three_digits(seconds / unit);
        if number * unit < next {
            return format!("{sign}{}\u{a0}{name}", plain(number));
        }
    }
    NONE.to_owned()
}

/// A duration that may be unknown.
pub(super) fn maybe_duration(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| NONE.to_owned(), duration)
}

/// Events per second as `12.3/s`; seldom ones as `4.50/min`.
pub(super) fn rate(per_second: f64) -> String {
    if !per_second.is_finite() || per_second < 0.0 {
        return NONE.to_owned();
    }
    if per_second == 0.0 {
        return "0/s".to_owned();
    }
    if per_second < 0.1 {
        return format!("{}/min", plain(three_digits(per_second * 60.0)));
    }
    let number = three_digits(per_second);
    if number >= 1e6 {
        format!("{}M/s", plain(three_digits(per_second / 1e6)))
    } else if number >= 1e4 {
        format!("{}k/s", plain(three_digits(per_second / 1e3)))
    } else {
        format!("{}/s", plain(number))
    }
}

/// A share of one as `2.50 %`; what rounds to nothing is told as `< 0.01 %`.
pub(super) fn ratio(share: f64) -> String {
    let percent = share * 100.0;
    if !percent.is_finite() {
        return NONE.to_owned();
    }
    if percent == 0.0 {
        "0\u{a0}%".to_owned()
    } else if percent.abs() < 0.01 {
        "<\u{a0}0.01\u{a0}%".to_owned()
    } else {
        format!("{}\u{a0}%", plain(three_digits(percent)))
    }
}

/// A whole number with its thousands apart: `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 span`, `2 spans`, `1,200 spans`.
pub(super) fn counted(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{}\u{a0}{one}{plural}", count(number))
}

/// Bytes as `512 B`, `1.20 KiB`, `34.5 MiB`.
#[expect(
    clippy::cast_precision_loss,
    reason = "three digits are shown of at most 2^64"
)]
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if unit == 0 {
        return format!("{number}\u{a0}{name}");
    }
    format!("{}\u{a0}{name}", plain(three_digits(value)))
}

/// How long before `now` something was, both Unix nanoseconds: `just now`, `12.0 s ago`.
#[expect(
    clippy::cast_precision_loss,
    reason = "a distance of time, shown with three digits"
)]
pub(super) fn ago(unix_nano: u64, now: u64) -> String {
    let nanos = now.saturating_sub(unix_nano);
    if nanos < 1_000_000_000 {
        return "just now".to_owned();
    }
    format!("{}\u{a0}ago", coarse(nanos as f64 / 1e9))
}

/// Whole units, for ages and window lengths: `45 s`, `5 min`, `2 h`, `3 d`.
pub(super) fn coarse(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NONE.to_owned();
    }
    let (value, unit) = if seconds < 99.5 {
        (seconds, "s")
    } else if seconds < 5_970.0 {
        (seconds / 60.0, "min")
    } else if seconds < 172_800.0 {
        (seconds / 3600.0, "h")
    } else {
        (seconds / 86_400.0, "d")
    };
    format!("{value:.0}\u{a0}{unit}")
}

/// Unix nanoseconds as `2026-11-22 15:46:19.123` (UTC).
pub(super) fn utc(unix_nano: u64) -> String {
    let seconds = unix_nano / 1_000_000_000;
    let millis = unix_nano / 1_000_000 % 1000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03}")
}

/// At most `limit` characters, the rest told by an ellipsis: for SVG text, which cannot clip itself.
pub(super) fn shorten(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (index, letter) in text.chars().enumerate() {
        if index + 1 >= limit && text.chars().nth(index + 1).is_some() {
            out.push('…');
            break;
        }
        // A line break or another control character would end up as an invisible box.
        out.push(if letter.is_control() { '·' } else { letter });
    }
    out
}

/// Percent-encodes all but the unreserved characters (RFC 3986 §2.3), for one segment of a path or one value of a query.
pub(super) fn url_component(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A coordinate for SVG: finite, at most two decimals.
pub(super) fn coordinate(value: f64) -> String {
    let mut out = String::new();
    put_coordinate(&mut out, value);
    out
}

/// Appends a [`coordinate`]. A page of sparks has tens of thousands, so they are written as whole hundredths: formatting
/// floats, exact to the last digit, takes several times as long.
pub(super) fn put_coordinate(out: &mut String, value: f64) {
    let value = if value.is_finite() { value } else { 0.0 };
    let hundredths = (value * 100.0).round() as i64;
    if hundredths < 0 {
        out.push('-');
    }
    let hundredths = hundredths.unsigned_abs();
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    // Writing to a String cannot fail.
    let _ = match (rest / 10, rest % 10) {
        (0, 0) => write!(out, "{whole}"),
        (tenths, 0) => write!(out, "{whole}.{tenths}"),
        (tenths, rest) => write!(out, "{whole}.{tenths}{rest}"),
    };
}

/// A share of one as an SVG length: `12.345%`, clamped to 0–100 %.
pub(super) fn percent(share: f64) -> String {
    let share = if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    };
    format!("{:.3}%", share * 100.0)
}

fn three_digits(value: f64) -> f64 {
    // Beyond these the scale would overflow.
    if value.abs() < 1e-290 {
        return 0.0;
    }
    if value.abs() > 1e290 {
        return value;
    }
    let scale = 10f64.powf(2.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

fn plain(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// Days since 1970-01-01 as year, month, day of the Gregorian calendar (Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_the_right_unit() {
        let check = |seconds: f64, want: &str| {
            assert_eq!(duration(seconds).replace('\u{a0}', " "), want, "{seconds}");
        };
        check(0.0, "0 ms");
        check(1e-9, "1.00 ns");
        check(850e-9, "850 ns");
        check(12.34e-6, "12.3 µs");
        check(4.564e-3, "4.56 ms");
        check(0.09996, "100 ms");
        check(0.9996, "1.00 s");
        check(0.9994, "999 ms");
        check(59.96, "1.00 min");
        check(75.0, "1.25 min");
        check(7200.0, "2.00 h");
        check(360_000.0, "100 h");
        check(-0.0012, "−1.20 ms");
        check(f64::NAN, NONE);
        check(f64::INFINITY, NONE);
        assert_eq!(maybe_duration(None), NONE);
    }

    #[test]
    fn rates_and_ratios_read_well() {
        let check = |got: String, want: &str| assert_eq!(got.replace('\u{a0}', " "), want);
        check(rate(0.0), "0/s");
        check(rate(0.075), "4.50/min");
        check(rate(4.0), "4.00/s");
        check(rate(1234.0), "1230/s");
        check(rate(12_340.0), "12.3k/s");
        check(rate(1_500_000.0), "1.50M/s");
        check(rate(f64::NAN), NONE);
        check(ratio(0.0), "0 %");
        check(ratio(0.025), "2.50 %");
        check(ratio(0.000_01), "< 0.01 %");
        check(ratio(1.0), "100 %");
        check(ratio(f64::NAN), NONE);
        check(count(0), "0");
        check(count(999), "999");
        check(count(1_234_567), "1,234,567");
        check(counted(1, "span"), "1 span");
        check(counted(1200, "span"), "1,200 spans");
        check(bytes(512), "512 B");
        check(bytes(1536), "1.50 KiB");
        check(bytes(u64::MAX), "16800000 TiB");
    }

    #[test]
    fn coordinates_have_two_decimals_at_most() {
        let check = |value: f64, want: &str| assert_eq!(coordinate(value), want, "{value}");
        check(0.0, "0");
        check(-0.0, "0");
        check(-0.004, "0");
        check(12.0, "12");
        check(12.5, "12.5");
        check(12.05, "12.05");
        check(-12.345, "-12.35");
        check(1e9, "1000000000");
        check(f64::NAN, "0");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(utc(0), "1970-01-01 00:00:00.000");
        assert_eq!(utc(951_782_400_000_000_000), "2000-02-29 00:00:00.000");
        assert_eq!(utc(1_795_362_379_123_000_000), "2026-11-22 15:46:19.123");
        assert_eq!(ago(10, 5), "just now");
        assert_eq!(ago(0, 45_000_000_000).replace('\u{a0}', " "), "45 s ago");
        assert_eq!(coarse(300.0).replace('\u{a0}', " "), "5 min");
        assert_eq!(coarse(3600.0).replace('\u{a0}', " "), "60 min");
    }

    #[test]
    fn text_is_bounded_and_encoded() {
        assert_eq!(shorten("gateway", 7), "gateway");
        assert_eq!(shorten("gateways", 7), "gatewa…");
        assert_eq!(shorten("a\nb", 9), "a·b");
        assert_eq!(shorten("", 3), "");
        assert_eq!(url_component("GET /a b"), "GET%20%2Fa%20b");
        assert_eq!(url_component("é<"), "%C3%A9%3C");
    }

    proptest::proptest! {
        #[test]
        fn a_coordinate_is_near_its_value(value in -1e6..1e6_f64) {
            let read: f64 = coordinate(value).parse().unwrap();
            proptest::prop_assert!((read - value).abs() <= 0.005_001, "{value} became {read}");
        }

        #[test]
        fn no_number_is_ever_unreadable(value in proptest::num::f64::ANY) {
            for text in [duration(value), rate(value), ratio(value), coarse(value), coordinate(value), percent(value)] {
                proptest::prop_assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
            }
        }
    }
}
