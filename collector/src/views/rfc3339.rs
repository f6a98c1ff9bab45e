//! RFC 3339 times in UTC, as the API's windows print them and its questions give them.

const NANOS: u64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Prints Unix nanoseconds as `2026-01-02T03:04:05Z`, with as many fractional digits as needed (0, 3, 6 or 9).
pub fn format(unix_nano: u64) -> String {
    let seconds = (unix_nano / NANOS).cast_signed();
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let clock = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    let date = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    match unix_nano % NANOS {
        0 => format!("{date}Z"),
        nanos if nanos % 1_000_000 == 0 => format!("{date}.{:03}Z", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!("{date}.{:06}Z", nanos / 1_000),
        nanos => format!("{date}.{nanos:09}Z"),
    }
}

/// Reads an RFC 3339 time (any offset, up to nine fractional digits, a leap second as the second after it) into Unix
/// nanoseconds; `None` for anything else, or outside 1970 to 2554.
pub fn parse(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if !separators
        .iter()
        .all(|&(at, byte)| bytes.get(at) == Some(&byte))
        || !matches!(bytes.get(10)?, b'T' | b't' | b' ')
    {
        return None;
    }
    let year = digits(bytes, 0..4)?;
    let month = digits(bytes, 5..7).filter(|month| (1..=12).contains(month))?;
    let day = digits(bytes, 8..10).filter(|&day| (1..=days_in(year, month)).contains(&day))?;
    let hour = digits(bytes, 11..13).filter(|&hour| hour < 24)?;
    let minute = digits(bytes, 14..16).filter(|&minute| minute < 60)?;
    let second = digits(bytes, 17..19).filter(|&second| second <= 60)?;
    let (nanos, zone) = fraction(bytes.get(19..)?)?;
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset(zone)?;
    u64::try_from(seconds)
        .ok()?
        .checked_mul(NANOS)?
        .checked_add(nanos)
}

fn digits(bytes: &[u8], range: std::ops::Range<usize>) -> Option<i64> {
    bytes.get(range)?.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + i64::from(byte - b'0'))
    })
}

/// The fraction of a second in nanoseconds, and what follows it.
fn fraction(rest: &[u8]) -> Option<(u64, &[u8])> {
    let Some(fraction) = rest.strip_prefix(b".") else {
        return Some((0, rest));
    };
    let length = fraction
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let (fraction, zone) = fraction.split_at(length);
    let nanos = (0..9).fold(0, |nanos, at| {
        nanos * 10 + u64::from(fraction.get(at).map_or(0, |byte| byte - b'0'))
    });
    Some((nanos, zone))
}

/// Seconds east of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let sign = match zone {
        b"Z" | b"z" => return Some(0),
        [b'+', _, _, b':', _, _] => 1,
        [b'-', _, _, b':', _, _] => -1,
        _ => return None,
    };
    let hours = digits(zone, 1..3).filter(|&hours| hours < 24)?;
    let minutes = digits(zone, 4..6).filter(|&minutes| minutes < 60)?;
    Some(sign * (hours * 3600 + minutes * 60))
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date, counted in years that begin on 1 March: the leap day is then
/// the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days`]: year, month, day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, unix_nano: Option<u64>) {
        assert_eq!(parse(text), unix_nano, "{text}");
    }

    #[test]
    fn known_times() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("2000-02-29T12:00:00Z", Some(951_825_600 * NANOS));
        check("2026-11-22T15:46:22.5Z", Some(1_795_362_382_500_000_000));
        check(
            "2026-11-22T16:46:22.5+01:00",
            Some(1_795_362_382_500_000_000),
        );
        check("2016-12-31T23:59:60Z", Some(1_483_228_800 * NANOS));
        assert_eq!(format(951_825_600 * NANOS), "2000-02-29T12:00:00Z");
        assert_eq!(
            format(1_795_362_382_500_000_000),
            "2026-11-22T15:46:22.500Z"
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-11-22",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234567890Z",
            "2026-01-01T00:00:00+0100",
            "1969-12-31T23:59:59Z",
            "9999-01-01T00:00:00Z",
            "2026-01-01T00:00:00ZZ",
            "2026-01-0éT00:00:00Z",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(unix_nano: u64) {
            prop_assert_eq!(parse(&format(unix_nano)), Some(unix_nano));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
