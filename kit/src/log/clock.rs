//! Timestamps of lines: RFC 3339, UTC. Used by the formats, one clock a thread.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::digits::{nine, padded};

/// The last second that RFC 3339 can write: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

const SECONDS_PER_DAY: u64 = 86_400;

/// How long after 1970 a time is; before, a clock is not set at all.
pub(super) fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// How long after 1970 it is now.
pub(super) fn now() -> Duration {
    since_epoch(SystemTime::now())
}

/// Writes times; remembers the second it wrote last, since lines of one second share its text.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: Option<u64>,
    /// `2026-11-22T15:46:14.`
    text: [u8; 20],
}

impl Clock {
    /// Appends the time `since_epoch` with `digits` (1–9) digits after the second and a `Z`. Times that RFC 3339 cannot
    /// write (those after 9999) become the nearest that it can.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, since_epoch: Duration, digits: usize) {
        self.write_nanos(out, since_epoch);
        let dropped = 9_usize.saturating_sub(digits);
        if dropped > 0 {
            out.truncate(out.len().saturating_sub(dropped + 1));
            out.push(b'Z');
        }
    }

    /// As [`write`](Self::write), with all nine digits.
    #[inline]
    pub(super) fn write_nanos(&mut self, out: &mut Vec<u8>, since_epoch: Duration) {
        out.extend_from_slice(&self.nanos(since_epoch));
    }

    /// The time with all nine digits.
    #[inline]
    pub(super) fn nanos(&mut self, since_epoch: Duration) -> [u8; 30] {
        let second = since_epoch.as_secs().min(LAST_SECOND);
        if self.second != Some(second) {
            self.text = text(second);
            self.second = Some(second);
        }
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        text[..20].copy_from_slice(&self.text);
        text[20..29].copy_from_slice(&nine(since_epoch.subsec_nanos()).0);
        text
    }
}

fn text(second: u64) -> [u8; 20] {
    let (year, month, day) = civil(second / SECONDS_PER_DAY);
    let time = second % SECONDS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00.";
    let two = |number: u64| padded::<2>(number as u32);
    text[0..4].copy_from_slice(&padded::<4>(year as u32));
    text[5..7].copy_from_slice(&two(month));
    text[8..10].copy_from_slice(&two(day));
    text[11..13].copy_from_slice(&two(time / 3600));
    text[14..16].copy_from_slice(&two(time / 60 % 60));
    text[17..19].copy_from_slice(&two(time % 60));
    text
}

/// Year, month and day in the Gregorian calendar of a day counted from 1970-01-01.
///
/// Counts years from March, so that the leap day is the last of its year, in eras of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    const DAYS_TO_1970: u64 = 719_468;
    let days = days + DAYS_TO_1970;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(second: u64, nanos: u32, digits: usize, expected: &str) {
        let mut out = Vec::new();
        let at = Duration::new(second, nanos);
        Clock::default().write(&mut out, at, digits);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn writes_rfc_3339() {
        check(0, 0, 9, "1970-01-01T00:00:00.000000000Z");
        check(951_782_400, 1, 9, "2000-02-29T00:00:00.000000001Z");
        check(
            1_709_251_199,
            999_999_999,
            9,
            "2024-02-29T23:59:59.999999999Z",
        );
        check(1_709_251_200, 0, 3, "2024-03-01T00:00:00.000Z");
        check(4_107_542_400, 0, 3, "2100-03-01T00:00:00.000Z");
        check(1_795_358_374, 123_456_789, 6, "2026-11-22T14:39:34.123456Z");
        check(LAST_SECOND, 0, 3, "9999-12-31T23:59:59.000Z");
        check(LAST_SECOND + 1, 0, 3, "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn a_time_before_1970_is_1970() {
        let mut out = Vec::new();
        let at = since_epoch(UNIX_EPOCH - Duration::from_secs(1));
        Clock::default().write(&mut out, at, 3);
        assert_eq!(out, b"1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn one_clock_follows_the_seconds() {
        let mut clock = Clock::default();
        let mut out = Vec::new();
        for second in [59, 59, 60, 59] {
            clock.write(&mut out, Duration::from_secs(second), 1);
        }
        let expected = "1970-01-01T00:00:59.0Z1970-01-01T00:00:59.0Z1970-01-01T00:01:00.0Z1970-01-01T00:00:59.0Z";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn every_day_of_a_century_follows_the_one_before() {
        let mut yesterday = civil(0);
        for day in 1..36_525 {
            let today = civil(day);
            let next_day = (yesterday.0, yesterday.1, yesterday.2 + 1);
            let next_month = (yesterday.0, yesterday.1 + 1, 1);
            let next_year = (yesterday.0 + 1, 1, 1);
            assert!([next_day, next_month, next_year].contains(&today));
            assert!(today.1 <= 12 && today.2 <= 31);
            yesterday = today;
        }
        assert_eq!(yesterday, (2069, 12, 31));
    }
}
